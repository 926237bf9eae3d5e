/*
 * What the kernels reach at their best, to compare the steps of a profile with: the product of two
 * matrices that stay in the second-level cache, nothing behind the sums, one thread.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/clock.h"
#include "base/mem.h"

enum { SIDE = 256, OPERAND_BYTES = SIDE * SIDE * 8 };
#define MIN_TIME_NS 3000000u
/* A normal number in every format, so that no product is slow: 0.0115, 1.06 in FP16, 60. */
#define FILL 0x3C

typedef struct operands {
    uint8_t a[OPERAND_BYTES], b[OPERAND_BYTES], c[OPERAND_BYTES];
} operands;

static void multiply_f32(const ufk_table *k, operands *o)
{
    const ufk_conv_args a = {.a = (const float *)(const void *)o->a,
                             .a_stride = SIDE,
                             .runs_y = 1,
                             .runs_x = 1,
                             .run_length = SIDE,
                             .b = (const float *)(const void *)o->b,
                             .c = (float *)(void *)o->c,
                             .c_stride = SIDE,
                             .m = SIDE,
                             .n = SIDE};
    k->conv_f32(&a);
}

static void multiply_halves(const ufk_hconv *h, operands *o)
{
    const ufk_hconv_args a = {.a = (const uint16_t *)(const void *)o->a,
                              .a_low = h->pairs ? SIDE * SIDE : 0,
                              .b_low = h->pairs ? SIDE * SIDE : 0,
                              .a_stride = SIDE,
                              .lines = 1,
                              .runs_y = 1,
                              .runs_x = 1,
                              .run_length = SIDE,
                              .b = (const uint16_t *)(const void *)o->b,
                              .c = (float *)(void *)o->c,
                              .c_stride = SIDE,
                              .m = SIDE,
                              .n = SIDE};
    h->conv(&a);
}

static void multiply_u8(const ufk_table *k, operands *o)
{
    const float *numbers = (const float *)(const void *)(o->b + OPERAND_BYTES / 2);
    const ufk_qconv_args a = {.a = o->a,
                              .a_stride = SIDE,
                              .lines = 1,
                              .runs_y = 1,
                              .runs_x = 1,
                              .run_length = SIDE,
                              .b = (const int8_t *)o->b,
                              .c = o->c,
                              .c_stride = SIDE,
                              .m = SIDE,
                              .n = SIDE,
                              .epilogue = {.scale = numbers, .bias = numbers, .hi = 255}};
    k->conv_u8(&a);
}

static void multiply_i16(const ufk_table *k, operands *o)
{
    const float *numbers = (const float *)(const void *)(o->b + OPERAND_BYTES / 2);
    const ufk_word_conv_args a = {.a = (const int16_t *)(const void *)o->a,
                                  .a_stride = SIDE,
                                  .runs = 1,
                                  .run_length = SIDE,
                                  .b = (const int16_t *)(const void *)o->b,
                                  .c = (int16_t *)(void *)o->c,
                                  .c_stride = SIDE,
                                  .m = SIDE,
                                  .n = SIDE,
                                  .epilogue = {.scale = numbers, .bias = numbers, .hi = 32767}};
    k->conv_i16(&a);
}

/* Weights so small that a kernel whose speed depends on them (AVX2) is at its best. */
static void pack_u8(const ufk_table *k, operands *o)
{
    memset(o->c, FILL / 4, SIDE * SIDE);
    ufk_qconv_pack(k, (int8_t *)o->b, (const int8_t *)o->c, 1, SIDE, SIDE);
}

static void multiply(const ufk_table *k, cpu_arithmetic kind, operands *o)
{
    switch (kind) {
    case CPU_ARITHMETIC_F32:
        multiply_f32(k, o);
        break;
    case CPU_ARITHMETIC_BF16:
        multiply_halves(&k->bf16, o);
        break;
    case CPU_ARITHMETIC_F16:
        multiply_halves(&k->f16, o);
        break;
    case CPU_ARITHMETIC_BF16X3:
        multiply_halves(&k->bf16x3, o);
        break;
    case CPU_ARITHMETIC_U8:
        multiply_u8(k, o);
        break;
    case CPU_ARITHMETIC_I16:
        multiply_i16(k, o);
        break;
    }
}

double cpu_peak_macs_per_ns(const ufk_table *k, cpu_arithmetic kind)
{
    operands *o = ufi_aligned_malloc(sizeof *o);
    if (!o)
        return 0;
    memset(o, FILL, sizeof *o);
    if (kind == CPU_ARITHMETIC_U8)
        pack_u8(k, o);
    if (kind == CPU_ARITHMETIC_I16) /* sums stay within 32 bits */
        memset(o->b, 0, SIDE * SIDE * sizeof(int16_t));
    multiply(k, kind, o); /* wakes the unit up */
    const uint64_t start = ufi_clock_ns();
    uint64_t before = start, least = UINT64_MAX;
    while (before - start < MIN_TIME_NS) {
        multiply(k, kind, o);
        const uint64_t now = ufi_clock_ns();
        least = now - before < least ? now - before : least;
        before = now;
    }
    ufi_free(o);
    return least ? (double)SIDE * SIDE * SIDE / (double)least : 0;
}
