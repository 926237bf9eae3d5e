/*
 * Depthwise 3x3 of stride 1 or 2 for 16 registers: nine hold the weights of 8 channels, four the
 * sums of as many pixels. Three rows of the picture, 16 channels of a line each, are first copied
 * to a small window with zeros around them. That costs two instructions a vector and saves more:
 * there are no borders, all addresses are constants, each line is read once, and columns that lie
 * a multiple of 4 KiB apart in the tensor do not push each other out of the first-level cache.
 *
 * Included by simd/dwconv_body.h. An input that two or three pixels use is an operand in memory
 * where the load ports have time for that, since a load of its own is one more instruction.
 */
enum { GROUP = 16, PIXELS = 4, WINDOW_COLUMNS = 66 };

/* What is constant in an instance of the code below. */
typedef struct form {
    int stride;
    bool whole;  /* all 8 channels are there */
    ufk_act act; /* UFK_ACT_CLAMP: or none; others than it and PReLU: any */
} form;

/* Some channels of some output columns. */
typedef struct window {
    const ufk_dwconv_args *p;
    size_t channel, channels; /* at most GROUP */
    size_t x, width;          /* output columns */
    size_t columns;           /* of the input that they look at */
    float *row[3];
    _Alignas(32) float weights[GROUP / LANES][9][LANES];
    _Alignas(32) float bias[GROUP], slope[GROUP], lo[LANES], hi[LANES];
} window;

/* Where a block of pixels is: local copies, which no store to the output can change. */
typedef struct place {
    const float *row[3];
    float *out;
    const float *residual;
    size_t out_step, residual_step; /* from pixel to pixel */
} place;

static void start_group(window *w, size_t channel)
{
    const ufk_epilogue *e = &w->p->epilogue;
    const bool clamp = e->act == UFK_ACT_CLAMP;
    w->channel = channel;
    w->channels = w->p->channels - channel < GROUP ? w->p->channels - channel : GROUP;
    v_store(w->lo, v_set(clamp ? e->lo : -INFINITY));
    v_store(w->hi, v_set(clamp ? e->hi : INFINITY));
    for (size_t i = 0; i < w->channels; i++) {
        w->bias[i] = e->bias ? e->bias[channel + i] : 0.0f;
        w->slope[i] = e->act == UFK_ACT_PRELU ? e->slope[channel + i] : 0.0f;
        for (size_t k = 0; k < 9; k++)
            w->weights[i / LANES][k][i % LANES] = w->p->weights[k * w->p->channels + channel + i];
    }
}

static void fill_zeros(float *to, size_t columns)
{
    for (size_t i = 0; i < columns * GROUP; i += LANES)
        v_store(to + i, v_set(0.0f));
}

/* Copies input row y, which may lie outside the picture. */
static void copy_row(const window *w, size_t y, float *to)
{
    const ufk_dwconv_args *p = w->p;
    const size_t start = w->x * p->stride_w; /* and pad_left to the left of it */
    size_t from = start < p->pad_left ? p->pad_left - start : 0, end = w->columns;
    if (y >= p->in_h) { /* wraps around below zero */
        fill_zeros(to, end);
        return;
    }
    from = from < end ? from : end;
    if (start + end > p->in_w + p->pad_left)
        end = start + from < p->in_w + p->pad_left ? p->in_w + p->pad_left - start : from;
    fill_zeros(to, from);
    fill_zeros(to + end * GROUP, w->columns - end);
    const size_t step = p->in_pixel_stride;
    const float *in =
        p->in + y * p->in_row_stride + (start + from - p->pad_left) * step + w->channel;
    to += from * GROUP;
    if (w->channels == GROUP) {
#pragma GCC unroll 4
        for (; from < end; from++, in += step, to += GROUP) {
            v_store(to, v_load(in));
            v_store(to + LANES, v_load(in + LANES));
        }
        return;
    }
    for (; from < end; from++, in += step, to += GROUP) {
        v_store(to, v_get(in, w->channels));
        if (w->channels > LANES)
            v_store(to + LANES, v_load_n(in + LANES, w->channels - LANES));
    }
}

