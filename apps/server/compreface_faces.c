/* CompreFace: faces in pictures, who they are, and comparisons; also of ready embeddings. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/compreface.h"
#include "server/handlers.h"
#include "server/state.h"

enum { EMBEDDINGS_MAX = 1024 };

static void begin_result(srv_text *t)
{
    srv_json_open(t, '{');
    srv_json_key(t, "result");
    srv_json_open(t, '[');
}

bool cf_detect(srv_request *q, srv_answer *a)
{
    cf_options o;
    cf_found f;
    srv_text *t = &a->body;
    if (!cf_read_options(q, a, &o))
        return false;
    o.detect = true;
    if (!cf_find(q, a, "file", &o, o.calculator, &f))
        return false;
    begin_result(t);
    for (size_t i = 0; i < f.photo.count; i++) {
        srv_json_open(t, '{');
        cf_face_members(t, &o, &f, i);
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
    cf_versions_member(q, t, &o, false);
    srv_json_close(t, '}');
    cf_found_free(&f);
    return true;
}

/* ---- who is it ---- */

typedef struct search {
    uf_gallery *g;
    uf_identify_options o;
    float threshold; /* 1:1 */
    bool scores;     /* people who do not pass are named too */
    uf_candidate *found;
} search;

/* CompreFace names the most similar people whatever the similarity, and leaves the decision to the
 * client. Who may not see scores gets those who pass our own threshold. */
static bool read_search(srv_request *q, srv_answer *a, const cf_options *o, search *s)
{
    *s = (search){.o = UF_IDENTIFY_OPTIONS_INIT};
    if (!cf_collection(q, a, SRV_IDENTIFY, &s->o.collection, &s->g) ||
        !srv_threshold(q, a, s->o.collection, &s->threshold))
        return false;
    s->scores = srv_may(q, s->o.collection, SRV_SCORES);
    s->o.top_k = (uint32_t)o->predictions;
    if (s->scores)
        s->o.threshold = -1;
    s->found = calloc(s->o.top_k, sizeof *s->found);
    return s->found || srv_refuse(q, a, 503, "out of memory");
}

