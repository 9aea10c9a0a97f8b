# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The exporter, its fixtures and the ONNX evaluator: Python's own unittest, a file a test.
# What is not installed (torch, onnx) is skipped, and says so.
find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)
file(GLOB export_tests CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/test_*.py)
foreach(source IN LISTS export_tests)
  get_filename_component(name ${source} NAME_WE)
  add_test(NAME export.${name} COMMAND ${PINION_PYTHON} ${source})
  set_tests_properties(export.${name} PROPERTIES LABELS export SKIP_RETURN_CODE 77)
endforeach()
