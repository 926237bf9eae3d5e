/*
 * From an FP32 graph to one in bytes. Floor 5.
 *
 * Weights become signed bytes with a scale for each output channel, symmetric; activations unsigned
 * bytes with one scale and a zero point (Krishnamoorthi 2018; Nagel et al. 2021). Convolutions and
 * fully connected layers are carried out as QConv; maxima, enlargements and additions between them
 * stay in bytes; everything else runs in FP32, and conversions are put in where the two meet.
 *
 * Or in words (INT16): activations and weights have 16 bits and no zero points, a filter's absolute
 * weights add up to UFI_WORDS_MOST at most. Convolutions only, those in groups if they are
 * depthwise; those that Winograd's way suits stay in FP32, which is faster.
 */
#ifndef UFI_OPTIMIZE_QUANTIZE_H
#define UFI_OPTIMIZE_QUANTIZE_H

#include "optimize/observer.h"
#include "optimize/patches.h"

typedef struct ufi_quantize_options {
    ufi_range_method method;
    bool words;             /* INT16; ranges are all that was seen and a quarter more */
    bool correct_bias;      /* add what rounding the weights takes from the mean output */
    const bool *keep_float; /* per node of the source: left in FP32; NULL: none */
    /* Per node of the source: weights are rounded by them where they are known (rounding.h); NULL:
     * all to nearest. */
    const ufi_patches *patches;
    /* Scales of filters so large that AVX2 can add their products in 16 bits. */
    bool narrow;
} ufi_quantize_options;

/* yes[i]: node i of `g` can become a QConv, of bytes or of words. */
uf_status ufi_quantizable_nodes(const ufi_graph *g, const ufi_observer *o, bool words, bool *yes,
                                uf_error *err);

/* `out` is a new graph that owns all its data. Ranges are those of
 * `o`, an observer of `g` that has seen at least one input. Errors: UF_E_STATE without one,
 * UF_E_UNSUPPORTED when the graph has nothing to quantise. */
uf_status ufi_quantize_graph(ufi_graph *out, const ufi_graph *g, const ufi_observer *o,
                             const ufi_quantize_options *options, uf_error *err);

#endif
