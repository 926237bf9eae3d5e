/* Inner product of signed bytes, Arm dot product instructions. */
#include <arm_neon.h>

#include "kernels/topics.h"

static void ufk_dot_i8_dotprod(int32_t *out, const int8_t *probe, const int8_t *const *codes,
                               size_t count, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        int32x4_t a = vdupq_n_s32(0), b = vdupq_n_s32(0);
        for (size_t k = 0; k < n; k += 32) {
            a = vdotq_s32(a, vld1q_s8(probe + k), vld1q_s8(codes[i] + k));
            b = vdotq_s32(b, vld1q_s8(probe + k + 16), vld1q_s8(codes[i] + k + 16));
        }
        out[i] = vaddvq_s32(vaddq_s32(a, b));
    }
}

void ufk_dot_select_dotprod(ufk_table *t)
{
    t->dot_i8 = ufk_dot_i8_dotprod;
    t->dot_i8_name = "dot_i8_dotprod";
}
