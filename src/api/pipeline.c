/*
 * uniface/pipeline.h: the ring and its threads.
 *
 * Pictures have numbers in the order of putting; picture n lies in place n modulo the ring. So four
 * counters say everything: given <= to_run <= to_decode <= put. Decoders take the picture
 * `to_decode` and raise it. Lanes, threads with networks of their own, take the pictures from
 * `to_run` on that are decoded. The caller's thread gives out the oldest, which keeps the order.
 *
 * Lanes share the threads. Unless fewer are asked for there is one for each, with networks of one
 * thread: two such lanes do about 307 pictures/s where one whose networks used both cores did 241
 * (YuNet and MobileFaceNet, FP32), because layers this small end before a second thread has begun.
 * Of fewer pictures than threads each has several.
 *
 * Decoders stop taking pictures while more than max_bytes of pixels are held. The oldest pictures
 * are taken first, so the one that lanes wait for is decoded or being decoded, and they go on with
 * what there is: there is no deadlock, only a smaller batch.
 */
#include "uniface/pipeline.h"

#include <string.h>

#include "api/pipeline_impl.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"

/* ---- decoders ---- */

uf_status ufi_pipeline_decode(const ufi_place *at, const uf_decode_options *options,
                              uf_picture **out, uf_error *err)
{
    return at->path ? uf_picture_load(out, at->path, options, err)
                    : uf_picture_decode(out, at->encoded, at->encoded_size, options, err);
}

static uf_status decode(const uf_pipeline *p, ufi_place *at, uf_error *err)
{
    uf_decode_options o = p->decode;
    if (at->path && strcmp(at->path, "-") == 0)
        o.min_side = UF_IMAGE_MAX_SIDE; /* it can be read but once */
    uf_status st = ufi_pipeline_decode(at, &o, &at->picture, err);
    if (st)
        return st;
    const uf_image view = uf_picture_view(at->picture);
    at->width = view.width;
    at->height = view.height;
    at->picture_bytes = (size_t)view.width * (size_t)view.height * 3;
    if (p->detector)
        return UF_OK;
    st = uf_image_resize(&view, p->crop_side, p->crop_side, at->crop, err);
    uf_picture_source_size(at->picture, &at->width, &at->height);
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

/* ---- lanes ---- */

/* How many pictures a lane takes now: what is decoded is shared out among the lanes. With the
 * mutex. */
static size_t share(const uf_pipeline *p)
{
    const size_t most = p->most * p->lane_count;
    size_t decoded = 0;
    while (decoded < most && p->to_run + decoded < p->to_decode &&
           ufi_pipeline_place(p, p->to_run + decoded)->state == UFI_PLACE_DECODED)
        decoded++;
    return (decoded + p->lane_count - 1) / p->lane_count;
}

/* Waits for pictures that are decoded; how many, from *first on. 0: the pipeline ends. With the
 * mutex. */
static size_t take_batch(uf_pipeline *p, uint64_t *first)
{
    size_t count = 0;
    while (!p->stop && (count = share(p)) == 0)
        ufi_condition_wait(p->changed, p->mutex);
    if (p->stop)
        return 0;
    *first = p->to_run;
    for (size_t i = 0; i < count; i++)
        ufi_pipeline_place(p, p->to_run++)->state = UFI_PLACE_RUNNING;
    return count;
}

void ufi_pipeline_hold(uf_pipeline *p, size_t bytes)
{
    ufi_mutex_lock(p->mutex);
    while (!p->stop && p->second_count > 0 && p->held_bytes + bytes > p->options.max_bytes)
        ufi_condition_wait(p->changed, p->mutex);
    p->second_count++;
    p->held_bytes += bytes;
    ufi_mutex_unlock(p->mutex);
}

void ufi_pipeline_release(uf_pipeline *p, size_t bytes)
{
    ufi_mutex_lock(p->mutex);
    p->second_count--;
    p->held_bytes -= bytes;
    ufi_condition_wake_all(p->changed);
    ufi_mutex_unlock(p->mutex);
}

static void let_go(uf_pipeline *p, uint64_t first, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        ufi_place *at = ufi_pipeline_place(p, first + i);
        uf_picture_destroy(at->picture);
        ufi_free(at->encoded);
        at->picture = NULL;
        at->encoded = NULL;
        bytes += at->picture_bytes;
        at->picture_bytes = 0;
    }
    ufi_mutex_lock(p->mutex);
    p->held_bytes -= bytes;
    for (size_t i = 0; i < count; i++)
        ufi_pipeline_place(p, first + i)->state = UFI_PLACE_READY;
    ufi_condition_wake_all(p->changed);
}

