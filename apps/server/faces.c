/* From a body's bytes to faces and templates; each stage's time is kept for the metrics. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/base64.h"
#include "server/body.h"
#include "server/item.h"
#include "server/raw.h"
#include "server/state.h"

void srv_photo_free(srv_photo *p)
{
    uf_picture_destroy(p->picture);
    free(p->faces);
    *p = (srv_photo){0};
}

/* Enrolled pictures are judged, and kept for long: they are taken as they are. */
static int32_t least_side(const srv_request *q)
{
    srv_loaded *m =
        q->route->role == SRV_ENROL ? NULL : srv_engine_hold(q->server->engine, SRV_LANE_DETECT);
    const int32_t side = m ? srv_loaded_min_side(m) : 0;
    srv_engine_release(m);
    return side;
}

static uf_status decode(srv_request *q, const srv_item *item, int32_t min_side, uf_picture **out,
                        uf_error *err)
{
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    const double began = srv_now();
    o.max_pixels = (uint64_t)q->server->config.max_pixels;
    o.min_side = min_side;
    uf_status st = srv_engine_take(q->server->engine, &q->work, err);
    if (!st)
        st = uf_picture_decode(out, item->data, item->size, &o, err);
    q->stages[SRV_STAGE_DECODE] += srv_now() - began;
    return st;
}

uf_status srv_photo_decode(srv_request *q, const srv_item *item, srv_photo *out, uf_error *err)
{
    const uf_status st = decode(q, item, least_side(q), &out->picture, err);
    out->name = *item->name || !item->filename ? item->name : item->filename;
    out->item = item;
    if (!st) {
        out->view = uf_picture_view(out->picture);
        uf_picture_source_size(out->picture, &out->width, &out->height);
    }
    return st;
}

/* A face as it lies in the pixels that are there. */
static uf_face face_in_view(const srv_photo *p, const uf_face *f)
{
    uf_face scaled = *f;
    if (p->view.width != p->width || p->view.height != p->height)
        uf_face_scale(&scaled, (float)p->view.width / (float)p->width,
                      (float)p->view.height / (float)p->height);
    return scaled;
}

uf_status srv_photo_quality(const srv_photo *p, const uf_face *f, uf_quality *out, uf_error *err)
{
    const uf_face scaled = face_in_view(p, f);
    return uf_face_quality(&p->view, &scaled, out, err);
}

/* The picture once more, as large as a face wants of whose pixels this picture has only `least`.
 * What cannot be decoded once more stays as it is. */
static void decode_larger(srv_request *q, srv_photo *p, float least)
{
    const int32_t side = p->view.width < p->view.height ? p->view.width : p->view.height;
    const float wanted = fminf(ceilf((float)side / least), UF_IMAGE_MAX_SIDE);
    uf_picture *larger;
    uf_error err;
    if (least >= 1 || decode(q, p->item, (int32_t)wanted, &larger, &err))
        return;
    uf_picture_destroy(p->picture);
    p->picture = larger;
    p->view = uf_picture_view(larger);
}

static void decode_to_judge(srv_request *q, srv_photo *p)
{
    float least = 1;
    for (size_t i = 0; i < p->count && p->view.width != p->width; i++) {
        const uf_face scaled = face_in_view(p, &p->faces[i]);
        const float detail = uf_face_detail(&scaled);
        least = detail > 0 ? fminf(least, detail) : least;
    }
    decode_larger(q, p, least);
}

/* The detector's answer, which is about the view. */
static uf_status keep_faces(srv_photo *p, const uf_face *found, size_t count, uf_error *err)
{
    p->count = count < SRV_FACES_MAX ? count : SRV_FACES_MAX;
    p->faces = malloc((p->count + 1) * sizeof *p->faces);
    if (!p->faces)
        return srv_fail(err, UF_E_NOMEM, "out of memory");
    memcpy(p->faces, found, p->count * sizeof *p->faces);
    for (size_t i = 0; i < p->count && p->view.width != p->width; i++)
        uf_face_scale(&p->faces[i], (float)p->width / (float)p->view.width,
                      (float)p->height / (float)p->view.height);
    return UF_OK;
}

