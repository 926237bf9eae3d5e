/* Between FP32 and bytes, addition and maximum of bytes: variants against the references, bit for
 * bit; the references against the definition. */
#include "checkasm.h"

TEST(quantize)
{
    for (size_t count = 1; count < 80; count++) {
        float *in = ca_random_floats(count), scale = 0.01f * fabsf(ca_float()) + 1e-4f;
        const uint8_t zero = (uint8_t)(3 * count);
        in[count / 2] = count % 3 ? NAN : -INFINITY;
        in[count / 3] = count % 2 ? 3e38f : 0.5f * scale; /* a tie */
        uint8_t *want = ca_alloc(count, 1);
        ca_table(0)->quantize_u8(want, in, count, scale, zero);
        for (size_t i = 0; i < count; i++) {
            double v = nearbyint((double)(in[i] / scale)) + zero;
            CHECK(want[i] == (v > 0 ? (uint8_t)(v < 255 ? v : 255) : 0));
        }
        for (size_t t = 1; t < ca_table_count(); t++) {
            uint8_t *got = ca_alloc(count, 1);
            ca_table(t)->quantize_u8(got, in, count, scale, zero);
            ca_check_bytes(ca_table(t)->quant_u8_name, got, want, count);
        }
        ca_release();
    }
}

/* Quotients next to a half, where one unit decides, for many scales. */
TEST(quantize_rounds_like_the_division)
{
    enum { STEPS = 256, NEAR = 5 };
    for (int round = 0; round < 3000; round++) {
        const int exponent = round % 10 ? (int)ca_range(0, 20) - 12 : (int)ca_range(0, 240) - 120;
        const float scale = ldexpf(1 + fabsf(ca_float()), exponent);
        float *in = ca_alloc(STEPS * NEAR * sizeof *in, 64);
        uint8_t *want = ca_alloc(STEPS * NEAR, 1);
        for (int i = 0; i < STEPS * NEAR; i++) {
            in[i] = (float)(i / NEAR - 128 + 0.5) * scale;
            for (int k = NEAR / 2; k < i % NEAR; k++)
                in[i] = nextafterf(in[i], INFINITY);
            for (int k = i % NEAR; k < NEAR / 2; k++)
                in[i] = nextafterf(in[i], -INFINITY);
        }
        ca_table(0)->quantize_u8(want, in, STEPS * NEAR, scale, 128);
        for (size_t t = 1; t < ca_table_count(); t++) {
            uint8_t *got = ca_alloc(STEPS * NEAR, 1);
            ca_table(t)->quantize_u8(got, in, STEPS * NEAR, scale, 128);
            ca_check_bytes(ca_table(t)->quant_u8_name, got, want, STEPS * NEAR);
        }
        ca_release();
    }
}

TEST(dequantize)
{
    for (size_t count = 1; count < 80; count++) {
        uint8_t *in = ca_random_bytes(count);
        float *want = ca_output_floats(count), scale = ca_float();
        ca_table(0)->dequantize_u8(want, in, count, scale, 17);
        for (size_t i = 0; i < count; i++)
            CHECK(want[i] == ((float)in[i] - 17) * scale);
        for (size_t t = 1; t < ca_table_count(); t++) {
            float *got = ca_output_floats(count);
            ca_table(t)->dequantize_u8(got, in, count, scale, 17);
            ca_check(ca_table(t)->quant_u8_name, got, want, NULL, count);
        }
        ca_release();
    }
}

TEST(add)
{
    for (size_t count = 1; count < 80; count++) {
        uint8_t *a = ca_random_bytes(count), *b = ca_random_bytes(count);
        float sa = ca_float(), sb = 2 * ca_float(), shift = 60 * ca_float();
        uint8_t *want = ca_alloc(count, 1);
        ca_table(0)->add_u8(want, a, b, count, sa, sb, shift);
        for (size_t i = 0; i < count; i++) {
            float v = fmaf((float)a[i], sa, fmaf((float)b[i], sb, shift));
            CHECK(want[i] == (v > 0 ? (uint8_t)nearbyintf(v < 255 ? v : 255) : 0));
        }
        for (size_t t = 1; t < ca_table_count(); t++) {
            uint8_t *got = ca_alloc(count, 1);
            ca_table(t)->add_u8(got, a, b, count, sa, sb, shift);
            ca_check_bytes(ca_table(t)->quant_u8_name, got, want, count);
        }
        ca_release();
    }
}

