/*
 * Winograd transforms. The reference is compared with the 3x3 convolution it stands for, in double;
 * the variants with the reference. A transform sums at most 36 terms with factors up to 5 (input),
 * 8 (output) on either side; |error| <= 64 * 2^-24 * the largest magnitude that passes through.
 */
#include "checkasm.h"

#define U 0x1p-24f

typedef void input_fn(float *, size_t, const float *, size_t, size_t, size_t, size_t, size_t,
                      size_t, size_t, size_t);
typedef void output_fn(float *, size_t, size_t, size_t, const float *, size_t, size_t, size_t,
                       size_t, const ufk_epilogue *);

enum { H = 13, W = 11, MAX_CHANNELS = 40, MAX_TILES = 64 };

static float in[H * W * MAX_CHANNELS], v[2][36 * MAX_TILES * MAX_CHANNELS];
static float out[2][H * W * MAX_CHANNELS], residual[H * W * MAX_CHANNELS];
static float bias[MAX_CHANNELS], slope[MAX_CHANNELS];

static void fill(float *p, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        p[i] = test_random_float(&seed);
}

static float largest_difference(const float *a, const float *b, size_t n, float *size)
{
    float most = 0;
    *size = 1e-3f;
    for (size_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(a[i] - b[i]));
        *size = fmaxf(*size, fabsf(a[i]));
    }
    return most;
}

static input_fn *input_of(const ufk_table *t, int step)
{
    return step == 4 ? t->wino4_input_f32 : t->wino2_input_f32;
}

static output_fn *output_of(const ufk_table *t, int step)
{
    return step == 4 ? t->wino4_output_f32 : t->wino2_output_f32;
}

/* One channel in, one out: transform, multiply, transform back, compare with the convolution. */
static void check_reference(int step)
{
    ufk_table t;
    float w[9], u[36], m[36 * MAX_TILES];
    const ufk_epilogue none = {.act = UFK_ACT_NONE};
    size_t tiles_x = (W + (size_t)step - 1) / (size_t)step;
    size_t tiles = tiles_x * ((H + (size_t)step - 1) / (size_t)step);
    int positions = (step + 2) * (step + 2);
    ufk_table_init(&t, 0);
    fill(in, H * W, 1);
    fill(w, 9, 2);
    if (step == 4)
        ufk_wino4_weight(u, w);
    else
        ufk_wino2_weight(u, w);
    input_of(&t, step)(v[0], tiles, in, H, W, 1, 1, 1, tiles_x, 0, tiles);
    for (int p = 0; p < positions; p++)
        for (size_t i = 0; i < tiles; i++)
            m[(size_t)p * tiles + i] = v[0][(size_t)p * tiles + i] * u[p];
    output_of(&t, step)(out[0], H, W, 1, m, tiles, tiles_x, 0, tiles, &none);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++) {
            double sum = 0;
            for (int k = 0; k < 9; k++) {
                int iy = y + k / 3 - 1, ix = x + k % 3 - 1;
                if (iy >= 0 && iy < H && ix >= 0 && ix < W)
                    sum += (double)in[iy * W + ix] * (double)w[k];
            }
            CHECK_MSG(fabs((double)out[0][y * W + x] - sum) < 1e-5, "F(%d): (%d, %d) is off by %g",
                      step, x, y, (double)out[0][y * W + x] - sum);
        }
}

TEST(reference_is_a_convolution)
{
    check_reference(4);
    check_reference(2);
}

static void check_variant(const ufk_table *t, const ufk_table *reference, int step, size_t channels)
{
    size_t tiles_x = (W + (size_t)step - 1) / (size_t)step,
           positions = (size_t)((step + 2) * (step + 2));
    size_t tiles = tiles_x * ((H + (size_t)step - 1) / (size_t)step), stride = tiles * channels;
    static const ufk_act acts[] = {UFK_ACT_NONE, UFK_ACT_CLAMP, UFK_ACT_PRELU, UFK_ACT_SILU};
    float size;
    fill(in, H * W * channels, channels);
    input_of(reference, step)(v[0], stride, in, H, W, channels, 1, 1, tiles_x, 0, tiles);
    input_of(t, step)(v[1], stride, in, H, W, channels, 1, 1, tiles_x, 0, tiles);
    float d = largest_difference(v[0], v[1], positions * stride, &size);
    CHECK_MSG(d <= 16 * U * 10 * 10 * size, "%s F(%d) input, %zu channels: off by %g",
              t->winograd_f32_name, step, channels, (double)d);
    const float v_size = size;
    for (size_t i = 0; i < sizeof acts / sizeof *acts; i++) {
        ufk_epilogue e = {bias, slope, i % 2 ? residual : NULL, channels, acts[i], -0.5f, 1.5f};
        memset(out, 0, sizeof out);
        output_of(reference, step)(out[0], H, W, channels, v[0], stride, tiles_x, 0, tiles, &e);
        output_of(t, step)(out[1], H, W, channels, v[0], stride, tiles_x, 0, tiles, &e);
        float through = v_size * 18 * 18; /* the largest row of A^T sums to 18, on either side */
        d = largest_difference(out[0], out[1], H * W * channels, &size);
        CHECK_MSG(d <= 16 * U * through, "%s F(%d) output, %zu channels, act %d: off by %g",
                  t->winograd_f32_name, step, channels, (int)acts[i], (double)d);
    }
}

TEST(variants_match_the_reference)
{
    ufk_table reference;
    fill(bias, MAX_CHANNELS, 3);
    fill(slope, MAX_CHANNELS, 4);
    fill(residual, H * W * MAX_CHANNELS, 5);
    ufk_table_init(&reference, 0);
    for (size_t t = 0; t < ca_table_count(); t++)
        for (size_t channels = 1; channels <= MAX_CHANNELS; channels += channels < 20 ? 1 : 7) {
            check_variant(ca_table(t), &reference, 4, channels);
            check_variant(ca_table(t), &reference, 2, channels);
        }
}

BENCH(winograd)
{
    enum { SIDE = 40, C = 64 };
    const ufk_epilogue none = {.act = UFK_ACT_NONE};
    float *x = ca_random_floats(SIDE * SIDE * C), *u = ca_random_floats(36 * 100 * C);
    for (size_t t = 0; t < ca_table_count(); t++) {
        const ufk_table *k = ca_table(t);
        CA_TIME(to, k->wino4_input_f32(u, 100 * C, x, SIDE, SIDE, C, 1, 1, 10, 0, 100));
        ca_report(k->winograd_f32_name, "F(4) input 40x40x64", to, 36 * 100 * C, "Gfloat/s");
        CA_TIME(from, k->wino4_output_f32(x, SIDE, SIDE, C, u, 100 * C, 10, 0, 100, &none));
        ca_report(k->winograd_f32_name, "F(4) output 40x40x64", from, 36 * 100 * C, "Gfloat/s");
    }
    ca_release();
}

CA_MAIN
