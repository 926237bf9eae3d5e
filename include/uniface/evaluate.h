/*
 * uniface/evaluate.h - error rates of comparisons and searches, and whether two models differ.
 *
 * The rates are those of ISO/IEC 19795-1: FMR/FNMR are errors of the matcher, FAR/FRR those of the
 * whole system, which also fails where no face is found. Scores are similarities: score >=
 * threshold accepts. A score of -INFINITY stands for a trial that could not be made (failure to
 * enrol or to acquire): it is refused at every threshold, and so counted in. Other scores must be
 * finite.
 *
 * All but uf_trials are functions of numbers only, for any thread. Since 0.2.
 */
#ifndef UNIFACE_EVALUATE_H
#define UNIFACE_EVALUATE_H

#include "uniface/face.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- rates ---- */

/* A measured rate with its 95 % interval (Wilson 1927). */
typedef struct uf_rate {
    double value, low, high; /* 0..1; value is NAN and the interval 0..1 without trials */
    uint64_t errors, trials;
} uf_rate;

UF_API uf_rate uf_rate_of(uint64_t errors, uint64_t trials);

/* Doddington's rule of 30: with 90 % confidence a rate is known within 30 % of itself when at least
 * 30 errors were seen. Trials that are needed for 30 errors at `rate`; 0 for a rate of 0. */
UF_API uint64_t uf_trials_needed(double rate);

/* The rates at a threshold. `far` or `frr` may be NULL. Errors: UF_E_ARG for a score that is NAN or
 * +INFINITY. */
UF_API uf_status uf_rates_at_threshold(const float *genuine, size_t genuine_count,
                                       const float *impostor, size_t impostor_count,
                                       double threshold, uf_rate *far, uf_rate *frr, uf_error *err);

/* The lowest threshold that accepts at most `far` of the impostors, and the rates there; the
 * interval of the FAR is Clopper and Pearson's (1934), which is never too short. Both arrays are
 * sorted. Errors: UF_E_ARG when a score is not allowed or there are fewer than 1 / far impostors.
 *
 * For searches (1:N): give as genuine the score of each mated search whose mate came first, and
 * -INFINITY for the others; as impostor the best score of each search without a mate. Then far is
 * the FPIR and 1 - tar the FNIR. */
UF_API uf_status uf_rates_at_far(float *genuine, size_t genuine_count, float *impostor,
                                 size_t impostor_count, double far, uf_threshold *out,
                                 uf_error *err);

/* The equal error rate: mean of FAR and FRR at the threshold where they differ least. Sorts both
 * arrays. Errors: UF_E_ARG, also when there are no genuine or no impostor trials. */
UF_API uf_status uf_equal_error_rate(float *genuine, size_t genuine_count, float *impostor,
                                     size_t impostor_count, double *rate, double *threshold,
                                     uf_error *err);

typedef struct uf_curve_point {
    double threshold, far, frr;
} uf_curve_point;

/* The curve of errors (ROC and DET are two ways to draw it), thresholds rising, from FAR 1 to FAR
 * 0. Where there are more than `cap` (at least 64) thresholds, points are left out that lie nearest
 * in the logarithm of either rate. Sorts both arrays. Errors as above. */
UF_API uf_status uf_error_curve(float *genuine, size_t genuine_count, float *impostor,
                                size_t impostor_count, uf_curve_point *points, size_t cap,
                                size_t *count, uf_error *err);

/* Cumulative match characteristic: hit[r - 1] is the share of searches whose mate came among the
 * first r. ranks: 1 for the first place, 0 for nowhere. */
UF_API void uf_cmc(const uint32_t *ranks, size_t count, double *hit, size_t max_rank);

/* McNemar's exact test (1947): the two-sided probability that two models which judge the same
 * trials are equally good and still `only_first` trials are judged rightly by the first alone and
 * `only_second` by the second alone. 1 when both are 0. */
UF_API double uf_mcnemar(uint64_t only_first, uint64_t only_second);

