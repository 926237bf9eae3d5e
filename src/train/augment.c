/*
 * A sample's views, each made from the source picture in one resampling, then varied in the order
 * in which things happen to a photo: the person, what is before the face, the light, the lens, the
 * sensor, the file.
 */
#include "train/augment.h"

#include <math.h>
#include <string.h>

#include "model/align.h"

ufi_crop_view ufi_face_view(void)
{
    ufi_crop_view v = {.size = 112};
    memcpy(v.points, ufi_align_arcface, sizeof v.points);
    return v;
}

bool ufi_view_to_face(double m[6], const ufi_crop_view *view)
{
    const double size = view->size;
    uf_point from[UF_LANDMARKS], to[UF_LANDMARKS];
    for (int k = 0; k < UF_LANDMARKS; k++) {
        from[k] = (uf_point){view->points[2 * k], view->points[2 * k + 1]};
        to[k] = (uf_point){ufi_align_arcface[2 * k], ufi_align_arcface[2 * k + 1]};
    }
    const double fraction[6] = {1 / size, 0, 0, 0, 1 / size, 0};
    if (ufi_umeyama(from, to, UF_LANDMARKS, m, NULL))
        return false;
    ufi_map_then(m, fraction, m);
    return true;
}

void ufi_studio_init(ufi_studio *s, const ufi_crop_view *views, size_t view_count)
{
    *s = (ufi_studio){.views = views, .view_count = view_count};
    ufi_noise_table(s->noise);
}

void ufi_studio_free(ufi_studio *s)
{
    ufi_buffer *const all[] = {&s->room.reduced, &s->room.padded, &s->room.sums, &s->planes,
                               &s->face,         &s->scratch,     &s->pixels,    &s->nodes};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ufi_buffer_free(all[i]);
}

uf_status ufi_planes_of(ufi_planes *p, ufi_buffer *memory, size_t side, uf_error *err)
{
    const size_t count = side * side;
    float *room = ufi_buffer_get(memory, count * 3 * sizeof *room);
    if (!room)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %zu pixels", count);
    *p = (ufi_planes){side, {room, room + count, room + 2 * count}};
    return UF_OK;
}

/* ---- geometry ---- */

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

void ufi_mirror_rows(uint8_t *pixels, size_t size)
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

/* What of a sample is known before its pixels. `m` maps to the plain crop. */
typedef struct shot_plan {
    const ufi_crop_view *view;
    bool moved, plain; /* by jitter; by nothing but the person and mirroring */
    double to_crop[6], to_face[6];
} shot_plan;

static uf_status plan_shot(shot_plan *s, const ufi_variation *v, const ufi_crop_view *view,
                           uf_error *err)
{
    const double same[6] = {1, 0, 0, 0, 1, 0};
    *s = (shot_plan){.view = view, .moved = view->jitter && !view->clean, .plain = view->clean};
    memcpy(s->to_crop, same, sizeof same);
    if (s->moved || (v->mirror && !s->plain)) {
        ufi_variation only = *v;
        if (!s->moved) {
            only.shift_x = only.shift_y = only.angle = 0;
            only.scale = 1;
        }
        jitter_map(s->to_crop, &only, view);
    }
    if (!ufi_view_to_face(s->to_face, view))
        return ufi_fail(err, UF_E_ARG, "a view's template has no extent");
    ufi_map_then(s->to_face, s->to_crop, s->to_face);
    return UF_OK;
}

static uf_status draw_plain(ufi_studio *s, const shot_plan *shot, const ufi_subject *face,
                            uint8_t *out, uf_error *err)
{
    const size_t size = (size_t)shot->view->size;
    ufi_region region;
    float align[6];
    double m[6];
    uf_status st = ufi_align_matrix(face->points, shot->view->points, shot->view->size, align, err);
    if (st)
        return st;
    for (int i = 0; i < 6; i++)
        m[i] = (double)align[i];
    ufi_map_then(m, shot->to_crop, m);
    st = ufi_region_of(&region, &s->room, &face->image,
                       ufi_map_bounds(m, (double)size, (double)size), ufi_map_scale(m), shot->moved,
                       err);
    if (!st)
        ufi_region_draw(out, size * 3, size, size, &region, m);
    return st;
}

/* ---- what happens to a photo ---- */

