/* Vector search: against all vectors compared one by one, through additions, removals, filters. */
#include "uniface/index.h"

#include <pthread.h>

#include "base/mem.h"
#include "crowd.h"
#include "index/index.h"

TEST(answers_are_those_of_comparing_all)
{
    static const size_t dimensions[] = {8, 65, 128, 192, 256, 512, 700};
    uf_error err = {0};
    for (size_t d = 0; d < sizeof dimensions / sizeof *dimensions; d++) {
        crowd c = make_crowd(3000, dimensions[d], 3);
        for (uint32_t k = 1; k <= 10; k += 9) {
            uf_search_options o = UF_SEARCH_OPTIONS_INIT;
            o.top_k = k;
            uf_index *x = index_of(&c, UF_INDEX_FLOAT, false, &err);
            compare(x, &c, NULL, &o, 70, 1, 2e-6f);
            compare(x, &c, NULL, &o, 1, 2, 2e-6f);
            uf_index_destroy(x);
            x = index_of(&c, UF_INDEX_INT8, true, &err);
            compare(x, &c, NULL, &o, 70, 2, 2e-6f);
            compare(x, &c, NULL, &o, 1, 1, 2e-6f);
            uf_index_destroy(x);
            x = index_of(&c, UF_INDEX_SKETCH, true, &err);
            compare(x, &c, NULL, &o, 9, 1, 2e-6f);
            uf_index_destroy(x);
        }
        free_crowd(&c);
    }
}

/* As on a processor with a matrix unit. With 400 pictures of each person those of one may take all
 * places among the leaders, and the probe is searched by itself. */
TEST(many_probes_at_once)
{
    uf_error err = {0};
    for (size_t pictures = 2; pictures <= 400; pictures += 398) {
        crowd c = make_crowd(2400, 128, pictures);
        for (int detail = 0; detail < 2; detail++) {
            uf_index *x = index_of(&c, detail ? UF_INDEX_FLOAT : UF_INDEX_INT8, !detail, &err);
            REQUIRE(x);
            ufk_table kernels = *x->kernels;
            kernels.dot_many_pays = true;
            x->kernels = &kernels;
            uf_search_options o = UF_SEARCH_OPTIONS_INIT;
            o.top_k = 3;
            compare(x, &c, NULL, &o, 80, 1 + (uint32_t)detail, 2e-6f);
            const uint64_t few[] = {0, 1, 3};
            o.groups = few;
            o.group_count = 3;
            compare(x, &c, NULL, &o, 20, 1, 2e-6f);
            uf_index_destroy(x);
        }
        free_crowd(&c);
    }
}

TEST(without_exact_vectors_scores_are_near)
{
    uf_error err = {0};
    crowd c = make_crowd(2000, 512, 2);
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    uf_index *x = index_of(&c, UF_INDEX_INT8, false, &err);
    o.top_k = 3;
    compare(x, &c, NULL, &o, 40, 1, 0.004f);
    uf_index_destroy(x);
    free_crowd(&c);
}

TEST(a_floor_and_no_misses)
{
    uf_error err = {0};
    crowd c = make_crowd(5000, 256, 2);
    uf_index *x = index_of(&c, UF_INDEX_INT8, true, &err);
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    o.top_k = 4;
    o.min_score = 0.3f;
    compare(x, &c, NULL, &o, 40, 1, 2e-6f);
    compare(x, &c, NULL, &o, 1, 1, 2e-6f);
    o.min_score = -1;
    o.miss_rate = 0;
    compare(x, &c, NULL, &o, 10, 2, 2e-6f);
    uf_index_destroy(x);
    free_crowd(&c);
}

TEST(filters)
{
    uf_error err = {0};
    crowd c = make_crowd(20000, 128, 2);
    uf_index *x = index_of(&c, UF_INDEX_INT8, true, &err);
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    uint64_t few[] = {0, 37, 74, 9000}, *many = malloc(9000 * sizeof *many);
    for (uint64_t i = 0; i < 9000; i++)
        many[i] = i;
    o.top_k = 3;
    o.groups = few;
    o.group_count = 4;
    compare(x, &c, NULL, &o, 10, 1, 2e-6f);
    o.groups = many;
    o.group_count = 9000;
    compare(x, &c, NULL, &o, 10, 1, 2e-6f);
    compare(x, &c, NULL, &o, 1, 2, 2e-6f);
    uint64_t nobody = 77777;
    o.groups = &nobody;
    o.group_count = 1;
    compare(x, &c, NULL, &o, 2, 1, 2e-6f);
    free(many);
    uf_index_destroy(x);
    free_crowd(&c);
}

