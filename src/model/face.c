/*
 * The geometry of faces: in another scale, overlapping, and which of several a picture is about.
 */
#include <math.h>

#include "uniface/face.h"

void uf_face_scale(uf_face *f, float by_x, float by_y)
{
    f->x *= by_x;
    f->y *= by_y;
    f->width *= by_x;
    f->height *= by_y;
    for (int k = 0; k < UF_LANDMARKS; k++) {
        f->landmarks[k].x *= by_x;
        f->landmarks[k].y *= by_y;
    }
}

float uf_face_overlap(const uf_face *a, const uf_face *b)
{
    float w = fminf(a->x + a->width, b->x + b->width) - fmaxf(a->x, b->x);
    float h = fminf(a->y + a->height, b->y + b->height) - fmaxf(a->y, b->y);
    if (!(w > 0) || !(h > 0))
        return 0;
    return w * h / (a->width * a->height + b->width * b->height - w * h);
}

int32_t uf_face_main(const uf_face *faces, size_t count, int32_t width, int32_t height)
{
    int32_t best = -1;
    double best_value = 0;
    for (size_t i = 0; i < count; i++) {
        const uf_face *f = &faces[i];
        const double dx = (double)(f->x + f->width / 2) - width / 2.0;
        const double dy = (double)(f->y + f->height / 2) - height / 2.0;
        const double value = (double)(f->width * f->height) - 2 * (dx * dx + dy * dy);
        if (best < 0 || value > best_value) {
            best = (int32_t)i;
            best_value = value;
        }
    }
    return best;
}
