/* What commands that look at photos share: a detector, perhaps an embedder, and their options. */
#ifndef UF_CLI_SESSION_H
#define UF_CLI_SESSION_H

#include "cli.h"

enum { CLI_MAX_FACES = 4096 };

/* A detector, perhaps an embedder, and room for faces. */
typedef struct cli_session {
    uf_model *detector_model, *embedder_model;
    uf_detector *detector;
    uf_embedder *embedder;
    uf_face *faces;
    size_t dimension;
} cli_session;

#define DETECTOR_OPTIONS                                                                      \
    {"detector", 'd', "MODEL", "detector (default: the store's, else the built-in)"},         \
        {"size", 0, "PIXELS", "longest side the network sees; auto: small and large faces"},  \
        {"score", 0, "0..1", "least score of a face (default: the model's)"},                 \
        {"nms", 0, "0..1", "overlap at which two boxes are one face (default: the model's)"}, \
    {                                                                                         \
        "threads", 't', "N", "threads (0: one per core)"                                      \
    }

#define EMBEDDER_OPTIONS                                                              \
    {"embedder", 'e', "MODEL", "embedder (default: the store's, else the built-in)"}, \
        {"batch", 'b', "N", "faces per run of the embedder (16)"},                    \
    {                                                                                 \
        "flip", 0, NULL, "add the mirrored face's embedding: better, twice the time"  \
    }

/* What DETECTOR_OPTIONS ask for; prints what is wrong and returns the exit status, or 0. */
int cli_detector_options(const cli_args *a, uf_detector_options *o);

/* Zero the session first; close it in any case. These print what is wrong and return the exit
 * status, or 0. */
int cli_open_detector(cli_session *s, const cli_args *a);
int cli_open_embedder(cli_session *s, const cli_args *a);
/* The same with the model at `path` instead of that of the options. */
int cli_open_embedder_at(cli_session *s, const cli_args *a, const char *path);
void cli_session_close(cli_session *s);
/* Finds faces; s->faces holds them, *count at most CLI_MAX_FACES. */
uf_status cli_faces_in(cli_session *s, const uf_image *view, size_t *count, uf_error *err);
/* Decodes and finds faces in coordinates of the picture, which the caller destroys; s->faces holds
 * them. */
uf_status cli_find_faces(cli_session *s, const char *path, uf_picture **p, size_t *count,
                         uf_error *err);

#endif
