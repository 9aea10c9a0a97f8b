/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "npy.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "\x93NUMPY"
#define MAGIC_BYTES 6
#define ALIGNMENT 64 /* of the data in the file */

static const struct {
  const char *descr; /* without the byte order */
  pinion_dtype dtype;
} dtypes[] = {
    {"f4", PINION_DTYPE_f32},  {"f8", PINION_DTYPE_f64}, {"f2", PINION_DTYPE_f16}, {"V2", PINION_DTYPE_bf16},
    {"i8", PINION_DTYPE_i64},  {"i4", PINION_DTYPE_i32}, {"i2", PINION_DTYPE_i16}, {"i1", PINION_DTYPE_i8},
    {"u8", PINION_DTYPE_u64},  {"u4", PINION_DTYPE_u32}, {"u2", PINION_DTYPE_u16}, {"u1", PINION_DTYPE_u8},
    {"b1", PINION_DTYPE_bool},
};
enum { DTYPE_COUNT = sizeof dtypes / sizeof dtypes[0] };

/* ---- The header: a Python dictionary, {'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), } ---- */

typedef struct npy_header {
  tensor_type type;
  bool fortran_order;
  const char *problem; /* what is wrong, or NULL */
} npy_header;

typedef struct cursor {
  const char *at, *end;
} cursor;

static void skip_space(cursor *c) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t' || *c->at == '\r')) c->at++;
}

static bool take(cursor *c, const char *word) {
  size_t length = strlen(word);
  skip_space(c);
  if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length)) return false;
  c->at += length;
  return true;
}

/* A quoted string without escapes, as NumPy writes keys and types. */
static bool take_string(cursor *c, char *out_text, size_t capacity) {
  skip_space(c);
  if (c->at == c->end || (*c->at != '\'' && *c->at != '"')) return false;
  char quote = *c->at++;
  size_t length = 0;
  while (c->at < c->end && *c->at != quote && length + 1 < capacity) out_text[length++] = *c->at++;
  out_text[length] = 0;
  return c->at < c->end && *c->at++ == quote;
}

static bool take_integer(cursor *c, int64_t *out_value) {
  skip_space(c);
  const char *start = c->at;
  int64_t value = 0;
  while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
    if (value > (INT64_MAX - 9) / 10) return false;
    value = value * 10 + (*c->at++ - '0');
  }
  if (c->at > start) take(c, "L"); /* Python 2 wrote long integers */
  *out_value = value;
  return c->at > start;
}

static bool read_shape(cursor *c, npy_header *h) {
  if (!take(c, "(")) return false;
  while (!take(c, ")")) {
    if (h->type.rank == PINION_MAX_RANK) return h->problem = "more dimensions than 8", false;
    if (!take_integer(c, &h->type.dims[h->type.rank++])) return false;
    if (!take(c, ",") && (skip_space(c), c->at == c->end || *c->at != ')')) return false;
  }
  return true;
}

static bool read_descr(cursor *c, npy_header *h) {
  char written[16];
  if (!take_string(c, written, sizeof written)) return h->problem = "a structured element type", false;
  if (written[0] == '>') return h->problem = "big-endian elements", false;
  const char *descr = written[0] == '<' || written[0] == '|' || written[0] == '=' ? written + 1 : written;
  for (int i = 0; i < DTYPE_COUNT; i++)
    if (!strcmp(descr, dtypes[i].descr)) return h->type.dtype = dtypes[i].dtype, true;
  return h->problem = "an element type that is not supported", false;
}

static bool read_order(cursor *c, npy_header *h) {
  h->fortran_order = take(c, "True");
  return h->fortran_order || take(c, "False");
}

static bool read_header(cursor c, npy_header *out_header) {
  static const struct {
    const char *key;
    bool (*read)(cursor *c, npy_header *h);
  } entries[] = {{"descr", read_descr}, {"fortran_order", read_order}, {"shape", read_shape}};
  unsigned seen = 0;
  char key[32];
  *out_header = (npy_header){0};
  if (!take(&c, "{")) return false;
  while (!take(&c, "}")) {
    if (!take_string(&c, key, sizeof key) || !take(&c, ":")) return false;
    int i = 0;
    while (i < 3 && strcmp(key, entries[i].key)) i++;
    if (i == 3 || (seen & 1u << i) || !entries[i].read(&c, out_header)) return false;
    seen |= 1u << i;
    take(&c, ",");
  }
  return seen == 7;
}

/* ---- The file ---- */

