/*
 * uniface/train.h - networks that learn: from a teacher (distillation), from pictures of known
 * persons, or both; from nothing, or going on from a model.
 *
 * These functions are in libuniface-train, which holds all of libuniface too and needs oneDNN: link
 * it in place of libuniface. Thread: a run is confined to the thread that calls uf_train.
 * Since 0.3.
 */
#ifndef UNIFACE_TRAIN_H
#define UNIFACE_TRAIN_H

#include "uniface/optimize.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Losses of known persons (folders, or lists with labels). X(ENUM, name, text) */
#define UF_PERSON_LOSS_LIST(X)                                                         \
    X(NONE, "none", "pictures are not told apart")                                     \
    X(ARCFACE, "arcface", "additive angular margin (Deng et al. 2019)")                \
    X(COSFACE, "cosface", "additive cosine margin (Wang et al. 2018)")                 \
    X(UNIFIED, "unified-ce", "one threshold for all persons (Zhou et al., ICCV 2023)") \
    X(TRIPLET, "triplet", "batch-hard triplets (Hermans et al. 2017)")
typedef enum uf_person_loss {
#define UF_PERSON_LOSS_ENUM(id, name, text) UF_PERSON_LOSS_##id,
    UF_PERSON_LOSS_LIST(UF_PERSON_LOSS_ENUM)
#undef UF_PERSON_LOSS_ENUM
        UF_PERSON_LOSS_COUNT
} uf_person_loss;

typedef enum uf_optimizer { UF_OPTIMIZER_ADAMW = 0, UF_OPTIMIZER_SGD = 1 } uf_optimizer;

/* How the learning rate falls: along half a cosine to `final_rate`, or by `rate_factor` at each of
 * `milestones`. */
typedef enum uf_schedule { UF_SCHEDULE_COSINE = 0, UF_SCHEDULE_STEP = 1 } uf_schedule;
#define UF_MAX_MILESTONES 8

/* A point of the curves of a run; agreement and score are -1 where they were not taken. */
typedef struct uf_train_point {
    int64_t step;
    double loss;      /* mean since the point before */
    double rate;      /* learning rate */
    double agreement; /* with the teachers, on pictures held out: mean cosine, for detectors the
                         overlap of their maps of scores */
    double score;     /* of `validate` */
} uf_train_point;

/* Where a run stands. */
typedef struct uf_train_state {
    int64_t step, steps; /* made so far, and of the whole run */
    int32_t batch;
    double loss, rate, gradient_norm;
    double pictures_per_s, remaining_s;
    double agreement, score; /* newest; -1: none yet */
    const uf_train_point *points;
    size_t point_count;
    uint64_t asked;    /* pictures that teachers were run on in this call; the cache tells others */
    size_t unreadable; /* pictures that could not be decoded so far */
} uf_train_state;

/* Called after each step; nonzero stops the run: a checkpoint is written where one was asked for,
 * and UF_E_CANCELLED comes back. */
typedef int uf_train_progress_fn(void *user, const uf_train_state *state);
/* Scores a candidate (0 or more, higher is better), for instance on pairs of pictures. Returns
 * nonzero to end the run with UF_E_CANCELLED. */
typedef int uf_train_validate_fn(void *user, uf_model *candidate, double *score);

