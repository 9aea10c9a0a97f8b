# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Lowering against the reference interpreter: small modules by hand, and committed fixtures.
add_executable(check_lowering
  ${CMAKE_CURRENT_LIST_DIR}/check_lowering.c ${CMAKE_CURRENT_LIST_DIR}/program_runner.c
  ${CMAKE_SOURCE_DIR}/tests/kernels/params_reference.c)
target_link_libraries(check_lowering PRIVATE pinion_compiler)
file(GLOB lowering_cases CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/lowering/*.mlir)
add_test(NAME codegen.lowering COMMAND check_lowering ${lowering_cases})
add_test(NAME codegen.lowering_packed COMMAND check_lowering --target=cpu ${lowering_cases})

# Steps that are repeated, cameras in a row, both float types, a batch of two.
foreach(fixture pi0_small pi05_bf16 pi0_opset18_batch2)
  add_test(NAME codegen.fixture.${fixture}
    COMMAND sh ${CMAKE_CURRENT_LIST_DIR}/check_fixture.sh $<TARGET_FILE:pinion> $<TARGET_FILE:check_lowering>
            ${CMAKE_SOURCE_DIR}/tools/export/unpack_fixture.py ${fixture})
endforeach()