V_INLINE void add_product_from(vec *sum, vec x, const float *p)
{
    __asm__("vfmadd231ps %2, %1, %0"
            : "+x"(*sum)
            : "x"(x), "m"(*(const __m256_u *)(const void *)p));
}

/* The sums of column k of a row of the window, for those of the pixels that look at it. */
V_INLINE void add_column(vec sum[PIXELS], const float *in, const vec weights[3], const int k,
                         const int pixels, const int stride)
{
    int uses = 0;
#pragma GCC unroll 4
    for (int i = 0; i < pixels; i++)
        uses += k - i * stride >= 0 && k - i * stride < 3;
    const bool in_register = uses > (stride == 1 ? 2 : 1);
    const vec v = in_register ? v_load(in) : v_set(0.0f);
#pragma GCC unroll 4
    for (int i = 0; i < pixels; i++) {
        const int kx = k - i * stride;
        if (kx < 0 || kx > 2)
            continue;
        if (in_register)
            sum[i] = v_fma(v, weights[kx], sum[i]);
        else
            add_product_from(&sum[i], weights[kx], in);
    }
}

V_INLINE vec finished(const window *w, vec v, size_t half, const form f)
{
    if (f.act == UFK_ACT_CLAMP) /* in this order NaN stays NaN */
        return v_min(v_load(w->hi), v_max(v_load(w->lo), v));
    if (f.act == UFK_ACT_PRELU) /* the sign bit chooses */
        return _mm256_blendv_ps(v, v_mul(v, v_load(w->slope + half)), v);
    return v_activate(&w->p->epilogue, v, v_load(w->slope + half));
}

/* `pixels` output pixels, 8 channels. */
V_INLINE void block(const window *w, const vec weights[9], const place *at, size_t half,
                    const int pixels, const form f)
{
    const size_t n = w->channels - half;
    vec sum[PIXELS];
#pragma GCC unroll 4
    for (int i = 0; i < pixels; i++)
        sum[i] = v_load(w->bias + half);
#pragma GCC unroll 3
    for (int iy = 0; iy < 3; iy++) {
#pragma GCC unroll 9
        for (int k = 0; k < (pixels - 1) * f.stride + 3; k++)
            add_column(sum, at->row[iy] + k * GROUP, weights + iy * 3, k, pixels, f.stride);
    }
    if (at->residual) {
#pragma GCC unroll 4
        for (int i = 0; i < pixels; i++) {
            const float *residual = at->residual + (size_t)i * at->residual_step;
            sum[i] = v_add(sum[i], f.whole ? v_load(residual) : v_load_n(residual, n));
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < pixels; i++) {
        const vec v = finished(w, sum[i], half, f);
        float *out = at->out + (size_t)i * at->out_step;
        if (f.whole)
            v_store(out, v);
        else
            v_store_n(out, v, n);
    }
}

/* Pointers that the compiler does not see to belong together: it would compute each address. */
V_INLINE void advance(place *at, const int stride)
{
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        at->row[i] += PIXELS * stride * GROUP;
        __asm__("" : "+r"(at->row[i]));
    }
    at->out += PIXELS * at->out_step;
    at->residual = at->residual ? at->residual + PIXELS * at->residual_step : NULL;
}

V_INLINE place start_row(const window *w, size_t y, size_t half)
{
    const ufk_dwconv_args *p = w->p;
    const ufk_epilogue *e = &p->epilogue;
    const size_t channel = w->channel + half;
    place at = {.out_step = p->out_pixel_stride, .residual_step = e->residual_stride};
    for (size_t i = 0; i < 3; i++)
        at.row[i] = w->row[i] + half;
    at.out = p->out + y * p->out_row_stride + w->x * p->out_pixel_stride + channel;
    if (e->residual)
        at.residual = e->residual + (y * p->out_w + w->x) * e->residual_stride + channel;
    return at;
}

