/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Which rewrites are made: see gate.h. */
#include "gate.h"

#include "remarks.h"

#include <string.h>

/* ---- Places ---- */

static bool is_border(char c) {
  return c == '/' || c == '.' || c == '@';
}

static bool name_has(MlirStringRef name, const char *place) {
  const size_t length = strlen(place);
  for (size_t at = 0; at + length <= name.length; at++) {
    if (memcmp(name.data + at, place, length) != 0) continue;
    const bool begins = at == 0 || is_border(name.data[at - 1]) || is_border(place[0]);
    const bool ends = at + length == name.length || is_border(name.data[at + length]) || is_border(place[length - 1]);
    if (begins && ends) return true;
  }
  return false;
}

bool location_lies_in(MlirLocation location, const char *place) {
  arena *a = arena_create();
  MlirLocation *parts;
  const int count = location_parts(a, location, &parts);
  bool found = false;
  for (int i = 0; i < count && !found; i++)
    found = name_has(mlirIdentifierStr(mlirLocationNameGetName(parts[i])), place);
  arena_destroy(a);
  return found;
}

static bool module_has(arena *a, MlirModule module, const char *place) {
  op_list functions = module_functions(a, module);
  for (int f = 0; f < functions.count; f++) {
    op_list ops = block_ops(a, function_body(functions.ops[f]));
    for (int i = 0; i < ops.count; i++)
      if (location_lies_in(mlirOperationGetLocation(ops.ops[i]), place)) return true;
  }
  return false;
}

static status add_place(rewrite_gate *gate, MlirModule module, const char *item, const char *place) {
  compilation *c = gate->compilation;
  if (!*place)
    return diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL, "--disable-pass=%s: a place must follow the @", item);
  arena *a = arena_create();
  const bool found = module_has(a, module, place);
  arena_destroy(a);
  if (!found)
    return diagnose(&c->diagnostics, STATUS_USAGE, NULL, NULL,
                    "--disable-pass=%s: no op lies in '%s'; `pinion import` shows locations, as NODE@MODULE.PATH", item,
                    place);
  const char *pass = arena_string(c->arena, item, (size_t)(place - 1 - item));
  gate->places[gate->place_count++] = (disabled_place){.pass = pass, .place = place};
  return STATUS_OK;
}

status gate_open(rewrite_gate *gate, compilation *c, MlirModule module, const pipeline_options *options) {
  *gate = (rewrite_gate){.compilation = c, .limit = options->limit};
  gate->places = arena_alloc(c->arena, (size_t)(options->disabled_count + 1) * sizeof *gate->places);
  if (gate->limit) *gate->limit = (rewrite_limit){.allowed = gate->limit->allowed};
  status code = STATUS_OK;
  for (int i = 0; i < options->disabled_count && code == STATUS_OK; i++) {
    const char *at = strchr(options->disabled[i], '@');
    if (at) code = add_place(gate, module, options->disabled[i], at + 1);
  }
  return code;
}

void gate_close(const rewrite_gate *gate) {
  for (int i = 0; i < gate->place_count && !gate->limit; i++)
    if (!gate->places[i].met)
      fprintf(stderr, "pinion: warning: --disable-pass=%s@%s: there is nothing that it would rewrite there\n",
              gate->places[i].pass, gate->places[i].place);
}

/* ---- Passes ---- */

static bool is_exhausted(const rewrite_gate *gate) {
  return gate->limit && gate->limit->made >= gate->limit->allowed;
}

bool gate_begin(rewrite_gate *gate, const pass_info *pass) {
  gate->pass = pass;
  gate->asked = false;
  return pass->required || !is_exhausted(gate);
}

status gate_end(rewrite_gate *gate, int changes) {
  if (gate->pass->required || changes == 0 || gate->asked) return STATUS_OK;
  return diagnose(&gate->compilation->diagnostics, STATUS_FAILED, NULL, NULL,
                  "a bug in Pinion: '%s' rewrote the module without asking pass_may_rewrite", gate->pass->name);
}

bool pass_may_simplify(pass_context *context, MlirLocation location) {
  rewrite_gate *gate = context->gate;
  if (!gate || gate->pass->required) return true;
  gate->asked = true;
  for (int i = 0; i < gate->place_count; i++) {
    disabled_place *place = &gate->places[i];
    if (strcmp(place->pass, gate->pass->name) != 0 || !location_lies_in(location, place->place)) continue;
    place->met = true;
    return false;
  }
  if (is_exhausted(gate)) return false;
  if (gate->limit) {
    gate->limit->made++;
    gate->limit->pass = gate->pass->name;
    gate->limit->location = location;
  }
  return true;
}

bool pass_may_rewrite(pass_context *context, MlirLocation location) {
  if (!pass_may_simplify(context, location)) return false;
  remark_fired(context->remarks, location);
  return true;
}
