/* Error rates of comparisons: thresholds at a false accept rate, with confidence. Floor 5. */
#ifndef UFI_EVALUATE_ROC_H
#define UFI_EVALUATE_ROC_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct ufi_operating_point {
    double far, threshold;    /* asked for; similarity >= threshold accepts */
    double far_low, far_high; /* 95 % Clopper-Pearson interval of the FAR at the threshold */
    double tar;
    uint64_t impostors, genuines;
} ufi_operating_point;

/* The lowest threshold at which at most far * impostors are accepted. Sorts both arrays. Errors:
 * UF_E_ARG when a score is not finite or there are fewer than 1 / far impostors. */
uf_status ufi_roc_point(float *genuine, size_t genuines, float *impostor, size_t impostors,
                        double far, ufi_operating_point *out, uf_error *err);
/* 95 % interval of a rate of k in n (Clopper & Pearson 1934). */
void ufi_clopper_pearson(uint64_t k, uint64_t n, double *low, double *high);

#endif
