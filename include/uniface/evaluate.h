/*
 * uniface/evaluate.h - error rates of comparisons, and whether two models differ. Functions of
 * numbers only. Since 0.2.
 */
#ifndef UNIFACE_EVALUATE_H
#define UNIFACE_EVALUATE_H

#include "uniface/face.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The lowest threshold that accepts at most `far` of the impostors, and the rates there. Scores are
 * similarities; both arrays are sorted. Errors: UF_E_ARG when a score is not finite or there are
 * fewer than 1 / far impostors. */
UF_API uf_status uf_rates_at_far(float *genuine, size_t genuine_count, float *impostor,
                                 size_t impostor_count, double far, uf_threshold *out,
                                 uf_error *err);

/* McNemar's exact test (1947): the two-sided probability that two models which judge the same
 * trials are equally good and still `only_first` trials are judged rightly by the first alone and
 * `only_second` by the second alone. 1 when both are 0. */
UF_API double uf_mcnemar(uint64_t only_first, uint64_t only_second);

#ifdef __cplusplus
}
#endif

#endif