static void lane_main(void *arg)
{
    ufi_lane *lane = arg;
    uf_pipeline *p = lane->pipeline;
    uint64_t first = 0;
    size_t count;
    ufi_mutex_lock(p->mutex);
    while ((count = take_batch(p, &first)) > 0) {
        ufi_mutex_unlock(p->mutex);
        ufi_lane_run(lane, first, count);
        let_go(p, first, count);
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
    at->face_count = at->fault_count = 0;
    at->main_face = -1;
    at->has_crop = false;
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

uf_status uf_pipeline_next(uf_pipeline *p, uf_pipeline_item *out, uf_error *err)
{
    if (!p || !out)
        return ufi_fail(err, UF_E_ARG, "uf_pipeline_next: pipeline and out must be given");
    if (p->given == p->put)
        return ufi_fail(err, UF_E_STATE, "nothing is pending: put pictures in first");
    const ufi_place *at = ufi_pipeline_place(p, p->given);
    ufi_mutex_lock(p->mutex);
    while (at->state != UFI_PLACE_READY)
        ufi_condition_wait(p->changed, p->mutex);
    ufi_mutex_unlock(p->mutex);
    const bool is_ok = at->status == UF_OK;
    *out = (uf_pipeline_item){.number = p->given++,
                              .status = at->status,
                              .width = at->width,
                              .height = at->height,
                              .face_count = is_ok ? at->face_count : 0,
                              .faces = is_ok && p->detector ? at->faces : NULL,
                              .templates = is_ok && p->embedder ? at->templates : NULL,
                              .faults = is_ok && at->fault_count ? at->faults : NULL,
                              .main_face = is_ok ? at->main_face : -1,
                              .crop = is_ok && at->has_crop ? at->crop : NULL};
    if (is_ok && p->options.judge)
        out->qualities = at->qualities;
    if (!is_ok)
        memcpy(out->message, at->error.message, sizeof out->message);
    return UF_OK;
}

/* ---- making one ---- */

static uf_status check_options(const uf_pipeline *p, uf_pipeline_options *o, uf_error *err)
{
    if (o->batch < 1 || o->batch > UFI_PIPELINE_MAX_BATCH)
        return ufi_fail(err, UF_E_ARG, "pipeline options: batch must be 1 to %d",
                        UFI_PIPELINE_MAX_BATCH);
    uint32_t *threads = &o->detector.engine.threads;
    *threads = *threads ? *threads : ufi_cpu_count();
    if (*threads > UFI_PIPELINE_MAX_LANES)
        return ufi_fail(err, UF_E_ARG, "pipeline options: threads must be 0 to %d",
                        UFI_PIPELINE_MAX_LANES);
    if (o->lanes == 0 || o->lanes > *threads)
        o->lanes = *threads;
    if (!o->ring)
        o->ring = 3 * (o->batch > *threads ? o->batch : *threads);
    if (o->ring < o->batch || o->ring > 65536)
        return ufi_fail(err, UF_E_ARG, "pipeline options: ring must be batch to 65536");
    o->ring++; /* the place of the picture that was given last */
    if (o->max_faces > UFI_PIPELINE_MAX_FACES)
        return ufi_fail(err, UF_E_ARG, "pipeline options: max_faces must be 0 to %d",
                        UFI_PIPELINE_MAX_FACES);
    if (o->judge < UF_PIPELINE_JUDGE_NONE || o->judge > UF_PIPELINE_SKIP_POOR ||
        (o->judge && !p->detector))
        return ufi_fail(err, UF_E_ARG,
                        "pipeline options: judge must be 0 to %d, and 0 without a detector",
                        UF_PIPELINE_SKIP_POOR);
    if (o->crop_side < 0 || o->crop_side > UFI_PIPELINE_MAX_CROP ||
        (o->crop_side && (!p->detector || !p->embedder)))
        return ufi_fail(err, UF_E_ARG,
                        "pipeline options: crop_side must be 0 to %d, and 0 without both models",
                        UFI_PIPELINE_MAX_CROP);
    const uint32_t cores = ufi_cpu_count();
    o->decoders = o->decoders ? o->decoders : cores < 256 ? cores : 256;
    if (o->decoders > 256)
        return ufi_fail(err, UF_E_ARG, "pipeline options: decoders must be 0 to 256");
    return UF_OK;
}

/* Weights that stay in a core's caches need not be shared by the pictures of a batch, whose
 * activations do not stay there: MobileFaceNet takes 2.7 ms alone and 3.1 ms in a batch of 8, an
 * IResNet of 43 M parameters 111 and 78 ms. */
static size_t most_at_a_time(const uf_pipeline *p)
{
    const uint64_t light = 4000000;
    const bool is_light = (!p->detector || uf_model_parameter_count(p->detector) < light) &&
                          (!p->embedder || uf_model_parameter_count(p->embedder) < light);
    return is_light ? 1 : p->options.batch;
}

/* The first lane is opened here, because its networks tell what all need to know. Fewer lanes than
 * asked for are enough, as long as there is one. */
static uf_status open_lanes(uf_pipeline *p, uf_error *err)
{
    const size_t wanted = p->options.lanes;
    p->lanes = ufi_calloc(wanted, sizeof *p->lanes);
    if (!p->lanes)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a pipeline");
    uf_status st = UF_OK;
    while (!st && p->lane_count < wanted) {
        st = ufi_lane_open(&p->lanes[p->lane_count], p, err);
        if (st)
            ufi_lane_close(&p->lanes[p->lane_count]);
        else
            p->lane_count++;
    }
    return p->lane_count ? UF_OK : st;
}

static uf_status make_places(uf_pipeline *p, uf_error *err)
{
    const uf_pipeline_options *o = &p->options;
    p->places = ufi_calloc(o->ring, sizeof *p->places);
    p->decoders = ufi_calloc(o->decoders, sizeof(ufi_thread *));
    const size_t crop =
        p->detector ? (size_t)o->crop_side * (size_t)o->crop_side * 3 : p->crop_bytes;
    bool ok = p->places && p->decoders;
    for (uint32_t i = 0; ok && crop && i < o->ring; i++)
        ok = (p->places[i].crop = ufi_malloc(crop, 1)) != NULL;
    return ok ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a pipeline");
}

/* Fewer threads than asked for are enough, as long as there is one of each kind. */
static uf_status start_threads(uf_pipeline *p, uf_error *err)
{
    uf_status st = UF_OK;
    while (!st && p->decoder_count < p->options.decoders) {
        st = ufi_thread_start(&p->decoders[p->decoder_count], decoder_main, p, err);
        p->decoder_count += st == UF_OK;
    }
    if (!p->decoder_count)
        return st;
    st = UF_OK;
    for (size_t i = 0; !st && i < p->lane_count; i++)
        st = ufi_thread_start(&p->lanes[i].thread, lane_main, &p->lanes[i], err);
    return p->lanes[0].thread ? UF_OK : st;
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
    p->detector = detector;
    p->embedder = embedder;
    p->options = options ? *options : defaults;
    p->most = most_at_a_time(p);
    uf_status st = check_options(p, &p->options, err);
    if (!st)
        st = ufi_mutex_create(&p->mutex, err);
    if (!st)
        st = ufi_condition_create(&p->changed, err);
    if (!st)
        st = open_lanes(p, err);
    if (!st)
        st = make_places(p, err);
    if (!st)
        st = start_threads(p, err);
    if (st)
        uf_pipeline_destroy(p);
    else
        *out = p;
    return st;
}

static void stop_threads(uf_pipeline *p)
{
    if (!p->decoder_count)
        return;
    ufi_mutex_lock(p->mutex);
    p->stop = true;
    ufi_condition_wake_all(p->changed);
    ufi_mutex_unlock(p->mutex);
    for (size_t i = 0; i < p->decoder_count; i++)
        ufi_thread_join(p->decoders[i]);
    for (size_t i = 0; i < p->lane_count; i++)
        ufi_thread_join(p->lanes[i].thread);
}

void uf_pipeline_destroy(uf_pipeline *p)
{
    if (!p)
        return;
    stop_threads(p);
    for (size_t i = 0; i < p->lane_count; i++)
        ufi_lane_close(&p->lanes[i]);
    for (uint32_t i = 0; p->places && i < p->options.ring; i++) {
        ufi_place *at = &p->places[i];
        uf_picture_destroy(at->picture);
        ufi_free(at->path);
        ufi_free(at->encoded);
        ufi_free(at->crop);
        ufi_free(at->faces);
        ufi_free(at->qualities);
        ufi_free(at->templates);
        ufi_free(at->faults);
    }
    ufi_condition_destroy(p->changed);
    ufi_mutex_destroy(p->mutex);
    ufi_free(p->decoders);
    ufi_free(p->lanes);
    ufi_free(p->places);
    ufi_free(p);
}
