/* Enrolment and people as several APIs need them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/state.h"

enum { DIMENSION_MAX = 65536 };

uf_gallery *srv_gallery(const srv_request *q, srv_answer *a)
{
    if (!q->server->gallery)
        srv_refuse(q, a, 503, "there is no gallery");
    return q->server->gallery;
}

static void text_member(srv_text *t, const char *key, const char *value)
{
    if (!value)
        return;
    srv_json_key(t, key);
    srv_json_string(t, value);
}

void srv_person_json(srv_text *t, const uf_person_info *p)
{
    json_t *metadata = p->metadata ? json_loads(p->metadata, 0, NULL) : NULL;
    srv_json_open(t, '{');
    text_member(t, "id", p->id);
    text_member(t, "collection", p->collection);
    text_member(t, "name", json_string_value(json_object_get(metadata, "name")));
    if (metadata) {
        srv_json_key(t, "metadata");
        char *text = json_dumps(metadata, JSON_COMPACT);
        srv_text_puts(t, text ? text : "null");
        t->comma = true; /* a value was written past the writer */
        free(text);
    }
    text_member(t, "consent", p->consent);
    text_member(t, "purpose", p->purpose);
    srv_json_key(t, "expires");
    if (p->expires)
        srv_json_integer(t, p->expires);
    else
        srv_json_null(t);
    srv_json_key(t, "created");
    srv_json_integer(t, p->created);
    srv_json_key(t, "updated");
    srv_json_integer(t, p->updated);
    srv_json_key(t, "faces");
    srv_json_integer(t, (int64_t)p->templates);
    srv_json_close(t, '}');
    json_decref(metadata);
}

/* ---- enrolment ---- */

typedef struct enrolling {
    const uf_face **faces;
    uf_quality *quality;
    srv_vectors *vectors;
    uf_template *templates;
    size_t count;
} enrolling;

static bool make_room(enrolling *e, size_t n)
{
    e->count = n;
    e->faces = calloc(n + 1, sizeof *e->faces);
    e->quality = calloc(n + 1, sizeof *e->quality);
    e->vectors = calloc(n + 1, sizeof *e->vectors);
    e->templates = calloc(n + 1, sizeof *e->templates);
    return e->faces && e->quality && e->vectors && e->templates;
}

static void free_room(enrolling *e)
{
    for (size_t i = 0; e->vectors && i < e->count; i++)
        srv_vectors_free(&e->vectors[i]);
    free(e->faces);
    free(e->quality);
    free(e->vectors);
    free(e->templates);
}

static bool choose_face(srv_request *q, srv_answer *a, const srv_photo *p, bool force,
                        const uf_face **face, uf_quality *quality)
{
    uf_error err;
    const int i = srv_largest_face(p);
    if (i < 0)
        return srv_refuse(q, a, 422, "there is no face in the picture");
    if (p->count > 1 && !force)
        return srv_refuse(q, a, 422,
                          "there are %zu faces in the picture; one is wanted (force takes the "
                          "largest)",
                          p->count);
    *face = &p->faces[i];
    if (srv_photo_quality(p, *face, quality, &err))
        return srv_refuse_error(q, a, &err);
    srv_telemetry_quality(q->server->telemetry, (double)quality->total);
    if (quality->reason[0] && !force)
        return srv_refuse(q, a, 422, "the face is too poor to enrol: %s", quality->reason);
    return true;
}

/* The request's metadata with its "name" in it, of malloc; NULL in *out: neither is given. */
static bool read_metadata(srv_request *q, srv_answer *a, char **out)
{
    const char *name, *text = srv_text_value(q, "metadata", NULL);
    json_t *given = q->json ? json_object_get(q->json, "metadata") : NULL;
    *out = NULL;
    if (!srv_string(q, a, "name", 1024, &name))
        return false;
    if (!name && !text && (!given || json_is_null(given)))
        return true;
    json_t *m = text                            ? json_loads(text, JSON_REJECT_DUPLICATES, NULL)
                : given && !json_is_null(given) ? json_deep_copy(given)
                                                : json_object();
    if (!json_is_object(m)) {
        json_decref(m);
        return srv_refuse(q, a, 400, "metadata must be a JSON object");
    }
    if (name)
        json_object_set_new(m, "name", json_string(name));
    *out = json_dumps(m, JSON_COMPACT);
    json_decref(m);
    return *out || srv_refuse(q, a, 503, "out of memory");
}

static bool read_person(srv_request *q, srv_answer *a, uf_person *person, char **metadata)
{
    double expires;
    if (!srv_string(q, a, "consent", 1024, &person->consent) ||
        !srv_string(q, a, "purpose", 1024, &person->purpose) ||
        !srv_number(q, a, "expires", 0, 1e12, 0, &expires) || !read_metadata(q, a, metadata))
        return false;
    person->expires = (int64_t)expires;
    person->metadata = *metadata;
    return true;
}

