/*
 * RetinaFace (Deng et al. 2019): priors of given sizes at each cell's centre; boxes and points
 * relative to them, scaled by variances (SSD's coding); scores after softmax.
 */
#include <math.h>

#include "model/detector.h"

typedef struct prior {
    float x, y, size;
} prior;

static void decode_prior(const ufi_detector_config *c, prior p, size_t i,
                         const float *const parts[3], ufi_candidates *out)
{
    float score = parts[0][i * 2 + 1];
    if (!(score >= c->score))
        return;
    const float *box = parts[1] + i * 4, *points = parts[2] + i * 10;
    float centre = c->variances[0] * p.size;
    uf_face f = {.score = score < 1 ? score : 1, .has_landmarks = 1};
    f.width = p.size * expf(box[2] * c->variances[1]);
    f.height = p.size * expf(box[3] * c->variances[1]);
    f.x = p.x + box[0] * centre - f.width / 2;
    f.y = p.y + box[1] * centre - f.height / 2;
    for (int k = 0; k < UF_LANDMARKS; k++)
        f.landmarks[k] = (uf_point){p.x + points[2 * k] * centre, p.y + points[2 * k + 1] * centre};
    ufi_candidates_add(out, &f);
}

uf_status ufi_decode_retinaface(const ufi_detector_config *c, const ufi_detector_outputs *o,
                                ufi_candidates *out, uf_error *err)
{
    size_t total = 0, i = 0;
    for (int s = 0; s < c->stride_count; s++) {
        size_t stride = (size_t)c->strides[s];
        total += ((o->width + stride - 1) / stride) * ((o->height + stride - 1) / stride) *
                 (size_t)c->anchors;
    }
    const float *parts[3] = {ufi_detector_output(o, total, 2, 0),
                             ufi_detector_output(o, total, 4, 0),
                             ufi_detector_output(o, total, 10, 0)};
    if (!parts[0] || !parts[1] || !parts[2] || c->prior_count != c->stride_count * c->anchors)
        return ufi_fail(err, UF_E_MISMATCH,
                        "the outputs are not those of a RetinaFace with these priors");
    for (int s = 0; s < c->stride_count; s++) {
        size_t stride = (size_t)c->strides[s];
        size_t columns = (o->width + stride - 1) / stride, rows = (o->height + stride - 1) / stride;
        for (size_t cell = 0; cell < columns * rows; cell++)
            for (int a = 0; a < c->anchors; a++, i++) {
                prior p = {((float)(cell % columns) + 0.5f) * (float)stride,
                           ((float)(cell / columns) + 0.5f) * (float)stride,
                           c->priors[s * c->anchors + a]};
                decode_prior(c, p, i, parts, out);
            }
    }
    return UF_OK;
}
