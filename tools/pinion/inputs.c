/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "inputs.h"

#include "npy.h"

#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

#define PATH_CAPACITY 4096

tensor_type buffer_type(const pinion_buffer_desc *buffer) {
  tensor_type type = {.dtype = buffer->dtype, .rank = buffer->rank};
  memcpy(type.dims, buffer->dims, sizeof type.dims);
  return type;
}

static const pinion_buffer_desc *listed_buffer(const pinion_model_desc *desc, bool outputs, uint32_t index) {
  return &desc->buffers[outputs ? desc->outputs[index] : desc->inputs[index]];
}

static int find_listed(const pinion_model_desc *desc, const uint32_t *list, uint32_t count, const char *name) {
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp(desc->buffers[list[i]].name, name)) return (int)i;
  return -1;
}

int desc_find_input(const pinion_model_desc *desc, const char *name) {
  return find_listed(desc, desc->inputs, desc->input_count, name);
}

int desc_find_output(const pinion_model_desc *desc, const char *name) {
  return find_listed(desc, desc->outputs, desc->output_count, name);
}

static status set_create(diagnostics *d, uint32_t count, tensor_list *out_set) {
  *out_set = (tensor_list){count, calloc(count ? count : 1, sizeof(tensor))};
  return out_set->tensors ? STATUS_OK : diagnose(d, STATUS_FAILED, NULL, NULL, "no memory for %u tensors", count);
}

void tensor_list_free(tensor_list *set) {
  for (uint32_t i = 0; set->tensors && i < set->count; i++) tensor_free(&set->tensors[i]);
  free(set->tensors);
  *set = (tensor_list){0};
}

/* ---- Folders of NAME.npy ---- */

static void file_path(char *out_path, const char *folder, const char *name) {
  int start = snprintf(out_path, PATH_CAPACITY, "%s/", folder);
  if (start < 0 || start >= PATH_CAPACITY) return;
  snprintf(out_path + start, (size_t)(PATH_CAPACITY - start), "%s.npy", name);
  for (char *c = out_path + start; *c; c++)
    if (*c == '/') *c = '_';
}

static status read_npy_files(diagnostics *d, const pinion_model_desc *desc, bool outputs, const char *folder,
                             tensor_list *set) {
  status result = STATUS_OK;
  for (uint32_t i = 0; i < set->count; i++) {
    char path[PATH_CAPACITY];
    const char *name = listed_buffer(desc, outputs, i)->name;
    file_path(path, folder, name);
    if (!file_exists(path))
      result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "%s '%s' has no file '%s'", outputs ? "output" : "input", name,
                        path);
    else if (npy_read(d, path, &set->tensors[i]))
      result = STATUS_BAD_INPUT;
  }
  return result;
}

/* ---- ONNX's test_data_set_0 folders ---- */

static bool find_pb_folder(const char *folder, const char *prefix, char *out_folder) {
  static const char *const below[] = {"", "/test_data_set_0"};
  for (int i = 0; i < 2; i++) {
    char path[PATH_CAPACITY];
    snprintf(out_folder, PATH_CAPACITY, "%s%s", folder, below[i]);
    int length = snprintf(path, sizeof path, "%s/%s_0.pb", out_folder, prefix);
    if (length < PATH_CAPACITY && file_exists(path)) return true;
  }
  return false;
}

/* The buffer that the file's tensor is for: of its name if it carries one that the model knows, else by position. */
static uint32_t place_of(const pinion_model_desc *desc, bool outputs, uint32_t count, const char *name,
                         uint32_t position) {
  for (uint32_t i = 0; name && i < count; i++)
    if (!strcmp(listed_buffer(desc, outputs, i)->name, name)) return i;
  return position;
}

static status read_pb_file(compilation *c, const pinion_model_desc *desc, bool outputs, const char *path,
                           uint32_t position, tensor_list *set) {
  tensor_type type;
  const char *name;
  const void *data;
  status result = onnx_read_tensor(c, path, &type, &name, &data);
  if (result) return result;
  uint32_t place = place_of(desc, outputs, set->count, name, position);
  if (place >= set->count) return STATUS_OK; /* more files than the model has inputs: those it does not use */
  tensor_free(&set->tensors[place]);
  result = tensor_create(&c->diagnostics, path, &type, &set->tensors[place]);
  if (result == STATUS_OK && type_bytes(&type)) memcpy(set->tensors[place].data, data, (size_t)type_bytes(&type));
  return result;
}

static status read_pb_files(diagnostics *d, const pinion_model_desc *desc, bool outputs, const char *folder,
                            tensor_list *set) {
  compilation c;
  status result = compilation_create(&c);
  c.diagnostics = *d;
  for (uint32_t i = 0; result == STATUS_OK; i++) {
    char path[PATH_CAPACITY];
    int length = snprintf(path, sizeof path, "%s/%s_%u.pb", folder, outputs ? "output" : "input", i);
    if (length >= PATH_CAPACITY || !file_exists(path)) break;
    result = read_pb_file(&c, desc, outputs, path, i, set);
  }
  for (uint32_t i = 0; result == STATUS_OK && i < set->count; i++)
    if (!set->tensors[i].data)
      result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' has no tensor for %s '%s'", folder,
                        outputs ? "output" : "input", listed_buffer(desc, outputs, i)->name);
  compilation_destroy(&c);
  return result;
}

