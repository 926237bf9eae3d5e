/* uf_cluster: planted people come out, chains of look-alikes do not join them. */
#include "test.h"
#include "uniface/index.h"

enum { DIMENSION = 128 };

static void unit(float *v)
{
    double square = 0;
    for (int i = 0; i < DIMENSION; i++)
        square += (double)v[i] * (double)v[i];
    for (int i = 0; i < DIMENSION; i++)
        v[i] = (float)((double)v[i] / sqrt(square));
}

static void random_unit(float *v, uint64_t *state)
{
    for (int i = 0; i < DIMENSION; i++)
        v[i] = test_random_float(state) + test_random_float(state) + test_random_float(state);
    unit(v);
}

/* A vector with about this cosine to `centre`. */
static void near(float *v, const float *centre, float cosine, uint64_t *state)
{
    random_unit(v, state);
    const float c = cosine, s = sqrtf(1 - cosine * cosine);
    for (int i = 0; i < DIMENSION; i++)
        v[i] = c * centre[i] + s * v[i];
    unit(v);
}

/* People of 1, 2, ... `most` pictures, in a scrambled order; who[i] is the person of vector i. */
static size_t plant(float **vectors, int **who, int people, int most, uint64_t seed)
{
    uint64_t state = seed;
    size_t n = 0;
    float centre[DIMENSION];
    *vectors = malloc((size_t)people * (size_t)most * DIMENSION * sizeof **vectors);
    *who = malloc((size_t)people * (size_t)most * sizeof **who);
    for (int p = 0; p < people; p++) {
        random_unit(centre, &state);
        for (int k = 0; k <= p % most; k++, n++) {
            near(*vectors + n * DIMENSION, centre, 0.8f, &state);
            (*who)[n] = p;
        }
    }
    for (size_t i = n - 1; i > 0; i--) {
        const size_t j = (size_t)(test_random(&state) % (i + 1));
        float t[DIMENSION];
        const int w = (*who)[i];
        memcpy(t, *vectors + i * DIMENSION, sizeof t);
        memcpy(*vectors + i * DIMENSION, *vectors + j * DIMENSION, sizeof t);
        memcpy(*vectors + j * DIMENSION, t, sizeof t);
        (*who)[i] = (*who)[j];
        (*who)[j] = w;
    }
    return n;
}

TEST(planted_people_come_out)
{
    float *vectors;
    int *who;
    uf_error err;
    uf_cluster_options o = UF_CLUSTER_OPTIONS_INIT;
    const size_t n = plant(&vectors, &who, 300, 12, 7);
    int32_t *labels = malloc(n * sizeof *labels), *again = malloc(n * sizeof *again);
    size_t groups = 0, wrong = 0;
    o.threshold = 0.4f;
    REQUIRE_OK(uf_cluster(vectors, n, DIMENSION, &o, labels, &groups, &err), err);
    CHECK_MSG(groups == 300, "%zu groups", groups);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            wrong += (who[i] == who[k]) != (labels[i] == labels[k]);
    CHECK_MSG(wrong == 0, "%zu pairs", wrong);
    o.threads = 3;
    REQUIRE_OK(uf_cluster(vectors, n, DIMENSION, &o, again, NULL, &err), err);
    CHECK(memcmp(labels, again, n * sizeof *labels) == 0);
    free(vectors);
    free(who);
    free(labels);
    free(again);
}

TEST(labels_go_by_size_and_small_groups_have_none)
{
    float *vectors;
    int *who;
    uf_error err;
    uf_cluster_options o = UF_CLUSTER_OPTIONS_INIT;
    const size_t n = plant(&vectors, &who, 40, 8, 3);
    int32_t *labels = malloc(n * sizeof *labels);
    size_t groups = 0;
    o.threshold = 0.4f;
    o.min_size = 5;
    REQUIRE_OK(uf_cluster(vectors, n, DIMENSION, &o, labels, &groups, &err), err);
    CHECK(groups == 20); /* people of 5, 6, 7 and 8 pictures, five of each */
    for (size_t i = 0; i < n; i++) {
        const int size = who[i] % 8 + 1;
        CHECK_MSG(labels[i] == -1 ? size < 5 : labels[i] / 5 == 8 - size, "%d of size %d",
                  labels[i], size);
    }
    free(vectors);
    free(who);
    free(labels);
}

