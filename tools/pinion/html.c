/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
#include "html.h"

#include <math.h>
#include <string.h>

/* ---- Text ---- */

/* Bytes of the UTF-8 character at `at`; 0 if it is none. */
static size_t character_bytes(const unsigned char *at) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  const size_t count = *at < 0x80 ? 1 : *at < 0xc2 ? 0 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf5 ? 4 : 0;
  uint32_t code = count > 1 ? *at & (0x7fu >> count) : *at;
  for (size_t i = 1; i < count; i++) {
    if ((at[i] & 0xc0) != 0x80) return 0;
    code = code << 6 | (at[i] & 0x3f);
  }
  const bool is_allowed = code == '\t' || code == '\n' || (code >= 0x20 && code != 0x7f && code < 0xd800) ||
                          (code >= 0xe000 && code < 0xfffe) || (code >= 0x10000 && code < 0x110000);
  return count && is_allowed && code >= least[count] ? count : 0;
}

void html_append_text(text *out, const char *string) {
  for (const unsigned char *at = (const unsigned char *)string; *at;) {
    const size_t count = character_bytes(at);
    switch (*at) {
    case '&': text_append(out, "&amp;"); break;
    case '<': text_append(out, "&lt;"); break;
    case '>': text_append(out, "&gt;"); break;
    case '"': text_append(out, "&quot;"); break;
    case '\'': text_append(out, "&#39;"); break;
    default:
      if (count)
        text_append_bytes(out, (const char *)at, count);
      else
        text_append(out, "&#xfffd;");
    }
    at += count ? count : 1;
  }
}

void html_append_element(text *out, const char *tag, const char *attributes, const char *string) {
  text_append(out, "<%s%s%s>", tag, *attributes ? " " : "", attributes);
  html_append_text(out, string);
  text_append(out, "</%s>", tag);
}

/* 1234567 as "1 234 567". */
static void append_grouped(text *out, double whole) {
  if (whole < 1000) {
    text_append(out, "%.0f", whole);
    return;
  }
  append_grouped(out, floor(whole / 1e3));
  text_append(out, " %03.0f", fmod(whole, 1e3));
}

void html_append_readable(text *out, double value) {
  if (value == 0 || value == floor(value) || value >= 100)
    append_grouped(out, round(value));
  else if (value < 1e-3)
    html_append_text(out, "<0.001");
  else
    text_append(out, "%.*f", value >= 10 ? 1 : value >= 1 ? 2 : (int)(2 - floor(log10(value))), value);
}

void html_append_number(text *out, double value, double unit) {
  text_append(out, "<td class=\"number\" data-value=\"%.17g\">", value);
  html_append_readable(out, value / unit);
  text_append(out, "</td>");
}

figure_unit html_unit(figure_kind kind, double most) {
  static const figure_unit units[][3] = {[FIGURE_COUNT] = {{"", 1}},
                                         [FIGURE_FLOPS] = {{"GFLOP", 1e9}, {"MFLOP", 1e6}, {"kFLOP", 1e3}},
                                         [FIGURE_BYTES] = {{"MB", 1e6}, {"kB", 1e3}, {"bytes", 1}},
                                         [FIGURE_TIME] = {{"ms", 1e3}, {"us", 1}}};
  int i = 0;
  while (i < 2 && units[kind][i + 1].name && most < units[kind][i].size) i++;
  return units[kind][i];
}

/* ---- Charts: SVG, in pixels ---- */

enum {
  CHART_WIDTH = 900,
  LABEL_WIDTH = 190,
  TOTAL_WIDTH = 80, /* of a row's sum; notes may need more */
  ROW_HEIGHT = 22,
  BAR_HEIGHT = 15,
  LEGEND_HEIGHT = 18,
  LEGEND_COLUMNS = 4,
  CHARACTER_WIDTH = 7,
};

const char *html_colour(size_t index) {
  static const char *const colours[] = {"#2f6db3", "#e08a2c", "#4a9a58", "#b4484f", "#7c62a8",
                                        "#3a9aa6", "#c2679b", "#8a6d4b", "#6b8e23", "#d0b13a"};
  return colours[index % (sizeof colours / sizeof *colours)];
}

