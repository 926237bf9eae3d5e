/*
 * CompreFace's REST API over our galleries: a subject is a person, an example is a template, and
 * the collection is that of the key (docs/compatibility.md). What its handlers share.
 */
#ifndef UF_SERVER_COMPREFACE_H
#define UF_SERVER_COMPREFACE_H

#include "server/server.h"

/* Numbers of its errors. */
enum {
    CF_EMPTY_FIELD = 5,
    CF_NO_FILE_FORMAT = 21, /* no picture, no base64 */
    CF_VALIDATION = 26,
    CF_NO_FACE = 28,
    CF_TOO_MANY_FACES = 31,
    CF_NO_PARAMETER = 33,
    CF_NO_PART = 34,
    CF_WRONG_ARGUMENT = 36,
    CF_EMBEDDING_COUNT = 37,
    CF_NO_SUBJECT = 42,
    CF_SUBJECT_EXISTS = 43,
    CF_NO_EXAMPLE = 44
};

/* A refusal of that number. Returns false. */
bool cf_refuse(const srv_request *q, srv_answer *a, int status, int code, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* ---- who and where ---- */

/* Query "collection", else the first collection where the key has `role`; "default" for a key of
 * all. False: refused. *g (may be NULL): the gallery. */
bool cf_collection(const srv_request *q, srv_answer *a, unsigned role, const char **collection,
                   uf_gallery **g);

enum { CF_ID_SIZE = 37 };
/* The UUID that an example is known by, and back. */
void cf_image_id(uint64_t template_id, char out[CF_ID_SIZE]);
/* False: refused, since it is no UUID. Of a UUID that is not ours *template_id is 0, which no
 * template has. */
bool cf_parse_image_id(const srv_request *q, srv_answer *a, const char *text,
                       uint64_t *template_id);

/* ---- similarity ---- */

/* Our score (cosine, -1..1) as CompreFace's similarity 0..1:
 *     (1 + tanh(5.3 (d0 - d))) / 2    with distances d = sqrt(2 - 2 score), d0 = the same of the
 * 1:1 threshold: 0.5 at the threshold, near 0 for strangers, near 1 for good pictures of the same
 * person. It has the form of CompreFace's own. */
double cf_similarity(float score, float threshold);
/* Member "similarity"; without the role `scores` one of three: 0.99 (high), 0.9 (medium), 0. */
void cf_similarity_member(const srv_request *q, srv_text *t, const char *collection, float score,
                          float threshold);

/* ---- pictures ---- */

typedef struct cf_options {
    size_t limit;                     /* faces, the largest first; 0: all */
    float min_score;                  /* of detection */
    size_t predictions;               /* people for each face */
    bool detect;                      /* false: the picture is a face already */
    bool status;                      /* times and names of models are wanted */
    bool landmarks, pose, calculator; /* plugins */
} cf_options;

/* The options of the query; `a` has the refusal otherwise. */
bool cf_read_options(const srv_request *q, srv_answer *a, cf_options *o);

/* Faces of a picture as the options want them, and their templates when they were asked for. */
typedef struct cf_found {
    srv_photo photo;
    srv_vectors v;
    double detect_s, embed_s;
} cf_found;

void cf_found_free(cf_found *f);
/* The picture of that form part or JSON member. No face is a refusal. */
bool cf_find(srv_request *q, srv_answer *a, const char *name, const cf_options *o, bool embed,
             cf_found *out);
/* Members "box", and what the options ask for, of a face. */
void cf_face_members(srv_text *t, const cf_options *o, const cf_found *f, size_t which);
/* Member "plugins_versions", when the status is asked for. */
void cf_versions_member(srv_request *q, srv_text *t, const cf_options *o, bool embed);

/* ---- subjects ---- */

/* Text that CompreFace calls a subject, from query, JSON or form. */
bool cf_subject(const srv_request *q, srv_answer *a, const char **out);

/* One example of the collection, in memory of its own. */
typedef struct cf_example {
    char subject[SRV_NAME_MAX + 1], model_id[65];
    float *vector;
    size_t dimension;
} cf_example;

/* False: refused; free the vector after true. */
bool cf_example_get(const srv_request *q, srv_answer *a, uf_gallery *g, const char *collection,
                    const char *image_id, cf_example *out);

#endif
