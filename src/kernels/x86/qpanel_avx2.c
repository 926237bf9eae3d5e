/*
 * Packs INT8 weights for AVX2: finds an order of k in which most sums fit 16 bits (qpanel_avx2.h).
 *
 * Within a block, whoever has the largest weight chooses first: the partner with which the largest
 * sum is smallest. The two pairs with the largest sums become a group, then the next two. Of the
 * groups of a slice again the largest choose first: the largest with which they fit.
 */
#include <immintrin.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/x86/qpanel_avx2.h"

/* 255 times so much fits 16 bits. TRIES: a group looks at so many others. */
enum { MOST = 128, TRIES = 128, PAIRS = UFK_QBLOCK / 2, LANES = UFK_QGROUP_BYTES / 2 };

typedef struct pair {
    uint8_t first, second; /* k of the block */
    uint16_t size;         /* the largest sum of a column, of positive or of negative weights */
} pair;

typedef struct group {
    uint8_t plus[LANES], minus[LANES]; /* what the weights of each pair and column sum to */
    int8_t weights[UFK_QGROUP_BYTES];
    uint16_t place;
    bool placed;
} group;

typedef struct slice {
    group groups[UFK_QSLICE_GROUPS];
    uint32_t order[UFK_QSLICE_GROUPS]; /* groups that are not wide: size, 16 bits of number */
    size_t count, sorted;
    uint16_t *places; /* where the next group goes */
    int8_t *weights;
} slice;

/* ---- pairs of a block ---- */

/* The largest of 8 numbers of 16 bits. */
static uint16_t largest(__m128i v)
{
    const __m128i smallest = _mm_minpos_epu16(_mm_xor_si128(v, _mm_set1_epi16(-1)));
    return (uint16_t)~_mm_extract_epi16(smallest, 0);
}

/* A positive and a negative weight do not make up for each other. */
static uint16_t pair_size(__m128i a, __m128i b)
{
    const __m128i each = _mm_max_epi16(_mm_abs_epi16(a), _mm_abs_epi16(b));
    return largest(_mm_max_epi16(each, _mm_abs_epi16(_mm_add_epi16(a, b))));
}

/* Takes whoever is largest out of `left`. */
static uint8_t take_largest(uint32_t *left, const uint16_t *sizes)
{
    uint32_t first = (uint32_t)__builtin_ctz(*left);
    for (uint32_t rest = *left; rest; rest &= rest - 1) {
        const uint32_t k = (uint32_t)__builtin_ctz(rest);
        first = sizes[k] > sizes[first] ? k : first;
    }
    *left &= ~(1u << first);
    return (uint8_t)first;
}

