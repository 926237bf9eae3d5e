/* A model is closed when the last who uses it lets go: workers hold those of their handles, and
 * requests those that they made crops for. */
#include "server/loaded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

srv_loaded *srv_loaded_hold(srv_loaded *m)
{
    if (m)
        atomic_fetch_add(&m->users, 1);
    return m;
}

void srv_engine_release(srv_loaded *m)
{
    if (!m || atomic_fetch_sub(&m->users, 1) != 1)
        return;
    uf_embedder_destroy(m->embedder);
    uf_model_close(m->model);
    free(m);
}

const uf_model *srv_loaded_model(const srv_loaded *m)
{
    return m->model;
}

const char *srv_loaded_name(const srv_loaded *m)
{
    return m->name;
}

const uf_embedder *srv_loaded_embedder(const srv_loaded *m)
{
    return m->embedder;
}

int32_t srv_loaded_min_side(const srv_loaded *m)
{
    return m->min_side;
}

uf_status srv_handle_open(srv_handle *h, srv_loaded *m, unsigned batch, int detector_size,
                          uf_error *err)
{
    uf_detector_options d = UF_DETECTOR_OPTIONS_INIT;
    uf_embedder_options e = UF_EMBEDDER_OPTIONS_INIT;
    /* One thread each: the workers are as many as the cores, and one core's work needs no waiting
     * for others. */
    d.engine.threads = e.engine.threads = 1;
    d.size = detector_size;
    e.batch = (int32_t)batch;
    uf_status st = m->lane == SRV_LANE_DETECT ? uf_detector_create(&h->detector, m->model, &d, err)
                                              : uf_embedder_create(&h->embedder, m->model, &e, err);
    if (!st)
        h->model = srv_loaded_hold(m);
    return st;
}

void srv_handle_close(srv_handle *h)
{
    uf_detector_destroy(h->detector);
    uf_embedder_destroy(h->embedder);
    srv_engine_release(h->model);
    *h = (srv_handle){0};
}

uf_status srv_loaded_open(srv_loaded **out, srv_lane_name lane, const char *name, const char *path,
                          int detector_size, uf_error *err)
{
    srv_handle h = {0};
    srv_loaded *m = calloc(1, sizeof *m);
    *out = NULL;
    if (!m)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    m->users = 1;
    m->lane = lane;
    snprintf(m->name, sizeof m->name, "%s", name);
    uf_status st = uf_model_open(&m->model, path, err);
    if (!st)
        st = srv_handle_open(&h, m, 1, detector_size, err);
    if (!st) {
        if (h.detector)
            m->min_side = uf_detector_min_side(h.detector);
        m->embedder = h.embedder; /* stays */
        h.embedder = NULL;
        *out = srv_loaded_hold(m);
    }
    srv_handle_close(&h);
    srv_engine_release(m);
    return st;
}
