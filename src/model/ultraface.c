/* UltraFace (Linzaer): scores (background, face) and corner boxes as fractions of the input. */
#include "model/detector.h"

uf_status ufi_decode_ultraface(const ufi_detector_config *c, const ufi_detector_outputs *o,
                               ufi_candidates *out, uf_error *err)
{
    const float *scores = NULL, *boxes = NULL;
    size_t rows = o->count ? o->rows[0] : 0;
    scores = ufi_detector_output(o, rows, 2, 0);
    boxes = ufi_detector_output(o, rows, 4, 0);
    if (!scores || !boxes)
        return ufi_fail(err, UF_E_MISMATCH, "the outputs are not those of an UltraFace");
    float w = (float)o->width, h = (float)o->height;
    for (size_t i = 0; i < rows; i++) {
        const float *b = boxes + i * 4;
        if (!(scores[i * 2 + 1] >= c->score))
            continue;
        uf_face f = {.x = b[0] * w,
                     .y = b[1] * h,
                     .width = (b[2] - b[0]) * w,
                     .height = (b[3] - b[1]) * h,
                     .score = scores[i * 2 + 1] < 1 ? scores[i * 2 + 1] : 1};
        ufi_candidates_add(out, &f);
    }
    return UF_OK;
}
