/* What `uniface evaluate` measures, and how it is told. */
#ifndef UF_CLI_EVALUATION_H
#define UF_CLI_EVALUATION_H

#include "cli.h"
#include "uniface/evaluate.h"

enum { MAX_RATES = 6, MAX_GROUPS = 64, CMC_RANKS = 20, MAX_POINTS = 2000 };

/* Rates at one threshold. */
typedef struct at_threshold {
    double threshold, wanted_far; /* NAN: the threshold was given */
    uf_rate far, frr;             /* of the system: trials that could not be made are counted in */
    uf_rate fmr, fnmr;            /* of the matcher: they are left out */
    double far_low, far_high;     /* Clopper and Pearson, where the FAR was wanted */
    bool thirty;                  /* enough trials for the rule of 30 at the wanted FAR */
} at_threshold;

typedef struct group {
    char name[64];
    uf_rate fmr, fnmr; /* at the threshold of `far` over all */
} group;

typedef struct search_rates {
    size_t searches, gallery; /* mated searches, people enrolled */
    double cmc[CMC_RANKS];
    uf_threshold at[3]; /* far: the FPIR; tar: 1 - FNIR */
    int rates;
} search_rates;

typedef struct evaluation {
    const char *source, *kind, *model_id; /* the model's id: NULL for ready scores */
    uf_scored_trial *trials;
    size_t count, made[2]; /* trials; impostor and genuine trials that could be made */
    float *scores[2];      /* of impostor and genuine trials, -INFINITY with those not made */
    size_t score_count[2];
    size_t pictures, failed; /* pictures without a usable face */
    int32_t folds;
    uint32_t samples;
    double far;   /* for groups and the bootstrap */
    bool sampled; /* impostor trials are a sample of all pairs */

    double eer, eer_threshold;
    at_threshold at_far[MAX_RATES], given[MAX_RATES];
    int far_rates, given_rates;
    bool has_folds, has_bootstrap;
    uf_fold_accuracy accuracy;
    uf_interval eer_interval, tar_interval;
    group groups[MAX_GROUPS];
    int group_count;
    search_rates search;
} evaluation;

void evaluation_print(const evaluation *e);
void evaluation_json(const evaluation *e, FILE *f);
/* report.html, report.json, roc.svg, det.svg, curve.csv, scores.csv and, after searches, cmc.svg
 * and cmc.csv in a folder that is made. Returns the exit status. */
int evaluation_save(const evaluation *e, const char *folder);

#endif
