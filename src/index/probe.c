/*
 * A probe made ready. The scan adds, for each vector, the probe's coordinates with the signs of the
 * vector's: sum of sign(o_i) q_i. Four signs at a time are looked up; the 16 sums of four
 * coordinates are brought to 0..31 by one step for the whole probe, which adds an error far below
 * that of the sketch itself.
 */
#include <math.h>
#include <string.h>

#include "index/index.h"

size_t ufi_probe_layout(const uf_index *x, ufi_probe *p, uint8_t *memory)
{
    size_t at = 0;
    p->vector = ufi_carve(memory, &at, x->dimension * sizeof *p->vector);
    p->rotated = ufi_carve(memory, &at, x->width * sizeof *p->rotated);
    p->tables = ufi_carve(memory, &at, (x->rows[0] + x->rows[1]) * 64);
    p->code = ufi_carve(memory, &at, x->width);
    p->bits = ufi_carve(memory, &at, UFK_SKETCH_PROBE_BITS * (x->width / 8));
    return at;
}

static void make_code(const uf_index *x, ufi_probe *p)
{
    float largest = 0;
    for (uint32_t i = 0; i < x->width; i++)
        largest = fmaxf(largest, fabsf(p->rotated[i]));
    p->step = largest / 127;
    for (uint32_t i = 0; i < x->width; i++)
        p->code[i] = (int8_t)lrintf(p->rotated[i] * (127 / largest));
}

/* Coordinates in four bits, each of which adds or takes off its part. */
static void make_bits(const uf_index *x, ufi_probe *p)
{
    const size_t words = x->width / 64;
    p->half_step = p->step * 127 / 15;
    memset(p->bits, 0, UFK_SKETCH_PROBE_BITS * words * sizeof *p->bits);
    for (uint32_t i = 0; i < x->width; i++) {
        const long number = lrintf(p->rotated[i] / (2 * p->half_step) + 7.5f);
        for (unsigned b = 0; b < UFK_SKETCH_PROBE_BITS; b++)
            p->bits[b * words + i / 64] |= (uint64_t)(number >> b & 1) << (i % 64);
    }
}

static float size_of_four(const float *q)
{
    return fabsf(q[0]) + fabsf(q[1]) + fabsf(q[2]) + fabsf(q[3]);
}

/* The sums of +-q[0..3] for all signs, from 0 on, in units; twice. */
static void make_table(uint8_t *table, const float *q, float inverse)
{
    float sum[16] = {size_of_four(q) - q[0] - q[1] - q[2] - q[3]};
    for (int k = 0; k < 4; k++)
        for (int i = 0; i < 1 << k; i++)
            sum[(1 << k) + i] = sum[i] + 2 * q[k];
    for (int i = 0; i < 16; i++) {
        const int level = (int)(sum[i] * inverse + 0.5f);
        table[i] = table[16 + i] = (uint8_t)(level < UFK_SKETCH_LEVEL ? level : UFK_SKETCH_LEVEL);
    }
}

static void make_tables(const uf_index *x, ufi_probe *p)
{
    float largest = 0;
    for (uint32_t i = 0; i < x->width; i += 4)
        largest = fmaxf(largest, size_of_four(p->rotated + i));
    p->unit = 2 * largest / UFK_SKETCH_LEVEL;
    const float inverse = 1 / p->unit;
    const float *q = p->rotated;
    uint8_t *tables = p->tables;
    for (int plane = 0; plane < UFI_PLANES; tables += x->rows[plane++] * 64) {
        p->offset[plane] = 0;
        p->square[plane] = 0;
        for (size_t r = 0; r < 2 * x->rows[plane]; r++, q += 4) {
            p->offset[plane] += size_of_four(q);
            for (int k = 0; k < 4; k++)
                p->square[plane] += q[k] * q[k];
            make_table(tables + ufk_sketch_table(r / 2, r % 2), q, inverse);
        }
    }
}

bool ufi_probe_make(const uf_index *x, ufi_probe *p, const float *vector)
{
    const float scale = ufi_inverse_length(vector, x->dimension);
    if (scale == 0)
        return false;
    for (uint32_t i = 0; i < x->dimension; i++)
        p->vector[i] = vector[i] * scale;
    ufi_rotate(x, p->rotated, vector, scale);
    make_code(x, p);
    make_bits(x, p);
    make_tables(x, p);
    return true;
}

double ufi_normal_tail(double p)
{
    double low = 0, high = 40;
    for (int i = 0; i < 80; i++) {
        const double z = (low + high) / 2;
        if (0.5 * erfc(z / sqrt(2.0)) > p)
            low = z;
        else
            high = z;
    }
    return high;
}
