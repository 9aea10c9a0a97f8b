# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)

foreach(program eval_onnx mutate)
  add_executable(${program} ${CMAKE_SOURCE_DIR}/tests/frontend/${program}.c)
  target_link_libraries(${program} PRIVATE pinion_compiler)
endforeach()
add_test(NAME frontend.import
  COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/frontend/test_import.py $<TARGET_FILE:eval_onnx>)
