/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* A model in the reference interpreter, on the inputs of an artifact: what verify and its bisection compare with. */
#ifndef PINION_TOOLS_REFERENCE_H
#define PINION_TOOLS_REFERENCE_H

#include "inputs.h"

#include "frontend/frontend.h"

/* The artifact's shapes, which close what the model leaves open. The arena's. */
import_options reference_shapes(arena *memory, const pinion_model_desc *desc);

/* Evaluates @main of a module of core and fused ops on the artifact's inputs, by name; zeros for an argument that the
   artifact does not have: it reached no output, or was an absent camera's, whose mask is then false. Results replace
   the tensors of *results, one for each output of the artifact, in its order. Diagnoses a module of another model
   (STATUS_MISMATCH). */
status reference_evaluate(compilation *c, MlirModule module, const pinion_model_desc *desc, const tensor_list *inputs,
                          eval_precision precision, eval_observer *observer, void *user, tensor_list *results);

#endif
