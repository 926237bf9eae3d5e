/*
 * The server's inside: what a handler gets, what it answers with, and what it may call.
 *
 * A request has a thread of its own (http.c), so handlers are plain functions that block. To add an
 * operation, write a handler and a row in the table of routes.c; body, key, limits, errors, log,
 * metrics and /openapi.json follow from the row.
 */
#ifndef UF_SERVER_H
#define UF_SERVER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "server/engine.h"
#include "server/text.h"
#include "uniface/uniface.h"

typedef struct srv_server srv_server;

/* ---- keys ---- */

/* What a key may do in a collection; a bit each. X(NAME, bit, text) */
#define SRV_ROLE_LIST(X)                                                      \
    X(READ, 1, "read")         /* lists of people, faces, models; metrics */  \
    X(IDENTIFY, 2, "identify") /* detect, embed, compare, verify, identify */ \
    X(ENROL, 4, "enrol")       /* make, change and delete people and faces */ \
    X(SCORES, 8, "scores")     /* scores as numbers, not as bands */          \
    X(ADMIN, 16, "admin")      /* all of these, and models, keys, whole collections */

typedef enum srv_role {
    SRV_PUBLIC = 0, /* nothing is asked for */
#define SRV_ROLE_ENUM(name, bit, text) SRV_##name = (bit),
    SRV_ROLE_LIST(SRV_ROLE_ENUM)
#undef SRV_ROLE_ENUM
        SRV_ALL_ROLES = 31
} srv_role;

enum { SRV_GRANTS_MAX = 16, SRV_KEY_ID_SIZE = 17, SRV_NAME_MAX = 256 };

/* Who asks: the key's id and what it may do where. A copy, valid as long as the request. */
typedef struct srv_principal {
    char key_id[SRV_KEY_ID_SIZE]; /* "": no key */
    size_t grant_count;
    struct {
        char collection[SRV_NAME_MAX + 1]; /* "*": all */
        unsigned roles;
    } grants[SRV_GRANTS_MAX];
} srv_principal;

/* ---- a request ---- */

typedef enum srv_method {
    SRV_GET,
    SRV_POST,
    SRV_PUT,
    SRV_PATCH,
    SRV_DELETE,
    SRV_METHOD_COUNT
} srv_method;

/* What a body held: a part of a form, a member of a JSON object, or the whole body (name ""). */
typedef struct srv_item {
    char *name;
    char *filename, *content_type; /* NULL: none */
    uint8_t *data;
    size_t size, room;
} srv_item;

typedef enum srv_stage {
    SRV_STAGE_QUEUE,
    SRV_STAGE_DECODE,
    SRV_STAGE_DETECT,
    SRV_STAGE_ALIGN,
    SRV_STAGE_EMBED,
    SRV_STAGE_SEARCH,
    SRV_STAGE_COUNT
} srv_stage;

enum { SRV_PARAMS_MAX = 3, SRV_ITEMS_MAX = 256, SRV_REQUEST_ID_MAX = 64 };

typedef struct srv_route srv_route;
struct MHD_Connection;

typedef struct srv_request {
    srv_server *server;
    const srv_route *route;
    struct MHD_Connection *connection;
    const char *path;             /* as sent, without the query */
    char *params[SRV_PARAMS_MAX]; /* what stands for {name} in the pattern, decoded */
    srv_principal who;
    char client[48]; /* key id, or address: queues are fair between clients */
    char id[SRV_REQUEST_ID_MAX + 1];
    char trace[56];                 /* "00-<trace>-<our span>-<flags>" */
    double started;                 /* srv_now() */
    srv_work work;                  /* its place in the engine */
    double stages[SRV_STAGE_COUNT]; /* seconds spent */
    const char *content_type;       /* "": none */
    srv_item *items;
    size_t item_count;
    struct json_t *json; /* jansson's, of a JSON body, else NULL */
} srv_request;

/* Query or header by name; NULL: absent. Valid as long as the request. */
const char *srv_query(const srv_request *q, const char *name);
const char *srv_header(const srv_request *q, const char *name);
/* The first item of that name, NULL: none. For a body that is a picture itself, any name fits. */
const srv_item *srv_item_named(const srv_request *q, const char *name);
/* A value of query, JSON member or form field, in this order, as text; NULL: absent. A JSON number
 * or boolean is not text: SRV_WRONG_TYPE is set in *wrong (may be NULL). */
