/* A run of `uniface bench search`. */
#ifndef UF_CLI_BENCH_SEARCH_H
#define UF_CLI_BENCH_SEARCH_H

#include "bench_exact.h"

enum { BENCH_LOOKS = 7 };

/* What a search of an inverted file finds that looks at so many lists. */
typedef struct bench_look {
    uint32_t lists;
    double recall, recall_mated, ms; /* of the checked probes: top answers as exact FP32 */
} bench_look;

typedef struct search_bench {
    vector_source source;
    size_t probe_count, batch, check_count;
    unsigned threads;
    uint32_t lists;
    uf_index_detail detail;
    const char *detail_name;
    uf_search_options search;
    float threshold; /* NAN: from the strangers' scores */
    uf_index *index;
    uf_searcher *searcher;
    float *probes;
    uint64_t *mates; /* [probe]: the group that it is of */
    uf_hit *answers; /* [probe]: the best */
    double *times;   /* ms of each call */
    size_t run_count;
    double make_s, build_s, train_s, save_s, open_s, exact_s, search_ms;
    long file_bytes;
    long long resident_before, resident; /* bytes of the process */
    uf_index_info info;
    uf_search_work work;
    size_t agreed, agreed_mated, decided_alike, recognised;
    bench_look looks[BENCH_LOOKS]; /* with lists */
    size_t look_count;
} search_bench;

void bench_search_report(search_bench *b, bool as_json);
long long bench_resident_bytes(void); /* 0 where the system does not tell */

#endif