static bool make_templates(srv_request *q, srv_answer *a, enrolling *e, srv_photo *photos,
                           const char *source, bool force)
{
    uf_error err;
    for (size_t i = 0; i < e->count; i++) {
        const bool ok = choose_face(q, a, &photos[i], force, &e->faces[i], &e->quality[i]);
        srv_telemetry_enrolment(q->server->telemetry, ok);
        if (!ok)
            return false;
        if (srv_photo_embed(q, &photos[i], e->faces[i], 1, &e->vectors[i], &err))
            return srv_refuse_error(q, a, &err);
        const srv_vectors *v = &e->vectors[i];
        e->templates[i] = (uf_template){.vector = v->data,
                                        .dimension = (uint32_t)v->dimension,
                                        .model_id = v->model_id,
                                        .source = source ? source : "server",
                                        .quality = e->quality[i].total,
                                        .crop = v->crops,
                                        .crop_size = v->crop_side};
    }
    return true;
}

bool srv_enrol(srv_request *q, srv_answer *a, uf_person *person, const char *source,
               const char *once, srv_photo *photos, size_t n, size_t *templates)
{
    enrolling e = {0};
    uf_error err;
    char *metadata = NULL;
    bool force;
    bool ok = srv_boolean(q, a, "force", false, &force) && read_person(q, a, person, &metadata);
    if (ok && !make_room(&e, n))
        ok = srv_refuse(q, a, 503, "out of memory");
    ok = ok && make_templates(q, a, &e, photos, source, force);
    const uf_enrolment one = {
        .person = *person, .templates = e.templates, .count = n, .once = once};
    srv_engine_rest(q->server->engine, &q->work); /* the disk is waited for */
    const uf_status st = ok ? uf_gallery_enroll(q->server->gallery, &one, 1, NULL, &err) : UF_OK;
    if (st == UF_E_EXISTS) {
        a->retry_after = 1;
        ok = srv_refuse(q, a, 409, "another server had a request with this Idempotency-Key");
    } else if (st) {
        ok = srv_refuse_error(q, a, &err);
    }
    *templates = n;
    free_room(&e);
    free(metadata);
    person->metadata = NULL;
    return ok;
}

/* ---- searches ---- */

float *srv_template_of(const json_t *list, size_t *n)
{
    *n = json_array_size(list);
    float *v = *n && *n <= DIMENSION_MAX ? malloc(*n * sizeof *v) : NULL;
    double sum = 0;
    for (size_t i = 0; v && i < *n; i++) {
        const json_t *x = json_array_get(list, i);
        v[i] = (float)json_number_value(x);
        sum += json_is_number(x) ? (double)v[i] * (double)v[i] : (double)NAN;
    }
    if (v && (!isfinite(sum) || sum < 1e-20)) {
        srv_template_free(v, *n);
        return NULL;
    }
    for (size_t i = 0; v && i < *n; i++)
        v[i] = (float)((double)v[i] / sqrt(sum));
    return v;
}

void srv_template_free(float *v, size_t n)
{
    if (v)
        explicit_bzero(v, n * sizeof *v);
    free(v);
}

uf_status srv_search(uf_gallery *g, uf_identify_options *o, float fallback, const srv_vectors *v,
                     size_t which, uf_candidate *found, size_t *n,
                     uf_gallery_threshold_info *threshold, uf_error *err)
{
    uf_status st = UF_E_UNCALIBRATED;
    for (int i = 0; i < 2 && st == UF_E_UNCALIBRATED; i++) {
        *n = o->top_k;
        st = uf_gallery_identify(g, v->data + which * v->dimension, (uint32_t)v->dimension,
                                 v->model_id, o, found, n, threshold, err);
        if (st == UF_E_UNCALIBRATED)
            o->threshold = fallback;
    }
    if (st != UF_E_NOT_FOUND)
        return st;
    *n = 0;
    *threshold = (uf_gallery_threshold_info){.threshold = fallback};
    return UF_OK;
}

/* ---- whole collections ---- */

enum { DELETE_AT_ONCE = 256 };

typedef struct ids {
    char id[DELETE_AT_ONCE][SRV_NAME_MAX + 1];
    size_t count;
} ids;

static int take_id(void *user, const uf_person_info *p)
{
    ids *i = user;
    snprintf(i->id[i->count++], SRV_NAME_MAX + 1, "%s", p->id);
    return i->count == DELETE_AT_ONCE;
}

uf_status srv_delete_all(uf_gallery *g, const char *collection, uint64_t *people, uint64_t *faces,
                         uf_error *err)
{
    ids *i = malloc(sizeof *i);
    uf_status st = i ? UF_E_CANCELLED : srv_fail(err, UF_E_NOMEM, "out of memory");
    *people = *faces = 0;
    while (st == UF_E_CANCELLED) {
        i->count = 0;
        st = uf_gallery_list(g, collection, NULL, take_id, i, err);
        for (size_t k = 0; k < i->count && (!st || st == UF_E_CANCELLED); k++) {
            uf_receipt r = {0};
            const uf_status gone = uf_gallery_delete(g, collection, i->id[k], &r, err);
            *people += !gone;
            *faces += r.templates;
            if (gone && gone != UF_E_NOT_FOUND)
                st = gone;
        }
    }
    free(i);
    return st;
}
