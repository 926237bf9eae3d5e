/*
 * Resize in all modes of ONNX (opset 19): per axis, a list of taps (source index and weight) for
 * each output coordinate; the result is the sum over the product of the axes' taps.
 */
#include "graph/op.h"

enum { MODE_NEAREST, MODE_LINEAR, MODE_CUBIC };
enum { MAX_TAPS = 4 };

typedef enum coordinates {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    CROP_AND_RESIZE
} coordinates;

static const char *const coordinate_names[] = {"half_pixel",         "half_pixel_symmetric",
                                               "pytorch_half_pixel", "align_corners",
                                               "asymmetric",         "tf_crop_and_resize"};

typedef struct resize_plan {
    int mode;
    coordinates coords;
    const char *nearest;
    double cubic_a, extrapolation;
    bool exclude_outside;
    double scale[UF_MAX_DIMS], roi_start[UF_MAX_DIMS], roi_end[UF_MAX_DIMS];
} resize_plan;

static uf_status read_modes(const ufi_op_call *c, resize_plan *p, uf_error *err)
{
    const char *mode = ufi_node_string(c->node, UFI_ATTR_MODE, "nearest");
    const char *coords =
        ufi_node_string(c->node, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "half_pixel");
    p->nearest = ufi_node_string(c->node, UFI_ATTR_NEAREST_MODE, "round_prefer_floor");
    p->mode = !strcmp(mode, "nearest")  ? MODE_NEAREST
              : !strcmp(mode, "linear") ? MODE_LINEAR
              : !strcmp(mode, "cubic")  ? MODE_CUBIC
                                        : -1;
    if (p->mode < 0)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "mode \"%.40s\"", mode);
    size_t i = 0;
    while (i < 6 && strcmp(coords, coordinate_names[i]) != 0)
        i++;
    if (i == 6)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "coordinate_transformation_mode \"%.40s\"",
                           coords);
    p->coords = (coordinates)i;
    p->cubic_a = (double)ufi_node_float(c->node, UFI_ATTR_CUBIC_COEFF_A, -0.75f);
    p->extrapolation = (double)ufi_node_float(c->node, UFI_ATTR_EXTRAPOLATION_VALUE, 0);
    p->exclude_outside = ufi_node_int(c->node, UFI_ATTR_EXCLUDE_OUTSIDE, 0) != 0;
    return UF_OK;
}

/* The regions of tf_crop_and_resize: starts, then ends, as fractions. */
static uf_status read_roi(const ufi_op_call *c, resize_plan *p, uf_error *err)
{
    uint32_t rank = c->in[0].shape.rank;
    for (uint32_t d = 0; d < rank; d++) {
        p->roi_start[d] = 0;
        p->roi_end[d] = 1;
    }
    if (p->coords != CROP_AND_RESIZE || !ufi_op_has(c, 1) || !c->in[1].data)
        return UF_OK;
    uf_status st = ufi_op_need_count(c, 1, 2 * (int64_t)rank, false, err);
    for (uint32_t d = 0; !st && d < rank; d++) {
        p->roi_start[d] = ufi_get(&c->in[1], d);
        p->roi_end[d] = ufi_get(&c->in[1], rank + d);
        if (!isfinite(p->roi_start[d]) || !isfinite(p->roi_end[d]))
            return ufi_op_fail(c, err, UF_E_FORMAT, "roi is not finite");
    }
    return st;
}

