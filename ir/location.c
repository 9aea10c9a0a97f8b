/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Reading locations: which ONNX nodes an op comes from. */
#include "ir.h"

int location_parts(arena *a, MlirLocation location, MlirLocation **out_parts) {
  const bool is_fused = mlirLocationIsAFused(location);
  const int count = is_fused ? (int)mlirLocationFusedGetNumLocations(location) : 1;
  MlirLocation *parts = arena_alloc(a, (size_t)(count + 1) * sizeof *parts);
  if (is_fused)
    mlirLocationFusedGetLocations(location, parts);
  else
    parts[0] = location;
  int named = 0;
  for (int i = 0; i < count; i++)
    if (mlirLocationIsAName(parts[i])) parts[named++] = parts[i];
  *out_parts = parts;
  return named;
}

MlirStringRef location_name(MlirLocation location) {
  if (mlirLocationIsAName(location)) return mlirIdentifierStr(mlirLocationNameGetName(location));
  if (mlirLocationIsAFused(location)) {
    intptr_t count = mlirLocationFusedGetNumLocations(location);
    MlirLocation parts[count > 0 ? count : 1];
    mlirLocationFusedGetLocations(location, parts);
    for (intptr_t i = 0; i < count; i++) {
      MlirStringRef name = location_name(parts[i]);
      if (name.length) return name;
    }
  }
  return (MlirStringRef){"", 0};
}

MlirLocation location_of_node(MlirContext context, const char *name, const char *op_type) {
  const MlirLocation type =
      *op_type ? mlirLocationNameGet(context, mlirStringRefCreateFromCString(op_type), mlirLocationUnknownGet(context))
               : mlirLocationUnknownGet(context);
  return mlirLocationNameGet(context, mlirStringRefCreateFromCString(name), type);
}

MlirStringRef location_op_type(MlirLocation location) {
  const MlirStringRef none = {"", 0};
  if (!mlirLocationIsAName(location)) return none;
  const MlirLocation type = mlirLocationNameGetChildLoc(location);
  return mlirLocationIsAName(type) ? mlirIdentifierStr(mlirLocationNameGetName(type)) : none;
}
