/* INT16: packing, the references, and the choice of a variant. */
#include <math.h>
#include <string.h>

#include "base/cpu.h"
#include "kernels/topics.h"

enum { PANEL = 8 };

static size_t column_words(const ufk_table *t, size_t runs, size_t run_length)
{
    return runs * ((run_length + t->words_group - 1) / t->words_group * t->words_group);
}

size_t ufk_words_packed(const ufk_table *t, size_t runs, size_t run_length, size_t n)
{
    return (n + t->words_nr - 1) / t->words_nr * t->words_nr * column_words(t, runs, run_length);
}

void ufk_words_pack(const ufk_table *t, int16_t *packed, const int16_t *b, size_t runs,
                    size_t run_length, size_t n)
{
    const size_t nr = t->words_nr, group = t->words_group;
    memset(packed, 0, ufk_words_packed(t, runs, run_length, n) * sizeof *packed);
    for (size_t j = 0; j < n; j += nr)
        for (size_t run = 0; run < runs; run++)
            for (size_t k = 0; k < run_length; k += group, packed += nr * group) {
                const bool alone = k > 0 && k + group > run_length;
                for (size_t i = 0; i < group && k + i < run_length; i++)
                    for (size_t c = 0; c < nr && j + c < n; c++)
                        packed[c * group + i + alone] = b[(run * run_length + k + i) * n + j + c];
            }
}

/* What follows a sum; `residual` points at the output pixel's channel 0, or is NULL. */
static float finish(const ufk_word_epilogue *e, int32_t sum, const int16_t *residual, size_t c)
{
    float v = fmaf((float)sum, e->scale[c], e->bias[c]);
    if (residual)
        v = fmaf((float)residual[c], e->residual_scale, v);
    if (e->slope)
        v = v < 0 ? v * e->slope[c] : v;
    v = v > e->lo ? v : e->lo; /* NaN too */
    return v < e->hi ? v : e->hi;
}

static void put(int16_t *words, float *floats, size_t at, float v)
{
    if (floats)
        floats[at] = v;
    else
        words[at] = (int16_t)rintf(v);
}

void ufk_conv_i16_c(const ufk_word_conv_args *g)
{
    const ufk_word_epilogue *e = &g->epilogue;
    const size_t depth = g->runs * g->run_length;
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            const int16_t *a = g->a + i * g->a_stride;
            const int16_t *b = g->b + j / PANEL * PANEL * depth + j % PANEL;
            int32_t sum = 0;
            for (size_t r = 0; r < g->runs; r++)
                for (size_t k = 0; k < g->run_length; k++, b += PANEL)
                    sum += a[r * g->run_stride + k] * *b;
            const int16_t *residual = e->residual ? e->residual + i * e->residual_stride : NULL;
            put(g->c, g->c_f32, i * g->c_stride + j, finish(e, sum, residual, j));
        }
}

static int32_t window_sum(const ufk_word_dwconv_args *a, size_t y, size_t x, size_t c)
{
    int32_t sum = 0;
    for (size_t ky = 0; ky < a->kernel_h; ky++)
        for (size_t kx = 0; kx < a->kernel_w; kx++) {
            const size_t iy = y * a->stride_h + ky * a->dilation_h - a->pad_top;
            const size_t ix = x * a->stride_w + kx * a->dilation_w - a->pad_left;
            if (iy < a->in_h && ix < a->in_w) /* both wrap below zero */
                sum += a->in[(iy * a->in_w + ix) * a->channels + c] *
                       a->weights[(ky * a->kernel_w + kx) * a->channels + c];
        }
    return sum;
}

void ufk_dwconv_i16_c(const ufk_word_dwconv_args *a)
{
    const ufk_word_epilogue *e = &a->epilogue;
    for (size_t y = a->y_begin; y < a->y_end; y++)
        for (size_t x = 0; x < a->out_w; x++) {
            const size_t pixel = y * a->out_w + x;
            const int16_t *residual = e->residual ? e->residual + pixel * e->residual_stride : NULL;
            for (size_t c = 0; c < a->channels; c++)
                put(a->out, a->out_f32, pixel * a->channels + c,
                    finish(e, window_sum(a, y, x, c), residual, c));
        }
}

static int16_t saturate(float v)
{
    v = v > -32768 ? v : -32768;
    return (int16_t)rintf(v < 32767 ? v : 32767);
}

static void ufk_quantize_i16_c(int16_t *out, const float *in, size_t count, float scale)
{
    for (size_t i = 0; i < count; i++)
        out[i] = saturate(in[i] == in[i] ? in[i] / scale : 0);
}

static void ufk_quantize_planes3_i16_c(int16_t *out, const float *in, size_t pixels, float scale)
{
    for (size_t i = 0; i < pixels; i++)
        for (size_t c = 0; c < 3; c++)
            ufk_quantize_i16_c(out + 3 * i + c, in + c * pixels + i, 1, scale);
}

static void ufk_dequantize_i16_c(float *out, const int16_t *in, size_t count, float scale)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)in[i] * scale;
}

static void ufk_add_i16_c(int16_t *out, const int16_t *a, const int16_t *b, size_t count,
                          float a_scale, float b_scale)
{
    for (size_t i = 0; i < count; i++)
        out[i] = saturate(fmaf((float)a[i], a_scale, (float)b[i] * b_scale));
}

static void ufk_max_pool_i16_c(int16_t *out, const int16_t *in, const ufk_pool_args *p)
{
    for (size_t y = p->y_begin; y < p->y_end; y++)
        for (size_t x = 0; x < p->out_w; x++)
            for (size_t c = 0; c < p->channels; c++) {
                int16_t max = INT16_MIN;
                for (size_t t = 0; t < p->kernel_h * p->kernel_w; t++) {
                    size_t iy = y * p->stride_h + t / p->kernel_w * p->dilation_h - p->pad_top;
                    size_t ix = x * p->stride_w + t % p->kernel_w * p->dilation_w - p->pad_left;
                    if (iy >= p->in_h || ix >= p->in_w) /* wraps below zero */
                        continue;
                    int16_t v = in[(iy * p->in_w + ix) * p->channels + c];
                    max = v > max ? v : max;
                }
                out[(y * p->out_w + x) * p->channels + c] = max;
            }
}

void ufk_words_init(ufk_table *t, uint32_t flags)
{
    t->words_nr = PANEL;
    t->words_group = 1;
    t->conv_i16 = ufk_conv_i16_c;
    t->dwconv_i16 = ufk_dwconv_i16_c;
    t->quantize_i16 = ufk_quantize_i16_c;
    t->quantize_planes3_i16 = ufk_quantize_planes3_i16_c;
    t->dequantize_i16 = ufk_dequantize_i16_c;
    t->add_i16 = ufk_add_i16_c;
    t->max_pool_i16 = ufk_max_pool_i16_c;
    t->words_name = "words_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_words_select_avx2(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_words_select_neon(t);
#endif
}
