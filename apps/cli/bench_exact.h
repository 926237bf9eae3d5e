/* What `uniface bench search` compares itself with: every vector looked at, in FP32. */
#ifndef UF_CLI_BENCH_EXACT_H
#define UF_CLI_BENCH_EXACT_H

#include "bench_vectors.h"

typedef void bench_task_fn(void *arg, uint64_t task, unsigned thread);

/* Runs tasks 0..count - 1 on so many threads. */
void bench_parallel(unsigned threads, uint64_t count, bench_task_fn *fn, void *arg);
unsigned bench_threads(unsigned wanted); /* 0: one per core */

/* The best vector for each of `count` probes (equal scores: smaller number first). */
void bench_exact(const vector_source *s, const float *probes, size_t count, unsigned threads,
                 uint64_t *best, float *score);

#endif
