/*
 * The engine room: models, and runs of them batched over all requests.
 *
 * A request holds a core while it works: a detector and an embedder with one thread. Cores go round
 * by turns, which are fair between clients. Networks whose weights do not stay in the caches gain
 * by company (uf_embedder_batch, uf_detector_batch): their pictures or crops wait in a queue, one
 * for detectors, one for embedders, while other requests begin, and run together.
 */
#ifndef UF_SERVER_ENGINE_H
#define UF_SERVER_ENGINE_H

#include <stdbool.h>

#include "uniface/uniface.h"

typedef enum srv_lane_name { SRV_LANE_DETECT, SRV_LANE_EMBED, SRV_LANE_COUNT } srv_lane_name;

typedef struct srv_engine_options {
    unsigned workers;      /* requests worked at beside each other; 0: one per core */
    unsigned batch;        /* most pictures or crops in a run */
    unsigned wait_us;      /* the longest that a batch is put off to grow */
    unsigned queue;        /* most requests between admission and answer; 0: by the cores */
    int detector_size;     /* uf_detector_options.size */
    const uf_trust *trust; /* by whom models must be signed; NULL: they need not be */
} srv_engine_options;

enum { SRV_QUEUE_OF_CORE = 32 };

/* Fills `err`; returns `status`. */
uf_status srv_fail(uf_error *err, uf_status status, const char *text);

typedef struct srv_engine srv_engine;
typedef struct srv_core srv_core;
typedef struct srv_loaded srv_loaded; /* a model, counted by those who use it */

/* What happened to a run, for metrics. */
typedef void srv_batch_fn(void *user, srv_lane_name lane, size_t size, double seconds);

uf_status srv_engine_create(srv_engine **out, const srv_engine_options *o, srv_batch_fn *observer,
                            void *user, uf_error *err);
/* No request may be inside. */
void srv_engine_destroy(srv_engine *e);

/* ---- models ---- */

/* Opens the file, tries it in a handle, and from then on runs take it; those that run finish with
 * the old one. On failure nothing changes. `name` is what clients see. UF_E_UNTRUSTED: the model is
 * not signed as it must be, or older than one before; this message does not name the file.
 * UF_E_STATE: the list of releases cannot be read or written. */
uf_status srv_engine_load(srv_engine *e, srv_lane_name lane, const char *name, const char *path,
                          uf_error *err);
void srv_engine_unload(srv_engine *e, srv_lane_name lane);
/* The model of a lane, held until it is released; NULL: none is loaded. */
srv_loaded *srv_engine_hold(srv_engine *e, srv_lane_name lane);
void srv_engine_release(srv_loaded *m);
const uf_model *srv_loaded_model(const srv_loaded *m);
const char *srv_loaded_name(const srv_loaded *m);
/* Of an embedder's model: to make crops with, not to run. */
const uf_embedder *srv_loaded_embedder(const srv_loaded *m);
int32_t srv_loaded_min_side(const srv_loaded *m); /* of a detector */

/* ---- requests ---- */

/* Admits a request, which then counts as one that may still come to a lane. False: the queue is
 * full. */
bool srv_engine_enter(srv_engine *e);
bool srv_engine_is_full(srv_engine *e);
void srv_engine_leave(srv_engine *e);
size_t srv_engine_depth(srv_engine *e); /* admitted requests */
unsigned srv_engine_workers(const srv_engine *e);

/* A request's place in the engine; zeros but for the first two. Confined to its thread. */
typedef struct srv_work {
    const char *client; /* orders the queues */
    double deadline;    /* by srv_now: after it nothing more is begun */
    srv_core *core;     /* held, or NULL; the engine's own, as is */
    double since;       /* when it was taken */
} srv_work;

/* Runs fn(user) on a thread of the engine, with a core, when it is its turn, and waits for its end.
 * UF_E_CANCELLED: the deadline passed before; UF_E_NOMEM. */
typedef void srv_task_fn(void *user);
uf_status srv_engine_do(srv_engine *e, srv_work *w, srv_task_fn *fn, void *user, uf_error *err);
/* A core of the request's own to work on, which blocks until it is its turn. Who holds one already
 * goes on, but lets others go first now and then. UF_E_CANCELLED: the deadline has passed. */
uf_status srv_engine_take(srv_engine *e, srv_work *w, uf_error *err);
/* Gives it to who waits; before something is waited for that is no work. Nothing, without one. */
void srv_engine_rest(srv_engine *e, srv_work *w);

/* These take a core where none is held, and leave it held or not; they block until done.
 * UF_E_CANCELLED: as above. UF_E_STATE: no model is loaded. */
uf_status srv_engine_detect(srv_engine *e, srv_work *w, const uf_image *images, size_t n,
                            uf_face *faces, size_t cap, size_t *counts, uf_error *err);
/* `crops` were made for `m`, which the caller holds: [n][side][side][3]. */
uf_status srv_engine_embed(srv_engine *e, srv_work *w, srv_loaded *m, const uint8_t *crops,
                           size_t n, float *out, uf_error *err);

enum { SRV_TENSORS_MAX = 16 }; /* inputs, or outputs, of a network */

/* A tensor of a network as it is: `info` says how long `data` must be. */
typedef struct srv_tensor {
    uf_tensor_info info;
    void *data;
    size_t bytes;
} srv_tensor;
/* Runs the bare network of `m`, which the caller holds, on tensors in the order of its inputs;
 * `outputs`, as many as it has and with the bytes of an element each, get data of malloc (to be
 * freed after a failure too). */
uf_status srv_engine_tensors(srv_engine *e, srv_work *w, srv_loaded *m, const srv_tensor *inputs,
                             srv_tensor *outputs, uf_error *err);

#endif
