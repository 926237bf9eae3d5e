/*
 * What follows the sums of INT8 convolutions, for four columns. Included by files of the NEON
 * generation and later; everything is inlined into them. Floor 2.
 */
#ifndef UFK_ARM_QEPILOGUE_NEON_H
#define UFK_ARM_QEPILOGUE_NEON_H

#include <arm_neon.h>

#include "kernels/kernels.h"

/* Comparisons and choices rather than vmaxq, so that a NaN becomes the bound as in the reference.
 */
static inline __attribute__((always_inline)) float32x4_t ufk_clamp4(float32x4_t v, float32x4_t lo,
                                                                    float32x4_t hi)
{
    v = vbslq_f32(vcgtq_f32(v, lo), v, lo);
    return vbslq_f32(vcltq_f32(v, hi), v, hi);
}

/* What ufk_qfinish does, for four columns; `residual` where the epilogue has one. */
static inline __attribute__((always_inline)) float32x4_t
ufk_finish4(const ufk_qepilogue *e, int32x4_t sum, float32x4_t scale, float32x4_t bias,
            float32x4_t slope, uint32x4_t residual)
{
    const float32x4_t zero = vdupq_n_f32(0), one = vdupq_n_f32(1);
    float32x4_t v = vfmaq_f32(bias, vcvtq_f32_s32(sum), scale);
    if (e->residual)
        v = vfmaq_f32(v, vcvtq_f32_u32(residual), vdupq_n_f32(e->residual_scale));
    if (e->act == UFK_ACT_PRELU) {
        v = vbslq_f32(vcltq_f32(v, zero), vmulq_f32(v, slope), v);
        v = vfmaq_f32(vdupq_n_f32(e->zero), v, vdupq_n_f32(e->out_scale));
    } else if (e->act == UFK_ACT_HARD_SWISH) {
        const float32x4_t gate =
            ufk_clamp4(vfmaq_f32(vdupq_n_f32(0.5f), v, vdupq_n_f32(1.0f / 6)), zero, one);
        v = vfmaq_f32(vdupq_n_f32(e->zero), vmulq_f32(v, gate), vdupq_n_f32(e->out_scale));
    }
    return ufk_clamp4(v, vdupq_n_f32(e->lo), vdupq_n_f32(e->hi));
}

/* Eight numbers to bytes, to nearest, ties to even. */
static inline __attribute__((always_inline)) uint8x8_t ufk_to_bytes8(float32x4_t lo, float32x4_t hi)
{
    return vqmovun_s16(
        vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(lo)), vqmovn_s32(vcvtnq_s32_f32(hi))));
}

#endif