/* Each vector is like the next one only: single linkage would make one group of them all. */
TEST(a_chain_does_not_join_strangers)
{
    enum { LINKS = 60 };
    static float vectors[LINKS * DIMENSION];
    int32_t labels[LINKS];
    uint64_t state = 11;
    uf_error err;
    uf_cluster_options o = UF_CLUSTER_OPTIONS_INIT;
    size_t groups = 0;
    random_unit(vectors, &state);
    for (int i = 1; i < LINKS; i++)
        near(vectors + i * DIMENSION, vectors + (i - 1) * DIMENSION, 0.7f, &state);
    o.threshold = 0.5f;
    REQUIRE_OK(uf_cluster(vectors, LINKS, DIMENSION, &o, labels, &groups, &err), err);
    CHECK_MSG(groups >= LINKS / 4, "%zu groups", groups);
    CHECK(labels[0] != labels[LINKS - 1]);
}

/* More pictures of one person than a search gives neighbours. */
TEST(a_large_group_is_one)
{
    enum { PICTURES = 700, OTHERS = 100 };
    float centre[DIMENSION];
    float *vectors = malloc((PICTURES + OTHERS) * DIMENSION * sizeof *vectors);
    int32_t labels[PICTURES + OTHERS];
    uint64_t state = 5;
    uf_error err;
    uf_cluster_options o = UF_CLUSTER_OPTIONS_INIT;
    size_t groups = 0;
    random_unit(centre, &state);
    for (size_t i = 0; i < PICTURES; i++)
        near(vectors + i * DIMENSION, centre, 0.8f, &state);
    for (size_t i = PICTURES; i < PICTURES + OTHERS; i++)
        random_unit(vectors + i * DIMENSION, &state);
    o.threshold = 0.45f;
    REQUIRE_OK(uf_cluster(vectors, PICTURES + OTHERS, DIMENSION, &o, labels, &groups, &err), err);
    CHECK_MSG(groups == OTHERS + 1, "%zu groups", groups);
    for (int i = 0; i < PICTURES; i++)
        CHECK(labels[i] == 0);
    free(vectors);
}

TEST(equal_vectors_and_none_at_all)
{
    static float vectors[100 * DIMENSION];
    int32_t labels[100];
    uf_error err;
    uf_cluster_options o = UF_CLUSTER_OPTIONS_INIT;
    size_t groups = 9;
    o.threshold = 0.9f;
    CHECK_OK(uf_cluster(vectors, 0, DIMENSION, &o, labels, &groups, &err), err);
    CHECK(groups == 0);
    for (int i = 0; i < 100; i++)
        vectors[i * DIMENSION + i % 2] = (float)(i + 1); /* lengths do not matter */
    CHECK_OK(uf_cluster(vectors, 100, DIMENSION, &o, labels, &groups, &err), err);
    CHECK(groups == 2 && labels[0] == 0 && labels[1] == 1 && labels[98] == 0 && labels[99] == 1);
    CHECK_OK(uf_cluster(vectors, 1, DIMENSION, &o, labels, &groups, &err), err);
    CHECK(groups == 1 && labels[0] == 0);
}

TEST(what_is_wrong_is_named)
{
    static float vectors[4 * DIMENSION];
    int32_t labels[4];
    uf_error err = {UF_OK, ""};
    uf_cluster_options o = UF_CLUSTER_OPTIONS_INIT;
    CHECK(uf_cluster(vectors, 4, DIMENSION, &o, labels, NULL, &err) == UF_E_ARG);
    CHECK(strstr(err.message, "threshold"));
    o.threshold = 0.5f;
    for (int i = 0; i < 4; i++)
        vectors[i * DIMENSION] = i == 2 ? NAN : 1;
    CHECK(uf_cluster(vectors, 4, DIMENSION, &o, labels, NULL, &err) == UF_E_ARG);
    CHECK(strstr(err.message, "vector 2"));
    vectors[2 * DIMENSION] = 0;
    CHECK(uf_cluster(vectors, 4, DIMENSION, &o, labels, NULL, &err) == UF_E_ARG);
    CHECK(uf_cluster(vectors, 4, 3, &o, labels, NULL, &err) == UF_E_ARG);
    CHECK(uf_cluster(NULL, 4, DIMENSION, &o, labels, NULL, &err) == UF_E_ARG);
}

TEST_MAIN
