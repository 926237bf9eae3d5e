/*
 * uniface/pipeline.h: a batch's way through the networks of a lane.
 *
 * Pictures go through the detector together, then all their faces through the embedder together.
 * Where a run of several fails, each is run alone: so the error finds the picture it belongs to.
 *
 * JPEGs were decoded as small as the detector allows. A face that is then smaller than the
 * embedder's crop, or than what a judgement looks at, would lose by it: its picture is decoded once
 * more, as large as that needs.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/pipeline_impl.h"
#include "base/mem.h"
#include "base/status.h"
#include "image/image.h"

/* What the detector then still reduces by 2 or more is averaged as the whole picture would be. Of
 * pictures of exactly its size small faces came out elsewhere: of 64 in group photos the median
 * similarity to templates of whole pictures was 0.84, so it is 0.999. */
int32_t uf_pipeline_min_side(const uf_detector *d)
{
    const int32_t side = uf_detector_min_side(d);
    return side > UF_IMAGE_MAX_SIDE / 2 ? UF_IMAGE_MAX_SIDE : 2 * side;
}

uf_status ufi_lane_open(ufi_lane *lane, uf_pipeline *p, uf_error *err)
{
    const uf_pipeline_options *o = &p->options;
    uf_detector_options d = o->detector;
    uf_embedder_options e = UF_EMBEDDER_OPTIONS_INIT;
    uf_status st = UF_OK;
    d.engine.threads = o->detector.engine.threads / o->lanes;
    e.engine = d.engine;
    e.flip = o->flip;
    lane->pipeline = p;
    if (p->detector)
        st = uf_detector_create(&lane->detector, p->detector, &d, err);
    if (!st && p->embedder)
        st = uf_embedder_create(&lane->embedder, p->embedder, &e, err);
    if (st)
        return st;
    if (lane->embedder) {
        p->crop_side = uf_embedder_crop_size(lane->embedder);
        p->crop_bytes = (size_t)p->crop_side * (size_t)p->crop_side * 3;
        p->dimension = uf_embedder_dimension(lane->embedder);
    }
    p->decode = o->decode;
    if (o->decode.min_side == 0)
        p->decode.min_side = lane->detector ? uf_pipeline_min_side(lane->detector) : p->crop_side;
    p->seen_cap = o->max_faces > UFI_PIPELINE_SEEN_FACES ? o->max_faces : UFI_PIPELINE_SEEN_FACES;
    lane->seen = ufi_calloc(o->batch * p->seen_cap, sizeof *lane->seen);
    lane->crops = ufi_malloc(o->batch, p->crop_bytes + 1);
    lane->vectors = ufi_malloc(o->batch, (p->dimension + 1) * sizeof *lane->vectors);
    return lane->seen && lane->crops && lane->vectors
               ? UF_OK
               : ufi_fail(err, UF_E_NOMEM, "no memory for a pipeline");
}

void ufi_lane_close(ufi_lane *lane)
{
    uf_detector_destroy(lane->detector);
    uf_embedder_destroy(lane->embedder);
    ufi_free(lane->seen);
    ufi_free(lane->crops);
    ufi_free(lane->vectors);
    *lane = (ufi_lane){0};
}

static void fail(ufi_place *at, uf_status st, const uf_error *err)
{
    at->status = st;
    at->error.status = st;
    if (at->path)
        ufi_fail(&at->error, st, "%.200s: %.300s", at->path, err->message);
    else
        at->error = *err;
}

/* Whether one face of a picture is looked at; without a detector the picture is that face. */
static bool only_main(const uf_pipeline *p)
{
    return p->options.max_faces == 0 || p->options.main_only || !p->detector;
}

/* A face that cannot be judged or embedded. Where it is the only one wanted, the picture fails. */
static void fail_face(const uf_pipeline *p, ufi_place *at, size_t face, uf_status st,
                      const uf_error *err)
{
    if (only_main(p)) {
        fail(at, st, err);
        return;
    }
    if (at->face_room > at->fault_room) {
        uf_face_fault *more = ufi_realloc(at->faults, at->face_room, sizeof *more);
        if (!more) {
            fail(at, UF_E_NOMEM, &(uf_error){UF_E_NOMEM, "no memory for faces"});
            return;
        }
        at->faults = more;
        at->fault_room = at->face_room;
    }
    if (at->fault_count++ == 0)
        memset(at->faults, 0, at->face_count * sizeof *at->faults);
    at->faults[face].status = st;
    snprintf(at->faults[face].message, sizeof at->faults[face].message, "%.*s",
             (int)sizeof at->faults[face].message - 1, err->message);
    if (p->embedder)
        memset(at->templates + face * p->dimension, 0, p->dimension * sizeof(float));
}