TEST(additions_and_removals)
{
    uf_error err = {0};
    uint64_t seed = 5;
    crowd c = make_crowd(6000, 128, 3);
    bool *gone = calloc(c.count, sizeof *gone);
    uf_index *x = index_of(&c, UF_INDEX_INT8, true, &err);
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    o.top_k = 5;
    for (int round = 0; round < 6; round++) {
        for (int i = 0; i < 1500; i++) {
            const size_t at = test_random(&seed) % c.count;
            if (gone[at]) {
                CHECK_OK(uf_index_add(x, &c.keys[at], &c.groups[at], c.v + at * 128, 1, &err), err);
            } else {
                size_t removed = 0;
                CHECK_OK(uf_index_remove(x, &c.keys[at], 1, &removed, &err), err);
                CHECK(removed == 1);
            }
            gone[at] = !gone[at];
            CHECK(uf_index_contains(x, c.keys[at]) == !gone[at]);
        }
        compare(x, &c, gone, &o, 12, 1, 2e-6f);
    }
    uint64_t there = 0;
    for (size_t i = 0; i < c.count; i++)
        there += !gone[i];
    CHECK(uf_index_describe(x).count == there);
    free(gone);
    uf_index_destroy(x);
    free_crowd(&c);
}

/* A million vectors that came and went: their places are used again, and nobody who stays is lost.
 */
TEST(removed_a_million_times)
{
    enum { STAY = 200, BATCH = 4000, ROUNDS = 250 };
    uf_error err = {0};
    uint64_t seed = 9, *keys = malloc(2 * BATCH * sizeof *keys), *groups = keys + BATCH;
    crowd c = make_crowd(STAY, 8, 1);
    float *passing = malloc(BATCH * 8 * sizeof *passing);
    uf_index *x = index_of(&c, UF_INDEX_FLOAT, false, &err);
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    uint64_t most = 0;
    for (size_t i = 0; i < BATCH * 8; i++)
        passing[i] = test_random_float(&seed);
    for (size_t i = 0; i < BATCH; i++)
        groups[i] = 1000000 + i;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        size_t removed = 0;
        for (size_t i = 0; i < BATCH; i++)
            keys[i] = 1000000 + round * BATCH + i;
        REQUIRE_OK(uf_index_add(x, keys, groups, passing, BATCH, &err), err);
        REQUIRE_OK(uf_index_remove(x, keys, BATCH, &removed, &err), err);
        CHECK(removed == BATCH && uf_index_describe(x).count == STAY);
        if (round < 10)
            most = uf_index_describe(x).memory_bytes;
    }
    CHECK(uf_index_describe(x).memory_bytes <= most + most / 8);
    compare(x, &c, NULL, &o, 20, 1, 2e-6f);
    uf_index_destroy(x);
    free(passing);
    free(keys);
    free_crowd(&c);
}

