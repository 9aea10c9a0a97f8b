/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "pipeline_flags.h"

static void print_limit(const rewrite_limit *limit) {
  fprintf(stderr, "%lld rewrites of optional passes", (long long)limit->made);
  if (limit->pass) {
    MlirStringRef name = location_name(limit->location);
    fprintf(stderr, "; the last: %s at '%.*s'", limit->pass, (int)name.length, name.data);
  }
  fputc('\n', stderr);
}

status pipeline_flags_run(compilation *c, MlirModule module, pipeline_flags *flags) {
  rewrite_limit limit = {.allowed = flags->most_rewrites};
  const bool limited = flags->most_rewrites != INT64_MAX;
  pipeline_options options = flags->options;
  options.disabled = flags->disabled.items;
  options.disabled_count = flags->disabled.count;
  if (limited) options.limit = &limit;
  const status result = pipeline_run(c, module, &options);
  if (result == STATUS_OK && limited) print_limit(&limit);
  return result;
}