const char *html_grey(size_t index) {
  static const char *const greys[] = {"#a3a7ad", "#6f757d", "#c9ccd1"};
  return greys[index % (sizeof greys / sizeof *greys)];
}

static void append_label(text *out, double x, double y, const char *class_name, const char *string) {
  text_append(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class_name);
  html_append_text(out, string);
  text_append(out, "</text>");
}

static double row_total(const bar_chart *chart, size_t row) {
  double total = 0;
  for (size_t p = 0; p < chart->part_count; p++) total += chart->values[row * chart->part_count + p];
  return total;
}

static void append_bar(text *out, const bar_chart *chart, size_t row, double scale, figure_unit in) {
  double x = LABEL_WIDTH;
  const double y = (double)row * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) / 2.0;
  append_label(out, LABEL_WIDTH - 8, y + BAR_HEIGHT - 3, "left", chart->rows[row]);
  for (size_t p = 0; p < chart->part_count; p++) {
    const double value = chart->values[row * chart->part_count + p], width = value * scale;
    if (value <= 0) continue;
    text_append(out,
                "<rect x=\"%.2f\" y=\"%.1f\" width=\"%.2f\" height=\"%d\" fill=\"%s\" data-value=\"%.17g\"><title>", x,
                y, width, BAR_HEIGHT, chart->colours[p], value);
    html_append_text(out, chart->rows[row]);
    text_append(out, ", ");
    html_append_text(out, chart->parts[p]);
    text_append(out, ": ");
    html_append_readable(out, value / in.size);
    text_append(out, " %s</title></rect>", in.name);
    x += width;
  }
  text_append(out, "<text x=\"%.1f\" y=\"%.1f\">", x + 6, y + BAR_HEIGHT - 3);
  if (chart->notes)
    html_append_text(out, chart->notes[row]);
  else
    html_append_readable(out, row_total(chart, row) / in.size);
  text_append(out, "</text>\n");
}

static bool part_is_shown(const bar_chart *chart, size_t part) {
  for (size_t row = 0; row < chart->row_count; row++)
    if (chart->values[row * chart->part_count + part] > 0) return true;
  return false;
}

/* The parts that some row has; returns how many. */
static size_t append_legend(text *out, const bar_chart *chart, double top) {
  size_t shown = 0;
  for (size_t p = 0; chart->parts != chart->rows && p < chart->part_count; p++) {
    if (!part_is_shown(chart, p)) continue;
    const double x = LABEL_WIDTH + (double)(shown % LEGEND_COLUMNS) * (CHART_WIDTH - LABEL_WIDTH) / LEGEND_COLUMNS;
    const double y = top + (double)(shown / LEGEND_COLUMNS) * LEGEND_HEIGHT;
    text_append(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"11\" height=\"11\" fill=\"%s\"/>", x, y, chart->colours[p]);
    append_label(out, x + 16, y + 10, "legend", chart->parts[p]);
    shown++;
  }
  return shown;
}

/* What the longest bar may take. */
static double bar_width(const bar_chart *chart) {
  size_t longest = 0;
  for (size_t row = 0; chart->notes && row < chart->row_count; row++)
    if (strlen(chart->notes[row]) > longest) longest = strlen(chart->notes[row]);
  return CHART_WIDTH - LABEL_WIDTH - fmax(TOTAL_WIDTH, (double)longest * CHARACTER_WIDTH + 12);
}

static void append_caption(text *out, const char *title, figure_unit in, const char *caption) {
  text_append(out, "<figure><figcaption>");
  html_append_text(out, title);
  text_append(out, " <small>%s%s%s</small></figcaption>\n", in.name, *in.name ? " " : "", caption);
}