TEST(lists)
{
    uf_error err = {0};
    crowd c = make_crowd(6000, 64, 3);
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_search_options so = UF_SEARCH_OPTIONS_INIT;
    uf_index *x = NULL;
    bool *gone = calloc(c.count, sizeof *gone);
    o.dimension = 64;
    o.fetch = fetch_crowd;
    o.fetch_user = &c;
    o.lists = 16;
    CHECK_OK(uf_index_create(&x, &o, &err), err);
    CHECK_OK(uf_index_add(x, c.keys, c.groups, c.v, 400, &err), err);
    CHECK(uf_index_train(x, 1, &err) == UF_E_STATE && strstr(err.message, "too few"));
    CHECK_OK(uf_index_add(x, c.keys + 400, c.groups + 400, c.v + 400 * 64, 5000, &err), err);
    gone[7] = !uf_index_remove(x, &c.keys[7], 1, NULL, NULL);
    CHECK_OK(uf_index_train(x, 2, &err), err);
    CHECK(uf_index_describe(x).lists == 16 && uf_index_describe(x).count == 5399);
    CHECK_OK(uf_index_add(x, c.keys + 5400, c.groups + 5400, c.v + 5400 * 64, 600, &err), err);
    for (size_t i = 8; i < c.count; i += 9)
        gone[i] = !uf_index_remove(x, &c.keys[i], 1, NULL, NULL);
    /* All lists: the same answers as without. */
    so.top_k = 3;
    so.lists = 16;
    compare(x, &c, gone, &so, 30, 2, 2e-6f);
    /* Again, and a quarter of them: a vector itself is found. */
    CHECK_OK(uf_index_train(x, 1, &err), err);
    uf_searcher *s = NULL;
    uf_search_work work;
    uf_hit hit;
    uint32_t n = 0, found = 0;
    so.top_k = 1;
    so.lists = 0;
    CHECK_OK(uf_searcher_create(&s, x, 1, &err), err);
    for (size_t i = 0; i < 200; i++) {
        CHECK_OK(uf_searcher_run(s, c.v + i * 9 * 64, 1, &so, &hit, &n, &work, &err), err);
        found += n && hit.key == c.keys[i * 9];
        CHECK(work.sketches < 4000);
    }
    CHECK_MSG(found >= 195, "%u of 200", found);
    uf_searcher_destroy(s);
    uf_index_destroy(x);
    free(gone);
    free_crowd(&c);
}

TEST(training_may_run_out_of_memory)
{
    uf_error err = {0};
    crowd c = make_crowd(700, 32, 1);
    for (uint64_t k = 1; k < 60; k++) {
        uf_index_options o = UF_INDEX_OPTIONS_INIT;
        uf_search_options so = UF_SEARCH_OPTIONS_INIT;
        uf_index *x = NULL;
        o.dimension = 32;
        o.fetch = fetch_crowd;
        o.fetch_user = &c;
        o.lists = 16;
        CHECK_OK(uf_index_create(&x, &o, &err), err);
        CHECK_OK(uf_index_add(x, c.keys, c.groups, c.v, c.count, &err), err);
        ufi_mem_fail_after(k, false);
        uf_status st = uf_index_train(x, 1, &err);
        ufi_mem_fail_after(0, false);
        CHECK_MSG(st == UF_OK || st == UF_E_NOMEM, "%s", err.message);
        so.lists = 16;
        compare(x, &c, NULL, &so, 3, 1, 2e-6f);
        uf_index_destroy(x);
    }
    free_crowd(&c);
}

TEST(wrong_calls_are_refused)
{
    uf_error err = {0};
    crowd c = make_crowd(40, 64, 1);
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uf_index *x = NULL;
    uf_searcher *s = NULL;
    o.dimension = 7;
    CHECK(uf_index_create(&x, &o, &err) == UF_E_ARG && strstr(err.message, "dimension 7"));
    o.dimension = 64;
    o.detail = UF_INDEX_SKETCH;
    CHECK(uf_index_create(&x, &o, &err) == UF_E_ARG && strstr(err.message, "fetch"));
    o.detail = UF_INDEX_FLOAT;
    o.lists = 3;
    CHECK(uf_index_create(&x, &o, &err) == UF_E_ARG && strstr(err.message, "3 lists"));
    x = index_of(&c, UF_INDEX_FLOAT, false, &err);
    REQUIRE(x);
    /* A key that is there: none of the three is added. */
    const uint64_t keys[] = {1, 2, c.keys[5]}, groups[] = {0, 0, 0};
    CHECK(uf_index_add(x, keys, groups, c.v, 3, &err) == UF_E_ARG &&
          strstr(err.message, "vector 2"));
    CHECK(!uf_index_contains(x, 1) && !uf_index_contains(x, 2) && uf_index_describe(x).count == 40);
    float bad[64] = {0};
    CHECK(uf_index_add(x, keys, groups, bad, 1, &err) == UF_E_ARG);
    bad[3] = NAN;
    CHECK(uf_index_add(x, keys, groups, bad, 1, &err) == UF_E_ARG);
    CHECK_OK(uf_searcher_create(&s, x, 1, &err), err);
    uf_hit hit;
    uint32_t n;
    CHECK(uf_searcher_run(s, bad, 1, NULL, &hit, &n, NULL, &err) == UF_E_ARG &&
          strstr(err.message, "probe 0"));
    uf_search_options so = UF_SEARCH_OPTIONS_INIT;
    so.top_k = 0;
    CHECK(uf_searcher_run(s, c.v, 1, &so, &hit, &n, NULL, &err) == UF_E_ARG);
    so.top_k = 1;
    so.miss_rate = -1;
    CHECK(uf_searcher_run(s, c.v, 1, &so, &hit, &n, NULL, &err) == UF_E_ARG);
    uf_searcher_destroy(s);
    uf_index_destroy(x);
    free_crowd(&c);
}

