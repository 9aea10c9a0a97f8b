/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "json.h"

#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64
#define MAX_NUMBER 64 /* characters */

typedef struct parser {
  arena *arena;
  const char *at, *end;
  const char *problem; /* the first one */
  int depth;
} parser;

static bool fail(parser *p, const char *problem) {
  if (!p->problem) p->problem = problem;
  return false;
}

static void skip_space(parser *p) {
  while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) p->at++;
}

static bool take_character(parser *p, char character) {
  skip_space(p);
  if (p->at == p->end || *p->at != character) return false;
  p->at++;
  return true;
}

static bool take_word(parser *p, const char *word) {
  size_t length = strlen(word);
  if ((size_t)(p->end - p->at) < length || memcmp(p->at, word, length)) return fail(p, "an unknown word");
  p->at += length;
  return true;
}

/* ---- Strings ---- */

static bool take_hex(parser *p, unsigned *out_code) {
  *out_code = 0;
  for (int i = 0; i < 4; i++) {
    if (p->at == p->end) return fail(p, "a string that does not end");
    char c = *p->at++;
    int digit = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
    if (digit < 0) return fail(p, "a bad \\u escape");
    *out_code = *out_code << 4 | (unsigned)digit;
  }
  return true;
}

static char *put_utf8(char *out, unsigned code) {
  if (code < 0x80) {
    *out++ = (char)code;
  } else if (code < 0x800) {
    *out++ = (char)(0xc0 | code >> 6), *out++ = (char)(0x80 | (code & 63));
  } else if (code < 0x10000) {
    *out++ = (char)(0xe0 | code >> 12), *out++ = (char)(0x80 | (code >> 6 & 63)), *out++ = (char)(0x80 | (code & 63));
  } else {
    *out++ = (char)(0xf0 | code >> 18), *out++ = (char)(0x80 | (code >> 12 & 63));
    *out++ = (char)(0x80 | (code >> 6 & 63)), *out++ = (char)(0x80 | (code & 63));
  }
  return out;
}

static bool take_unicode(parser *p, char **out) {
  unsigned code, low;
  if (!take_hex(p, &code)) return false;
  if (code >= 0xd800 && code < 0xdc00 && p->end - p->at >= 2 && p->at[0] == '\\' && p->at[1] == 'u') {
    p->at += 2;
    if (!take_hex(p, &low)) return false;
    if (low < 0xdc00 || low > 0xdfff) return fail(p, "half a surrogate pair");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xd800 && code <= 0xdfff) {
    return fail(p, "half a surrogate pair");
  }
  *out = put_utf8(*out, code);
  return true;
}

static bool take_escape(parser *p, char **out) {
  static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
  if (p->at == p->end) return fail(p, "a string that does not end");
  char c = *p->at++;
  if (c == 'u') return take_unicode(p, out);
  const char *found = c ? strchr(from, c) : NULL;
  if (!found) return fail(p, "an unknown escape");
  *(*out)++ = to[found - from];
  return true;
}

/* At the opening quote. The text is at most as long as its source: no escape grows. */
static bool parse_string(parser *p, const char **out_string) {
  const char *close = ++p->at;
  while (close < p->end && *close != '"') close += *close == '\\' ? 2 : 1;
  if (close >= p->end) return fail(p, "a string that does not end");
  char *string = arena_alloc(p->arena, (size_t)(close - p->at) + 1), *out = string;
  while (*p->at != '"') {
    if ((unsigned char)*p->at < 0x20) return fail(p, "a control character in a string");
    if (*p->at != '\\') {
      *out++ = *p->at++;
      continue;
    }
    p->at++;
    if (!take_escape(p, &out)) return false;
  }
  p->at++;
  *out_string = string;
  return true;
}

/* ---- Numbers ---- */

static size_t span(const parser *p, size_t from, const char *set) {
  size_t length = from;
  while (p->at + length < p->end && p->at[length] && strchr(set, p->at[length])) length++;
  return length - from;
}

static bool parse_number(parser *p, double *out_number) {
  static const char digits[] = "0123456789";
  char copy[MAX_NUMBER + 1];
  size_t sign = p->at < p->end && *p->at == '-', whole = span(p, sign, digits), length = sign + whole, part;
  if (whole == 0 || (whole > 1 && p->at[sign] == '0')) return fail(p, "a malformed number");
  if (p->at + length < p->end && p->at[length] == '.') {
    if ((part = span(p, length + 1, digits)) == 0) return fail(p, "a malformed number");
    length += 1 + part;
  }
  if (p->at + length < p->end && (p->at[length] == 'e' || p->at[length] == 'E')) {
    length++;
    if (p->at + length < p->end && (p->at[length] == '+' || p->at[length] == '-')) length++;
    if ((part = span(p, length, digits)) == 0) return fail(p, "a malformed number");
    length += part;
  }
  if (length > MAX_NUMBER) return fail(p, "a number that is too long");
  memcpy(copy, p->at, length);
  copy[length] = 0;
  *out_number = strtod(copy, NULL);
  p->at += length;
  return true;
}

