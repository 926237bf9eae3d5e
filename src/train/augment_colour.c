/*
 * Colours. Pixels are worked on as planes of floats, which the compiler turns into vectors; three
 * interleaved bytes it does not.
 */
#include <string.h>

#include "train/augment.h"

/* Pixels go through words of 32 bits in strips: what remains to be done byte by byte is one load or
 * store a pixel, and the rest is vectors. */
enum { STRIP = 64 };

void ufi_floats_from_rgb(float *restrict r, float *restrict g, float *restrict b,
                         const uint8_t *rgb, size_t count)
{
    uint32_t words[STRIP];
    for (size_t i = 0; i < count; i += STRIP, rgb += 3 * STRIP) {
        const size_t n = count - i < STRIP ? count - i : STRIP;
        for (size_t k = 0; k + 1 < n; k++) /* the last one's fourth byte may not be there */
            memcpy(&words[k], rgb + 3 * k, 4);
        memcpy(&words[n - 1], rgb + 3 * (n - 1), 3);
        for (size_t k = 0; k < n; k++) {
            r[i + k] = (float)(int32_t)(words[k] & 0xFF);
            g[i + k] = (float)(int32_t)(words[k] >> 8 & 0xFF);
            b[i + k] = (float)(int32_t)(words[k] >> 16 & 0xFF);
        }
    }
}

void ufi_planes_from_rgb(ufi_planes *p, const uint8_t *rgb)
{
    ufi_floats_from_rgb(p->c[0], p->c[1], p->c[2], rgb, p->side * p->side);
}

/* 0..255, rounded. */
static inline uint32_t to_byte(float v)
{
    v = v < 0 ? 0 : v;
    return (uint32_t)(int32_t)((v > 255 ? 255 : v) + 0.5f);
}

void ufi_planes_to_rgb(const ufi_planes *p, uint8_t *rgb)
{
    const size_t count = p->side * p->side;
    uint32_t words[STRIP];
    for (size_t i = 0; i < count; i += STRIP, rgb += 3 * STRIP) {
        const size_t n = count - i < STRIP ? count - i : STRIP;
        const float *r = p->c[0] + i, *g = p->c[1] + i, *b = p->c[2] + i;
        for (size_t k = 0; k < n; k++)
            words[k] = to_byte(r[k]) | to_byte(g[k]) << 8 | to_byte(b[k]) << 16;
        for (size_t k = 0; k + 1 < n; k++) /* the next pixel's first byte is written twice */
            memcpy(rgb + 3 * k, &words[k], 4);
        memcpy(rgb + 3 * (n - 1), &words[n - 1], 3);
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
