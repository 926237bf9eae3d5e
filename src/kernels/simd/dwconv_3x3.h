/*
 * Depthwise 3x3 of stride 1 or 2 for 32 registers: the nine weights stay there, and ROWS x 4 pixels
 * are computed at once, so that an input column is loaded once for up to 3 x ROWS sums.
 * Rows go outermost and channels next: the few input rows at hand stay in the first-level cache
 * while all their channels pass. Rows above and below the picture are read from a row of zeros,
 * whose pixels all lie at the same place. Columns at the left and right border, and what is left of
 * a row, take one pixel at a time. Included by dwconv_body.h.
 */
enum { PIXELS = 4, ROWS = 2, MAX_IN_ROWS = (ROWS - 1) * 2 + 3 };

/* What is constant in an instance of the code below. */
typedef struct form {
    int stride;
    bool whole;  /* all LANES channels are there */
    ufk_act act; /* UFK_ACT_NONE: clamped to -inf..inf; others than clamp and PReLU: any */
} form;

/* LANES channels of a few output rows. */
typedef struct band {
    const ufk_dwconv_args *p;
    size_t channel, n;            /* of this vector, and how many are left */
    size_t y, rows;               /* output rows y .. y + rows - 1 */
    const float *in[MAX_IN_ROWS]; /* channel 0 of column 0 */
} band;

/* What the inner loops keep in registers. */
typedef struct constants {
    vec w[9], bias, slope, lo, hi;
} constants;

V_INLINE vec get(const float *p, size_t n, const bool whole)
{
    return whole ? v_load(p) : v_load_n(p, n);
}

V_INLINE constants load_constants(const ufk_dwconv_args *p, size_t channel, size_t n,
                                  const bool whole)
{
    const ufk_epilogue *e = &p->epilogue;
    const bool clamp = e->act == UFK_ACT_CLAMP;
    constants k;
    k.lo = v_set(clamp ? e->lo : -INFINITY);
    k.hi = v_set(clamp ? e->hi : INFINITY);
    k.bias = e->bias ? get(e->bias + channel, n, whole) : v_set(0.0f);
    k.slope = e->act == UFK_ACT_PRELU ? get(e->slope + channel, n, whole) : v_set(0.0f);
    for (size_t i = 0; i < 9; i++)
        k.w[i] = get(p->weights + i * p->channels + channel, n, whole);
    return k;
}

V_INLINE void finish(const band *b, const constants *k, float *out, const float *residual, vec sum,
                     const form f)
{
    vec v = v_add(sum, k->bias);
    if (residual)
        v = v_add(v, get(residual, b->n, f.whole));
    if (f.act == UFK_ACT_CLAMP)
        v = v_min(k->hi, v_max(k->lo, v)); /* in this order NaN stays NaN */
    else if (f.act == UFK_ACT_PRELU)
        v = v_prelu(v, k->slope);
    else
        v = v_activate(&b->p->epilogue, v, k->slope);
    if (f.whole)
        v_store(out, v);
    else
        v_store_n(out, v, b->n);
}

/* Where output column x of row r goes, and its residual. */
V_INLINE float *out_at(const band *b, size_t r, size_t x)
{
    return b->p->out + (b->y + r) * b->p->out_row_stride + x * b->p->out_pixel_stride + b->channel;
}
V_INLINE const float *residual_at(const band *b, size_t r, size_t x)
{
    const ufk_epilogue *e = &b->p->epilogue;
    if (!e->residual)
        return NULL;
    return e->residual + ((b->y + r) * b->p->out_w + x) * e->residual_stride + b->channel;
}

/* `pixels` output pixels of each row; `in` points at the first column of their windows. */
V_INLINE void inner(const band *b, const constants *c, const float *const in[], size_t x,
                    const int pixels, const int rows, const form f)
{
    const size_t step = b->p->in_pixel_stride;
    vec sum[ROWS][PIXELS];
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < pixels; i++)
            sum[r][i] = v_set(0.0f);
#pragma GCC unroll 5
    for (int iy = 0; iy < (rows - 1) * f.stride + 3; iy++) {
#pragma GCC unroll 9
        for (int k = 0; k < (pixels - 1) * f.stride + 3; k++) {
            vec v = get(in[iy] + (size_t)k * step, b->n, f.whole);
#pragma GCC unroll 2
            for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
                for (int i = 0; i < pixels; i++) {
                    int ky = iy - r * f.stride, kx = k - i * f.stride;
                    if (ky >= 0 && ky < 3 && kx >= 0 && kx < 3)
                        sum[r][i] = v_fma(v, c->w[ky * 3 + kx], sum[r][i]);
                }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < rows; r++) {
        float *out = out_at(b, (size_t)r, x);
        const float *residual = residual_at(b, (size_t)r, x);
#pragma GCC unroll 4
        for (int i = 0; i < pixels; i++) {
            finish(b, c, out, residual, sum[r][i], f);
            out += b->p->out_pixel_stride;
            residual = residual ? residual + b->p->epilogue.residual_stride : NULL;
        }
    }
}

