/*
 * See grad_rows.h. Every loop is written once, with the type and the curve as arguments that are
 * constant where it is used, so that the compiler makes a plain loop of vectors for each pair.
 */
#include "train/grad_rows.h"

#include <string.h>

/* The loop that follows writes nothing that it reads in another turn. One body for all cases has no
 * form in vectors, of which clang would warn. */
#ifdef UFI_ROWS_ONE_BODY
#define UFI_NO_DEPENDENCE
#elif defined(__clang__)
#define UFI_NO_DEPENDENCE _Pragma("clang loop vectorize(assume_safety)")
#else
#define UFI_NO_DEPENDENCE _Pragma("GCC ivdep")
#endif

#define ALWAYS static inline __attribute__((always_inline))
#define SUM_ROWS 64 /* rows that are summed in FP32 before they go to the double sums */

ALWAYS float bits_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

ALWAYS uint32_t float_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

ALWAYS float load(bool bf16, const void *p, size_t i)
{
    return bf16 ? bits_float((uint32_t)((const uint16_t *)p)[i] << 16) : ((const float *)p)[i];
}

/* To the nearest, ties to even; what is no number stays none. */
ALWAYS uint16_t round_bf16(float v)
{
    uint32_t u = float_bits(v);
    uint32_t rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? (u >> 16) | 0x40 : rounded);
}

ALWAYS void store(bool bf16, void *p, size_t i, float v)
{
    if (bf16)
        ((uint16_t *)p)[i] = round_bf16(v);
    else
        ((float *)p)[i] = v;
}

ALWAYS const void *row(bool bf16, const void *p, size_t i)
{
    return bf16 ? (const void *)((const uint16_t *)p + i) : (const void *)((const float *)p + i);
}

ALWAYS void *row_of(bool bf16, void *p, size_t i)
{
    return bf16 ? (void *)((uint16_t *)p + i) : (void *)((float *)p + i);
}

/* e^x to a few units in the last place: 2^n times a polynomial over -ln 2 / 2 .. ln 2 / 2. */
ALWAYS float exponential(float x)
{
    x = x < -87 ? -87 : x > 88 ? 88 : x;
    float t = x * 1.44269504f + 12582912.0f, n = t - 12582912.0f;
    float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1;
    return p * bits_float((float_bits(t) << 23) + 0x3f800000);
}

ALWAYS float sigmoid(float z)
{
    return 1 / (1 + exponential(-z));
}

ALWAYS float curve_value(ufi_curve_kind kind, const ufi_curve *c, float z, float slope)
{
    switch (kind) {
    case UFI_CURVE_RELU:
        return z < 0 ? 0 : z;
    case UFI_CURVE_CLAMP:
        return z < c->lo ? c->lo : z > c->hi ? c->hi : z;
    case UFI_CURVE_PRELU:
        return z < 0 ? z * slope : z;
    case UFI_CURVE_LEAKY:
        return z < 0 ? z * c->alpha : z;
    case UFI_CURVE_HARD_SWISH: {
        float g = z * (1.0f / 6) + 0.5f;
        return z * (g < 0 ? 0 : g > 1 ? 1 : g);
    }
    case UFI_CURVE_SILU:
        return z * sigmoid(c->alpha * z);
    case UFI_CURVE_SIGMOID:
        return sigmoid(z);
    case UFI_CURVE_HARD_SIGMOID: {
        float g = z * c->alpha + c->beta;
        return g < 0 ? 0 : g > 1 ? 1 : g;
    }
    case UFI_CURVE_TANH:
        return 2 * sigmoid(2 * z) - 1;
    case UFI_CURVE_LINEAR:
        return z * c->alpha;
    default:
        return z;
    }
}

/* The derivative; at a corner the side that is flat. */
ALWAYS float curve_slope(ufi_curve_kind kind, const ufi_curve *c, float z, float slope)
{
    switch (kind) {
    case UFI_CURVE_RELU:
        return z > 0 ? 1 : 0;
    case UFI_CURVE_CLAMP:
        return ((z > c->lo) & (z < c->hi)) ? 1 : 0;
    case UFI_CURVE_PRELU:
        return z < 0 ? slope : 1;
    case UFI_CURVE_LEAKY:
        return z < 0 ? c->alpha : 1;
    case UFI_CURVE_HARD_SWISH: {
        float inside = z * (1.0f / 3) + 0.5f;
        return z <= -3 ? 0 : z >= 3 ? 1 : inside;
    }
    case UFI_CURVE_SILU: {
        float s = sigmoid(c->alpha * z);
        return s + c->alpha * z * s * (1 - s);
    }
    case UFI_CURVE_SIGMOID: {
        float s = sigmoid(z);
        return s * (1 - s);
    }
    case UFI_CURVE_HARD_SIGMOID: {
        float g = z * c->alpha + c->beta;
        return ((g > 0) & (g < 1)) ? c->alpha : 0;
    }
    case UFI_CURVE_TANH: {
        float t = 2 * sigmoid(2 * z) - 1;
        return 1 - t * t;
    }
    case UFI_CURVE_LINEAR:
        return c->alpha;
    default:
        return 1;
    }
}