TEST(an_empty_index_has_no_answers)
{
    uf_error err = {0};
    crowd c = make_crowd(4, 64, 1);
    uf_index *x = index_of(&c, UF_INDEX_FLOAT, false, &err);
    uf_searcher *s = NULL;
    uf_hit hit;
    uint32_t n = 9;
    CHECK_OK(uf_index_remove(x, c.keys, 4, NULL, &err), err);
    CHECK_OK(uf_searcher_create(&s, x, 1, &err), err);
    CHECK_OK(uf_searcher_run(s, c.v, 1, NULL, &hit, &n, NULL, &err), err);
    CHECK(n == 0);
    uf_searcher_destroy(s);
    uf_index_destroy(x);
    free_crowd(&c);
}

/* ---- threads ---- */

typedef struct stress {
    uf_index *x;
    const crowd *c;
    int failures;
} stress;

static void *search_all(void *arg)
{
    stress *t = arg;
    uf_searcher *s = NULL;
    if (uf_searcher_create(&s, t->x, 1, NULL)) {
        t->failures++;
        return NULL;
    }
    for (size_t i = 0; i < 200; i++) {
        /* The lower half is never removed: it must be found at all times. */
        const size_t at = i * 3 % (t->c->count / 2);
        uf_hit hit;
        uint32_t n = 0;
        if (uf_searcher_run(s, t->c->v + at * t->c->dimension, 1, NULL, &hit, &n, NULL, NULL) ||
            n != 1 || hit.key != t->c->keys[at])
            t->failures++;
    }
    uf_searcher_destroy(s);
    return NULL;
}

TEST(searches_beside_changes)
{
    uf_error err = {0};
    crowd c = make_crowd(2000, 64, 1);
    uf_index *x = index_of(&c, UF_INDEX_INT8, true, &err);
    stress t[2] = {{x, &c, 0}, {x, &c, 0}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK(!pthread_create(&threads[i], NULL, search_all, &t[i]));
    for (int round = 0; round < 20; round++) {
        for (size_t i = c.count / 2; i < c.count; i++)
            uf_index_remove(x, &c.keys[i], 1, NULL, NULL);
        const size_t half = c.count / 2;
        CHECK_OK(uf_index_add(x, c.keys + half, c.groups + half, c.v + half * 64, half, &err), err);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        CHECK_MSG(t[i].failures == 0, "%d searches went wrong", t[i].failures);
    }
    uf_index_destroy(x);
    free_crowd(&c);
}

TEST(memory_may_run_out_anywhere)
{
    uf_error err = {0};
    crowd c = make_crowd(600, 64, 2);
    for (uint64_t k = 1; k < 60; k++) {
        uf_index_options o = UF_INDEX_OPTIONS_INIT;
        uf_index *x = NULL;
        uf_searcher *s = NULL;
        uf_hit hit;
        uint32_t n;
        o.dimension = 64;
        ufi_mem_fail_after(k, false);
        uf_status st = uf_index_create(&x, &o, &err);
        if (!st)
            st = uf_index_add(x, c.keys, c.groups, c.v, c.count, &err);
        if (!st)
            st = uf_searcher_create(&s, x, 1, &err);
        if (!st)
            st = uf_searcher_run(s, c.v, 1, NULL, &hit, &n, NULL, &err);
        ufi_mem_fail_after(0, false);
        CHECK_MSG(st == UF_OK || st == UF_E_NOMEM, "%s", err.message);
        if (!st)
            CHECK(n == 1 && hit.key == c.keys[0]);
        uf_searcher_destroy(s);
        uf_index_destroy(x);
    }
    free_crowd(&c);
}

TEST_MAIN
