/*
 * Distributions of activations, and the range of 8-bit values that suits one. The range of a
 * histogram doubles when a value falls outside, so one pass over the data is enough. Floor 5.
 */
#ifndef UFI_OPTIMIZE_HISTOGRAM_H
#define UFI_OPTIMIZE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

#define UFI_HISTOGRAM_BINS 4096

typedef struct ufi_histogram {
    float limit;  /* bins cover -limit..limit evenly; 0 while empty */
    float lo, hi; /* least and greatest value seen */
    uint64_t count;
    uint64_t bins[UFI_HISTOGRAM_BINS];
} ufi_histogram;

/* Values that are not finite are left out. */
void ufi_histogram_add(ufi_histogram *h, const float *values, size_t count);

typedef enum ufi_range_method {
    UFI_RANGE_MINMAX,     /* all that was seen */
    UFI_RANGE_PERCENTILE, /* without the outer 0.01 % on either side */
    UFI_RANGE_MSE,        /* least squared error of what quantisation does to the histogram */
    UFI_RANGE_ENTROPY     /* least divergence of the quantised distribution (Kullback, Leibler) */
} ufi_range_method;

/* The range to quantise: lo <= 0 <= hi, lo < hi. */
void ufi_histogram_range(const ufi_histogram *h, ufi_range_method method, float *lo, float *hi);

#endif