/* Calls body(bf16, kind, scaled, ...) with the first three constant. */
#define CASE(body, kind, ...)                      \
    case kind:                                     \
        if (j->bf16 && j->scale)                   \
            body(true, kind, true, __VA_ARGS__);   \
        else if (j->bf16)                          \
            body(true, kind, false, __VA_ARGS__);  \
        else if (j->scale)                         \
            body(false, kind, true, __VA_ARGS__);  \
        else                                       \
            body(false, kind, false, __VA_ARGS__); \
        break;
#ifdef UFI_ROWS_ONE_BODY
#define SPECIALISE(body, ...) body(j->bf16, j->curve.kind, j->scale != NULL, __VA_ARGS__);
#else
#define SPECIALISE(body, ...)                           \
    switch (j->curve.kind) {                            \
        CASE(body, UFI_CURVE_NONE, __VA_ARGS__)         \
        CASE(body, UFI_CURVE_RELU, __VA_ARGS__)         \
        CASE(body, UFI_CURVE_CLAMP, __VA_ARGS__)        \
        CASE(body, UFI_CURVE_PRELU, __VA_ARGS__)        \
        CASE(body, UFI_CURVE_LEAKY, __VA_ARGS__)        \
        CASE(body, UFI_CURVE_HARD_SWISH, __VA_ARGS__)   \
        CASE(body, UFI_CURVE_SILU, __VA_ARGS__)         \
        CASE(body, UFI_CURVE_SIGMOID, __VA_ARGS__)      \
        CASE(body, UFI_CURVE_HARD_SIGMOID, __VA_ARGS__) \
        CASE(body, UFI_CURVE_TANH, __VA_ARGS__)         \
        CASE(body, UFI_CURVE_LINEAR, __VA_ARGS__)       \
    }
#endif

/* Rows as the loops see them: one long row where nothing depends on the channel. */
ALWAYS void long_rows(const ufi_row_job *j, bool per_channel, size_t *from, size_t *to, size_t *n)
{
    *n = j->channels;
    if (!per_channel) {
        *n = (*to - *from) * j->channels;
        *from = *from * j->channels;
        *to = *from + (*n ? 1 : 0);
    }
}

ALWAYS void forward_body(bool bf16, ufi_curve_kind kind, bool scaled, const ufi_row_job *j,
                         size_t from, size_t to)
{
    const bool per_channel = scaled || kind == UFI_CURVE_PRELU;
    const ufi_curve curve = j->curve;
    const float *scale = j->scale, *shift = j->shift, *slope = j->slope;
    size_t n;
    long_rows(j, per_channel, &from, &to, &n);
    for (size_t r = from; r < to; r++) {
        const void *x = row(bf16, j->x, per_channel ? r * n : r);
        void *y = row_of(bf16, j->y, per_channel ? r * n : r);
        UFI_NO_DEPENDENCE
        for (size_t c = 0; c < n; c++) {
            float z = load(bf16, x, c);
            if (scaled)
                z = z * scale[c] + shift[c];
            store(bf16, y, c, curve_value(kind, &curve, z, kind == UFI_CURVE_PRELU ? slope[c] : 0));
        }
    }
}

static void forward(const ufi_row_job *j, size_t from,
                    size_t to){SPECIALISE(forward_body, j, from, to)}

ALWAYS void back_rows(bool bf16, ufi_curve_kind kind, bool scaled, bool mixed, bool add,
                      const ufi_row_job *j, size_t from, size_t to)
{
    const bool per_channel = scaled || mixed || kind == UFI_CURVE_PRELU;
    const ufi_curve curve = j->curve;
    const float *scale = j->scale, *shift = j->shift, *slope = j->slope;
    const float *gain = j->gain, *pull = j->pull, *offset = j->offset;
    size_t n;
    long_rows(j, per_channel, &from, &to, &n);
    for (size_t r = from; r < to; r++) {
        const void *x = row(bf16, j->x, per_channel ? r * n : r);
        const void *dy = row(bf16, j->dy, per_channel ? r * n : r);
        void *dx = row_of(bf16, j->y, per_channel ? r * n : r);
        UFI_NO_DEPENDENCE
        for (size_t c = 0; c < n; c++) {
            float v = kind == UFI_CURVE_NONE && !mixed ? 0 : load(bf16, x, c);
            float z = scaled ? v * scale[c] + shift[c] : v;
            float dz = load(bf16, dy, c) *
                       curve_slope(kind, &curve, z, kind == UFI_CURVE_PRELU ? slope[c] : 0);
            if (mixed)
                dz = dz * gain[c] + v * pull[c] + offset[c];
            if (add)
                dz += load(bf16, dx, c);
            store(bf16, dx, c, dz);
        }
    }
}

