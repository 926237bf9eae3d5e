/*
 * Another skin tone, and light from one side.
 *
 * What is skin is told by colour: pixels whose chroma is near that of the cheeks, nose and forehead
 * of this face. Their colour is taken along the line on which skin tones lie, most of the way to
 * the tone that was drawn; eyes, teeth, hair and clothes stay. (Scaling all pixels instead is a
 * dark photo of the same person, which "colour" makes already.)
 */
#include <math.h>
#include <string.h>

#include "train/augment.h"

/* Skin under even light, from lightest to darkest, sRGB. */
static const float tones[][3] = {{243, 215, 197}, {230, 195, 168}, {213, 168, 136}, {190, 139, 104},
                                 {158, 107, 76},  {126, 85, 61},   {94, 63, 47}};
enum { TONES = sizeof tones / sizeof *tones };

static void tone_at(float out[3], float at)
{
    const float place = at * (TONES - 1);
    const size_t i = place >= TONES - 2 ? TONES - 2 : (size_t)place;
    for (int c = 0; c < 3; c++)
        out[c] = tones[i][c] + (tones[i + 1][c] - tones[i][c]) * (place - (float)i);
}

static void add_pixel(float sum[3], const uf_image *image, double x, double y)
{
    const double right = image->width - 1, bottom = image->height - 1;
    const size_t px = (size_t)(x < 0 ? 0 : x > right ? right : x);
    const size_t py = (size_t)(y < 0 ? 0 : y > bottom ? bottom : y);
    const size_t stride = image->strides[0] ? image->strides[0] : (size_t)image->width * 3;
    const uint8_t *p = image->planes[0] + py * stride + px * 3;
    for (int c = 0; c < 3; c++)
        sum[c] += p[c];
}

/* The mean of the cheeks, the bridge of the nose and the forehead. */
static void measure_skin(float mean[3], const ufi_subject *face)
{
    /* Weights of the five points: each row is a place on the face. */
    static const double places[][5] = {
        {0.5, 0, 0.1, 0.4, 0},    {0, 0.5, 0.1, 0, 0.4},    {0.25, 0, 0.5, 0.25, 0},
        {0, 0.25, 0.5, 0, 0.25},  {0.25, 0.25, 0.5, 0, 0},  {0.75, 0.75, -0.5, 0, 0},
        {0.85, 0.6, -0.45, 0, 0}, {0.6, 0.85, -0.45, 0, 0},
    };
    const uf_point *q = face->points;
    const double dx = (double)q[1].x - (double)q[0].x, dy = (double)q[1].y - (double)q[0].y;
    const double step = sqrt(dx * dx + dy * dy) * 0.04;
    float sum[3] = {0};
    const size_t count = sizeof places / sizeof *places;
    for (size_t i = 0; i < count; i++) {
        double x = 0, y = 0;
        for (int k = 0; k < UF_LANDMARKS; k++) {
            x += places[i][k] * (double)q[k].x;
            y += places[i][k] * (double)q[k].y;
        }
        for (int k = 0; k < 9; k++)
            add_pixel(sum, &face->image, x + (k % 3 - 1) * step, y + (k / 3 - 1) * step);
    }
    for (int c = 0; c < 3; c++)
        mean[c] = sum[c] / (float)(9 * count);
}

void ufi_skin_plan(ufi_skin *s, const ufi_variation *v, const ufi_subject *face)
{
    float mean[3], target[3], source[3];
    measure_skin(mean, face);
    const float luma = 0.299f * mean[0] + 0.587f * mean[1] + 0.114f * mean[2];
    const float red = mean[0] - luma, blue = mean[2] - luma;
    const float chroma = red * red + blue * blue;
    const bool coloured = chroma > 12 * 12;
    /* Projections are divided by the squared length: `along` is 1 for the face's own chroma. A
     * photo without colour has no hue to tell skin by, so all of it is. */
    s->red = coloured ? red / chroma : 0;
    s->blue = coloured ? blue / chroma : 0;
    s->bias = coloured ? 0 : 1;
    s->hue = coloured ? chroma / 1000 : 0;
    s->even = 1 / (luma + 20);
    tone_at(target, v->tone_at);
    /* The photo's exposure stays: the tone that fits the measured brightness best is the nearest
     * on the line, and what is between it and the mean is light. */
    float best = INFINITY;
    for (int i = 0; i <= 32; i++) {
        float candidate[3], distance = 0;
        tone_at(candidate, (float)i / 32);
        for (int c = 0; c < 3; c++)
            distance += (candidate[c] - mean[c]) * (candidate[c] - mean[c]);
        if (distance < best) {
            best = distance;
            memcpy(source, candidate, sizeof source);
        }
    }
    for (int c = 0; c < 3; c++) {
        const float gain = powf(target[c] / source[c], v->tone_strength);
        s->gain[c] = gain < 0.4f ? 0.4f : gain > 1.45f ? 1.45f : gain;
    }
}

/* Skin has the face's chroma times the light that falls on it; a highlight has less of it, eyes and
 * teeth have next to none, and what has another hue is something else. Highlights above the mean
 * lose a little less: they are the lamp's colour, whatever is below. */
void ufi_vary_skin(ufi_planes *p, const ufi_skin *s)
{
    const size_t count = p->side * p->side;
    float *restrict r = p->c[0], *restrict g = p->c[1], *restrict b = p->c[2];
    const float red = s->red, blue = s->blue, even = s->even, hue = s->hue, bias = s->bias;
    const float kr = s->gain[0] - 1, kg = s->gain[1] - 1, kb = s->gain[2] - 1;
    for (size_t i = 0; i < count; i++) {
        const float luma = 0.299f * r[i] + 0.587f * g[i] + 0.114f * b[i];
        const float dr = r[i] - luma, db = b[i] - luma;
        const float light = (luma + 20) * even, dim = 1 / light;
        const float along = (dr * red + db * blue) * dim + bias, across = dr * blue - db * red;
        float skin = (along - 0.25f) * 4, same_hue = 1.5f - across * across * hue * dim;
        float shine = light - 1;
        skin = skin < 0 ? 0 : skin;
        skin = skin > 1 ? 1 : skin;
        same_hue = same_hue < 0 ? 0 : same_hue;
        same_hue = same_hue > 1 ? 1 : same_hue;
        shine = shine < 0 ? 0 : shine;
        shine = shine > 1 ? 1 : shine;
        const float w = skin * same_hue * (1 - 0.55f * shine);
        r[i] += r[i] * w * kr;
        g[i] += g[i] * w * kg;
        b[i] += b[i] * w * kb;
    }
}

void ufi_vary_light(ufi_planes *p, const ufi_variation *v, const double to_face[6])
{
    const float kx = v->light_x, ky = v->light_y;
    const float step = kx * (float)to_face[0] + ky * (float)to_face[3];
    for (size_t y = 0; y < p->side; y++) {
        const uf_point at = ufi_map_point(to_face, 0, (double)y);
        const float first = 1 + kx * (at.x - 0.5f) + ky * (at.y - 0.6f);
        float *restrict r = p->c[0] + y * p->side, *restrict g = p->c[1] + y * p->side;
        float *restrict b = p->c[2] + y * p->side;
        for (size_t x = 0; x < p->side; x++) {
            float gain = first + step * (float)(int)x;
            gain = gain < 0.25f ? 0.25f : gain > 1.7f ? 1.7f : gain;
            r[x] *= gain;
            g[x] *= gain;
            b[x] *= gain;
        }
    }
}
