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
    float across = u < -1 ? 0 : u > 1 ? 1 : (u + 1) / 2;
    if (patch->fill == UFI_PATCH_STRIPES)
        across = (float)((int64_t)floorf(u * patch->half_width / patch->cell) & 1);
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

/* The outline: directions of its sides, each 1 away from the middle. */
typedef struct outline {
    int count;
    float x[8], y[8];
} outline;

static outline outline_of(const ufi_patch *patch)
{
    outline o = {.count = patch->corners > 8 ? 8 : patch->corners};
    for (int i = 0; i < o.count; i++) {
        const double angle = 6.283185307179586 * i / o.count;
        /* A rectangle fills -1..1; other polygons have their corners on the unit circle. */
        const double apothem = o.count == 4 ? 1 : cos(3.141592653589793 / o.count);
        o.x[i] = (float)(cos(angle) / apothem);
        o.y[i] = (float)(sin(angle) / apothem);
    }
    return o;
}

/* 0 in the middle of the patch, 1 on its edge. */
static float how_far(const outline *o, float u, float w)
{
    float far = 0;
    if (o->count == 0)
        return u * u + w * w;
    for (int i = 0; i < o->count; i++) {
        const float d = u * o->x[i] + w * o->y[i];
        far = d > far ? d : far;
    }
    return far;
}

/* The pixels that a patch may touch: of -1..1 both ways, seen through the map's inverse. */
static void touched(size_t *first, size_t *end, double low, double high, size_t side)
{
    const double a = floor(low), b = ceil(high) + 1, most = (double)side;
    *first = (size_t)(a < 0 ? 0 : a > most ? most : a);
    *end = (size_t)(b < 0 ? 0 : b > most ? most : b);
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
    const double corner[6] = {2, 0, -1, 0, 2, -1};
    const outline o = outline_of(patch);
    double m[6], back[6];
    size_t left, right, top, bottom;
    ufi_map_then(m, to_face, own);
    if (!ufi_map_invert(back, m))
        return;
    ufi_map_then(back, corner, back);
    const ufi_bounds b = ufi_map_bounds(back, 2, 2);
    touched(&left, &right, b.left, b.right, p->side);
    touched(&top, &bottom, b.top, b.bottom, p->side);
    const float ux = (float)m[0], wx = (float)m[3];
    for (size_t j = top; j < bottom; j++) {
        const uf_point at = ufi_map_point(m, 0, (double)j);
        for (size_t i = left; i < right; i++) {
            const float u = at.x + ux * (float)(int)i, w = at.y + wx * (float)(int)i;
            float over = (1 - how_far(&o, u, w)) * patch->sharpness;
            if (!(over > 0))
                continue;
            over = over > 1 ? 1 : over;
            const size_t k = j * p->side + i;
            float colour[3];
            fill_pixel(colour, patch, u, w, picture ? picture + 3 * k : NULL);
            for (int n = 0; n < 3; n++)
                p->c[n][k] += over * (colour[n] - p->c[n][k]);
        }
    }
}