uf_status srv_photo_detect(srv_request *q, srv_photo *photos, size_t n, uf_error *err)
{
    const double began = srv_now();
    uf_image *views = calloc(n + 1, sizeof *views);
    uf_face *faces = malloc((n * SRV_FACES_MAX + 1) * sizeof *faces);
    size_t *counts = calloc(n + 1, sizeof *counts);
    uf_status st = UF_OK;
    if (!views || !faces || !counts)
        st = srv_fail(err, UF_E_NOMEM, "out of memory");
    for (size_t i = 0; !st && i < n; i++)
        views[i] = photos[i].view;
    if (!st)
        st = srv_engine_detect(q->server->engine, &q->work, views, n, faces, SRV_FACES_MAX, counts,
                               err);
    for (size_t i = 0; !st && i < n; i++) {
        st = keep_faces(&photos[i], faces + i * SRV_FACES_MAX, counts[i], err);
        if (!st)
            decode_to_judge(q, &photos[i]);
        srv_telemetry_faces(q->server->telemetry, photos[i].count);
    }
    free(views);
    free(faces);
    free(counts);
    q->stages[SRV_STAGE_DETECT] += srv_now() - began;
    return st;
}

int srv_largest_face(const srv_photo *p)
{
    int best = -1;
    for (size_t i = 0; i < p->count; i++)
        if (best < 0 ||
            p->faces[i].width * p->faces[i].height > p->faces[best].width * p->faces[best].height)
            best = (int)i;
    return best;
}

/* The crop's points are those of its template, to which it is aligned again with the model's own.
 */
uf_face srv_face_of_crop(const srv_photo *p)
{
    return (uf_face){.width = (float)p->width, .height = (float)p->height, .score = 1};
}

/* ---- templates ---- */

void srv_vectors_free(srv_vectors *v)
{
    srv_template_free(v->data, v->count * v->dimension);
    if (v->crops)
        explicit_bzero(v->crops, v->count * v->crop_side * v->crop_side * 3);
    free(v->crops);
    *v = (srv_vectors){0};
}

static bool is_whole(const srv_photo *p, const uf_face *f)
{
    return f->x == 0 && f->y == 0 && f->width == (float)p->width && f->height == (float)p->height;
}

/* A box without points that is the whole picture is a crop already: its points are where the model
 * wants them. */
static uf_face points_of_crop(const srv_photo *p, const uf_face *f, const uf_embedder *e)
{
    uf_face whole = *f;
    if (f->has_landmarks || !is_whole(p, f))
        return whole;
    const float *t = uf_embedder_template(e);
    for (int i = 0; i < UF_LANDMARKS; i++)
        whole.landmarks[i] = (uf_point){t[2 * i] * f->width, t[2 * i + 1] * f->height};
    whole.has_landmarks = 1;
    return whole;
}

/* A face with fewer pixels than its crop would lose by the small picture. */
static void decode_to_crop(srv_request *q, srv_photo *p, const uf_face *faces, size_t n,
                           const uf_embedder *e)
{
    float least = 1;
    for (size_t i = 0; i < n && p->view.width != p->width; i++) {
        const uf_face scaled = face_in_view(p, &faces[i]);
        const float detail = uf_embedder_detail(e, &scaled);
        least = detail > 0 && detail < least ? detail : least;
    }
    decode_larger(q, p, least);
}

static uf_status align(const srv_photo *p, const uf_face *f, const uf_embedder *e, uint8_t *crop,
                       uf_error *err)
{
    const uf_face pointed = points_of_crop(p, f, e), scaled = face_in_view(p, &pointed);
    return uf_embedder_crop(e, &p->view, &scaled, crop, err);
}

uf_status srv_photo_embed(srv_request *q, srv_photo *p, const uf_face *faces, size_t n,
                          srv_vectors *out, uf_error *err)
{
    srv_engine *e = q->server->engine;
    srv_loaded *m = srv_engine_hold(e, SRV_LANE_EMBED);
    if (!m)
        return srv_fail(err, UF_E_STATE, "no embedder is loaded");
    const uf_embedder *embedder = srv_loaded_embedder(m);
    decode_to_crop(q, p, faces, n, embedder);
    const double began = srv_now();
    const size_t side = (size_t)uf_embedder_crop_size(embedder), bytes = side * side * 3;
    *out = (srv_vectors){.count = n,
                         .dimension = uf_embedder_dimension(embedder),
                         .crops = malloc(n * bytes + 1),
                         .crop_side = (uint32_t)side};
    out->data = malloc(n * out->dimension * sizeof(float) + 1);
    snprintf(out->model_id, sizeof out->model_id, "%s", uf_model_id(srv_loaded_model(m)));
    uf_status st = out->crops && out->data ? UF_OK : srv_fail(err, UF_E_NOMEM, "out of memory");
    for (size_t i = 0; !st && i < n; i++)
        st = align(p, &faces[i], embedder, out->crops + i * bytes, err);
    const double aligned = srv_now();
    q->stages[SRV_STAGE_ALIGN] += aligned - began;
    if (!st)
        st = srv_engine_embed(e, &q->work, m, out->crops, n, out->data, err);
    q->stages[SRV_STAGE_EMBED] += srv_now() - aligned;
    srv_engine_release(m);
    if (st)
        srv_vectors_free(out);
    return st;
}

