/* Vectors for `uniface bench search`: made from their number on demand, so that ten million need no
 * memory; or real ones from a file, turned and blurred to the size wanted. */
#ifndef UF_CLI_BENCH_VECTORS_H
#define UF_CLI_BENCH_VECTORS_H

#include "cli.h"

typedef struct vector_source {
    uint64_t count, seed;
    uint32_t dimension;
    uint32_t pictures; /* of each made identity */
    /* Of a file; rows NULL: made vectors. */
    float *rows;           /* unit length */
    int64_t *labels;       /* who is in a row; NULL: not known */
    uint32_t *kept, *held; /* rows that go into the index; rows kept back as probes */
    size_t kept_count, held_count;
} vector_source;

/* Reads --npy and --groups. Prints what is wrong and returns the exit status. */
int vector_source_open(vector_source *s, const char *npy, const char *groups);
void vector_source_close(vector_source *s);

/* Vectors `from` to from + n - 1 of the index, unit length, the same on every call. */
void vector_source_make(const vector_source *s, uint64_t from, size_t n, float *out);
uint64_t vector_source_group(const vector_source *s, uint64_t number);
/* Probe number i: even ones have a mate (of group *group) in the index, odd ones have none. */
void vector_source_probe(const vector_source *s, uint64_t i, float *out, uint64_t *group);

#endif
