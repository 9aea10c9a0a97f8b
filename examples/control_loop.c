/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * A robot's control loop around a policy: open once, prepare once, then observe, infer a chunk of actions, and play
 * part of it out at the control rate before observing again. No allocation after the start.
 *
 *   control_loop DIR [--chunks=N] [--rate=HZ] [--replan=N]
 *
 * DIR is an artifact of `pinion compile`. The robot is simulated: `robot_observe` and `robot_act` are where cameras,
 * encoders and drives belong.
 */
#define _GNU_SOURCE /* clock_nanosleep */
#include "pinion.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_BUFFERS = 32, EXIT_NO_DEVICE = 6 };

typedef struct settings {
  const char *folder;
  long chunks; /* how many inferences before the program ends */
  double rate; /* control steps per second */
  long replan; /* actions of a chunk that are played before the next inference; 0: half of them */
} settings;

/* The policy and host memory for what goes in and comes out. */
typedef struct policy {
  const pinion_model_desc *desc;
  pinion_model *model;
  pinion_instance *instance;
  void *inputs[MAX_BUFFERS], *outputs[MAX_BUFFERS]; /* the model's */
} policy;

typedef struct robot {
  double position[64]; /* of each joint */
  long observations, steps, late;
} robot;

/* ---- The policy ---- */

static bool report(const policy *p, const char *what, pinion_status status) {
  if (status == PINION_OK) return true;
  fprintf(stderr, "control_loop: %s: %s: %s\n", what, pinion_status_name(status), pinion_last_error(p->model));
  return false;
}

/* The model's own host memory: a run reads the inputs there and leaves the outputs there. On a GPU it is page-locked,
   and the copies are part of the captured call; on the cpu there are none. */
static pinion_status attach_all(policy *p) {
  pinion_status status = PINION_OK;
  for (uint32_t i = 0; i < p->desc->input_count && !status; i++) {
    const pinion_buffer_desc *b = pinion_input_description(p->model, (int32_t)i);
    status = pinion_host_allocate(p->model, (size_t)b->bytes, &p->inputs[i]);
    if (!status) status = pinion_attach_input(p->instance, b->name, p->inputs[i], (size_t)b->bytes);
  }
  for (uint32_t i = 0; i < p->desc->output_count && !status; i++) {
    const pinion_buffer_desc *b = pinion_output_description(p->model, (int32_t)i);
    status = pinion_host_allocate(p->model, (size_t)b->bytes, &p->outputs[i]);
    if (!status) status = pinion_attach_output(p->instance, b->name, p->outputs[i], (size_t)b->bytes);
  }
  return status;
}

/* The memory that is attached ends with the model. */
static void policy_close(policy *p) {
  pinion_instance_destroy(p->instance);
  pinion_model_close(p->model);
  p->instance = NULL;
  p->model = NULL;
}

/* Everything slow happens here: device, weights, memory, capture. */
static pinion_status policy_open(policy *p, const char *folder) {
  pinion_status status = pinion_model_open(p->desc, folder, NULL, &p->model);
  if (!status) status = pinion_instance_create(p->model, &p->instance);
  if (!status) status = attach_all(p);
  if (!status) status = pinion_prepare(p->instance);
  return status;
}

/* ---- The robot ---- */

