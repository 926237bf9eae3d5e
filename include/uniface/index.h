/*
 * uniface/index.h - search among millions of vectors by cosine; no faces, no files needed.
 *
 * An index holds vectors of one dimension, brought to unit length. Each bears a key of its own and
 * a group: vectors of one group (the pictures of one person) are one answer. A search looks at a
 * binary sketch of every vector first (one bit per dimension after a random rotation; the
 * estimator is RaBitQ's: Gao and Long, SIGMOD 2024), then at 8-bit codes of those that may still
 * be among the first k, then at exact vectors where those cannot tell. What is passed over could
 * only belong among the answers with the probability `miss_rate`.
 *
 * uf_index is *locked*: searches of several threads run side by side, changes wait for them and
 * they for changes. uf_searcher is *confined*: one thread at a time; make one per thread.
 * Since 0.3.
 */
#ifndef UNIFACE_INDEX_H
#define UNIFACE_INDEX_H

#include "uniface/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uf_index uf_index;
typedef struct uf_searcher uf_searcher;

enum {
    UF_INDEX_MIN_DIMENSION = 8,
    UF_INDEX_MAX_DIMENSION = 4096,
    UF_INDEX_MAX_HITS = 1000,
    UF_INDEX_KEY_BYTES = 32
};

/* What an index keeps in memory of a vector of d dimensions, besides key and group. */
typedef enum uf_index_detail {
    UF_INDEX_SKETCH = 0, /* d / 8 bytes; every search asks `fetch` for its best candidates: a few
                            with a min_score near the scores of mates, a tenth of all without */
    UF_INDEX_INT8 = 1,   /* and d bytes of 8-bit codes (the default) */
    UF_INDEX_FLOAT = 2   /* and the vector itself, 4 d bytes: exact without `fetch` */
} uf_index_detail;

/* Gives the exact vectors of `count` keys: vectors[i * dimension ...], unit length. A key that is
 * gone meanwhile gets zeros. Called by searches, of several threads at once. */
typedef uf_status uf_index_fetch_fn(void *user, const uint64_t *keys, size_t count, float *vectors,
                                    uf_error *err);

typedef struct uf_index_options {
    uint32_t dimension;     /* UF_INDEX_MIN_DIMENSION..UF_INDEX_MAX_DIMENSION */
    uf_index_detail detail; /* of a file that is opened: at most what was saved */
    /* Exact vectors from elsewhere, or NULL. Without it, and without UF_INDEX_FLOAT, scores are
     * those of the 8-bit codes (off by about 0.0007), and two answers closer than that may change
     * places. UF_INDEX_SKETCH needs it. */
    uf_index_fetch_fn *fetch;
    void *fetch_user;
    /* Lists of an inverted file (IVF) over the same codes, for tens of millions: 0 (default) looks
     * at all vectors; else 16..65536, and a search looks at uf_search_options.lists of them. The
     * lists are made by uf_index_train. */
    uint32_t lists;
} uf_index_options;
#define UF_INDEX_OPTIONS_INIT           \
    {                                   \
        0, UF_INDEX_INT8, NULL, NULL, 0 \
    }

/* An empty index. Errors: UF_E_ARG, UF_E_NOMEM. */
UF_API uf_status uf_index_create(uf_index **out, const uf_index_options *options, uf_error *err);
/* NULL is accepted. Searchers must be destroyed first. What was in memory is overwritten. */
UF_API void uf_index_destroy(uf_index *x);

/* Adds `count` vectors [count][dimension]; they are brought to unit length. All or none. Errors:
 * UF_E_ARG for a vector without direction (zero, not finite) or a key that is there, with its
 * number; UF_E_NOMEM; UF_E_LIMIT beyond 2^31 vectors. */
UF_API uf_status uf_index_add(uf_index *x, const uint64_t *keys, const uint64_t *groups,
                              const float *vectors, size_t count, uf_error *err);
/* Removes vectors and overwrites what was kept of them; keys that are not there are passed over.
 * *removed (may be NULL) is the number found. */
UF_API uf_status uf_index_remove(uf_index *x, const uint64_t *keys, size_t count, size_t *removed,
                                 uf_error *err);
/* Makes the lists of an IVF from what is in the index (k-means; at least 30 vectors a list), and
 * sorts the vectors into them. `threads` 0: all cores. */
UF_API uf_status uf_index_train(uf_index *x, uint32_t threads, uf_error *err);

typedef struct uf_index_info {
    uint32_t dimension, lists;
    uf_index_detail detail;
    uint64_t count;        /* vectors to be found */
    uint64_t memory_bytes; /* all that it keeps in memory, mapped files counted */
    uint64_t mark;         /* uf_index_set_mark */
} uf_index_info;
UF_API uf_index_info uf_index_describe(uf_index *x);
/* A number of the caller's, saved and loaded with the index: say, the last change of a database
 * that the index has seen. */