typedef struct uf_train_options {
    /* What learns: a described network ("mobilefacenet-0.5x", or the path of a text;
     * docs/training.md) or, when `start` is given, that model: of FP32, or in INT8 as uf_quantize
     * makes it. In INT8 it learns to be rounded (quantisation-aware training): each step computes
     * with the bytes that would be written; weights, biases and the scales of all bytes are
     * learned, zero points stay, and what comes back is the same INT8 graph with other numbers.
     * The FP32 model it was made from is the natural teacher. `precision` is FP32 then. */
    const char *student;
    const uf_model *start;
    /* What it learns from. Folders, tar archives, lists: docs/training.md. Pictures whose list has
     * no landmarks are aligned by `detector`, or taken as aligned crops when it is NULL. What a
     * detector learns from is whole pictures; faces that `detector` finds in them are pasted into
     * its scenes too, in all sizes. */
    const char *const *pictures;
    size_t picture_count;
    uf_model *detector;
    uf_model *const *teachers; /* at most 4 embedders, or one detector */
    size_t teacher_count;
    double angular, feature, relational; /* weights of the teachers' losses; 1, 0, 0 */
    uf_person_loss persons;
    double persons_weight, margin, scale, smoothing; /* margin 0: what suits the loss */
    int32_t pictures_per_person; /* of each person in a batch, which then holds batch /
                                    pictures_per_person different persons; 1: whoever comes; 0: what
                                    suits the loss, 4 for triplets and else 1 */
    /* How. */
    double epochs;          /* passes over the pictures */
    int32_t batch;          /* 64 */
    uint32_t threads;       /* 0: as many as the process has cores */
    uf_precision precision; /* FP32, or BF16 for activations and multiplications */
    uf_optimizer optimizer;
    double rate, final_rate; /* learning rate after the warm-up and, along a cosine, at the end */
    double warmup;           /* share of the run */
    uf_schedule schedule;
    const double *milestones; /* STEP: shares of the run, ascending, at most UF_MAX_MILESTONES;
                                 NULL: 0.5, 0.75, 0.9 */
    size_t milestone_count;
    double rate_factor; /* STEP; 0.1 */
    double decay, clip, average;
    double augment; /* strength of what is varied: 0 nothing .. 1 (default) .. 2 */
    double blend;   /* chance of a face becoming that of a new person: two pictures morphed */
    double occlude; /* chance of a patch over the face */
    int32_t clean_teacher;     /* teachers see pictures before they were degraded */
    const char *teacher_cache; /* with clean_teacher, embedders: file in which their vectors are
                                  kept (several teachers: PATH.1, PATH.2 ...), so that each picture
                                  is shown to a teacher once, whatever the number of epochs and
                                  runs; UF_E_MISMATCH for one of another teacher or other pictures.
                                  Pictures of `blend` are asked about each time. NULL: none */
    double held_out;           /* share of the pictures kept for measuring the agreement; 0.02 */
    uint64_t seed;
    size_t cache_bytes; /* of decoded pictures; 1 GiB */
    /* Going on and stopping. */
    const char *checkpoint;         /* file to go on from when it is there, and to write; or NULL */
    double checkpoint_every_s;      /* 60 */
    int64_t measure_every;          /* steps between points of the curves; 0: 40 points in all */
    uf_train_validate_fn *validate; /* with each such point; may be NULL */
    void *validate_arg;
    int32_t patience; /* with `validate`: end when so many scores in a row were no better than the
                         best; 0: never */
    uf_train_progress_fn *progress; /* may be NULL */
    void *progress_arg;
} uf_train_options;
#define UF_TRAIN_OPTIONS_INIT                                                                      \
    {                                                                                              \
        NULL, NULL, NULL, 0, NULL, NULL, 0, 1, 0, 0, UF_PERSON_LOSS_NONE, 1, 0, 30, 0, 0, 1, 64,   \
            0, UF_PRECISION_FP32, UF_OPTIMIZER_ADAMW, 0.002, 0.00002, 0.05, UF_SCHEDULE_COSINE,    \
            NULL, 0, 0.1, 0.05, 5, 0.999, 1, 0, 0, 0, NULL, 0.02, 1, (size_t)1 << 30, NULL, 60, 0, \
            NULL, NULL, 0, NULL, NULL                                                              \
    }

/* Trains; the new model is the caller's, independent of all else. Where `validate` scored, it is
 * the best candidate, else the last; its weights are the moving average. Its metadata "trained.*"
 * are the card: how, from what (digest of the pictures, ids of the teachers), how long, how well.
 * The same options, pictures, models and threads give the same weights, whether the run was
 * interrupted or not. Errors: UF_E_ARG, UF_E_MISMATCH (teacher and student, or a checkpoint of
 * another run), UF_E_UNSUPPORTED (an operator without a gradient), UF_E_STATE (the run diverged),
 * UF_E_CANCELLED.
 */
UF_API uf_status uf_train(uf_model **out, const uf_train_options *options, uf_error *err);

/* Described networks that come with the library; NULL past the last. */
UF_API const char *uf_architecture_name(size_t i);
UF_API const char *uf_architecture_text(size_t i);

#ifdef __cplusplus
}
#endif

#endif
