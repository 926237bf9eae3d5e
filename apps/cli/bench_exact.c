/* Exact search by blocks: a block of vectors is made (or copied) once and compared with all probes
 * while it is in the second cache; so many probes at a time stay in the first. With ten thousand
 * probes each comparison came from memory otherwise, which took eight times as long. */
#include "bench_exact.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 128, TILE = 8, MAX_THREADS = 256 };

typedef struct crew {
    bench_task_fn *fn;
    void *arg;
    uint64_t count;
    atomic_uint_fast64_t next;
} crew;

typedef struct member {
    crew *crew;
    unsigned number;
    pthread_t thread;
    bool started;
} member;

static void *work(void *arg)
{
    const member *m = arg;
    uint64_t task;
    while ((task = atomic_fetch_add(&m->crew->next, 1)) < m->crew->count)
        m->crew->fn(m->crew->arg, task, m->number);
    return NULL;
}

unsigned bench_threads(unsigned wanted)
{
    uf_device d = {.cores = 1};
    if (!wanted && !uf_device_get(0, &d, NULL))
        wanted = d.cores;
    return wanted < 1 ? 1 : wanted > MAX_THREADS ? MAX_THREADS : wanted;
}

void bench_parallel(unsigned threads, uint64_t count, bench_task_fn *fn, void *arg)
{
    crew c = {.fn = fn, .arg = arg, .count = count};
    member *members = cli_need(calloc(threads, sizeof *members));
    for (unsigned i = 0; i < threads; i++) {
        members[i] = (member){.crew = &c, .number = i};
        members[i].started = i && pthread_create(&members[i].thread, NULL, work, &members[i]) == 0;
    }
    work(&members[0]);
    for (unsigned i = 1; i < threads; i++)
        if (members[i].started)
            pthread_join(members[i].thread, NULL);
    free(members);
}

typedef struct exact {
    const vector_source *source;
    const float *probes;
    size_t count;
    float *blocks;  /* [thread][BLOCK][dimension] */
    float *score;   /* [thread][count] */
    uint64_t *best; /* [thread][count] */
} exact;

/* Vectors [n] from number `first` on with probes `from` to `to` - 1. */
static void compare_tile(const exact *e, unsigned thread, const float *block, uint64_t first,
                         size_t n, size_t from, size_t to)
{
    const size_t d = e->source->dimension;
    float *score = e->score + thread * e->count;
    uint64_t *best = e->best + thread * e->count;
    for (size_t i = 0; i < n; i++)
        for (size_t p = from; p < to; p++) {
            const float v = uf_similarity(block + i * d, e->probes + p * d, d);
            if (v > score[p] || (v == score[p] && first + i < best[p])) {
                score[p] = v;
                best[p] = first + i;
            }
        }
}

static void compare_block(void *arg, uint64_t task, unsigned thread)
{
    const exact *e = arg;
    const vector_source *s = e->source;
    const uint64_t first = task * BLOCK;
    const size_t n = s->count - first < BLOCK ? (size_t)(s->count - first) : BLOCK;
    float *block = e->blocks + (size_t)thread * BLOCK * s->dimension;
    vector_source_make(s, first, n, block);
    for (size_t p = 0; p < e->count; p += TILE)
        compare_tile(e, thread, block, first, n, p, e->count - p < TILE ? e->count : p + TILE);
    if (thread == 0) /* the one that prints; blocks are taken in order */
        cli_progress("checking", (size_t)(first + n), (size_t)s->count);
}

void bench_exact(const vector_source *s, const float *probes, size_t count, unsigned threads,
                 uint64_t *best, float *score)
{
    const size_t n = threads * count;
    exact e = {.source = s, .probes = probes, .count = count};
    e.blocks = cli_need(malloc((size_t)threads * BLOCK * s->dimension * sizeof *e.blocks));
    e.score = cli_need(malloc((n + 1) * sizeof *e.score));
    e.best = cli_need(malloc((n + 1) * sizeof *e.best));
    for (size_t i = 0; i < n; i++) {
        e.score[i] = -2;
        e.best[i] = UINT64_MAX;
    }
    bench_parallel(threads, (s->count + BLOCK - 1) / BLOCK, compare_block, &e);
    cli_progress("checking", (size_t)s->count, (size_t)s->count);
    memcpy(best, e.best, count * sizeof *best);
    memcpy(score, e.score, count * sizeof *score);
    for (unsigned t = 1; t < threads; t++)
        for (size_t p = 0; p < count; p++) {
            const float v = e.score[t * count + p];
            const uint64_t b = e.best[t * count + p];
            if (v > score[p] || (v == score[p] && b < best[p])) {
                score[p] = v;
                best[p] = b;
            }
        }
    free(e.blocks);
    free(e.score);
    free(e.best);
}
