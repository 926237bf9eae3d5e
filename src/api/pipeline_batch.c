/*
 * uniface/pipeline.h: a batch's way through the networks.
 *
 * Pictures go through the detector together, then all their faces through the embedder together.
 * Where a run of several fails, each is run alone: so the error finds the picture it belongs to.
 */
#include <string.h>

#include "api/pipeline_impl.h"
#include "base/mem.h"
#include "base/status.h"

static void fail(ufi_place *at, uf_status st, const uf_error *err)
{
    at->status = st;
    at->error.status = st;
    if (at->path)
        ufi_fail(&at->error, st, "%.200s: %.300s", at->path, err->message);
    else
        at->error = *err;
}

static bool make_place_for(ufi_place *at, size_t faces, size_t dimension)
{
    if (faces > at->face_room) {
        uf_face *more = ufi_realloc(at->faces, faces, sizeof *more);
        if (!more)
            return false;
        at->faces = more;
        at->face_room = faces;
    }
    if (dimension && faces > at->template_room) {
        float *more = ufi_realloc(at->templates, faces, dimension * sizeof *more);
        if (!more)
            return false;
        at->templates = more;
        at->template_room = faces;
    }
    return true;
}

/* ---- faces ---- */

static void keep_faces(const uf_pipeline *p, ufi_place *at, const uf_face *found, size_t count)
{
    const size_t most = p->options.max_faces;
    const uf_error no_memory = {UF_E_NOMEM, "no memory for faces"};
    count = count < p->seen_cap ? count : p->seen_cap;
    const uf_face *from =
        most || !count ? found : &found[uf_face_main(found, count, at->width, at->height)];
    const size_t kept = most && count > most ? most : most ? count : count > 0;
    if (!make_place_for(at, kept ? kept : 1, p->dimension)) {
        fail(at, UF_E_NOMEM, &no_memory);
        return;
    }
    if (kept)
        memcpy(at->faces, from, kept * sizeof *from);
    at->face_count = kept;
}

static void detect(uf_pipeline *p, ufi_place *const *good, size_t count)
{
    uf_image views[UFI_PIPELINE_MAX_BATCH];
    size_t found[UFI_PIPELINE_MAX_BATCH] = {0};
    uf_error err;
    for (size_t i = 0; i < count; i++)
        views[i] = uf_picture_view(good[i]->picture);
    const uf_status together =
        uf_detector_run_batch(p->detector, views, count, p->seen, p->seen_cap, found, &err);
    for (size_t i = 0; i < count; i++) {
        uf_face *faces = p->seen + i * p->seen_cap;
        uf_status st = UF_OK;
        if (together)
            st = uf_detector_run(p->detector, &views[i], faces, p->seen_cap, &found[i], &err);
        if (st)
            fail(good[i], st, &err);
        else
            keep_faces(p, good[i], faces, found[i]);
    }
}

/* ---- templates ---- */

/* Crops that wait for a run, and where their templates go. */
typedef struct waiting {
    uf_pipeline *p;
    ufi_place *owners[UFI_PIPELINE_MAX_BATCH];
    float *to[UFI_PIPELINE_MAX_BATCH];
    size_t count;
} waiting;

static void run_waiting(waiting *w)
{
    uf_pipeline *p = w->p;
    uf_error err;
    const uf_status together =
        w->count ? uf_embedder_run_crops(p->embedder, p->crops, w->count, p->vectors, &err) : UF_OK;
    for (size_t i = 0; i < w->count; i++) {
        float *v = p->vectors + i * p->dimension;
        const uf_status st =
            together ? uf_embedder_run_crops(p->embedder, p->crops + i * p->crop_bytes, 1, v, &err)
                     : UF_OK;
        if (st)
            fail(w->owners[i], st, &err);
        else
            memcpy(w->to[i], v, p->dimension * sizeof *v);
    }
    w->count = 0;
}

static void add_crop(waiting *w, ufi_place *at, size_t face)
{
    uf_pipeline *p = w->p;
    uint8_t *crop = p->crops + w->count * p->crop_bytes;
    uf_error err;
    uf_status st = UF_OK;
    if (p->detector) {
        const uf_image view = uf_picture_view(at->picture);
        st = uf_embedder_crop(p->embedder, &view, &at->faces[face], crop, &err);
    } else {
        memcpy(crop, at->crop, p->crop_bytes);
    }
    if (st) {
        fail(at, st, &err);
        return;
    }
    w->owners[w->count] = at;
    w->to[w->count++] = at->templates + face * p->dimension;
    if (w->count == p->options.batch)
        run_waiting(w);
}

static void embed(uf_pipeline *p, ufi_place *const *good, size_t count)
{
    waiting w = {.p = p};
    for (size_t i = 0; i < count; i++)
        for (size_t face = 0; good[i]->status == UF_OK && face < good[i]->face_count; face++)
            add_crop(&w, good[i], face);
    run_waiting(&w);
}

void ufi_pipeline_run_batch(uf_pipeline *p, uint64_t first, size_t count)
{
    ufi_place *good[UFI_PIPELINE_MAX_BATCH];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        ufi_place *at = ufi_pipeline_place(p, first + i);
        if (at->status == UF_OK)
            good[n++] = at;
    }
    if (n == 0)
        return;
    if (p->detector)
        detect(p, good, n);
    for (size_t i = 0; !p->detector && i < n; i++)
        keep_faces(p, good[i], &(uf_face){.width = 1, .height = 1}, 1);
    if (p->embedder)
        embed(p, good, n);
}
