/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Compilations and modules: create, parse, print, verify. */
#define _GNU_SOURCE
#include "dialect.h"
#include "shapes.h"

#include <mlir-c/Diagnostics.h>
#include <mlir-c/Dialect/Func.h>

#include <stdlib.h>
#include <string.h>

/* ---- Compilation ---- */

static void append_string(MlirStringRef part, void *user) {
  text_append_bytes(user, part.data, part.length);
}

static MlirLogicalResult report_diagnostic(MlirDiagnostic diagnostic, void *user) {
  diagnostics *d = user;
  if (mlirDiagnosticGetSeverity(diagnostic) != MlirDiagnosticError) return mlirLogicalResultSuccess();
  text message = {0}, where = {0};
  mlirDiagnosticPrint(diagnostic, append_string, &message);
  mlirLocationPrint(mlirDiagnosticGetLocation(diagnostic), append_string, &where);
  diagnose(d, STATUS_FAILED, NULL, NULL, "%s: %s", where.data ? where.data : "", message.data ? message.data : "");
  text_free(&message);
  text_free(&where);
  return mlirLogicalResultSuccess();
}

status compilation_create(compilation *out_c) {
  *out_c = (compilation){.context = mlirContextCreate(), .arena = arena_create(), .weights = weight_store_create()};
  MlirContext context = out_c->context;
  mlirContextEnableMultithreading(context, false); /* passes share one arena */
  mlirContextAttachDiagnosticHandler(context, report_diagnostic, &out_c->diagnostics, NULL);
  mlirDialectHandleLoadDialect(mlirGetDialectHandle__func__(), context);
  /* The IRDL definition is not loaded: in LLVM 22 the operands of one variadic field must all have the same type, and
     those of concat, pointwise, gemm and steps do not. Our ops stay unregistered, and module_verify holds them against
     the table. */
  mlirContextSetAllowUnregisteredDialects(context, true);
  return STATUS_OK;
}

void compilation_destroy(compilation *c) {
  mlirContextDestroy(c->context);
  weight_store_destroy(c->weights);
  arena_destroy(c->arena);
  *c = (compilation){0};
}

/* ---- Functions and blocks ---- */

MlirOperation module_function(MlirModule module, const char *name) {
  MlirStringRef wanted = mlirStringRefCreateFromCString(name);
  for (MlirOperation op = mlirBlockGetFirstOperation(mlirModuleGetBody(module)); !mlirOperationIsNull(op);
       op = mlirOperationGetNextInBlock(op)) {
    MlirAttribute symbol = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString("sym_name"));
    if (!mlirAttributeIsNull(symbol) && mlirStringRefEqual(mlirStringAttrGetValue(symbol), wanted)) return op;
  }
  return (MlirOperation){NULL};
}

MlirBlock function_body(MlirOperation function) {
  return mlirRegionGetFirstBlock(mlirOperationGetRegion(function, 0));
}

MlirOperation block_terminator(MlirBlock block) {
  return mlirBlockGetTerminator(block);
}

/* ---- Text ---- */

static const char folder_attribute[] = "pinion.folder";

static status module_verify_form(compilation *c, MlirModule module);

status module_parse(compilation *c, const char *path, MlirModule *out_module) {
  *out_module = (MlirModule){NULL};
  mapped_file file; /* mapped only to say what is wrong with a path: MLIR reads the file itself */
  status result = file_map(&c->diagnostics, path, &file);
  if (result != STATUS_OK) return result;
  file_unmap(&file);
  MlirModule module = mlirModuleCreateParseFromFile(c->context, mlirStringRefCreateFromCString(path));
  if (mlirModuleIsNull(module))
    return diagnose(&c->diagnostics, STATUS_BAD_INPUT, NULL, NULL, "'%s' is not IR that parses", path);
  if (module_verify_form(c, module) != STATUS_OK) {
    mlirModuleDestroy(module);
    return STATUS_BAD_INPUT;
  }
  char *folder = path_folder(c->arena, path);
  weight_store_set_blob_folder(c->weights, folder);
  MlirStringRef model = attr_str(mlirModuleGetOperation(module), folder_attribute);
  weight_store_set_folder(c->weights, model.length ? arena_string(c->arena, model.data, model.length) : folder);
  *out_module = module;
  return STATUS_OK;
}

typedef struct blob_writer {
  compilation *c;
  const char *folder;
  status result;
} blob_writer;

static MlirWalkResult write_blob(MlirOperation op, void *user) {
  blob_writer *writer = user;
  if (op_kind_of(op) != OP_weight) return MlirWalkResultAdvance;
  MlirStringRef file = attr_str(op, "file");
  char *name = arena_string(writer->c->arena, file.data, file.length);
  writer->result = weight_store_write(writer->c->weights, &writer->c->diagnostics, name, writer->folder);
  return writer->result == STATUS_OK ? MlirWalkResultAdvance : MlirWalkResultInterrupt;
}