/* One output column whose window leaves the picture to the left or right. */
V_INLINE void edge(const band *b, const constants *c, size_t x, const form f)
{
    for (size_t r = 0; r < b->rows; r++) {
        vec sum = v_set(0.0f);
        for (size_t kx = 0; kx < 3; kx++) {
            size_t column = x * (size_t)f.stride + kx - b->p->pad_left;
            if (column >= b->p->in_w) /* wraps around below zero */
                continue;
#pragma GCC unroll 3
            for (size_t ky = 0; ky < 3; ky++) {
                const float *in = b->in[r * (size_t)f.stride + ky];
                vec v = get(in + column * b->p->in_pixel_stride + b->channel, b->n, f.whole);
                sum = v_fma(v, c->w[ky * 3 + kx], sum);
            }
        }
        finish(b, c, out_at(b, r, x), residual_at(b, r, x), sum, f);
    }
}

/* Columns x .. to - 1, whose windows lie inside. */
V_INLINE void inner_columns(const band *b, const constants *c, size_t x, size_t to, const int rows,
                            const form f)
{
    const size_t step = b->p->in_pixel_stride;
    const size_t first = x * (size_t)f.stride - b->p->pad_left;
    const float *in[MAX_IN_ROWS];
    for (int i = 0; i < (rows - 1) * f.stride + 3; i++)
        in[i] = b->in[i] + first * step + b->channel;
    for (; x + PIXELS <= to; x += PIXELS) {
        inner(b, c, in, x, PIXELS, rows, f);
        for (int i = 0; i < (rows - 1) * f.stride + 3; i++)
            in[i] += PIXELS * (size_t)f.stride * step;
    }
    for (; x < to; x++) {
        inner(b, c, in, x, 1, rows, f);
        for (int i = 0; i < (rows - 1) * f.stride + 3; i++)
            in[i] += (size_t)f.stride * step;
    }
}

V_INLINE void band_3x3(const band *b, const form f)
{
    const ufk_dwconv_args *p = b->p;
    const constants c = load_constants(p, b->channel, b->n, f.whole);
    const size_t stride = (size_t)f.stride;
    size_t from = (p->pad_left + stride - 1) / stride, x = 0;
    size_t to = p->in_w + p->pad_left >= 3 ? (p->in_w + p->pad_left - 3) / stride + 1 : 0;
    to = to < p->out_w ? to : p->out_w;
    for (; x < from && x < p->out_w; x++)
        edge(b, &c, x, f);
    if (x < to && b->rows == ROWS)
        inner_columns(b, &c, x, to, ROWS, f);
    else if (x < to)
        inner_columns(b, &c, x, to, 1, f);
    for (x = x < to ? to : x; x < p->out_w; x++)
        edge(b, &c, x, f);
}

#define BAND(name, stride, whole, act)           \
    static void name(const band *b)              \
    {                                            \
        band_3x3(b, (form){stride, whole, act}); \
    }
BAND(band_clamp_1, 1, true, UFK_ACT_CLAMP)
BAND(band_clamp_2, 2, true, UFK_ACT_CLAMP)
BAND(band_prelu_1, 1, true, UFK_ACT_PRELU)
BAND(band_prelu_2, 2, true, UFK_ACT_PRELU)
BAND(band_other_1, 1, true, UFK_ACT_SILU)
BAND(band_other_2, 2, true, UFK_ACT_SILU)
BAND(band_part_1, 1, false, UFK_ACT_SILU)
BAND(band_part_2, 2, false, UFK_ACT_SILU)

typedef void band_fn(const band *b);

static band_fn *choose(const ufk_dwconv_args *p, bool whole)
{
    ufk_act act = p->epilogue.act;
    bool one = p->stride_w == 1;
    if (!whole)
        return one ? band_part_1 : band_part_2;
    if (act == UFK_ACT_NONE || act == UFK_ACT_CLAMP)
        return one ? band_clamp_1 : band_clamp_2;
    if (act == UFK_ACT_PRELU)
        return one ? band_prelu_1 : band_prelu_2;
    return one ? band_other_1 : band_other_2;
}

/* A row of zeros, read in place of rows above and below the picture. */
enum { ZERO_FLOATS = 16384 };
static const float zeros[ZERO_FLOATS];

/* Where the input rows of output rows y .. y + rows - 1 are. */
static void find_rows(band *b)
{
    const ufk_dwconv_args *p = b->p;
    for (size_t i = 0; i < (b->rows - 1) * p->stride_h + 3; i++) {
        size_t y = b->y * p->stride_h + i - p->pad_top;
        b->in[i] = y < p->in_h ? p->in + y * p->in_row_stride : zeros;
    }
}

static void run_3x3(const ufk_dwconv_args *p)
{
    band b = {.p = p};
    for (b.y = p->y_begin; b.y < p->y_end; b.y += b.rows) {
        b.rows = p->y_end - b.y < ROWS ? 1 : ROWS;
        find_rows(&b);
        for (b.channel = 0; b.channel < p->channels; b.channel += LANES) {
            b.n = p->channels - b.channel;
            choose(p, b.n >= LANES)(&b);
        }
    }
}

static bool can_run_3x3(const ufk_dwconv_args *p)
{
    return p->in_w * p->in_pixel_stride <= ZERO_FLOATS;
}
