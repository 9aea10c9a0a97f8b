/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * Views of buffers: an offset and a stride per dimension, all in elements. Transposes, slices, broadcasts and most
 * reshapes are views of their operand's buffer. Pure arithmetic: no IR, no state.
 */
#ifndef PINION_IR_VIEW_H
#define PINION_IR_VIEW_H

#include "ir.h"

typedef struct view {
  int buffer;       /* whose elements: an index that the user of the view gives a meaning */
  tensor_type type; /* what it shows: element type and dims */
  int64_t offset;   /* elements */
  int64_t stride[PINION_MAX_RANK];
  int64_t step_stride; /* elements from one step's to the next one's, for a row of a table */
} view;

/* Rows padded to PINION_ROW_ALIGN (unless the row is one element), long ones to whole lines of memory, so that a line
   of one row's tile is never half of two: elements from one row to the next. */
int64_t padded_pitch(const tensor_type *type);
/* Row-major view of a whole buffer whose rows are `pitch` elements apart. */
view view_rows(int buffer, const tensor_type *type, int64_t pitch);
/* Elements that a buffer of that type and pitch takes. */
int64_t pitched_elements(const tensor_type *type, int64_t pitch);
/* The same elements, row-major, in another shape, where that is a view; else false. */
bool view_reshape(const view *v, int rank, const int64_t *dims, view *out);
void view_transpose(const view *v, const int64_t *permutation, view *out);
/* The view whose transpose is `v`. */
void view_untranspose(const view *v, const int64_t *permutation, view *out);
/* NumPy's broadcast, aligned at the last dimension; false if it does not. */
bool view_broadcast(const view *v, int rank, const int64_t *dims, view *out);
/* y[i] = v[start + i * step], of extents `dims`. */
void view_slice(const view *v, const int64_t *starts, const int64_t *steps, const int64_t *dims, view *out);
/* Both show the same elements at the same index. */
bool view_same(const view *a, const view *b);
/* Takes row 0 of the leading dimension, whose stride becomes the step stride (a table's row). */
void view_table_row(const view *v, view *out);

#endif
