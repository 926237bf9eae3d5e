/*
 * From gradients to the next weights: SGD with momentum, AdamW, decay, clipping, and a moving
 * average of the weights. Floor 5. Confined.
 */
#ifndef UFI_TRAIN_OPTIMIZER_H
#define UFI_TRAIN_OPTIMIZER_H

#include "train/net.h"

typedef enum ufi_optimizer_kind {
    UFI_SGD,  /* Nesterov momentum (Sutskever et al. 2013); decay is added to the gradient */
    UFI_ADAMW /* Loshchilov & Hutter 2019: decay apart from the gradient */
} ufi_optimizer_kind;

typedef struct ufi_optimizer_options {
    ufi_optimizer_kind kind;
    double momentum;            /* SGD */
    double beta1, beta2, delta; /* ADAMW */
    double decay;               /* of variables that decay (ufi_variable.decay) */
    double clip;                /* the gradients' common norm is cut to this; 0: it is not */
    double average; /* decay of the moving average, 0: none is kept; lower in the first steps:
                       min(average, (1 + step) / (10 + step)) */
} ufi_optimizer_options;
#define UFI_OPTIMIZER_OPTIONS_INIT                         \
    {                                                      \
        UFI_ADAMW, 0.9, 0.9, 0.999, 1e-8, 0.05, 5.0, 0.999 \
    }

typedef struct ufi_optimizer ufi_optimizer;

/* `variables` are pointers to variables that outlive the optimizer; the list is copied. */
uf_status ufi_optimizer_create(ufi_optimizer **out, ufi_variable *const *variables, size_t count,
                               const ufi_optimizer_options *options, uf_error *err);
void ufi_optimizer_destroy(ufi_optimizer *o); /* NULL is accepted */

/* One step at this rate. *norm (may be NULL) is the gradients' norm before clipping. UF_E_STATE,
 * and nothing is changed, when it is not finite. */
uf_status ufi_optimizer_step(ufi_optimizer *o, double rate, double *norm, uf_error *err);

/* The averaged numbers, variable by variable; without an average the variables' own. */
const float *const *ufi_optimizer_average(const ufi_optimizer *o);

/* Everything a checkpoint needs beside the variables: `count` arrays, and the steps made. */
typedef struct ufi_optimizer_state {
    float *data;
    size_t count;
} ufi_optimizer_state;
size_t ufi_optimizer_state_count(const ufi_optimizer *o);
ufi_optimizer_state ufi_optimizer_state_at(const ufi_optimizer *o, size_t i);
int64_t ufi_optimizer_steps(const ufi_optimizer *o);
void ufi_optimizer_set_steps(ufi_optimizer *o, int64_t steps);

#endif
