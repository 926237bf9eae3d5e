/* CompreFace's words for pictures, faces, errors, similarities. */
#include "server/compreface.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/state.h"

bool cf_refuse(const srv_request *q, srv_answer *a, int status, int code, const char *format, ...)
{
    char message[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(message, sizeof message, format, ap);
    va_end(ap);
    a->code = code;
    return srv_refuse(q, a, status, "%s", message);
}

/* ---- who and where ---- */

/* CompreFace's clients name no collection: there a key has one. */
static const char *collection_of_key(const srv_request *q, unsigned role)
{
    for (size_t i = 0; q->server->keyring && i < q->who.grant_count; i++)
        if ((q->who.grants[i].roles & role) == role &&
            strcmp(q->who.grants[i].collection, "*") != 0)
            return q->who.grants[i].collection;
    return "default";
}

bool cf_collection(const srv_request *q, srv_answer *a, unsigned role, const char **collection,
                   uf_gallery **g)
{
    const char *asked = srv_query(q, "collection");
    *collection = asked && *asked ? asked : collection_of_key(q, role);
    if (!srv_may(q, *collection, role))
        return srv_refuse(q, a, 403, "the key may not do this in this collection");
    if (g)
        *g = srv_gallery(q, a);
    return !g || *g;
}

/* Version 8 (RFC 9562) with the template's number in its last 60 bits. */
static const char id_begin[] = "756e6966-6163-8000-8";

void cf_image_id(uint64_t template_id, char out[CF_ID_SIZE])
{
    snprintf(out, CF_ID_SIZE, "%s%03llx-%012llx", id_begin,
             (unsigned long long)(template_id >> 48 & 0xFFF),
             (unsigned long long)(template_id & 0xFFFFFFFFFFFF));
}

static bool is_uuid(const char *s)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    for (size_t i = 0; i < sizeof form; i++)
        if (form[i] == 'x' ? !s[i] || !strchr("0123456789abcdefABCDEF", s[i]) : s[i] != form[i])
            return false;
    return true;
}

bool cf_parse_image_id(const srv_request *q, srv_answer *a, const char *text, uint64_t *template_id)
{
    char again[CF_ID_SIZE];
    *template_id = 0;
    if (!is_uuid(text))
        return cf_refuse(q, a, 400, CF_WRONG_ARGUMENT, "an image_id is a UUID");
    const uint64_t number = strtoull(text + 20, NULL, 16) << 48 | strtoull(text + 24, NULL, 16);
    cf_image_id(number, again);
    for (char *c = again; *c; c++)
        if ((*c | 0x20) != (text[c - again] | 0x20))
            return true;
    *template_id = number;
    return true;
}

/* ---- similarity ---- */

double cf_similarity(float score, float threshold)
{
    static const double slope = 5.3;
    const double d = sqrt(fmax(0, 2 - 2 * (double)score));
    const double d0 = sqrt(fmax(0, 2 - 2 * (double)threshold));
    return (1 + tanh(slope * (d0 - d))) / 2;
}

static double rounded(double v)
{
    return round(v * 1e5) / 1e5;
}

void cf_similarity_member(const srv_request *q, srv_text *t, const char *collection, float score,
                          float threshold)
{
    srv_json_key(t, "similarity");
    if (srv_may(q, collection, SRV_SCORES))
        srv_json_number(t, rounded(cf_similarity(score, threshold)));
    else
        srv_json_number(t, score >= threshold + 0.15f ? 0.99 : score >= threshold ? 0.9 : 0);
}

/* ---- options ---- */

static bool has_plugin(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = list; p && *p; p += strcspn(p, ",")) {
        p += strspn(p, ", ");
        const size_t size = strcspn(p, ", ");
        if (size == n && !strncmp(p, name, n))
            return true;
    }
    return false;
}

