/* Models that are counted by those who use them. Shareable. */
#ifndef UF_SERVER_LOADED_H
#define UF_SERVER_LOADED_H

#include <stdatomic.h>

#include "server/engine.h"

struct srv_loaded {
    _Atomic unsigned users;
    srv_lane_name lane;
    uf_model *model;
    char name[65];
    uf_embedder *embedder;   /* of an embedder: what crops are made by, and what they are like */
    int32_t min_side;        /* of a detector */
    _Atomic size_t together; /* pictures or crops that are best run together; 0: not known yet */
};

/* A worker's handle of a model; exactly one of the three is made. */
typedef struct srv_handle {
    srv_loaded *model; /* held; NULL: no handle */
    uf_detector *detector;
    uf_embedder *embedder;
    uf_engine *engine; /* of the bare network */
} srv_handle;

/* Opens and tries it; the caller is its first user. Its release is remembered once it works. */
uf_status srv_loaded_open(srv_loaded **out, srv_lane_name lane, const char *name, const char *path,
                          const srv_engine_options *o, uf_error *err);
srv_loaded *srv_loaded_hold(srv_loaded *m); /* NULL is accepted */

uf_status srv_handle_open(srv_handle *h, srv_loaded *m, unsigned batch, int detector_size,
                          uf_error *err);
/* Fills in `together` of the model, where it is not known; this plans a detector. */
uf_status srv_handle_learn(srv_handle *h, uf_error *err);
uf_status srv_handle_open_bare(srv_handle *h, srv_loaded *m, uf_error *err);
/* One run of the bare network; outputs as of srv_engine_tensors. */
uf_status srv_handle_run_bare(srv_handle *h, const srv_tensor *inputs, srv_tensor *outputs,
                              uf_error *err);
void srv_handle_close(srv_handle *h);

#endif
