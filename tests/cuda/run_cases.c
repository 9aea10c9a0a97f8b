/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Runs the cases that make_cases wrote, on a GPU, through runtime/device_cuda*.c: each launch alone, then all of them
 * as one captured graph, twice; compares with the expected values and prints a table. Needs a C compiler and the
 * driver:
 *
 *   cc -O2 -I. tests/cuda/run_cases.c runtime/device_cuda*.c runtime/description.c runtime/thread_pool.c -o run_cases \
 *      -ldl -lpthread -lm
 *   ./run_cases FOLDER
 *
 * Exits 77 where there is no GPU to run on or no cases were written, 1 if a case is wrong.
 */
#include "cases.h"
#include "runtime/device.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUDA (pinion_device_implementation)

typedef struct loaded_case {
  case_record record;
  uint8_t *memory[PINION_MAX_ARGS];  /* as at the start; NULL in a timing-only case */
  double *expected[PINION_MAX_ARGS]; /* of results */
  void *address[PINION_MAX_ARGS];    /* on the device */
  double microseconds;
  double worst; /* largest error as a part of what is allowed */
  bool good;
  char what[160]; /* if not good */
} loaded_case;

typedef struct suite {
  cases_header header;
  loaded_case *cases;
  uint32_t count;
  pinion_model_desc desc; /* one launch a case, one buffer an argument */
  void **addresses;       /* by buffer */
  const char *folder;
  pinion_device *device;
  pinion_program *program;
} suite;

static pinion_error error;

/* ---- Elements ---- */

static double from_f16(uint16_t bits) {
  int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  double magnitude = exponent == 31  ? (mantissa ? NAN : INFINITY)
                     : exponent == 0 ? ldexp(mantissa, -24)
                                     : ldexp(mantissa + 1024, exponent - 25);
  return bits & 0x8000 ? -magnitude : magnitude;
}

static double from_bf16(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, sizeof value);
  return value;
}

static double element(int dtype, const void *memory, int64_t i) {
  switch (dtype) {
  case PINION_DTYPE_f32: return ((const float *)memory)[i];
  case PINION_DTYPE_f64: return ((const double *)memory)[i];
  case PINION_DTYPE_bf16: return from_bf16(((const uint16_t *)memory)[i]);
  case PINION_DTYPE_f16: return from_f16(((const uint16_t *)memory)[i]);
  case PINION_DTYPE_i64: return (double)((const int64_t *)memory)[i];
  case PINION_DTYPE_i32: return ((const int32_t *)memory)[i];
  case PINION_DTYPE_i16: return ((const int16_t *)memory)[i];
  case PINION_DTYPE_i8: return ((const int8_t *)memory)[i];
  case PINION_DTYPE_u64: return (double)((const uint64_t *)memory)[i];
  case PINION_DTYPE_u32: return ((const uint32_t *)memory)[i];
  case PINION_DTYPE_u16: return ((const uint16_t *)memory)[i];
  default: return ((const uint8_t *)memory)[i];
  }
}

static size_t argument_bytes(const case_argument *argument) {
  return (size_t)argument->count * pinion_dtype_size((pinion_dtype)argument->dtype);
}

/* ---- Reading ---- */

static void *read_bytes(FILE *file, size_t bytes) {
  void *memory = malloc(bytes + 1);
  if (memory && fread(memory, 1, bytes, file) == bytes) return memory;
  free(memory);
  return NULL;
}

static bool read_case(FILE *file, loaded_case *c) {
  if (fread(&c->record, sizeof c->record, 1, file) != 1) return false;
  c->good = true;
  for (int a = 0; a < c->record.params.arg_count && c->record.operations == 0; a++) {
    const case_argument *argument = &c->record.arguments[a];
    c->memory[a] = read_bytes(file, argument_bytes(argument));
    if (!c->memory[a]) return false;
    if (!argument->is_result) continue;
    c->expected[a] = read_bytes(file, (size_t)argument->count * sizeof(double));
    if (!c->expected[a]) return false;
  }
  return true;
}

static bool read_suite(suite *s) {
  char path[4096];
  snprintf(path, sizeof path, "%s/cases.bin", s->folder);
  FILE *file = fopen(path, "rb");
  if (!file) {
    printf("skipped: there is no %s; make_cases writes it, where it finds NVRTC\n", path);
    exit(77);
  }
  bool good = fread(&s->header, sizeof s->header, 1, file) == 1 && !memcmp(s->header.magic, CASES_MAGIC, 8);
  if (good) s->cases = calloc((size_t)s->header.case_count + 1, sizeof *s->cases);
  for (uint64_t i = 0; good && i < s->header.case_count; i++) {
    good = read_case(file, &s->cases[s->count]);
    s->count += good;
  }
  fclose(file);
  if (!good) fprintf(stderr, "%s is damaged\n", path);
  return good;
}

