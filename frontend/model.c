/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "model.h"

#include "scan.h"

#include <string.h>

/* protobuf-c's memory is an arena with a limit: a file of empty messages unpacks to a hundred times its size. */
typedef struct limited_arena {
  arena *arena;
  uint64_t bytes_left;
} limited_arena;

#define UNPACK_BASE_BYTES (UINT64_C(256) << 20)
#define UNPACK_BYTES_PER_BYTE 24

static void *limited_alloc(void *user, size_t bytes) {
  limited_arena *limited = user;
  if (bytes > limited->bytes_left) return NULL;
  limited->bytes_left -= bytes;
  return arena_alloc(limited->arena, bytes ? bytes : 1);
}

static void limited_free(void *user, void *pointer) {
  (void)user;
  (void)pointer;
}

static status unpack(onnx_file *file, const ProtobufCMessageDescriptor *root, ProtobufCMessage **out_message) {
  diagnostics *d = &file->compilation->diagnostics;
  text slim = {0};
  status result = scan_message(d, root, file->file.bytes, file->file.size, &slim);
  if (result == STATUS_OK) {
    limited_arena limited = {file->arena, UNPACK_BASE_BYTES + UNPACK_BYTES_PER_BYTE * (uint64_t)slim.length};
    ProtobufCAllocator allocator = {limited_alloc, limited_free, &limited};
    *out_message = protobuf_c_message_unpack(root, &allocator, slim.length, (const uint8_t *)slim.data);
    if (!*out_message)
      result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "malformed protobuf: not a valid ONNX %s", root->short_name);
  }
  text_free(&slim);
  return result;
}

status onnx_file_open(compilation *c, const char *path, const ProtobufCMessageDescriptor *root, onnx_file *out_file,
                      ProtobufCMessage **out_message) {
  *out_file = (onnx_file){.compilation = c};
  *out_message = NULL;
  c->diagnostics.file = arena_string(c->arena, path, strlen(path));
  status result = file_map(&c->diagnostics, path, &out_file->file);
  if (result != STATUS_OK) return result;
  const char *slash = strrchr(path, '/');
  out_file->name = arena_format(c->arena, "%s", slash ? slash + 1 : path);
  out_file->arena = arena_create();
  if (out_file->file.size == 0)
    result = diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "the file is empty");
  else
    result = unpack(out_file, root, out_message);
  if (result != STATUS_OK) onnx_file_close(out_file);
  return result;
}

void onnx_file_close(onnx_file *file) {
  if (file->arena) arena_destroy(file->arena);
  file_unmap(&file->file);
  *file = (onnx_file){0};
}

wire_span onnx_file_bytes(const onnx_file *file) {
  return (wire_span){file->file.bytes, file->file.bytes + file->file.size};
}