bool cf_read_options(const srv_request *q, srv_answer *a, cf_options *o)
{
    enum { PREDICTIONS_MAX = 1000 };
    double limit, threshold, predictions;
    const char *plugins = srv_query(q, "face_plugins");
    a->code = CF_VALIDATION;
    if (!srv_number(q, a, "limit", 0, 2147483647, 0, &limit) ||
        !srv_number(q, a, "det_prob_threshold", 0, 1, 0, &threshold) ||
        !srv_number(q, a, "prediction_count", 1, 2147483647, 1, &predictions) ||
        !srv_boolean(q, a, "status", false, &o->status) ||
        !srv_boolean(q, a, "detect_faces", true, &o->detect))
        return false;
    a->code = 0;
    o->limit = (size_t)limit;
    o->min_score = (float)threshold;
    o->predictions = predictions < PREDICTIONS_MAX ? (size_t)predictions : PREDICTIONS_MAX;
    o->landmarks = has_plugin(plugins, "landmarks");
    o->pose = has_plugin(plugins, "pose");
    o->calculator = has_plugin(plugins, "calculator");
    return true;
}

/* ---- faces ---- */

void cf_found_free(cf_found *f)
{
    srv_vectors_free(&f->v);
    srv_photo_free(&f->photo);
}

static int by_size(const void *one, const void *other)
{
    const uf_face *a = one, *b = other;
    const float x = a->width * a->height, y = b->width * b->height;
    return (x < y) - (x > y);
}

static uf_status detect(srv_request *q, const cf_options *o, srv_photo *p, uf_error *err)
{
    if (!o->detect) {
        p->faces = malloc(sizeof *p->faces);
        if (!p->faces)
            return srv_fail(err, UF_E_NOMEM, "out of memory");
        p->faces[0] = srv_face_of_crop(p);
        p->count = 1;
        return UF_OK;
    }
    const uf_status st = srv_photo_detect(q, p, 1, err);
    size_t n = 0;
    for (size_t i = 0; !st && i < p->count; i++)
        if (p->faces[i].score >= o->min_score)
            p->faces[n++] = p->faces[i];
    if (st)
        return st;
    p->count = n;
    qsort(p->faces, n, sizeof *p->faces, by_size);
    if (o->limit && p->count > o->limit)
        p->count = o->limit;
    return UF_OK;
}

/* Clients tell this answer from others by its number. */
static bool refuse_no_face(const srv_request *q, srv_answer *a)
{
    return cf_refuse(q, a, 400, CF_NO_FACE, "No face is found in the given image");
}

static bool find_faces(srv_request *q, srv_answer *a, const cf_options *o, bool embed,
                       cf_found *out)
{
    uf_error err;
    const double began = srv_now();
    if (detect(q, o, &out->photo, &err))
        return srv_refuse_error(q, a, &err);
    out->detect_s = srv_now() - began;
    if (out->photo.count == 0)
        return refuse_no_face(q, a);
    if (!embed)
        return true;
    const double detected = srv_now();
    if (srv_photo_embed(q, &out->photo, out->photo.faces, out->photo.count, &out->v, &err))
        return srv_refuse_error(q, a, &err);
    out->embed_s = srv_now() - detected;
    return true;
}

bool cf_find(srv_request *q, srv_answer *a, const char *name, const cf_options *o, bool embed,
             cf_found *out)
{
    const char *const names[] = {name};
    size_t n;
    *out = (cf_found){0};
    a->code = q->json ? CF_EMPTY_FIELD : CF_NO_PART;
    if (q->json ? !json_object_get(q->json, name) : !srv_item_named(q, name))
        return srv_refuse(q, a, 400, "Required part %s is missing", name);
    a->code = CF_NO_FILE_FORMAT;
    if (!srv_photos(q, a, names, 1, &out->photo, 1, &n))
        return false;
    a->code = 0;
    if (find_faces(q, a, o, embed, out))
        return true;
    cf_found_free(out);
    return false;
}

/* ---- faces as JSON ---- */

