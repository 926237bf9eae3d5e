/*
 * uniface/pipeline.h: the ring and its decoders.
 *
 * Pictures have numbers in the order of putting; picture n lies in place n modulo the ring. So four
 * counters say everything: given <= ready <= to_decode <= put. Decoders take the picture
 * `to_decode` and raise it; the caller's thread does all the rest. Order is kept because only the
 * caller's thread gives pictures out, and it waits for the oldest.
 *
 * Decoders stop taking pictures while more than max_bytes of pixels are held. The oldest pictures
 * are taken first, so whoever waits for a batch finds the first of it decoded, or being decoded,
 * and goes on with what there is: there is no deadlock, only a smaller batch.
 */
#include "uniface/pipeline.h"

#include <string.h>

#include "api/pipeline_impl.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"

/* ---- decoders ---- */

static uf_status decode(const uf_pipeline *p, ufi_place *at, uf_error *err)
{
    uf_status st = at->path ? uf_picture_load(&at->picture, at->path, &p->options.decode, err)
                            : uf_picture_decode(&at->picture, at->encoded, at->encoded_size,
                                                &p->options.decode, err);
    ufi_free(at->encoded);
    at->encoded = NULL;
    if (st)
        return st;
    const uf_image view = uf_picture_view(at->picture);
    at->width = view.width;
    at->height = view.height;
    at->picture_bytes = (size_t)view.width * (size_t)view.height * 3;
    if (p->detector)
        return UF_OK;
    const int32_t side = uf_embedder_crop_size(p->embedder);
    st = uf_image_resize(&view, side, side, at->crop, err);
    uf_picture_destroy(at->picture);
    at->picture = NULL;
    at->picture_bytes = 0;
    return st;
}

/* The picture to decode next, or NULL: the pipeline ends. With the mutex. */
static ufi_place *take(uf_pipeline *p)
{
    while (!p->stop) {
        const bool is_full = p->held_bytes >= p->options.max_bytes;
        if (p->to_decode < p->limit && !is_full) {
            ufi_place *at = ufi_pipeline_place(p, p->to_decode++);
            at->state = UFI_PLACE_DECODING;
            return at;
        }
        ufi_condition_wait(p->changed, p->mutex);
    }
    return NULL;
}

static void decoder_main(void *arg)
{
    uf_pipeline *p = arg;
    ufi_place *at;
    ufi_mutex_lock(p->mutex);
    while ((at = take(p)) != NULL) {
        ufi_mutex_unlock(p->mutex);
        at->error.message[0] = '\0';
        at->status = decode(p, at, &at->error);
        ufi_mutex_lock(p->mutex);
        p->held_bytes += at->picture_bytes;
        at->state = UFI_PLACE_DECODED;
        ufi_condition_wake_all(p->changed);
    }
    ufi_mutex_unlock(p->mutex);
}

/* ---- putting ---- */

size_t uf_pipeline_room(const uf_pipeline *p)
{
    /* The picture given last is still the caller's to look at. */
    return p->options.ring - (size_t)(p->put - p->given) - (p->given > 0 ? 1 : 0);
}

size_t uf_pipeline_pending(const uf_pipeline *p)
{
    return (size_t)(p->put - p->given);
}

size_t uf_pipeline_dimension(const uf_pipeline *p)
{
    return p->dimension;
}

static uf_status put(uf_pipeline *p, char *path, uint8_t *encoded, size_t size, uf_error *err)
{
    if (!path && !encoded)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a picture");
    ufi_place *at = ufi_pipeline_place(p, p->put);
    ufi_free(at->path);
    at->path = path;
    at->encoded = encoded;
    at->encoded_size = size;
    at->width = at->height = 0;
    at->face_count = 0;
    ufi_mutex_lock(p->mutex);
    at->state = UFI_PLACE_WAITING;
    p->limit = ++p->put;
    ufi_condition_wake_all(p->changed);
    ufi_mutex_unlock(p->mutex);
    return UF_OK;
}

static uf_status check_room(const uf_pipeline *p, uf_error *err)
{
    return uf_pipeline_room(p)
               ? UF_OK
               : ufi_fail(err, UF_E_STATE, "the ring of %u pictures is full: take one with next",
                          p->options.ring);
}

uf_status uf_pipeline_put(uf_pipeline *p, const char *path, uf_error *err)
{
    if (!p || !path)
        return ufi_fail(err, UF_E_ARG, "uf_pipeline_put: pipeline and path must be given");
    uf_status st = check_room(p, err);
    return st ? st : put(p, ufi_strdup(path), NULL, 0, err);
}

