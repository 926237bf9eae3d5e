/*
 * Scenes for detectors: a background that is drawn, a picture of the dataset, faces pasted in.
 *
 * Backgrounds need not look like places; they must have the edges, textures and colours among which
 * a detector errs: hard and soft outlines, stripes, rows of something like text, blobs of the
 * colour of skin, noise of all frequencies.
 */
#include <math.h>
#include <string.h>

#include "model/align.h"
#include "train/augment.h"

#define DEGREE 0.017453292519943295
/* A head is as wide as this share of ArcFace's crop. */
#define FACE_SHARE 0.8

/* ---- the background ---- */

static void draw_colour(float to[3], ufi_random *r)
{
    static const float skins[][3] = {{225, 180, 155}, {190, 139, 104}, {121, 80, 57}};
    const float kind = ufi_random_unit(r), gray = ufi_random_between(r, 5, 250);
    const float dull = ufi_random_unit(r), light = ufi_random_between(r, 0.7f, 1.1f);
    const size_t skin = (size_t)ufi_random_below(r, 3);
    for (int c = 0; c < 3; c++) {
        const float own = ufi_random_between(r, 0, 255);
        to[c] = kind < 0.15f ? skins[skin][c] * light : gray + (own - gray) * dull * dull;
    }
}

/* From one colour to another, across at any angle. */
static void draw_gradient(ufi_planes *p, ufi_random *r)
{
    float a[3], b[3];
    const float angle = ufi_random_between(r, 0, 360) * (float)DEGREE;
    const float step_x = cosf(angle) / (float)p->side, step_y = sinf(angle) / (float)p->side;
    draw_colour(a, r);
    draw_colour(b, r);
    for (int c = 0; c < 3; c++)
        for (size_t y = 0; y < p->side; y++) {
            float *restrict to = p->c[c] + y * p->side;
            const float middle = (float)p->side / 2;
            const float first = 0.5f - step_x * middle + step_y * ((float)y - middle);
            for (size_t x = 0; x < p->side; x++)
                to[x] = a[c] + (b[c] - a[c]) * (first + step_x * (float)(int)x);
        }
}

/* One octave of noise: cells of `n` x `n` random values, each a little of one colour. */
static void draw_octave(ufi_planes *p, size_t n, float strength, float *room, ufi_random *r)
{
    const size_t count = p->side * p->side;
    float *field = room, *values = room + count, colour[3];
    for (size_t i = 0; i < n * n; i++)
        values[i] = ufi_random_between(r, -1, 1);
    ufi_enlarge(field, p->side, values, n, room + 2 * count);
    for (int c = 0; c < 3; c++) {
        colour[c] = strength * ufi_random_between(r, 0.6f, 1);
        float *restrict to = p->c[c];
        const float *restrict from = field;
        for (size_t i = 0; i < count; i++)
            to[i] += colour[c] * from[i];
    }
}

static void draw_noise(ufi_planes *p, float *room, ufi_random *r)
{
    const float strength = 60 * ufi_random_unit(r) * ufi_random_unit(r);
    const float fading = ufi_random_between(r, 0.4f, 1);
    float now = strength;
    for (size_t n = 3; n < p->side && strength > 2; n = n * 5 / 2, now *= fading)
        if (now > 1)
            draw_octave(p, n, now, room, r);
}

static void draw_shape(ufi_planes *p, const double to_unit[6], ufi_random *r)
{
    static const int corners[] = {0, 0, 3, 4, 4, 5, 6};
    ufi_patch shape = {.fill = UFI_PATCH_COLOUR, .key = ufi_random_next(r)};
    const float kind = ufi_random_unit(r);
    shape.fill = kind < 0.2f    ? UFI_PATCH_STRIPES
                 : kind < 0.25f ? UFI_PATCH_NOISE
                                : UFI_PATCH_COLOUR;
    shape.corners = corners[ufi_random_below(r, sizeof corners / sizeof *corners)];
    shape.x = ufi_random_between(r, -0.1f, 1.1f);
    shape.y = ufi_random_between(r, -0.1f, 1.1f);
    shape.half_width = expf(ufi_random_between(r, logf(0.01f), logf(0.35f)));
    shape.half_height = shape.half_width * expf(ufi_random_between(r, -0.8f, 0.8f));
    shape.angle = ufi_random_between(r, 0, 360) * (float)DEGREE;
    shape.sharpness = expf(ufi_random_between(r, 0, logf(60)));
    shape.cell = expf(ufi_random_between(r, logf(0.005f), logf(0.06f)));
    draw_colour(shape.colour[0], r);
    draw_colour(shape.colour[1], r);
    ufi_vary_patch(p, &shape, to_unit, NULL);
}

