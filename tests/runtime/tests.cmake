# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The runtime is no part of the compiler: its tests link its sources with an artifact written by hand.
set(runtime_common ${CMAKE_SOURCE_DIR}/runtime/pinion.c ${CMAKE_SOURCE_DIR}/runtime/description.c)
set(runtime_cpu ${CMAKE_SOURCE_DIR}/runtime/device_cpu.c ${CMAKE_SOURCE_DIR}/runtime/thread_pool.c)
set(runtime_example ${CMAKE_SOURCE_DIR}/tests/runtime/artifact/model.c ${CMAKE_SOURCE_DIR}/tests/runtime/artifact/weights.c)

function(add_runtime_test name)
  add_executable(${name} ${CMAKE_SOURCE_DIR}/tests/runtime/${name}.c ${ARGN})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${CMOCKA_LIBRARY} Threads::Threads)
  add_dependencies(unit_tests ${name})
  add_test(NAME runtime.${name} COMMAND ${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(runtime.${name} PROPERTIES LABELS unit) # once more under sanitizers
endfunction()

if(CMOCKA_LIBRARY)
  add_runtime_test(test_runtime ${runtime_common} ${runtime_cpu} ${runtime_example})
  # The test counts the runtime's allocations, and fails them one after another.
  target_link_options(test_runtime PRIVATE -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=aligned_alloc -Wl,--wrap=free)
  add_runtime_test(test_description ${runtime_common} ${runtime_cpu} ${runtime_example})
  add_runtime_test(test_device_errors ${runtime_common} ${runtime_example})
  add_runtime_test(test_bench ${runtime_example})
  target_link_libraries(test_bench PRIVATE m)
  add_runtime_test(test_thread_pool ${CMAKE_SOURCE_DIR}/runtime/thread_pool.c)
endif()

# What a launch costs on the cpu: prints figures.
add_executable(overhead EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/runtime/overhead.c ${runtime_common} ${runtime_cpu})
target_include_directories(overhead PRIVATE ${CMAKE_SOURCE_DIR})
target_link_libraries(overhead PRIVATE Threads::Threads)

# The hand-written artifact as a folder, as the commands see one.
set(example_artifact ${CMAKE_BINARY_DIR}/tests/example_artifact)
add_executable(make_example ${CMAKE_SOURCE_DIR}/tests/runtime/artifact/make_example.c
  ${CMAKE_SOURCE_DIR}/tests/runtime/artifact/weights.c)
target_link_libraries(make_example PRIVATE pinion_tools)
file(GLOB example_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/runtime/artifact/model.[ch]
  ${CMAKE_SOURCE_DIR}/tests/runtime/artifact/Makefile)
file(GLOB example_runtime CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/runtime/*.[ch])
add_custom_command(
  OUTPUT ${example_artifact}/weights.bin
  COMMAND ${CMAKE_COMMAND} -E rm -rf ${example_artifact}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${example_artifact}/runtime
  COMMAND ${CMAKE_COMMAND} -E copy ${example_sources} ${example_artifact}
  COMMAND ${CMAKE_COMMAND} -E copy ${example_runtime} ${example_artifact}/runtime
  COMMAND make_example ${example_artifact}
  DEPENDS make_example ${example_sources} ${example_runtime}
  VERBATIM)
add_custom_target(example_artifact ALL DEPENDS ${example_artifact}/weights.bin)

# The commands on that folder: what they print, and every exit status.
find_package(Python3 COMPONENTS Interpreter)
if(TARGET pinion AND Python3_Interpreter_FOUND)
  add_test(NAME runtime.verify
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/runtime/test_verify.py $<TARGET_FILE:pinion>
            ${CMAKE_SOURCE_DIR}/tests/fixtures ${CMAKE_BINARY_DIR}/tests/verify)
  add_test(NAME runtime.profile
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/runtime/test_profile.py $<TARGET_FILE:pinion>
            ${CMAKE_SOURCE_DIR}/tests/fixtures ${CMAKE_BINARY_DIR}/tests/profile)
  add_test(NAME runtime.report
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/runtime/test_report.py --pinion=$<TARGET_FILE:pinion>
            --work=${CMAKE_BINARY_DIR}/tests/report)
  add_test(NAME runtime.commands
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tests/runtime/test_commands.py $<TARGET_FILE:pinion>
            ${example_artifact})
endif()

# The control loop of examples/, built as its README says.
add_test(NAME runtime.control_loop
  COMMAND ${CMAKE_COMMAND} -DARTIFACT=${example_artifact} -DEXAMPLES=${CMAKE_SOURCE_DIR}/examples
          -DBUILD=${CMAKE_BINARY_DIR}/tests/examples -P ${CMAKE_SOURCE_DIR}/tests/runtime/control_loop.cmake)
