/*
 * INT8 depthwise convolution for NEON, 16 channels at a time and 8 for the rest: bytes are widened
 * to 16 bits and vmlal multiplies and adds into 32.
 */
#include <string.h>

#include "kernels/arm/qepilogue_neon.h"
#include "kernels/topics.h"

enum { HALF = 8, MAX_HALVES = 2, MAX_TAPS = 64 };

typedef struct block {
    const ufk_qdwconv_args *args;
    size_t channel, count, taps; /* count: channels, 8 to a half, of the last half perhaps fewer */
    int16x8_t weights[MAX_TAPS][MAX_HALVES];
    float scale[MAX_HALVES * HALF], bias[MAX_HALVES * HALF], slope[MAX_HALVES * HALF];
    uint8_t outside[MAX_HALVES * HALF];
} block;

/* The `count` bytes that half `h` of the block has. */
static inline uint8x8_t load_half(const uint8_t *p, int h, size_t count)
{
    uint8_t padded[HALF] = {0};
    if (count >= (size_t)(h + 1) * HALF)
        return vld1_u8(p + h * HALF);
    memcpy(padded, p + h * HALF, count - (size_t)h * HALF);
    return vld1_u8(padded);
}

static void prepare(block *b, const ufk_qdwconv_args *a, size_t channel, int halves)
{
    const size_t left = a->channels - channel, most = (size_t)halves * HALF;
    b->args = a;
    b->channel = channel;
    b->count = left < most ? left : most;
    b->taps = a->kernel_h * a->kernel_w;
    memset(b->outside, a->in_zero, sizeof b->outside);
    for (size_t t = 0; t < b->taps; t++) {
        const uint8_t *w = (const uint8_t *)a->weights + t * a->channels + channel;
        for (int h = 0; h < halves; h++)
            b->weights[t][h] = vmovl_s8(vreinterpret_s8_u8(load_half(w, h, b->count)));
    }
    memset(b->scale, 0, sizeof b->scale);
    memset(b->bias, 0, sizeof b->bias);
    memset(b->slope, 0, sizeof b->slope);
    memcpy(b->scale, a->epilogue.scale + channel, b->count * sizeof *b->scale);
    memcpy(b->bias, a->epilogue.bias + channel, b->count * sizeof *b->bias);
    if (a->epilogue.act == UFK_ACT_PRELU)
        memcpy(b->slope, a->epilogue.slope + channel, b->count * sizeof *b->slope);
}

static inline void store_half(const block *b, size_t at, int h, float32x4_t lo, float32x4_t hi)
{
    const size_t left = b->count - (size_t)h * HALF, count = left < HALF ? left : HALF;
    at += (size_t)h * HALF;
    if (b->args->out_f32) {
        float row[HALF];
        vst1q_f32(row, lo);
        vst1q_f32(row + 4, hi);
        memcpy(b->args->out_f32 + at, row, count * sizeof *row);
    } else if (count == HALF) {
        vst1_u8(b->args->out + at, ufk_to_bytes8(lo, hi));
    } else {
        uint8_t row[HALF];
        vst1_u8(row, ufk_to_bytes8(lo, hi));
        memcpy(b->args->out + at, row, count);
    }
}

static inline __attribute__((always_inline)) void
one_pixel(const block *b, const uint8_t *const *tap, size_t pixel, int halves)
{
    const ufk_qepilogue *e = &b->args->epilogue;
    int32x4_t sum[MAX_HALVES][2];
    for (int h = 0; h < halves; h++)
        sum[h][0] = sum[h][1] = vdupq_n_s32(0);
    for (size_t t = 0; t < b->taps; t++)
        for (int h = 0; h < halves; h++) {
            const int16x8_t x = vreinterpretq_s16_u16(vmovl_u8(load_half(tap[t], h, b->count)));
            const int16x8_t w = b->weights[t][h];
            sum[h][0] = vmlal_s16(sum[h][0], vget_low_s16(x), vget_low_s16(w));
            sum[h][1] = vmlal_high_s16(sum[h][1], x, w);
        }
    for (int h = 0; h < halves; h++) {
        uint16x8_t residual = vdupq_n_u16(0);
        float32x4_t v[2];
        if (e->residual)
            residual = vmovl_u8(
                load_half(e->residual + pixel * e->residual_stride + b->channel, h, b->count));
        for (int q = 0; q < 2; q++) {
            const int at = h * HALF + q * 4;
            v[q] = ufk_finish4(e, sum[h][q], vld1q_f32(b->scale + at), vld1q_f32(b->bias + at),
                               vld1q_f32(b->slope + at),
                               q ? vmovl_high_u16(residual) : vmovl_u16(vget_low_u16(residual)));
        }
        store_half(b, pixel * b->args->channels + b->channel, h, v[0], v[1]);
    }
}

/* Where each tap of output pixel (y, x) lies, and how far it is to that of the next pixel. */
static void find_taps(const block *b, size_t y, size_t x, const uint8_t **tap, size_t *move)
{
    const ufk_qdwconv_args *a = b->args;
    for (size_t ky = 0; ky < a->kernel_h; ky++) {
        const size_t iy = y * a->stride_h + ky * a->dilation_h - a->pad_top; /* wraps below zero */
        for (size_t kx = 0; kx < a->kernel_w; kx++) {
            const size_t ix = x * a->stride_w + kx * a->dilation_w - a->pad_left;
            const bool inside = iy < a->in_h && ix < a->in_w;
            *tap++ = inside ? a->in + (iy * a->in_w + ix) * a->channels + b->channel : b->outside;
            *move++ = inside ? a->stride_w * a->channels : 0;
        }
    }
}

static inline __attribute__((always_inline)) void all_rows(const block *b, int halves)
{
    const ufk_qdwconv_args *a = b->args;
    const uint8_t *tap[MAX_TAPS];
    size_t move[MAX_TAPS];
    for (size_t y = a->y_begin; y < a->y_end; y++) {
        bool known = false;
        for (size_t x = 0; x < a->out_w; x++) {
            /* While the window is inside, left and right, the taps only move on. */
            const size_t first = x * a->stride_w;
            const bool inner = first >= a->pad_left &&
                               first - a->pad_left + (a->kernel_w - 1) * a->dilation_w < a->in_w;
            for (size_t t = 0; known && inner && t < b->taps; t++)
                tap[t] += move[t];
            if (!known || !inner)
                find_taps(b, y, x, tap, move);
            known = inner;
            one_pixel(b, tap, y * a->out_w + x, halves);
        }
    }
}

static void ufk_dwconv_u8_neon(const ufk_qdwconv_args *a)
{
    block b;
    if (a->kernel_h * a->kernel_w > MAX_TAPS) {
        ufk_dwconv_u8_c(a);
        return;
    }
    for (size_t c = 0; c < a->channels;) {
        const bool wide = a->channels - c >= MAX_HALVES * HALF;
        prepare(&b, a, c, wide ? 2 : 1);
        if (wide)
            all_rows(&b, 2);
        else
            all_rows(&b, 1);
        c += b.count;
    }
}

void ufk_qdwconv_select_neon(ufk_table *t)
{
    t->dwconv_u8 = ufk_dwconv_u8_neon;
    t->dwconv_u8_name = "dwconv_u8_neon";
}
