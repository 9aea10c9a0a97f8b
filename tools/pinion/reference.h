/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A model in the reference interpreter, on the inputs of an artifact: what verify and its bisection compare with. */
#ifndef PINION_TOOLS_REFERENCE_H
#define PINION_TOOLS_REFERENCE_H

#include "inputs.h"
#include "manifest.h"

#include "frontend/frontend.h"

/* How many samples an artifact's call takes of a model of one, by its manifest (JSON_NULL without one): 1 unless it was
   compiled with --batch. */
int64_t reference_batch(const json *manifest);

/* Imports the artifact's model: its shapes close what the model leaves open, and it is batched as the artifact is. A
   model of other inputs is a STATUS_USAGE. */
status reference_import(compilation *c, const char *model, const pinion_model_desc *desc, int64_t batch,
                        MlirModule *out_module);

/* Evaluates @main of a module of core and fused ops on the artifact's inputs, by name; zeros for an argument that the
   artifact does not have: it reached no output, or was an absent camera's, whose mask is then false. Results replace
   the tensors of *results, one for each output of the artifact, in its order. Diagnoses a module of another model
   (STATUS_MISMATCH). */
status reference_evaluate(compilation *c, MlirModule module, const pinion_model_desc *desc, const tensor_list *inputs,
                          eval_precision precision, eval_observer *observer, void *user, tensor_list *results);

#endif
