/*
 * RetinaFace (Deng et al. 2019): boxes and points relative to priors (SSD's coding), scores after
 * softmax.
 */
#include "model/detector.h"

typedef struct retina_job {
    const ufi_detector_config *c;
    const float *scores, *boxes, *points;
    ufi_candidates *out;
} retina_job;

static void take_prior(void *arg, size_t i, float x, float y, float size)
{
    const retina_job *j = arg;
    float score = j->scores[i * 2 + 1], centre = j->c->variances[0] * size;
    if (!(score >= j->c->score))
        return;
    uf_face f = {.score = score < 1 ? score : 1, .has_landmarks = 1};
    ufi_decode_prior_box(j->c, x, y, size, j->boxes + i * 4, &f);
    for (int k = 0; k < UF_LANDMARKS; k++)
        f.landmarks[k] = (uf_point){x + j->points[i * 10 + (size_t)k * 2] * centre,
                                    y + j->points[i * 10 + (size_t)k * 2 + 1] * centre};
    ufi_candidates_add(j->out, &f);
}

uf_status ufi_decode_retinaface(const ufi_detector_config *c, const ufi_detector_outputs *o,
                                ufi_candidates *out, uf_error *err)
{
    size_t rows = ufi_each_prior(c, o, NULL, NULL);
    retina_job j = {c, ufi_detector_output(o, rows, 2, 0), ufi_detector_output(o, rows, 4, 0),
                    ufi_detector_output(o, rows, 10, 0), out};
    if (!rows || !j.scores || !j.boxes || !j.points)
        return ufi_fail(err, UF_E_MISMATCH,
                        "the outputs are not those of a RetinaFace with these priors");
    ufi_each_prior(c, o, take_prior, &j);
    return UF_OK;
}
