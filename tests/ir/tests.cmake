# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)

# The reference interpreter on every committed export, before and after the passes that keep the fused level.
add_executable(eval_model ${CMAKE_SOURCE_DIR}/tests/ir/eval_model.c)
target_link_libraries(eval_model PRIVATE pinion_tools pinion_compiler)
file(GLOB descriptions CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fixtures/*/fixture.json)
foreach(description IN LISTS descriptions)
  get_filename_component(folder ${description} DIRECTORY)
  get_filename_component(fixture ${folder} NAME)
  add_test(NAME ir.eval.${fixture}
    COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/ir/check_fixture.py ${folder} --seeds=2 --passes=default
            --eval-model=$<TARGET_FILE:eval_model> --work=${CMAKE_BINARY_DIR}/tests/ir/${fixture})
endforeach()
