/*
 * What the weights of each convolution meet: the covariance of the inputs under its kernel. Floor
 * 5.
 */
#ifndef UFI_OPTIMIZE_PATCHES_H
#define UFI_OPTIMIZE_PATCHES_H

#include "optimize/judge.h"

typedef struct ufi_patches {
    size_t length;      /* weights of an output channel; 0: not known */
    size_t count;       /* covariances: 1, or of a depthwise convolution one for each channel */
    double *covariance; /* [count][length][length], in the order of the weights */
} ufi_patches;

/* patches[i] for each node i of the judge's graph that is a dense or depthwise convolution of not
 * too many weights, from samples that are not judged (watch.h); of large maps some places are
 * taken, evenly. The caller frees them. */
uf_status ufi_patches_collect(ufi_patches *patches, const ufi_judge *judge, uf_error *err);
void ufi_patches_free(ufi_patches *patches, uint32_t count);

#endif
