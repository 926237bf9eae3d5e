/*
 * A run of training: student, lesson, data, optimizer and schedule, step by step. Floor 5.
 * Confined.
 *
 * What a run comes to depends on its options, the data and the networks alone (for one number of
 * threads): one that was saved and loaded goes on to the same numbers, bit for bit.
 */
#ifndef UFI_TRAIN_TRAINER_H
#define UFI_TRAIN_TRAINER_H

#include "train/lesson.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "uniface/train.h"

typedef struct ufi_trainer_options {
    ufi_lesson_options lesson; /* `student`, `data`, `batch`, `threads`, `seed` are set by create */
    size_t batch;
    unsigned threads;
    unsigned loader_threads;
    bool bf16;
    uint64_t seed;
    ufi_schedule schedule; /* total: steps of the run */
    ufi_optimizer_options optimizer;
    ufi_augment augment;
    size_t per_person;  /* pictures of each person in a batch; 0: whoever comes */
    double held_out;    /* share of the pictures that is not learned from but judged on */
    size_t cache_bytes; /* of decoded pictures */
} ufi_trainer_options;

typedef struct ufi_trainer ufi_trainer;

/* `student` is a described network or an FP32 model; `data` and the teachers must outlive the
 * trainer, as must `student`. Errors: those of ufi_net_create, ufi_lesson_create, and UF_E_ARG when
 * there are too few pictures for a batch. */
uf_status ufi_trainer_create(ufi_trainer **out, const ufi_model_file *student,
                             const ufi_dataset *data, const ufi_trainer_options *options,
                             uf_error *err);
void ufi_trainer_destroy(ufi_trainer *t); /* NULL is accepted */

/* Points of the run's curves that are kept. */
#define UFI_TRAIN_MAX_POINTS 1024u

typedef struct ufi_train_step {
    int64_t step; /* how many have been made, this one included */
    double loss, rate, norm;
} ufi_train_step;

uf_status ufi_trainer_step(ufi_trainer *t, ufi_train_step *out, uf_error *err);
int64_t ufi_trainer_steps(const ufi_trainer *t);
/* Pictures that could not be read so far, and why the last could not. */
size_t ufi_trainer_unreadable(const ufi_trainer *t, uf_error *last);

/* Pictures that teachers were run on since the trainer was made. */
uint64_t ufi_trainer_asked(const ufi_trainer *t);

/* The student as it is now, its averaged weights where an average is kept - or, with `kept`, as it
 * was at ufi_trainer_keep - with the passes run and the student's metadata; to be freed. */
uf_status ufi_trainer_model(const ufi_trainer *t, bool kept, ufi_model_file *out, uf_error *err);
/* How far that model agrees with the teachers on pictures held out (ufi_lesson_judge); -1 when
 * there are no teachers or no such pictures. */
uf_status ufi_trainer_judge(ufi_trainer *t, const ufi_model_file *model, double *agreement,
                            uf_error *err);

/* Adds to the curves, which are part of a checkpoint; beyond UFI_TRAIN_MAX_POINTS every other point
 * goes, so that what is left covers the run. */
void ufi_trainer_record(ufi_trainer *t, double agreement, double score);
const uf_train_point *ufi_trainer_points(const ufi_trainer *t, size_t *count);
/* Scores that were recorded since weights were last kept. */
int64_t ufi_trainer_worse(const ufi_trainer *t);
/* Sets the weights as they are (averaged, where an average is kept) aside, in place of what was. */
void ufi_trainer_keep(ufi_trainer *t, double score);
double ufi_trainer_kept_score(const ufi_trainer *t, int64_t *step); /* -1: nothing was kept */

/* `key` is what the run depends on. */
uf_status ufi_trainer_save(const ufi_trainer *t, const char *path, const uint8_t key[32],
                           uf_error *err);
uf_status ufi_trainer_load(ufi_trainer *t, const char *path, const uint8_t key[32], uf_error *err);

#endif
