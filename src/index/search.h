/*
 * A search inside. The read lock is held but while exact vectors are fetched. Floor 5.
 *
 *   scan     sums of plane 0 for all vectors and all probes of a batch; the best by estimate
 *            (leaders) are scored by their codes: the k-th of them is the floor, below which
 *            nothing is of interest
 *   refine   probes for which many may still reach the floor: both planes, better leaders
 *   collect  those whose estimate may reach the floor, by their signs and then by a second bit a
 *            coordinate, scored by their codes: candidates
 *   many     instead of all that, for a crowd of probes where the processor can: all codes
 *   exact    candidates which the codes cannot tell apart, by their vectors
 */
#ifndef UFI_INDEX_SEARCH_H
#define UFI_INDEX_SEARCH_H

#include "index/index.h"

enum {
    UFI_SEARCH_PROBES = 64, /* at once */
    UFI_SEARCH_TILE = 64,   /* blocks that stay in the cache while the probes pass */
    UFI_SEARCH_CODES = 128, /* codes scored in one call */
    UFI_SEARCH_MANY = 12    /* probes from which on scanning all codes pays, where it can */
};

typedef struct ufi_candidate {
    uint64_t key, group;
    float score, slack; /* the true score lies within */
    uint32_t slot;
} ufi_candidate;

/* A growing array of slots or candidates; a failure sticks. */
typedef struct ufi_slots {
    uint32_t *slot;
    size_t count, room;
    bool failed;
} ufi_slots;
typedef struct ufi_candidates {
    ufi_candidate *item;
    size_t count, room;
    bool failed;
} ufi_candidates;

/* The `wanted` largest sums so far: sum << 32 | slot, not in order. */
typedef struct ufi_leaders {
    uint64_t *entry; /* [2 * wanted] */
    size_t count, wanted;
    uint32_t least; /* sums up to this are not wanted */
} ufi_leaders;

/* The k best groups by the lower bounds of their scores. */
typedef struct ufi_top {
    uint64_t *group;
    float *score;
    size_t count, wanted;
} ufi_top;

typedef struct ufi_search_worker {
    uint16_t *sums; /* [UFK_SKETCH_PROBES][UFI_SEARCH_TILE * 32] */
    ufk_near *near; /* [UFK_DOT_CODES * UFK_DOT_PROBES]; NULL where that does not pay */
    ufi_leaders leaders[UFI_SEARCH_PROBES];
    uint32_t pending[UFI_SEARCH_CODES];  /* slots that pass by their signs */
    float pending_sum[UFI_SEARCH_CODES]; /* sum of sign(o_i) q_i */
    size_t pending_count;
    ufi_slots slots;
    ufi_candidates candidates;
    uf_search_work work;
} ufi_search_worker;

/* A segment that the search looks at; `first` is its first block among all of them. */
typedef struct ufi_piece {
    uint32_t segment;
    uint32_t blocks;
    size_t first;
} ufi_piece;

struct uf_searcher {
    uf_index *x;
    ufi_pool *pool;
    ufi_search_worker *workers;
    char kernels[96];
    uint64_t *leader_memory;

    ufi_piece *pieces;
    size_t piece_count, piece_room, block_count;
    size_t sums_room, maxima_room, allowed_room;
    uint16_t *sums;    /* [blocks][32], of one probe */
    uint16_t *maxima;  /* [probes][blocks] */
    uint32_t *allowed; /* [blocks], when there is a filter */
    bool filtered;

    uint8_t *probe_memory;
    size_t probe_bytes;
    int8_t *packed; /* the batch's codes together; in probe_memory */
    ufi_probe probes[UFI_SEARCH_PROBES];
    size_t probe_count; /* of the batch */

    /* Of the call and of the probe that is worked on. */
    uf_search_options options;
    double z;      /* how many standard deviations count as impossible */
    size_t at;     /* the probe */
    bool has_sums; /* `sums` are the probe's: one plane, or both when `full` */
    bool full;     /* `maxima` are of both planes */
    float floor;
    float floors[UFI_SEARCH_PROBES]; /* of the batch, so far */
    bool refined[UFI_SEARCH_PROBES]; /* plane 1 was read too */
    ufi_top top;
    ufi_candidates candidates; /* of all workers */
    float *exact;              /* [UFI_SEARCH_CODES][dimension] */
    uint64_t *exact_keys;
};

/* ---- scan.c ---- */

/* Sums of plane 0 for all probes of the batch, and their leaders. */
void ufi_search_scan(uf_searcher *s);
/* Sums of both planes for the probes marked `refined`, and their leaders. Of a single probe only
 * in the blocks that may reach the floor. */
void ufi_search_refine(uf_searcher *s);
/* The slots that may reach the floor, into the workers' lists. */
void ufi_search_collect(uf_searcher *s);
/* Blocks that hold such slots. */
size_t ufi_search_blocks_left(const uf_searcher *s);
/* All slots that the filter lets through, into the workers' lists. */
void ufi_search_collect_all(uf_searcher *s);
/* The leaders of all workers become slots of worker 0's list. */
void ufi_search_take_leaders(uf_searcher *s);
void ufi_search_clear_leaders(uf_searcher *s, size_t probe);
/* Scores the workers' lists by their codes: candidates that may reach the floor, which rises. */
void ufi_search_score(uf_searcher *s);

/* ---- many.c ---- */

bool ufi_search_many_pays(const uf_searcher *s);
/* Leaders of all probes of the batch, by codes. */
void ufi_search_scan_many(uf_searcher *s);
/* Whether nobody but the probe's leaders, which were scored, can be an answer. */
bool ufi_search_leaders_suffice(const uf_searcher *s);

/* ---- lists.c ---- */

void ufi_slots_push(ufi_slots *l, uint32_t slot);
void ufi_candidates_push(ufi_candidates *l, const ufi_candidate *c);
void ufi_leaders_offer(ufi_leaders *l, uint32_t sum, uint32_t slot);
/* The score of the last of the `wanted` groups; -INFINITY while there are fewer. */
float ufi_top_floor(const ufi_top *t);
void ufi_top_offer(ufi_top *t, uint64_t group, float score);

/* ---- exact.c ---- */

/* Gives candidates their exact scores as far as that matters, and writes the best. May let go of
 * the lock for a while when vectors are fetched. */
uf_status ufi_search_finish(uf_searcher *s, uf_hit *hits, uint32_t *count, uf_search_work *work,
                            uf_error *err);
/* UF_INDEX_SKETCH: scores the workers' lists by their vectors, with the lock released meanwhile. */
uf_status ufi_search_score_exact(uf_searcher *s, uf_search_work *work, uf_error *err);

#endif
