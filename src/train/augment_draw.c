/* What is drawn by lot for a sample, once for all its views. */
#include <math.h>

#include "train/augment.h"

static const float luma[3] = {0.299f, 0.587f, 0.114f};
#define MIDDLE_GRAY 118.0f
#define DEGREE 0.017453292519943295

static void draw_geometry(ufi_variation *v, const ufi_augment *a)
{
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_FLIP);
    v->mirror = ufi_random_chance(&r, a->flip);
    r = ufi_random_of(v->key, UFI_DRAW_JITTER);
    v->shift_x = (double)ufi_random_between(&r, -a->shift, a->shift);
    v->shift_y = (double)ufi_random_between(&r, -a->shift, a->shift);
    v->scale = exp((double)ufi_random_between(&r, -1, 1) * log1p((double)a->scale));
    v->angle = (double)ufi_random_between(&r, -a->rotate, a->rotate) * DEGREE;
}

/* White balance, brightness, saturation, contrast, as one matrix. */
static void draw_colours(ufi_variation *v, const ufi_augment *a)
{
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_COLOUR);
    ufi_random g = ufi_random_of(v->key, UFI_DRAW_GRAY);
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

static void draw_degradations(ufi_variation *v, const ufi_augment *a)
{
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_BLUR);
    if (ufi_random_chance(&r, a->blur)) {
        /* Out of focus is the same both ways; a moving camera is not. */
        const double sigma = (double)ufi_random_between(&r, 0.006f, 0.02f);
        const double other = sigma * (double)ufi_random_between(&r, 0.4f, 1);
        const bool across = ufi_random_chance(&r, 0.5f);
        v->blur_x = across ? sigma : other;
        v->blur_y = across ? other : sigma;
    }
    r = ufi_random_of(v->key, UFI_DRAW_LOW);
    if (ufi_random_chance(&r, a->low))
        v->low = exp((double)ufi_random_between(&r, logf(1.5f), logf(5)));
    r = ufi_random_of(v->key, UFI_DRAW_JPEG);
    if (ufi_random_chance(&r, a->jpeg)) {
        v->jpeg = 20 + (int)ufi_random_below(&r, 71);
        v->jpeg_coarse = ufi_random_chance(&r, 0.7f);
    }
    r = ufi_random_of(v->key, UFI_DRAW_NOISE);
    if (ufi_random_chance(&r, a->noise)) {
        v->noise = expf(ufi_random_between(&r, logf(1.5f), logf(14)));
        v->noise_colour = ufi_random_between(&r, 0.2f, 1);
    }
}

static void draw_tone(ufi_variation *v, const ufi_augment *a)
{
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_TONE);
    v->tone = ufi_random_chance(&r, a->tone);
    if (!v->tone)
        return;
    v->tone_at = ufi_random_unit(&r);
    v->tone_strength = ufi_random_between(&r, 0.7f, 1);
    /* Light comes from the sides and from above more than from below. */
    const float strength = 1.3f * ufi_random_unit(&r) * ufi_random_unit(&r);
    const float angle = ufi_random_between(&r, 0, 2 * 180) * (float)DEGREE;
    v->light_x = strength * cosf(angle);
    v->light_y = strength * sinf(angle) * (angle < 3.14159f ? 0.4f : 0.8f);
}

static void draw_patch_colours(ufi_patch *p, ufi_random *r)
{
    /* Cloth, hands, phones: dull colours more often than bright ones. */
    const float gray = ufi_random_between(r, 5, 250), dull = ufi_random_unit(r);
    const float shade = ufi_random_between(r, 0.75f, 1.25f);
    for (int c = 0; c < 3; c++) {
        const float own = ufi_random_between(r, 0, 255);
        p->colour[0][c] = gray + (own - gray) * dull * dull;
        p->colour[1][c] = p->colour[0][c] * shade;
    }
}

/* The largest patch is a third of the crop. */
#define LARGEST_PATCH (1 / 3.0f)

static void draw_patch(ufi_variation *v, const ufi_augment *a)
{
    ufi_patch *p = &v->patch;
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_PATCH);
    if (!ufi_random_chance(&r, a->occlude))
        return;
    const float fill = ufi_random_unit(&r), where = ufi_random_unit(&r);
    p->fill = fill < 0.5f ? UFI_PATCH_COLOUR : fill < 0.6f ? UFI_PATCH_NOISE : UFI_PATCH_PICTURE;
    p->corners = ufi_random_chance(&r, 0.5f) ? 0 : 4;
    p->sharpness = expf(ufi_random_between(&r, logf(4), logf(40)));
    p->angle = ufi_random_between(&r, -20, 20) * (float)DEGREE;
    p->cell = expf(ufi_random_between(&r, logf(0.01f), logf(0.08f)));
    p->key = ufi_random_next(&r);
    draw_patch_colours(p, &r);
    if (where < 0.25f) { /* as a mask or a scarf lies */
        p->x = ufi_random_between(&r, 0.47f, 0.53f);
        p->half_width = ufi_random_between(&r, 0.3f, 0.42f);
        p->half_height = ufi_random_between(&r, 0.13f, 0.19f);
        p->y = ufi_random_between(&r, 0.76f, 0.84f);
    } else if (where < 0.45f) { /* as dark glasses or a cap lie */
        p->x = ufi_random_between(&r, 0.47f, 0.53f);
        p->half_width = ufi_random_between(&r, 0.28f, 0.4f);
        p->half_height = ufi_random_between(&r, 0.06f, 0.12f);
        p->y = ufi_random_between(&r, 0.2f, 0.48f);
    } else {
        const float area = ufi_random_between(&r, 0.02f, LARGEST_PATCH);
        const float aspect = expf(ufi_random_between(&r, -0.9f, 0.9f));
        p->half_width = 0.5f * sqrtf(area * aspect);
        p->half_height = 0.5f * sqrtf(area / aspect);
        p->x = ufi_random_between(&r, 0.1f, 0.9f);
        p->y = ufi_random_between(&r, 0.15f, 0.95f);
        p->angle *= 3;
    }
}

void ufi_variation_draw(ufi_variation *v, const ufi_augment *a, uint64_t key)
{
    *v = (ufi_variation){.key = key};
    draw_geometry(v, a);
    draw_colours(v, a);
    draw_degradations(v, a);
    draw_tone(v, a);
    draw_patch(v, a);
    ufi_random r = ufi_random_of(key, UFI_DRAW_BLEND);
    v->blend = ufi_random_chance(&r, a->blend);
    v->share = ufi_random_between(&r, 0.45f, 0.55f);
    r = ufi_random_of(key, UFI_DRAW_WARP);
    v->warp = ufi_random_chance(&r, a->warp);
}