static void write_stream(MlirStringRef part, void *user) {
  fwrite(part.data, 1, part.length, user);
}

status module_print(compilation *c, MlirModule module, FILE *stream, const char *blob_folder) {
  MlirOperation op = mlirModuleGetOperation(module);
  if (!attr_str(op, folder_attribute).length) {
    char *absolute = realpath(weight_store_folder(c->weights), NULL);
    if (absolute)
      mlirOperationSetAttributeByName(op, mlirStringRefCreateFromCString(folder_attribute),
                                      make_str(c->context, absolute));
    free(absolute);
  }
  MlirOpPrintingFlags flags = mlirOpPrintingFlagsCreate();
  mlirOpPrintingFlagsEnableDebugInfo(flags, true, false);
  mlirOperationPrintWithFlags(op, flags, write_stream, stream);
  mlirOpPrintingFlagsDestroy(flags);
  fputc('\n', stream);
  blob_writer writer = {c, blob_folder, STATUS_OK};
  if (blob_folder) mlirOperationWalk(op, write_blob, &writer, MlirWalkPreOrder);
  return writer.result;
}

/* ---- Verification ---- */

typedef struct verifier {
  compilation *c;
  unsigned levels;
  status result;
} verifier;

static void violation(verifier *v, MlirOperation op, const char *what) {
  MlirStringRef name = location_name(mlirOperationGetLocation(op));
  const char *node = name.length ? arena_string(v->c->arena, name.data, name.length) : NULL;
  MlirStringRef op_type = mlirIdentifierStr(mlirOperationGetName(op));
  const char *type = arena_string(v->c->arena, op_type.data, op_type.length);
  v->result = diagnose(&v->c->diagnostics, STATUS_FAILED, node, type, "%s", what);
}

static bool attribute_has_type(MlirAttribute attribute, const char *type) {
  if (!strcmp(type, "i64")) return mlirAttributeIsAInteger(attribute);
  if (!strcmp(type, "f64")) return mlirAttributeIsAFloat(attribute);
  if (!strcmp(type, "bool")) return mlirAttributeIsABool(attribute);
  if (!strcmp(type, "str")) return mlirAttributeIsAString(attribute);
  if (!strcmp(type, "i64s")) return mlirAttributeIsADenseI64Array(attribute);
  if (!strcmp(type, "elements")) return mlirAttributeIsADenseElements(attribute);
  if (!strcmp(type, "symbol")) return mlirAttributeIsAFlatSymbolRef(attribute);
  return mlirAttributeIsAArray(attribute); /* strs, array */
}

static bool check_attributes(verifier *v, MlirOperation op, const op_info *info) {
  for (int i = 0; i < info->attribute_count; i++) {
    const op_field *field = &info->attributes[i];
    MlirAttribute attribute = mlirOperationGetAttributeByName(op, mlirStringRefCreateFromCString(field->name));
    bool absent = mlirAttributeIsNull(attribute);
    if (absent && field->arity == FIELD_OPTIONAL) continue;
    if (!absent && attribute_has_type(attribute, field->type)) continue;
    violation(v, op, arena_format(v->c->arena, "attribute '%s' must be of kind %s", field->name, field->type));
    return false;
  }
  return true;
}

/* Operands in the table's order with places for absent optional ones, as a shape rule wants them. */
static int spread_operands(verifier *v, MlirOperation op, const op_info *info, tensor_type **out_types,
                           bool **out_present) {
  intptr_t total = mlirOperationGetNumOperands(op);
  int capacity = (int)total + info->operand_count, count = 0;
  tensor_type *types = arena_alloc(v->c->arena, (size_t)(capacity + 1) * sizeof *types);
  bool *present = arena_alloc(v->c->arena, (size_t)capacity + 1);
  intptr_t at = 0;
  for (int i = 0; i < info->operand_count; i++) {
    intptr_t found = op_field_operands(op, info, i);
    if (found == 0 && info->operands[i].arity != FIELD_VARIADIC) count++;
    for (intptr_t end = at + found; at < end; at++, count++) {
      if (!value_type(mlirOperationGetOperand(op, at), &types[count])) return -1;
      present[count] = true;
    }
  }
  *out_types = types;
  *out_present = present;
  return count;
}