static bool subjects_member(srv_request *q, srv_answer *a, search *s, const srv_vectors *v,
                            size_t which, const char *key)
{
    srv_text *t = &a->body;
    uf_error err;
    uf_gallery_threshold_info info;
    size_t n;
    const double began = srv_now();
    if (srv_search(s->g, &s->o, s->threshold, v, which, s->found, &n, &info, &err))
        return srv_refuse_error(q, a, &err);
    q->stages[SRV_STAGE_SEARCH] += srv_now() - began;
    if (n)
        srv_telemetry_score(q->server->telemetry, "identify", (double)s->found[0].score);
    srv_json_key(t, key);
    srv_json_open(t, '[');
    for (size_t i = 0; i < n; i++) {
        if (!s->scores && !s->found[i].passes)
            continue;
        srv_json_open(t, '{');
        srv_json_key(t, "subject");
        srv_json_string(t, s->found[i].id);
        cf_similarity_member(q, t, s->o.collection, s->found[i].score, s->threshold);
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
    return true;
}

static bool recognized(srv_request *q, srv_answer *a, const cf_options *o, const cf_found *f,
                       search *s)
{
    srv_text *t = &a->body;
    begin_result(t);
    for (size_t i = 0; i < f->photo.count; i++) {
        srv_json_open(t, '{');
        cf_face_members(t, o, f, i);
        if (!subjects_member(q, a, s, &f->v, i, "subjects"))
            return false;
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
    cf_versions_member(q, t, o, true);
    srv_json_close(t, '}');
    return true;
}

bool cf_recognize(srv_request *q, srv_answer *a)
{
    cf_options o;
    cf_found f;
    search s = {0};
    bool ok = cf_read_options(q, a, &o) && read_search(q, a, &o, &s);
    if (ok && cf_find(q, a, "file", &o, true, &f)) {
        ok = recognized(q, a, &o, &f, &s);
        cf_found_free(&f);
    } else {
        ok = false;
    }
    free(s.found);
    return ok;
}

/* ---- 1:1 ---- */

static void match_json(srv_request *q, srv_text *t, const cf_options *o, const cf_found *f,
                       size_t which, const char *collection, float score, float threshold)
{
    srv_json_open(t, '{');
    cf_face_members(t, o, f, which);
    cf_similarity_member(q, t, collection, score, threshold);
    srv_json_close(t, '}');
}

static bool same_model(srv_request *q, srv_answer *a, const srv_vectors *v, const char *model_id,
                       size_t dimension)
{
    return (v->dimension == dimension && !strcmp(v->model_id, model_id)) ||
           srv_refuse(q, a, 409, "the templates are of different models: they cannot be compared");
}

static bool verified(srv_request *q, srv_answer *a, const cf_options *o, const cf_found *source,
                     const cf_found *target, float threshold)
{
    srv_text *t = &a->body;
    if (!same_model(q, a, &source->v, target->v.model_id, target->v.dimension))
        return false;
    begin_result(t);
    srv_json_open(t, '{');
    srv_json_key(t, "source_image_face");
    srv_json_open(t, '{');
    cf_face_members(t, o, source, 0);
    srv_json_close(t, '}');
    srv_json_key(t, "face_matches");
    srv_json_open(t, '[');
    for (size_t i = 0; i < target->photo.count; i++) {
        const float score = uf_similarity(source->v.data, target->v.data + i * target->v.dimension,
                                          target->v.dimension);
        srv_telemetry_score(q->server->telemetry, "verify", (double)score);
        match_json(q, t, o, target, i, NULL, score, threshold);
    }
    srv_json_close(t, ']');
    cf_versions_member(q, t, o, true);
    srv_json_close(t, '}');
    srv_json_close(t, ']');
    srv_json_close(t, '}');
    return true;
}

/* `limit` is one of the target's faces; the source must be a picture of one person. */
bool cf_verify(srv_request *q, srv_answer *a)
{
    cf_options o;
    cf_found source, target;
    float threshold;
    if (!cf_read_options(q, a, &o) || !srv_threshold(q, a, NULL, &threshold))
        return false;
    o.detect = true;
    cf_options all = o;
    all.limit = 0;
    if (!cf_find(q, a, "source_image", &all, true, &source))
        return false;
    bool ok = source.photo.count == 1 ||
              cf_refuse(q, a, 400, CF_TOO_MANY_FACES, "More than one face in the source image");
    if (ok && (ok = cf_find(q, a, "target_image", &o, true, &target))) {
        ok = verified(q, a, &o, &source, &target, threshold);
        cf_found_free(&target);
    }
    cf_found_free(&source);
    return ok;
}

/* ---- 1:1 with an example ---- */

/* An example that is compared with, and the client's failed tries against its person (guard.h). */
typedef struct trial {
    cf_example example;
    const char *collection;
    char name[2 * SRV_NAME_MAX + 64];
    float threshold, own; /* own: a lower one that was asked for must not help */
    bool passed;
} trial;

static bool begin_trial(srv_request *q, srv_answer *a, trial *r)
{
    uf_gallery *g;
    *r = (trial){.own = srv_own_threshold(q)};
    if (!cf_collection(q, a, SRV_IDENTIFY, &r->collection, &g) ||
        !srv_threshold(q, a, r->collection, &r->threshold) ||
        !cf_example_get(q, a, g, r->collection, q->params[0], &r->example))
        return false;
    snprintf(r->name, sizeof r->name, "%s\n%s\n%s", q->client, r->collection, r->example.subject);
    a->retry_after = srv_guard_locked(q->server->guard, SRV_GUARD_VERIFY, r->name);
    if (!a->retry_after)
        return true;
    srv_template_free(r->example.vector, r->example.dimension);
    return srv_refuse(q, a, 429, "too many failed tries against this person");
}

static float try_vector(srv_request *q, trial *r, const float *v)
{
    const float score = uf_similarity(r->example.vector, v, r->example.dimension);
    srv_telemetry_score(q->server->telemetry, "verify", (double)score);
    r->passed = r->passed || (score >= r->threshold && score >= r->own);
    return score;
}

/* `ok`: there was an answer. */
static bool end_trial(srv_request *q, trial *r, bool ok)
{
    if (ok && r->passed)
        srv_guard_passed(q->server->guard, SRV_GUARD_VERIFY, r->name);
    else if (ok)
        srv_guard_failed(q->server->guard, SRV_GUARD_VERIFY, r->name);
    srv_template_free(r->example.vector, r->example.dimension);
    return ok;
}

static bool verified_example(srv_request *q, srv_answer *a, const cf_options *o, const cf_found *f,
                             trial *r)
{
    srv_text *t = &a->body;
    if (!same_model(q, a, &f->v, r->example.model_id, r->example.dimension))
        return false;
    begin_result(t);
    for (size_t i = 0; i < f->photo.count; i++) {
        const float score = try_vector(q, r, f->v.data + i * f->v.dimension);
        srv_json_open(t, '{');
        cf_face_members(t, o, f, i);
        srv_json_key(t, "subject");
        srv_json_string(t, r->example.subject);
        cf_similarity_member(q, t, r->collection, score, r->threshold);
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
    cf_versions_member(q, t, o, true);
    srv_json_close(t, '}');
    return true;
}

bool cf_faces_verify(srv_request *q, srv_answer *a)
{
    cf_options o;
    cf_found f;
    trial r;
    if (!cf_read_options(q, a, &o) || !begin_trial(q, a, &r))
        return false;
    o.detect = true;
    bool ok = cf_find(q, a, "file", &o, true, &f);
    if (ok) {
        ok = verified_example(q, a, &o, &f, &r);
        cf_found_free(&f);
    }
    return end_trial(q, &r, ok);
}

/* ---- embeddings that the client has ---- */

/* Vectors of a list of lists, of the loaded model: nothing else says which model made them. */
static bool read_embeddings(srv_request *q, srv_answer *a, const char *name, srv_vectors *v)
{
    const json_t *list = json_object_get(q->json, name);
    const size_t n = json_array_size(list);
    *v = (srv_vectors){0};
    if (n == 0 || n > EMBEDDINGS_MAX)
        return cf_refuse(q, a, 400, CF_EMBEDDING_COUNT, "%s must be a list of 1 to %d embeddings",
                         name, EMBEDDINGS_MAX);
    srv_loaded *m = srv_engine_hold(q->server->engine, SRV_LANE_EMBED);
    if (!m)
        return srv_refuse(q, a, 503, "no embedder is loaded");
    v->count = n;
    v->dimension = uf_embedder_dimension(srv_loaded_embedder(m));
    snprintf(v->model_id, sizeof v->model_id, "%s", uf_model_id(srv_loaded_model(m)));
    srv_engine_release(m);
    v->data = malloc(n * v->dimension * sizeof *v->data);
    bool ok = v->data || srv_refuse(q, a, 503, "out of memory");
    for (size_t i = 0; ok && i < n; i++) {
        size_t size = 0;
        float *one = srv_template_of(json_array_get(list, i), &size);
        ok = one && size == v->dimension;
        if (ok)
            memcpy(v->data + i * size, one, size * sizeof *one);
        else
            cf_refuse(q, a, 400, CF_WRONG_ARGUMENT,
                      "an embedding of %s is not %zu numbers that have a length", name,
                      v->dimension);
        srv_template_free(one, size);
    }
    if (!ok)
        srv_vectors_free(v);
    return ok;
}

/* As the client sent it. */
static void embedding_member(srv_text *t, const json_t *list)
{
    srv_json_key(t, "embedding");
    srv_json_open(t, '[');
    for (size_t i = 0; i < json_array_size(list); i++)
        srv_json_number(t, json_number_value(json_array_get(list, i)));
    srv_json_close(t, ']');
}

bool cf_embeddings_recognize(srv_request *q, srv_answer *a)
{
    cf_options o;
    srv_vectors v = {0};
    search s = {0};
    srv_text *t = &a->body;
    const json_t *list = json_object_get(q->json, "embeddings");
    bool ok = cf_read_options(q, a, &o) && read_search(q, a, &o, &s) &&
              read_embeddings(q, a, "embeddings", &v);
    if (ok)
        begin_result(t);
    for (size_t i = 0; ok && i < v.count; i++) {
        srv_json_open(t, '{');
        embedding_member(t, json_array_get(list, i));
        ok = subjects_member(q, a, &s, &v, i, "similarities");
        if (ok)
            srv_json_close(t, '}');
    }
    if (ok) {
        srv_json_close(t, ']');
        srv_json_close(t, '}');
    }
    srv_vectors_free(&v);
    free(s.found);
    return ok;
}

/* Scores of vectors, the best first. */
typedef struct ranked {
    float score;
    size_t which;
} ranked;

static int by_score(const void *one, const void *other)
{
    const ranked *a = one, *b = other;
    if (a->score < b->score || a->score > b->score)
        return a->score < b->score ? 1 : -1;
    return (a->which > b->which) - (a->which < b->which);
}

static void ranked_json(srv_request *q, srv_text *t, const json_t *list, ranked *r, size_t n,
                        const char *collection, float threshold)
{
    qsort(r, n, sizeof *r, by_score);
    begin_result(t);
    for (size_t i = 0; i < n; i++) {
        srv_json_open(t, '{');
        embedding_member(t, json_array_get(list, r[i].which));
        cf_similarity_member(q, t, collection, r[i].score, threshold);
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
    srv_json_close(t, '}');
}

bool cf_embeddings_faces_verify(srv_request *q, srv_answer *a)
{
    ranked r[EMBEDDINGS_MAX];
    srv_vectors v = {0};
    trial one;
    if (!begin_trial(q, a, &one))
        return false;
    const bool ok = read_embeddings(q, a, "embeddings", &v) &&
                    same_model(q, a, &v, one.example.model_id, one.example.dimension);
    for (size_t i = 0; ok && i < v.count; i++)
        r[i] = (ranked){try_vector(q, &one, v.data + i * v.dimension), i};
    if (ok)
        ranked_json(q, &a->body, json_object_get(q->json, "embeddings"), r, v.count, one.collection,
                    one.threshold);
    srv_vectors_free(&v);
    return end_trial(q, &one, ok);
}

bool cf_embeddings_verify(srv_request *q, srv_answer *a)
{
    ranked r[EMBEDDINGS_MAX];
    srv_vectors v = {0};
    float threshold;
    size_t n = 0;
    if (!srv_threshold(q, a, NULL, &threshold) || !read_embeddings(q, a, "targets", &v))
        return false;
    float *source = srv_template_of(json_object_get(q->json, "source"), &n);
    const bool ok = source && n == v.dimension;
    for (size_t i = 0; ok && i < v.count; i++) {
        r[i] = (ranked){uf_similarity(source, v.data + i * v.dimension, n), i};
        srv_telemetry_score(q->server->telemetry, "verify", (double)r[i].score);
    }
    if (ok)
        ranked_json(q, &a->body, json_object_get(q->json, "targets"), r, v.count, NULL, threshold);
    else
        cf_refuse(q, a, 400, CF_WRONG_ARGUMENT, "source must be an embedding of %zu numbers",
                  v.dimension);
    srv_template_free(source, n);
    srv_vectors_free(&v);
    return ok;
}
