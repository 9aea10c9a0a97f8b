/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * HTML and SVG for `pinion report`: pages that are well-formed XML as well, without scripts, links or anything from the
 * network. All of it appends to a text.
 */
#ifndef PINION_TOOLS_HTML_H
#define PINION_TOOLS_HTML_H

#include "ir/base.h"

/* A string as text or as an attribute's value: markup is escaped; what XML does not allow (control characters, bytes
   that are no UTF-8) becomes U+FFFD. */
void html_append_text(text *out, const char *string);

/* <tag>string</tag>, escaped; `attributes` is markup of ours, "" for none. */
void html_append_element(text *out, const char *tag, const char *attributes, const char *string);
/* A number as people read it: "12", "3.14", "0.0271", "12 345", "<0.001". */
void html_append_readable(text *out, double value);
/* <td> of value / unit as people read it, and of the value as it is in `data-value`. */
void html_append_number(text *out, double value, double unit);

/* What figures are of, and in what they are kept: numbers, operations, bytes, microseconds. */
typedef enum figure_kind { FIGURE_COUNT, FIGURE_FLOPS, FIGURE_BYTES, FIGURE_TIME } figure_kind;
typedef struct figure_unit {
  const char *name; /* "" of a count */
  double size;      /* what is shown is the value divided by it */
} figure_unit;
/* The one to show figures in of which the largest is `most`: it is at least one of that, if there is such a unit. */
figure_unit html_unit(figure_kind kind, double most);

/* Rows of horizontal bars, each of parts behind one another, with a legend of the parts (unless they are the rows). */
typedef struct bar_chart {
  const char *id, *title;
  const char *caption; /* behind the unit */
  figure_kind kind;
  size_t row_count, part_count;
  const char *const *rows, *const *parts;
  const char *const *colours; /* per part */
  const double *values;       /* [row][part], not negative; kept in each bar's `data-value` */
  const char *const *notes;   /* per row, what stands behind it; NULL: its sum */
} bar_chart;
void html_append_bars(text *out, const bar_chart *chart);

/* Boxes over the launches (x) and bytes (y) of a memory plan. */
typedef struct memory_box {
  const char *label;
  const char *colour;
  double first, last; /* launches, both included */
  double offset, bytes;
} memory_box;

typedef struct memory_chart {
  double launch_count, bytes;
  size_t box_count, stage_count;
  const memory_box *boxes;
  const char *const *stages; /* their names .. */
  const double *stage_first; /* .. and first launches */
} memory_chart;
void html_append_memory(text *out, const memory_chart *chart);

/* Colour `index` of a row that repeats itself, and a grey one. */
const char *html_colour(size_t index);
const char *html_grey(size_t index);

#endif
