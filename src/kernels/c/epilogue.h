/* What follows a convolution's sum, for one element: the reference of every fused epilogue. */
#ifndef UFK_C_EPILOGUE_H
#define UFK_C_EPILOGUE_H

#include <math.h>

#include "kernels/kernels.h"

static inline float ufk_activate(const ufk_epilogue *e, float v, size_t channel)
{
    switch (e->act) {
    case UFK_ACT_NONE:
        return v;
    case UFK_ACT_CLAMP:
        v = v > e->lo ? v : e->lo;
        return v < e->hi ? v : e->hi;
    case UFK_ACT_PRELU:
        return v >= 0 ? v : v * e->slope[channel];
    case UFK_ACT_HARD_SWISH: {
        float gate = v / 6 + 0.5f;
        return v * (gate < 0 ? 0 : gate > 1 ? 1 : gate);
    }
    case UFK_ACT_SILU:
        return v / (1 + expf(-v));
    case UFK_ACT_SIGMOID:
        return 1 / (1 + expf(-v));
    }
    return v;
}

/* `residual` points at the output pixel's channel 0, or is NULL. */
static inline float ufk_finish(const ufk_epilogue *e, float sum, const float *residual,
                               size_t channel)
{
    float v = sum + (e->bias ? e->bias[channel] : 0);
    if (residual)
        v += residual[channel];
    return ufk_activate(e, v, channel);
}

#endif
