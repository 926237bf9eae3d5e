/*
 * Trying the ways of quantisation on sample inputs and keeping the best. Floor 5.
 */
#ifndef UFI_OPTIMIZE_SEARCH_H
#define UFI_OPTIMIZE_SEARCH_H

#include "optimize/judge.h"
#include "optimize/quantize.h"

/* What was tried and what it gave. */
typedef struct ufi_trial {
    bool equalized, bias_corrected;
    bool words;   /* 16 bits instead of eight; ranges and biases do not matter then */
    bool rounded; /* weights by what the inputs are like (rounding.h) */
    bool narrow;  /* weights whose sums fit 16 bits (quantize.h) */
    ufi_range_method method;
    uint32_t kept;    /* layers left in FP32 */
    uint32_t layers;  /* that could be quantised; 0 while none is left in FP32 */
    double agreement; /* with FP32, mean over the samples */
} ufi_trial;

typedef struct ufi_search_options {
    ufi_agreement_fn *agreement; /* NULL: the cosine of the outputs */
    void *agreement_arg;
    /* When the best way falls short of this mean agreement (0: never), all layers get 16 bits if
     * `words` allows that; when that falls short too, the layers that lose most for their cost stay
     * in FP32, as few as it takes. */
    double min_agreement;
    bool words;
    /* The last layers before each output stay in FP32 in every trial: a detector's are small, and
     * boxes and landmarks are read from them to a fraction of a pixel. */
    bool float_heads;
    bool all_methods; /* otherwise `method` only */
    ufi_range_method method;
    unsigned threads;
    /* Called after each trial; false stops (UF_E_CANCELLED). May be NULL. */
    bool (*progress)(void *arg, const ufi_trial *trial, size_t done, size_t total);
    void *arg;
} ufi_search_options;

/* The best quantised form of `g`, which `o` has observed on inputs such as `s` (at least one).
 * *best tells which it was. */
uf_status ufi_quantize_search(ufi_graph *out, const ufi_graph *g, const ufi_observer *o,
                              const ufi_samples *s, const ufi_search_options *options,
                              ufi_trial *best, uf_error *err);

#endif
