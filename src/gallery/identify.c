/*
 * Searches. The index is asked without the gallery's lock; what it found is looked up afterwards,
 * since a person may be gone, expired, or not for this purpose. Where such people stood among the
 * first k, the search is done once more among those who may answer.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

uf_status ufi_unit_vector(const float *vector, uint32_t dimension, float *out, uf_error *err)
{
    double sum = 0;
    for (uint32_t i = 0; vector && i < dimension; i++)
        sum += (double)vector[i] * vector[i];
    if (!vector || !isfinite(sum) || sum == 0)
        return ufi_fail(err, UF_E_ARG, "a template without direction (zero, or not finite)");
    /* One that has been brought to unit length stays as it is, to the last bit. */
    double scale = fabs(sum - 1) < 1e-6 ? 1 : 1 / sqrt(sum);
    for (uint32_t i = 0; out && i < dimension; i++)
        out[i] = (float)(vector[i] * scale);
    return UF_OK;
}

uf_status ufi_identify_check(const char *model_id, const uf_identify_options *o, uf_error *err)
{
    uf_status st = ufi_text_check(model_id, UFI_MODEL_ID_MAX, "the model id", err);
    if (!st && o->purpose)
        st = ufi_text_check(o->purpose, UFI_NOTE_MAX, "purpose", err);
    if (!st)
        st = ufi_filter_check(o->filter, err);
    if (!st && (o->top_k < 1 || o->top_k > UF_INDEX_MAX_HITS))
        st = ufi_fail(err, UF_E_ARG, "%u people wanted; it takes 1 to %d", o->top_k,
                      UF_INDEX_MAX_HITS);
    if (!st && isnan(o->min_score))
        st = ufi_fail(err, UF_E_ARG, "min_score is not a number");
    if (!st && isnan(o->threshold) && !(o->fpir > 0 && o->fpir < 1))
        st = ufi_fail(err, UF_E_ARG,
                      "a false positive identification rate of %g; it takes more "
                      "than 0 and less than 1",
                      o->fpir);
    return st;
}

/* ---- one search ---- */

typedef struct identification {
    uf_gallery *g;
    const uf_identify_options *o;
    const char *collection_name;
    int64_t collection;
    const float *vector;
    ufi_live_index *live;
    uf_searcher *searcher;
    ufi_numbers groups;
    bool grouped; /* only those may be found */
    uf_hit *hits; /* [top_k] */
    uint32_t hit_count;
    uf_candidate *out;
    size_t found, dropped;
} identification;

static uf_status ask_index(identification *d, uf_error *err)
{
    uf_search_options s = UF_SEARCH_OPTIONS_INIT;
    static const uint64_t nobody = 0;
    s.top_k = d->o->top_k;
    s.min_score = d->o->min_score;
    if (d->grouped) {
        s.groups = d->groups.list ? d->groups.list : &nobody;
        s.group_count = d->groups.count;
    }
    d->hit_count = 0;
    if (d->grouped && d->groups.count == 0)
        return UF_OK;
    return ufi_live_run(d->live, d->searcher, d->vector, 1, &s, d->hits, &d->hit_count, err);
}

typedef struct hit_row {
    identification *d;
    const uf_hit *hit;
} hit_row;

static uf_status person_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    hit_row *h = user;
    identification *d = h->d;
    ufi_person_row p;
    uint8_t key[UFI_SECRET_BYTES];
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (!st)
        st = ufi_person_open(d->g, &p, key, err); /* nobody is named on a row that was changed */
    ufi_wipe(key, sizeof key);
    if (st || !ufi_person_answers(&p, d->o->purpose, ufi_now()))
        return st;
    uf_candidate *c = &d->out[d->found++];
    *c = (uf_candidate){.score = h->hit->score, .template_id = h->hit->key};
    snprintf(c->id, sizeof c->id, "%s", p.id);
    return UF_OK;
}

static uf_status name_hits(identification *d, uf_error *err)
{
    uf_status st = ufi_gallery_begin_read(d->g, err);
    d->found = 0;
    if (st)
        return st;
    for (uint32_t i = 0; !st && i < d->hit_count; i++) {
        const ufi_value args[] = {ufi_integer((int64_t)d->hits[i].group)};
        hit_row h = {d, &d->hits[i]};
        st = ufi_sql_rows(d->g->sql,
                          "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES
                          " WHERE p.number = ?1",
                          args, 1, person_row, &h, err);
    }
    ufi_gallery_end_read(d->g);
    d->dropped = d->hit_count - d->found;
    return st;
}

