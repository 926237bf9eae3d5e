/*
 * Sample inputs, and how far a changed graph agrees on them with the one it was made from. Floor 5.
 * Confined.
 */
#ifndef UFI_OPTIMIZE_JUDGE_H
#define UFI_OPTIMIZE_JUDGE_H

#include "backend/backend.h"

/* Inputs of a network with one input. */
typedef struct ufi_samples {
    ufi_shape shape; /* of one, batch 1 */
    ufi_layout layout;
    float **inputs; /* owned, as is the list */
    size_t count, cap, bytes;
    size_t views; /* samples in a row that show one picture, of which the first is judged; 0: 1 */
} ufi_samples;

/* Keeps a copy, unless that would take more than UFI_SAMPLES_MAX_BYTES in all. */
#define UFI_SAMPLES_MAX_BYTES ((size_t)192 << 20)
uf_status ufi_samples_add(ufi_samples *s, const ufi_tensor *input, uf_error *err);
void ufi_samples_free(ufi_samples *s);
size_t ufi_samples_pictures(const ufi_samples *s);
/* A clone of `g` in which all shapes are those that the samples give: what layers cost is known
 * where the batch or the size are open too. */
uf_status ufi_samples_size(ufi_graph *out, const ufi_graph *g, const ufi_samples *s, uf_error *err);

/* A graph that is run on samples; zero it before ufi_runner_prepare. */
typedef struct ufi_runner {
    ufi_program *program; /* owned, or NULL where the program is another's */
    ufi_context *context;
    const ufi_samples *samples;
} ufi_runner;

/* Makes a program of `g`, which computes FP32 exactly: what is found does not depend on how the
 * machine shortens products. Close it in any case. */
uf_status ufi_runner_open(ufi_runner *r, const ufi_graph *g, const ufi_samples *s, unsigned threads,
                          uf_error *err);
/* For a program that the caller keeps. */
uf_status ufi_runner_prepare(ufi_runner *r, ufi_program *program, const ufi_samples *s,
                             unsigned threads, uf_error *err);
uf_status ufi_runner_run(ufi_runner *r, size_t sample, uf_error *err);
void ufi_runner_close(ufi_runner *r);

typedef enum ufi_judging {
    UFI_JUDGE_REFERENCE, /* the run is FP32's own: remember it */
    UFI_JUDGE_USUAL,
    UFI_JUDGE_STRICTLY /* count finer differences too: what tells one layer from another */
} ufi_judging;

/* How near the outputs of the last run of `c` on sample i (of those that are judged) come to
 * FP32's; 1: they are the same. */
typedef double ufi_agreement_fn(void *arg, size_t i, const ufi_context *c, ufi_judging how);

/* Samples on which each way is judged. */
#define UFI_MAX_JUDGED 48

typedef struct ufi_judge {
    const ufi_graph *g;
    const ufi_samples *samples;
    ufi_agreement_fn *agreement;
    void *arg;
    unsigned threads;
    bool strictly;
    size_t judged;   /* pictures that are judged, evenly over all */
    float **answers; /* of FP32, all outputs one after the other */
} ufi_judge;

/* Runs `g`, the model answer, on at most `most` samples. `agreement` NULL: the cosine of the
 * outputs. Close it in any case. */
uf_status ufi_judge_open(ufi_judge *j, const ufi_graph *g, const ufi_samples *samples, size_t most,
                         unsigned threads, ufi_agreement_fn *agreement, void *arg, uf_error *err);
/* Whether a sample is among those that are judged: what is fitted should be fitted on others. */
bool ufi_judge_uses(const ufi_judge *j, size_t sample);
void ufi_judge_close(ufi_judge *j);
/* Mean agreement of `g` over the judged samples. */
uf_status ufi_judge_graph(ufi_judge *j, const ufi_graph *g, double *mean, uf_error *err);

#endif
