/* Inner products, NEON. */
#include <arm_neon.h>

#include "kernels/topics.h"

static float ufk_dot_f32_neon(const float *a, const float *b, size_t count)
{
    float32x4_t s[4];
    size_t i = 0;
    for (int k = 0; k < 4; k++)
        s[k] = vdupq_n_f32(0);
    for (; i + 16 <= count; i += 16)
        for (int k = 0; k < 4; k++)
            s[k] = vfmaq_f32(s[k], vld1q_f32(a + i + k * 4), vld1q_f32(b + i + k * 4));
    float tail = 0;
    for (; i < count; i++)
        tail += a[i] * b[i];
    return vaddvq_f32(vaddq_f32(vaddq_f32(s[0], s[1]), vaddq_f32(s[2], s[3]))) + tail;
}

static void ufk_dot_i8_neon(int32_t *out, const int8_t *probe, const int8_t *const *codes,
                            size_t count, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        int32x4_t sum = vdupq_n_s32(0);
        for (size_t k = 0; k < n; k += 16) {
            const int8x16_t p = vld1q_s8(probe + k), c = vld1q_s8(codes[i] + k);
            sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(p), vget_low_s8(c)));
            sum = vpadalq_s16(sum, vmull_s8(vget_high_s8(p), vget_high_s8(c)));
        }
        out[i] = vaddvq_s32(sum);
    }
}

void ufk_dot_select_neon(ufk_table *t)
{
    t->dot_f32 = ufk_dot_f32_neon;
    t->dot_f32_name = "dot_f32_neon";
    t->dot_i8 = ufk_dot_i8_neon;
    t->dot_i8_name = "dot_i8_neon";
}
