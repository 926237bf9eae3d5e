/*
 * The loops over rows of channels that training spends its time in beside oneDNN: activations and
 * scales per channel, forward and back, with the sums that batch normalisation needs. grad_rows.c
 * is compiled once for each generation of CPUs. Data are FP32 or BF16, arithmetic is FP32.
 * Private to training networks.
 */
#ifndef UFI_TRAIN_GRAD_ROWS_H
#define UFI_TRAIN_GRAD_ROWS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum ufi_curve_kind {
    UFI_CURVE_NONE,
    UFI_CURVE_RELU,
    UFI_CURVE_CLAMP, /* to lo..hi */
    UFI_CURVE_PRELU,
    UFI_CURVE_LEAKY, /* alpha below 0 */
    UFI_CURVE_HARD_SWISH,
    UFI_CURVE_SILU, /* z * sigmoid(alpha * z) */
    UFI_CURVE_SIGMOID,
    UFI_CURVE_HARD_SIGMOID, /* alpha * z + beta in 0..1 */
    UFI_CURVE_TANH,
    UFI_CURVE_LINEAR /* alpha * z */
} ufi_curve_kind;

typedef struct ufi_curve {
    ufi_curve_kind kind;
    float lo, hi, alpha, beta;
} ufi_curve;

/* y = curve(z), z = x * scale[c] + shift[c], or z = x when scale is NULL. Sums are gathered in
 * blocks of rows in FP32 (`block`), those in double. */
typedef struct ufi_row_job {
    bool bf16;
    size_t channels;
    ufi_curve curve;
    const void *x, *dy;
    void *y; /* dx on the way back */
    const float *scale, *shift, *slope;
    /* Back: dx (+)= dz * gain[c] + x * pull[c] + offset[c]; dx (+)= dz when gain is NULL. */
    const float *gain, *pull, *offset;
    bool add;
    const float *pivot; /* subtracted from x in sums */
    float *block;       /* 3 * channels, per caller */
    double *sums;       /* 3 * channels: added to */
} ufi_row_job;

/* A row of a depthwise convolution's output and the rows of its input that as many rows of the
 * kernel look at (NULL: outside of the picture):
 * acc[row][tap][c] += dy[o][c] * x[row][o * stride + tap * dilation - pad][c]. */
enum { UFI_TAP_ROWS = 3 };
typedef struct ufi_tap_rows {
    const void *x[UFI_TAP_ROWS], *dy;
    int rows;
    int64_t in, out; /* pixels */
    int64_t taps, stride, dilation, pad;
    size_t channels;
    float *acc;
} ufi_tap_rows;

typedef struct ufi_rows {
    void (*forward)(const ufi_row_job *j, size_t from, size_t to);
    void (*back)(const ufi_row_job *j, size_t from, size_t to);
    /* sums[0][c] += x - pivot, sums[1][c] += (x - pivot)^2 */
    void (*moments)(const ufi_row_job *j, size_t from, size_t to);
    /* sums[0][c] += dz, sums[1][c] += dz * (x - pivot), sums[2][c] += dy * z where z < 0 (the
     * gradient of the slope; for PRELU only) */
    void (*back_sums)(const ufi_row_job *j, size_t from, size_t to);
    void (*taps)(bool bf16, const ufi_tap_rows *t);
    /* y = a + b, n numbers, all of one type */
    void (*add)(bool bf16, void *y, const void *a, const void *b, size_t n);
    void (*to_bf16)(uint16_t *y, const float *x, size_t n);
    void (*to_f32)(float *y, const uint16_t *x, size_t n);
} ufi_rows;

/* The best that this machine has. */
const ufi_rows *ufi_rows_pick(void);

#endif
