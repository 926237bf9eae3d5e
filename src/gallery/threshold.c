/*
 * The threshold of a gallery, measured on itself.
 *
 * For a sample of its people a search is done that leaves the person out: its best score is what a
 * stranger gets. The threshold for a wanted rate is the score above which that share of them lies.
 * Where fewer than 30 lie above (rule of 30) the tail is fitted: exceedances of a high level follow
 * a generalised Pareto distribution (Pickands 1975); its parameters by probability-weighted moments
 * (Hosking and Wallis 1987), which a few hundred scores suffice for.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

enum {
    PEOPLE_MIN = 30,
    SAMPLE_MAX = 4096, /* of people; at a rate of 1 % 40 scores lie above */
    PROBES = 64,       /* of one search */
    RULE_OF = 30,
    TAIL_MIN = 20
};

/* ---- from scores to a threshold ---- */

float ufi_threshold_of(const float *scores, size_t count, double rate, bool *extrapolated)
{
    double above = rate * (double)count;
    size_t whole = (size_t)above;
    *extrapolated = whole < RULE_OF;
    if (!*extrapolated) /* the largest score that is one too many, and a little more */
        return nextafterf(scores[count - 1 - (whole < count ? whole : count - 1)], 2);
    size_t tail = count / 10 > 2 * whole ? count / 10 : 2 * whole;
    tail = tail > TAIL_MIN ? tail : TAIL_MIN;
    tail = tail < count ? tail : count - 1;
    const float *excess = scores + count - tail;
    double level = (double)scores[count - tail - 1], a0 = 0, a1 = 0;
    for (size_t i = 0; i < tail; i++) {
        double y = (double)excess[i] - level, p = ((double)i + 0.65) / (double)tail;
        a0 += y / (double)tail;
        a1 += y * (1 - p) / (double)tail;
    }
    if (above >= (double)tail || !(a0 > 0) || !(a0 - 2 * a1 > 0))
        return nextafterf(scores[count - 1 - (whole < count ? whole : count - 1)], 2);
    double shape = 2 - a0 / (a0 - 2 * a1), scale = 2 * a0 * a1 / (a0 - 2 * a1);
    /* Estimates from few scores go astray; scores of faces have bounded, light tails. */
    shape = fmin(fmax(shape, -0.5), 0.5);
    double share = above / (double)tail;
    double beyond = fabs(shape) < 1e-6 ? -log(share) : (pow(share, -shape) - 1) / shape;
    return (float)fmin(level + scale * beyond, 1.0);
}

/* ---- measuring ---- */

typedef struct sampler {
    int64_t people, seen, taken, wanted;
    uint64_t keys[SAMPLE_MAX], groups[SAMPLE_MAX];
} sampler;

/* Evenly over all: the i-th is taken when the share of those taken falls behind. */
static uf_status sample_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    sampler *s = user;
    s->seen++;
    if (s->taken < s->wanted && s->taken * s->people < s->seen * s->wanted) {
        s->groups[s->taken] = (uint64_t)columns[0].integer;
        s->keys[s->taken++] = (uint64_t)columns[1].integer;
    }
    return UF_OK;
}

