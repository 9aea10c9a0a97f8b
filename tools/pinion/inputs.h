/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/* Tensors for an artifact's inputs, and references for its outputs: from folders, or seeded random. */
#ifndef PINION_TOOLS_INPUTS_H
#define PINION_TOOLS_INPUTS_H

#include "artifact.h"
#include "tensor.h"

/* Tensors in the model's order, each of its buffer's exact type and shape. */
typedef struct tensor_list {
  uint32_t count;
  tensor *tensors; /* owned */
} tensor_list;

void tensor_list_free(tensor_list *set);

/* Reads one tensor for every input (or output, with `outputs`) of the artifact from `folder`: NAME.npy, a '/' in the
   name written '_', or ONNX's input_0.pb, input_1.pb, .. (output_0.pb, ..), by name where they carry one, else in
   order; also in `folder`/test_data_set_0. Element types are converted where nothing is lost; references keep the type
   of their file. Diagnoses every missing tensor and every wrong shape at once (STATUS_BAD_INPUT). */
status tensor_list_read(diagnostics *d, const pinion_model_desc *desc, bool outputs, const char *folder,
                        tensor_list *out_set);

/* Diagnoses a folder that is not there (STATUS_BAD_INPUT), before there is an artifact to read it for; NULL is none. */
status check_folder(diagnostics *d, const char *folder);

/* Random inputs that fit each type and meaning (runtime/bench.h). */
status tensor_list_random(diagnostics *d, const pinion_model_desc *desc, uint64_t seed, tensor_list *out_set);

/* Zeroed tensors for all outputs. */
status tensor_list_outputs(diagnostics *d, const pinion_model_desc *desc, tensor_list *out_set);

/* Writes each output as NAME.npy into `folder`, which is made if it is missing. */
status tensor_list_write(diagnostics *d, const pinion_model_desc *desc, const tensor_list *outputs, const char *folder);

/* Copies all inputs in; runs once; copies all outputs out. */
status artifact_run(diagnostics *d, const artifact *a, const tensor_list *inputs, tensor_list *outputs);

/* The index of a float input with an output's exact shape and type (the noise of a diffusion policy), or -1. */
int noise_input(const pinion_model_desc *desc, uint32_t output);

/* Index of the input or output of that name, -1 if there is none. */
int desc_find_input(const pinion_model_desc *desc, const char *name);
int desc_find_output(const pinion_model_desc *desc, const char *name);

/* A buffer's type. */
tensor_type buffer_type(const pinion_buffer_desc *buffer);

#endif
