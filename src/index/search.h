/*
 * A search inside. The read lock is held but while exact vectors are fetched. Floor 5.
 *
 *   scan     sums of plane 0 for all vectors and all probes of a batch; the best by estimate
 *            (leaders) are scored by their codes: the k-th of them is the floor, below which
 *            nothing is of interest
 *   deep     blocks that may still reach the floor, by both planes; of their vectors those that
 *            may, by a second bit a coordinate and then by their codes: candidates. The floor
 *            rises meanwhile.
 *   many     instead of both, for a crowd of probes where the processor can: all codes
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
    uint64_t *entry; /* sum << 32 | slot; 0 where no sketch was asked */
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

/* What a worker found for a probe. */
typedef struct ufi_found {
    ufi_slots slots; /* not yet scored */
    ufi_candidates candidates;
    ufi_top top;
    float floor;
} ufi_found;

/* Vectors of a segment that pass by their signs. Their second bits are on the way to the cache
 * while the next are looked for. */
typedef struct ufi_pending {
    uint32_t *entry; /* [UFI_SEARCH_TILE * 32 + 16]: sum << 16 | place */
    size_t count, probe;
    uint32_t segment;
} ufi_pending;

typedef struct ufi_search_worker {
    uint16_t *sums; /* [UFK_SKETCH_PROBES][UFI_SEARCH_TILE * 32] */
    ufk_near *near; /* [UFK_DOT_CODES * UFK_DOT_PROBES]; NULL where that does not pay */
    ufi_leaders leaders[UFI_SEARCH_PROBES];
    ufi_found found[UFI_SEARCH_PROBES];
    uint32_t *pick_memory; /* of the pending entries, and of `differ` */
    ufi_pending pending, next;
    uint32_t *differ; /* [UFI_SEARCH_TILE * 32] */
    uf_search_work work;
} ufi_search_worker;

/* From floors to sums: the least sum of interest is (floor - margin) * scale + offset. */
typedef struct ufi_bounds {
    double margin, scale, offset;
} ufi_bounds;

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
    double z_rate;                    /* the miss rate that the next are for */
    double z_signs, z_level, z_codes; /* how many standard deviations count as impossible */
    ufi_bounds first[UFI_SEARCH_PROBES], full[UFI_SEARCH_PROBES]; /* by plane 0, by both */
    size_t at;                                                    /* the probe */
    size_t deep_first, deep_end;                                  /* probes of the deep stage */
    float floor;
    ufi_top top;
    ufi_candidates candidates; /* of all workers */
    float *exact;              /* [UFI_SEARCH_CODES][dimension] */
    uint64_t *exact_keys;
};

/* ---- scan.c ---- */

/* Makes first and full of all probes. */
void ufi_search_set_bounds(uf_searcher *s);
uint16_t ufi_search_least_sum(const ufi_bounds *b, float floor);
/* Sums of plane 0 for all probes of the batch, and their leaders. */
void ufi_search_scan(uf_searcher *s);
/* What may reach the floors by both planes, into what the workers found: scored by their codes,
 * where there are any. Of probe s->at only, or of all. */
void ufi_search_deep(uf_searcher *s, bool one);
/* All slots that the filter lets through, scored, into what the workers found for s->at. */
void ufi_search_score_all(uf_searcher *s);
void ufi_search_clear_leaders(uf_searcher *s, size_t probe);
/* The leaders of all workers become slots of what worker 0 found for a probe. */
void ufi_search_take_leaders(uf_searcher *s, size_t probe);
/* The same for all probes, and they are scored by their codes; all workers get the floors. */
void ufi_search_score_leaders(uf_searcher *s);
void ufi_search_share_floor(uf_searcher *s, size_t probe);

/* ---- many.c ---- */

bool ufi_search_many_pays(const uf_searcher *s);
/* Leaders of all probes of the batch, by codes. */
void ufi_search_scan_many(uf_searcher *s);
/* Whether nobody but the leaders of s->at, which were scored, can be an answer. */
bool ufi_search_leaders_suffice(const uf_searcher *s);

/* ---- lists.c ---- */

void ufi_slots_push(ufi_slots *l, uint64_t entry);
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
/* UF_INDEX_SKETCH: scores the slots that were found for s->at by their vectors, with the lock
 * released meanwhile. `ranked`: by their sums over both planes, best first, until none can reach
 * the floor. */
uf_status ufi_search_score_exact(uf_searcher *s, bool ranked, uf_search_work *work, uf_error *err);

#endif