static void fill_box(ufi_planes *p, double left, double top, double width, double height,
                     const float colour[3])
{
    const double side = (double)p->side;
    const size_t x0 = (size_t)fmin(fmax(left, 0), side), y0 = (size_t)fmin(fmax(top, 0), side);
    const size_t x1 = (size_t)fmin(fmax(left + width, 0), side);
    const size_t y1 = (size_t)fmin(fmax(top + height, 0), side);
    for (int c = 0; c < 3; c++)
        for (size_t y = y0; y < y1; y++)
            for (size_t x = x0; x < x1; x++)
                p->c[c][y * p->side + x] = colour[c];
}

/* A sheet with rows of words, each a row of strokes. */
static void draw_text(ufi_planes *p, ufi_random *r)
{
    const double side = (double)p->side;
    float paper[3], ink[3];
    draw_colour(paper, r);
    draw_colour(ink, r);
    const double left = side * (double)ufi_random_between(r, -0.1f, 0.8f);
    const double top = side * (double)ufi_random_between(r, -0.1f, 0.9f);
    const double width = side * (double)ufi_random_between(r, 0.1f, 0.6f);
    const double letter = side * (double)expf(ufi_random_between(r, logf(0.008f), logf(0.05f)));
    const int rows = 1 + (int)ufi_random_below(r, 8);
    if (ufi_random_chance(r, 0.7f))
        fill_box(p, left - letter, top - letter, width + 2 * letter, (1.8 * rows + 1.5) * letter,
                 paper);
    for (int i = 0; i < rows; i++)
        for (double x = left; x < left + width;) {
            const double stroke = letter * (double)ufi_random_between(r, 0.12f, 0.3f);
            const double high = letter * (double)ufi_random_between(r, 0.6f, 1);
            const double wide = letter * (double)ufi_random_between(r, 0.3f, 0.7f);
            const double y = top + 1.8 * i * letter + letter - high;
            fill_box(p, x, y, fmax(stroke, 1), high, ink);
            if (ufi_random_chance(r, 0.6f))
                fill_box(p, x, y + high * (double)ufi_random_unit(r) * 0.9, wide, fmax(stroke, 1),
                         ink);
            x += wide + letter * (ufi_random_chance(r, 0.2f) ? 0.8 : 0.15);
        }
}

uf_status ufi_stage_open(ufi_stage *stage, ufi_studio *s, size_t size, uint64_t key, uf_error *err)
{
    const double to_unit[6] = {1 / (double)size, 0, 0, 0, 1 / (double)size, 0};
    ufi_random r = ufi_random_of(key, UFI_DRAW_SCENE);
    float *room = ufi_buffer_get(&s->scratch, 4 * size * size * sizeof *room);
    *stage = (ufi_stage){0};
    uf_status st = ufi_planes_of(&stage->p, &s->planes, size, err);
    if (st || !room)
        return st ? st : ufi_fail(err, UF_E_NOMEM, "no memory for a scene of %zu pixels", size);
    draw_gradient(&stage->p, &r);
    if (ufi_random_chance(&r, 0.6f))
        draw_noise(&stage->p, room, &r);
    const uint64_t shapes = ufi_random_below(&r, 25);
    for (uint64_t i = 0; i < shapes; i++)
        draw_shape(&stage->p, to_unit, &r);
    const uint64_t texts = ufi_random_chance(&r, 0.4f) ? 1 + ufi_random_below(&r, 3) : 0;
    for (uint64_t i = 0; i < texts; i++)
        draw_text(&stage->p, &r);
    if (ufi_random_chance(&r, 0.3f))
        draw_noise(&stage->p, room, &r);
    return UF_OK;
}

/* ---- the picture ---- */