static void check_shapes(verifier *v, MlirOperation op, op_kind kind, const op_info *info) {
  tensor_type *operands = NULL;
  bool *present = NULL;
  int operand_count = spread_operands(v, op, info, &operands, &present);
  int result_count = (int)mlirOperationGetNumResults(op);
  tensor_type *declared = arena_alloc(v->c->arena, (size_t)(2 * result_count + 1) * sizeof *declared);
  for (int i = 0; i < result_count; i++)
    if (!value_type(mlirOperationGetResult(op, i), &declared[i])) operand_count = -1;
  if (operand_count < 0) {
    violation(v, op, "operands and results must be static tensors of rank 8 at most");
    return;
  }
  intptr_t attribute_count = op_attribute_count(op);
  MlirNamedAttribute *attributes = arena_alloc(v->c->arena, (size_t)(attribute_count + 1) * sizeof *attributes);
  for (intptr_t i = 0; i < attribute_count; i++) attributes[i] = op_attribute(op, i);
  shape_query query = {.arena = v->c->arena,
                       .operand_count = operand_count,
                       .operands = operands,
                       .present = present,
                       .attribute_count = (int)attribute_count,
                       .attributes = attributes,
                       .declared_count = result_count,
                       .declared = declared};
  const char *why = "";
  if (!shape_rule_of(kind)(&query, declared + result_count, &why)) violation(v, op, why);
}

/* Are there as many operands as the table allows? */
static bool operands_fit(MlirOperation op, const op_info *info) {
  intptr_t sum = 0;
  for (int i = 0; i < info->operand_count; i++) {
    field_arity arity = info->operands[i].arity;
    intptr_t found = op_field_operands(op, info, i);
    if (found < 0 || (arity != FIELD_VARIADIC && found > 1) || (arity == FIELD_ONE && found != 1)) return false;
    sum += found;
  }
  return sum == mlirOperationGetNumOperands(op);
}

/* What holds of every op of ours before its rule is asked. */
static bool check_form(verifier *v, MlirOperation op, const op_info *info) {
  intptr_t results = mlirOperationGetNumResults(op);
  bool is_variadic = info->result_count == 1 && info->results[0].arity == FIELD_VARIADIC;
  if (mlirOperationGetNumRegions(op) || mlirOperationGetNumSuccessors(op))
    violation(v, op, "has neither regions nor successors");
  else if (is_variadic ? results < 1 : results != info->result_count)
    violation(v, op, arena_format(v->c->arena, "has %d results, not %d", info->result_count, (int)results));
  else if (!operands_fit(op, info))
    violation(v, op, "has too few or too many operands, or operandSegmentSizes that do not fit them");
  else
    return true;
  return false;
}

static bool is_of_mlir(MlirOperation op) {
  static const char *const names[] = {"builtin.module", "func.func", "func.return", "func.call"};
  MlirStringRef name = mlirIdentifierStr(mlirOperationGetName(op));
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (mlirStringRefEqual(name, mlirStringRefCreateFromCString(names[i]))) return true;
  return false;
}

/* What a registered op's own verifier would say. */
static MlirWalkResult verify_form(MlirOperation op, void *user) {
  verifier *v = user;
  op_kind kind = op_kind_of(op);
  if (kind != OP_NONE)
    check_form(v, op, op_info_of(kind));
  else if (!is_of_mlir(op))
    violation(v, op, "is no op of Pinion's IR");
  return MlirWalkResultAdvance;
}

static MlirWalkResult verify_op(MlirOperation op, void *user) {
  verifier *v = user;
  op_kind kind = op_kind_of(op);
  arena_reset(v->c->arena);
  if (kind == OP_NONE) {
    if (!is_of_mlir(op)) violation(v, op, "is no op of Pinion's IR");
    return MlirWalkResultAdvance;
  }
  const op_info *info = op_info_of(kind);
  if (!(v->levels & 1u << info->level))
    violation(v, op, "no op of this level may be left here");
  else if (!check_form(v, op, info))
    return MlirWalkResultSkip;
  else if (check_attributes(v, op, info))
    check_shapes(v, op, kind, info);
  return MlirWalkResultAdvance;
}

static status verify_by(compilation *c, MlirModule module, unsigned levels, MlirOperationWalkCallback check) {
  verifier v = {c, levels, STATUS_OK};
  arena *lasting = c->arena;
  c->arena = arena_create(); /* what is gathered of an op is needed for that op only */
  mlirOperationWalk(mlirModuleGetOperation(module), check, &v, MlirWalkPreOrder);
  arena_destroy(c->arena);
  c->arena = lasting;
  return v.result;
}

static status module_verify_form(compilation *c, MlirModule module) {
  return verify_by(c, module, 0, verify_form);
}

status module_verify(compilation *c, MlirModule module, unsigned levels) {
  if (!mlirOperationVerify(mlirModuleGetOperation(module))) return STATUS_FAILED;
  return verify_by(c, module, levels, verify_op);
}