ALWAYS void back_body(bool bf16, ufi_curve_kind kind, bool scaled, const ufi_row_job *j,
                      size_t from, size_t to)
{
    if (scaled && j->add)
        back_rows(bf16, kind, true, true, true, j, from, to);
    else if (scaled)
        back_rows(bf16, kind, true, true, false, j, from, to);
    else if (j->add)
        back_rows(bf16, kind, false, false, true, j, from, to);
    else
        back_rows(bf16, kind, false, false, false, j, from, to);
}

static void back(const ufi_row_job *j, size_t from, size_t to)
{
    SPECIALISE(back_body, j, from, to)
}

static void flush(const ufi_row_job *j, size_t count)
{
    for (size_t i = 0; i < count * j->channels; i++) {
        j->sums[i] += (double)j->block[i];
        j->block[i] = 0;
    }
}

ALWAYS void moments_body(bool bf16, const ufi_row_job *j, size_t from, size_t to)
{
    const size_t n = j->channels;
    const float *pivot = j->pivot;
    float *sum = j->block, *square = j->block + n;
    memset(sum, 0, 2 * n * sizeof *sum);
    for (size_t r = from; r < to; r++) {
        const void *x = row(bf16, j->x, r * n);
        UFI_NO_DEPENDENCE
        for (size_t c = 0; c < n; c++) {
            float v = load(bf16, x, c) - pivot[c];
            sum[c] += v;
            square[c] += v * v;
        }
        if ((r - from) % SUM_ROWS == SUM_ROWS - 1 || r + 1 == to)
            flush(j, 2);
    }
}

static void moments(const ufi_row_job *j, size_t from, size_t to)
{
    if (j->bf16)
        moments_body(true, j, from, to);
    else
        moments_body(false, j, from, to);
}

ALWAYS void back_sums_body(bool bf16, ufi_curve_kind kind, bool scaled, const ufi_row_job *j,
                           size_t from, size_t to)
{
    const ufi_curve curve = j->curve;
    const size_t n = j->channels;
    const float *scale = j->scale, *shift = j->shift, *slope = j->slope, *pivot = j->pivot;
    const bool prelu = kind == UFI_CURVE_PRELU;
    float *grad = j->block, *product = grad + n, *below = product + n;
    memset(grad, 0, 3 * n * sizeof *grad);
    for (size_t r = from; r < to; r++) {
        const void *x = row(bf16, j->x, r * n), *dy = row(bf16, j->dy, r * n);
        UFI_NO_DEPENDENCE
        for (size_t c = 0; c < n; c++) {
            float v = load(bf16, x, c), g = load(bf16, dy, c);
            float z = scaled ? v * scale[c] + shift[c] : v;
            float dz = g * curve_slope(kind, &curve, z, prelu ? slope[c] : 0);
            grad[c] += dz;
            product[c] += dz * (v - pivot[c]);
            if (prelu)
                below[c] += z < 0 ? g * z : 0;
        }
        if ((r - from) % SUM_ROWS == SUM_ROWS - 1 || r + 1 == to)
            flush(j, 3);
    }
}

static void back_sums(const ufi_row_job *j, size_t from, size_t to)
{
    SPECIALISE(back_sums_body, j, from, to)
}

/* ---- depthwise convolutions ---- */

enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(LANES * 4)));
typedef uint32_t lanes_bits __attribute__((vector_size(LANES * 4)));
typedef uint16_t half_lanes __attribute__((vector_size(LANES * 2)));

/* v = sixteen numbers from p[i] on; no function, because vectors have no common way to be returned.
 */
#define LOAD_LANES(v, bf16, p, i)                                                    \
    do {                                                                             \
        if (bf16) {                                                                  \
            half_lanes half;                                                         \
            memcpy(&half, (const uint16_t *)(p) + (i), sizeof half);                 \
            const lanes_bits bits = __builtin_convertvector(half, lanes_bits) << 16; \
            memcpy(&(v), &bits, sizeof(v));                                          \
        } else {                                                                     \
            memcpy(&(v), (const float *)(p) + (i), sizeof(v));                       \
        }                                                                            \
    } while (0)

