/*
 * A sample's views: what is drawn by lot once, and each view made from it in one resampling of the
 * source picture.
 */
#include "train/augment.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/align.h"

/* Rows of random numbers; the order here is part of what a seed means. */
enum { DRAW_FLIP, DRAW_JITTER, DRAW_COLOUR, DRAW_GRAY };

static const float luma[3] = {0.299f, 0.587f, 0.114f};
#define MIDDLE_GRAY 118.0f

/* White balance, brightness, saturation, contrast, as one matrix. */
static void draw_colours(ufi_variation *v, const ufi_augment *a)
{
    ufi_random r = ufi_random_of(v->key, DRAW_COLOUR), g = ufi_random_of(v->key, DRAW_GRAY);
    const bool gray = ufi_random_chance(&g, a->gray);
    const float c = a->colour;
    v->colours = gray || c > 0;
    if (!v->colours)
        return;
    const float bright = 1 + ufi_random_between(&r, -c, c);
    const float contrast = 1 + ufi_random_between(&r, -c, c);
    float saturation = 1 + ufi_random_between(&r, -c, c);
    /* Light goes from blue to yellow far more than from green to magenta. */
    const float warm = ufi_random_between(&r, -c, c) * 0.5f;
    const float green = ufi_random_between(&r, -c, c) * 0.15f;
    const float gain[3] = {bright * (1 + warm), bright * (1 + green), bright * (1 - warm)};
    if (gray)
        saturation = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            const float mix = (1 - saturation) * luma[j] + (i == j ? saturation : 0);
            v->matrix[i * 3 + j] = contrast * mix * gain[j];
        }
    v->offset = MIDDLE_GRAY * (1 - contrast);
}

void ufi_variation_draw(ufi_variation *v, const ufi_augment *a, uint64_t key)
{
    ufi_random r = ufi_random_of(key, DRAW_FLIP);
    *v = (ufi_variation){.key = key};
    v->mirror = ufi_random_chance(&r, a->flip);
    r = ufi_random_of(key, DRAW_JITTER);
    v->shift_x = (double)ufi_random_between(&r, -a->shift, a->shift);
    v->shift_y = (double)ufi_random_between(&r, -a->shift, a->shift);
    v->scale = exp((double)ufi_random_between(&r, -1, 1) * log1p((double)a->scale));
    v->angle = (double)ufi_random_between(&r, -a->rotate, a->rotate) * 0.017453292519943295;
    draw_colours(v, a);
}

void ufi_studio_free(ufi_studio *s)
{
    ufi_buffer_free(&s->room.reduced);
    ufi_buffer_free(&s->room.padded);
    ufi_buffer_free(&s->room.sums);
    ufi_buffer_free(&s->planes);
}

/* From the varied crop's pixels to the plain crop's. */
static void jitter_map(double m[6], const ufi_variation *v, const ufi_crop_view *view)
{
    const double size = view->size, centre = (size - 1) / 2;
    const double c = cos(v->angle) / v->scale, s = sin(v->angle) / v->scale;
    const double x = centre + v->shift_x * size, y = centre + v->shift_y * size;
    const double back[6] = {c, s, centre - c * x - s * y, -s, c, centre + s * x - c * y};
    const double mirror[6] = {-1, 0, size - 1, 0, 1, 0};
    memcpy(m, back, sizeof back);
    if (v->mirror)
        ufi_map_then(m, m, mirror);
}

static void mirror_rows(uint8_t *pixels, size_t size)
{
    for (size_t y = 0; y < size; y++, pixels += size * 3)
        for (size_t x = 0; x < size / 2; x++)
            for (size_t c = 0; c < 3; c++) {
                uint8_t *left = pixels + x * 3 + c, *right = pixels + (size - 1 - x) * 3 + c;
                const uint8_t kept = *left;
                *left = *right;
                *right = kept;
            }
}

static uf_status draw_crop(ufi_studio *s, const ufi_variation *v, const ufi_crop_view *view,
                           const ufi_subject *face, uint8_t *out, uf_error *err)
{
    const size_t size = (size_t)view->size;
    ufi_region region;
    float align[6];
    double m[6], jitter[6];
    uf_status st = ufi_align_matrix(face->points, view->points, view->size, align, err);
    if (st)
        return st;
    for (int i = 0; i < 6; i++)
        m[i] = (double)align[i];
    const bool moved = view->jitter && !view->clean;
    if (moved) {
        jitter_map(jitter, v, view);
        ufi_map_then(m, jitter, m);
    }
    st = ufi_region_of(&region, &s->room, &face->image,
                       ufi_map_bounds(m, (double)size, (double)size), ufi_map_scale(m), moved, err);
    if (st)
        return st;
    ufi_region_draw(out, size * 3, size, size, &region, m);
    /* Pixel by pixel, so that it is exactly the mirror image of the crop that is not mirrored. */
    if (v->mirror && !moved)
        mirror_rows(out, size);
    return UF_OK;
}

static uf_status vary_crop(ufi_studio *s, const ufi_variation *v, size_t size, uint8_t *out,
                           uf_error *err)
{
    if (!v->colours)
        return UF_OK;
    const size_t count = size * size;
    float *room = ufi_buffer_get(&s->planes, count * 3 * sizeof *room);
    if (!room)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a crop of %zu pixels", count);
    ufi_planes p = {size, {room, room + count, room + 2 * count}};
    ufi_planes_from_rgb(&p, out);
    ufi_vary_colours(&p, v);
    ufi_planes_to_rgb(&p, out);
    return UF_OK;
}

uf_status ufi_studio_crops(ufi_studio *s, const ufi_variation *v, const ufi_subject *face,
                           uint8_t *const *out, uf_error *err)
{
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < s->view_count; i++) {
        st = draw_crop(s, v, &s->views[i], face, out[i], err);
        if (!st && !s->views[i].clean)
            st = vary_crop(s, v, (size_t)s->views[i].size, out[i], err);
    }
    return st;
}
