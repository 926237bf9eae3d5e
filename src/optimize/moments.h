/* Means and covariances of the channels of activations, on sample inputs. Floor 5. */
#ifndef UFI_OPTIMIZE_MOMENTS_H
#define UFI_OPTIMIZE_MOMENTS_H

#include "optimize/judge.h"

typedef struct ufi_moments {
    size_t channels; /* 0: not asked for */
    double *mean;
    double *covariance; /* [channels][channels] */
    uint64_t count;     /* pixels they are taken from */
} ufi_moments;

/* moments[v] for each value v of the judge's graph for which wanted[v]: activations of rank 4. The
 * samples that are judged are left out; of large maps some pixels are taken, evenly. The caller
 * frees them. */
uf_status ufi_moments_collect(ufi_moments *moments, const bool *wanted, const ufi_judge *judge,
                              uf_error *err);
void ufi_moments_free(ufi_moments *moments, uint32_t count);

#endif
