/*
 * Winograd transforms, the reference: the matrices of Lavin & Gray (2015), multiplied out. The
 * points of F(4x4, 3x3) are 0, 1, -1, 2, -2, infinity; those of F(2x2, 3x3) are 0, 1, -1, infinity.
 */
#include "base/cpu.h"
#include "kernels/c/epilogue.h"
#include "kernels/topics.h"

static const float input4[6][6] = {{4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
                                   {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1}};
static const float output4[4][6] = {
    {1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
static const double weight4[6][3] = {{1.0 / 4, 0, 0},
                                     {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                     {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                     {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                     {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                     {0, 0, 1}};
static const float input2[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};
static const float output2[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};
static const double weight2[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};

static void transform_weight(float *u, const float w[9], const double *g, int size)
{
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            double sum = 0;
            for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++)
                    sum += g[y * 3 + i] * (double)w[i * 3 + j] * g[x * 3 + j];
            u[y * size + x] = (float)sum;
        }
}

void ufk_wino4_weight(float u[36], const float w[9])
{
    transform_weight(u, w, &weight4[0][0], 6);
}

void ufk_wino2_weight(float u[16], const float w[9])
{
    transform_weight(u, w, &weight2[0][0], 4);
}

/* out[rows][rows] = m[rows][cols] d[cols][cols] m^T */
static void sandwich(float *out, const float *m, const float *d, int rows, int cols)
{
    float half[36];
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < cols; x++) {
            half[y * cols + x] = 0;
            for (int i = 0; i < cols; i++)
                half[y * cols + x] += m[y * cols + i] * d[i * cols + x];
        }
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < rows; x++) {
            out[y * rows + x] = 0;
            for (int i = 0; i < cols; i++)
                out[y * rows + x] += half[y * cols + i] * m[x * cols + i];
        }
}

typedef struct picture {
    size_t h, w, channels;
} picture;

/* Gathers the size x size input tile whose corner is (y, x); zero outside (below 0 wraps around).
 */
static void gather(float *d, int size, const float *in, picture p, size_t y, size_t x, size_t c)
{
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            size_t iy = y + (size_t)i, ix = x + (size_t)j;
            d[i * size + j] = iy < p.h && ix < p.w ? in[(iy * p.w + ix) * p.channels + c] : 0;
        }
}

static void input_f32(float *out, size_t stride, const float *in, picture p, size_t pad_top,
                      size_t pad_left, size_t tiles_x, size_t first, size_t tiles, const float *m,
                      int size)
{
    const size_t step = (size_t)size - 2;
    float d[36], v[36];
    for (size_t t = 0; t < tiles; t++) {
        size_t y = (first + t) / tiles_x * step - pad_top;
        size_t x = (first + t) % tiles_x * step - pad_left;
        for (size_t c = 0; c < p.channels; c++) {
            gather(d, size, in, p, y, x, c);
            sandwich(v, m, d, size, size);
            for (int i = 0; i < size * size; i++)
                out[(size_t)i * stride + t * p.channels + c] = v[i];
        }
    }
}

static void output_f32(float *out, picture p, const float *in, size_t stride, size_t tiles_x,
                       size_t first, size_t tiles, const ufk_epilogue *e, const float *m, int size)
{
    const size_t step = (size_t)size - 2;
    float d[36], v[16];
    for (size_t t = 0; t < tiles; t++) {
        size_t y0 = (first + t) / tiles_x * step, x0 = (first + t) % tiles_x * step;
        for (size_t c = 0; c < p.channels; c++) {
            for (int i = 0; i < size * size; i++)
                d[i] = in[(size_t)i * stride + t * p.channels + c];
            sandwich(v, m, d, (int)step, size);
            for (size_t y = y0; y < y0 + step && y < p.h; y++)
                for (size_t x = x0; x < x0 + step && x < p.w; x++) {
                    const float *residual =
                        e->residual ? e->residual + (y * p.w + x) * e->residual_stride : NULL;
                    out[(y * p.w + x) * p.channels + c] =
                        ufk_finish(e, v[(y - y0) * step + x - x0], residual, c);
                }
        }
    }
}

static void ufk_wino4_input_f32_c(float *out, size_t stride, const float *in, size_t in_h,
                                  size_t in_w, size_t channels, size_t pad_top, size_t pad_left,
                                  size_t tiles_x, size_t first, size_t tiles)
{
    input_f32(out, stride, in, (picture){in_h, in_w, channels}, pad_top, pad_left, tiles_x, first,
              tiles, &input4[0][0], 6);
}

static void ufk_wino4_output_f32_c(float *out, size_t out_h, size_t out_w, size_t channels,
                                   const float *in, size_t stride, size_t tiles_x, size_t first,
                                   size_t tiles, const ufk_epilogue *e)
{
    output_f32(out, (picture){out_h, out_w, channels}, in, stride, tiles_x, first, tiles, e,
               &output4[0][0], 6);
}

static void ufk_wino2_input_f32_c(float *out, size_t stride, const float *in, size_t in_h,
                                  size_t in_w, size_t channels, size_t pad_top, size_t pad_left,
                                  size_t tiles_x, size_t first, size_t tiles)
{
    input_f32(out, stride, in, (picture){in_h, in_w, channels}, pad_top, pad_left, tiles_x, first,
              tiles, &input2[0][0], 4);
}

static void ufk_wino2_output_f32_c(float *out, size_t out_h, size_t out_w, size_t channels,
                                   const float *in, size_t stride, size_t tiles_x, size_t first,
                                   size_t tiles, const ufk_epilogue *e)
{
    output_f32(out, (picture){out_h, out_w, channels}, in, stride, tiles_x, first, tiles, e,
               &output2[0][0], 4);
}

void ufk_winograd_init(ufk_table *t, uint32_t flags)
{
    t->wino4_input_f32 = ufk_wino4_input_f32_c;
    t->wino4_output_f32 = ufk_wino4_output_f32_c;
    t->wino2_input_f32 = ufk_wino2_input_f32_c;
    t->wino2_output_f32 = ufk_wino2_output_f32_c;
    t->winograd_f32_name = "winograd_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_winograd_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_winograd_select_avx512(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_winograd_select_neon(t);
#endif
}
