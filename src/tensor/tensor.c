/* Shapes, element types, and half-precision numbers. */
#include "tensor/tensor.h"

#include <math.h>

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t bytes;
} dtypes[] = {
    [UF_DTYPE_NONE] = {"none", 0}, [UF_F32] = {"f32", 4},   [UF_F16] = {"f16", 2},
    [UF_BF16] = {"bf16", 2},       [UF_F64] = {"f64", 8},   [UF_I8] = {"i8", 1},
    [UF_U8] = {"u8", 1},           [UF_I16] = {"i16", 2},   [UF_U16] = {"u16", 2},
    [UF_I32] = {"i32", 4},         [UF_U32] = {"u32", 4},   [UF_I64] = {"i64", 8},
    [UF_U64] = {"u64", 8},         [UF_BOOL] = {"bool", 1},
};
#define DTYPE_COUNT (sizeof dtypes / sizeof dtypes[0])

size_t ufi_dtype_bytes(uf_dtype t)
{
    return (size_t)t < DTYPE_COUNT ? dtypes[t].bytes : 0;
}

const char *ufi_dtype_name(uf_dtype t)
{
    return (size_t)t < DTYPE_COUNT ? dtypes[t].name : "?";
}

bool ufi_shape_known(const ufi_shape *s)
{
    for (uint32_t i = 0; i < s->rank; i++)
        if (s->dims[i] < 0)
            return false;
    return true;
}

int64_t ufi_shape_count(const ufi_shape *s)
{
    int64_t n = 1;
    if (!ufi_shape_known(s))
        return -1;
    for (uint32_t i = 0; i < s->rank; i++) {
        if (s->dims[i] == 0)
            return 0;
        if (n > UFI_MAX_ELEMENTS / s->dims[i])
            return -1;
        n *= s->dims[i];
    }
    return n;
}

bool ufi_shape_equal(const ufi_shape *a, const ufi_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, a->rank * sizeof a->dims[0]) == 0;
}

ufi_shape ufi_shape_make(uint32_t rank, const int64_t *dims)
{
    ufi_shape s = {.rank = rank < UF_MAX_DIMS ? rank : UF_MAX_DIMS};
    for (uint32_t i = 0; i < s.rank; i++)
        s.dims[i] = dims[i];
    return s;
}

void ufi_shape_text(const ufi_shape *s, char *out, size_t size)
{
    size_t used = 0;
    if (size)
        out[0] = 0;
    for (uint32_t i = 0; i <= s->rank && used < size; i++) {
        const char *open = i == 0 ? "[" : i < s->rank ? "," : "";
        int n;
        if (i == s->rank)
            n = snprintf(out + used, size - used, "%s]", s->rank ? "" : "[");
        else if (s->dims[i] < 0)
            n = snprintf(out + used, size - used, "%s?", open);
        else
            n = snprintf(out + used, size - used, "%s%lld", open, (long long)s->dims[i]);
        used += n > 0 ? (size_t)n : 0;
    }
}

size_t ufi_tensor_bytes(const ufi_tensor *t)
{
    int64_t n = ufi_shape_count(&t->shape);
    return n < 0 ? 0 : (size_t)n * ufi_dtype_bytes(t->dtype);
}

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static float float_of(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

float ufi_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
    if (exponent == 31)
        return float_of(sign | 0x7F800000u | mantissa << 13);
    if (exponent == 0) { /* zero or subnormal: mantissa units of 2^-24 */
        float f = (float)mantissa * 5.9604644775390625e-8f;
        return sign ? -f : f;
    }
    return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t ufi_f32_to_f16(float f)
{
    uint32_t u = bits_of(f), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7FFFFFFFu;
    if (magnitude > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00u);
    if (magnitude >= 0x477FF000u) /* rounds to 65536 or more */
        return (uint16_t)(sign | 0x7C00u);
    if (magnitude < 0x38800000u) { /* subnormal: adding 0.5 lines the bits up and rounds */
        float shifted = float_of(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_of(shifted) - 0x3F000000u));
    }
    uint32_t odd = (magnitude >> 13) & 1;
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xFFFu + odd) >> 13);
}

float ufi_bf16_to_f32(uint16_t h)
{
    return float_of((uint32_t)h << 16);
}

uint16_t ufi_f32_to_bf16(float f)
{
    uint32_t u = bits_of(f);
    if ((u & 0x7FFFFFFFu) > 0x7F800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7FFFu + ((u >> 16) & 1)) >> 16);
}

void ufi_range_to_u8(float lo, float hi, float *scale, uint8_t *zero)
{
    *scale = (hi - lo) / 255;
    if (!(*scale > 0) || isinf(*scale))
        *scale = 1;
    *zero = (uint8_t)rintf(fminf(fmaxf(0 - lo / *scale, 0), 255));
}

int64_t ufi_words_sum(const int16_t *w, size_t count)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += w[i] < 0 ? -w[i] : w[i];
    return sum;
}
