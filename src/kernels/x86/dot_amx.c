/*
 * Inner products of 64 probes with many 8-bit codes on AMX: blocks of 32 codes x 32 probes in four
 * tiles of sums. Codes are read where they lie, once for all probes, so that a search among
 * millions runs at the speed of the memory: all the while those of the next call are fetched.
 */
#include "kernels/topics.h"
#include "kernels/x86/amx.h"
#include "kernels/x86/inline.h"

enum {
    TILE = UFK_TILE_ROWS,
    ROW_BYTES = UFK_TILE_ROW_BYTES,
    BLOCK_CODES = 2 * TILE,
    BLOCK_PROBES = 2 * TILE
};

/* Tiles: sums of code tile c and probe tile p are 2 c + p. */
#define CODES_0 4
#define CODES_1 5
#define PROBES_0 6
#define PROBES_1 7

#define GROUP_BYTES ((size_t)UFK_DOT_PROBES * 4) /* four k of all probes */

static void load_config(void)
{
    ufk_tile_config c = {.palette = 1};
    for (int t = 0; t < UFK_TILES; t++) {
        c.rows[t] = TILE;
        c.row_bytes[t] = ROW_BYTES;
    }
    ufk_load_tile_config(&c);
}

/* Sums of 32 codes with the 32 probes that begin at `probes`, in the tiles. Of the codes that lie a
 * call further on every other one, from number `odd` on, is fetched meanwhile. */
ALWAYS_INLINE void multiply(const int8_t *codes, const int8_t *probes, size_t n, size_t odd)
{
    const int8_t *ahead = codes + UFK_DOT_CODES * n;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t k = 0; k < n; k += ROW_BYTES) {
        const int8_t *p = probes + k / 4 * GROUP_BYTES;
        _tile_loadd(PROBES_0, p, GROUP_BYTES);
        _tile_loadd(CODES_0, codes + k, n);
        _tile_dpbssd(0, CODES_0, PROBES_0);
        _tile_loadd(PROBES_1, p + TILE * 4, GROUP_BYTES);
        _tile_dpbssd(1, CODES_0, PROBES_1);
        _tile_loadd(CODES_1, codes + TILE * n + k, n);
        _tile_dpbssd(2, CODES_1, PROBES_0);
        _tile_dpbssd(3, CODES_1, PROBES_1);
        for (size_t r = odd; r < BLOCK_CODES; r += 2)
            _mm_prefetch(ahead + r * n + k, _MM_HINT_T1);
    }
}

ALWAYS_INLINE void store_sums(int32_t *sums)
{
    const size_t stride = BLOCK_PROBES * sizeof *sums;
    _tile_stored(0, sums, stride);
    _tile_stored(1, sums + TILE, stride);
    _tile_stored(2, sums + TILE * BLOCK_PROBES, stride);
    _tile_stored(3, sums + TILE * BLOCK_PROBES + TILE, stride);
}

/* The pairs of 32 codes and 32 probes that are near enough; their first ones are named. */
static size_t take_near(ufk_near *out, const int32_t *sums, const float *steps, uint32_t code,
                        uint32_t probe, const float *bounds)
{
    const __m512 bound[2] = {_mm512_loadu_ps(bounds), _mm512_loadu_ps(bounds + TILE)};
    size_t count = 0;
    for (uint32_t c = 0; c < BLOCK_CODES; c++, sums += BLOCK_PROBES) {
        const __m512 step = _mm512_set1_ps(steps[c]);
        __mmask16 mask[2];
        UNROLL
        for (int h = 0; h < 2; h++) {
            const __m512 sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums + h * TILE));
            mask[h] = _mm512_cmp_ps_mask(_mm512_mul_ps(sum, step), bound[h], _CMP_GE_OQ);
        }
        for (uint32_t near = _mm512_kunpackw(mask[1], mask[0]); near; near &= near - 1) {
            const uint32_t i = (uint32_t)__builtin_ctz(near);
            out[count++] = (ufk_near){code + c, probe + i, sums[i]};
        }
    }
    return count;
}

/* All codes with 32 probes. What was multiplied is looked at behind the next multiplications, so
 * that the processor can do both at once. */
ALWAYS_INLINE size_t walk(const ufk_dot_many_args *a, uint32_t probe, ufk_near *out)
{
    _Alignas(64) int32_t sums[BLOCK_CODES * BLOCK_PROBES];
    const float *bounds = a->bounds + probe;
    size_t count = 0;
    for (uint32_t c = 0; c < a->count; c += BLOCK_CODES) {
        multiply(a->codes + c * a->n, a->probes + probe * 4, a->n, probe > 0);
        if (c > 0)
            count += take_near(out + count, sums, a->steps + c - BLOCK_CODES, c - BLOCK_CODES,
                               probe, bounds);
        store_sums(sums);
    }
    const uint32_t last = (uint32_t)a->count - BLOCK_CODES;
    return count + take_near(out + count, sums, a->steps + last, last, probe, bounds);
}

/* Half of the probes stays in the first-level cache, and all of the codes in the second. */
static size_t ufk_dot_many_i8_amx(const ufk_dot_many_args *a)
{
    if (a->count == 0)
        return 0;
    load_config();
    size_t count = walk(a, 0, a->out);
    count += walk(a, BLOCK_PROBES, a->out + count);
    _tile_release();
    return count;
}

void ufk_dot_select_amx(ufk_table *t)
{
    t->dot_many_i8 = ufk_dot_many_i8_amx;
    t->dot_many_pays = true;
    t->dot_many_name = "dot_many_i8_amx";
}