static int by_score(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Best scores of others for up to PROBES people, from `first` on. Without g->lock. */
static uf_status measure_some(ufi_live_index *l, uf_searcher *searcher, const sampler *s,
                              size_t first, float *vectors, float *scores, size_t *score_count,
                              uf_error *err)
{
    size_t left = (size_t)s->taken - first, count = left < PROBES ? left : PROBES;
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    uf_hit hits[2 * PROBES];
    uint32_t counts[PROBES];
    o.top_k = 2;
    uf_status st = ufi_live_fetch(l, s->keys + first, count, vectors, err);
    size_t kept = 0;
    uint64_t groups[PROBES];
    for (size_t i = 0; !st && i < count; i++) {
        /* One that was deleted meanwhile has a vector of zeros. */
        const float *v = vectors + i * l->dimension;
        if (ufi_unit_vector(v, l->dimension, NULL, NULL))
            continue;
        memmove(vectors + kept * l->dimension, v, l->dimension * sizeof(float));
        groups[kept++] = s->groups[first + i];
    }
    if (!st && kept > 0)
        st = ufi_live_run(l, searcher, vectors, kept, &o, hits, counts, err);
    for (size_t i = 0; !st && i < kept; i++)
        for (uint32_t k = 0; k < counts[i]; k++)
            if (hits[2 * i + k].group != groups[i]) {
                scores[(*score_count)++] = hits[2 * i + k].score;
                break;
            }
    return st;
}

static uf_status measure_all(ufi_live_index *l, const sampler *s, float *scores,
                             size_t *score_count, uf_error *err)
{
    uf_gallery *g = l->gallery;
    const size_t bytes = PROBES * l->dimension * sizeof(float);
    uf_searcher *searcher = NULL;
    float *vectors = ufi_secret_alloc(bytes, NULL);
    uf_status st = vectors ? ufi_live_searcher(l, &searcher, err)
                           : ufi_fail(err, UF_E_NOMEM, "no memory to measure a threshold");
    *score_count = 0;
    ufi_mutex_unlock(g->lock);
    for (size_t i = 0; !st && i < (size_t)s->taken; i += PROBES)
        st = measure_some(l, searcher, s, i, vectors, scores, score_count, err);
    ufi_mutex_lock(g->lock);
    ufi_live_searcher_back(l, searcher);
    ufi_secret_free(vectors, bytes);
    return st;
}

/* ---- keeping ---- */

static bool still_fits(int64_t measured, int64_t people)
{
    int64_t grown = people > measured ? people - measured : measured - people;
    return measured > 0 && grown * 10 <= measured;
}

static uf_status stored_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    ufi_live_index *l = user;
    size_t n = columns[1].size / sizeof(float);
    if (columns[1].type != UFI_VALUE_BYTES || n < 2)
        return UF_OK; /* measured again */
    float *scores = ufi_malloc(n, sizeof *scores);
    if (!scores)
        return ufi_fail(err, UF_E_NOMEM, "no memory for scores");
    memcpy(scores, columns[1].data, n * sizeof *scores);
    for (size_t i = 0; i < n; i++)
        if (!(scores[i] >= -1.5f && scores[i] <= 1.5f) || (i > 0 && scores[i] < scores[i - 1])) {
            ufi_free(scores);
            return UF_OK;
        }
    ufi_free(l->scores);
    l->scores = scores;
    l->score_count = n;
    l->scored_people = columns[0].integer;
    return UF_OK;
}

static uf_status load_scores(ufi_live_index *l, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(l->collection), ufi_integer(l->model)};
    return ufi_sql_rows(l->gallery->sql,
                        "SELECT people, scores FROM calibration WHERE collection = ?1 AND"
                        " model = ?2",
                        args, 2, stored_row, l, err);
}

/* A cache: where it cannot be written, it is measured again by the next process. */
static void store_scores(ufi_live_index *l)
{
    const ufi_value args[] = {ufi_integer(l->collection), ufi_integer(l->model),
                              ufi_integer(l->scored_people),
                              ufi_bytes(l->scores, l->score_count * sizeof(float))};
    if (!l->gallery->unwritable)
        ufi_sql_run(l->gallery->sql,
                    "INSERT INTO calibration (collection, model, people, scores) VALUES"
                    " (?1, ?2, ?3, ?4) ON CONFLICT (collection, model) DO UPDATE SET"
                    " people = ?3, scores = ?4",
                    args, 4, NULL, NULL);
}