/* ---- The table that the device captures ---- */

/* The kernel's row in the table, made if it is new. */
static uint32_t kernel_row(pinion_kernel_desc *kernels, uint32_t *count, const loaded_case *c) {
  for (uint32_t i = 0; i < *count; i++)
    if (!strcmp(kernels[i].name, c->record.kernel)) return i;
  char *blob = malloc(sizeof c->record.kernel + 8);
  sprintf(blob, "%s.cubin", c->record.kernel);
  kernels[*count] = (pinion_kernel_desc){.name = c->record.kernel, .blob = blob};
  return (*count)++;
}

static void describe(suite *s) {
  size_t most = (size_t)s->count * PINION_MAX_ARGS;
  pinion_buffer_desc *buffers = calloc(most, sizeof *buffers);
  pinion_kernel_desc *kernels = calloc(s->count, sizeof *kernels);
  pinion_arg *args = calloc(most, sizeof *args);
  pinion_launch_desc *launches = calloc(s->count, sizeof *launches);
  pinion_stage_desc *stage = calloc(1, sizeof *stage);
  uint32_t kernel_count = 0, arg_count = 0;
  for (uint32_t i = 0; i < s->count; i++) {
    const loaded_case *c = &s->cases[i];
    pinion_launch_desc *launch = &launches[i];
    launch->kernel = kernel_row(kernels, &kernel_count, c);
    memcpy(launch->grid, c->record.grid, sizeof launch->grid);
    memcpy(launch->block, c->record.block, sizeof launch->block);
    launch->dynamic_shared_bytes = c->record.dynamic_shared_bytes;
    launch->params = &c->record.params;
    if (c->record.has_tensor_map) launch->tensor_map = &c->record.tensor_map;
    launch->first_arg = arg_count;
    launch->arg_count = (uint32_t)c->record.params.arg_count;
    for (uint32_t a = 0; a < launch->arg_count; a++, arg_count++) {
      const case_argument *argument = &c->record.arguments[a];
      int64_t size = (int64_t)pinion_dtype_size((pinion_dtype)argument->dtype);
      buffers[arg_count] = (pinion_buffer_desc){.name = c->record.name, .space = PINION_SPACE_ARENA};
      args[arg_count] = (pinion_arg){.buffer = arg_count, .offset = argument->origin * size};
    }
  }
  *stage = (pinion_stage_desc){.name = "cases", .launch_count = s->count, .repeat = 1};
  s->addresses = calloc(most, sizeof *s->addresses);
  s->desc = (pinion_model_desc){.abi_version = PINION_ABI_VERSION,
                                .name = "cases",
                                .target = s->header.target,
                                .device = "cuda",
                                .compute_capability = s->header.compute_capability,
                                .minimum_driver = s->header.minimum_driver,
                                .buffers = buffers,
                                .kernels = kernels,
                                .args = args,
                                .launches = launches,
                                .stages = stage,
                                .buffer_count = arg_count,
                                .kernel_count = kernel_count,
                                .arg_count = arg_count,
                                .launch_count = s->count,
                                .stage_count = 1};
}

/* ---- On the device ---- */

static pinion_status upload(suite *s, loaded_case *c) {
  pinion_status status = PINION_OK;
  for (int a = 0; a < c->record.params.arg_count && !status; a++)
    if (c->memory[a])
      status =
          CUDA->copy_in(s->device, c->address[a], c->memory[a], argument_bytes(&c->record.arguments[a]), NULL, &error);
  return status;
}

/* A timing-only case goes through so many copies of its weights, so that they come from memory and not from L2. */
static uint32_t weight_copies(const loaded_case *c, int a) {
  const size_t enough = (size_t)160 << 20, bytes = argument_bytes(&c->record.arguments[a]);
  if (c->record.operations == 0 || a != 2) return 1;
  return bytes * 40 < enough ? 40 : (uint32_t)(enough / bytes) + 2;
}

static size_t copy_bytes(const case_argument *argument) {
  return (argument_bytes(argument) + PINION_BASE_ALIGN - 1) / PINION_BASE_ALIGN * PINION_BASE_ALIGN;
}

/* Random numbers of about 1 in an operand of a timing-only case: zeros would run faster than real data. */
static pinion_status fill_random(suite *s, uint8_t *address, const case_argument *argument, uint32_t copies) {
  size_t bytes = argument_bytes(argument);
  uint16_t *memory = malloc(bytes);
  uint32_t state = 12345;
  for (size_t i = 0; i < bytes / 2; i++) {
    state = state * 1664525 + 1013904223;
    /* sign, exponent 125 or 126, mantissa: between 0.25 and 1, as bf16 or as the upper half of a float */
    memory[i] = (uint16_t)((state >> 16 & 0x807f) | (125u + (state >> 29 & 1)) << 7);
  }
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < copies && !status; i++)
    status = CUDA->copy_in(s->device, address + i * copy_bytes(argument), memory, bytes, NULL, &error);
  free(memory);
  return status;
}

