# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)

foreach(program eval_onnx mutate)
  add_executable(${program} ${CMAKE_SOURCE_DIR}/tests/frontend/${program}.c)
  target_link_libraries(${program} PRIVATE pinion_compiler)
endforeach()
add_test(NAME frontend.import
  COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/frontend/test_import.py $<TARGET_FILE:eval_onnx>)

find_program(LIT NAMES lit llvm-lit HINTS ${CMAKE_SOURCE_DIR}/.venv/bin /usr/lib/llvm-22/bin)
find_program(FILECHECK FileCheck HINTS /usr/lib/llvm-22/bin)
if(LIT AND FILECHECK)
  get_filename_component(llvm_tools ${FILECHECK} DIRECTORY)
  add_test(NAME frontend.lit
    COMMAND ${LIT} -v ${CMAKE_SOURCE_DIR}/tests/frontend -Dpinion=$<TARGET_FILE:pinion> -Dllvm=${llvm_tools}
            -Dpython=${PINION_PYTHON})
endif()

# Damaged copies of small models, and of one real export, must be imported or refused, never more.
set(seeds ${CMAKE_BINARY_DIR}/tests/frontend-seeds)
add_test(NAME frontend.seeds COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/frontend/make_seeds.py ${seeds})
add_test(NAME frontend.mutate COMMAND sh -c "'$<TARGET_FILE:mutate>' 1 6 '${seeds}'/*.onnx")
add_test(NAME frontend.export
  COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tools/export/unpack_fixture.py
          ${CMAKE_SOURCE_DIR}/tests/fixtures/pi0_torchscript ${CMAKE_BINARY_DIR}/tests/frontend-export)
add_test(NAME frontend.mutate_export
  COMMAND mutate 2 100 ${CMAKE_BINARY_DIR}/tests/frontend-export/model.onnx)
set_tests_properties(frontend.seeds PROPERTIES FIXTURES_SETUP frontend_seeds)
set_tests_properties(frontend.export PROPERTIES FIXTURES_SETUP frontend_export)
set_tests_properties(frontend.mutate PROPERTIES FIXTURES_REQUIRED frontend_seeds LABELS unit)
set_tests_properties(frontend.mutate_export PROPERTIES FIXTURES_REQUIRED frontend_export LABELS unit)
add_dependencies(unit_tests mutate)

if(PINION_FUZZ)
  # The compiler's own sources are instrumented (CMakeLists.txt); libFuzzer's main comes with the target.
  add_executable(fuzz_import ${CMAKE_SOURCE_DIR}/tests/frontend/fuzz_import.c)
  target_link_libraries(fuzz_import PRIVATE pinion_compiler)
  target_link_options(fuzz_import PRIVATE -fsanitize=fuzzer)
endif()
