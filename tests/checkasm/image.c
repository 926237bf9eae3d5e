/*
 * Pixels. The references are compared with their definition in double (one level of rounding), the
 * variants with the references: bytes exactly, floats to two roundings.
 */
#include "checkasm.h"

enum { W = 53, H = 37, OUT = 64 };

static uint8_t in[W * H * 3], out[2][OUT * OUT * 3];

static void fill(void)
{
    uint64_t seed = 7;
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)test_random(&seed);
}

static double sample(double x, double y, int c)
{
    double fx = floor(x), fy = floor(y), sum = 0;
    for (int j = 0; j < 2; j++)
        for (int i = 0; i < 2; i++) {
            int ix = (int)fx + i, iy = (int)fy + j;
            ix = ix < 0 ? 0 : ix >= W ? W - 1 : ix;
            iy = iy < 0 ? 0 : iy >= H ? H - 1 : iy;
            sum += in[(iy * W + ix) * 3 + c] * (i ? x - fx : 1 - (x - fx)) *
                   (j ? y - fy : 1 - (y - fy));
        }
    return sum;
}

TEST(resize_is_bilinear)
{
    ufk_table t;
    ufk_table_init(&t, 0);
    fill();
    for (int w = 1; w <= OUT; w += 21)
        for (int h = 2; h <= OUT; h += 31) {
            t.resize_bilinear_u8(out[0], (size_t)w * 3, (size_t)w, (size_t)h, in, W * 3, W, H, 3, 0,
                                 (size_t)h);
            for (int y = 0; y < h; y++)
                for (int x = 0; x < w * 3; x++) {
                    double want =
                        sample((x / 3 + 0.5) * W / w - 0.5, (y + 0.5) * H / h - 0.5, x % 3);
                    CHECK_MSG(fabs(out[0][y * w * 3 + x] - want) <= 1, "%d x %d at (%d, %d)", w, h,
                              x / 3, y);
                }
        }
}

TEST(warp_is_bilinear)
{
    ufk_table t;
    const float m[6] = {0.7f, 0.2f, 3.3f, -0.15f, 0.6f, 6.1f};
    ufk_table_init(&t, 0);
    fill();
    t.warp_affine_u8(out[0], 40 * 3, 40, 30, in, W * 3, W, H, m, 0);
    for (int y = 0; y < 30; y++)
        for (int x = 0; x < 40; x++) {
            double sx = (double)m[0] * x + (double)m[1] * y + (double)m[2];
            double sy = (double)m[3] * x + (double)m[4] * y + (double)m[5];
            if (sx < 0 || sy < 0 || sx > W - 1 || sy > H - 1)
                continue;
            /* coordinates are rounded to 1/32: up to 255 / 64 in each direction */
            for (int c = 0; c < 3; c++)
                CHECK(fabs(out[0][(y * 40 + x) * 3 + c] - sample(sx, sy, c)) <= 2 * 255.0 / 64 + 1);
        }
}

TEST(variants_match_the_references)
{
    ufk_table reference;
    static float normal[2][W * H * 3];
    const float scale[3] = {0.5f, 1 / 128.0f, 2}, shift[3] = {-1, 0.25f, 3};
    ufk_table_init(&reference, 0);
    fill();
    for (int round = 0; round < 40; round++) {
        uint64_t seed = (uint64_t)round + 1;
        const ufk_table *t = ca_table((size_t)round % ca_table_count());
        size_t w = 1 + test_random(&seed) % OUT, h = 1 + test_random(&seed) % OUT;
        float m[6];
        for (int i = 0; i < 6; i++)
            m[i] = test_random_float(&seed) * (i % 3 == 2 ? 40 : 1.5f);
        memset(out, 1, sizeof out);
        for (int k = 0; k < 2; k++)
            (k ? t : &reference)->resize_bilinear_u8(out[k], w * 3, w, h, in, W * 3, W, H, 3, 0, h);
        CHECK(memcmp(out[0], out[1], sizeof out[0]) == 0);
        for (int k = 0; k < 2; k++)
            (k ? t : &reference)->warp_affine_u8(out[k], w * 3, w, h, in, W * 3, W, H, m, 9);
        CHECK(memcmp(out[0], out[1], sizeof out[0]) == 0);
        for (int k = 0; k < 2; k++)
            (k ? t : &reference)
                ->normalize_u8_f32(normal[k], in, w * h % (W * H), scale, shift, round % 3 == 0);
        for (size_t i = 0; i < w * h % (W * H) * 3; i++)
            CHECK(fabsf(normal[0][i] - normal[1][i]) <= 0x1p-22f * fmaxf(1, fabsf(normal[0][i])));
    }
}

/* Small pictures that end with their last byte, shifted in all directions: groups of pixels that
 * lie inside, that touch each border, that end at the last pixel. */
TEST(warps_at_the_borders_match_the_reference)
{
    ufk_table reference;
    ufk_table_init(&reference, 0);
    fill();
    for (size_t side = 1; side < 28; side++) {
        uint8_t *exact = malloc(side * side * 3);
        memcpy(exact, in, side * side * 3);
        for (int round = 0; round < 49 * (int)ca_table_count(); round++) {
            const ufk_table *t = ca_table((size_t)round % ca_table_count());
            const int shift = round / (int)ca_table_count();
            const float scale = shift % 2 ? 1 : 0.53f;
            const float m[6] = {scale, 0.01f * (float)(shift % 3), (float)(shift % 7) - 3.25f, 0,
                                scale, (float)(shift / 7) - 3.5f};
            memset(out, 1, sizeof out);
            for (int k = 0; k < 2; k++)
                (k ? t : &reference)
                    ->warp_affine_u8(out[k], 35 * 3, 35, 30, exact, side * 3, side, side, m, 9);
            CHECK_MSG(memcmp(out[0], out[1], sizeof out[0]) == 0, "%s, side %zu, shift %d",
                      t->image_u8_name, side, shift);
        }
        free(exact);
    }
}

BENCH(image)
{
    enum { BW = 1280, BH = 720 };
    uint8_t *big = calloc(BW * BH, 3), *small = calloc(640 * 640, 3);
    float *floats = calloc(640 * 640 * 3, sizeof *floats);
    const float m[6] = {1.7f, 0.2f, 300, -0.2f, 1.7f, 200}, one[3] = {1, 1, 1};
    for (size_t t = 0; t < ca_table_count(); t++) {
        const ufk_table *k = ca_table(t);
        CA_TIME(resize,
                k->resize_bilinear_u8(small, 640 * 3, 640, 360, big, BW * 3, BW, BH, 3, 0, 360));
        ca_report(k->image_u8_name, "resize 1280x720 to 640x360", resize, 640 * 360, "Gpixel/s");
        CA_TIME(warp, k->warp_affine_u8(small, 112 * 3, 112, 112, big, BW * 3, BW, BH, m, 0));
        ca_report(k->image_u8_name, "warp 112x112", warp, 112 * 112, "Gpixel/s");
        CA_TIME(normal, k->normalize_u8_f32(floats, small, 640 * 640, one, one, true));
        ca_report(k->image_u8_name, "normalize 640x640", normal, 640 * 640, "Gpixel/s");
    }
    free(big);
    free(small);
    free(floats);
}

CA_MAIN