/* ---- Any folder ---- */

static status check_tensor(diagnostics *d, const pinion_buffer_desc *buffer, bool outputs, tensor *t) {
  tensor_type expected = buffer_type(buffer), found = t->type;
  char expected_text[128], found_text[128];
  tensor_type_text(&expected, expected_text, sizeof expected_text);
  tensor_type_text(&found, found_text, sizeof found_text);
  found.dtype = expected.dtype;
  if (!type_equal(&found, &expected))
    return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "'%s' is %s; the model has %s", buffer->name, found_text,
                    expected_text);
  return outputs ? STATUS_OK : tensor_convert(d, buffer->name, t, expected.dtype);
}

status check_folder(diagnostics *d, const char *folder) {
  if (!folder || file_exists(folder)) return STATUS_OK;
  return diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "there is no folder '%s'", folder);
}

status tensor_list_read(diagnostics *d, const pinion_model_desc *desc, bool outputs, const char *folder,
                        tensor_list *out_set) {
  char pb_folder[PATH_CAPACITY];
  status result = set_create(d, outputs ? desc->output_count : desc->input_count, out_set);
  if (result) return result;
  if (strlen(folder) > PATH_CAPACITY / 2)
    result = diagnose(d, STATUS_BAD_INPUT, NULL, NULL, "the folder's path is too long");
  else if (find_pb_folder(folder, outputs ? "output" : "input", pb_folder))
    result = read_pb_files(d, desc, outputs, pb_folder, out_set);
  else
    result = read_npy_files(d, desc, outputs, folder, out_set);
  for (uint32_t i = 0; i < out_set->count; i++)
    if (out_set->tensors[i].data && check_tensor(d, listed_buffer(desc, outputs, i), outputs, &out_set->tensors[i]))
      result = STATUS_BAD_INPUT;
  if (result) tensor_list_free(out_set);
  return result;
}

static status create_all(diagnostics *d, const pinion_model_desc *desc, bool outputs, tensor_list *out_set) {
  status result = set_create(d, outputs ? desc->output_count : desc->input_count, out_set);
  for (uint32_t i = 0; result == STATUS_OK && i < out_set->count; i++) {
    const pinion_buffer_desc *buffer = listed_buffer(desc, outputs, i);
    tensor_type type = buffer_type(buffer);
    result = tensor_create(d, buffer->name, &type, &out_set->tensors[i]);
  }
  if (result) tensor_list_free(out_set);
  return result;
}

status tensor_list_random(diagnostics *d, const pinion_model_desc *desc, uint64_t seed, tensor_list *out_set) {
  status result = create_all(d, desc, false, out_set);
  for (uint32_t i = 0; result == STATUS_OK && i < out_set->count; i++)
    pinion_fill_input(desc, i, seed, out_set->tensors[i].data);
  return result;
}

status tensor_list_outputs(diagnostics *d, const pinion_model_desc *desc, tensor_list *out_set) {
  return create_all(d, desc, true, out_set);
}

status tensor_list_write(diagnostics *d, const pinion_model_desc *desc, const tensor_list *outputs,
                         const char *folder) {
  status result = folder_create(d, folder);
  for (uint32_t i = 0; result == STATUS_OK && i < outputs->count; i++) {
    char path[PATH_CAPACITY];
    file_path(path, folder, listed_buffer(desc, true, i)->name);
    result = npy_write(d, path, &outputs->tensors[i]);
  }
  return result;
}

/* ---- Running ---- */

status artifact_run(diagnostics *d, const artifact *a, const tensor_list *inputs, tensor_list *outputs) {
  const pinion_model_desc *desc = a->desc;
  pinion_status s = PINION_OK;
  for (uint32_t i = 0; i < inputs->count && !s; i++) {
    const pinion_buffer_desc *buffer = listed_buffer(desc, false, i);
    s = a->api.set_input(a->instance, buffer->name, inputs->tensors[i].data, (size_t)buffer->bytes);
  }
  if (!s) s = a->api.run(a->instance, NULL);
  for (uint32_t i = 0; i < outputs->count && !s; i++) {
    const pinion_buffer_desc *buffer = listed_buffer(desc, true, i);
    s = a->api.get_output(a->instance, buffer->name, outputs->tensors[i].data, (size_t)buffer->bytes);
  }
  return artifact_check(d, a, s);
}

int noise_input(const pinion_model_desc *desc, uint32_t output) {
  tensor_type wanted = buffer_type(listed_buffer(desc, true, output));
  if (!dtype_is_float(wanted.dtype)) return -1;
  for (uint32_t i = 0; i < desc->input_count; i++) {
    tensor_type type = buffer_type(listed_buffer(desc, false, i));
    if (type_equal(&type, &wanted)) return (int)i;
  }
  return -1;
}