static uf_status take_sample(ufi_live_index *l, sampler *s, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(l->collection), ufi_integer(l->model)};
    return ufi_sql_rows(l->gallery->sql,
                        "SELECT p.number, min(t.number) FROM person p JOIN template t"
                        " ON t.person = p.number WHERE p.collection = ?1 AND t.model = ?2"
                        " GROUP BY p.number ORDER BY p.number",
                        args, 2, sample_row, s, err);
}

static uf_status measure(ufi_live_index *l, int64_t people, uf_error *err)
{
    sampler *s = ufi_calloc(1, sizeof *s);
    float *scores = ufi_malloc(SAMPLE_MAX, sizeof *scores);
    size_t count = 0;
    uf_status st = s && scores ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for scores");
    if (!st) {
        s->people = people;
        s->wanted = people < SAMPLE_MAX ? people : SAMPLE_MAX;
        st = take_sample(l, s, err);
    }
    if (!st)
        st = measure_all(l, s, scores, &count, err);
    if (!st && count < PEOPLE_MIN)
        st = ufi_fail(err, UF_E_UNCALIBRATED, "only %zu scores could be measured", count);
    if (!st) {
        qsort(scores, count, sizeof *scores, by_score);
        ufi_free(l->scores);
        l->scores = scores;
        l->score_count = count;
        l->scored_people = people;
        scores = NULL;
        store_scores(l);
    }
    ufi_free(scores);
    ufi_free(s);
    return st;
}

static uf_status threshold_of(ufi_live_index *l, int64_t people, double fpir,
                              uf_gallery_threshold_info *out, uf_error *err)
{
    bool extrapolated;
    uf_status st = UF_OK;
    if (!still_fits(l->scored_people, people))
        st = load_scores(l, err);
    if (!st && !still_fits(l->scored_people, people))
        st = measure(l, people, err);
    if (st)
        return st;
    *out = (uf_gallery_threshold_info){
        .threshold = ufi_threshold_of(l->scores, l->score_count, fpir, &extrapolated),
        .fpir = fpir,
        .people = (uint64_t)people,
        .impostor_scores = l->score_count};
    out->extrapolated = extrapolated;
    return UF_OK;
}

uf_status ufi_threshold_measure(uf_gallery *g, const char *model_id, const uf_identify_options *o,
                                uf_gallery_threshold_info *out, uf_error *err)
{
    const char *name = ufi_collection_or_default(o->collection);
    int64_t collection, model;
    uint32_t dimension;
    ufi_census census;
    ufi_live_index *l = NULL;
    uf_status st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    st = ufi_collection_find(g, name, &collection, err);
    if (!st)
        st = ufi_census_expect(g, collection, name, model_id, 0, &model, &census, err);
    if (!st && census.people < PEOPLE_MIN)
        st = ufi_fail(err, UF_E_UNCALIBRATED,
                      "%lld people in collection \"%s\": no threshold can be measured on fewer "
                      "than %d; give one",
                      (long long)census.people, name, PEOPLE_MIN);
    if (!st)
        st = ufi_model_find(g, model_id, &model, &dimension, err);
    if (!st)
        st = ufi_live_acquire(g, collection, model, dimension, &l, err);
    if (!st)
        st = threshold_of(l, census.people, o->fpir, out, err);
    if (l)
        ufi_live_release(l);
    return ufi_gallery_leave(g, st, err);
}

uf_status uf_gallery_threshold(uf_gallery *g, const char *model_id,
                               const uf_identify_options *options, uf_gallery_threshold_info *out,
                               uf_error *err)
{
    const uf_identify_options defaults = UF_IDENTIFY_OPTIONS_INIT,
                              *o = options ? options : &defaults;
    if (!g || !out)
        return ufi_fail(err, UF_E_ARG, "threshold: gallery or out is NULL");
    uf_status st = ufi_identify_check(model_id, o, err);
    if (!st && !isnan(o->threshold))
        return ufi_fail(err, UF_E_ARG, "threshold: one is given");
    return st ? st : ufi_threshold_measure(g, model_id, o, out, err);
}
