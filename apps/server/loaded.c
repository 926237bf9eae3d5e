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

size_t srv_loaded_dimension(const srv_loaded *m)
{
    return m->dimension;
}

int32_t srv_loaded_crop_size(const srv_loaded *m)
{
    return m->crop_size;
}

int32_t srv_loaded_min_side(const srv_loaded *m)
{
    return m->min_side;
}

const float *srv_loaded_points(const srv_loaded *m)
{
    return m->points;
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

/* "align.template": ten numbers; ArcFace's when the model has none. */
static void read_points(srv_loaded *m)
{
    static const float arcface[10] = {38.2946f, 51.6963f, 73.5318f, 51.5014f, 56.0252f,
                                      71.7366f, 41.5493f, 92.3655f, 70.7299f, 92.2041f};
    const char *text = uf_model_meta(m->model, "align.template");
    float given[10];
    int n = 0;
    while (text && n < 10) {
        char *end;
        given[n] = strtof(text, &end);
        if (end == text)
            break;
        n++;
        text = end + strspn(end, ", []");
    }
    for (int i = 0; i < 10; i++)
        m->points[i] = n == 10 ? given[i] : arcface[i] / 112;
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
        if (h.embedder) {
            m->dimension = uf_embedder_dimension(h.embedder);
            m->crop_size = uf_embedder_crop_size(h.embedder);
        } else {
            m->min_side = uf_detector_min_side(h.detector);
        }
        read_points(m);
        *out = srv_loaded_hold(m);
    }
    srv_handle_close(&h);
    srv_engine_release(m);
    return st;
}
