# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The CUDA device, against a driver of our own that is linked in and found again by its path.
set(runtime_cuda ${CMAKE_SOURCE_DIR}/runtime/device_cuda.c ${CMAKE_SOURCE_DIR}/runtime/device_cuda_memory.c
  ${CMAKE_SOURCE_DIR}/runtime/device_cuda_graph.c ${CMAKE_SOURCE_DIR}/runtime/description.c
  ${CMAKE_SOURCE_DIR}/runtime/thread_pool.c)
if(CMOCKA_LIBRARY)
  add_library(stand_in_driver SHARED ${CMAKE_SOURCE_DIR}/tests/cuda/stand_in_driver.c)
  target_include_directories(stand_in_driver PRIVATE ${CMAKE_SOURCE_DIR})
  add_library(stand_in_nvml SHARED ${CMAKE_SOURCE_DIR}/tests/cuda/stand_in_nvml.c)
  add_executable(test_device_cuda ${CMAKE_SOURCE_DIR}/tests/cuda/test_device_cuda.c ${runtime_cuda})
  target_include_directories(test_device_cuda PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(test_device_cuda PRIVATE STAND_IN_DRIVER="$<TARGET_FILE:stand_in_driver>")
  target_link_libraries(test_device_cuda PRIVATE stand_in_driver ${CMOCKA_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS})
  add_test(NAME cuda.test_device_cuda COMMAND test_device_cuda WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endif()

# Every kernel of sm_90 is compiled by NVRTC, for representative types and bodies; where there is a GPU it is also run.
add_executable(make_cuda_cases ${CMAKE_SOURCE_DIR}/tests/cuda/make_cases.c ${CMAKE_SOURCE_DIR}/tests/kernels/random_problem.c
  ${CMAKE_SOURCE_DIR}/tests/kernels/params_reference.c)
target_link_libraries(make_cuda_cases PRIVATE pinion_compiler)
add_executable(run_cuda_cases ${CMAKE_SOURCE_DIR}/tests/cuda/run_cases.c ${runtime_cuda})
target_include_directories(run_cuda_cases PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(run_cuda_cases PRIVATE Threads::Threads ${CMAKE_DL_LIBS} m)
add_test(NAME cuda.kernels_compile COMMAND make_cuda_cases ${CMAKE_BINARY_DIR}/cuda_cases WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(cuda.kernels_compile PROPERTIES SKIP_RETURN_CODE 77 FIXTURES_SETUP cuda_cases)
add_test(NAME cuda.cases_help COMMAND make_cuda_cases --help)
set_tests_properties(cuda.cases_help PROPERTIES PASS_REGULAR_EXPRESSION "usage: make_cuda_cases FOLDER")
add_test(NAME cuda.conformance COMMAND run_cuda_cases ${CMAKE_BINARY_DIR}/cuda_cases WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(cuda.conformance PROPERTIES SKIP_RETURN_CODE 77 LABELS gpu FIXTURES_REQUIRED cuda_cases RUN_SERIAL TRUE)

# Every kernel of every fixture for a GPU that is not at hand.
add_executable(compile_models ${CMAKE_SOURCE_DIR}/tests/cuda/compile_models.c)
target_link_libraries(compile_models PRIVATE pinion_compiler)
add_test(NAME cuda.fixtures_compile.sm_110
  COMMAND sh ${CMAKE_SOURCE_DIR}/tests/cuda/compile_fixtures.sh $<TARGET_FILE:compile_models> sm_110
          ${CMAKE_BINARY_DIR}/tests/cuda/fixtures
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(cuda.fixtures_compile.sm_110 PROPERTIES SKIP_RETURN_CODE 77 PROCESSORS 2)

# What the runtime says when a real driver refuses.
add_executable(run_cuda_errors ${CMAKE_SOURCE_DIR}/tests/cuda/run_errors.c ${CMAKE_SOURCE_DIR}/runtime/pinion.c ${runtime_cuda})
target_include_directories(run_cuda_errors PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(run_cuda_errors PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
add_test(NAME cuda.errors COMMAND run_cuda_errors ${CMAKE_BINARY_DIR}/cuda_cases WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(cuda.errors PROPERTIES SKIP_RETURN_CODE 77 LABELS gpu FIXTURES_REQUIRED cuda_cases RUN_SERIAL TRUE)

# The same cases on the CPU: CUDA's words, in C++, in front of each kernel's source.
find_program(EMULATOR_CXX NAMES g++ c++)
if(EMULATOR_CXX)
  add_executable(emulate_cuda_cases ${CMAKE_SOURCE_DIR}/tests/cuda/run_cases.c ${CMAKE_SOURCE_DIR}/tests/cuda/device_emulated.c
    ${CMAKE_SOURCE_DIR}/runtime/description.c)
  target_include_directories(emulate_cuda_cases PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(emulate_cuda_cases PRIVATE PINION_EMULATOR_CXX="${EMULATOR_CXX}"
    PINION_SOURCE_FOLDER="${CMAKE_SOURCE_DIR}")
  target_link_libraries(emulate_cuda_cases PRIVATE ${CMAKE_DL_LIBS} m)
  add_test(NAME cuda.emulated COMMAND emulate_cuda_cases ${CMAKE_BINARY_DIR}/cuda_cases WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.emulated PROPERTIES FIXTURES_REQUIRED cuda_cases)
  find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)
  add_library(stand_in_nvrtc SHARED ${CMAKE_SOURCE_DIR}/tests/cuda/stand_in_nvrtc.c)
  add_test(NAME cuda.spills
    COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/cuda/test_spills.py $<TARGET_FILE:pinion> $<TARGET_FILE:stand_in_nvrtc>)
  # Two by what any chip has, and one by wgmma.
  foreach(case pi0_small_2_steps:sm_110 pi0_bf16_opset23:sm_110 pi05_bf16:sm_90)
    string(REPLACE ":" ";" case ${case})
    list(GET case 0 fixture)
    list(GET case 1 target)
    add_test(NAME cuda.emulated.${fixture}
      COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/cuda/emulate_artifact.py ${CMAKE_SOURCE_DIR}/tests/fixtures/${fixture}
              --pinion=$<TARGET_FILE:pinion> --work=${CMAKE_BINARY_DIR}/tests/cuda/${fixture} --cxx=${EMULATOR_CXX}
              --nvrtc=$<TARGET_FILE:stand_in_nvrtc> --target=${target}
      WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  endforeach()
endif()

# The commands on an artifact for a GPU, against the stand-ins.
if(TARGET pinion AND TARGET stand_in_driver)
  find_package(Python3 COMPONENTS Interpreter)
  add_test(NAME cuda.bench
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/cuda/test_bench_cuda.py $<TARGET_FILE:pinion>
            ${CMAKE_BINARY_DIR}/tests/example_artifact $<TARGET_FILE:stand_in_driver> $<TARGET_FILE:stand_in_nvml>)
  add_test(NAME cuda.tune
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/cuda/test_tune_cuda.py $<TARGET_FILE:pinion>
            ${CMAKE_BINARY_DIR}/tests/example_artifact $<TARGET_FILE:stand_in_driver>
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  add_test(NAME cuda.cross_compile
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/cuda/test_cross_compile.py $<TARGET_FILE:pinion>
            $<TARGET_FILE:stand_in_driver> ${CMAKE_SOURCE_DIR}/tests/codegen/lowering/gemm.mlir
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.cross_compile PROPERTIES SKIP_RETURN_CODE 77)
  add_test(NAME cuda.errors_stand_in
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/cuda/test_errors_cuda.py $<TARGET_FILE:run_cuda_errors>
            $<TARGET_FILE:stand_in_driver>)
endif()