/* ---- trials with subjects and folds ---- */

typedef struct uf_scored_trial {
    float score;
    int32_t same;                  /* 1: one person */
    int32_t fold;                  /* 0.. */
    uint32_t subject_a, subject_b; /* 0.. */
} uf_scored_trial;

typedef struct uf_fold_accuracy {
    double mean, standard_error; /* of the folds' accuracies; standard_error = s / sqrt(folds) */
    int32_t folds;
} uf_fold_accuracy;

/* The protocol of LFW (Huang et al. 2007, View 2): each fold is judged at the threshold that is
 * best on all others. accuracies[folds], or NULL. Errors: UF_E_ARG with fewer than 2 folds, a fold
 * without trials or out of range. */
UF_API uf_status uf_accuracy_in_folds(const uf_scored_trial *trials, size_t count, int32_t folds,
                                      double *accuracies, uf_fold_accuracy *out, uf_error *err);

typedef struct uf_interval {
    double low, high;
} uf_interval;

/* 95 % percentile intervals by drawing subjects, not trials, with replacement (Bolle, Ratha,
 * Pankanti 2004: trials of one person depend on each other): of the equal error rate, and of the
 * TAR at `far`. The same seed gives the same answer. `samples` 100..100000. Errors: UF_E_ARG. */
UF_API uf_status uf_bootstrap_subjects(const uf_scored_trial *trials, size_t count, double far,
                                       uint32_t samples, uint64_t seed, uf_interval *eer,
                                       uf_interval *tar, uf_error *err);

/* ---- lists of trials, as they are published ---- */

typedef struct uf_trials uf_trials; /* read-only once read: shareable */

typedef struct uf_trial {
    uint32_t a, b; /* templates */
    int32_t same, fold;
} uf_trial;

typedef struct uf_trial_picture {
    const char *name;     /* as in the list; of packed pictures a number */
    const uint8_t *bytes; /* the picture itself, where the list holds it; else NULL */
    size_t size_bytes;
    uint32_t template_id; /* the template it is part of */
    uint32_t media;       /* pictures of one video share a number within the template */
} uf_trial_picture;

/* Reads a list; which kind it is shows in the file:
 *   LFW's pairs.txt ("10 300", then "NAME 1 2" or "NAME 1 OTHER 2"), pictures NAME/NAME_0001.jpg;
 *   lines "PICTURE PICTURE 1|0 [FOLD]", by tabs, commas or spaces, # for remarks;
 *   CALFW's and CPLFW's text (two lines "PICTURE FOLD" a pair, FOLD 0: two persons);
 *   packed .bin of LFW, CFP, AgeDB, CALFW, CPLFW (a pickle of encoded pictures and of decisions;
 *   nothing in it is executed);
 *   IJB-A/B/C, when `templates` names the list "PICTURE TEMPLATE MEDIA": lines "TEMPLATE TEMPLATE
 *   1|0". Otherwise `templates` is NULL and each picture a template.
 * Errors: UF_E_IO, UF_E_FORMAT with the line or offset, UF_E_LIMIT. */
UF_API uf_status uf_trials_read(uf_trials **out, const char *path, const char *templates,
                                uf_error *err);
UF_API void uf_trials_destroy(uf_trials *t); /* NULL is accepted */
UF_API const char *uf_trials_format(const uf_trials *t);
UF_API const uf_trial *uf_trials_list(const uf_trials *t, size_t *count);
UF_API const uf_trial_picture *uf_trials_pictures(const uf_trials *t, size_t *count);
UF_API size_t uf_trials_template_count(const uf_trials *t);
UF_API int32_t uf_trials_fold_count(const uf_trials *t); /* 1 when the list names none */
/* The subject of a template, 0..: templates that a trial calls one person share it. */
UF_API uint32_t uf_trials_subject(const uf_trials *t, uint32_t template_id);

#ifdef __cplusplus
}
#endif

#endif
