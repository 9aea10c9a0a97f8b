# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The cpu target's kernels, compiled as an artifact compiles them, by every C compiler at hand.
add_library(cpu_harness STATIC kernels/cpu_harness.c kernels/params_reference.c)
target_include_directories(cpu_harness PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/kernels)
target_link_libraries(cpu_harness PUBLIC pinion_compiler)
add_executable(test_cpu_kernels kernels/test_cpu_kernels.c)
target_link_libraries(test_cpu_kernels PRIVATE cpu_harness)
foreach(compiler gcc clang-22)
  find_program(KERNEL_COMPILER_${compiler} ${compiler})
  if(KERNEL_COMPILER_${compiler})
    add_test(NAME kernels.cpu.${compiler} COMMAND test_cpu_kernels ${KERNEL_COMPILER_${compiler}})
  endif()
endforeach()