static pinion_status place_case(suite *s, loaded_case *c, void **addresses) {
  pinion_status status = PINION_OK;
  for (int a = 0; a < c->record.params.arg_count && !status; a++) {
    const case_argument *argument = &c->record.arguments[a];
    const uint32_t copies = weight_copies(c, a);
    status = CUDA->allocate(s->device, copies * copy_bytes(argument), &c->address[a], &error);
    addresses[a] = c->address[a];
    if (!status && !c->memory[a] && !argument->is_result) status = fill_random(s, c->address[a], argument, copies);
  }
  return status ? status : upload(s, c);
}

/* Opens the GPU, places every argument and captures the graph. */
static pinion_status start(suite *s) {
  pinion_options options = {0};
  pinion_status status = CUDA->open(&s->desc, s->folder, &options, &s->device, &error);
  for (uint32_t i = 0; i < s->count && !status; i++)
    status = place_case(s, &s->cases[i], s->addresses + s->desc.launches[i].first_arg);
  return status ? status : CUDA->capture(s->device, &s->desc, s->addresses, NULL, &s->program, &error);
}

static void stop(suite *s) {
  if (!s->device) return;
  CUDA->free_program(s->device, s->program);
  CUDA->close(s->device);
  s->program = NULL;
  s->device = NULL;
}

/* ---- Comparing ---- */

static void compare_result(loaded_case *c, int a, const uint8_t *found) {
  const case_argument *argument = &c->record.arguments[a];
  size_t size = pinion_dtype_size((pinion_dtype)argument->dtype);
  for (int64_t i = 0; i < argument->count && c->good; i++) {
    double expected = c->expected[a][i], value = element(argument->dtype, found, i);
    if (isnan(expected)) {
      c->good = !memcmp(found + (size_t)i * size, c->memory[a] + (size_t)i * size, size);
      if (!c->good)
        snprintf(c->what, sizeof c->what, "result %d, index %lld: written, but no element lies there", a,
                 (long long)(i - argument->origin));
      continue;
    }
    double allowed = argument->absolute + argument->relative * fabs(expected), off = fabs(value - expected);
    if (off > 0 && allowed > 0 && off / allowed > c->worst) c->worst = off / allowed;
    c->good = off <= allowed;
    if (!c->good)
      snprintf(c->what, sizeof c->what, "result %d, index %lld: %.9g, expected %.9g within %.3g", a,
               (long long)(i - argument->origin), value, expected, allowed);
  }
}

static pinion_status compare(suite *s, loaded_case *c) {
  pinion_status status = PINION_OK;
  for (int a = 0; a < c->record.params.arg_count && !status; a++) {
    if (!c->expected[a]) continue;
    size_t bytes = argument_bytes(&c->record.arguments[a]);
    uint8_t *found = malloc(bytes + 1);
    status = CUDA->copy_out(s->device, found, c->address[a], bytes, NULL, &error);
    if (!status) compare_result(c, a, found);
    free(found);
  }
  return status;
}

/* ---- Running ---- */

static void print_case(const loaded_case *c, const char *how) {
  const pinion_params *params = &c->record.params;
  printf("FAILED %s (%s): %s\n  sizes", c->record.name, how, c->what);
  for (int d = 0; d < params->rank; d++) printf(" %lld", (long long)params->size[d]);
  for (int a = 0; a < params->arg_count; a++) {
    printf("; strides");
    for (int d = 0; d < params->rank; d++) printf(" %lld", (long long)params->stride[a][d]);
  }
  printf("; integers %lld %lld; grid %u, kernel %s\n", (long long)params->integer[0], (long long)params->integer[1],
         c->record.grid[0], c->record.kernel);
}

