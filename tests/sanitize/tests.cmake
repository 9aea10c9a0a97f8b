# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The unit tests and the importer's mutations again, under AddressSanitizer and UndefinedBehaviorSanitizer: tools/test.sh
# builds them in build-sanitize.
if(NOT PINION_SANITIZE)
  add_test(NAME sanitize
    COMMAND sh -c "test -f build-sanitize/CTestTestfile.cmake || { echo 'skipped: build-sanitize is not built'; exit 77; }; \
exec ctest --test-dir build-sanitize --output-on-failure -L unit"
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(sanitize PROPERTIES SKIP_RETURN_CODE 77)
endif()
