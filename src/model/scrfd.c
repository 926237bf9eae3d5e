/*
 * SCRFD (Guo et al. 2021): several anchors per cell at its corner; boxes are distances to the four
 * sides in strides, points are offsets in strides.
 */
#include "model/detector.h"

static void decode_stride(const ufi_detector_config *c, const ufi_detector_outputs *o, int stride,
                          const float *const parts[3], ufi_candidates *out)
{
    size_t columns = o->width / (size_t)stride, rows = o->height / (size_t)stride;
    size_t anchors = (size_t)c->anchors;
    float s = (float)stride;
    for (size_t i = 0; i < columns * rows * anchors; i++) {
        if (!(parts[0][i] >= c->score))
            continue;
        float x = (float)(i / anchors % columns) * s, y = (float)(i / anchors / columns) * s;
        const float *box = parts[1] + i * 4, *points = parts[2] ? parts[2] + i * 10 : NULL;
        uf_face f = {.score = parts[0][i] < 1 ? parts[0][i] : 1, .has_landmarks = points != NULL};
        f.x = x - box[0] * s;
        f.y = y - box[1] * s;
        f.width = (box[0] + box[2]) * s;
        f.height = (box[1] + box[3]) * s;
        for (int k = 0; points && k < UF_LANDMARKS; k++)
            f.landmarks[k] = (uf_point){x + points[2 * k] * s, y + points[2 * k + 1] * s};
        ufi_candidates_add(out, &f);
    }
}

uf_status ufi_decode_scrfd(const ufi_detector_config *c, const ufi_detector_outputs *o,
                           ufi_candidates *out, uf_error *err)
{
    for (int i = 0; i < c->stride_count; i++) {
        size_t stride = (size_t)c->strides[i];
        size_t rows = (o->width / stride) * (o->height / stride) * (size_t)c->anchors;
        const float *parts[3] = {ufi_detector_output(o, rows, 1, 0),
                                 ufi_detector_output(o, rows, 4, 0),
                                 ufi_detector_output(o, rows, 10, 0)};
        if (!parts[0] || !parts[1])
            return ufi_fail(err, UF_E_MISMATCH,
                            "the outputs for stride %zu are not those of an SCRFD", stride);
        decode_stride(c, o, (int)stride, parts, out);
    }
    return UF_OK;
}
