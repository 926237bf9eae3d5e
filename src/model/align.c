/*
 * Umeyama's least-squares similarity. In two dimensions without mirroring it has a closed form:
 * seen as complex numbers, the rotation and scale are sum(conj(a) b) / sum(|a|^2) of the centred
 * points.
 */
#include "model/align.h"

#include <math.h>

const float ufi_align_arcface[10] = {0.34191607f, 0.46157411f, 0.65653393f, 0.45983393f,
                                     0.500225f,   0.64050536f, 0.37097589f, 0.82469196f,
                                     0.63151696f, 0.82325089f};

uf_status ufi_umeyama(const uf_point *from, const uf_point *to, int count, double m[6],
                      uf_error *err)
{
    double fx = 0, fy = 0, tx = 0, ty = 0, real = 0, imaginary = 0, spread = 0;
    for (int i = 0; i < count; i++) {
        if (!isfinite(from[i].x) || !isfinite(from[i].y))
            return ufi_fail(err, UF_E_ARG, "landmark %d is not finite", i);
        fx += (double)from[i].x / count;
        fy += (double)from[i].y / count;
        tx += (double)to[i].x / count;
        ty += (double)to[i].y / count;
    }
    for (int i = 0; i < count; i++) {
        double ax = (double)from[i].x - fx, ay = (double)from[i].y - fy;
        double bx = (double)to[i].x - tx, by = (double)to[i].y - ty;
        real += ax * bx + ay * by;
        imaginary += ax * by - ay * bx;
        spread += ax * ax + ay * ay;
    }
    if (spread < 1e-6 || real * real + imaginary * imaginary < 1e-12)
        return ufi_fail(err, UF_E_ARG, "the landmarks coincide: the face cannot be aligned");
    double c = real / spread, s = imaginary / spread;
    m[0] = c, m[1] = -s, m[2] = tx - c * fx + s * fy;
    m[3] = s, m[4] = c, m[5] = ty - s * fx - c * fy;
    return UF_OK;
}

uf_status ufi_align_matrix(const uf_point landmarks[UF_LANDMARKS], const float template_points[10],
                           int32_t size, float m[6], uf_error *err)
{
    uf_point from[UF_LANDMARKS], to[UF_LANDMARKS];
    double f[6] = {0};
    for (int i = 0; i < UF_LANDMARKS; i++) {
        /* Points are taken as detectors give them, without a shift by half a pixel: so did the
         * pipelines that embedders were trained with, and it is worth 0.3 points on LFW. */
        from[i] = landmarks[i];
        to[i] = (uf_point){template_points[2 * i] * (float)size,
                           template_points[2 * i + 1] * (float)size};
    }
    uf_status st = ufi_umeyama(from, to, UF_LANDMARKS, f, err);
    if (st)
        return st;
    double det = f[0] * f[4] - f[1] * f[3];
    double a = f[4] / det, b = -f[1] / det, c = -f[3] / det, d = f[0] / det;
    m[0] = (float)a, m[1] = (float)b, m[2] = (float)(-a * f[2] - b * f[5]);
    m[3] = (float)c, m[4] = (float)d, m[5] = (float)(-c * f[2] - d * f[5]);
    return UF_OK;
}
