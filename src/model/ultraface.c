/*
 * UltraFace (Linzaer): scores (background, face), and boxes: corners as fractions of the input, or,
 * when the model names priors, in SSD's coding.
 */
#include "model/detector.h"

typedef struct ultra_job {
    const ufi_detector_config *c;
    const float *scores, *boxes;
    ufi_candidates *out;
} ultra_job;

static bool is_face(const ultra_job *j, size_t i, uf_face *f)
{
    float score = j->scores[i * 2 + 1];
    *f = (uf_face){.score = score < 1 ? score : 1};
    return score >= j->c->score;
}

static void take_prior(void *arg, size_t i, float x, float y, float size)
{
    const ultra_job *j = arg;
    uf_face f;
    if (!is_face(j, i, &f))
        return;
    ufi_decode_prior_box(j->c, x, y, size, j->boxes + i * 4, &f);
    ufi_candidates_add(j->out, &f);
}

static void take_corners(const ultra_job *j, size_t i, float w, float h)
{
    const float *b = j->boxes + i * 4;
    uf_face f;
    if (!is_face(j, i, &f))
        return;
    f.x = b[0] * w;
    f.y = b[1] * h;
    f.width = (b[2] - b[0]) * w;
    f.height = (b[3] - b[1]) * h;
    ufi_candidates_add(j->out, &f);
}

uf_status ufi_decode_ultraface(const ufi_detector_config *c, const ufi_detector_outputs *o,
                               ufi_candidates *out, uf_error *err)
{
    size_t rows = c->prior_count ? ufi_each_prior(c, o, NULL, NULL) : o->count ? o->rows[0] : 0;
    ultra_job j = {c, ufi_detector_output(o, rows, 2, 0), ufi_detector_output(o, rows, 4, 0), out};
    if (!rows || !j.scores || !j.boxes)
        return ufi_fail(err, UF_E_MISMATCH, "the outputs are not those of an UltraFace");
    if (c->prior_count)
        ufi_each_prior(c, o, take_prior, &j);
    for (size_t i = 0; !c->prior_count && i < rows; i++)
        take_corners(&j, i, (float)o->width, (float)o->height);
    return UF_OK;
}