/* Pixels of ArcFace's crop in the picture, 0 when its points allow none. */
static double face_pixels(const uf_point *points)
{
    float m[6];
    double to[6];
    if (ufi_align_matrix(points, ufi_align_arcface, 1, m, NULL))
        return 0;
    for (int i = 0; i < 6; i++)
        to[i] = (double)m[i];
    return ufi_map_scale(to);
}

/* Factor from the picture's pixels to the scene's. */
static double picture_scale(const ufi_scene *scene, const uf_image *image, const uf_point *points,
                            ufi_random *r)
{
    const double size = scene->size;
    const double longer = image->width > image->height ? image->width : image->height;
    const double shorter = image->width < image->height ? image->width : image->height;
    const double face = points ? face_pixels(points) * FACE_SHARE : 0;
    const double where = (double)ufi_random_unit(r);
    if (face > 0) {
        const double low = log((double)scene->face_min), high = log((double)scene->face_max);
        return exp(low + (high - low) * where) / face;
    }
    /* As often filling the scene as lying in it. */
    const bool fills = ufi_random_chance(r, 0.5f);
    return fills ? size / shorter * (1 + where * where) : size / longer * exp(-1.2 * where);
}

/* Puts `pixels`, a whole scene, over the stage where the picture lies; its edge is one pixel. */
static void lay_over(ufi_planes *p, const uint8_t *pixels, const double m[6], const uf_image *image)
{
    const double width = image->width, height = image->height;
    for (size_t y = 0; y < p->side; y++)
        for (size_t x = 0; x < p->side; x++, pixels += 3) {
            const double px = m[0] * (double)x + m[2], py = m[4] * (double)y + m[5];
            const double inside =
                fmin(fmin(px + 0.5, width - 0.5 - px), fmin(py + 0.5, height - 0.5 - py)) / m[0];
            if (inside <= 0)
                continue;
            const float over = inside > 1 ? 1 : (float)inside;
            for (int c = 0; c < 3; c++) {
                float *to = p->c[c] + y * p->side + x;
                *to += over * (pixels[c] - *to);
            }
        }
}

uf_status ufi_stage_picture(ufi_stage *stage, ufi_studio *s, const ufi_scene *scene,
                            const uf_image *image, const uf_point *points, uint64_t key,
                            uf_error *err)
{
    ufi_random r = ufi_random_of(key, UFI_DRAW_SCENE_PICTURE);
    const size_t size = stage->p.side;
    const double scale = picture_scale(scene, image, points, &r);
    const double wide = image->width * scale, high = image->height * scale;
    /* Where its left upper corner lies: anywhere between the scene's edges, and half of what
     * does not fit may be outside. */
    const double free_x = (double)size - wide, free_y = (double)size - high;
    double x = free_x * (double)ufi_random_unit(&r), y = free_y * (double)ufi_random_unit(&r);
    x += 0.15 * fmin(wide, (double)size) * (double)ufi_random_between(&r, -1, 1);
    y += 0.15 * fmin(high, (double)size) * (double)ufi_random_between(&r, -1, 1);
    const double m[6] = {1 / scale, 0,         (0.5 - x) / scale - 0.5,
                         0,         1 / scale, (0.5 - y) / scale - 0.5};
    ufi_region region;
    uint8_t *pixels = ufi_buffer_get(&s->pixels, size * size * 3);
    if (!pixels)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a scene of %zu pixels", size * size);
    uf_status st =
        ufi_region_of(&region, &s->room, image, ufi_map_bounds(m, (double)size, (double)size),
                      1 / scale, true, err);
    if (st)
        return st;
    ufi_region_draw(pixels, size * 3, size, size, &region, m);
    lay_over(&stage->p, pixels, m, image);
    if (points) { /* faces that are pasted keep away from this one */
        const double middle_x = ((double)points[0].x + (double)points[1].x) / 2;
        const double middle_y = ((double)points[0].y + (double)points[1].y) / 2;
        stage->faces[stage->placed].x = x + middle_x * scale;
        stage->faces[stage->placed].y = y + middle_y * scale;
        stage->faces[stage->placed++].width = face_pixels(points) * FACE_SHARE * scale;
    }
    return UF_OK;
}

/* ---- faces ---- */

