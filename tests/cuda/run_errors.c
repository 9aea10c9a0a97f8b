/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What the runtime says when a real driver, or the stand-in, refuses: no device, another compute capability, an index
 * too far, no memory, a stream of another context, a fault in a kernel. Each in a process of its own.
 *
 *   run_errors FOLDER [CAPABILITY]     of make_cases: kernels/error_*.cubin, for compute capability 90 or this one
 *
 * Exits 77 where there is no GPU or no kernels were written, 1 if something else was said than should be.
 */
#include "error_kernels.h"
#include "runtime/cuda_driver.h"
#include "runtime/pinion.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SKIPPED = 77 };

/* ---- A model of one launch: y = kernel() ---- */

static const pinion_buffer_desc buffers[] = {{"x", PINION_SPACE_INPUT, PINION_DTYPE_f32, 1, {16}, 16, 0, 64},
                                             {"y", PINION_SPACE_OUTPUT, PINION_DTYPE_f32, 1, {16}, 16, 0, 64}};
static const pinion_arg args[] = {{1, 0, 0}, {0, 0, 0}};
static const pinion_params params = {.rank = 1, .arg_count = 2, .size = {16}, .stride = {{1}, {1}}};
static const pinion_launch_desc launch = {.grid = {1, 1, 1}, .block = {32, 1, 1}, .arg_count = 2, .params = &params};
static const pinion_stage_desc stage = {"all", 0, 1, 1};
static const uint32_t input = 0, output = 1;
static pinion_kernel_desc kernel = {.family = PINION_FAMILY_POINTWISE};
static char blob[64];
static int capability = 90;

static pinion_model_desc model_of(const char *kernel_name) {
  snprintf(blob, sizeof blob, "%s.cubin", kernel_name);
  kernel.name = kernel_name;
  kernel.blob = blob;
  return (pinion_model_desc){.abi_version = PINION_ABI_VERSION,
                             .name = "errors",
                             .target = "this target",
                             .device = "cuda",
                             .compute_capability = capability,
                             .minimum_driver = 13000,
                             .buffers = buffers,
                             .kernels = &kernel,
                             .args = args,
                             .launches = &launch,
                             .stages = &stage,
                             .inputs = &input,
                             .outputs = &output,
                             .buffer_count = 2,
                             .kernel_count = 1,
                             .arg_count = 2,
                             .launch_count = 1,
                             .stage_count = 1,
                             .input_count = 1,
                             .output_count = 1};
}

static const char *folder;

/* Whether it came as expected; what was said is shown in any case. */
static bool expect(const char *call, pinion_status found, pinion_status expected, const pinion_model *model) {
  printf("  %s: %s%s%s\n", call, pinion_status_name(found), found ? ": " : "", found ? pinion_last_error(model) : "");
  if (found != expected) printf("  FAILED: it should be '%s'\n", pinion_status_name(expected));
  return found == expected;
}

/* Opens, runs once and closes; the status of the first call that fails. */
static pinion_status run_model(const pinion_model_desc *desc, const pinion_options *options) {
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  pinion_status status = pinion_model_open(desc, folder, options, &model);
  if (!status) status = pinion_instance_create(model, &instance);
  if (!status) status = pinion_run(instance, NULL);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
  return status;
}

static bool runs_well(void) {
  const pinion_model_desc good = model_of("error_none");
  return expect("a good kernel", run_model(&good, NULL), PINION_OK, NULL);
}

/* ---- Cases: true if all was said as it should be ---- */

static bool no_device(const char *unused) {
  (void)unused;
  setenv("CUDA_VISIBLE_DEVICES", "-1", 1);
  const pinion_model_desc desc = model_of("error_none");
  return expect("open", run_model(&desc, NULL), PINION_NO_DEVICE, NULL);
}

static bool an_index_too_far(const char *unused) {
  (void)unused;
  static const pinion_options far = {.device_index = 99};
  const pinion_model_desc desc = model_of("error_none");
  return expect("open", run_model(&desc, &far), PINION_NO_DEVICE, NULL) && runs_well();
}

static bool another_compute_capability(const char *unused) {
  (void)unused;
  pinion_model_desc desc = model_of("error_none");
  desc.compute_capability = 80;
  return expect("open", run_model(&desc, NULL), PINION_NO_DEVICE, NULL) && runs_well();
}

static bool out_of_memory(const char *unused) {
  (void)unused;
  pinion_model_desc desc = model_of("error_none");
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  pinion_device_facts facts;
  desc.arena_bytes = UINT64_C(1) << 46;
  if (!expect("open", pinion_model_open(&desc, folder, NULL, &model), PINION_OK, NULL)) return false;
  bool good = expect("create", pinion_instance_create(model, &instance), PINION_OK, model) &&
              expect("prepare", pinion_prepare(instance), PINION_OUT_OF_MEMORY, model) &&
              expect("describe, afterwards", pinion_describe_device(model, &facts), PINION_OK, model);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
  return good && runs_well();
}