/* Output row y of the window, 8 channels. */
V_INLINE void window_row(const window *w, size_t y, size_t half, const form f)
{
    vec weights[9];
#pragma GCC unroll 9
    for (size_t i = 0; i < 9; i++)
        weights[i] = v_load(w->weights[half / LANES][i]);
    place at = start_row(w, y, half);
    size_t left = w->width;
    for (; left >= PIXELS; left -= PIXELS) {
        block(w, weights, &at, half, PIXELS, f);
        advance(&at, f.stride);
    }
    if (left == 3)
        block(w, weights, &at, half, 3, f);
    else if (left == 2)
        block(w, weights, &at, half, 2, f);
    else if (left == 1)
        block(w, weights, &at, half, 1, f);
}

typedef void row_fn(const window *w, size_t y, size_t half);

#define ROW(name, stride, whole, act)                        \
    static void name(const window *w, size_t y, size_t half) \
    {                                                        \
        window_row(w, y, half, (form){stride, whole, act});  \
    }
ROW(row_clamp_1, 1, true, UFK_ACT_CLAMP)
ROW(row_clamp_2, 2, true, UFK_ACT_CLAMP)
ROW(row_prelu_1, 1, true, UFK_ACT_PRELU)
ROW(row_prelu_2, 2, true, UFK_ACT_PRELU)
ROW(row_other_1, 1, true, UFK_ACT_SILU)
ROW(row_other_2, 2, true, UFK_ACT_SILU)
ROW(row_part_1, 1, false, UFK_ACT_SILU)
ROW(row_part_2, 2, false, UFK_ACT_SILU)

static row_fn *choose(const ufk_dwconv_args *p, bool whole)
{
    const ufk_act act = p->epilogue.act;
    const bool one = p->stride_w == 1;
    if (!whole)
        return one ? row_part_1 : row_part_2;
    if (act == UFK_ACT_NONE || act == UFK_ACT_CLAMP)
        return one ? row_clamp_1 : row_clamp_2;
    if (act == UFK_ACT_PRELU)
        return one ? row_prelu_1 : row_prelu_2;
    return one ? row_other_1 : row_other_2;
}

/* All rows of some columns and channels. */
static void run_window(window *w, float rows[3][WINDOW_COLUMNS * GROUP])
{
    const ufk_dwconv_args *p = w->p;
    size_t missing = 3; /* rows at the end of the window that are not there yet */
    for (size_t i = 0; i < 3; i++)
        w->row[i] = rows[i];
    for (size_t y = p->y_begin; y < p->y_end; y++, missing = p->stride_h) {
        for (size_t i = 3 - missing; i < 3; i++)
            copy_row(w, y * p->stride_h + i - p->pad_top, w->row[i]);
        for (size_t half = 0; half < w->channels; half += LANES)
            choose(p, w->channels - half >= LANES)(w, y, half);
        for (size_t i = 0; i < p->stride_h; i++) {
            float *oldest = w->row[0];
            w->row[0] = w->row[1];
            w->row[1] = w->row[2];
            w->row[2] = oldest;
        }
    }
}

static void run_3x3(const ufk_dwconv_args *p)
{
    _Alignas(32) float rows[3][WINDOW_COLUMNS * GROUP];
    const size_t most = (WINDOW_COLUMNS - 3) / p->stride_w + 1;
    const size_t windows = (p->out_w + most - 1) / most;
    window w = {.p = p};
    for (size_t channel = 0; channel < p->channels; channel += GROUP) {
        start_group(&w, channel);
        for (size_t i = 0; i < windows; i++) {
            w.x = p->out_w * i / windows;
            w.width = p->out_w * (i + 1) / windows - w.x;
            w.columns = (w.width - 1) * p->stride_w + 3;
            run_window(&w, rows);
        }
    }
}

static bool can_run_3x3(const ufk_dwconv_args *p)
{
    return p->out_w > 0;
}
