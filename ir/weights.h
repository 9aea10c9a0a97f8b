/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Tensor bytes that live outside the IR: mapped files of the model, and blobs named by their content.
 * A pinion.weight refers to one by `file` and `offset`.
 */
#ifndef PINION_IR_WEIGHTS_H
#define PINION_IR_WEIGHTS_H

#include "base.h"

typedef struct weight_store weight_store;

weight_store *weight_store_create(void);
void weight_store_destroy(weight_store *store); /* unmaps and frees everything */

/* Folder that relative file names of weights are resolved against: the model's. Copied. */
void weight_store_set_folder(weight_store *store, const char *folder);
const char *weight_store_folder(const weight_store *store); /* borrowed */
/* Folder where blobs that are not in the store are looked for: a dump's. Copied. */
void weight_store_set_blob_folder(weight_store *store, const char *folder);

/* Keeps a copy of `bytes` and returns its name, "sha256-" and 64 hex digits; the same bytes get the same name. Borrowed
   from the store. */
const char *weight_store_add(weight_store *store, const void *data, size_t bytes);

/* Address of `bytes` bytes at `offset` of `file`: a blob, or a file that is mapped at first use (a `sha256-` name that
   is no blob of the store is looked for as a file in the blob folder, and its hash checked). Diagnoses a missing or
   short file, and a path that is absolute or climbs out of the folder (STATUS_BAD_INPUT). */
status weight_store_read(weight_store *store, diagnostics *d, const char *file, uint64_t offset, uint64_t bytes,
                         const void **out_data);

/* Writes blob `name` as a file of that name into `folder`, if it is not there yet. A file of the model is no blob and
   is left alone. */
status weight_store_write(weight_store *store, diagnostics *d, const char *name, const char *folder);

/* Tells the system that a mapped range will not be needed again soon, so that a stream over gigabytes stays small. From
   any thread, also while another one reads. */
void weight_store_release(weight_store *store, const void *data, size_t bytes);

#endif
