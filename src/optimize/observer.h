/*
 * Watching a network's activations: the graph with its inner values as outputs, and a histogram for
 * each. Feed its program through a context and call ufi_observer_take after each run. Floor 5.
 * Confined.
 */
#ifndef UFI_OPTIMIZE_OBSERVER_H
#define UFI_OPTIMIZE_OBSERVER_H

#include "backend/backend.h"
#include "optimize/histogram.h"

typedef struct ufi_observer ufi_observer;

/* `g` (FP32) must outlive the observer. */
uf_status ufi_observer_create(ufi_observer **out, const ufi_graph *g, uf_error *err);
void ufi_observer_destroy(ufi_observer *o); /* NULL is accepted */
ufi_program *ufi_observer_program(ufi_observer *o);
/* Takes in what the last run of `c`, a context of the observer's program, computed. */
void ufi_observer_take(ufi_observer *o, ufi_context *c);
uint64_t ufi_observer_runs(const ufi_observer *o);
/* Of each channel (axis 1) of a watched value of rank 4: the greatest magnitude, and the mean. */
typedef struct ufi_channel_stats {
    size_t channels; /* 0: not known */
    float *most;
    double *sum; /* of `count` values a channel */
    uint64_t count;
} ufi_channel_stats;
const ufi_channel_stats *ufi_observer_channels(const ufi_observer *o, uint32_t v);
/* The range to quantise value `v` in (histogram.h), computed once for each method; false when the
 * value is not watched. */
bool ufi_observer_range(const ufi_observer *o, uint32_t v, ufi_range_method method, float *lo,
                        float *hi);
/* The distribution of value `v` of the graph; NULL when it is not watched. */
const ufi_histogram *ufi_observer_histogram(const ufi_observer *o, uint32_t v);

#endif
