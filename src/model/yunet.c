/*
 * YuNet (Wu, Peng & Yu 2023): one candidate per cell; score is the geometric mean of class and
 * objectness, boxes are centre offsets and logarithms of sizes in strides.
 */
#include <math.h>

#include "model/detector.h"

static float unit(float v)
{
    return v > 0 ? (v < 1 ? v : 1) : 0;
}

static void decode_stride(const ufi_detector_config *c, const ufi_detector_outputs *o, int stride,
                          const float *const parts[4], ufi_candidates *out)
{
    size_t columns = o->width / (size_t)stride, rows = o->height / (size_t)stride;
    float s = (float)stride;
    for (size_t i = 0; i < columns * rows; i++) {
        float score = sqrtf(unit(parts[0][i]) * unit(parts[1][i]));
        if (!(score >= c->score))
            continue;
        float x = (float)(i % columns), y = (float)(i / columns);
        const float *box = parts[2] + i * 4, *points = parts[3] + i * 10;
        uf_face f = {.score = score, .has_landmarks = 1};
        f.width = expf(box[2]) * s;
        f.height = expf(box[3]) * s;
        f.x = (x + box[0]) * s - f.width / 2;
        f.y = (y + box[1]) * s - f.height / 2;
        for (int k = 0; k < UF_LANDMARKS; k++)
            f.landmarks[k] = (uf_point){(x + points[2 * k]) * s, (y + points[2 * k + 1]) * s};
        ufi_candidates_add(out, &f);
    }
}

uf_status ufi_decode_yunet(const ufi_detector_config *c, const ufi_detector_outputs *o,
                           ufi_candidates *out, uf_error *err)
{
    for (int i = 0; i < c->stride_count; i++) {
        size_t stride = (size_t)c->strides[i];
        size_t cells = (o->width / stride) * (o->height / stride);
        const float *parts[4] = {
            ufi_detector_output(o, cells, 1, 0), ufi_detector_output(o, cells, 1, 1),
            ufi_detector_output(o, cells, 4, 0), ufi_detector_output(o, cells, 10, 0)};
        if (!parts[0] || !parts[1] || !parts[2] || !parts[3])
            return ufi_fail(err, UF_E_MISMATCH,
                            "the outputs for stride %zu are not those of a YuNet", stride);
        decode_stride(c, o, (int)stride, parts, out);
    }
    return UF_OK;
}