TEST(interleave)
{
    for (size_t pixels = 1; pixels < 60; pixels++) {
        uint8_t *in = ca_random_bytes(3 * pixels), *want = ca_alloc(3 * pixels, 1);
        ca_table(0)->interleave3_u8(want, in, pixels);
        CHECK(want[0] == in[0] && want[1] == in[pixels] && want[2] == in[2 * pixels]);
        for (size_t t = 1; t < ca_table_count(); t++) {
            uint8_t *got = ca_alloc(3 * pixels, 1);
            ca_table(t)->interleave3_u8(got, in, pixels);
            ca_check_bytes(ca_table(t)->quant_u8_name, got, want, 3 * pixels);
        }
        ca_release();
    }
}

TEST(max_pool)
{
    for (int i = 0; i < 200; i++) {
        ufk_pool_args p = {.channels = ca_range(1, 140),
                           .kernel_h = ca_range(1, 3),
                           .kernel_w = ca_range(1, 3),
                           .stride_h = ca_range(1, 2),
                           .stride_w = ca_range(1, 2),
                           .dilation_h = 1,
                           .dilation_w = ca_range(1, 2),
                           .pad_top = ca_range(0, 1),
                           .pad_left = ca_range(0, 1),
                           .out_h = ca_range(1, 6),
                           .out_w = ca_range(1, 6)};
        if (i % 4 == 0) { /* as detectors have them */
            p.channels = 16 * ca_range(1, 5);
            p.kernel_h = p.kernel_w = p.stride_h = p.stride_w = 2;
            p.dilation_w = 1;
            p.pad_top = p.pad_left = i % 8 ? p.pad_top : 0;
        }
        p.in_h = (p.out_h - 1) * p.stride_h + p.kernel_h;
        p.in_w = (p.out_w - 1) * p.stride_w + (p.kernel_w - 1) * p.dilation_w + 1;
        p.y_end = p.out_h;
        size_t count = p.out_h * p.out_w * p.channels;
        uint8_t *in = ca_random_bytes(p.in_h * p.in_w * p.channels), *want = ca_alloc(count, 1);
        ca_table(0)->max_pool_u8(want, in, &p);
        if (p.kernel_h * p.kernel_w == 1 && !p.pad_top && !p.pad_left)
            CHECK(want[0] == in[0]);
        for (size_t t = 1; t < ca_table_count(); t++) {
            uint8_t *got = ca_alloc(count, 1);
            ca_table(t)->max_pool_u8(got, in, &p);
            ca_check_bytes(ca_table(t)->quant_u8_name, got, want, count);
        }
        ca_release();
    }
}

BENCH(quant)
{
    const size_t count = 112 * 112 * 64;
    for (size_t t = 1; t < ca_table_count(); t++) {
        const ufk_table *k = ca_table(t);
        float *floats = ca_random_floats(count);
        uint8_t *a = ca_random_bytes(count), *b = ca_random_bytes(count);
        CA_TIME(quantize, k->quantize_u8(a, floats, count, 0.01f, 100));
        ca_report(k->quant_u8_name, "quantize", quantize, (double)count, "G/s");
        CA_TIME(dequantize, k->dequantize_u8(floats, a, count, 0.01f, 100));
        ca_report(k->quant_u8_name, "dequantize", dequantize, (double)count, "G/s");
        CA_TIME(add, k->add_u8(a, a, b, count, 0.5f, 0.5f, 3));
        ca_report(k->quant_u8_name, "add", add, (double)count, "G/s");
        ca_release();
    }
}

CA_MAIN
