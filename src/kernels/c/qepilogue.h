/* What follows an integer sum, for one element: the reference of every INT8 epilogue. */
#ifndef UFK_C_QEPILOGUE_H
#define UFK_C_QEPILOGUE_H

#include <math.h>

#include "kernels/kernels.h"

/* `residual` points at the output pixel's channel 0, or is NULL. */
static inline float ufk_qfinish(const ufk_qepilogue *e, int32_t sum, const uint8_t *residual,
                                size_t channel)
{
    float v = fmaf((float)sum, e->scale[channel], e->bias[channel]);
    if (residual)
        v = fmaf((float)residual[channel], e->residual_scale, v);
    if (e->act == UFK_ACT_PRELU) {
        v = v < 0 ? v * e->slope[channel] : v;
        v = fmaf(v, e->out_scale, e->zero);
    } else if (e->act == UFK_ACT_HARD_SWISH) {
        float gate = fmaf(v, 1.0f / 6, 0.5f);
        gate = gate > 0 ? gate : 0;
        v = v * (gate < 1 ? gate : 1);
        v = fmaf(v, e->out_scale, e->zero);
    }
    v = v > e->lo ? v : e->lo;
    return v < e->hi ? v : e->hi;
}

static inline uint8_t ufk_round_u8(float v)
{
    return (uint8_t)rintf(v);
}

#endif
