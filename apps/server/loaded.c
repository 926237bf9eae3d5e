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

uf_status srv_handle_learn(srv_handle *h, uf_error *err)
{
    size_t together = 1;
    uf_status st = UF_OK;
    if (atomic_load(&h->model->together))
        return UF_OK;
    if (h->detector)
        st = uf_detector_batch(h->detector, &together, err);
    else
        together = uf_embedder_batch(h->embedder);
    if (!st)
        atomic_store(&h->model->together, together);
    return st;
}

uf_status srv_handle_open_bare(srv_handle *h, srv_loaded *m, uf_error *err)
{
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    o.threads = 1;
    const uf_status st = uf_engine_create(&h->engine, m->model, &o, err);
    if (!st)
        h->model = srv_loaded_hold(m);
    return st;
}

static uf_status take_output(const uf_engine *e, size_t i, srv_tensor *out, uf_error *err)
{
    size_t bytes = out->bytes;         /* of an element, as the caller knows */
    const char *name = out->info.name; /* the model's, which outlives the engine */
    const void *data = uf_engine_output(e, i, &out->info);
    if (!data)
        return srv_fail(err, UF_E_STATE, "an output is missing");
    out->info.name = name;
    for (uint32_t d = 0; d < out->info.rank; d++)
        bytes *= (size_t)out->info.dims[d];
    out->data = malloc(bytes + 1);
    if (!out->data)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    memcpy(out->data, data, bytes);
    out->bytes = bytes;
    return UF_OK;
}

uf_status srv_handle_run_bare(srv_handle *h, const srv_tensor *inputs, srv_tensor *outputs,
                              uf_error *err)
{
    uf_tensor_info shapes[SRV_TENSORS_MAX];
    const size_t n = uf_model_input_count(h->model->model);
    const size_t count = uf_model_output_count(h->model->model);
    if (n > SRV_TENSORS_MAX)
        return srv_fail(err, UF_E_UNSUPPORTED, "the network has too many inputs");
    for (size_t i = 0; i < n; i++)
        shapes[i] = inputs[i].info;
    uf_status st = uf_engine_prepare(h->engine, shapes, n, err);
    for (size_t i = 0; !st && i < n; i++) {
        size_t bytes;
        void *to = uf_engine_input(h->engine, i, &bytes);
        if (!to || bytes != inputs[i].bytes)
            st = srv_fail(err, UF_E_ARG, "an input has another size than its shape");
        else
            memcpy(to, inputs[i].data, bytes);
    }
    if (!st)
        st = uf_engine_run(h->engine, err);
    for (size_t i = 0; !st && i < count; i++)
        st = take_output(h->engine, i, &outputs[i], err);
    return st;
}

void srv_handle_close(srv_handle *h)
{
    uf_engine_destroy(h->engine);
    uf_detector_destroy(h->detector);
    uf_embedder_destroy(h->embedder);
    srv_engine_release(h->model);
    *h = (srv_handle){0};
}

/* What is wrong with the list of releases is no fault of the model's. */
static uf_status of_trust(uf_status st, uf_error *err)
{
    if (st && st != UF_E_UNTRUSTED)
        err->status = st = UF_E_STATE;
    return st;
}

uf_status srv_loaded_open(srv_loaded **out, srv_lane_name lane, const char *name, const char *path,
                          const srv_engine_options *o, uf_error *err)
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
    if (!st && o->trust)
        st = of_trust(uf_trust_check(o->trust, m->model, 0, err), err);
    if (!st)
        st = srv_handle_open(&h, m, 1, o->detector_size, err);
    if (!st && o->trust)
        st = of_trust(uf_trust_record(o->trust, m->model, err), err);
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
