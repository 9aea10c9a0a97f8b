# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)
add_test(NAME style.tree COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/style/check_tree.py)