uf_status uf_pipeline_put_bytes(uf_pipeline *p, const void *data, size_t size, uf_error *err)
{
    if (!p || (!data && size))
        return ufi_fail(err, UF_E_ARG, "uf_pipeline_put_bytes: pipeline and data must be given");
    uf_status st = check_room(p, err);
    if (st)
        return st;
    uint8_t *copy = ufi_malloc(size ? size : 1, 1);
    if (copy && size)
        memcpy(copy, data, size);
    return put(p, NULL, copy, size, err);
}

/* ---- taking ---- */

/* Waits for a batch of the oldest pictures; how many are decoded, at least one. */
static size_t wait_for_batch(uf_pipeline *p)
{
    const uint64_t waiting = p->put - p->ready;
    const size_t want = waiting < p->options.batch ? (size_t)waiting : p->options.batch;
    size_t count = 0;
    ufi_mutex_lock(p->mutex);
    for (;;) {
        while (count < want && ufi_pipeline_place(p, p->ready + count)->state == UFI_PLACE_DECODED)
            count++;
        const bool is_full = p->held_bytes >= p->options.max_bytes;
        if (count == want || (count > 0 && is_full))
            break;
        ufi_condition_wait(p->changed, p->mutex);
    }
    ufi_mutex_unlock(p->mutex);
    return count;
}

static void let_go(uf_pipeline *p, uint64_t first, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        ufi_place *at = ufi_pipeline_place(p, first + i);
        uf_picture_destroy(at->picture);
        at->picture = NULL;
        bytes += at->picture_bytes;
        at->picture_bytes = 0;
    }
    ufi_mutex_lock(p->mutex);
    p->held_bytes -= bytes;
    for (size_t i = 0; i < count; i++)
        ufi_pipeline_place(p, first + i)->state = UFI_PLACE_READY;
    ufi_condition_wake_all(p->changed);
    ufi_mutex_unlock(p->mutex);
}

uf_status uf_pipeline_next(uf_pipeline *p, uf_pipeline_item *out, uf_error *err)
{
    if (!p || !out)
        return ufi_fail(err, UF_E_ARG, "uf_pipeline_next: pipeline and out must be given");
    if (p->given == p->put)
        return ufi_fail(err, UF_E_STATE, "nothing is pending: put pictures in first");
    if (p->ready == p->given) {
        const size_t count = wait_for_batch(p);
        ufi_pipeline_run_batch(p, p->ready, count);
        let_go(p, p->ready, count);
        p->ready += count;
    }
    const ufi_place *at = ufi_pipeline_place(p, p->given);
    const bool is_ok = at->status == UF_OK;
    *out = (uf_pipeline_item){.number = p->given++,
                              .status = at->status,
                              .width = at->width,
                              .height = at->height,
                              .face_count = is_ok ? at->face_count : 0,
                              .faces = is_ok && p->detector ? at->faces : NULL,
                              .templates = is_ok && p->embedder ? at->templates : NULL};
    if (!is_ok)
        memcpy(out->message, at->error.message, sizeof out->message);
    return UF_OK;
}

/* ---- making one ---- */

static uf_status check_options(uf_pipeline_options *o, uf_error *err)
{
    if (o->batch < 1 || o->batch > UFI_PIPELINE_MAX_BATCH)
        return ufi_fail(err, UF_E_ARG, "pipeline options: batch must be 1 to %d",
                        UFI_PIPELINE_MAX_BATCH);
    o->ring = o->ring ? o->ring : 3 * o->batch;
    if (o->ring < o->batch || o->ring > 65536)
        return ufi_fail(err, UF_E_ARG, "pipeline options: ring must be batch to 65536");
    o->ring++; /* the place of the picture that was given last */
    if (o->max_faces > UFI_PIPELINE_MAX_FACES)
        return ufi_fail(err, UF_E_ARG, "pipeline options: max_faces must be 0 to %d",
                        UFI_PIPELINE_MAX_FACES);
    o->decoders = o->decoders ? o->decoders : ufi_cpu_count();
    if (o->decoders > 256)
        return ufi_fail(err, UF_E_ARG, "pipeline options: decoders must be 0 to 256");
    return UF_OK;
}