/* Output dims from `scales` or `sizes`; -1 where unknown. */
static uf_status read_sizes(const ufi_op_call *c, resize_plan *p, ufi_shape *out, uf_error *err)
{
    const ufi_shape *x = &c->in[0].shape;
    int64_t sizes[UFI_MAX_INTS];
    uint32_t count;
    bool known;
    *out = *x;
    if (ufi_op_has(c, 3)) {
        uf_status st = ufi_op_int_input(c, 3, sizes, UF_MAX_DIMS, &count, &known, err);
        if (!st && known && count != x->rank)
            return ufi_op_fail(c, err, UF_E_FORMAT, "%u sizes for rank %u", count, x->rank);
        for (uint32_t d = 0; !st && d < x->rank; d++) {
            bool is_known = known && sizes[d] != UFI_INT_UNKNOWN;
            if (is_known && (sizes[d] < 1 || sizes[d] > UFI_MAX_DIM))
                return ufi_op_fail(c, err, UF_E_FORMAT, "size %lld", (long long)sizes[d]);
            out->dims[d] = is_known ? sizes[d] : -1;
            p->scale[d] = is_known && x->dims[d] > 0 ? (double)sizes[d] / (double)x->dims[d] : 1;
        }
        return st;
    }
    if (!ufi_op_has(c, 2))
        return ufi_op_fail(c, err, UF_E_FORMAT, "neither scales nor sizes");
    if (c->in[2].dtype != UF_F32)
        return ufi_op_fail(c, err, UF_E_FORMAT, "scales are %s", ufi_dtype_name(c->in[2].dtype));
    uf_status st = ufi_op_need_count(c, 2, x->rank, false, err);
    for (uint32_t d = 0; !st && d < x->rank; d++) {
        out->dims[d] = -1;
        if (!c->in[2].data)
            continue;
        p->scale[d] = ufi_get(&c->in[2], d);
        double size = floor((double)x->dims[d] * p->scale[d]);
        if (!(p->scale[d] > 0) || size > (double)UFI_MAX_DIM)
            return ufi_op_fail(c, err, UF_E_FORMAT, "scale %g", p->scale[d]);
        if (x->dims[d] >= 0)
            out->dims[d] = (int64_t)size;
    }
    return st;
}

static uf_status read_plan(const ufi_op_call *c, resize_plan *p, ufi_shape *out, uf_error *err)
{
    uf_status st = read_modes(c, p, err);
    if (!st)
        st = read_roi(c, p, err);
    return st ? st : read_sizes(c, p, out, err);
}

uf_status ufi_infer_resize(const ufi_op_call *c, uf_error *err)
{
    resize_plan p;
    ufi_shape s;
    uf_status st = read_plan(c, &p, &s, err);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &s, err);
}

/* ---- one axis ---- */

/* In float, step by step, as the implementations that networks were made with do it: where a
 * nearest neighbour is a tie, the last bit decides. */
static double half_pixel(double x, double scale)
{
    float shifted = (float)x + 0.5f, scaled = shifted / (float)scale;
    return (double)(scaled - 0.5f);
}

static double source_coordinate(const resize_plan *p, uint32_t d, int64_t i, int64_t in,
                                int64_t out)
{
    double s = p->scale[d], x = (double)i;
    switch (p->coords) {
    case HALF_PIXEL:
        return half_pixel(x, s);
    case HALF_PIXEL_SYMMETRIC: {
        double exact = (double)in * s, center = (double)in / 2;
        return center * (1 - (double)out / exact) + (x + 0.5) / s - 0.5;
    }
    case PYTORCH_HALF_PIXEL:
        return out > 1 ? half_pixel(x, s) : 0;
    case ALIGN_CORNERS:
        return out > 1 ? x * (double)(in - 1) / (double)(out - 1) : 0;
    case ASYMMETRIC:
        return x / s;
    case CROP_AND_RESIZE: {
        double a = p->roi_start[d], b = p->roi_end[d], n = (double)(in - 1);
        return out > 1 ? a * n + x * (b - a) * n / (double)(out - 1) : 0.5 * (a + b) * n;
    }
    }
    return x;
}

static double round_nearest(const char *mode, double x)
{
    if (!strcmp(mode, "floor"))
        return floor(x);
    if (!strcmp(mode, "ceil"))
        return ceil(x);
    if (!strcmp(mode, "round_prefer_ceil"))
        return floor(x + 0.5);
    return ceil(x - 0.5);
}

