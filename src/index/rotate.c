/*
 * The rotation: four rounds of pseudo-random signs and a Walsh-Hadamard transform (fast
 * Johnson-Lindenstrauss, Ailon and Chazelle 2009). Where the width is no power of two, the
 * transform takes the first and the last coordinates by turns; it stays orthogonal. Nothing is
 * stored: the signs come from a fixed generator, so that codes of one machine fit another.
 */
#include <math.h>
#include <string.h>

#include "base/mix.h"
#include "index/index.h"

enum { ROUNDS = 4 };

uint32_t ufi_index_width(uint32_t dimension)
{
    return (dimension + 63) / 64 * 64;
}

/* 64 signs at a time. */
static uint64_t random_word(uint64_t counter)
{
    return ufi_mix((counter + 1) * UFI_MIX_STEP);
}

static void flip_signs(float *v, uint32_t n, uint32_t round)
{
    for (uint32_t i = 0; i < n; i += 64) {
        uint64_t word = random_word((uint64_t)round << 32 | i);
        for (uint32_t k = 0; k < 64; k++, word >>= 1) {
            uint32_t bits;
            memcpy(&bits, v + i + k, sizeof bits);
            bits ^= (uint32_t)(word & 1) << 31;
            memcpy(v + i + k, &bits, sizeof bits);
        }
    }
}

static void hadamard(float *v, uint32_t n)
{
    for (uint32_t half = 1; half < n; half *= 2) {
        for (uint32_t i = 0; i < n; i += 2 * half) {
            float *restrict a = v + i, *restrict b = v + i + half;
            for (uint32_t k = 0; k < half; k++) {
                const float x = a[k], y = b[k];
                a[k] = x + y;
                b[k] = x - y;
            }
        }
    }
    const float scale = 1.0f / sqrtf((float)n);
    for (uint32_t i = 0; i < n; i++)
        v[i] *= scale;
}

void ufi_rotate(const uf_index *x, float *out, const float *in, float scale)
{
    const uint32_t width = x->width;
    uint32_t power = 64;
    while (power * 2 <= width)
        power *= 2;
    for (uint32_t i = 0; i < x->dimension; i++)
        out[i] = in[i] * scale;
    memset(out + x->dimension, 0, (width - x->dimension) * sizeof *out);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        flip_signs(out, width, round);
        hadamard(round % 2 ? out + width - power : out, power);
    }
}

double ufi_square_sum(const float *v, size_t n)
{
    double sum[4] = {0};
    for (size_t i = 0; i < n; i++)
        sum[i % 4] += (double)v[i] * (double)v[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

float ufi_inverse_length(const float *v, size_t n)
{
    const double square = ufi_square_sum(v, n);
    if (!isfinite(square) || square < 1e-30)
        return 0;
    return (float)(1.0 / sqrt(square));
}