/* Pairs of the first `count` k of a block, an even number; those of the largest size first. */
static void find_pairs(pair pairs[PAIRS], const __m128i w[UFK_QBLOCK], size_t count)
{
    uint16_t sizes[UFK_QBLOCK];
    uint32_t left = (1u << count) - 1;
    for (size_t k = 0; k < count; k++)
        sizes[k] = largest(_mm_abs_epi16(w[k]));
    for (size_t p = 0; p < count / 2; p++) {
        pair best = {.first = take_largest(&left, sizes), .size = UINT16_MAX};
        for (uint32_t rest = left; rest; rest &= rest - 1) {
            const uint8_t k = (uint8_t)__builtin_ctz(rest);
            const uint16_t size = pair_size(w[best.first], w[k]);
            if (size < best.size) {
                best.size = size;
                best.second = k;
            }
        }
        left &= ~(1u << best.second);
        size_t at = p;
        for (; at > 0 && pairs[at - 1].size < best.size; at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = best;
    }
}

/* ---- groups of a slice ---- */

/* The weights of a pair, as half `p` of a group; returns how large they are all together. */
static uint32_t put_pair(group *g, size_t p, __m128i first, __m128i second)
{
    int16_t a[UFK_QPANEL], b[UFK_QPANEL];
    uint32_t size = 0;
    _mm_storeu_si128((__m128i *)(void *)a, first);
    _mm_storeu_si128((__m128i *)(void *)b, second);
    for (size_t c = 0; c < UFK_QPANEL; c++) {
        const int plus = (a[c] > 0 ? a[c] : 0) + (b[c] > 0 ? b[c] : 0);
        const int minus = plus - a[c] - b[c];
        g->weights[c * UFK_QGROUP + p * 2] = (int8_t)a[c];
        g->weights[c * UFK_QGROUP + p * 2 + 1] = (int8_t)b[c];
        g->plus[c * 2 + p] = (uint8_t)plus;
        g->minus[c * 2 + p] = (uint8_t)minus;
        size += (uint32_t)(plus * plus + minus * minus);
    }
    return size;
}

/* The groups of a block of `count` k, a multiple of 4, and its order. */
static void add_block(slice *s, uint8_t *order, const __m128i w[UFK_QBLOCK], size_t count,
                      size_t block)
{
    pair pairs[PAIRS];
    find_pairs(pairs, w, count);
    memset(order, 0x80, UFK_QBLOCK); /* vpshufb: zero */
    for (size_t i = 0; i < count / UFK_QGROUP; i++) {
        const pair *two = pairs + 2 * i;
        group *g = &s->groups[s->count];
        uint32_t size = 0;
        for (size_t p = 0; p < 2; p++) {
            order[i * UFK_QGROUP + p * 2] = two[p].first;
            order[i * UFK_QGROUP + p * 2 + 1] = two[p].second;
            size += put_pair(g, p, w[two[p].first], w[two[p].second]);
        }
        g->place = (uint16_t)(block * UFK_QBLOCK_GROUPS * UFK_QPIXELS + i);
        g->placed = false;
        if (two[0].size <= MOST && two[1].size <= MOST)
            s->order[s->sorted++] = size / 16 << 16 | (uint32_t)s->count;
        s->count++;
    }
}

static void place(slice *s, group *g)
{
    g->placed = true;
    *s->places++ = g->place;
    memcpy(s->weights, g->weights, sizeof g->weights);
    s->weights += sizeof g->weights;
}

static int larger_first(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

static bool fit_together(const group *a, const group *b)
{
    const __m256i sums =
        _mm256_adds_epu8(_mm256_loadu_si256((const __m256i *)(const void *)a->plus),
                         _mm256_loadu_si256((const __m256i *)(const void *)b->plus));
    const __m256i excess = _mm256_subs_epu8(sums, _mm256_set1_epi8((char)MOST));
    return _mm256_testz_si256(excess, excess);
}

/* The group with which the one at `first` fits, or NULL. */
static group *find_partner(slice *s, size_t first)
{
    const group *g = &s->groups[s->order[first] & 0xFFFF];
    size_t tries = 0;
    for (size_t i = first + 1; i < s->sorted && tries < TRIES; i++) {
        group *other = &s->groups[s->order[i] & 0xFFFF];
        if (other->placed)
            continue;
        if (fit_together(g, other))
            return other;
        tries++;
    }
    return NULL;
}

static void place_all(slice *s, ufk_qslice_head *head)
{
    qsort(s->order, s->sorted, sizeof s->order[0], larger_first);
    for (size_t i = 0; i < s->sorted; i++) {
        group *g = &s->groups[s->order[i] & 0xFFFF];
        group *partner = g->placed ? NULL : find_partner(s, i);
        if (!partner)
            continue;
        place(s, g);
        place(s, partner);
        head->doubles++;
    }
    for (size_t i = 0; i < s->sorted; i++) {
        group *g = &s->groups[s->order[i] & 0xFFFF];
        if (g->placed)
            continue;
        place(s, g);
        head->singles++;
    }
    for (size_t i = 0; i < s->count; i++) {
        if (s->groups[i].placed)
            continue;
        place(s, &s->groups[i]);
        head->wides++;
    }
}

/* ---- the whole ---- */

static __m128i load_row(const int8_t *b, size_t columns)
{
    int8_t row[UFK_QPANEL] = {0};
    memcpy(row, b, columns);
    return _mm_cvtepi8_epi16(_mm_loadl_epi64((const __m128i *)(const void *)row));
}

static void pack_slice(int8_t *out, const int8_t *b, size_t n, size_t k, size_t columns)
{
    slice s;
    ufk_qslice_head head = {0};
    s.count = s.sorted = 0;
    s.weights = out + ufk_qweights_at(k);
    s.places = (uint16_t *)(void *)(out + ufk_qplaces_at(k));
    for (size_t block = 0; block < ufk_qblocks(k); block++) {
        const size_t first = block * UFK_QBLOCK, left = k - first;
        const size_t count = left < UFK_QBLOCK ? left : UFK_QBLOCK;
        __m128i w[UFK_QBLOCK];
        for (size_t i = 0; i < UFK_QBLOCK; i++)
            w[i] = i < count ? load_row(b + (first + i) * n, columns) : _mm_setzero_si128();
        add_block(&s, (uint8_t *)out + sizeof head + first, w, ufk_qgroups(count) * UFK_QGROUP,
                  block);
    }
    place_all(&s, &head);
    memcpy(out, &head, sizeof head);
}

void ufk_qpanel_pack_avx2(int8_t *out, const int8_t *b, size_t n, size_t k, size_t columns)
{
    memset(out, 0, ufk_qpanel_column_bytes(k) * UFK_QPANEL);
    for (size_t c = 0; c < columns; c++) {
        int32_t sum = 0;
        for (size_t i = 0; i < k; i++)
            sum += b[i * n + c];
        memcpy(out + c * sizeof sum, &sum, sizeof sum);
    }
    out += UFK_QSUM_BYTES;
    while (k) {
        const size_t now = k < UFK_QSLICE ? k : UFK_QSLICE;
        pack_slice(out, b, n, now, columns);
        out += ufk_qslice_bytes(now);
        b += now * n;
        k -= now;
    }
}