/* ---- Values ---- */

static bool parse_value(parser *p, json *out);

/* After the opening bracket. */
static bool parse_items(parser *p, json *out, bool is_object) {
  json *items = NULL;
  const char **keys = NULL;
  size_t item_capacity = 0, key_capacity = 0;
  char close = is_object ? '}' : ']';
  if (take_character(p, close)) return true;
  do {
    items = arena_grow(p->arena, items, out->count, &item_capacity, sizeof *items);
    if (is_object) {
      keys = arena_grow(p->arena, keys, out->count, &key_capacity, sizeof *keys);
      skip_space(p);
      if (p->at == p->end || *p->at != '"') return fail(p, "a member without a name");
      if (!parse_string(p, &keys[out->count])) return false;
      if (!take_character(p, ':')) return fail(p, "a member without a value");
    }
    if (!parse_value(p, &items[out->count++])) return false;
  } while (take_character(p, ','));
  out->items = items;
  out->keys = keys;
  return take_character(p, close) || fail(p, is_object ? "an object that does not end" : "an array that does not end");
}

static bool parse_nested(parser *p, json *out) {
  bool is_object = *p->at++ == '{';
  if (p->depth == MAX_DEPTH) return fail(p, "nesting that is too deep");
  p->depth++;
  out->kind = is_object ? JSON_OBJECT : JSON_ARRAY;
  bool parsed = parse_items(p, out, is_object);
  p->depth--;
  return parsed;
}

static bool parse_value(parser *p, json *out) {
  *out = (json){.kind = JSON_NULL};
  skip_space(p);
  if (p->at == p->end) return fail(p, "an early end");
  switch (*p->at) {
  case '{':
  case '[': return parse_nested(p, out);
  case '"': out->kind = JSON_STRING; return parse_string(p, &out->string);
  case 't': out->kind = JSON_TRUE; return take_word(p, "true");
  case 'f': out->kind = JSON_FALSE; return take_word(p, "false");
  case 'n': return take_word(p, "null");
  default: out->kind = JSON_NUMBER; return parse_number(p, &out->number);
  }
}

static int line_of(const char *start, const char *at) {
  int line = 1;
  for (; start < at; start++) line += *start == '\n';
  return line;
}

status json_parse(diagnostics *d, arena *a, const char *source, size_t length, json *out_value) {
  parser p = {.arena = a, .at = source, .end = source + length};
  bool parsed = parse_value(&p, out_value);
  skip_space(&p);
  if (parsed && p.at < p.end) parsed = fail(&p, "more after its end");
  if (parsed) return STATUS_OK;
  *out_value = (json){.kind = JSON_NULL};
  return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "line %d: the JSON has %s", line_of(source, p.at), p.problem);
}

status json_read(diagnostics *d, arena *a, const char *path, json *out_value) {
  mapped_file file;
  *out_value = (json){.kind = JSON_NULL};
  status result = file_map(d, path, &file);
  if (result) return result;
  diagnostics of_file = *d;
  of_file.file = path;
  result = json_parse(&of_file, a, (const char *)file.bytes, file.size, out_value);
  d->error_count = of_file.error_count;
  file_unmap(&file);
  return result;
}

const json *json_member(const json *value, const char *key) {
  if (!value || value->kind != JSON_OBJECT) return NULL;
  for (size_t i = 0; i < value->count; i++)
    if (!strcmp(value->keys[i], key)) return &value->items[i];
  return NULL;
}

double json_number(const json *value, double otherwise) {
  return value && value->kind == JSON_NUMBER ? value->number : otherwise;
}

const char *json_string(const json *value, const char *otherwise) {
  return value && value->kind == JSON_STRING ? value->string : otherwise;
}

void json_append_string(text *out, const char *string) {
  text_append(out, "\"");
  for (const unsigned char *c = (const unsigned char *)string; *c; c++) {
    if (*c == '"' || *c == '\\')
      text_append(out, "\\%c", *c);
    else if (*c < 0x20)
      text_append(out, "\\u%04x", *c);
    else
      text_append_bytes(out, (const char *)c, 1);
  }
  text_append(out, "\"");
}
