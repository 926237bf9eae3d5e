/* Who is it: two pictures, two templates, a picture against a person, a picture against all. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/handlers.h"
#include "server/state.h"

enum { TOP_MAX = 100 };
static const double USUAL_FPIR = 0.01;

static bool answer_score(srv_request *q, srv_answer *a, const char *collection, float score,
                         float threshold)
{
    srv_text *t = &a->body;
    srv_json_open(t, '{');
    srv_json_key(t, "same");
    srv_json_bool(t, score >= threshold);
    srv_score_members(q, t, collection, score, threshold);
    srv_json_key(t, "threshold");
    srv_json_number(t, round((double)threshold * 1e6) / 1e6);
    srv_json_close(t, '}');
    return true;
}

/* ---- two templates ---- */

bool v1_compare(srv_request *q, srv_answer *a)
{
    size_t n = 0, m = 0;
    float threshold;
    if (!srv_threshold(q, a, NULL, &threshold))
        return false;
    float *one = srv_template_of(json_object_get(q->json, "a"), &n);
    float *other = srv_template_of(json_object_get(q->json, "b"), &m);
    bool ok = one && other && n == m;
    if (ok) {
        const float score = uf_similarity(one, other, n);
        srv_telemetry_score(q->server->telemetry, "compare", (double)score);
        answer_score(q, a, NULL, score, threshold);
    } else {
        srv_refuse(q, a, 400,
                   "a and b must be templates: lists of numbers, as many in each, not all zero");
    }
    srv_template_free(one, n);
    srv_template_free(other, m);
    return ok;
}

/* ---- pictures ---- */

static bool embed_largest(srv_request *q, srv_answer *a, srv_photo *p, srv_vectors *v)
{
    uf_error err;
    const int i = srv_largest_face(p);
    if (i < 0)
        return srv_refuse(q, a, 422, "there is no face in the picture%s%s", *p->name ? " " : "",
                          p->name);
    return !srv_photo_embed(q, p, &p->faces[i], 1, v, &err) || srv_refuse_error(q, a, &err);
}

static bool verify_pictures(srv_request *q, srv_answer *a)
{
    static const char *const names[] = {"image1", "image2"};
    srv_photo photos[2];
    srv_vectors v[2] = {0};
    uf_error err;
    size_t n;
    float threshold;
    bool wrong;
    if (srv_text_value(q, "purpose", &wrong) || wrong)
        return srv_refuse(q, a, 400,
                          "purpose goes with the id of a person: of two pictures nothing is "
                          "recorded");
    if (!srv_threshold(q, a, NULL, &threshold) || !srv_photos(q, a, names, 2, photos, 2, &n))
        return false;
    bool ok = n == 2 || srv_refuse(q, a, 400,
                                   "two pictures are needed, image1 and image2; or image and the "
                                   "id of a person");
    if (ok && srv_photo_detect(q, photos, 2, &err))
        ok = srv_refuse_error(q, a, &err);
    ok = ok && embed_largest(q, a, &photos[0], &v[0]) && embed_largest(q, a, &photos[1], &v[1]);
    if (ok && strcmp(v[0].model_id, v[1].model_id) != 0)
        ok = srv_refuse(q, a, 503, "the model was changed meanwhile: try again");
    if (ok) {
        const float score = uf_similarity(v[0].data, v[1].data, v[0].dimension);
        srv_telemetry_score(q->server->telemetry, "verify", (double)score);
        answer_score(q, a, NULL, score, threshold);
    }
    for (size_t i = 0; i < n; i++)
        srv_photo_free(&photos[i]);
    srv_vectors_free(&v[0]);
    srv_vectors_free(&v[1]);
    return ok;
}

/* A client's failed tries against a person are counted, so that a face cannot be tuned until it
 * passes. */
static bool verify_person(srv_request *q, srv_answer *a, const char *id)
{
    srv_server *s = q->server;
    char name[2 * SRV_NAME_MAX + 64];
    const char *collection, *purpose;
    float threshold, score = 0;
    srv_photo p;
    srv_vectors v = {0};
    uf_error err;
    uf_gallery *g = srv_gallery(q, a);
    if (!g || !srv_collection(q, a, SRV_IDENTIFY, &collection) ||
        !srv_threshold(q, a, collection, &threshold) ||
        !srv_string(q, a, "purpose", 1024, &purpose))
        return false;
    snprintf(name, sizeof name, "%s\n%s\n%s", q->client, collection, id);
    a->retry_after = srv_guard_locked(s->guard, SRV_GUARD_VERIFY, name);
    if (a->retry_after)
        return srv_refuse(q, a, 429, "too many failed tries against this person");
    if (!srv_photo_with_faces(q, a, &p))
        return false;
    bool ok = embed_largest(q, a, &p, &v);
    const double began = srv_now();
    if (ok && uf_gallery_verify(g, collection, id, v.data, (uint32_t)v.dimension, v.model_id,
                                purpose, &score, &err))
        ok = srv_refuse_error(q, a, &err);
    q->stages[SRV_STAGE_SEARCH] += srv_now() - began;
    if (ok) {
        srv_telemetry_score(s->telemetry, "verify", (double)score);
        if (score >= threshold && score >= srv_own_threshold(q)) /* a low one must not help */
            srv_guard_passed(s->guard, SRV_GUARD_VERIFY, name);
        else
            srv_guard_failed(s->guard, SRV_GUARD_VERIFY, name);
        answer_score(q, a, collection, score, threshold);
    }
    srv_vectors_free(&v);
    srv_photo_free(&p);
    return ok;
}