/* Somewhere in the scene where no other face is; false when there was no such place. */
static bool find_place(const ufi_stage *stage, double width, double *x, double *y, ufi_random *r)
{
    const double size = (double)stage->p.side;
    for (int tried = 0; tried < 12; tried++) {
        bool is_free = true;
        *x = size * (double)ufi_random_between(r, -0.02f, 1.02f);
        *y = size * (double)ufi_random_between(r, -0.02f, 1.02f);
        for (size_t i = 0; i < stage->placed; i++) {
            const double apart = hypot(*x - stage->faces[i].x, *y - stage->faces[i].y);
            is_free = is_free && apart > 0.65 * (width + stage->faces[i].width);
        }
        if (is_free)
            return true;
    }
    return false;
}

/* Mixes the face's square into the scene inside a soft ellipse. */
static void paste(ufi_planes *p, const ufi_planes *face, int64_t left, int64_t top,
                  const double to_face[6], ufi_random *r)
{
    const float rx = ufi_random_between(r, 0.5f, 0.64f), ry = ufi_random_between(r, 0.6f, 0.74f);
    const float soft = ufi_random_between(r, 0.08f, 0.3f);
    const int64_t side = (int64_t)p->side;
    for (int64_t j = 0; j < (int64_t)face->side; j++) {
        const uf_point at = ufi_map_point(to_face, 0, (double)j);
        for (int64_t i = 0; i < (int64_t)face->side; i++) {
            const float u = (at.x + (float)to_face[0] * (float)i - 0.5f) / rx;
            const float w = (at.y + (float)to_face[3] * (float)i - 0.52f) / ry;
            float over = (1 - (u * u + w * w)) / soft;
            if (over <= 0 || left + i < 0 || top + j < 0 || left + i >= side || top + j >= side)
                continue;
            over = over > 1 ? 1 : over;
            const size_t to = (size_t)((top + j) * side + left + i);
            const size_t from = (size_t)j * face->side + (size_t)i;
            for (int c = 0; c < 3; c++)
                p->c[c][to] += over * (face->c[c][from] - p->c[c][to]);
        }
    }
}

/* The face's own square: what it needs of the picture, varied as `v` says. */
static uf_status draw_plain_face(ufi_planes *p, ufi_studio *s, const ufi_subject *face,
                                 const double to_face[6], uf_error *err)
{
    const size_t side = p->side;
    const double unit[6] = {1, 0, 0, 0, 1, 0};
    ufi_region region;
    float align[6];
    double m[6];
    uint8_t *pixels = ufi_buffer_get(&s->pixels, side * side * 3);
    if (!pixels)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a face of %zu pixels", side * side);
    uf_status st = ufi_align_matrix(face->points, ufi_align_arcface, 1, align, err);
    for (int i = 0; i < 6; i++)
        m[i] = st ? unit[i] : (double)align[i];
    ufi_map_then(m, to_face, m);
    if (!st)
        st = ufi_region_of(&region, &s->room, &face->image,
                           ufi_map_bounds(m, (double)side, (double)side), ufi_map_scale(m), true,
                           err);
    if (st)
        return st;
    ufi_region_draw(pixels, side * 3, side, side, &region, m);
    ufi_planes_from_rgb(p, pixels);
    return UF_OK;
}

static uf_status draw_new_face(ufi_planes *p, ufi_studio *s, const ufi_variation *v,
                               const ufi_subject faces[2], const double to_face[6], uf_error *err)
{
    const ufi_crop_view face = ufi_face_view();
    ufi_crop_view view = {.size = (int32_t)p->side};
    ufi_morph_plan plan = {
        .view = &view, .to_crop = {1, 0, 0, 0, 1, 0}, .share = v->share, .mirror_edges = true};
    double from_face[6];
    memcpy(plan.to_face, to_face, sizeof plan.to_face);
    if (!ufi_map_invert(from_face, to_face))
        return ufi_fail(err, UF_E_ARG, "a face without a size");
    for (int i = 0; i < UF_LANDMARKS; i++) {
        const uf_point at =
            ufi_map_point(from_face, (double)face.points[2 * i], (double)face.points[2 * i + 1]);
        view.points[2 * i] = at.x / (float)view.size;
        view.points[2 * i + 1] = at.y / (float)view.size;
    }
    return ufi_morph(s, p, &plan, faces, err);
}

