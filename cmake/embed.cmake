# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Writes OUT, a C file that holds FILES (relative to ROOT) as byte arrays: what targets/target.h's embedded_file reads.
set(body "#include \"targets/target.h\"\n#include <string.h>\n")
set(table "")
set(index 0)
foreach(path IN LISTS FILES)
  file(READ ${ROOT}/${path} hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND body "static const unsigned char file_${index}[] = {${bytes}0};\n")
  string(APPEND table "  {\"${path}\", file_${index}, sizeof file_${index} - 1},\n")
  math(EXPR index "${index} + 1")
endforeach()
string(APPEND body "static const struct { const char *path; const unsigned char *data; size_t bytes; } files[] = {\n${table}  {0, 0, 0}};\n")
string(APPEND body "const char *embedded_file(const char *path, size_t *out_bytes) {
  for (int i = 0; files[i].path; i++)
    if (!strcmp(files[i].path, path)) {
      if (out_bytes) *out_bytes = files[i].bytes;
      return (const char *)files[i].data;
    }
  return NULL;
}
const char *embedded_path(int n) { return n >= 0 && n < ${index} ? files[n].path : NULL; }
")
file(WRITE ${OUT} "${body}")
