/* The networks of a core, each with one thread, and runs of them. Confined to who holds it. */
#ifndef UF_SERVER_CORE_H
#define UF_SERVER_CORE_H

#include "server/fair.h"
#include "server/loaded.h"
#include "server/server.h"

/* Behind those of the lanes stand those of the bare networks. */
enum { SRV_HANDLES = 2 * SRV_LANE_COUNT };

/* A piece of a request: pictures or crops. */
typedef struct srv_job {
    fair_job queued;      /* first: a queue's job is one of these */
    struct waiter *owner; /* the engine's */
    srv_loaded *model;
    size_t count;
    const uf_image *images;
    uf_face *faces;
    size_t cap, *counts;
    const uint8_t *crops;
    float *out;
    uf_status status;
    uf_error err;
} srv_job;

/* `count` of the pictures or crops, from `first` on. */
srv_job srv_job_piece(const srv_job *whole, size_t first, size_t count);

struct srv_core {
    srv_core *next; /* that is free */
    const srv_engine_options *options;
    srv_handle handles[SRV_HANDLES];
    srv_job **batch; /* [options->batch] */
    size_t batch_count, item_count;
    uf_image *images; /* [options->batch] */
    uf_face *faces;   /* [options->batch][SRV_FACES_MAX] */
    size_t *counts;   /* [options->batch] */
    uint8_t *crops;   /* for the embedder's crop size */
    float *out;
    size_t crop_room, out_room;
};

/* Options stay the caller's. False: no memory; close it all the same. */
bool srv_core_open(srv_core *c, const srv_engine_options *o);
void srv_core_close(srv_core *c);

/* Opens what the model is run by; after that its `together` is known. */
uf_status srv_core_prepare(srv_core *c, srv_loaded *m, uf_error *err);
/* The job by itself. The error is the job's. */
uf_status srv_core_run(srv_core *c, srv_job *j);
/* The jobs of `batch`, all of one model; each gets its status. */
void srv_core_run_batch(srv_core *c);
uf_status srv_core_run_tensors(srv_core *c, srv_loaded *m, const srv_tensor *inputs,
                               srv_tensor *outputs, uf_error *err);

#endif
