# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Each pass's own cases (lit + FileCheck on IR text), and a check that no pass is without them.
find_program(LIT NAMES lit llvm-lit HINTS ${CMAKE_SOURCE_DIR}/.venv/bin /usr/lib/llvm-22/bin)
find_program(FILECHECK FileCheck HINTS /usr/lib/llvm-22/bin REQUIRED)
get_filename_component(llvm_tools ${FILECHECK} DIRECTORY)
if(NOT LIT)
  message(FATAL_ERROR "lit not found: run tools/setup.sh first")
endif()
add_test(NAME passes.lit
  COMMAND ${LIT} -v ${CMAKE_CURRENT_LIST_DIR} -Dpinion=$<TARGET_FILE:pinion> -Dllvm=${llvm_tools})
add_test(NAME passes.each_has_a_test
  COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/check_pairs.sh WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)
add_test(NAME passes.fixtures
  COMMAND ${PINION_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/check_fixtures.py --pinion=$<TARGET_FILE:pinion>
          --work=${CMAKE_BINARY_DIR}/tests/passes)
# eval_model comes from tests/ir; expressions are resolved when all areas have been read.
add_test(NAME passes.subsets
  COMMAND ${PINION_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/check_subsets.py pi0_small pi0_torchscript pi05_bf16
          pi05_opset23_batch2 --eval-model=$<TARGET_FILE:eval_model> --work=${CMAKE_BINARY_DIR}/tests/passes-subsets)
# Builds of pinion with a pass broken on purpose: what --bisect-passes must find.
foreach(broken recognise_activation lower_to_launches eliminate_common)
  add_executable(pinion_broken_${broken} ${CMAKE_SOURCE_DIR}/tools/pinion/main.c ${CMAKE_CURRENT_LIST_DIR}/broken_${broken}.c)
  target_link_libraries(pinion_broken_${broken} PRIVATE pinion_tools)
  target_link_options(pinion_broken_${broken} PRIVATE -Wl,--wrap=pass_${broken})
endforeach()
add_test(NAME passes.bisect
  COMMAND ${PINION_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/check_bisect.py $<TARGET_FILE:pinion>
          $<TARGET_FILE:pinion_broken_recognise_activation> $<TARGET_FILE:pinion_broken_lower_to_launches>
          $<TARGET_FILE:pinion_broken_eliminate_common> ${CMAKE_BINARY_DIR}/tests/bisect)
# Random graphs and random lists of passes; more with --graphs and other --seed.
add_executable(eval_subsets ${CMAKE_CURRENT_LIST_DIR}/eval_subsets.c)
target_link_libraries(eval_subsets PRIVATE pinion_compiler)
add_test(NAME passes.layer_norm_rounding
  COMMAND ${PINION_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/check_layer_norm_rounding.py
          --eval-subsets=$<TARGET_FILE:eval_subsets> --work=${CMAKE_BINARY_DIR}/tests/layer-norm-rounding)
add_test(NAME passes.random
  COMMAND ${PINION_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/check_random.py --eval-subsets=$<TARGET_FILE:eval_subsets>
          --work=${CMAKE_BINARY_DIR}/tests/passes-random)
