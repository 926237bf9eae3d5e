/* Shapes and half-precision numbers; FP16 over all 65,536 values. */
#include "tensor/tensor.h"

#include "test.h"

TEST(shape_counts_and_limits)
{
    ufi_shape s = ufi_shape_make(4, (const int64_t[]){1, 3, 112, 112});
    char text[64];
    CHECK(ufi_shape_count(&s) == 37632);
    ufi_shape_text(&s, text, sizeof text);
    CHECK(strcmp(text, "[1,3,112,112]") == 0);
    s.dims[2] = -1;
    ufi_shape_text(&s, text, sizeof text);
    CHECK(ufi_shape_count(&s) == -1 && strcmp(text, "[1,3,?,112]") == 0);
    ufi_shape_text(&s, text, 4);
    CHECK(strlen(text) < 4);
    s = ufi_shape_make(3, (const int64_t[]){INT32_MAX, INT32_MAX, INT32_MAX});
    CHECK(ufi_shape_count(&s) == -1);
    s = ufi_shape_make(3, (const int64_t[]){INT32_MAX, 0, INT32_MAX});
    CHECK(ufi_shape_count(&s) == 0);
    s = ufi_shape_make(0, NULL);
    ufi_shape_text(&s, text, sizeof text);
    CHECK(ufi_shape_count(&s) == 1 && strcmp(text, "[]") == 0);
}

TEST(dtypes)
{
    CHECK(ufi_dtype_bytes(UF_F32) == 4 && ufi_dtype_bytes(UF_I64) == 8);
    CHECK(ufi_dtype_bytes((uf_dtype)99) == 0 && strcmp(ufi_dtype_name((uf_dtype)99), "?") == 0);
    ufi_tensor t = {.dtype = UF_F16, .shape = ufi_shape_make(2, (const int64_t[]){3, 5})};
    CHECK(ufi_tensor_bytes(&t) == 30);
}

TEST(f16_round_trips_every_value)
{
    int wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = ufi_f16_to_f32((uint16_t)h);
        uint16_t back = ufi_f32_to_f16(f);
        bool nan = isnan(f);
        wrong += nan ? !isnan(ufi_f16_to_f32(back)) : back != h;
    }
    CHECK(wrong == 0);
    CHECK(ufi_f32_to_f16(65519.0f) == 0x7BFF && ufi_f32_to_f16(65520.0f) == 0x7C00);
    CHECK(ufi_f32_to_f16(1.0f + 1.0f / 2048) == 0x3C00); /* tie to even */
    CHECK(ufi_f32_to_f16(1.0f + 3.0f / 2048) == 0x3C02);
    CHECK(ufi_f32_to_f16(5.9604645e-8f) == 1 && ufi_f32_to_f16(2.9e-8f) == 0);
}

TEST(bf16_rounds_to_even)
{
    CHECK(ufi_f32_to_bf16(1.0f) == 0x3F80 && ufi_bf16_to_f32(0x3F80) == 1.0f);
    CHECK(ufi_f32_to_bf16(1.00390625f) == 0x3F80 && ufi_f32_to_bf16(1.01171875f) == 0x3F82);
    CHECK(isnan(ufi_bf16_to_f32(ufi_f32_to_bf16(NAN))));
}

TEST_MAIN
