/* Between FP32 and bytes, and simple operators on bytes: NEON. Tails go through a padded copy. */
#include <string.h>

#include "kernels/arm/qepilogue_neon.h"
#include "kernels/topics.h"

enum { STEP = 8 };

static inline float32x4_t low_floats(uint8x8_t bytes)
{
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(bytes))));
}

static inline float32x4_t high_floats(uint8x8_t bytes)
{
    return vcvtq_f32_u32(vmovl_high_u16(vmovl_u8(bytes)));
}

typedef struct quantizer {
    float32x4_t scale, lo, hi;
    int32x4_t zero;
} quantizer;

static inline int16x4_t quantize4(const float *in, const quantizer *q)
{
    const float32x4_t v = ufk_clamp4(vdivq_f32(vld1q_f32(in), q->scale), q->lo, q->hi);
    return vqmovn_s32(vaddq_s32(vcvtnq_s32_f32(v), q->zero));
}

static inline void quantize8(uint8_t *out, const float *in, const quantizer *q)
{
    vst1_u8(out, vqmovun_s16(vcombine_s16(quantize4(in, q), quantize4(in + 4, q))));
}

static void ufk_quantize_u8_neon(uint8_t *out, const float *in, size_t count, float scale,
                                 uint8_t zero)
{
    const quantizer q = {vdupq_n_f32(scale), vdupq_n_f32(-(float)zero),
                         vdupq_n_f32((float)(255 - zero)), vdupq_n_s32(zero)};
    size_t i = 0;
    for (; i + STEP <= count; i += STEP)
        quantize8(out + i, in + i, &q);
    if (i < count) {
        float last[STEP] = {0};
        uint8_t bytes[STEP];
        memcpy(last, in + i, (count - i) * sizeof *in);
        quantize8(bytes, last, &q);
        memcpy(out + i, bytes, count - i);
    }
}

static inline void dequantize8(float *out, const uint8_t *in, float32x4_t scale, float32x4_t zero)
{
    const uint8x8_t bytes = vld1_u8(in);
    vst1q_f32(out, vmulq_f32(vsubq_f32(low_floats(bytes), zero), scale));
    vst1q_f32(out + 4, vmulq_f32(vsubq_f32(high_floats(bytes), zero), scale));
}

static void ufk_dequantize_u8_neon(float *out, const uint8_t *in, size_t count, float scale,
                                   float zero)
{
    const float32x4_t factor = vdupq_n_f32(scale), shift = vdupq_n_f32(zero);
    size_t i = 0;
    for (; i + STEP <= count; i += STEP)
        dequantize8(out + i, in + i, factor, shift);
    if (i < count) {
        uint8_t last[STEP] = {0};
        float floats[STEP];
        memcpy(last, in + i, count - i);
        dequantize8(floats, last, factor, shift);
        memcpy(out + i, floats, (count - i) * sizeof *out);
    }
}

typedef struct adder {
    float32x4_t a_scale, b_scale, shift;
} adder;

static inline float32x4_t add4(float32x4_t a, float32x4_t b, const adder *s)
{
    const float32x4_t v = vfmaq_f32(vfmaq_f32(s->shift, b, s->b_scale), a, s->a_scale);
    return ufk_clamp4(v, vdupq_n_f32(0), vdupq_n_f32(255));
}

static inline void add8(uint8_t *out, const uint8_t *a, const uint8_t *b, const adder *s)
{
    const uint8x8_t x = vld1_u8(a), y = vld1_u8(b);
    vst1_u8(out, ufk_to_bytes8(add4(low_floats(x), low_floats(y), s),
                               add4(high_floats(x), high_floats(y), s)));
}

static void ufk_add_u8_neon(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t count,
                            float a_scale, float b_scale, float shift)
{
    const adder s = {vdupq_n_f32(a_scale), vdupq_n_f32(b_scale), vdupq_n_f32(shift)};
    size_t i = 0;
    for (; i + STEP <= count; i += STEP)
        add8(out + i, a + i, b + i, &s);
    if (i < count) {
        uint8_t last_a[STEP] = {0}, last_b[STEP] = {0}, bytes[STEP];
        memcpy(last_a, a + i, count - i);
        memcpy(last_b, b + i, count - i);
        add8(bytes, last_a, last_b, &s);
        memcpy(out + i, bytes, count - i);
    }
}

/* Maximum of `max` and `in`, byte by byte. */
static void take_max(uint8_t *max, const uint8_t *in, size_t count)
{
    size_t i = 0;
    for (; i + 16 <= count; i += 16)
        vst1q_u8(max + i, vmaxq_u8(vld1q_u8(max + i), vld1q_u8(in + i)));
    for (; i < count; i++)
        max[i] = in[i] > max[i] ? in[i] : max[i];
}

static void ufk_max_pool_u8_neon(uint8_t *out, const uint8_t *in, const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++) {
            uint8_t *max = out + (y * p->out_w + x) * p->channels;
            memset(max, 0, p->channels);
            for (size_t t = 0; t < p->kernel_h * p->kernel_w; t++) {
                size_t iy = y * p->stride_h + t / p->kernel_w * p->dilation_h - p->pad_top;
                size_t ix = x * p->stride_w + t % p->kernel_w * p->dilation_w - p->pad_left;
                if (iy < p->in_h && ix < p->in_w) /* wraps below zero */
                    take_max(max, in + (iy * p->in_w + ix) * p->channels, p->channels);
            }
        }
}

static void ufk_interleave3_u8_neon(uint8_t *out, const uint8_t *planes, size_t pixels)
{
    size_t i = 0;
    for (; i + 16 <= pixels; i += 16) {
        const uint8x16x3_t rgb = {{vld1q_u8(planes + i), vld1q_u8(planes + pixels + i),
                                   vld1q_u8(planes + 2 * pixels + i)}};
        vst3q_u8(out + i * 3, rgb);
    }
    for (; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            out[i * 3 + c] = planes[c * pixels + i];
}

void ufk_quant_select_neon(ufk_table *t)
{
    t->quantize_u8 = ufk_quantize_u8_neon;
    t->dequantize_u8 = ufk_dequantize_u8_neon;
    t->add_u8 = ufk_add_u8_neon;
    t->max_pool_u8 = ufk_max_pool_u8_neon;
    t->interleave3_u8 = ufk_interleave3_u8_neon;
    t->quant_u8_name = "quant_u8_neon";
}
