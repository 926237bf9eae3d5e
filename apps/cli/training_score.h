/* Scores of candidates on a list of pairs: faces are found and cut out once, then embedded by each
 * candidate. */
#ifndef UF_CLI_TRAINING_SCORE_H
#define UF_CLI_TRAINING_SCORE_H

#include "session.h"
#include "uniface/evaluate.h"

typedef struct training_score {
    const cli_args *a;
    cli_session session; /* the detector */
    uf_trials *trials;
    int32_t size;   /* of the crops, 0: not cut out yet */
    uint8_t *crops; /* [pictures][size][size][3] */
    bool *found;    /* per picture */
    size_t pictures;
} training_score;

/* Reads --pairs and opens the detector. Prints what is wrong; returns the exit status. */
int training_score_open(training_score *s, const cli_args *a);
/* The pairs as this model scores them, to be freed; NULL after it has printed what is wrong. */
uf_scored_trial *training_score_trials(training_score *s, uf_model *m, size_t *count);
/* Share of pairs judged rightly, the threshold taken from the other folds. */
int training_score_of(training_score *s, uf_model *candidate, double *score);
void training_score_close(training_score *s); /* accepts zeros */

#endif