static float random_normal(void) {
  double u = (rand() + 1.0) / (RAND_MAX + 2.0), v = (rand() + 1.0) / (RAND_MAX + 2.0);
  return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static void observe_floats(const robot *r, const pinion_buffer_desc *b, bool is_noise, float *out) {
  uint64_t count = b->bytes / sizeof *out;
  for (uint64_t i = 0; i < count; i++) {
    if (b->rank == 4) /* a camera: pixels in -1 .. 1 */
      out[i] = (float)sin(0.01 * (double)i + 0.1 * (double)r->observations);
    else if (is_noise) /* what the policy turns into actions; drawn anew for every chunk */
      out[i] = random_normal();
    else /* the state: positions of the joints */
      out[i] = (float)r->position[i % 64];
  }
}

/* Fills every input from the sensors. A real robot knows its inputs by name ("base_0_rgb", "state", ..):
   pinion_input_index gives their place. */
static void robot_observe(robot *r, policy *p) {
  const pinion_buffer_desc *actions = pinion_output_description(p->model, 0);
  for (uint32_t i = 0; i < p->desc->input_count; i++) {
    const pinion_buffer_desc *b = pinion_input_description(p->model, (int32_t)i);
    bool is_noise = b->rank == actions->rank && !memcmp(b->dims, actions->dims, (size_t)b->rank * sizeof *b->dims);
    if (b->dtype == PINION_DTYPE_f32)
      observe_floats(r, b, is_noise, p->inputs[i]);
    else if (b->dtype == PINION_DTYPE_bool) /* every camera is there, every token is valid */
      memset(p->inputs[i], 1, (size_t)b->bytes);
    /* The instruction's tokens stay the ones that were written once: zeros here. */
  }
  r->observations++;
}

/* One control step: the action is what the drives are told. */
static void robot_act(robot *r, const float *action, int64_t width) {
  for (int64_t i = 0; i < width && i < 64; i++) r->position[i] += 0.01 * ((double)action[i] - r->position[i]);
  r->steps++;
}

/* ---- The loop ---- */

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Sleeps until the next control step is due. One that is already past is counted, and the clock starts again from now.
 */
static void wait_for_step(robot *r, double period, double *due) {
  double now = seconds();
  *due += period;
  if (*due < now) {
    r->late++;
    *due = now;
    return;
  }
  const struct timespec until = {(time_t)*due, (long)((*due - floor(*due)) * 1e9)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) continue;
}

/* A chunk is [.., horizon, width]: actions for the coming `horizon` control steps. */
static void play_chunk(const settings *s, robot *r, const policy *p, double *due) {
  const pinion_buffer_desc *actions = pinion_output_description(p->model, 0);
  int64_t width = actions->dims[actions->rank - 1], horizon = actions->dims[actions->rank - 2];
  int64_t played = s->replan > 0 && s->replan < horizon ? s->replan : (horizon + 1) / 2;
  for (int64_t step = 0; step < played; step++) {
    robot_act(r, (const float *)p->outputs[0] + step * width, width);
    wait_for_step(r, 1 / s->rate, due);
  }
}

/* An inference that fails leaves the robot where it is: the last chunk is not played again. A device that is lost is so
   for the whole process, which ends, for its supervisor to start it again; anything else may be passing. */
static bool can_go_on(const policy *p, pinion_status status) {
  report(p, "the inference failed", status);
  return status != PINION_DEVICE_LOST;
}

static bool control(const settings *s, policy *p, robot *r) {
  double slowest = 0, total = 0, due = seconds();
  for (long chunk = 0; chunk < s->chunks; chunk++) {
    robot_observe(r, p);
    double start = seconds();
    pinion_status status = pinion_run(p->instance, NULL); /* one chunk of actions from the observation */
    double took = seconds() - start;
    total += took;
    slowest = took > slowest ? took : slowest;
    if (status == PINION_OK)
      play_chunk(s, r, p, &due);
    else if (!can_go_on(p, status))
      return false;
  }
  printf("%ld chunks, %ld control steps at %g Hz, %ld late; inference %.3f ms on average, %.3f ms at most\n", s->chunks,
         r->steps, s->rate, r->late, total / (double)s->chunks * 1000, slowest * 1000);
  return true;
}

static bool read_settings(int argc, char **argv, settings *out) {
  *out = (settings){.chunks = 10, .rate = 50};
  for (int i = 1; i < argc; i++) {
    if (sscanf(argv[i], "--chunks=%ld", &out->chunks) == 1) continue;
    if (sscanf(argv[i], "--rate=%lf", &out->rate) == 1) continue;
    if (sscanf(argv[i], "--replan=%ld", &out->replan) == 1) continue;
    if (argv[i][0] == '-' || out->folder) return false;
    out->folder = argv[i];
  }
  return out->folder && out->chunks > 0 && out->rate > 0;
}

/* The loop plays rows of float32 actions. */
static bool is_understood(const policy *p) {
  const pinion_buffer_desc *actions = pinion_output_description(p->model, 0);
  return actions && actions->dtype == PINION_DTYPE_f32 && actions->rank >= 2;
}

int main(int argc, char **argv) {
  settings s;
  policy p = {0};
  robot r = {0};
  if (!read_settings(argc, argv, &s)) {
    fprintf(stderr, "usage: control_loop DIR [--chunks=N] [--rate=HZ] [--replan=N]\n");
    return 2;
  }
  p.desc = pinion_model_description();
  if (p.desc->input_count > MAX_BUFFERS || p.desc->output_count > MAX_BUFFERS) {
    fprintf(stderr, "control_loop: more than %d inputs or outputs\n", MAX_BUFFERS);
    return 1;
  }
  pinion_status status = policy_open(&p, s.folder);
  bool good = report(&p, "cannot open the policy", status);
  if (good && !is_understood(&p)) {
    fprintf(stderr, "control_loop: the first output is no chunk of float32 actions\n");
    good = false;
  }
  if (good) good = control(&s, &p, &r);
  policy_close(&p);
  return good ? 0 : status == PINION_NO_DEVICE ? EXIT_NO_DEVICE : 1;
}
