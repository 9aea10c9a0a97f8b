/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "pipeline_flags.h"

#include <errno.h>
#include <string.h>

static void print_limit(const rewrite_limit *limit) {
  fprintf(stderr, "%lld rewrites of optional passes", (long long)limit->made);
  if (limit->pass) {
    MlirStringRef name = location_name(limit->location);
    fprintf(stderr, "; the last: %s at '%.*s'", limit->pass, (int)name.length, name.data);
  }
  fputc('\n', stderr);
}

static status open_remarks(compilation *c, const pipeline_flags *flags, FILE **out_stream) {
  *out_stream = flags->remarks_file ? fopen(flags->remarks_file, "w") : flags->remarks ? stderr : NULL;
  if (*out_stream || !flags->remarks_file) return STATUS_OK;
  return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", flags->remarks_file,
                  strerror(errno));
}

static status close_remarks(compilation *c, const pipeline_flags *flags, FILE *stream) {
  if (!flags->remarks_file || !fclose(stream)) return STATUS_OK;
  return diagnose(&c->diagnostics, STATUS_FAILED, NULL, NULL, "cannot write '%s': %s", flags->remarks_file,
                  strerror(errno));
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
  status result = open_remarks(c, flags, &options.remarks);
  if (result != STATUS_OK) return result;
  result = pipeline_run(c, module, &options);
  if (close_remarks(c, flags, options.remarks) != STATUS_OK && result == STATUS_OK) result = STATUS_FAILED;
  if (result == STATUS_OK && limited) print_limit(&limit);
  return result;
}