uf_status ufi_studio_photograph(ufi_studio *s, const ufi_variation *v, ufi_planes *p, uint8_t *out,
                                uf_error *err)
{
    const size_t blur = ufi_blur_room(p->side), low = ufi_low_room(p->side);
    float *room = ufi_buffer_get(&s->scratch, (blur > low ? blur : low) * sizeof *room);
    if (!room)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a crop of %zu pixels", p->side * p->side);
    if (v->blur_x > 0)
        ufi_vary_blur(p, v, room);
    if (v->low > 0)
        ufi_vary_low(p, v, room);
    if (v->colours)
        ufi_vary_colours(p, v);
    if (v->noise > 0)
        ufi_vary_noise(p, v, s->noise);
    ufi_planes_to_rgb(p, out);
#ifdef UFI_WITH_JPEG
    if (v->jpeg)
        return ufi_jpeg_trip(out, p->side, p->side, v->jpeg, v->jpeg_coarse, err);
#endif
    return UF_OK;
}

uf_status ufi_studio_patch(ufi_studio *s, const ufi_variation *v, const uf_image *image,
                           size_t size, const uint8_t **out, uf_error *err)
{
    ufi_random r = ufi_random_of(v->patch.key, 0);
    const double shorter = image->width < image->height ? image->width : image->height;
    const double scale = shorter * (double)ufi_random_between(&r, 0.4f, 1) / (double)size;
    const double x = (double)ufi_random_unit(&r) * (image->width - scale * (double)size);
    const double y = (double)ufi_random_unit(&r) * (image->height - scale * (double)size);
    const double m[6] = {scale, 0, x, 0, scale, y};
    ufi_region region;
    uint8_t *pixels = ufi_buffer_get(&s->pixels, size * size * 3);
    if (!pixels)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a patch of %zu pixels", size * size);
    uf_status st = ufi_region_of(&region, &s->room, image,
                                 ufi_map_bounds(m, (double)size, (double)size), scale, true, err);
    if (!st)
        ufi_region_draw(pixels, size * 3, size, size, &region, m);
    *out = pixels;
    return st;
}

static uf_status vary_shot(ufi_studio *s, const ufi_variation *v, const ufi_skin *skin,
                           const shot_plan *shot, const uf_image *patch, ufi_planes *p,
                           uint8_t *out, uf_error *err)
{
    const uint8_t *picture = NULL;
    if (v->tone)
        ufi_vary_skin(p, skin);
    if (v->patch.fill == UFI_PATCH_PICTURE) {
        const uf_status st = ufi_studio_patch(s, v, patch, p->side, &picture, err);
        if (st)
            return st;
    }
    if (v->patch.fill)
        ufi_vary_patch(p, &v->patch, shot->to_face, picture);
    if (v->tone)
        ufi_vary_light(p, v, shot->to_face);
    return ufi_studio_photograph(s, v, p, out, err);
}

static bool is_varied(const ufi_variation *v)
{
    return v->tone || v->patch.fill || v->blur_x > 0 || v->low > 0 || v->colours || v->noise > 0 ||
           v->jpeg;
}

static uf_status take_shot(ufi_studio *s, const ufi_variation *v, const ufi_skin *skin,
                           const shot_plan *shot, const ufi_cast *cast, uint8_t *out, uf_error *err)
{
    const bool varied = !shot->plain && is_varied(v);
    ufi_planes p;
    uf_status st = ufi_planes_of(&p, &s->planes, (size_t)shot->view->size, err);
    if (st)
        return st;
    if (v->blend) {
        ufi_morph_plan plan = {.view = shot->view, .share = v->share, .mirror_edges = shot->moved};
        memcpy(plan.to_crop, shot->to_crop, sizeof plan.to_crop);
        memcpy(plan.to_face, shot->to_face, sizeof plan.to_face);
        st = ufi_morph(s, &p, &plan, cast->faces, err);
        if (!st && !varied)
            ufi_planes_to_rgb(&p, out);
    } else {
        st = draw_plain(s, shot, &cast->faces[0], out, err);
        if (!st && varied)
            ufi_planes_from_rgb(&p, out);
    }
    if (!st && varied)
        st = vary_shot(s, v, skin, shot, cast->patch, &p, out, err);
    /* Pixel by pixel, so that it is exactly the mirror image of the crop that is not mirrored. */
    if (!st && v->mirror && shot->plain)
        ufi_mirror_rows(out, p.side);
    return st;
}

uf_status ufi_studio_crops(ufi_studio *s, const ufi_variation *v, const ufi_cast *cast,
                           uint8_t *const *out, uf_error *err)
{
    ufi_skin skin = {0};
    uf_status st = UF_OK;
    if (v->tone)
        ufi_skin_plan(&skin, v, &cast->faces[0]);
    for (size_t i = 0; !st && i < s->view_count; i++) {
        shot_plan shot;
        st = plan_shot(&shot, v, &s->views[i], err);
        if (!st)
            st = take_shot(s, v, &skin, &shot, cast, out[i], err);
    }
    return st;
}