static void whole(srv_text *t, const char *key, float v, uint32_t most)
{
    srv_json_key(t, key);
    srv_json_integer(t, (int64_t)fmaxf(0, fminf((float)most, roundf(v))));
}

static void box_member(srv_text *t, const srv_photo *p, const uf_face *f)
{
    srv_json_key(t, "box");
    srv_json_open(t, '{');
    srv_json_key(t, "probability");
    srv_json_number(t, rounded((double)f->score));
    whole(t, "x_max", f->x + f->width, (uint32_t)p->width);
    whole(t, "y_max", f->y + f->height, (uint32_t)p->height);
    whole(t, "x_min", f->x, (uint32_t)p->width);
    whole(t, "y_min", f->y, (uint32_t)p->height);
    srv_json_close(t, '}');
}

static void coordinate(srv_text *t, float v)
{
    srv_json_integer(t, (int64_t)fmaxf(-1e6f, fminf(1e6f, roundf(v)))); /* of NaN too */
}

static void landmarks_member(srv_text *t, const uf_face *f)
{
    srv_json_key(t, "landmarks");
    srv_json_open(t, '[');
    for (int i = 0; i < UF_LANDMARKS; i++) {
        srv_json_open(t, '[');
        coordinate(t, f->landmarks[i].x);
        coordinate(t, f->landmarks[i].y);
        srv_json_close(t, ']');
    }
    srv_json_close(t, ']');
}

static void pose_member(srv_text *t, const uf_quality *quality)
{
    srv_json_key(t, "pose");
    srv_json_open(t, '{');
    srv_json_key(t, "pitch");
    srv_json_number(t, rounded((double)quality->pitch));
    srv_json_key(t, "roll");
    srv_json_number(t, rounded((double)quality->roll));
    srv_json_key(t, "yaw");
    srv_json_number(t, rounded((double)quality->yaw));
    srv_json_close(t, '}');
}

static void times_member(srv_text *t, const cf_found *f)
{
    srv_json_key(t, "execution_time");
    srv_json_open(t, '{');
    srv_json_key(t, "detector");
    srv_json_number(t, round(f->detect_s * 1e4) / 10);
    if (f->v.count) {
        srv_json_key(t, "calculator");
        srv_json_number(t, round(f->embed_s * 1e4) / 10);
    }
    srv_json_close(t, '}');
}

void cf_face_members(srv_text *t, const cf_options *o, const cf_found *f, size_t which)
{
    const uf_face *face = &f->photo.faces[which];
    uf_quality quality;
    uf_error err;
    box_member(t, &f->photo, face);
    if (o->landmarks && face->has_landmarks)
        landmarks_member(t, face);
    if (o->pose && face->has_landmarks && !srv_photo_quality(&f->photo, face, &quality, &err))
        pose_member(t, &quality);
    if (o->calculator && f->v.count) {
        srv_json_key(t, "embedding");
        srv_json_floats(t, f->v.data + which * f->v.dimension, f->v.dimension);
    }
    if (o->status)
        times_member(t, f);
}

static void model_member(srv_request *q, srv_text *t, const char *key, srv_lane_name lane)
{
    srv_loaded *m = srv_engine_hold(q->server->engine, lane);
    if (m) {
        srv_json_key(t, key);
        srv_json_string(t, srv_loaded_name(m));
    }
    srv_engine_release(m);
}

void cf_versions_member(srv_request *q, srv_text *t, const cf_options *o, bool embed)
{
    if (!o->status)
        return;
    srv_json_key(t, "plugins_versions");
    srv_json_open(t, '{');
    model_member(q, t, "detector", SRV_LANE_DETECT);
    if (embed || o->calculator)
        model_member(q, t, "calculator", SRV_LANE_EMBED);
    if (o->landmarks)
        model_member(q, t, "landmarks", SRV_LANE_DETECT);
    if (o->pose)
        model_member(q, t, "pose", SRV_LANE_DETECT);
    srv_json_close(t, '}');
}
