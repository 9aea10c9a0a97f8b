/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "compare.h"

#include <math.h>

/* |x - y|: 0 for the same infinity or two NaN, infinite where only one is finite. */
static double distance(double x, double y) {
  if (x == y || (isnan(x) && isnan(y))) return 0;
  return isfinite(x) && isfinite(y) ? fabs(x - y) : INFINITY;
}

static double ratio(double part, double whole) {
  return part == 0 ? 0 : part / whole; /* 0 / 0 is 0 here: nothing is as nothing should be */
}

comparison compare_tensors(const tensor *x, const tensor *y, const tensor *minus, const uint8_t *visible, double rtol,
                           double atol) {
  comparison result = {.worst = 0};
  double difference = 0, xx = 0, yy = 0, xy = 0;
  int64_t count = type_elements(&y->type);
  for (int64_t i = 0; i < count; i++) {
    if (visible && !visible[i]) continue;
    double base = minus ? tensor_get(minus, i) : 0, a = tensor_get(x, i) - base, b = tensor_get(y, i) - base;
    double error = distance(a, b);
    if (error > result.max_absolute) result.max_absolute = error, result.worst = i;
    if (b != 0 && isfinite(b)) result.max_relative = fmax(result.max_relative, error / fabs(b));
    result.mismatches += !(error <= atol + rtol * fabs(b)) && error != 0;
    difference += error * error;
    if (!isfinite(a) || !isfinite(b)) continue;
    xx += a * a, yy += b * b, xy += a * b;
  }
  result.relative_l2 = ratio(sqrt(difference), sqrt(yy));
  result.cosine = xx == 0 && yy == 0 ? 1 : xx == 0 || yy == 0 ? 0 : xy / sqrt(xx) / sqrt(yy);
  return result;
}

double default_tolerance(const pinion_model_desc *desc) {
  for (uint32_t i = 0; i < desc->buffer_count; i++)
    if (desc->buffers[i].dtype == PINION_DTYPE_bf16 || desc->buffers[i].dtype == PINION_DTYPE_f16) return 2e-2;
  return 1e-5;
}

static void print_row(const char *what, const comparison *c) {
  printf("  %-28s %11.3e %11.3e %11.3e  %.9f\n", what, c->max_absolute, c->max_relative, c->relative_l2, c->cosine);
}

/* The worst of the comparisons decides; integers must be equal. */
static bool within(const comparison *c, pinion_dtype dtype, const tolerance *limits, double relative_l2) {
  if (!dtype_is_float(dtype)) return c->max_absolute == 0;
  bool by_element = limits->rtol >= 0 || limits->atol >= 0;
  return c->relative_l2 <= relative_l2 && (!by_element || c->mismatches == 0);
}

/* An output beside its reference: as it is, and without the noise. */
typedef struct output_comparison {
  comparison whole, moved; /* the same where there is no noise */
  int noise;               /* input, or -1 */
  double limit;
  bool good;
} output_comparison;

static output_comparison compare_output(const pinion_model_desc *desc, const tensor_list *inputs, uint32_t output,
                                        const tensor *x, const tensor *y, const tolerance *limits) {
  output_comparison c = {.noise = noise_input(desc, output),
                         .limit = limits->relative_l2 < 0 ? default_tolerance(desc) : limits->relative_l2};
  c.whole = c.moved = compare_tensors(x, y, NULL, NULL, fmax(limits->rtol, 0), fmax(limits->atol, 0));
  if (c.noise >= 0) {
    c.moved = compare_tensors(x, y, &inputs->tensors[c.noise], NULL, 0, 0);
    c.moved.mismatches = c.whole.mismatches; /* element tolerances are about the output itself */
  }
  c.good = within(&c.moved, x->type.dtype, limits, c.limit);
  return c;
}

static void print_output(const pinion_model_desc *desc, uint32_t output, const tensor *x, const tensor *y,
                         const output_comparison *c) {
  print_row(desc->buffers[desc->outputs[output]].name, &c->whole);
  if (c->noise >= 0) {
    char what[64];
    snprintf(what, sizeof what, "  minus '%.40s'", desc->buffers[desc->inputs[c->noise]].name);
    print_row(what, &c->moved);
  }
  if (!c->good)
    printf("  BEYOND TOLERANCE (relative L2 %.1e): element %lld is %.9g, the reference %.9g\n", c->limit,
           (long long)c->moved.worst, tensor_get(x, c->moved.worst), tensor_get(y, c->moved.worst));
}

bool outputs_agree(const pinion_model_desc *desc, const tensor_list *inputs, const tensor_list *outputs,
                   const tensor_list *references, const tolerance *limits, double *out_error) {
  bool good = true;
  *out_error = 0;
  for (uint32_t i = 0; i < outputs->count; i++) {
    const tensor *x = &outputs->tensors[i];
    output_comparison c = compare_output(desc, inputs, i, x, &references->tensors[i], limits);
    const double error = dtype_is_float(x->type.dtype) || c.good ? c.moved.relative_l2 : INFINITY;
    good &= c.good;
    *out_error = fmax(*out_error, error);
  }
  return good;
}

status compare_outputs(const pinion_model_desc *desc, const tensor_list *inputs, const tensor_list *outputs,
                       const tensor_list *references, const tolerance *limits) {
  bool good = true;
  printf("  %-28s %11s %11s %11s  %s\n", "error of", "max abs", "max rel", "relative L2", "cosine");
  for (uint32_t i = 0; i < outputs->count; i++) {
    const tensor *x = &outputs->tensors[i], *y = &references->tensors[i];
    output_comparison c = compare_output(desc, inputs, i, x, y, limits);
    print_output(desc, i, x, y, &c);
    good &= c.good;
  }
  return good ? STATUS_OK : STATUS_MISMATCH;
}
