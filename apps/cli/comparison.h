/* What `uniface compare` measures, and how it is told. */
#ifndef UF_CLI_COMPARISON_H
#define UF_CLI_COMPARISON_H

#include "race.h"
#include "session.h"
#include "uniface/evaluate.h"

/* One of the two models. */
typedef struct side {
    const char *path;
    uf_model *model;
    uf_embedder *embedder;
    uf_detector *detector;
    race_result speed;
    long size_bytes;
    float *scores[2]; /* of impostors, of genuine pairs */
    uf_threshold rates;
} side;

/* A layer of both models. */
typedef struct compared_layer {
    char *name;
    int bits;      /* 8: INT8, 16: INT16, 0: floats */
    double snr_db; /* INFINITY: no difference */
} compared_layer;

typedef struct comparison {
    side sides[2];
    cli_session session; /* finds the faces that embedders are given */
    bool detectors;
    double far;
    float *cosines;
    size_t cosine_count, pictures, faceless;
    size_t pair_count[2]; /* impostors, genuine */
    size_t only[2];       /* judged rightly by one alone */
    double mcnemar;
    bool has_pairs;
    /* detectors */
    size_t reference_faces, matched_faces, new_faces;
    double overlap_sum;
    compared_layer *layers;
    size_t layer_count;
} comparison;

typedef struct summary {
    double speedup, size, memory, cosine_mean, cosine_first, tar_drop, matched, mean_overlap, added;
} summary;

/* `why` is empty, or says which gate was missed. */
void comparison_print(const comparison *c, const summary *s, const char *why);
void comparison_json(const comparison *c, const summary *s, const char *why, FILE *f);
/* A page with tables and a chart of the layers; returns the exit status. */
int comparison_save(const comparison *c, const summary *s, const char *why, const char *path);

#endif