static uf_status open_networks(uf_pipeline *p, uf_model *detector, uf_model *embedder,
                               uf_error *err)
{
    uf_embedder_options o = UF_EMBEDDER_OPTIONS_INIT;
    o.engine = p->options.detector.engine;
    o.flip = p->options.flip;
    uf_status st =
        detector ? uf_detector_create(&p->detector, detector, &p->options.detector, err) : UF_OK;
    if (!st && embedder)
        st = uf_embedder_create(&p->embedder, embedder, &o, err);
    if (st || !embedder)
        return st;
    const size_t side = (size_t)uf_embedder_crop_size(p->embedder);
    p->dimension = uf_embedder_dimension(p->embedder);
    p->crop_bytes = side * side * 3;
    return UF_OK;
}

static uf_status make_room(uf_pipeline *p, uf_error *err)
{
    const uf_pipeline_options *o = &p->options;
    p->seen_cap = o->max_faces > UFI_PIPELINE_SEEN_FACES ? o->max_faces : UFI_PIPELINE_SEEN_FACES;
    p->places = ufi_calloc(o->ring, sizeof *p->places);
    p->seen = ufi_calloc(o->batch * p->seen_cap, sizeof *p->seen);
    p->crops = ufi_malloc(o->batch, p->crop_bytes + 1);
    p->vectors = ufi_malloc(o->batch, (p->dimension + 1) * sizeof *p->vectors);
    p->decoders = ufi_calloc(o->decoders, sizeof(ufi_thread *));
    bool ok = p->places && p->seen && p->crops && p->vectors && p->decoders;
    for (uint32_t i = 0; ok && !p->detector && i < o->ring; i++)
        ok = (p->places[i].crop = ufi_malloc(p->crop_bytes, 1)) != NULL;
    return ok ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a pipeline");
}

/* Fewer threads than asked for are enough, as long as there is one. */
static uf_status start_decoders(uf_pipeline *p, uf_error *err)
{
    uf_status st = UF_OK;
    while (!st && p->decoder_count < p->options.decoders) {
        st = ufi_thread_start(&p->decoders[p->decoder_count], decoder_main, p, err);
        p->decoder_count += st == UF_OK;
    }
    return p->decoder_count ? UF_OK : st;
}

uf_status uf_pipeline_create(uf_pipeline **out, uf_model *detector, uf_model *embedder,
                             const uf_pipeline_options *options, uf_error *err)
{
    static const uf_pipeline_options defaults = UF_PIPELINE_OPTIONS_INIT;
    if (!out || (!detector && !embedder))
        return ufi_fail(err, UF_E_ARG, "uf_pipeline_create: out and a model must be given");
    *out = NULL;
    uf_pipeline *p = ufi_calloc(1, sizeof *p);
    if (!p)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a pipeline");
    p->options = options ? *options : defaults;
    uf_status st = check_options(&p->options, err);
    if (!st)
        st = ufi_mutex_create(&p->mutex, err);
    if (!st)
        st = ufi_condition_create(&p->changed, err);
    if (!st)
        st = open_networks(p, detector, embedder, err);
    if (!st)
        st = make_room(p, err);
    if (!st)
        st = start_decoders(p, err);
    if (st)
        uf_pipeline_destroy(p);
    else
        *out = p;
    return st;
}

static void stop_decoders(uf_pipeline *p)
{
    if (!p->decoder_count)
        return;
    ufi_mutex_lock(p->mutex);
    p->stop = true;
    ufi_condition_wake_all(p->changed);
    ufi_mutex_unlock(p->mutex);
    for (size_t i = 0; i < p->decoder_count; i++)
        ufi_thread_join(p->decoders[i]);
}

void uf_pipeline_destroy(uf_pipeline *p)
{
    if (!p)
        return;
    stop_decoders(p);
    for (uint32_t i = 0; p->places && i < p->options.ring; i++) {
        ufi_place *at = &p->places[i];
        uf_picture_destroy(at->picture);
        ufi_free(at->path);
        ufi_free(at->encoded);
        ufi_free(at->crop);
        ufi_free(at->faces);
        ufi_free(at->templates);
    }
    uf_detector_destroy(p->detector);
    uf_embedder_destroy(p->embedder);
    ufi_condition_destroy(p->changed);
    ufi_mutex_destroy(p->mutex);
    ufi_free(p->decoders);
    ufi_free(p->places);
    ufi_free(p->seen);
    ufi_free(p->crops);
    ufi_free(p->vectors);
    ufi_free(p);
}