void html_append_bars(text *out, const bar_chart *chart) {
  double most = 0;
  text bars = {0};
  for (size_t row = 0; row < chart->row_count; row++) most = fmax(most, row_total(chart, row));
  const figure_unit in = html_unit(chart->kind, most);
  for (size_t row = 0; row < chart->row_count; row++)
    append_bar(&bars, chart, row, most > 0 ? bar_width(chart) / most : 0, in);
  const double legend_top = (double)chart->row_count * ROW_HEIGHT + 8;
  const size_t shown = append_legend(&bars, chart, legend_top);
  const double height = legend_top + (double)((shown + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS) * LEGEND_HEIGHT;
  append_caption(out, chart->title, in, chart->caption);
  text_append(out, "<svg id=\"%s\" viewBox=\"0 0 %d %.0f\" role=\"img\">\n", chart->id, CHART_WIDTH, height);
  text_append_bytes(out, bars.data ? bars.data : "", bars.length);
  text_append(out, "</svg></figure>\n");
  text_free(&bars);
}

/* ---- The memory plan ---- */

enum { PLAN_LEFT = 70, PLAN_TOP = 22, PLAN_HEIGHT = 360, PLAN_WIDTH = CHART_WIDTH - PLAN_LEFT, PLAN_TICKS = 4 };

static double plan_x(const memory_chart *chart, double launch) {
  return PLAN_LEFT + (chart->launch_count > 0 ? launch / chart->launch_count * PLAN_WIDTH : 0);
}

static double plan_y(const memory_chart *chart, double bytes) {
  return PLAN_TOP + PLAN_HEIGHT - (chart->bytes > 0 ? bytes / chart->bytes * PLAN_HEIGHT : 0);
}

static void append_grid(text *out, const memory_chart *chart, figure_unit in) {
  for (int tick = 0; tick <= PLAN_TICKS; tick++) {
    const double bytes = chart->bytes * tick / PLAN_TICKS, y = plan_y(chart, bytes);
    text_append(out, "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" class=\"grid\"/>", PLAN_LEFT, y, CHART_WIDTH,
                y);
    text_append(out, "<text x=\"%d\" y=\"%.1f\" class=\"left\">", PLAN_LEFT - 6, y + 4);
    html_append_readable(out, bytes / in.size);
    text_append(out, "</text>\n");
  }
}

static void append_stages(text *out, const memory_chart *chart) {
  for (size_t s = 0; s < chart->stage_count; s++) {
    const double x = plan_x(chart, chart->stage_first[s]);
    const double end = s + 1 < chart->stage_count ? plan_x(chart, chart->stage_first[s + 1]) : CHART_WIDTH;
    text_append(out, "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" class=\"stage\"/>", x, PLAN_TOP - 8, x,
                PLAN_TOP + PLAN_HEIGHT);
    if (end - x < 8 + CHARACTER_WIDTH * (double)strlen(chart->stages[s])) continue; /* it would run into the next */
    append_label(out, x + 4, PLAN_TOP - 8, "legend", chart->stages[s]);
  }
}

void html_append_memory(text *out, const memory_chart *chart) {
  const figure_unit in = html_unit(FIGURE_BYTES, chart->bytes);
  append_caption(out, "Memory plan", in, "of the arena (upwards) over the launches (to the right)");
  text_append(out, "<svg id=\"memory\" viewBox=\"0 0 %d %d\" role=\"img\">\n", CHART_WIDTH, PLAN_TOP + PLAN_HEIGHT + 8);
  append_grid(out, chart, in); /* behind the boxes */
  for (size_t i = 0; i < chart->box_count; i++) {
    const memory_box *box = &chart->boxes[i];
    const double x = plan_x(chart, box->first), y = plan_y(chart, box->offset + box->bytes);
    text_append(out,
                "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"%s\" class=\"box\" "
                "data-value=\"%.0f\"><title>",
                x, y, plan_x(chart, box->last + 1) - x, plan_y(chart, box->offset) - y, box->colour, box->bytes);
    html_append_text(out, box->label);
    text_append(out, "</title></rect>\n");
  }
  append_stages(out, chart);
  text_append(out, "</svg></figure>\n");
}
