# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Whole models, end to end on the cpu target: every committed fixture, every case. What takes the time is the C compiler, so that
# few of them are optimised, as users' artifacts are, and nothing is compiled twice (compile_once.sh).
set(optimised pi0_small pi05_small pi0_bf16_opset23 pi05_bf16)
find_program(PINION_PYTHON python3 HINTS ${CMAKE_SOURCE_DIR}/.venv/bin)
file(GLOB fixtures CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fixtures/*/fixture.json)
foreach(description IN LISTS fixtures)
  get_filename_component(folder ${description} DIRECTORY)
  get_filename_component(fixture ${folder} NAME)
  add_test(NAME models.${fixture}
    COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_fixture.py ${folder} --pinion=$<TARGET_FILE:pinion>
            --work=${CMAKE_BINARY_DIR}/tests/models/${fixture} --run-flag=--threads=1)
  set_tests_properties(models.${fixture} PROPERTIES LABELS models)
  if(NOT fixture IN_LIST optimised)
    set_tests_properties(models.${fixture} PROPERTIES ENVIRONMENT CFLAGS=-O0)
  endif()
endforeach()
# A bf16 export computed in float32: as good as PyTorch's own float32 run of that model, GELU's numbers rounded to bf16 or not.
foreach(fixture pi0_bf16_opset23 pi05_bf16 pi05_bf16_torchscript)
  add_test(NAME models.float32.${fixture}
    COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_fixture.py ${CMAKE_SOURCE_DIR}/tests/fixtures/${fixture}
            --pinion=$<TARGET_FILE:pinion> --work=${CMAKE_BINARY_DIR}/tests/float32/${fixture} --precision=float32 --seeds=3
            --run-flag=--threads=1)
  set_tests_properties(models.float32.${fixture} PROPERTIES LABELS models ENVIRONMENT CFLAGS=-O0)
endforeach()
# Each optional pass off alone, on a fixture on which it acts; without --each-once the script does so on all of them.
add_test(NAME models.each_pass_off
  COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_each_pass_off.py --pinion=$<TARGET_FILE:pinion> --each-once
          --work=${CMAKE_BINARY_DIR}/tests/each_pass_off --cases=1 --run-flag=--threads=1 pi0_opset23 pi05_torchscript
          pi0_bf16_opset23 pi05_bf16:bf16)
set_tests_properties(models.each_pass_off PROPERTIES LABELS models ENVIRONMENT CFLAGS=-O0)
# The benchmarks of models run, whatever they measure.
add_test(NAME models.benchmarks
  COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_benchmarks.py
          ${CMAKE_SOURCE_DIR}/tests/fixtures/pi0_small_2_steps --pinion=$<TARGET_FILE:pinion>
          --work=${CMAKE_BINARY_DIR}/tests/benchmarks)
set_tests_properties(models.benchmarks PROPERTIES LABELS models)
# Each ONNX node's end, and the launches that only move data.
add_test(NAME models.account
  COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_account.py --pinion=$<TARGET_FILE:pinion>
          --work=${CMAKE_BINARY_DIR}/tests/account)
foreach(fixture pi0_torchscript pi0_opset18_batch2 pi0_bf16_opset23 pi05_small pi05_opset23_batch2)
  add_test(NAME models.masks.${fixture}
    COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_masks.py ${CMAKE_SOURCE_DIR}/tests/fixtures/${fixture}
            --pinion=$<TARGET_FILE:pinion> --work=${CMAKE_BINARY_DIR}/tests/masks/${fixture})
  set_tests_properties(models.masks.${fixture} PROPERTIES LABELS models ENVIRONMENT CFLAGS=-O0)
endforeach()
# A model of one sample, compiled for a batch.
foreach(plan pi0_torchscript:3 pi05_bf16:2)
  string(REPLACE ":" ";" plan ${plan})
  list(GET plan 0 fixture)
  list(GET plan 1 batch)
  add_test(NAME models.batch.${fixture}
    COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_batch.py ${CMAKE_SOURCE_DIR}/tests/fixtures/${fixture}
            --batch=${batch} --pinion=$<TARGET_FILE:pinion> --work=${CMAKE_BINARY_DIR}/tests/batch/${fixture} --run-flag=--threads=1)
  set_tests_properties(models.batch.${fixture} PROPERTIES LABELS models ENVIRONMENT CFLAGS=-O0)
endforeach()
# FIXTURE, then what check_absent_camera.py is given.
function(absent_camera_test fixture)
  add_test(NAME models.absent_camera.${fixture}
    COMMAND ${PINION_PYTHON} ${CMAKE_SOURCE_DIR}/tests/models/check_absent_camera.py
            ${CMAKE_SOURCE_DIR}/tests/fixtures/${fixture} ${ARGN} --pinion=$<TARGET_FILE:pinion>
            --work=${CMAKE_BINARY_DIR}/tests/absent_camera/${fixture})
  set_tests_properties(models.absent_camera.${fixture} PROPERTIES LABELS models ENVIRONMENT CFLAGS=-O0)
endfunction()
absent_camera_test(pi0_small_2_steps --camera=right_wrist_0_rgb
                   --like=${CMAKE_SOURCE_DIR}/tests/fixtures/pi0_small_2_cameras)
absent_camera_test(pi0_opset18_batch2 --camera=base_0_rgb)
absent_camera_test(pi0_bf16 --camera=left_wrist_0_rgb)
absent_camera_test(pi05_torchscript --camera=right_wrist_0_rgb)
absent_camera_test(pi05_opset23_batch2 --camera=left_wrist_0_rgb --camera=right_wrist_0_rgb)
