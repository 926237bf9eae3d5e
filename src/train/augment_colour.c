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

static inline uint8_t to_byte(float v)
{
    v = v < 0 ? 0 : v > 255 ? 255 : v;
    return (uint8_t)(int)(v + 0.5f);
}

void ufi_planes_to_rgb(const ufi_planes *p, uint8_t *rgb)
{
    const size_t count = p->side * p->side;
    const float *r = p->c[0], *g = p->c[1], *b = p->c[2];
    for (size_t i = 0; i < count; i++) {
        rgb[3 * i] = to_byte(r[i]);
        rgb[3 * i + 1] = to_byte(g[i]);
        rgb[3 * i + 2] = to_byte(b[i]);
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