const char *srv_text_value(const srv_request *q, const char *name, bool *wrong);

/* ---- an answer ---- */

typedef struct srv_answer {
    int status;               /* 200 unless it is set */
    const char *content_type; /* "application/json" unless it is set */
    srv_text body;
    size_t json_size;          /* of a body that is JSON and then bytes (KServe); 0: it is not */
    const char *allow;         /* the header of a 405, or NULL */
    const char *etag, *policy; /* ETag and Content-Security-Policy, or NULL */
    int retry_after;           /* seconds; 0: no header */
    bool close;
    bool replayed;     /* nothing was done: it had been (Idempotency-Replayed) */
    int code;          /* of errors of an API that numbers them (SRV_COMPREFACE_ERRORS) */
    const char *error; /* the class for log and metrics, "" */
} srv_answer;

/* Answers with an error: application/problem+json (RFC 9457), or the way of the route's API. The
 * text names no path, address or internal state. Returns false, so that a handler can end by it. */
bool srv_refuse(const srv_request *q, srv_answer *a, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* The same for an error of the library; the log gets what a client must not see. */
bool srv_refuse_error(const srv_request *q, srv_answer *a, const uf_error *err);
int srv_status_of(uf_status st);

/* ---- values out of a request; false: the answer is a refusal already ---- */

/* A number from query, JSON or form. */
bool srv_number(const srv_request *q, srv_answer *a, const char *name, double min, double max,
                double fallback, double *out);
/* Text of at most `max` bytes without control characters; NULL when absent. */
bool srv_string(const srv_request *q, srv_answer *a, const char *name, size_t max,
                const char **out);
bool srv_boolean(const srv_request *q, srv_answer *a, const char *name, bool fallback, bool *out);
/* The collection asked for ("default" when absent), if the key has `role` there; 403 otherwise. */
bool srv_collection(const srv_request *q, srv_answer *a, unsigned role, const char **out);
bool srv_may(const srv_request *q, const char *collection, unsigned role);

/* ---- pictures, faces, templates (faces.c) ---- */

enum { SRV_FACES_MAX = 1024, SRV_PICTURES_MAX = 64 };

/* A decoded picture and its faces, best score first. A JPEG is decoded as small as the detector
 * allows, except for enrolment; `width`, `height` and all faces are those of the picture that was
 * sent. */
typedef struct srv_photo {
    const char *name; /* of the form's field or file; never NULL */
    const srv_item *item;
    uf_picture *picture;
    uf_image view;
    int32_t width, height;
    uf_face *faces;
    size_t count;
} srv_photo;

void srv_photo_free(srv_photo *p);
/* Decodes the bytes of an item. Errors as of uf_picture_decode. */
uf_status srv_photo_decode(srv_request *q, const srv_item *item, srv_photo *out, uf_error *err);
/* Fills faces of decoded photos (UF_E_CANCELLED: too late, or stopping; UF_E_STATE: no model). */
uf_status srv_photo_detect(srv_request *q, srv_photo *photos, size_t n, uf_error *err);

typedef struct srv_vectors {
    float *data; /* [count][dimension], unit length */
    size_t count, dimension;
    char model_id[65]; /* of the model that really ran */
    uint8_t *crops;    /* [count][side][side][3] */
    uint32_t crop_side;
} srv_vectors;

/* Templates and crops do not stay in freed memory. */
void srv_vectors_free(srv_vectors *v);
/* Templates of `n` faces of a photo, which is decoded once more where it is too small for them. */
uf_status srv_photo_embed(srv_request *q, srv_photo *p, const uf_face *faces, size_t n,
                          srv_vectors *out, uf_error *err);
/* The largest face; -1: none. And the face that a picture is which was cropped before. */
uf_status srv_photo_quality(const srv_photo *p, const uf_face *f, uf_quality *out, uf_error *err);
int srv_largest_face(const srv_photo *p);
uf_face srv_face_of_crop(const srv_photo *p);
/* Pictures of the body: by these names (form parts or base64 members of JSON), or the body itself.
 * False: the answer says what is wrong. Free each of *count. */
bool srv_photos(srv_request *q, srv_answer *a, const char *const *names, size_t name_count,
                srv_photo *out, size_t room, size_t *count);
/* One photo with its faces, from "image" or "file" or the body. */
bool srv_photo_with_faces(srv_request *q, srv_answer *a, srv_photo *out);

/* Members "box": [x, y, width, height], "score", "landmarks": [[x, y], ...], "quality": {...}. */
void srv_face_members(srv_request *q, srv_text *t, const srv_photo *p, const uf_face *f);
/* "score": 0.71 for a key with the role in the collection, "band": "high" for all. */
void srv_score_members(srv_request *q, srv_text *t, const char *collection, float score,
                       float threshold);
/* The server's own 1:1 threshold: that of the model for a false accept rate of 1e-4, else 0.4. */
float srv_own_threshold(const srv_request *q);
/* The request's "threshold", else the server's own. Lower ones want the role scores in the
 * collection (NULL: in some): whoever may try them all learns the score, how unlike it may be. */
bool srv_threshold(srv_request *q, srv_answer *a, const char *collection, float *out);

/* ---- people (people.c) ---- */

/* Enrols the photos' faces; `photos` have theirs. One face each, good enough, unless "force" is
 * asked for. False: refused. `person` is completed by consent, purpose, expires and metadata (with
 * "name" in it) of the request. `source` of the templates may be NULL; `once` as of uf_enrolment.
 */
bool srv_enrol(srv_request *q, srv_answer *a, uf_person *person, const char *source,
               const char *once, srv_photo *photos, size_t n, size_t *templates);
/* Who it is: the best people of `o` for a vector of `v`, `*n` of o->top_k. Nobody is enrolled:
 * nobody is found. With few people no threshold can be measured: `fallback` then, which stays in
 * `o`. */
uf_status srv_search(uf_gallery *g, uf_identify_options *o, float fallback, const srv_vectors *v,
                     size_t which, uf_candidate *found, size_t *n,
                     uf_gallery_threshold_info *threshold, uf_error *err);
/* Deletes all people of a collection; how many, and their faces. */
uf_status srv_delete_all(uf_gallery *g, const char *collection, uint64_t *people, uint64_t *faces,
                         uf_error *err);
/* A template of a JSON list of numbers, of unit length, of malloc; NULL: it is none. */
float *srv_template_of(const struct json_t *list, size_t *n);
/* Overwrites the numbers first; NULL is accepted. */
void srv_template_free(float *v, size_t n);
/* {"id": ..., "collection": ..., "name": ..., "faces": n, ...} */
void srv_person_json(srv_text *t, const uf_person_info *p);
/* The gallery, or NULL after a refusal. */
uf_gallery *srv_gallery(const srv_request *q, srv_answer *a);

/* ---- routes (routes.c) ---- */

typedef bool srv_handler(srv_request *q, srv_answer *a);

enum {
    SRV_DETAIL_ERRORS = 1,     /* errors are {"detail": ...} alone */
    SRV_UNQUEUED = 2,          /* cheap: is never refused because the queue is full */
    SRV_PROBE = 4,             /* not counted against rate limits, not logged at level info */
    SRV_COMPREFACE_ERRORS = 8, /* errors are {"message": ..., "code": ...}, of its statuses */
    SRV_KSERVE_ERRORS = 16,    /* errors are {"error": ...} alone */
    SRV_IDEMPOTENT = 32        /* takes an Idempotency-Key */
};

/* How a body may come; other media types are refused with 415. JSON is an object, or with
 * SRV_BODY_LIST a list. SRV_BODY_RAW stands alone: one item, whatever the media type. */
enum {
    SRV_BODY_NONE = 0,
    SRV_BODY_FORM = 1,
    SRV_BODY_JSON = 2,
    SRV_BODY_IMAGE = 4,
    SRV_BODY_LIST = 8,
    SRV_BODY_RAW = 16
};

struct srv_route {
    srv_method method;
    const char *pattern; /* "/v1/people/{id}"; a last "/" may be left out by clients */
    unsigned role;       /* a srv_role that the key must have in some collection */
    unsigned body;       /* SRV_BODY_*, any of them */
    unsigned flags;
    srv_handler *handler;
    const char *summary; /* for /openapi.json */
};

extern const srv_route srv_routes[];
extern const size_t srv_route_count;
/* The route, with params filled. NULL: *allow has the methods that the path knows ("": none, 404).
 * Fills in text of at least 64 bytes. */
const srv_route *srv_route_find(srv_method method, const char *path, srv_request *q,
                                char allow[64]);

/* ---- time, log ---- */

double srv_now(void); /* seconds, monotonic */

#endif
