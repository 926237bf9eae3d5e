/* Vectors that mimic faces, an index of them, and the oracle: all vectors compared one by one. */
#ifndef UF_TESTS_CROWD_H
#define UF_TESTS_CROWD_H

#include "test.h"
#include "uniface/index.h"

/* ---- vectors that mimic faces: people at random, pictures around them ---- */

typedef struct crowd {
    size_t count, dimension, pictures; /* vectors in all; of one person */
    float *v;
    uint64_t *keys, *groups;
} crowd;

static inline float gauss(uint64_t *seed)
{
    float sum = 0;
    for (int i = 0; i < 12; i++)
        sum += test_random_float(seed);
    return sum / 2;
}

static inline void unit(float *v, size_t n)
{
    double square = 0;
    for (size_t i = 0; i < n; i++)
        square += (double)v[i] * (double)v[i];
    for (size_t i = 0; i < n; i++)
        v[i] = (float)((double)v[i] / sqrt(square));
}

/* A picture of a person: cosine `likeness` to the person's centre. */
static inline void picture(float *out, uint64_t person, uint64_t number, size_t n, float likeness)
{
    uint64_t a = person * 2 + 1, b = (person << 20) + number * 2 + 1;
    for (int i = 0; i < 3; i++)
        test_random(&a), test_random(&b);
    float *noise = malloc(n * sizeof *noise);
    for (size_t i = 0; i < n; i++) {
        out[i] = gauss(&a);
        noise[i] = gauss(&b);
    }
    unit(out, n);
    unit(noise, n);
    for (size_t i = 0; i < n; i++)
        out[i] = likeness * out[i] + sqrtf(1 - likeness * likeness) * noise[i];
    unit(out, n);
    free(noise);
}

static inline crowd make_crowd(size_t count, size_t dimension, size_t pictures)
{
    crowd c = {count,
               dimension,
               pictures,
               malloc(count * dimension * sizeof(float)),
               malloc(count * 8),
               malloc(count * 8)};
    for (size_t i = 0; i < count; i++) {
        c.keys[i] = 1000 + i * 7;
        c.groups[i] = i / pictures;
        picture(c.v + i * dimension, i / pictures, i % pictures, dimension, 0.8f);
    }
    return c;
}

static inline void free_crowd(crowd *c)
{
    free(c->v);
    free(c->keys);
    free(c->groups);
}

static inline uf_status fetch_crowd(void *user, const uint64_t *keys, size_t count, float *vectors,
                                    uf_error *err)
{
    const crowd *c = user;
    (void)err;
    for (size_t i = 0; i < count; i++)
        memcpy(vectors + i * c->dimension, c->v + (keys[i] - 1000) / 7 * c->dimension,
               c->dimension * sizeof(float));
    return UF_OK;
}

static inline uf_index *index_of(const crowd *c, uf_index_detail detail, bool fetch, uf_error *err)
{
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_index *x = NULL;
    o.dimension = (uint32_t)c->dimension;
    o.detail = detail;
    o.fetch = fetch ? fetch_crowd : NULL;
    o.fetch_user = (void *)(uintptr_t)c;
    CHECK_OK(uf_index_create(&x, &o, err), *err);
    if (x)
        CHECK_OK(uf_index_add(x, c->keys, c->groups, c->v, c->count, err), *err);
    return x;
}

/* ---- the oracle ---- */

static inline bool allowed(const uf_search_options *o, uint64_t group)
{
    for (size_t i = 0; i < o->group_count; i++)
        if (o->groups[i] == group)
            return true;
    return !o->groups;
}

/* Best hits of groups, by double sums; `gone[i]`: not in the index. */
static inline uint32_t oracle(const crowd *c, const bool *gone, const float *probe,
                              const uf_search_options *o, uf_hit *hits)
{
    uint32_t n = 0;
    for (size_t i = 0; i < c->count; i++) {
        double dot = 0;
        if ((gone && gone[i]) || !allowed(o, c->groups[i]))
            continue;
        for (size_t k = 0; k < c->dimension; k++)
            dot += (double)probe[k] * (double)c->v[i * c->dimension + k];
        if (dot < (double)o->min_score)
            continue;
        uint32_t at = 0;
        while (at < n && hits[at].group != c->groups[i])
            at++;
        if (at < n && (double)hits[at].score >= dot)
            continue;
        if (at == n && n < o->top_k)
            n++;
        else if (at == n && (double)hits[n - 1].score >= dot)
            continue;
        else if (at == n)
            at = n - 1;
        for (; at > 0 && (double)hits[at - 1].score < dot; at--)
            hits[at] = hits[at - 1];
        hits[at] = (uf_hit){c->keys[i], c->groups[i], (float)dot};
    }
    return n;
}

/* Searches for pictures of people who are there and of strangers; all answers must be the oracle's.
 * Scores closer than `tolerance` may change places. */
static inline void compare(uf_index *x, const crowd *c, const bool *gone,
                           const uf_search_options *o, size_t probes, uint32_t threads,
                           float tolerance)
{
    uf_searcher *s = NULL;
    uf_error err = {0};
    const size_t people = c->count / c->pictures;
    float *probe = malloc(probes * c->dimension * sizeof *probe);
    uf_hit *got = calloc(probes * o->top_k, sizeof *got),
           *want = calloc(o->top_k + 1, sizeof *want);
    uint32_t *counts = calloc(probes, sizeof *counts);
    for (size_t i = 0; i < probes; i++)
        picture(probe + i * c->dimension, i % 2 ? 1000000 + i : i * 37 % people, 999, c->dimension,
                0.8f);
    CHECK_OK(uf_searcher_create(&s, x, threads, &err), err);
    CHECK_OK(uf_searcher_run(s, probe, probes, o, got, counts, NULL, &err), err);
    for (size_t i = 0; i < probes; i++) {
        const uint32_t n = oracle(c, gone, probe + i * c->dimension, o, want);
        CHECK_MSG(counts[i] == n, "probe %zu: %u answers, not %u", i, counts[i], n);
        for (uint32_t k = 0; k < n && k < counts[i]; k++) {
            const uf_hit *g = &got[i * o->top_k + k];
            CHECK_MSG(fabsf(g->score - want[k].score) <= tolerance,
                      "probe %zu, answer %u: %g, not %g", i, k, (double)g->score,
                      (double)want[k].score);
            CHECK_MSG(tolerance > 1e-5f || g->key == want[k].key, "probe %zu, answer %u: key %llu",
                      i, k, (unsigned long long)g->key);
        }
    }
    uf_searcher_destroy(s);
    free(probe);
    free(got);
    free(want);
    free(counts);
}

#endif