UF_API void uf_index_set_mark(uf_index *x, uint64_t mark);
/* 1 when the key is there. */
UF_API int32_t uf_index_contains(uf_index *x, uint64_t key);

/* ---- snapshots (docs/formats/ufx.md) ---- */

/* Writes the index: whole or not at all. With `secret` (UF_INDEX_KEY_BYTES) everything but the
 * header is sealed by XChaCha20-Poly1305; without, it is plain and can be searched from the mapped
 * file. Errors: UF_E_IO, UF_E_NOMEM, UF_E_UNSUPPORTED for a secret in a build without libsodium. */
UF_API uf_status uf_index_save(uf_index *x, const char *path, const uint8_t *secret, uf_error *err);
/* Opens a snapshot. `options` may be NULL; its dimension is 0 or must agree. The file is not needed
 * afterwards, when sealed; a plain one stays mapped and must not be cut short. Every byte that
 * is read is covered by a digest: UF_E_FORMAT says what is damaged (rebuild the index then),
 * UF_E_MISMATCH that the secret is the wrong one or missing. */
UF_API uf_status uf_index_open(uf_index **out, const char *path, const uint8_t *secret,
                               const uf_index_options *options, uf_error *err);
/* Overwrites vectors in a snapshot that is open nowhere, in place and durably, so that nothing of
 * them is left in the file. *removed may be NULL. A failure in between damages the snapshot, which
 * the next opening notices. */
UF_API uf_status uf_index_file_remove(const char *path, const uint8_t *secret, const uint64_t *keys,
                                      size_t count, size_t *removed, uf_error *err);

/* ---- search ---- */

typedef struct uf_search_options {
    uint32_t top_k;   /* groups wanted, 1..UF_INDEX_MAX_HITS; default 1 */
    float min_score;  /* answers below are of no interest; default -1: all are. A threshold here
                         makes probes without a mate as fast as those with one */
    double miss_rate; /* probability that a right answer is passed over; 0: none is (all 8-bit
                         codes are read); default 5e-5 */
    const uint64_t *groups; /* only these, ascending, when not NULL */
    size_t group_count;
    uint32_t lists; /* of an IVF, to look at; 0 (default): a quarter of them */
} uf_search_options;
#define UF_SEARCH_OPTIONS_INIT     \
    {                              \
        1, -1.0f, 5e-5, NULL, 0, 0 \
    }

typedef struct uf_hit {
    uint64_t key, group;
    float score; /* cosine, -1..1 */
} uf_hit;

/* What a search did, summed over its probes. */
typedef struct uf_search_work {
    uint64_t sketches; /* halves of sketches that were read */
    uint64_t codes;    /* by their 8-bit codes */
    uint64_t exact;    /* exactly */
} uf_search_work;

/* `threads` 0: all cores. `x` must outlive the searcher. */
UF_API uf_status uf_searcher_create(uf_searcher **out, uf_index *x, uint32_t threads,
                                    uf_error *err);
UF_API void uf_searcher_destroy(uf_searcher *s);
/* Searches for `count` probes [count][dimension] (any length but zero). hits[i * top_k ...] gets
 * the answers of probe i, best first (equal scores: smaller key first), counts[i] their number.
 * Many probes at once cost less each. `options` and `work` may be NULL. Errors: UF_E_ARG with the
 * number of the probe; those of `fetch`; UF_E_NOMEM. */
UF_API uf_status uf_searcher_run(uf_searcher *s, const float *probes, size_t count,
                                 const uf_search_options *options, uf_hit *hits, uint32_t *counts,
                                 uf_search_work *work, uf_error *err);
/* "sketch_scan_avx2, dot_i8_avx2": the kernels in use. Valid as long as the searcher. */
UF_API const char *uf_searcher_kernels(const uf_searcher *s);

/* ---- grouping ---- */

typedef struct uf_cluster_options {
    float threshold; /* > 0: least mean cosine between the members of two groups that become one */
    uint32_t min_size; /* smaller groups get the label -1; default 1 */
    uint32_t threads;  /* 0: all cores; default 1 */
} uf_cluster_options;
#define UF_CLUSTER_OPTIONS_INIT \
    {                           \
        0.0f, 1, 1              \
    }

/* Groups `count` vectors [count][dimension] (any length but zero) by average linkage: the two
 * groups that are most alike become one as long as the mean cosine over all pairs of their members
 * is `threshold` or more, so that no chain of look-alikes joins strangers. labels[count]: groups
 * are numbered from 0, the largest first, those of one size by their first vector; the same on
 * every run. *groups (may be NULL) is their number. Pairs are found by searches in an index, and
 * memory is about 12 bytes for each number of `vectors`. Errors: UF_E_ARG (with the number of a
 * vector without direction), UF_E_NOMEM. */
UF_API uf_status uf_cluster(const float *vectors, size_t count, uint32_t dimension,
                            const uf_cluster_options *options, int32_t *labels, size_t *groups,
                            uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