/* Output pixels from..to-1, channels from c on, taps of row `r` that lie inside only. */
ALWAYS void taps_guarded(bool bf16, const ufi_tap_rows *t, int r, int64_t from, int64_t to,
                         size_t c)
{
    const size_t n = t->channels - c;
    for (int64_t o = from; t->x[r] && o < to; o++)
        for (int64_t k = 0; k < t->taps; k++) {
            const int64_t i = o * t->stride + k * t->dilation - t->pad;
            if (i < 0 || i >= t->in)
                continue;
            const void *x = row(bf16, t->x[r], (size_t)i * t->channels + c);
            const void *dy = row(bf16, t->dy, (size_t)o * t->channels + c);
            float *acc = t->acc + (size_t)(r * t->taps + k) * t->channels + c;
            UFI_NO_DEPENDENCE
            for (size_t j = 0; j < n; j++)
                acc[j] += load(bf16, dy, j) * load(bf16, x, j);
        }
}

/* Three taps of each of `rows` rows, all inside, of sixteen channels, with sums in registers. */
ALWAYS void three_taps(bool bf16, const ufi_tap_rows *t, int first, int rows, int64_t from,
                       int64_t to, size_t c)
{
    lanes sum[3 * UFI_TAP_ROWS];
    const size_t step = (size_t)t->dilation * t->channels;
    float *acc = t->acc + (size_t)(first * 3) * t->channels + c;
#pragma GCC unroll 9
    for (int k = 0; k < 3 * rows; k++)
        memcpy(&sum[k], acc + (size_t)k * t->channels, sizeof sum[k]);
    for (int64_t o = from; o < to; o++) {
        const size_t at = (size_t)(o * t->stride - t->pad) * t->channels + c;
        lanes dy;
        LOAD_LANES(dy, bf16, t->dy, (size_t)o * t->channels + c);
#pragma GCC unroll 9
        for (int k = 0; k < 3 * rows; k++) {
            lanes x;
            LOAD_LANES(x, bf16, t->x[first + k / 3], at + (size_t)(k % 3) * step);
            sum[k] += dy * x;
        }
    }
#pragma GCC unroll 9
    for (int k = 0; k < 3 * rows; k++)
        memcpy(acc + (size_t)k * t->channels, &sum[k], sizeof sum[k]);
}

ALWAYS void taps_body(bool bf16, const ufi_tap_rows *t)
{
    const size_t whole = t->taps == 3 ? t->channels / LANES * LANES : 0;
    const int64_t room = t->in - 1 + t->pad - 2 * t->dilation;
    int64_t lo = (t->pad + t->stride - 1) / t->stride, hi = room < 0 ? 0 : room / t->stride + 1;
    lo = lo > t->out ? t->out : lo;
    hi = hi > t->out ? t->out : hi < lo ? lo : hi;
    const bool all = t->rows == 3 && t->x[0] && t->x[1] && t->x[2];
    for (int r = 0; r < t->rows; r++) {
        taps_guarded(bf16, t, r, 0, lo, 0);
        taps_guarded(bf16, t, r, hi, t->out, 0);
        taps_guarded(bf16, t, r, lo, hi, whole);
        for (size_t c = 0; !all && t->x[r] && c < whole; c += LANES)
            three_taps(bf16, t, r, 1, lo, hi, c);
    }
    for (size_t c = 0; all && c < whole; c += LANES)
        three_taps(bf16, t, 0, 3, lo, hi, c);
}

static void taps(bool bf16, const ufi_tap_rows *t)
{
    if (bf16)
        taps_body(true, t);
    else
        taps_body(false, t);
}

/* ---- plain passes ---- */

ALWAYS void add_body(bool bf16, void *y, const void *a, const void *b, size_t n)
{
    UFI_NO_DEPENDENCE
    for (size_t i = 0; i < n; i++)
        store(bf16, y, i, load(bf16, a, i) + load(bf16, b, i));
}

static void add(bool bf16, void *y, const void *a, const void *b, size_t n)
{
    if (bf16)
        add_body(true, y, a, b, n);
    else
        add_body(false, y, a, b, n);
}

static void to_bf16(uint16_t *y, const float *x, size_t n)
{
    UFI_NO_DEPENDENCE
    for (size_t i = 0; i < n; i++)
        y[i] = round_bf16(x[i]);
}

static void to_f32(float *y, const uint16_t *x, size_t n)
{
    UFI_NO_DEPENDENCE
    for (size_t i = 0; i < n; i++)
        y[i] = load(true, x, i);
}

extern const ufi_rows UFI_ROWS_NAME;
const ufi_rows UFI_ROWS_NAME = {forward, back, moments, back_sums, taps, add, to_bf16, to_f32};
