/* Random additions, removals, searches, trainings and snapshots of an index against a list of all
 * vectors: every answer must be the list's. */
#define FUZZ_RUNS 200
#include "fuzz.h"

#include <math.h>
#include <unistd.h>

#include "uniface/index.h"

enum { DIMENSION = 16, KEYS = 256 };

typedef struct state {
    uf_index *x;
    uf_searcher *s;
    float v[KEYS][DIMENSION]; /* unit length */
    uint8_t there[KEYS];
    const uint8_t *data;
    size_t size, at;
} state;

static uint8_t next(state *t)
{
    return t->at < t->size ? t->data[t->at++] : 0;
}

static void make_vector(state *t, float v[DIMENSION])
{
    double square = 0;
    const uint8_t seed = next(t);
    for (int k = 0; k < DIMENSION; k++) {
        v[k] =
            (float)((seed * 37 + k * 101 + seed * k * 7) % 61) - 30.25f + (float)(seed % 5) * 0.1f;
        square += (double)v[k] * (double)v[k];
    }
    for (int k = 0; k < DIMENSION; k++)
        v[k] = (float)((double)v[k] / sqrt(square));
}

static void require(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz_index: %s\n", what);
        abort();
    }
}

static void add(state *t)
{
    const uint64_t key = next(t), group = key / 2;
    make_vector(t, t->v[key]);
    if (t->there[key])
        uf_index_remove(t->x, &key, 1, NULL, NULL);
    require(!uf_index_add(t->x, &key, &group, t->v[key], 1, NULL), "a vector is not taken");
    t->there[key] = 1;
}

static void take(state *t)
{
    const uint64_t key = next(t);
    size_t removed = 0;
    uf_index_remove(t->x, &key, 1, &removed, NULL);
    require(removed == t->there[key], "removal and list differ");
    t->there[key] = 0;
}

static void search(state *t)
{
    uf_search_options o = UF_SEARCH_OPTIONS_INIT;
    uf_hit hits[4];
    uint32_t count = 0, people = 0;
    float probe[DIMENSION], best[KEYS / 2];
    make_vector(t, probe);
    o.top_k = 1 + next(t) % 4;
    o.lists = 65536;
    o.miss_rate = 0;
    require(!uf_searcher_run(t->s, probe, 1, &o, hits, &count, NULL, NULL), "a search fails");
    for (int g = 0; g < KEYS / 2; g++)
        best[g] = -2;
    for (int i = 0; i < KEYS; i++) {
        float dot = 0;
        for (int k = 0; k < DIMENSION; k++)
            dot += probe[k] * t->v[i][k];
        if (t->there[i] && dot > best[i / 2])
            best[i / 2] = dot;
    }
    for (int g = 0; g < KEYS / 2; g++)
        people += best[g] > -2;
    require(count == (people < o.top_k ? people : o.top_k), "another number of answers");
    for (uint32_t i = 0; i < count; i++) {
        uint32_t better = 0;
        for (int g = 0; g < KEYS / 2; g++)
            better += best[g] > hits[i].score + 1e-5f;
        require(better <= i, "an answer is missing");
        require(fabsf(best[hits[i].group] - hits[i].score) < 1e-5f, "a score is wrong");
    }
}

static void reopen(state *t)
{
    char path[] = "/tmp/uniface-fuzz-XXXXXX";
    const int fd = mkstemp(path);
    if (fd < 0)
        return;
    close(fd);
    require(!uf_index_save(t->x, path, NULL, NULL), "it is not saved");
    uf_searcher_destroy(t->s);
    uf_index_destroy(t->x);
    require(!uf_index_open(&t->x, path, NULL, NULL, NULL), "it does not open");
    require(!uf_searcher_create(&t->s, t->x, 1, NULL), "no searcher");
    unlink(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static state t;
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    memset(&t, 0, sizeof t);
    t.data = data;
    t.size = size < 4096 ? size : 4096;
    o.dimension = DIMENSION;
    o.detail = UF_INDEX_FLOAT;
    o.lists = size % 3 ? 0 : 16;
    require(!uf_index_create(&t.x, &o, NULL), "no index");
    require(!uf_searcher_create(&t.s, t.x, 1, NULL), "no searcher");
    while (t.at < t.size) {
        const uint8_t what = next(&t);
        if (what < 128)
            add(&t);
        else if (what < 200)
            take(&t);
        else if (what < 250)
            search(&t);
        else if (what == 250)
            reopen(&t);
        else
            (void)uf_index_train(t.x, 1, NULL);
    }
    uf_searcher_destroy(t.s);
    uf_index_destroy(t.x);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    uint64_t x = 0x9E3779B97F4A7C15u + i;
    const size_t size = 300 + 200 * i;
    if (i > 2 || size > cap)
        return 0;
    for (size_t k = 0; k < size; k++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        out[k] = (uint8_t)(x >> 24);
    }
    return size;
}
