# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The cpu target's kernels, compiled as an artifact compiles them, by every C compiler at hand. Where there are two, each kernel is
# optimised by one of them, and neither's warnings and results are missing for any.
add_library(params_reference STATIC kernels/params_reference.c)
target_include_directories(params_reference PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/kernels)
target_link_libraries(params_reference PUBLIC pinion_compiler)
add_executable(test_cpu_kernels kernels/test_cpu_kernels.c kernels/random_problem.c)
target_link_libraries(test_cpu_kernels PRIVATE params_reference pinion_tools)
find_program(KERNEL_COMPILER_gcc gcc)
find_program(KERNEL_COMPILER_clang-22 clang-22)
set(optimised_gcc even)
set(optimised_clang-22 odd)
foreach(compiler gcc clang-22)
  if(KERNEL_COMPILER_${compiler})
    # A matrix unit, if this machine has one, is to multiply in any of these problems; what it does not, vectors do below.
    set(command test_cpu_kernels "${KERNEL_COMPILER_${compiler}} -DPN_MATRIX_UNIT_ALWAYS=1" 20261121)
    if(KERNEL_COMPILER_gcc AND KERNEL_COMPILER_clang-22)
      list(APPEND command ${optimised_${compiler}})
    endif()
    add_test(NAME kernels.cpu.${compiler} COMMAND ${command})
    execute_process(COMMAND ${KERNEL_COMPILER_${compiler}} -march=native -dM -E - INPUT_FILE /dev/null
      OUTPUT_VARIABLE macros ERROR_QUIET)
    if(macros MATCHES "__AMX_BF16__")
      add_test(NAME kernels.cpu.${compiler}.vectors
        COMMAND test_cpu_kernels "${KERNEL_COMPILER_${compiler}} -DPN_NO_MATRIX_UNIT" 20261121 gemm)
      set_tests_properties(kernels.cpu.${compiler}.vectors PROPERTIES ENVIRONMENT "CFLAGS=-O1 -march=native")
    endif()
  endif()
endforeach()
add_executable(test_cpu_math kernels/test_cpu_math.c)
target_include_directories(test_cpu_math PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_options(test_cpu_math PRIVATE -O3 -ffp-contract=fast -fno-math-errno -fno-trapping-math)
target_link_libraries(test_cpu_math PRIVATE m)
add_test(NAME kernels.cpu.math COMMAND test_cpu_math)

# Not tests: they print microseconds; tools/bench_gemm_ort.py compares with ONNX Runtime.
foreach(family gemm attention)
  add_executable(bench_${family} kernels/bench_${family}.c)
  target_link_libraries(bench_${family} PRIVATE pinion_tools)
endforeach()
