/*
 * A first judgement of a face, without a network: size, sharpness (variance of the Laplacian),
 * exposure (mean and clipping of luma), pose from the five points, distance from the border.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "image/image.h"
#include "uniface/face.h"

/* The face is looked at in this size, so that sharpness means the same for every face. */
#define GRID 64
#define COUNTED_PIXELS 80 /* of a face, along a side: more make it no better */
#define POOR 0.3f

static float ramp(double v, double zero, double one)
{
    double t = (v - zero) / (one - zero);
    return (float)(t < 0 ? 0 : t > 1 ? 1 : t);
}

/* Luma of the box on a GRID x GRID raster; black where it leaves the picture. */
static uf_status sample(const uf_image *rgb, const uf_face *f, float *luma, uf_error *err)
{
    static const float weights[3] = {0.299f, 0.587f, 0.114f};
    uint8_t *crop = ufi_malloc((size_t)GRID * GRID, 3);
    float sx = f->width / GRID, sy = f->height / GRID;
    const float m[6] = {sx, 0, f->x + sx / 2 - 0.5f, 0, sy, f->y + sy / 2 - 0.5f};
    if (!crop)
        return ufi_fail(err, UF_E_NOMEM, "no memory to judge a face");
    uf_status st = ufi_image_warp(crop, GRID, GRID, rgb, m, err);
    for (int i = 0; !st && i < GRID * GRID; i++)
        luma[i] = weights[0] * (float)crop[i * 3] + weights[1] * (float)crop[i * 3 + 1] +
                  weights[2] * (float)crop[i * 3 + 2];
    ufi_free(crop);
    return st;
}

static double laplacian_variance(const float *luma)
{
    double sum = 0, squares = 0;
    int n = (GRID - 2) * (GRID - 2);
    for (int y = 1; y < GRID - 1; y++)
        for (int x = 1; x < GRID - 1; x++) {
            const float *p = luma + y * GRID + x;
            double v = (double)(4 * p[0] - p[-1] - p[1] - p[-GRID] - p[GRID]);
            sum += v;
            squares += v * v;
        }
    return squares / n - sum / n * (sum / n);
}

static float judge_exposure(const float *luma)
{
    double sum = 0;
    int clipped = 0;
    for (int i = 0; i < GRID * GRID; i++) {
        sum += (double)luma[i];
        clipped += luma[i] < 8 || luma[i] > 247;
    }
    double mean = sum / (GRID * GRID), share = (double)clipped / (GRID * GRID);
    float middle = mean < 128 ? ramp(mean, 20, 70) : ramp(mean, 245, 200);
    return middle * (1 - ramp(share, 0.15, 0.6));
}

/* Angles from the points: a face model of a nose in front of the plane of eyes and mouth. */
static void judge_pose(const uf_face *f, uf_quality *q)
{
    const uf_point *p = f->landmarks;
    double ex = (double)(p[0].x + p[1].x) / 2, ey = (double)(p[0].y + p[1].y) / 2;
    double mx = (double)(p[3].x + p[4].x) / 2, my = (double)(p[3].y + p[4].y) / 2;
    double dx = (double)(p[1].x - p[0].x), dy = (double)(p[1].y - p[0].y);
    double eyes = hypot(dx, dy), down = hypot(mx - ex, my - ey);
    q->pose = 0.5f;
    if (eyes < 1e-3 || down < 1e-3)
        return;
    q->roll = (float)(atan2(dy, dx) * 57.29578);
    /* The nose in the face's own axes: along the eyes, and from the eyes to the mouth. */
    double nx =
        ((double)p[2].x - (ex + mx) / 2) * dx / eyes + ((double)p[2].y - (ey + my) / 2) * dy / eyes;
    double ny =
        (((double)p[2].x - ex) * (mx - ex) + ((double)p[2].y - ey) * (my - ey)) / (down * down);
    double turn = 2 * nx / fmax(eyes, down * 0.6), tilt = (0.57 - ny) * 2.2;
    q->yaw = (float)(asin(fmax(-1, fmin(1, turn * 0.9))) * 57.29578);
    q->pitch = (float)(asin(fmax(-1, fmin(1, tilt))) * 57.29578);
    float yaw = ramp(fabs((double)q->yaw), 60, 15), pitch = ramp(fabs((double)q->pitch), 50, 15);
    float roll = ramp(fabs((double)q->roll), 90, 30);
    q->pose = fminf(yaw, fminf(pitch, roll));
}

/* The share of the box inside the picture, and how much air there is around it. */
static float judge_border(const uf_image *rgb, const uf_face *f)
{
    float left = f->x, top = f->y;
    float right = (float)rgb->width - (f->x + f->width);
    float bottom = (float)rgb->height - (f->y + f->height);
    float least = fminf(fminf(left, right), fminf(top, bottom));
    return ramp((double)(least / fmaxf(f->width, f->height)), -0.35, 0.02);
}

static void explain(const uf_face *f, uf_quality *q)
{
    q->reason[0] = '\0';
    if (q->total >= POOR)
        return;
    if (q->size == q->total)
        snprintf(q->reason, sizeof q->reason, "too small (%.0f x %.0f pixels)", (double)f->width,
                 (double)f->height);
    else if (q->sharpness == q->total)
        snprintf(q->reason, sizeof q->reason, "blurred");
    else if (q->exposure == q->total)
        snprintf(q->reason, sizeof q->reason, "too dark, too bright or without contrast");
    else if (q->pose == q->total)
        snprintf(q->reason, sizeof q->reason,
                 "turned away (yaw %.0f, pitch %.0f, roll %.0f degrees)", (double)q->yaw,
                 (double)q->pitch, (double)q->roll);
    else if (q->border == q->total)
        snprintf(q->reason, sizeof q->reason, "cut off by the border of the picture");
    else
        snprintf(q->reason, sizeof q->reason, "the detector is not sure that this is a face");
}

float uf_face_detail(const uf_face *face)
{
    return fminf(face->width, face->height) / COUNTED_PIXELS;
}

uf_status uf_face_quality(const uf_image *image, const uf_face *face, uf_quality *out,
                          uf_error *err)
{
    uf_image rgb;
    uf_picture *owned;
    float luma[GRID * GRID];
    if (!face || !out)
        return ufi_fail(err, UF_E_ARG, "uf_face_quality: face and out must be given");
    if (!isfinite(face->x) || !isfinite(face->y) || !(face->width > 0) || !(face->height > 0) ||
        !isfinite(face->width) || !isfinite(face->height))
        return ufi_fail(err, UF_E_ARG, "uf_face_quality: the face's box has no area");
    uf_status st = ufi_image_to_rgb(&rgb, &owned, image, err);
    if (st)
        return st;
    memset(out, 0, sizeof *out);
    st = sample(&rgb, face, luma, err);
    if (!st) {
        out->size = ramp((double)fminf(face->width, face->height), 16, COUNTED_PIXELS);
        out->sharpness = ramp(laplacian_variance(luma), 8, 120);
        out->exposure = judge_exposure(luma);
        out->border = judge_border(&rgb, face);
        out->score = face->score > 0 ? fminf(face->score, 1) : 0; /* 0 also for NaN */
        out->pose = 1;
        if (face->has_landmarks)
            judge_pose(face, out);
        out->total = 1;
#define UFI_TAKE_LEAST(name, text) out->total = fminf(out->total, out->name);
        UF_QUALITY_LIST(UFI_TAKE_LEAST)
#undef UFI_TAKE_LEAST
        explain(face, out);
    }
    uf_picture_destroy(owned);
    return st;
}