bool v1_verify(srv_request *q, srv_answer *a)
{
    const char *id;
    if (!srv_string(q, a, "id", SRV_NAME_MAX, &id))
        return false;
    return id ? verify_person(q, a, id) : verify_pictures(q, a);
}

/* ---- identify ---- */

typedef struct search {
    uf_gallery *g;
    uf_identify_options o;
    bool below; /* candidates that do not pass too */
    float fallback;
    uf_gallery_threshold_info threshold;
    uf_candidate *found; /* [top_k] */
} search;

static bool read_search(srv_request *q, srv_answer *a, search *s)
{
    double top, fpir, threshold;
    s->o = (uf_identify_options)UF_IDENTIFY_OPTIONS_INIT;
    s->g = srv_gallery(q, a);
    if (!s->g || !srv_collection(q, a, SRV_IDENTIFY, &s->o.collection) ||
        !srv_number(q, a, "top_k", 1, TOP_MAX, 5, &top) ||
        !srv_number(q, a, "fpir", 1e-6, 0.5, USUAL_FPIR, &fpir) ||
        !srv_number(q, a, "threshold", -1, 1, -2, &threshold) ||
        !srv_string(q, a, "purpose", 1024, &s->o.purpose) ||
        !srv_boolean(q, a, "below", false, &s->below) ||
        !srv_threshold(q, a, s->o.collection, &s->fallback))
        return false;
    if (s->below && !srv_may(q, s->o.collection, SRV_SCORES))
        return srv_refuse(q, a, 403, "candidates below the threshold want the role scores");
    if (fpir > USUAL_FPIR && !srv_may(q, s->o.collection, SRV_SCORES)) /* it lowers the threshold */
        return srv_refuse(q, a, 403, "an fpir above %g wants the role scores", USUAL_FPIR);
    s->o.top_k = (uint32_t)top;
    s->o.fpir = fpir;
    if (threshold >= -1)
        s->o.threshold = (float)threshold;
    s->found = calloc(s->o.top_k, sizeof *s->found);
    return s->found || srv_refuse(q, a, 503, "out of memory");
}

static int take_name(void *user, const uf_person_info *p)
{
    srv_text *t = user;
    json_t *metadata = p->metadata ? json_loads(p->metadata, 0, NULL) : NULL;
    const char *name = json_string_value(json_object_get(metadata, "name"));
    if (name) {
        srv_json_key(t, "name");
        srv_json_string(t, name);
    }
    json_decref(metadata);
    return 0;
}

static void matches_json(srv_request *q, srv_text *t, const search *s, size_t n)
{
    uf_error err;
    srv_json_key(t, "matches");
    srv_json_open(t, '[');
    for (size_t i = 0; i < n; i++) {
        const uf_candidate *c = &s->found[i];
        const char *const id = c->id;
        const uf_gallery_filter one = {.ids = &id, .id_count = 1};
        if (i == 0)
            srv_telemetry_score(q->server->telemetry, "identify", (double)c->score);
        if (!c->passes && !s->below)
            continue;
        srv_json_open(t, '{');
        srv_json_key(t, "id");
        srv_json_string(t, c->id);
        uf_gallery_list(s->g, s->o.collection, &one, take_name, t, &err);
        srv_score_members(q, t, s->o.collection, c->score, s->threshold.threshold);
        srv_json_key(t, "passes");
        srv_json_bool(t, c->passes);
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
}

static void threshold_json(srv_text *t, const uf_gallery_threshold_info *i)
{
    srv_json_key(t, "threshold");
    srv_json_open(t, '{');
    srv_json_key(t, "value");
    srv_json_number(t, round((double)i->threshold * 1e6) / 1e6);
    srv_json_key(t, "measured");
    srv_json_bool(t, i->impostor_scores > 0);
    srv_json_key(t, "people");
    srv_json_integer(t, (int64_t)i->people);
    srv_json_close(t, '}');
}

static bool identify_faces(srv_request *q, srv_answer *a, srv_photo *p, search *s)
{
    srv_text *t = &a->body;
    srv_vectors v = {0};
    uf_error err;
    size_t n;
    uf_status st = srv_photo_embed(q, p, p->faces, p->count, &v, &err);
    const double began = srv_now();
    srv_json_open(t, '{');
    srv_json_key(t, "faces");
    srv_json_open(t, '[');
    for (size_t i = 0; !st && i < p->count; i++) {
        st = srv_search(s->g, &s->o, s->fallback, &v, i, s->found, &n, &s->threshold, &err);
        if (st)
            break;
        srv_json_open(t, '{');
        srv_face_members(q, t, p, &p->faces[i]);
        matches_json(q, t, s, n);
        srv_json_close(t, '}');
    }
    q->stages[SRV_STAGE_SEARCH] += srv_now() - began;
    srv_json_close(t, ']');
    threshold_json(t, &s->threshold);
    srv_json_close(t, '}');
    srv_vectors_free(&v);
    return !st || srv_refuse_error(q, a, &err);
}

bool v1_identify(srv_request *q, srv_answer *a)
{
    srv_photo p;
    search s = {0};
    bool ok = read_search(q, a, &s);
    if (ok && srv_photo_with_faces(q, a, &p)) {
        ok = identify_faces(q, a, &p, &s);
        srv_photo_free(&p);
    } else {
        ok = false;
    }
    free(s.found);
    return ok;
}
