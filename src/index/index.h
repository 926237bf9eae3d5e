/*
 * The index inside: segments of slots, codes, and what searches share. Floor 5: knows vectors only.
 *
 * Vectors are rotated (rotate.c) to `width` dimensions, a multiple of 64. A slot holds a vector's
 * sketch, 8-bit codes with their step, the factor of the sketch's estimate, key and group. Slots
 * lie in segments, each one block of memory (or a part of a mapped snapshot) with an array per
 * field, so that a scan reads nothing but sketches. The sketch is cut in two planes: a first scan
 * reads plane 0 only, half of the bytes.
 */
#ifndef UFI_INDEX_INDEX_H
#define UFI_INDEX_INDEX_H

#include <stdbool.h>

#include "base/file.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "uniface/index.h"

enum {
    UFI_SEGMENT_SLOTS = 32768, /* at most; slot number = segment * this + place */
    UFI_SEGMENT_BLOCKS = UFI_SEGMENT_SLOTS / UFK_SKETCH_BLOCK,
    UFI_PLANES = 2
};

typedef struct ufi_segment {
    uint8_t *memory; /* all arrays below lie in it */
    size_t memory_bytes;
    bool borrowed;           /* it is part of a mapped snapshot */
    uint32_t capacity, used; /* slots; capacity a multiple of 32; from `used` on nothing was put */
    uint32_t live;
    uint32_t list;              /* of the IVF */
    uint8_t *plane[UFI_PLANES]; /* [block][rows of the plane][32] */
    float *factor;              /* 1 / sum of the sizes of its coordinates; no search asks for it */
    float *step;                /* vector = step * code; NULL for UF_INDEX_SKETCH */
    int8_t *code;               /* [slot][width]; NULL for UF_INDEX_SKETCH */
    uint8_t *level;             /* [slot][width / 8]: sign of the coordinate times whether it is
                                   large; NULL for UF_INDEX_SKETCH */
    float *vector;              /* [slot][dimension]; UF_INDEX_FLOAT only */
    uint64_t *key, *group;
    uint32_t *mask; /* a bit a slot: it holds a vector; a word a block */
    float step_max; /* of all that were ever put in */
} ufi_segment;

struct uf_index {
    uf_index_options options; /* constant */
    const ufk_table *kernels;
    uint32_t dimension, width;
    size_t rows[UFI_PLANES]; /* of a block; rows[1] is 0 for narrow vectors */
    ufi_file_map map;        /* of a snapshot that is searched in place */
    ufi_rwlock *lock;        /* protects everything below */
    ufi_segment *segments;
    size_t segment_count, segment_room;
    uint64_t count, mark, epoch; /* epoch: slots were moved (training) */
    uint64_t holes;              /* slots below `used` that are free */
    uint32_t *table;             /* key to slot + 1: open addressing, 0 is free */
    size_t table_size;           /* a power of two */
    size_t table_used;           /* entries with graves */
    uint32_t lists;              /* that exist: 0 before uf_index_train */
    float *centre;               /* [lists][width], unit length */
    uint32_t *tail;              /* [lists, at least 1]: segment + 1 that takes new vectors */
};

/* The next array in `memory`, 64-byte aligned; NULL memory: only counts. */
static inline void *ufi_carve(uint8_t *memory, size_t *at, size_t bytes)
{
    void *p = memory ? memory + *at : NULL;
    *at += (bytes + 63) / 64 * 64;
    return p;
}

/* ---- rotate.c ---- */

uint32_t ufi_index_width(uint32_t dimension);
/* A pseudo-random rotation, the same everywhere: out[width] from in[dimension] times `scale`.
 * `out` may not overlap. */
void ufi_rotate(const uf_index *x, float *out, const float *in, float scale);
/* The sum of squares. */
double ufi_square_sum(const float *v, size_t n);
/* 1 / length, or 0 when the vector has no direction (zero or not finite). */
float ufi_inverse_length(const float *v, size_t n);

/* ---- segment.c ---- */

/* Bytes of a segment's arrays; lays them out in `memory` when it is not NULL. */
size_t ufi_segment_layout(const uf_index *x, ufi_segment *s, uint8_t *memory);
/* A segment whose arrays lie in `memory`, which somebody else owns. */
uf_status ufi_segment_adopt(uf_index *x, uint32_t capacity, uint32_t list, uint8_t *memory,
                            uf_error *err);
/* An empty segment of `capacity` slots at the end of the array; it becomes its list's tail. */
uf_status ufi_segment_append(uf_index *x, uint32_t capacity, uint32_t list, uf_error *err);
void ufi_segment_release(ufi_segment *s);
/* Puts sketch, codes and factors of the rotated vector r into a slot. `vector`: unit length, for
 * UF_INDEX_FLOAT. */
void ufi_segment_put(const uf_index *x, ufi_segment *s, uint32_t place, const float *rotated,
                     const float *vector);
/* Copies a slot between segments of one index. */
void ufi_segment_copy(const uf_index *x, ufi_segment *to, uint32_t to_place,
                      const ufi_segment *from, uint32_t from_place);
/* Overwrites a slot with zeros. */
void ufi_segment_erase(const uf_index *x, ufi_segment *s, uint32_t place);
static inline bool ufi_segment_holds(const ufi_segment *s, uint32_t place)
{
    return (s->mask[place / 32] >> (place % 32)) & 1;
}

/* ---- index.c: under the writer's lock ---- */

uf_status ufi_index_new(uf_index **out, const uf_index_options *options, uf_error *err);
/* The same without asking for `fetch`: an index for its layout. */
uf_status ufi_index_new_any(uf_index **out, const uf_index_options *options, uf_error *err);
/* A slot for a new vector of a list: an old one that is free, or a new one. */
uf_status ufi_index_slot(uf_index *x, uint32_t list, uint32_t *slot, uf_error *err);
/* Enters all keys of all segments into the table anew. */
uf_status ufi_index_rehash(uf_index *x, uf_error *err);
bool ufi_index_find(const uf_index *x, uint64_t key, uint32_t *slot);

/* ---- train.c ---- */

/* The list whose centre is nearest to a rotated vector; 0 without lists. */
uint32_t ufi_index_nearest_list(const uf_index *x, const float *rotated);

/* ---- snapshot_read.c ---- */

/* As uf_index_open, from memory, which a plain snapshot stays in and may change. */
uf_status ufi_snapshot_open(uf_index **out, const uint8_t *data, size_t size, const uint8_t *secret,
                            const uf_index_options *options, uf_error *err);

/* ---- probe.c: a probe made ready ---- */

typedef struct ufi_probe {
    float *vector;  /* [dimension], unit length */
    float *rotated; /* [width] */
    int8_t *code;   /* [width] */
    float step;
    uint8_t *tables; /* of plane 0, of plane 1: as ufk_sketch_args wants them */
    uint64_t *bits;  /* [4][width / 64]: coordinate = half_step * sum of +-2^b */
    float half_step;
    float unit; /* sum of +-probe = unit * sum of table values - offset[plane] */
    float offset[UFI_PLANES];
    float square[UFI_PLANES]; /* share of the squared length in the plane */
} ufi_probe;

/* Bytes of scratch for a probe's arrays; lays them out when memory is not NULL. */
size_t ufi_probe_layout(const uf_index *x, ufi_probe *p, uint8_t *memory);
/* `vector` [dimension] is brought to unit length first; false: it has no direction. */
bool ufi_probe_make(const uf_index *x, ufi_probe *p, const float *vector);

/* z of the standard normal distribution: P(X > z) = p, for 0 < p < 0.5. */
double ufi_normal_tail(double p);

#endif
