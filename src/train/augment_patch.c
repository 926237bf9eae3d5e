/* A patch before the face: of one colour, of noise, or of another picture. */
#include <math.h>

#include "train/augment.h"

/* 0..255, the same for a whole cell. */
static float cell_value(uint64_t key, float u, float w, float cell, uint64_t channel)
{
    const uint64_t column = (uint64_t)(int64_t)floorf(u / cell);
    const uint64_t row = (uint64_t)(int64_t)floorf(w / cell);
    return (float)(ufi_key(ufi_key(key, column), row * 4 + channel) >> 56);
}

static void fill_pixel(float to[3], const ufi_patch *patch, float u, float w,
                       const uint8_t *picture)
{
    const float across = u < -1 ? 0 : u > 1 ? 1 : (u + 1) / 2;
    for (int c = 0; c < 3; c++) {
        if (patch->fill == UFI_PATCH_PICTURE)
            to[c] = picture[c];
        else if (patch->fill == UFI_PATCH_NOISE)
            to[c] = cell_value(patch->key, u * patch->half_width, w * patch->half_height,
                               patch->cell, (uint64_t)c);
        else
            to[c] = patch->colour[0][c] + (patch->colour[1][c] - patch->colour[0][c]) * across;
    }
}

void ufi_vary_patch(ufi_planes *p, const ufi_patch *patch, const double to_face[6],
                    const uint8_t *picture)
{
    const double c = cos((double)patch->angle), s = sin((double)patch->angle);
    const double x = (double)patch->x, y = (double)patch->y;
    const double width = (double)patch->half_width, height = (double)patch->half_height;
    /* From the face to the patch, which is -1..1 each way. */
    const double own[6] = {c / width,   s / width,  (-c * x - s * y) / width,
                           -s / height, c / height, (s * x - c * y) / height};
    double m[6];
    ufi_map_then(m, to_face, own);
    const float ux = (float)m[0], wx = (float)m[3];
    for (size_t j = 0; j < p->side; j++) {
        const uf_point at = ufi_map_point(m, 0, (double)j);
        for (size_t i = 0; i < p->side; i++) {
            const float u = at.x + ux * (float)(int)i, w = at.y + wx * (float)(int)i;
            const float far = patch->round ? u * u + w * w : fmaxf(fabsf(u), fabsf(w));
            float over = (1 - far) * patch->sharpness;
            if (!(over > 0))
                continue;
            over = over > 1 ? 1 : over;
            const size_t k = j * p->side + i;
            float colour[3];
            fill_pixel(colour, patch, u, w, picture + 3 * k);
            for (int n = 0; n < 3; n++)
                p->c[n][k] += over * (colour[n] - p->c[n][k]);
        }
    }
}
