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