static bool make_place_for(ufi_place *at, size_t faces, size_t dimension, bool judged)
{
    if (faces > at->face_room) {
        uf_face *more = ufi_realloc(at->faces, faces, sizeof *more);
        if (!more)
            return false;
        at->faces = more;
        if (judged) {
            uf_quality *qualities = ufi_realloc(at->qualities, faces, sizeof *qualities);
            if (!qualities)
                return false;
            at->qualities = qualities;
        }
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
    if (!make_place_for(at, kept ? kept : 1, p->dimension, p->options.judge)) {
        fail(at, UF_E_NOMEM, &no_memory);
        return;
    }
    if (kept)
        memcpy(at->faces, from, kept * sizeof *from);
    at->face_count = kept;
    at->main_face = uf_face_main(at->faces, kept, at->width, at->height);
}

static void detect(const ufi_lane *lane, ufi_place *const *good, size_t count)
{
    const uf_pipeline *p = lane->pipeline;
    uf_image views[UFI_PIPELINE_MAX_BATCH];
    size_t found[UFI_PIPELINE_MAX_BATCH] = {0};
    uf_error err;
    for (size_t i = 0; i < count; i++)
        views[i] = uf_picture_view(good[i]->picture);
    const uf_status together =
        uf_detector_run_batch(lane->detector, views, count, lane->seen, p->seen_cap, found, &err);
    for (size_t i = 0; i < count; i++) {
        uf_face *faces = lane->seen + i * p->seen_cap;
        uf_status st = UF_OK;
        if (together)
            st = uf_detector_run(lane->detector, &views[i], faces, p->seen_cap, &found[i], &err);
        if (st)
            fail(good[i], st, &err);
        else
            keep_faces(p, good[i], faces, found[i]);
    }
}

static void scale_to(ufi_place *at, int32_t width, int32_t height)
{
    if (at->width == width && at->height == height)
        return;
    for (size_t i = 0; i < at->face_count; i++)
        uf_face_scale(&at->faces[i], (float)width / (float)at->width,
                      (float)height / (float)at->height);
    at->width = width;
    at->height = height;
}

/* ---- pictures that were decoded too small ---- */

/* What there is of the pixels that a face should have, along a side. */
static float detail_of(const ufi_lane *lane, const uf_face *f)
{
    float detail = lane->embedder ? uf_embedder_detail(lane->embedder, f) : 1;
    const int32_t side = lane->pipeline->options.crop_side, own = lane->pipeline->crop_side;
    if (side > own && lane->embedder)
        detail *= (float)own / (float)side;
    if (lane->pipeline->options.judge)
        detail = fminf(detail, uf_face_detail(f));
    return detail;
}

/* Of the smallest face that is looked at; 1 is as good as more. */
static float least_detail(const ufi_lane *lane, const ufi_place *at)
{
    float least = 1;
    for (size_t i = 0; i < at->face_count; i++) {
        if (only_main(lane->pipeline) && (int32_t)i != at->main_face)
            continue;
        const float detail = detail_of(lane, &at->faces[i]);
        least = detail > 0 && detail < least ? detail : least;
    }
    return least;
}

/* The picture of a place once more, as large as its faces need, or NULL: it is large enough, or
 * cannot be read once more. Its faces are then in pixels of this one. *bytes are held until it is
 * let go. */
static uf_picture *decode_larger(const ufi_lane *lane, ufi_place *at, size_t *bytes)
{
    uf_decode_options o = lane->pipeline->options.decode;
    uf_picture *larger = NULL;
    int32_t width, height;
    uf_picture_source_size(at->picture, &width, &height);
    const float least = least_detail(lane, at);
    if (o.min_side != 0 || (at->width == width && at->height == height) || least >= 1)
        return NULL;
    const int32_t side = at->width < at->height ? at->width : at->height;
    o.min_side = (int32_t)fminf(ceilf((float)side / least), UF_IMAGE_MAX_SIDE);
    const size_t by = ufi_image_reduction((unsigned)width, (unsigned)height, o.min_side);
    *bytes = (((size_t)width + by - 1) / by) * (((size_t)height + by - 1) / by) * 3;
    ufi_pipeline_hold(lane->pipeline, *bytes);
    if (ufi_pipeline_decode(at, &o, &larger, NULL)) {
        ufi_pipeline_release(lane->pipeline, *bytes);
        return NULL;
    }
    const uf_image view = uf_picture_view(larger);
    scale_to(at, view.width, view.height);
    return larger;
}

/* ---- templates ---- */

/* Crops that wait for a run, and where their templates go. */
typedef struct waiting {
    const ufi_lane *lane;
    ufi_place *owners[UFI_PIPELINE_MAX_BATCH];
    size_t faces[UFI_PIPELINE_MAX_BATCH];
    float *to[UFI_PIPELINE_MAX_BATCH];
    size_t count;
} waiting;

static void run_waiting(waiting *w)
{
    const ufi_lane *lane = w->lane;
    const uf_pipeline *p = lane->pipeline;
    uf_error err;
    const uf_status together =
        w->count ? uf_embedder_run_crops(lane->embedder, lane->crops, w->count, lane->vectors, &err)
                 : UF_OK;
    for (size_t i = 0; i < w->count; i++) {
        float *v = lane->vectors + i * p->dimension;
        const uf_status st =
            together
                ? uf_embedder_run_crops(lane->embedder, lane->crops + i * p->crop_bytes, 1, v, &err)
                : UF_OK;
        if (st)
            fail_face(p, w->owners[i], w->faces[i], st, &err);
        else
            memcpy(w->to[i], v, p->dimension * sizeof *v);
    }
    w->count = 0;
}

/* The crop of a face; `picture` is NULL without a detector. */
static void add_crop(waiting *w, ufi_place *at, const uf_picture *picture, size_t face)
{
    const ufi_lane *lane = w->lane;
    const uf_pipeline *p = lane->pipeline;
    uint8_t *crop = lane->crops + w->count * p->crop_bytes;
    uf_error err;
    uf_status st = UF_OK;
    if (picture) {
        const uf_image view = uf_picture_view(picture);
        st = uf_embedder_crop(lane->embedder, &view, &at->faces[face], crop, &err);
    } else {
        memcpy(crop, at->crop, p->crop_bytes);
    }
    if (st) {
        fail_face(p, at, face, st, &err);
        return;
    }
    w->owners[w->count] = at;
    w->faces[w->count] = face;
    w->to[w->count++] = at->templates + face * p->dimension;
    if (w->count == p->options.batch)
        run_waiting(w);
}

/* False when the face gets no template. */
static bool judge(const uf_pipeline *p, ufi_place *at, const uf_picture *picture, size_t face)
{
    uf_error err;
    const uf_image view = uf_picture_view(picture);
    const uf_status st = uf_face_quality(&view, &at->faces[face], &at->qualities[face], &err);
    if (st) {
        at->qualities[face] = (uf_quality){0};
        fail_face(p, at, face, st, &err);
        return false;
    }
    const bool skipped = p->options.judge == UF_PIPELINE_SKIP_POOR && at->qualities[face].reason[0];
    if (skipped && p->embedder)
        memset(at->templates + face * p->dimension, 0, p->dimension * sizeof(float));
    return !skipped;
}

/* The main face's crop, for who wants to keep it. Why there is none, its template will tell. */
static void keep_crop(const uf_pipeline *p, ufi_place *at, const uf_picture *picture)
{
    const uf_face *f = &at->faces[at->main_face];
    const uf_image view = uf_picture_view(picture);
    at->has_crop = f->has_landmarks &&
                   !uf_face_align(&view, f->landmarks, NULL, p->options.crop_side, at->crop, NULL);
}

static void take_face(waiting *w, ufi_place *at, const uf_picture *picture, size_t face)
{
    const uf_pipeline *p = w->lane->pipeline;
    const bool is_main = (int32_t)face == at->main_face;
    if (only_main(p) && !is_main) {
        if (p->options.judge)
            at->qualities[face] = (uf_quality){0};
        if (p->embedder)
            memset(at->templates + face * p->dimension, 0, p->dimension * sizeof(float));
        return;
    }
    if ((p->options.judge && !judge(p, at, picture, face)) || !p->embedder)
        return;
    if (is_main && p->options.crop_side)
        keep_crop(p, at, picture);
    add_crop(w, at, picture, face);
}

/* Judges the faces of a place and makes their crops. */
static void take_faces(waiting *w, ufi_place *at)
{
    size_t bytes = 0;
    uf_picture *larger = w->lane->detector ? decode_larger(w->lane, at, &bytes) : NULL;
    const uf_picture *picture = larger ? larger : at->picture;
    for (size_t face = 0; at->status == UF_OK && face < at->face_count; face++)
        take_face(w, at, picture, face);
    if (!larger)
        return;
    uf_picture_destroy(larger);
    ufi_pipeline_release(w->lane->pipeline, bytes);
}

static void embed(const ufi_lane *lane, ufi_place *const *good, size_t count)
{
    waiting w = {.lane = lane};
    for (size_t i = 0; i < count; i++)
        if (good[i]->status == UF_OK)
            take_faces(&w, good[i]);
    run_waiting(&w);
}

void ufi_lane_run(ufi_lane *lane, uint64_t first, size_t count)
{
    const uf_pipeline *p = lane->pipeline;
    ufi_place *good[UFI_PIPELINE_MAX_BATCH];
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        ufi_place *at = ufi_pipeline_place(p, first + i);
        if (at->status == UF_OK)
            good[n++] = at;
    }
    if (n == 0)
        return;
    if (lane->detector)
        detect(lane, good, n);
    for (size_t i = 0; !lane->detector && i < n; i++)
        keep_faces(p, good[i], &(uf_face){.width = 1, .height = 1}, 1);
    if (lane->embedder || p->options.judge)
        embed(lane, good, n);
    for (size_t i = 0; lane->detector && i < n; i++) {
        int32_t width, height;
        uf_picture_source_size(good[i]->picture, &width, &height);
        scale_to(good[i], width, height);
    }
}
