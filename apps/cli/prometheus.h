/* Reads the text format of Prometheus, and takes differences of two readings. */
#ifndef UF_CLI_PROMETHEUS_H
#define UF_CLI_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>

enum { PROM_BUCKETS = 40, PROM_ROWS = 64, PROM_LABEL = 96 };

typedef struct prom_sample {
    char *name, *labels; /* labels: what stands between the braces, or "" */
    double value;
} prom_sample;

typedef struct prom_text {
    char *text; /* which samples point into */
    prom_sample *samples;
    size_t count;
} prom_text;

/* Reads `text`, which it keeps and changes; false: it is none. */
bool prom_read(prom_text *p, char *text);
void prom_free(prom_text *p);
/* The value of a label, escapes as they stand; "" when it is absent. */
void prom_label(const prom_sample *s, const char *label, char out[PROM_LABEL]);
/* Sum over all series of a name whose label begins so (label NULL: all). */
double prom_sum(const prom_text *p, const char *name, const char *label, const char *prefix);

/* What a metric did between two readings, by the values of a label. */
typedef struct prom_row {
    char label[PROM_LABEL];
    double count, sum;                             /* a counter's difference is its count */
    double bounds[PROM_BUCKETS], in[PROM_BUCKETS]; /* in: in the bucket, not below it */
    size_t buckets;
} prom_row;

/* Rows of a histogram's or counter's difference, those with the largest count first. */
size_t prom_histogram(const prom_text *before, const prom_text *after, const char *name,
                      const char *label, prom_row rows[PROM_ROWS]);
size_t prom_counter(const prom_text *before, const prom_text *after, const char *name,
                    const char *label, prom_row rows[PROM_ROWS]);
/* As Prometheus estimates it: linear within a bucket. NaN when nothing was counted. */
double prom_quantile(const prom_row *r, double q);

#endif
