/*
 * What is made small. Each function returns the loss, averaged as it says, and adds `weight` times
 * its gradient to `grad`, which has the student's shape. Floor 5. Thread: any.
 */
#ifndef UFI_TRAIN_LOSS_H
#define UFI_TRAIN_LOSS_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* ---- from a teacher's embeddings: `n` vectors of `d`, not normalised ---- */

/* Angular: 1 - cosine of student and teacher, mean over vectors. */
double ufi_loss_angular(const float *student, const float *teacher, size_t n, size_t d,
                        double weight, float *grad);
/* Feature: squared distance of the vectors as they are, mean over all numbers. */
double ufi_loss_feature(const float *student, const float *teacher, size_t n, size_t d,
                        double weight, float *grad);
/* Relational: squared difference of the cosines among the student's vectors and among the
 * teacher's (which may have another length `teacher_d`), mean over pairs (as Tung & Mori 2019;
 * Park et al. 2019). `work` holds n (n + 2) + n d floats. */
double ufi_loss_relational(const float *student, size_t d, const float *teacher, size_t teacher_d,
                           size_t n, double weight, float *work, float *grad);
static inline size_t ufi_loss_relational_work(size_t n, size_t d)
{
    return n * (n + 2) + n * d;
}

/* ---- of a detector whose teacher looks at the same pixels ---- */

/* Class or objectness of `n` cells, probabilities: cross-entropy with the teacher's as soft
 * targets, sum over cells; a cell weighs 1 + `rare` times the teacher's probability, times its
 * `cell_weights` (NULL: 1). */
double ufi_loss_probability(const float *student, const float *teacher, const float *cell_weights,
                            size_t n, double rare, double weight, float *grad);
/* Boxes or points: `parts` numbers a cell, a smooth absolute error with its bend at
 * 1/9 (Girshick 2015; Lin et al. 2017), cells weighed
 * by `cell_weights`, sum over cells. */
double ufi_loss_cells(const float *student, const float *teacher, const float *cell_weights,
                      size_t cells, size_t parts, double weight, float *grad);

/* ---- of persons (labels 0..classes-1) ---- */

typedef enum ufi_margin_kind {
    UFI_MARGIN_ARCFACE, /* cos(angle + margin) (Deng et al. 2019) */
    UFI_MARGIN_COSFACE, /* cos(angle) - margin (Wang et al. 2018) */
    UFI_MARGIN_UNIFIED  /* unified cross-entropy: one threshold for all persons (Zhou et al., ICCV
                           2023) */
} ufi_margin_kind;

typedef struct ufi_margin {
    ufi_margin_kind kind;
    double margin, scale; /* scale multiplies the cosines */
    double smoothing;     /* of labels, 0..1; not of UNIFIED */
    double negative;      /* weight of the other persons' terms; UNIFIED */
} ufi_margin;

/* `centres` [classes][d] and `bias` (one number; UNIFIED) are learned too: their gradients are
 * added. Labels < 0 are left out. `work` holds n (classes + 2 d + 1) + classes (d + 1) floats. */
double ufi_loss_margin(const ufi_margin *m, const float *student, const int32_t *labels, size_t n,
                       size_t d, const float *centres, const float *bias, size_t classes,
                       double weight, float *work, float *grad, float *centres_grad,
                       float *bias_grad);
static inline size_t ufi_loss_margin_work(size_t n, size_t d, size_t classes)
{
    return n * (classes + 2 * d + 1) + classes * (d + 1);
}

/* Triplets of unit vectors: for each vector with another of its person in the batch, the farthest
 * of those and the nearest of another person must differ by `margin` in squared distance (batch
 * hard: Hermans et al. 2017). Mean over such vectors; 0 when there are none. `work` holds n (d + 1)
 * floats. */
double ufi_loss_triplet(const float *student, const int32_t *labels, size_t n, size_t d,
                        double margin, double weight, float *work, float *grad);

#endif