static uf_status draw_face(ufi_planes *p, ufi_studio *s, const ufi_variation *v,
                           const ufi_subject *faces, const double to_face[6], uf_error *err)
{
    ufi_skin skin;
    uf_status st = v->blend ? draw_new_face(p, s, v, faces, to_face, err)
                            : draw_plain_face(p, s, faces, to_face, err);
    if (st)
        return st;
    if (v->tone) {
        ufi_skin_plan(&skin, v, faces);
        ufi_vary_skin(p, &skin);
        ufi_vary_light(p, v, to_face);
    }
    if (v->patch.fill && v->patch.fill != UFI_PATCH_PICTURE)
        ufi_vary_patch(p, &v->patch, to_face, NULL);
    if (v->colours)
        ufi_vary_colours(p, v);
    return UF_OK;
}

uf_status ufi_stage_face(ufi_stage *stage, ufi_studio *s, const ufi_scene *scene,
                         const ufi_augment *a, const ufi_subject *faces, size_t count, uint64_t key,
                         uf_error *err)
{
    ufi_random r = ufi_random_of(key, UFI_DRAW_SCENE);
    ufi_variation v;
    ufi_planes p;
    double x, y;
    /* Light differs a little from face to face, colour of light does not. */
    const ufi_augment own = {
        .flip = a->flip, .colour = a->colour * 0.5f, .occlude = a->occlude * 0.5f, .tone = a->tone};
    ufi_variation_draw(&v, &own, key);
    v.blend = count == 2;
    v.mirror = v.mirror && !v.blend; /* a morph follows points, which have a left and a right */
    const float low = logf(scene->face_min), high = logf(scene->face_max);
    const double width = (double)expf(ufi_random_between(&r, low, high));
    const double angle = (double)ufi_random_between(&r, -30, 30) * DEGREE;
    if (stage->placed > UFI_MAX_FACES || !find_place(stage, width, &x, &y, &r))
        return UF_OK;
    const double unit = width / FACE_SHARE; /* pixels of ArcFace's crop */
    const size_t side = (size_t)ceil(unit * 1.8) + 2;
    const double left = floor(x - (double)side / 2), top = floor(y - (double)side / 2);
    const double c = cos(angle) / unit, n = sin(angle) / unit;
    const double cx = x - left, cy = y - top;
    double to_face[6] = {c, n, 0.5 - c * cx - n * cy, -n, c, 0.5 + n * cx - c * cy};
    if (v.mirror)
        for (int i = 0; i < 3; i++)
            to_face[i] = (i == 2 ? 1 : 0) - to_face[i];
    uf_status st = ufi_planes_of(&p, &s->face, side, err);
    if (!st)
        st = draw_face(&p, s, &v, faces, to_face, err);
    if (st)
        return st;
    paste(&stage->p, &p, (int64_t)left, (int64_t)top, to_face, &r);
    stage->faces[stage->placed].x = x;
    stage->faces[stage->placed].y = y;
    stage->faces[stage->placed++].width = width;
    return UF_OK;
}

/* ---- the photo of it ---- */

static uf_status bend(ufi_stage *stage, ufi_studio *s, const ufi_variation *v, uf_error *err)
{
    float *room = ufi_buffer_get(&s->scratch, ufi_shape_room(stage->p.side) * sizeof *room);
    if (!room)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a scene of %zu pixels", stage->p.side);
    ufi_vary_shape(&stage->p, v, room);
    return UF_OK;
}

uf_status ufi_stage_close(ufi_stage *stage, ufi_studio *s, const ufi_variation *v,
                          const uf_image *patch, uint8_t *out, uf_error *err)
{
    const double side = (double)stage->p.side;
    const double to_unit[6] = {1 / side, 0, 0, 0, 1 / side, 0};
    const uint8_t *picture = NULL;
    uf_status st = v->warp ? bend(stage, s, v, err) : UF_OK;
    if (v->patch.fill == UFI_PATCH_PICTURE)
        st = ufi_studio_patch(s, v, patch, stage->p.side, &picture, err);
    if (!st && v->patch.fill)
        ufi_vary_patch(&stage->p, &v->patch, to_unit, picture);
    if (!st && v->tone)
        ufi_vary_light(&stage->p, v, to_unit);
    if (!st)
        st = ufi_studio_photograph(s, v, &stage->p, out, err);
    if (!st && v->mirror)
        ufi_mirror_rows(out, stage->p.side);
    return st;
}