/* A stream that lives in a context beside the primary one; NULL if the driver makes none. */
static cuda_stream foreign_stream(void) {
  const char *path = getenv("PINION_CUDA_DRIVER");
  void *library = dlopen(path && *path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  cuda_result (*create)(cuda_context *out, unsigned flags, cuda_device device) = NULL;
  cuda_result (*pop)(cuda_context *out) = NULL;
  cuda_result (*create_stream)(cuda_stream *out, unsigned flags) = NULL;
  cuda_context context;
  cuda_stream stream = NULL;
  *(void **)&create = library ? dlsym(library, "cuCtxCreate_v2") : NULL;
  *(void **)&pop = library ? dlsym(library, "cuCtxPopCurrent_v2") : NULL;
  *(void **)&create_stream = library ? dlsym(library, "cuStreamCreate") : NULL;
  if (!create || !pop || !create_stream || create(&context, 0, 0)) return NULL;
  if (create_stream(&stream, CUDA_STREAM_NON_BLOCKING)) stream = NULL;
  pop(&context);
  return stream;
}

static bool a_stream_of_another_context(const char *unused) {
  (void)unused;
  const pinion_model_desc desc = model_of("error_none");
  pinion_model *model = NULL;
  pinion_instance *instance = NULL;
  if (!expect("open", pinion_model_open(&desc, folder, NULL, &model), PINION_OK, NULL)) return false;
  void *stream = foreign_stream();
  bool good = expect("create", pinion_instance_create(model, &instance), PINION_OK, model) &&
              expect("prepare", pinion_prepare(instance), PINION_OK, model);
  if (!stream) printf("  the driver makes no second context: not tried\n");
  if (stream) good = good && expect("run on it", pinion_run(instance, stream), PINION_INVALID_ARGUMENT, model);
  good = good && expect("run, afterwards", pinion_run(instance, NULL), PINION_OK, model);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
  return good;
}

static bool a_fault_in_a_kernel(const char *kernel_name) {
  const pinion_model_desc desc = model_of(kernel_name);
  pinion_model *model = NULL;
  pinion_instance *instance = NULL, *other = NULL;
  pinion_device_facts facts;
  float values[16] = {0};
  if (!expect("open", pinion_model_open(&desc, folder, NULL, &model), PINION_OK, NULL)) return false;
  bool good = expect("create", pinion_instance_create(model, &instance), PINION_OK, model) &&
              expect("run", pinion_run(instance, NULL), PINION_DEVICE_LOST, model);
  if (good)
    good = expect("run again", pinion_run(instance, NULL), PINION_DEVICE_LOST, model) &
           expect("set an input", pinion_set_input(instance, "x", values, 64), PINION_DEVICE_LOST, model) &
           expect("get an output", pinion_get_output(instance, "y", values, 64), PINION_DEVICE_LOST, model) &
           expect("create another", pinion_instance_create(model, &other), PINION_DEVICE_LOST, model) &
           expect("describe", pinion_describe_device(model, &facts), PINION_DEVICE_LOST, model);
  pinion_instance_destroy(instance);
  pinion_model_close(model);
  const pinion_model_desc well = model_of("error_none");
  return expect("closed, and a good kernel", run_model(&well, NULL), PINION_DEVICE_LOST, NULL) && good;
}

static const struct error_case {
  const char *name;
  bool (*run)(const char *kernel_name);
  const char *kernel_name;
} cases[] = {
    {"no device", no_device, NULL},
    {"an index too far", an_index_too_far, NULL},
    {"another compute capability", another_compute_capability, NULL},
    {"out of memory", out_of_memory, NULL},
    {"a stream of another context", a_stream_of_another_context, NULL},
    {"a write to no address", a_fault_in_a_kernel, "error_address"},
    {"a misaligned write", a_fault_in_a_kernel, "error_alignment"},
    {"a trap", a_fault_in_a_kernel, "error_trap"},
};

/* 77 where there is nothing to test on. */
static int try_device(void) {
  char path[4096];
  const pinion_model_desc good = model_of("error_none");
  snprintf(path, sizeof path, "%s/kernels/error_none.cubin", folder);
  if (access(path, R_OK)) {
    printf("skipped: there is no %s; make_cases writes it, where it finds NVRTC\n", path);
    return SKIPPED;
  }
  const pinion_status status = run_model(&good, NULL);
  if (status == PINION_NO_DEVICE) {
    printf("skipped: %s\n", pinion_last_error(NULL));
    return SKIPPED;
  }
  return expect("a good kernel", status, PINION_OK, NULL) ? 0 : 1;
}

/* The exit status of `run` in a process of its own: the driver is not asked before a fork. */
static int in_a_process(const struct error_case *c) {
  int ended = 0;
  fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const int code = c ? !c->run(c->kernel_name) : try_device();
    fflush(stdout);
    _exit(code);
  }
  if (child < 0 || waitpid(child, &ended, 0) < 0) return 1;
  if (WIFSIGNALED(ended)) printf("  FAILED: ended by signal %d\n", WTERMSIG(ended));
  return WIFEXITED(ended) ? WEXITSTATUS(ended) : 1;
}

int main(int argc, char **argv) {
  int failed = 0;
  if (argc < 2) {
    fprintf(stderr, "usage: run_errors FOLDER [CAPABILITY]\n");
    return 2;
  }
  folder = argv[1];
  if (argc > 2) capability = atoi(argv[2]);
  const int usable = in_a_process(NULL);
  if (usable) return usable;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    printf("%s\n", cases[i].name);
    const int code = in_a_process(&cases[i]);
    if (code) printf("  FAILED\n");
    failed += code != 0;
  }
  printf("%d of %zu failed\n", failed, sizeof cases / sizeof *cases);
  return failed ? 1 : 0;
}
