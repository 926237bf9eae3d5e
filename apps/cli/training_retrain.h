/* Whether a candidate may take the place of the model that is deployed. */
#ifndef UF_CLI_TRAINING_RETRAIN_H
#define UF_CLI_TRAINING_RETRAIN_H

#include "training_score.h"

typedef struct training_verdict {
    size_t pairs;
    double accuracy[2]; /* of the deployed model and of the candidate, each at its own threshold of
                           equal errors */
    uint64_t only[2];   /* pairs that one of them alone judges rightly */
    double mcnemar;
    bool accepted; /* the candidate judges no fewer pairs rightly */
} training_verdict;

/* Lets both judge the pairs. Prints what is wrong; returns the exit status. */
int training_retrain_judge(training_verdict *v, training_score *s, uf_model *deployed,
                           uf_model *candidate);
/* Tells the verdict in a line, or as JSON. */
void training_verdict_print(const training_verdict *v);
/* The verdict as metadata "retrained.*" of the candidate. */
uf_status training_verdict_note(const training_verdict *v, const uf_model *deployed,
                                uf_model *candidate, uf_error *err);
/* `candidate`, a file, takes the place of the file `deployed`, which stays as
 * "<deployed>.previous". At no time is there no whole model at `deployed`. */
int training_promote(const char *candidate, const char *deployed);

#endif
