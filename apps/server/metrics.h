/*
 * Counters, gauges and histograms, written in the text format of Prometheus (version 0.0.4) or
 * OpenMetrics 1.0. Families stand in a table that is given once; series are made at their first
 * use and live as long as the registry. Adding to a series is a few atomic operations. Shareable.
 */
#ifndef UF_SERVER_METRICS_H
#define UF_SERVER_METRICS_H

#include <stdbool.h>
#include <stddef.h>

#include "server/text.h"

enum { SRV_LABELS_MAX = 4, SRV_BUCKETS_MAX = 24 };

typedef enum srv_metric_type { SRV_COUNTER, SRV_GAUGE, SRV_HISTOGRAM } srv_metric_type;

typedef struct srv_family {
    const char *name, *help; /* counters end with "_total", durations with "_seconds" */
    srv_metric_type type;
    const char *labels[SRV_LABELS_MAX]; /* names; NULL past the last */
    const double *buckets;              /* upper bounds, ascending, without +Inf */
    size_t bucket_count;
} srv_family;

typedef struct srv_metrics srv_metrics;
typedef struct srv_series srv_series;

/* `families` must outlive the registry. NULL: no memory. */
srv_metrics *srv_metrics_create(const srv_family *families, size_t count);
void srv_metrics_destroy(srv_metrics *m);

/* The series of family `f` (an index into the table) with these label values, in the table's order;
 * made when it is new. Never NULL: without memory, or beyond 1,000 series of a family, a series
 * that is not shown. Keep it where it is used often. */
srv_series *srv_metrics_series(srv_metrics *m, size_t f, const char *const *values);
void srv_series_add(srv_series *s, double v);     /* counters (v >= 0) and gauges */
void srv_series_set(srv_series *s, double v);     /* gauges */
void srv_series_observe(srv_series *s, double v); /* histograms */
double srv_series_value(const srv_series *s);     /* of a histogram: its count */

/* Appends all families. `open` writes OpenMetrics, with "# EOF": what else is to be shown (the two
 * functions below) is written before. */
void srv_metrics_write(srv_metrics *m, bool open, srv_text *out);
/* One family without labels that has this value, for numbers that are known elsewhere. */
void srv_metrics_write_single(const srv_family *family, double v, bool open, srv_text *out);
/* How many descriptors this process has open. */
double srv_open_files(void);
/* CPU seconds, memory, open files, threads and start of this process, under Prometheus's standard
 * names (process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, ...). */
void srv_metrics_write_process(bool open, srv_text *out);

#endif
