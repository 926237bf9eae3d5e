/*
 * Shapes: a scene is turned, stretched and bent by a smooth field, so that no two faces in it have
 * the proportions of the same person. A teacher that looks at the result says where the points
 * went.
 */
#include <math.h>
#include <string.h>

#include "train/augment.h"

#define DEGREE 0.017453292519943295

enum { WAVES = 4, CELL = 8 };

/* By how much each pixel is taken from elsewhere: a linear part about the middle, and waves. */
typedef struct field {
    float middle, linear[4];
    struct {
        float to_x, to_y, by_x, by_y, phase;
    } waves[WAVES];
} field;

static void draw_field(field *f, size_t side, uint64_t key)
{
    ufi_random r = ufi_random_of(key, UFI_DRAW_WARP);
    const float turn = ufi_random_between(&r, -15, 15) * (float)DEGREE;
    const float along = ufi_random_between(&r, 0, 180) * (float)DEGREE;
    const float more = expf(ufi_random_between(&r, -0.16f, 0.16f));
    const float c = cosf(along), s = sinf(along), ct = cosf(turn), st = sinf(turn);
    /* Stretched along one direction, pressed across it, then turned. */
    const float a = c * c * more + s * s / more, b = c * s * (more - 1 / more);
    const float d = s * s * more + c * c / more;
    f->middle = (float)(side - 1) / 2;
    f->linear[0] = ct * a - st * b - 1;
    f->linear[1] = ct * b - st * d;
    f->linear[2] = st * a + ct * b;
    f->linear[3] = st * b + ct * d - 1;
    for (int i = 0; i < WAVES; i++) {
        /* Lengths from a tenth of the scene to all of it; the same slope at any length. */
        const float length = (float)side * expf(ufi_random_between(&r, logf(0.1f), 0));
        const float way = ufi_random_between(&r, 0, 360) * (float)DEGREE;
        const float by = ufi_random_between(&r, 0, 360) * (float)DEGREE;
        const float often = 2 * 180 * (float)DEGREE / length;
        const float slope = ufi_random_between(&r, 0, 0.08f);
        f->waves[i].to_x = often * cosf(way);
        f->waves[i].to_y = often * sinf(way);
        f->waves[i].by_x = slope / often * cosf(by);
        f->waves[i].by_y = slope / often * sinf(by);
        f->waves[i].phase = ufi_random_between(&r, 0, 360) * (float)DEGREE;
    }
}

static void field_at(const field *f, float x, float y, float out[2])
{
    const float dx = x - f->middle, dy = y - f->middle;
    out[0] = x + f->linear[0] * dx + f->linear[1] * dy;
    out[1] = y + f->linear[2] * dx + f->linear[3] * dy;
    for (int i = 0; i < WAVES; i++) {
        const float wave = sinf(f->waves[i].to_x * x + f->waves[i].to_y * y + f->waves[i].phase);
        out[0] += f->waves[i].by_x * wave;
        out[1] += f->waves[i].by_y * wave;
    }
}

static float clamp(float v, float most)
{
    return v < 0 ? 0 : v > most ? most : v;
}

/* One pixel of all channels; beyond the edges the edge goes on. */
static void take_pixel(ufi_planes *p, size_t to, const float *from, float x, float y)
{
    const size_t side = p->side;
    const float most = (float)(side - 1);
    x = clamp(x, most);
    y = clamp(y, most);
    const size_t x0 = (size_t)x, y0 = (size_t)y;
    const size_t right = x0 + 1 < side, below = y0 + 1 < side ? side : 0;
    const float fx = x - (float)x0, fy = y - (float)y0;
    for (int c = 0; c < 3; c++) {
        const float *at = from + (size_t)c * side * side + y0 * side + x0;
        const float upper = at[0] + fx * (at[right] - at[0]);
        const float lower = at[below] + fx * (at[below + right] - at[below]);
        p->c[c][to] = upper + fy * (lower - upper);
    }
}

size_t ufi_shape_room(size_t side)
{
    const size_t nodes = side / CELL + 2;
    return 3 * side * side + 2 * nodes * nodes;
}

void ufi_vary_shape(ufi_planes *p, const ufi_variation *v, float *room)
{
    const size_t side = p->side, n = side / CELL + 2;
    float *nodes = room + 3 * side * side;
    field f;
    draw_field(&f, side, v->key);
    for (int c = 0; c < 3; c++)
        memcpy(room + (size_t)c * side * side, p->c[c], side * side * sizeof *room);
    for (size_t i = 0; i < n * n; i++)
        field_at(&f, (float)(i % n * CELL), (float)(i / n * CELL), nodes + 2 * i);
    for (size_t y = 0; y < side; y++)
        for (size_t x = 0; x < side; x++) {
            const float fx = (float)(x % CELL) / CELL, fy = (float)(y % CELL) / CELL;
            const float *a = nodes + 2 * (y / CELL * n + x / CELL), *b = a + 2 * n;
            float at[2];
            for (int k = 0; k < 2; k++) {
                const float upper = a[k] + fx * (a[2 + k] - a[k]);
                const float lower = b[k] + fx * (b[2 + k] - b[k]);
                at[k] = upper + fy * (lower - upper);
            }
            take_pixel(p, y * side + x, room, at[0], at[1]);
        }
}