/* With g->lock, which is held again when it returns. */
static uf_status search(identification *d, uf_error *err)
{
    uf_gallery *g = d->g;
    uf_status st = UF_OK;
    for (int round = 0; round < 2; round++) {
        ufi_mutex_unlock(g->lock);
        st = ask_index(d, err);
        ufi_mutex_lock(g->lock);
        if (!st)
            st = name_hits(d, err);
        /* Somebody stood in the place of one who may answer. */
        if (st || d->dropped == 0 || d->hit_count < d->o->top_k || d->grouped)
            break;
        st = ufi_filter_people(g, d->collection, NULL, d->o->purpose, &d->groups, err);
        d->grouped = true;
        if (st)
            break;
    }
    return st;
}

static void audit(identification *d, float threshold)
{
    char subject[65] = "", detail[2048];
    size_t passed = 0;
    while (passed < d->found && d->out[passed].passes)
        passed++;
    if (passed > 0)
        ufi_audit_subject(d->g, d->collection_name, d->out[0].id, subject);
    snprintf(detail, sizeof detail, "collection %s, threshold %.6f, %zu of %zu passed%s%s",
             d->collection_name, (double)threshold, passed, d->found, d->o->purpose ? ", for " : "",
             d->o->purpose ? d->o->purpose : "");
    ufi_audit_search(d->g, "identify", subject, detail);
}

static uf_status identify(identification *d, int64_t model, uint32_t dimension, float threshold,
                          uf_error *err)
{
    uf_gallery *g = d->g;
    uf_status st = UF_OK;
    d->hits = ufi_malloc(d->o->top_k, sizeof *d->hits);
    if (!d->hits)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %u answers", d->o->top_k);
    if (d->o->filter) {
        st = ufi_filter_people(g, d->collection, d->o->filter, d->o->purpose, &d->groups, err);
        d->grouped = true;
    }
    if (!st)
        st = ufi_live_acquire(g, d->collection, model, dimension, &d->live, err);
    if (!st)
        st = ufi_live_searcher(d->live, &d->searcher, err);
    if (!st)
        st = search(d, err);
    if (d->live) {
        ufi_live_searcher_back(d->live, d->searcher);
        ufi_live_release(d->live);
    }
    for (size_t i = 0; i < d->found; i++)
        d->out[i].passes = d->out[i].score >= threshold;
    ufi_free(d->groups.list);
    ufi_free(d->hits);
    return st;
}

uf_status uf_gallery_identify(uf_gallery *g, const float *vector, uint32_t dimension,
                              const char *model_id, const uf_identify_options *options,
                              uf_candidate *out, size_t *count,
                              uf_gallery_threshold_info *threshold, uf_error *err)
{
    const uf_identify_options defaults = UF_IDENTIFY_OPTIONS_INIT,
                              *o = options ? options : &defaults;
    uf_gallery_threshold_info info = {.threshold = o->threshold, .fpir = o->fpir};
    identification d = {.g = g, .o = o, .vector = vector, .out = out};
    ufi_census census;
    int64_t model;
    if (!g || !out || !count)
        return ufi_fail(err, UF_E_ARG, "identify: gallery, out or count is NULL");
    *count = 0;
    d.collection_name = ufi_collection_or_default(o->collection);
    uf_status st = ufi_identify_check(model_id, o, err);
    if (!st)
        st = ufi_unit_vector(vector, dimension, NULL, err);
    if (!st && isnan(o->threshold))
        st = ufi_threshold_measure(g, model_id, o, &info, err);
    if (!st)
        st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    st = ufi_collection_find(g, d.collection_name, &d.collection, err);
    if (!st)
        st = ufi_census_expect(g, d.collection, d.collection_name, model_id, dimension, &model,
                               &census, err);
    if (!st && census.templates > 0)
        st = identify(&d, model, dimension, info.threshold, err);
    if (!st) {
        audit(&d, info.threshold);
        *count = d.found;
        info.people = (uint64_t)(d.o->filter ? d.groups.count : (size_t)census.people);
    }
    if (!st && threshold)
        *threshold = info;
    return ufi_gallery_leave(g, st, err);
}

/* ---- one to one ---- */

typedef struct verification {
    uf_gallery *g;
    float *probe, *vector; /* unit length, locked */
    uint32_t dimension;
    const char *purpose; /* may be NULL */
    double best;
    uint64_t templates;
} verification;

