/*
 * Colours. Pixels are worked on as planes of floats, which the compiler turns into vectors; three
 * interleaved bytes it does not.
 */
#include <math.h>

#include "train/augment.h"

void ufi_planes_from_rgb(ufi_planes *p, const uint8_t *rgb)
{
    const size_t count = p->side * p->side;
    float *restrict r = p->c[0], *restrict g = p->c[1], *restrict b = p->c[2];
    for (size_t i = 0; i < count; i++) {
        r[i] = rgb[3 * i];
        g[i] = rgb[3 * i + 1];
        b[i] = rgb[3 * i + 2];
    }
}

/* 0..255 and rounded, still as a float: without a branch. */
static inline float bounded(float v)
{
    v = v < 0 ? 0 : v;
    return (v > 255 ? 255 : v) + 0.5f;
}

void ufi_planes_to_rgb(const ufi_planes *p, uint8_t *rgb)
{
    enum { STRIP = 64 };
    const size_t count = p->side * p->side;
    for (size_t i = 0; i < count; i += STRIP, rgb += 3 * STRIP) {
        const size_t n = count - i < STRIP ? count - i : STRIP;
        uint8_t bytes[3][STRIP];
        for (int c = 0; c < 3; c++) {
            const float *restrict from = p->c[c] + i;
            for (size_t k = 0; k < n; k++)
                bytes[c][k] = (uint8_t)(int)bounded(from[k]);
        }
        for (size_t k = 0; k < n; k++) {
            rgb[3 * k] = bytes[0][k];
            rgb[3 * k + 1] = bytes[1][k];
            rgb[3 * k + 2] = bytes[2][k];
        }
    }
}

void ufi_vary_colours(ufi_planes *p, const ufi_variation *v)
{
    const size_t count = p->side * p->side;
    float *restrict r = p->c[0], *restrict g = p->c[1], *restrict b = p->c[2];
    const float *m = v->matrix, offset = v->offset;
    for (size_t i = 0; i < count; i++) {
        const float x = r[i], y = g[i], z = b[i];
        r[i] = m[0] * x + m[1] * y + m[2] * z + offset;
        g[i] = m[3] * x + m[4] * y + m[5] * z + offset;
        b[i] = m[6] * x + m[7] * y + m[8] * z + offset;
    }
}
