/* Alignment by five points. Floor 5. Thread: any. */
#ifndef UFI_MODEL_ALIGN_H
#define UFI_MODEL_ALIGN_H

#include "base/status.h"
#include "uniface/face.h"

/* ArcFace's template as fractions of the crop's side: x, y of five points. */
extern const float ufi_align_arcface[10];

/* The similarity that takes `from` to `to` with the least squared error (Umeyama 1991), without
 * mirroring: x' = m0 x + m1 y + m2, y' = m3 x + m4 y + m5. UF_E_ARG when points are not finite or
 * coincide. */
uf_status ufi_umeyama(const uf_point *from, const uf_point *to, int count, double m[6],
                      uf_error *err);
/* The transform from crop pixels to picture pixels (centres at integers) that puts `landmarks` on
 * the template scaled to `size`. */
uf_status ufi_align_matrix(const uf_point landmarks[UF_LANDMARKS], const float template_points[10],
                           int32_t size, float m[6], uf_error *err);

#endif
