# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The CUDA device, against a driver of our own that is linked in and found again by its path.
if(CMOCKA_LIBRARY)
  add_library(stand_in_driver SHARED ${CMAKE_SOURCE_DIR}/tests/cuda/stand_in_driver.c)
  target_include_directories(stand_in_driver PRIVATE ${CMAKE_SOURCE_DIR})
  add_executable(test_device_cuda ${CMAKE_SOURCE_DIR}/tests/cuda/test_device_cuda.c ${CMAKE_SOURCE_DIR}/runtime/device_cuda.c
    ${CMAKE_SOURCE_DIR}/runtime/description.c)
  target_include_directories(test_device_cuda PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(test_device_cuda PRIVATE STAND_IN_DRIVER="$<TARGET_FILE:stand_in_driver>")
  target_link_libraries(test_device_cuda PRIVATE stand_in_driver ${CMOCKA_LIBRARY} Threads::Threads ${CMAKE_DL_LIBS})
  add_test(NAME cuda.test_device_cuda COMMAND test_device_cuda WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
endif()
