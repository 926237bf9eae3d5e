/* What a core runs, and in which memory. A batch of several requests is copied together, since each
 * has its own pictures or crops. */
#include "server/core.h"

#include <stdlib.h>
#include <string.h>

enum { BARE_BYTES_MAX = 256 << 20 /* of activations that a core keeps between runs */ };

bool srv_core_open(srv_core *c, const srv_engine_options *o)
{
    c->options = o;
    c->batch = calloc(o->batch, sizeof *c->batch);
    c->images = calloc(o->batch, sizeof *c->images);
    c->faces = malloc(o->batch * SRV_FACES_MAX * sizeof *c->faces);
    c->counts = calloc(o->batch, sizeof *c->counts);
    return c->batch && c->images && c->faces && c->counts;
}

void srv_core_close(srv_core *c)
{
    for (int l = 0; l < SRV_HANDLES; l++)
        srv_handle_close(&c->handles[l]);
    free(c->batch);
    free(c->images);
    free(c->faces);
    free(c->counts);
    free(c->crops);
    free(c->out);
}

uf_status srv_core_prepare(srv_core *c, srv_loaded *m, uf_error *err)
{
    srv_handle *h = &c->handles[m->lane];
    if (h->model == m)
        return UF_OK;
    srv_handle_close(h);
    const uf_status st = srv_handle_open(h, m, c->options->batch, c->options->detector_size, err);
    return st ? st : srv_handle_learn(h, err);
}

/* ---- pieces ---- */

static size_t crop_bytes(const srv_loaded *m)
{
    const size_t side = (size_t)uf_embedder_crop_size(m->embedder);
    return side * side * 3;
}

/* Pictures or crops from `first` on. */
srv_job srv_job_piece(const srv_job *whole, size_t first, size_t count)
{
    srv_job j = *whole;
    j.count = count;
    if (whole->images) {
        j.images += first;
        j.faces += first * whole->cap;
        j.counts += first;
    } else {
        j.crops += first * crop_bytes(whole->model);
        j.out += first * uf_embedder_dimension(whole->model->embedder);
    }
    return j;
}

/* ---- runs ---- */

static uf_status run_detector_job(srv_core *c, srv_job *j)
{
    return uf_detector_run_batch(c->handles[SRV_LANE_DETECT].detector, j->images, j->count,
                                 j->faces, j->cap, j->counts, &j->err);
}

static uf_status run_detector(srv_core *c)
{
    uf_error err;
    size_t at = 0;
    for (size_t i = 0; i < c->batch_count; at += c->batch[i++]->count)
        memcpy(c->images + at, c->batch[i]->images, c->batch[i]->count * sizeof *c->images);
    uf_status st = uf_detector_run_batch(c->handles[SRV_LANE_DETECT].detector, c->images, at,
                                         c->faces, SRV_FACES_MAX, c->counts, &err);
    at = 0;
    for (size_t i = 0; !st && i < c->batch_count; i++)
        for (size_t k = 0; k < c->batch[i]->count; k++, at++) {
            srv_job *j = c->batch[i];
            const size_t n = c->counts[at] < j->cap ? c->counts[at] : j->cap;
            memcpy(j->faces + k * j->cap, c->faces + at * SRV_FACES_MAX, n * sizeof *j->faces);
            j->counts[k] = c->counts[at];
        }
    return st;
}

static uf_status run_embedder_job(srv_core *c, srv_job *j)
{
    return uf_embedder_run_crops(c->handles[SRV_LANE_EMBED].embedder, j->crops, j->count, j->out,
                                 &j->err);
}

static bool make_room(void **p, size_t *room, size_t bytes)
{
    if (bytes <= *room)
        return true;
    void *more = realloc(*p, bytes);
    if (!more)
        return false;
    *p = more;
    *room = bytes;
    return true;
}

static uf_status run_embedder(srv_core *c)
{
    uf_error err;
    const srv_loaded *m = c->handles[SRV_LANE_EMBED].model;
    const size_t bytes = crop_bytes(m), dimension = uf_embedder_dimension(m->embedder);
    const size_t row = dimension * sizeof(float);
    size_t at = 0;
    if (!make_room((void **)&c->crops, &c->crop_room, c->item_count * bytes) ||
        !make_room((void **)&c->out, &c->out_room, c->item_count * row))
        return UF_E_NOMEM;
    for (size_t i = 0; i < c->batch_count; at += c->batch[i++]->count)
        memcpy(c->crops + at * bytes, c->batch[i]->crops, c->batch[i]->count * bytes);
    uf_status st =
        uf_embedder_run_crops(c->handles[SRV_LANE_EMBED].embedder, c->crops, at, c->out, &err);
    at = 0;
    for (size_t i = 0; !st && i < c->batch_count; at += c->batch[i++]->count)
        memcpy(c->batch[i]->out, c->out + at * dimension, c->batch[i]->count * row);
    return st;
}

uf_status srv_core_run(srv_core *c, srv_job *j)
{
    const uf_status st = srv_core_prepare(c, j->model, &j->err);
    if (st)
        return st;
    return j->model->lane == SRV_LANE_DETECT ? run_detector_job(c, j) : run_embedder_job(c, j);
}

/* When the batch fails each job is run alone, so that one picture cannot spoil the others' answers.
 */
void srv_core_run_batch(srv_core *c)
{
    uf_error err;
    srv_loaded *m = c->batch[0]->model;
    const bool together = c->batch_count > 1 && !srv_core_prepare(c, m, &err) &&
                          !(m->lane == SRV_LANE_DETECT ? run_detector(c) : run_embedder(c));
    for (size_t i = 0; i < c->batch_count; i++)
        c->batch[i]->status = together ? UF_OK : srv_core_run(c, c->batch[i]);
}

/* Plans of the last shapes are kept with their memory, which shapes of a client's choice could make
 * large. */
uf_status srv_core_run_tensors(srv_core *c, srv_loaded *m, const srv_tensor *inputs,
                               srv_tensor *outputs, uf_error *err)
{
    srv_handle *h = &c->handles[SRV_LANE_COUNT + m->lane];
    uf_status st = UF_OK;
    if (h->model != m) {
        srv_handle_close(h);
        st = srv_handle_open_bare(h, m, err);
    }
    if (!st)
        st = srv_handle_run_bare(h, inputs, outputs, err);
    if (h->engine && uf_engine_activation_bytes(h->engine) > BARE_BYTES_MAX)
        srv_handle_close(h);
    return st;
}