static uf_status compare_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    verification *v = user;
    ufi_person_row p;
    ufi_template_row t;
    double sum = 0;
    uf_status st = ufi_template_read(columns, count, &p, &t, err);
    if (!st && t.dimension != v->dimension)
        st = ufi_fail(err, UF_E_MISMATCH, "%u floats, but templates of model %s have %u",
                      v->dimension, t.model_id, t.dimension);
    if (!st)
        st = ufi_template_open(v->g, &p, &t, v->vector, err);
    if (st || !ufi_person_answers(&p, v->purpose, ufi_now()))
        return st;
    for (uint32_t i = 0; i < v->dimension; i++)
        sum += (double)v->probe[i] * v->vector[i];
    v->best = v->templates++ && v->best > sum ? v->best : sum;
    return UF_OK;
}

typedef struct refusal {
    const char *purpose;
    const char *why; /* NULL: the person may be named */
} refusal;

static uf_status refused_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    ufi_person_row p;
    uf_status st = ufi_person_read(columns, count, &p, err);
    refusal *r = user;
    if (!st && !ufi_person_answers(&p, NULL, ufi_now()))
        r->why = "the time is over";
    else if (!st && !ufi_person_answers(&p, r->purpose, ufi_now()))
        r->why = "enrolled for another purpose";
    return st;
}

/* Why is there nothing to compare with? */
static uf_status explain_none(uf_gallery *g, const char *collection, const char *id,
                              const char *model_id, const char *purpose, uf_error *err)
{
    int64_t number;
    refusal r = {.purpose = purpose};
    uf_status st = ufi_person_find(g, collection, id, &number, err);
    const ufi_value args[] = {ufi_integer(number)};
    if (!st)
        st = ufi_sql_rows(
            g->sql, "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES " WHERE p.number = ?1",
            args, 1, refused_row, &r, err);
    if (st)
        return st;
    if (r.why)
        return ufi_fail(err, UF_E_NOT_FOUND, "nobody \"%s\" in collection \"%s\": %s", id,
                        collection, r.why);
    return ufi_fail(err, UF_E_MISMATCH, "\"%s\" has no template of model %s", id, model_id);
}

static uf_status verify(verification *v, const char *collection, const char *id,
                        const char *model_id, float *score, uf_error *err)
{
    uf_gallery *g = v->g;
    int64_t number;
    char subject[65], detail[64 + UFI_NOTE_MAX];
    uf_status st = ufi_collection_find(g, collection, &number, err);
    if (st)
        return st;
    const ufi_value args[] = {ufi_integer(number), ufi_text(id), ufi_text(model_id)};
    st = ufi_sealed_rows(g,
                         "SELECT " UFI_TEMPLATE_COLUMNS " FROM " UFI_TEMPLATE_TABLES
                         " WHERE p.collection = ?1 AND p.id = ?2 AND m.name = ?3",
                         args, 3, compare_row, v, err);
    if (!st && v->templates == 0)
        st = explain_none(g, collection, id, model_id, v->purpose, err);
    if (st)
        return st;
    *score = (float)v->best;
    ufi_audit_subject(g, collection, id, subject);
    snprintf(detail, sizeof detail, "score %.6f%s%s", v->best, v->purpose ? ", for " : "",
             v->purpose ? v->purpose : "");
    ufi_audit_search(g, "verify", subject, detail);
    return UF_OK;
}

uf_status uf_gallery_verify(uf_gallery *g, const char *collection, const char *id,
                            const float *vector, uint32_t dimension, const char *model_id,
                            const char *purpose, float *score, uf_error *err)
{
    const size_t bytes = 2 * UF_INDEX_MAX_DIMENSION * sizeof(float);
    verification v = {.g = g, .dimension = dimension, .purpose = purpose};
    if (!g || !score || !id)
        return ufi_fail(err, UF_E_ARG, "verify: gallery, id or score is NULL");
    if (dimension > UF_INDEX_MAX_DIMENSION)
        return ufi_fail(err, UF_E_ARG, "a template of %u floats; it takes at most %d", dimension,
                        UF_INDEX_MAX_DIMENSION);
    uf_status st = ufi_text_check(model_id, UFI_MODEL_ID_MAX, "the model id", err);
    if (!st && purpose)
        st = ufi_text_check(purpose, UFI_NOTE_MAX, "purpose", err);
    if (st)
        return st;
    v.probe = ufi_secret_alloc(bytes, NULL);
    if (!v.probe)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a template");
    v.vector = v.probe + UF_INDEX_MAX_DIMENSION;
    st = ufi_unit_vector(vector, dimension, v.probe, err);
    if (!st)
        st = ufi_gallery_enter(g, err);
    if (!st) {
        st = verify(&v, ufi_collection_or_default(collection), id, model_id, score, err);
        st = ufi_gallery_leave(g, st, err);
    }
    ufi_secret_free(v.probe, bytes);
    return st;
}