/* Where header and data lie; false if the file is too short or of another kind. */
static bool split_file(const mapped_file *file, cursor *out_header, size_t *out_data) {
  const uint8_t *b = file->bytes;
  if (file->size < 10 || memcmp(b, MAGIC, MAGIC_BYTES) || b[MAGIC_BYTES] < 1 || b[MAGIC_BYTES] > 3) return false;
  size_t start = b[MAGIC_BYTES] == 1 ? 10 : 12, length = b[8] | (size_t)b[9] << 8;
  if (file->size < start) return false;
  if (start == 12) length |= (size_t)b[10] << 16 | (size_t)b[11] << 24;
  if (length > file->size - start) return false;
  *out_header = (cursor){(const char *)b + start, (const char *)b + start + length};
  *out_data = start + length;
  return true;
}

/* Element by element: index i of the row-major result is found at the index with dimensions counted from the first. */
static void copy_fortran_order(const uint8_t *from, tensor *t) {
  const tensor_type *type = &t->type;
  size_t element = pinion_dtype_size(type->dtype);
  int64_t count = type_elements(type);
  for (int64_t i = 0; i < count; i++) {
    int64_t rest = i, source = 0;
    for (int d = type->rank - 1; d >= 0; d--) {
      int64_t stride = 1, coordinate = rest % type->dims[d];
      for (int e = 0; e < d; e++) stride *= type->dims[e];
      source += coordinate * stride;
      rest /= type->dims[d];
    }
    memcpy((uint8_t *)t->data + (size_t)i * element, from + (size_t)source * element, element);
  }
}

static status read_mapped(diagnostics *d, const char *path, const mapped_file *file, tensor *out_tensor) {
  cursor header_text = {0};
  npy_header header;
  size_t data = 0;
  int64_t bytes;
  if (!split_file(file, &header_text, &data))
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' is not a .npy file, or it is cut short", path);
  if (!read_header(header_text, &header))
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s': %s%s", path, header.problem ? "its header has " : "",
                    header.problem ? header.problem : "its header is damaged");
  if (!tensor_size(&header.type, &bytes) || (uint64_t)bytes > file->size - data)
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' holds fewer elements than its shape says", path);
  status result = tensor_create(d, path, &header.type, out_tensor);
  if (result) return result;
  if (header.fortran_order)
    copy_fortran_order(file->bytes + data, out_tensor);
  else if (bytes)
    memcpy(out_tensor->data, file->bytes + data, (size_t)bytes);
  return STATUS_OK;
}

status npy_read(diagnostics *d, const char *path, tensor *out_tensor) {
  mapped_file file;
  *out_tensor = (tensor){0};
  status result = file_map(d, path, &file);
  if (result) return result;
  result = read_mapped(d, path, &file, out_tensor);
  file_unmap(&file);
  return result;
}

/* ---- Writing ---- */

static void append_header(text *out, const tensor_type *type) {
  text dictionary = {0};
  const char *descr = "f4";
  for (int i = 0; i < DTYPE_COUNT; i++)
    if (dtypes[i].dtype == type->dtype) descr = dtypes[i].descr;
  text_append(&dictionary, "{'descr': '%c%s', 'fortran_order': False, 'shape': (",
              pinion_dtype_size(type->dtype) == 1 ? '|' : '<', descr);
  for (int i = 0; i < type->rank; i++) text_append(&dictionary, i ? ", %lld" : "%lld", (long long)type->dims[i]);
  text_append(&dictionary, "%s), }", type->rank == 1 ? "," : "");
  size_t before = MAGIC_BYTES + 4, padding = ALIGNMENT - (before + dictionary.length + 1) % ALIGNMENT;
  size_t length = dictionary.length + padding % ALIGNMENT + 1;
  const char prefix[] = {1, 0, (char)(length & 0xff), (char)(length >> 8)};
  text_append_bytes(out, MAGIC, MAGIC_BYTES);
  text_append_bytes(out, prefix, sizeof prefix);
  text_append(out, "%s%*s\n", dictionary.data, (int)(padding % ALIGNMENT), "");
  text_free(&dictionary);
}

status npy_write(diagnostics *d, const char *path, const tensor *t) {
  tensor widened = {.type = t->type};
  const tensor *written = t;
  status result = STATUS_OK;
  if (t->type.dtype == PINION_DTYPE_bf16) {
    widened.type.dtype = PINION_DTYPE_f32;
    result = tensor_create(d, path, &widened.type, &widened);
    for (int64_t i = 0; result == STATUS_OK && i < type_elements(&t->type); i++)
      tensor_set(&widened, i, tensor_get(t, i));
    written = &widened;
  }
  text file = {0};
  append_header(&file, &written->type);
  if (result == STATUS_OK) {
    text_append_bytes(&file, written->data, (size_t)type_bytes(&written->type));
    result = file_write(d, path, file.data, file.length);
  }
  text_free(&file);
  tensor_free(&widened);
  return result;
}
