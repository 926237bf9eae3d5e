/*
 * Packs INT8 weights for AVX2, as they come or in an order of k in which more sums fit 16 bits
 * (qpanel_avx2.h).
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
    size_t count, sorted, group_bytes;
    bool ordered;
    uint16_t *places; /* where the next group goes */
    int8_t *weights;
} slice;

/* ---- pairs of a block ---- */

/* The largest of 16 numbers of 16 bits. */
static uint16_t largest(__m256i v)
{
    const __m128i most = _mm_max_epu16(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i smallest = _mm_minpos_epu16(_mm_xor_si128(most, _mm_set1_epi16(-1)));
    return (uint16_t)~_mm_extract_epi16(smallest, 0);
}

/* A positive and a negative weight do not make up for each other. */
static uint16_t pair_size(__m256i a, __m256i b)
{
    const __m256i each = _mm256_max_epi16(_mm256_abs_epi16(a), _mm256_abs_epi16(b));
    return largest(_mm256_max_epi16(each, _mm256_abs_epi16(_mm256_add_epi16(a, b))));
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

/* Pairs of the first `count` k of a block, an even number. */
static void choose_pairs(pair pairs[PAIRS], const __m256i w[UFK_QBLOCK], size_t count)
{
    uint16_t sizes[UFK_QBLOCK];
    uint32_t left = (1u << count) - 1;
    for (size_t k = 0; k < count; k++)
        sizes[k] = largest(_mm256_abs_epi16(w[k]));
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
        pairs[p] = best;
    }
}

static pair make_pair(const __m256i w[UFK_QBLOCK], uint8_t first, uint8_t second)
{
    return (pair){first, second, pair_size(w[first], w[second])};
}

static uint16_t larger(pair a, pair b)
{
    return a.size > b.size ? a.size : b.size;
}

/* Whoever chooses last has no choice. A pair that does not fit changes partners with one of the
 * others if then the larger of the two is smaller. */
static void exchange_partners(pair pairs[PAIRS], const __m256i w[UFK_QBLOCK], size_t count)
{
    for (size_t p = 0; p < count / 2; p++)
        for (size_t q = 0; q < count / 2 && pairs[p].size > MOST; q++)
            for (int way = 0; way < 2 && q != p; way++) {
                const pair a = pairs[p], b = pairs[q];
                const pair one = make_pair(w, a.first, way ? b.first : b.second);
                const pair two = make_pair(w, a.second, way ? b.second : b.first);
                if (larger(one, two) >= larger(a, b))
                    continue;
                pairs[p] = one;
                pairs[q] = two;
            }
}

/* Those of the largest size first. */
static void find_pairs(pair pairs[PAIRS], const __m256i w[UFK_QBLOCK], size_t count)
{
    choose_pairs(pairs, w, count);
    exchange_partners(pairs, w, count);
    for (size_t p = 1; p < count / 2; p++) {
        const pair moved = pairs[p];
        size_t at = p;
        for (; at > 0 && pairs[at - 1].size < moved.size; at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = moved;
    }
}

/* ---- groups of a slice ---- */

/* The weights of a pair, as half `p` of a group; returns how large they are all together. */
static uint32_t put_pair(group *g, size_t p, __m256i first, __m256i second)
{
    int16_t a[UFK_QPANEL], b[UFK_QPANEL];
    uint32_t size = 0;
    _mm256_storeu_si256((__m256i *)(void *)a, first);
    _mm256_storeu_si256((__m256i *)(void *)b, second);
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

/* The groups of a block of `count` k, a multiple of 8, and its order. */
static void add_block(slice *s, uint8_t *order, const __m256i w[UFK_QBLOCK], size_t count,
                      size_t block)
{
    pair pairs[PAIRS];
    if (s->ordered)
        find_pairs(pairs, w, count);
    else
        for (uint8_t p = 0; p < count / 2; p++)
            pairs[p] = make_pair(w, 2 * p, 2 * p + 1);
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
            s->order[s->sorted++] = size / 32 << 16 | (uint32_t)s->count;
        s->count++;
    }
}

static void place(slice *s, group *g)
{
    g->placed = true;
    *s->places++ = g->place;
    memcpy(s->weights, g->weights, s->group_bytes);
    s->weights += s->group_bytes;
}

static int larger_first(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

static __m256i excess_of(const uint8_t a[LANES], const uint8_t b[LANES])
{
    const __m256i sums = _mm256_adds_epu8(_mm256_loadu_si256((const __m256i *)(const void *)a),
                                          _mm256_loadu_si256((const __m256i *)(const void *)b));
    return _mm256_subs_epu8(sums, _mm256_set1_epi8((char)MOST));
}

static bool fit_together(const group *a, const group *b)
{
    const __m256i excess =
        _mm256_or_si256(excess_of(a->plus, b->plus), excess_of(a->minus, b->minus));
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

static void place_two(slice *s, group *a, group *b, ufk_qslice_head *head)
{
    place(s, a);
    place(s, b);
    head->doubles++;
}

/* Neighbours, which fit where the quantiser saw to it. */
static void place_neighbours(slice *s, ufk_qslice_head *head)
{

    for (size_t i = 0; i + 1 < s->sorted;) {
        const size_t first = s->order[i] & 0xFFFF, second = s->order[i + 1] & 0xFFFF;
        group *a = &s->groups[first], *b = &s->groups[second];
        const bool both = first % 2 == 0 && second == first + 1 && fit_together(a, b);
        if (both)
            place_two(s, a, b, head);
        i += both ? 2 : 1;
    }
    head->plain = 2 * head->doubles == s->count;
}

static void place_all(slice *s, ufk_qslice_head *head)
{
    if (!s->ordered)
        place_neighbours(s, head);
    qsort(s->order, s->sorted, sizeof s->order[0], larger_first);
    for (size_t i = 0; i < s->sorted; i++) {
        group *g = &s->groups[s->order[i] & 0xFFFF];
        group *partner = g->placed ? NULL : find_partner(s, i);
        if (partner)
            place_two(s, g, partner, head);
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

static __m256i load_row(const int8_t *b, size_t columns)
{
    int8_t row[UFK_QPANEL] = {0};
    memcpy(row, b, columns);
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)row));
}

static ufk_qslice_head pack_in(int8_t *out, const int8_t *b, size_t n, size_t k, size_t columns,
                               bool ordered)
{
    slice s;
    ufk_qslice_head head = {.ordered = ordered};
    s.ordered = ordered;
    s.count = s.sorted = 0;
    s.group_bytes = ufk_qvectors(columns) * UFK_QVECTOR * UFK_QGROUP;
    s.weights = out + ufk_qweights_at(k);
    s.places = (uint16_t *)(void *)(out + ufk_qplaces_at(k));
    for (size_t block = 0; block < ufk_qblocks(k); block++) {
        const size_t first = block * UFK_QBLOCK, left = k - first;
        const size_t count = left < UFK_QBLOCK ? left : UFK_QBLOCK;
        __m256i w[UFK_QBLOCK];
        for (size_t i = 0; i < UFK_QBLOCK; i++)
            w[i] = i < count ? load_row(b + (first + i) * n, columns) : _mm256_setzero_si256();
        add_block(&s, (uint8_t *)out + sizeof head + first, w, ufk_qgroups(count) * UFK_QGROUP,
                  block);
    }
    place_all(&s, &head);
    memcpy(out, &head, sizeof head);
    return head;
}

/* About the cycles of a tile. */
static size_t cost(ufk_qslice_head head)
{
    const size_t groups = 2 * head.doubles + head.singles + head.wides;
    return 12 * head.doubles + 8 * head.singles + 18 * head.wides + (head.ordered ? groups : 0);
}

static void pack_slice(int8_t *out, const int8_t *b, size_t n, size_t k, size_t columns, bool deep)
{
    if (deep) {
        pack_in(out, b, n, k, columns, true);
        return;
    }
    const ufk_qslice_head plain = pack_in(out, b, n, k, columns, false);
    if (plain.plain)
        return;
    if (cost(pack_in(out, b, n, k, columns, true)) >= cost(plain))
        pack_in(out, b, n, k, columns, false);
}

void ufk_qpanel_pack_avx2(int8_t *out, const int8_t *b, size_t n, size_t k, size_t columns)
{
    const size_t vectors = ufk_qvectors(columns);
    const bool deep = k > UFK_QTILE_K;
    memset(out, 0, ufk_qpanel_column_bytes(k) * vectors * UFK_QVECTOR);
    for (size_t c = 0; c < columns; c++) {
        int32_t sum = 0;
        for (size_t i = 0; i < k; i++)
            sum += b[i * n + c];
        memcpy(out + c * sizeof sum, &sum, sizeof sum);
    }
    out += UFK_QSUM_BYTES;
    while (k) {
        const size_t now = k < UFK_QSLICE ? k : UFK_QSLICE;
        pack_slice(out, b, n, now, columns, deep);
        out += ufk_qslice_bytes(now, vectors);
        b += now * n;
        k -= now;
    }
}
