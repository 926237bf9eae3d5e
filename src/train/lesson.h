/*
 * What a student is taught, and how far it has come: one row of operations a task. A lesson says
 * what the pictures show, turns a student's outputs and what teachers say of the same pictures into
 * losses and gradients, and judges a student on pictures it has not learned from. Floor 5.
 * Confined.
 */
#ifndef UFI_TRAIN_LESSON_H
#define UFI_TRAIN_LESSON_H

#include "model/network.h"
#include "train/data.h"
#include "train/loss.h"
#include "train/net.h"

enum { UFI_MAX_TEACHERS = 4 };

typedef struct ufi_teacher {
    const ufi_model_file *file;
    ufi_program *program;
} ufi_teacher;

/* Weights of the parts of the loss; 0: left out. */
typedef struct ufi_lesson_weights {
    double angular, feature, relational; /* embedders with teachers */
    double margin, triplet;              /* embedders, pictures of known persons */
} ufi_lesson_weights;

typedef struct ufi_lesson_options {
    const ufi_model_file *student; /* its metadata; must outlive the lesson */
    ufi_teacher teachers[UFI_MAX_TEACHERS];
    size_t teacher_count;
    const ufi_dataset *data;
    ufi_lesson_weights weights;
    ufi_margin margin_options;
    double triplet_margin;
    ufi_scene scene; /* detectors; size is the student's */
    bool exact; /* detectors: learn what the teacher says, not the mean with what it says of the
                   mirror image */
    bool clean; /* teachers see the picture before it was degraded */
    const char *cache, *data_digest; /* embedders, `clean`: where what teachers say is kept, or
                                        NULL; of `data` */
    size_t batch;
    unsigned threads;
    uint64_t seed;
} ufi_lesson_options;

typedef struct ufi_lesson ufi_lesson;

/* By the student's metadata "task": embedder or detector. Errors: UF_E_UNSUPPORTED for another
 * task, UF_E_MISMATCH when a teacher does not fit, UF_E_ARG when nothing is asked for that the
 * pictures can teach. */
uf_status ufi_lesson_create(ufi_lesson **out, const ufi_lesson_options *options, uf_error *err);
void ufi_lesson_destroy(ufi_lesson *l); /* NULL is accepted */

/* Fills views and scene of what a loader is to show. View 0 is the student's. */
void ufi_lesson_views(const ufi_lesson *l, ufi_loader_options *o);
/* Variables beside the network's: the persons' centres. */
ufi_variable *ufi_lesson_variables(ufi_lesson *l, size_t *count);
/* After the net's forward pass on view 0: fills the gradients of its outputs, and those of the
 * lesson's variables. *loss is the weighted sum, a mean over the batch. */
uf_status ufi_lesson_learn(ufi_lesson *l, ufi_net *net, const ufi_batch *batch, double *loss,
                           uf_error *err);
/* Pictures that teachers were run on so far. */
uint64_t ufi_lesson_asked(const ufi_lesson *l);
/* Adds over the batch how far `student`, opened on a finished model, agrees with the teachers, each
 * 0..1 (cosine of embeddings; overlap of a detector's maps of scores), and how many were judged;
 * without teachers nothing is. */
uf_status ufi_lesson_judge(ufi_lesson *l, ufi_network *student, const ufi_batch *batch, double *sum,
                           size_t *count, uf_error *err);

#endif