/* The median replay of a graph that does nothing but this case, with other weights in every launch. */
static pinion_status time_case(suite *s, uint32_t index) {
  enum { REPLAYS = 31 };
  loaded_case *c = &s->cases[index];
  double microseconds[REPLAYS];
  pinion_program *program = NULL;
  pinion_launch_desc launch = s->desc.launches[index];
  pinion_stage_desc stage = {.name = "timing", .launch_count = 1, .repeat = weight_copies(c, 2)};
  pinion_arg args[PINION_MAX_ARGS];
  for (uint32_t a = 0; a < launch.arg_count; a++)
    args[a] = (pinion_arg){.buffer = a, .step_stride = a == 2 ? (int64_t)copy_bytes(&c->record.arguments[a]) : 0};
  launch.first_arg = 0;
  pinion_model_desc desc = s->desc;
  desc.launches = &launch;
  desc.args = args;
  desc.stages = &stage;
  desc.launch_count = 1;
  desc.buffer_count = launch.arg_count;
  pinion_status status = CUDA->capture(s->device, &desc, c->address, NULL, &program, &error);
  for (int warm = 0; warm < 2 && !status; warm++)
    status = CUDA->time_replays(s->device, program, REPLAYS, microseconds, &error);
  if (program) CUDA->free_program(s->device, program);
  if (status) return status;
  for (int i = 1; i < REPLAYS; i++)
    for (int j = i; j > 0 && microseconds[j - 1] > microseconds[j]; j--) {
      const double kept = microseconds[j];
      microseconds[j] = microseconds[j - 1];
      microseconds[j - 1] = kept;
    }
  c->microseconds = microseconds[REPLAYS / 2] / stage.repeat;
  return PINION_OK;
}

static pinion_status run_alone(suite *s, uint32_t index) {
  loaded_case *c = &s->cases[index];
  const int runs = 2; /* a kernel must not depend on what its results held */
  pinion_status status = PINION_OK;
  if (c->record.operations > 0) return time_case(s, index);
  for (int run = 0; run < runs && !status; run++) {
    double microseconds = 0;
    status = CUDA->run_launch(s->device, s->program, index, 0, &microseconds, &error);
    if (run == 0 || microseconds < c->microseconds) c->microseconds = microseconds;
  }
  return status ? status : compare(s, c);
}

/* Each launch alone. One that loses the device is reported, and the rest goes on with a new one. */
static int run_each(suite *s) {
  int failed = 0;
  for (uint32_t i = 0; i < s->count; i++) {
    loaded_case *c = &s->cases[i];
    pinion_status status = run_alone(s, i);
    if (status) {
      c->good = false;
      snprintf(c->what, sizeof c->what, "%.150s", error.text);
    }
    if (!c->good) print_case(c, "alone");
    failed += !c->good;
    if (status != PINION_DEVICE_LOST) continue;
    stop(s);
    if (start(s)) {
      printf("the GPU cannot be opened again: %s\n", error.text);
      return failed + 1;
    }
  }
  return failed;
}

static int run_graph(suite *s) {
  int failed = 0;
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < s->count && !status; i++) status = upload(s, &s->cases[i]);
  for (int replay = 0; replay < 2 && !status; replay++) status = CUDA->replay(s->device, s->program, NULL, &error);
  if (!status) status = CUDA->synchronize(s->device, NULL, &error);
  for (uint32_t i = 0; i < s->count && !status; i++) {
    loaded_case *c = &s->cases[i];
    status = compare(s, c);
    if (!c->good) print_case(c, "in the graph");
    failed += !c->good;
  }
  if (status) printf("FAILED the graph of all cases: %s\n", error.text);
  return failed + (status != PINION_OK);
}

/* One line a case: problems, how many are right, the largest part of the tolerance that was used. */
static void print_table(const suite *s) {
  printf("%-28s %8s %8s %10s\n", "case", "problems", "right", "worst/tol");
  for (uint32_t i = 0; i < s->count;) {
    const char *name = s->cases[i].record.name;
    uint32_t first = i, right = 0;
    double worst = 0;
    if (s->cases[i].record.operations > 0) break;
    for (; i < s->count && !strcmp(s->cases[i].record.name, name); i++) {
      right += s->cases[i].good;
      worst = s->cases[i].worst > worst ? s->cases[i].worst : worst;
    }
    printf("%-28s %8u %8u %10.3f\n", name, i - first, right, worst);
  }
  for (uint32_t i = 0; i < s->count; i++) {
    const loaded_case *c = &s->cases[i];
    if (c->record.operations > 0)
      printf("%-28s %-12s %10.1f us %8.1f TFLOP/s\n", c->record.name, c->record.tile, c->microseconds,
             c->record.operations / c->microseconds * 1e-6);
  }
}

int main(int argc, char **argv) {
  static suite s;
  if (argc < 2) {
    fprintf(stderr, "usage: run_cases FOLDER\n");
    return 2;
  }
  s.folder = argv[1];
  if (!read_suite(&s)) return 1;
  describe(&s);
  pinion_status status = start(&s);
  if (status == PINION_NO_DEVICE) {
    printf("skipped: %s\n", error.text);
    return 77;
  }
  if (status) {
    printf("FAILED to start: %s\n", error.text);
    return 1;
  }
  int failed = run_each(&s);
  if (s.device && !failed) failed += run_graph(&s);
  print_table(&s);
  stop(&s);
  printf("%u problems, %d failed\n", s.count, failed);
  return failed ? 1 : 0;
}
