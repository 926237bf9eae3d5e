/* Line charts as SVG, which browsers and documents show as they are. */
#ifndef UF_CLI_CHART_H
#define UF_CLI_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef struct chart_axis {
    const char *label;
    double low, high;
    bool logarithmic; /* low > 0; values below it are drawn at it */
} chart_axis;

typedef struct chart_line {
    const char *name; /* in the legend; NULL: none */
    const double *x, *y;
    size_t count;
    bool dots; /* points instead of a line */
} chart_line;

/* Writes one <svg> element. */
void chart_write(FILE *f, const char *title, const chart_axis *x, const chart_axis *y,
                 const chart_line *lines, size_t line_count);
/* The same into a file of its own; false when it cannot be written. */
bool chart_save(const char *path, const char *title, const chart_axis *x, const chart_axis *y,
                const chart_line *lines, size_t line_count);
/* The beginning of a page, up to its body. */
void html_head(FILE *f, const char *title);
/* Writes text with the characters that HTML and SVG reserve replaced. */
void chart_text(FILE *f, const char *text);

#endif