typedef struct taps {
    int64_t index[MAX_TAPS];
    double weight[MAX_TAPS];
    int count;
    bool outside; /* tf_crop_and_resize: the extrapolation value */
} taps;

static int64_t clamp_index(double x, int64_t n)
{
    return x < 0 ? 0 : x > (double)(n - 1) ? n - 1 : (int64_t)x;
}

static void cubic_weights(double t, double a, double w[4])
{
    w[0] = ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * (1 - t) - (a + 3)) * (1 - t) * (1 - t) + 1;
    w[3] = ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a;
}

static void make_taps(const resize_plan *p, uint32_t d, int64_t i, int64_t in, int64_t out, taps *t)
{
    t->count = 1;
    t->outside = false;
    t->index[0] = i;
    t->weight[0] = 1;
    if (in == out && p->coords != CROP_AND_RESIZE && p->scale[d] == 1)
        return;
    double x = source_coordinate(p, d, i, in, out), base = floor(x), sum = 0;
    if (p->coords == CROP_AND_RESIZE)
        t->outside = x < 0 || x > (double)(in - 1);
    if (p->mode == MODE_NEAREST) {
        t->index[0] = clamp_index(round_nearest(p->nearest, x), in);
        return;
    }
    int first = p->mode == MODE_CUBIC ? -1 : 0;
    t->count = p->mode == MODE_CUBIC ? 4 : 2;
    if (p->mode == MODE_CUBIC) {
        cubic_weights(x - base, p->cubic_a, t->weight);
    } else {
        t->weight[0] = 1 - (x - base);
        t->weight[1] = x - base;
    }
    for (int k = 0; k < t->count; k++) {
        double at = base + first + k;
        if (p->exclude_outside && (at < 0 || at > (double)(in - 1)))
            t->weight[k] = 0;
        t->index[k] = clamp_index(at, in);
        sum += t->weight[k];
    }
    for (int k = 0; p->exclude_outside && sum != 0 && k < t->count; k++)
        t->weight[k] /= sum;
}

/* Sum over the taps of axes d.. of the element at `base`. */
static double interpolate(const ufi_tensor *x, const taps *t, const int64_t *strides, uint32_t rank,
                          uint32_t d, int64_t base)
{
    if (d == rank)
        return ufi_get(x, base);
    double sum = 0;
    for (int k = 0; k < t[d].count; k++)
        if (t[d].weight[k] != 0)
            sum += t[d].weight[k] *
                   interpolate(x, t, strides, rank, d + 1, base + t[d].index[k] * strides[d]);
    return sum;
}

uf_status ufi_eval_resize(const ufi_op_call *c, uf_error *err)
{
    resize_plan p;
    ufi_shape s;
    taps t[UF_MAX_DIMS];
    int64_t strides[UF_MAX_DIMS], index[UF_MAX_DIMS] = {0};
    const ufi_shape *in = &c->in[0].shape;
    uf_status st = read_plan(c, &p, &s, err);
    int64_t n = st ? 0 : ufi_shape_count(&s);
    if (n > 0 && ufi_shape_count(in) == 0)
        return ufi_op_fail(c, err, UF_E_FORMAT, "an empty input cannot be resized");
    ufi_strides(in, strides);
    for (uint32_t d = 0; n > 0 && d < s.rank; d++)
        make_taps(&p, d, 0, in->dims[d], s.dims[d], &t[d]);
    for (int64_t i = 0; i < n; i++) {
        bool outside = false;
        for (uint32_t d = 0; d < s.rank; d++)
            outside |= t[d].outside;
        ufi_put(&c->out[0], i,
                outside ? p.extrapolation : interpolate(&c->in[0], t, strides, s.rank, 0, 0));
        for (uint32_t d = s.rank; d-- > 0;) {
            index[d] = index[d] + 1 == s.dims[d] ? 0 : index[d] + 1;
            make_taps(&p, d, index[d], in->dims[d], s.dims[d], &t[d]);
            if (index[d])
                break;
        }
    }
    return st;
}
