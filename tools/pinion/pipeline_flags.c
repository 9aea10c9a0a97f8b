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

pipeline_options pipeline_flags_options(const pipeline_flags *flags) {
  pipeline_options options = flags->options;
  options.disabled = flags->disabled.items;
  options.disabled_count = flags->disabled.count;
  return options;
}

status pipeline_flags_run(compilation *c, MlirModule module, const pipeline_flags *flags) {
  rewrite_limit limit = {.allowed = flags->most_rewrites};
  pipeline_options options = pipeline_flags_options(flags);
  const bool limited = flags->most_rewrites != INT64_MAX && !options.limit;
  if (limited) options.limit = &limit;
  const status result = pipeline_run(c, module, &options);
  if (result == STATUS_OK && limited) print_limit(&limit);
  return result;
}