/* ---- pictures of a body ---- */

static const char no_memory[] = "out of memory";

/* A base64 member becomes an item of the request, so that it is freed with it. */
static srv_item *item_of_member(srv_request *q, const char *name, const json_t *v, const char **why)
{
    const char *text = json_string_value(v);
    size_t size = json_string_length(v);
    *why = "it must be a text of base64";
    if (!text)
        return NULL;
    const size_t skip = srv_base64_skip_url(text, size);
    srv_item item = {.name = strdup(name)};
    *why = no_memory;
    bool ok = item.name && q->item_count < SRV_ITEMS_MAX &&
              srv_item_reserve(&item, srv_base64_room(size - skip) + 1);
    if (ok) {
        *why = "it is no base64";
        ok = srv_base64_decode(text + skip, size - skip, item.data, &item.size);
    }
    if (ok) {
        q->items[q->item_count] = item;
        return &q->items[q->item_count++];
    }
    srv_item_free(&item);
    return NULL;
}

static bool take_photo(srv_request *q, srv_answer *a, const srv_item *item, srv_photo *out)
{
    uf_error err;
    if (!srv_photo_decode(q, item, out, &err))
        return true;
    const int status = err.status == UF_E_NOMEM ? 503 : srv_status_of(err.status);
    return srv_refuse(q, a, status, "the picture%s%s cannot be used: %s", *item->name ? " " : "",
                      item->name, err.message);
}

static bool photos_of_json(srv_request *q, srv_answer *a, const char *const *names,
                           size_t name_count, srv_photo *out, size_t room, size_t *count)
{
    for (size_t i = 0; i < name_count; i++) {
        const json_t *v = json_object_get(q->json, names[i]);
        const bool list = json_is_array(v);
        const size_t n = list ? json_array_size(v) : v && !json_is_null(v);
        if (n > room - *count)
            return srv_refuse(q, a, 413, "there are more than %zu pictures", room);
        for (size_t k = 0; k < n; k++) {
            const char *why;
            const srv_item *item =
                item_of_member(q, names[i], list ? json_array_get(v, k) : v, &why);
            if (!item)
                return srv_refuse(q, a, why == no_memory ? 503 : 400, "%s: %s", names[i], why);
            if (!take_photo(q, a, item, &out[*count]))
                return false;
            ++*count;
        }
    }
    return true;
}

static bool photos_of_parts(srv_request *q, srv_answer *a, const char *const *names,
                            size_t name_count, srv_photo *out, size_t room, size_t *count)
{
    const bool bare = q->item_count == 1 && !*q->items[0].name;
    for (size_t i = 0; i < name_count; i++)
        for (size_t k = 0; k < q->item_count; k++) {
            if (!(bare && i == 0) && strcmp(q->items[k].name, names[i]) != 0)
                continue;
            if (*count == room)
                return srv_refuse(q, a, 413, "there are more than %zu pictures", room);
            if (!take_photo(q, a, &q->items[k], &out[*count]))
                return false;
            ++*count;
        }
    return true;
}

bool srv_photos(srv_request *q, srv_answer *a, const char *const *names, size_t name_count,
                srv_photo *out, size_t room, size_t *count)
{
    *count = 0;
    memset(out, 0, room * sizeof *out);
    const bool ok = srv_is_raw(q) ? srv_raw_photos(q, a, out, room, count)
                    : q->json     ? photos_of_json(q, a, names, name_count, out, room, count)
                                  : photos_of_parts(q, a, names, name_count, out, room, count);
    if (ok && *count)
        return true;
    if (ok)
        srv_refuse(q, a, 400,
                   "there is no picture: send it as the body (Content-Type: image/jpeg), as part "
                   "\"%s\" of a form, or as base64 in member \"%s\" of JSON",
                   names[0], names[0]);
    for (size_t i = 0; i < *count; i++)
        srv_photo_free(&out[i]);
    return false;
}

bool srv_photo_with_faces(srv_request *q, srv_answer *a, srv_photo *out)
{
    static const char *const names[] = {"image", "file"};
    uf_error err;
    size_t n;
    if (!srv_photos(q, a, names, 2, out, 1, &n))
        return false;
    if (!srv_photo_detect(q, out, 1, &err))
        return true;
    srv_photo_free(out);
    return srv_refuse_error(q, a, &err);
}
