/*
 * Quantised graphs of other tools become QConv: QLinearConv, a convolution between DequantizeLinear
 * and QuantizeLinear (also what OpenVINO writes), and ConvInteger with the scaling behind it. Runs
 * once, before the first sweep: it needs the DequantizeLinear nodes of the weights, whose results
 * are folded to FP32 already.
 *
 * Maxima and concatenations of dequantised tensors stay in bytes.
 *
 * Signed activations are turned into unsigned ones first: only their zero points change.
 */
#include <math.h>

#include "graph/pass.h"

/* ---- constants ---- */

static const ufi_value *constant(const ufi_pass *p, const ufi_node *n, uint32_t i)
{
    if (!ufi_node_has(n, i))
        return NULL;
    const ufi_value *v = ufi_pass_value(p, n->in[i]);
    return v->data ? v : NULL;
}

static bool is_single(const ufi_value *v)
{
    return v && ufi_shape_count(&v->shape) == 1;
}

/* Where the constant given as input i is one number. */
static bool is_scalar(const ufi_pass *p, const ufi_node *n, uint32_t i)
{
    return is_single(constant(p, n, i));
}

static uf_status add_bytes(ufi_pass *p, uf_dtype dtype, const ufi_shape *shape, const void *data,
                           uint32_t *id)
{
    const size_t count = (size_t)ufi_shape_count(shape);
    uint8_t *copy = ufi_arena_alloc(&p->g->arena, count + 1, 1);
    if (!copy)
        return ufi_fail(p->err, UF_E_NOMEM, "no memory for a constant");
    memcpy(copy, data, count);
    const ufi_tensor t = {dtype, UFI_PLAIN, *shape, copy};
    uf_status st = ufi_graph_add_constant(p->g, "", &t, false, id, p->err);
    return st ? st : ufi_pass_grow(p);
}

static uf_status add_u8(ufi_pass *p, uint8_t value, uint32_t *id)
{
    const ufi_shape scalar = {.rank = 0};
    return add_bytes(p, UF_U8, &scalar, &value, id);
}

/* ---- signed activations to unsigned ones ---- */

/* For each quantised tensor that a node reads or makes: where its zero point is. */
typedef struct quant_slot {
    uint16_t op;
    int8_t tensor; /* input, or -1 for the output */
    int8_t zero;
} quant_slot;

static const quant_slot slots[] = {
    {UFI_OP_QUANTIZE_LINEAR, -1, 2},
    {UFI_OP_DEQUANTIZE_LINEAR, 0, 2},
    {UFI_OP_QLINEAR_CONV, 0, 2},
    {UFI_OP_QLINEAR_CONV, -1, 7},
    {UFI_OP_QLINEAR_ADD, 0, 2},
    {UFI_OP_QLINEAR_ADD, 3, 5},
    {UFI_OP_QLINEAR_ADD, -1, 7},
    {UFI_OP_QLINEAR_MUL, 0, 2},
    {UFI_OP_QLINEAR_MUL, 3, 5},
    {UFI_OP_QLINEAR_MUL, -1, 7},
    {UFI_OP_QLINEAR_GLOBAL_AVERAGE_POOL, 0, 2},
    {UFI_OP_QLINEAR_GLOBAL_AVERAGE_POOL, -1, 4},
    {UFI_OP_QLINEAR_LEAKY_RELU, 0, 2},
    {UFI_OP_QLINEAR_LEAKY_RELU, -1, 4},
    {UFI_OP_QLINEAR_SIGMOID, 0, 2},
    {UFI_OP_QLINEAR_SIGMOID, -1, 4},
    {UFI_OP_QGEMM, 0, 2},
    {UFI_OP_QGEMM, -1, 8},
};

/* Order and moves do not care what 128 is added to. */
static bool only_moves(uint16_t op)
{
    return op == UFI_OP_MAX_POOL || op == UFI_OP_RESHAPE || op == UFI_OP_FLATTEN ||
           op == UFI_OP_TRANSPOSE || op == UFI_OP_IDENTITY || op == UFI_OP_SQUEEZE ||
           op == UFI_OP_UNSQUEEZE;
}

static bool is_signed_activation(const ufi_pass *p, uint32_t v)
{
    return v != UFI_NONE && p->g->values[v].dtype == UF_I8 && !p->g->values[v].data;
}

static const quant_slot *slot_of(const ufi_node *n, int tensor)
{
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if (slots[i].op == n->op && slots[i].tensor == tensor)
            return &slots[i];
    return NULL;
}

/* Whether zero point i, if there is one, is a known number. */
static bool zero_is_known(const ufi_pass *p, const ufi_node *n, int i)
{
    return !ufi_node_has(n, (uint32_t)i) || is_scalar(p, n, (uint32_t)i);
}

/* Whether every use of every signed activation can be turned. */
static bool can_unsign(const ufi_pass *p, bool *any)
{
    const ufi_graph *g = p->g;
    *any = false;
    for (uint32_t i = 0; i < g->input_count + g->output_count; i++) {
        uint32_t v = i < g->input_count ? g->inputs[i] : g->outputs[i - g->input_count];
        if (g->values[v].dtype == UF_I8)
            return false;
    }
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->in_count; k++) {
            if (!is_signed_activation(p, n->in[k]))
                continue;
            const quant_slot *s = slot_of(n, (int)k);
            *any = true;
            if (!(only_moves(n->op) && k == 0) && !(s && zero_is_known(p, n, s->zero)))
                return false;
        }
        if (n->out_count && is_signed_activation(p, n->out[0])) {
            const quant_slot *s = slot_of(n, -1);
            if (n->out_count > 1 || (!only_moves(n->op) && !(s && zero_is_known(p, n, s->zero))))
                return false;
        }
    }
    return true;
}

/* Zero point `s->zero` of the node, 128 higher. */
static uf_status raise_zero(ufi_pass *p, ufi_node *n, const quant_slot *s)
{
    uint32_t in[UFI_MAX_NODE_IO], id;
    const uint32_t at = (uint32_t)s->zero;
    const ufi_value *old = constant(p, n, at);
    uf_status st = add_u8(p, (uint8_t)((old ? *(const int8_t *)old->data : 0) + 128), &id);
    if (st)
        return st;
    for (uint32_t i = 0; i <= at; i++)
        in[i] = i < n->in_count ? n->in[i] : UFI_NONE;
    for (uint32_t i = at + 1; i < n->in_count; i++)
        in[i] = n->in[i];
    in[at] = id;
    return ufi_pass_set_inputs(p, n, in, n->in_count > at ? n->in_count : at + 1);
}

static uf_status unsign(ufi_pass *p)
{
    bool any;
    uf_status st = UF_OK;
    if (!can_unsign(p, &any) || !any)
        return UF_OK;
    for (uint32_t i = 0; !st && i < p->g->node_count; i++) {
        ufi_node *n = &p->g->nodes[i];
        for (size_t k = 0; !st && k < sizeof slots / sizeof *slots; k++) {
            const quant_slot *s = &slots[k];
            if (s->op != n->op)
                continue;
            uint32_t v = s->tensor < 0 ? n->out[0] : n->in[s->tensor];
            if (is_signed_activation(p, v))
                st = raise_zero(p, n, s);
        }
    }
    for (uint32_t v = 0; !st && v < p->g->value_count; v++)
        if (is_signed_activation(p, v))
            p->g->values[v].dtype = UF_U8;
    return st;
}

/* ---- QConv ---- */

/* Weight i without its zero point. */
static int64_t plain_weight(const ufi_tensor *w, const ufi_tensor *zero, size_t i,
                            size_t per_filter)
{
    int64_t z = 0;
    if (zero->data)
        z = ufi_get_int(zero, ufi_shape_count(&zero->shape) > 1 ? (int64_t)(i / per_filter) : 0);
    return ufi_get_int(w, (int64_t)i) - z;
}

/* The pieces of a quantised weight tensor; `zero` has no data where there is none. */
typedef struct weights {
    ufi_tensor w, zero;
    const float *scale;
    const char *name;
    size_t filters, per_filter;
    bool one_scale, usable;
    bool fits; /* without their zero points the weights are signed bytes */
} weights;

/* Data of constants stays where it is when the graph's table of values moves. */
static weights read_weights(const ufi_value *w, const ufi_value *zero, const ufi_value *scale)
{
    weights r = {.name = w->name};
    const int64_t scales = ufi_shape_count(&scale->shape);
    const int64_t zeros = zero ? ufi_shape_count(&zero->shape) : 1;
    r.filters = w->shape.rank == 4 ? (size_t)w->shape.dims[0] : 0;
    r.usable = r.filters > 0 && (w->dtype == UF_I8 || w->dtype == UF_U8) &&
               scale->dtype == UF_F32 && (scales == 1 || scales == (int64_t)r.filters) &&
               (zeros == 1 || zeros == (int64_t)r.filters);
    if (!r.usable)
        return r;
    r.w = (ufi_tensor){w->dtype, UFI_PLAIN, w->shape, (void *)(uintptr_t)w->data};
    if (zero)
        r.zero = (ufi_tensor){zero->dtype, UFI_PLAIN, zero->shape, (void *)(uintptr_t)zero->data};
    r.scale = scale->data;
    r.one_scale = scales == 1;
    const size_t count = (size_t)ufi_shape_count(&w->shape);
    r.per_filter = count / r.filters;
    r.fits = true;
    for (size_t i = 0; r.fits && i < count; i++) {
        const int64_t v = plain_weight(&r.w, &r.zero, i, r.per_filter);
        r.fits = v >= -128 && v <= 127;
    }
    return r;
}

static float scale_of(const weights *r, const float *by, size_t filter)
{
    return r->scale[r->one_scale ? 0 : filter] * (by ? by[filter] : 1);
}

/* Whether a QConv takes them: signed bytes, and scales, times those in `by` if there are, that are
 * positive. Files hold scales that are 0, or that FP16 made 0. */
static bool suit_qconv(const weights *r, const float *by)
{
    bool suit = r->fits;
    for (size_t f = 0; suit && f < r->filters; f++)
        suit = scale_of(r, by, f) > 0 && isfinite(scale_of(r, by, f));
    return suit;
}

/* Weights and scales, times those in `by` if there are, as inputs 1 and 4 of a QConv. */
static uf_status add_weights(ufi_pass *p, const weights *r, const float *by, uint32_t in[12])
{
    const size_t count = r->filters * r->per_filter;
    const ufi_shape vector = {.rank = 1, .dims = {(int64_t)r->filters}};
    int8_t *out = ufi_arena_alloc(&p->g->arena, count + 1, 1);
    float *scales;
    if (!out)
        return ufi_fail(p->err, UF_E_NOMEM, "no memory for weights");
    for (size_t i = 0; i < count; i++)
        out[i] = (int8_t)plain_weight(&r->w, &r->zero, i, r->per_filter);
    const ufi_tensor t = {UF_I8, UFI_PLAIN, r->w.shape, out};
    uf_status st = ufi_graph_add_constant(p->g, r->name, &t, false, &in[1], p->err);
    if (!st)
        st = ufi_pass_grow(p);
    if (!st)
        st = ufi_pass_constant(p, r->name, &vector, NULL, &in[4], &scales);
    for (size_t f = 0; !st && f < r->filters; f++)
        scales[f] = scale_of(r, by, f);
    return st;
}

static bool is_u8(const ufi_pass *p, uint32_t v)
{
    return v != UFI_NONE && p->g->values[v].dtype == UF_U8 && !p->g->values[v].data;
}

static void none(uint32_t in[12])
{
    for (int i = 0; i < 12; i++)
        in[i] = UFI_NONE;
}

/* QLinearConv: x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero[, bias]. */
static uf_status from_qlinear(ufi_pass *p, ufi_node *n)
{
    uint32_t in[12];
    const ufi_value *w = constant(p, n, 3), *w_scale = constant(p, n, 4);
    const ufi_value *bias = constant(p, n, 8);
    if (!w || !w_scale || !is_u8(p, n->in[0]) || !is_u8(p, n->out[0]) || !is_scalar(p, n, 1) ||
        !is_scalar(p, n, 6) ||
        (ufi_node_has(n, 8) &&
         (!bias || w->shape.rank != 4 || ufi_shape_count(&bias->shape) != w->shape.dims[0])))
        return UF_OK;
    none(in);
    const float x_scale = *(const float *)constant(p, n, 1)->data;
    const weights r = read_weights(w, constant(p, n, 5), w_scale);
    if (!suit_qconv(&r, NULL))
        return UF_OK;
    uf_status st = add_weights(p, &r, NULL, in);
    if (st)
        return st;
    if (bias) {
        float *f;
        const ufi_shape s = {.rank = 1, .dims = {ufi_pass_value(p, in[1])->shape.dims[0]}};
        st = ufi_pass_constant(p, "bias", &s, NULL, &in[5], &f);
        const ufi_value *scales = ufi_pass_value(p, n->in[4]), *b = ufi_pass_value(p, n->in[8]);
        const bool one = is_single(scales);
        for (int64_t i = 0; !st && i < s.dims[0]; i++)
            f[i] = (float)((const int32_t *)b->data)[i] * x_scale *
                   ((const float *)scales->data)[one ? 0 : i];
    }
    if (st)
        return st;
    in[0] = n->in[0], in[2] = n->in[1], in[3] = n->in[2];
    in[10] = n->in[6], in[11] = ufi_node_has(n, 7) ? n->in[7] : UFI_NONE;
    n->op = UFI_OP_QCONV;
    return ufi_pass_set_inputs(p, n, in, 12);
}

/* What makes `v`, also when its result is known already. */
static const ufi_node *maker_of(const ufi_pass *p, uint32_t v)
{
    return p->producer[v] == UFI_NONE ? NULL : &p->g->nodes[p->producer[v]];
}

/* Weights made by DequantizeLinear along their first axis. */
static weights read_dequantized(const ufi_pass *p, const ufi_node *dq)
{
    const ufi_value *w = constant(p, dq, 0), *scale = constant(p, dq, 1);
    if (!w || !scale ||
        (!is_single(scale) && (ufi_node_int(dq, UFI_ATTR_AXIS, 1) != 0 ||
                               ufi_shape_count(&scale->shape) != w->shape.dims[0])))
        return (weights){0};
    return read_weights(w, constant(p, dq, 2), scale);
}

/* Weights as OpenVINO writes them: bytes made floats, times a scale for each filter, reshaped to
 * what the convolution takes. */
static weights read_multiplied(const ufi_pass *p, const ufi_node *mul, const ufi_shape *shape)
{
    const ufi_value *scale = constant(p, mul, 1);
    const ufi_node *cast = maker_of(p, mul->in[0]);
    const ufi_value *bytes = cast && cast->op == UFI_OP_CAST ? constant(p, cast, 0) : NULL;
    if (!scale || !bytes || bytes->shape.rank != scale->shape.rank || scale->shape.rank < 4 ||
        !ufi_shape_known(shape) || ufi_shape_count(shape) != ufi_shape_count(&bytes->shape))
        return (weights){0};
    int64_t filters = 1; /* as far as there is a scale for each */
    for (uint32_t d = 0; d < scale->shape.rank; d++) {
        const bool leads = d + 3 < scale->shape.rank;
        if (scale->shape.dims[d] != (leads && !is_single(scale) ? bytes->shape.dims[d] : 1))
            return (weights){0};
        filters *= scale->shape.dims[d];
    }
    if (!is_single(scale) && filters != shape->dims[0])
        return (weights){0};
    ufi_value w = *bytes;
    w.shape = *shape;
    return read_weights(&w, NULL, scale);
}

/* The bytes behind the weights of a convolution; what does not fit is not usable. */
static weights find_weights(const ufi_pass *p, uint32_t v)
{
    const ufi_node *n = maker_of(p, v);
    if (n && n->op == UFI_OP_DEQUANTIZE_LINEAR)
        return read_dequantized(p, n);
    while (n && n->op == UFI_OP_RESHAPE)
        n = maker_of(p, n->in[0]);
    return n && n->op == UFI_OP_MUL ? read_multiplied(p, n, &ufi_pass_value(p, v)->shape)
                                    : (weights){0};
}

/* A number for each of `channels` channels, the second of four axes. */
static const float *channel_numbers(const ufi_pass *p, uint32_t v, int64_t channels)
{
    int64_t count;
    const float *f = ufi_pass_floats(p, v, &count);
    const ufi_shape *s = &ufi_pass_value(p, v)->shape;
    return f && count == channels && (s->rank == 3 || s->rank == 4) &&
                   s->dims[s->rank - 3] == channels
               ? f
               : NULL;
}

/* The DequantizeLinear that makes `v`. Behind it channels may be scaled before a depthwise
 * convolution, which can do that with its weights: *scales. */
static const ufi_node *dequantized_input(const ufi_pass *p, const ufi_node *conv,
                                         const float **scales)
{
    const ufi_node *mul = ufi_pass_producer(p, conv->in[0], UFI_OP_MUL);
    const int64_t groups = ufi_node_int(conv, UFI_ATTR_GROUP, 1);
    *scales = NULL;
    if (!mul)
        return ufi_pass_producer(p, conv->in[0], UFI_OP_DEQUANTIZE_LINEAR);
    const ufi_shape *before = &ufi_pass_value(p, mul->in[0])->shape;
    if (ufi_pass_value(p, conv->in[1])->shape.dims[0] == groups &&
        ufi_shape_equal(before, &ufi_pass_value(p, mul->out[0])->shape))
        *scales = channel_numbers(p, mul->in[1], groups);
    return *scales ? ufi_pass_producer(p, mul->in[0], UFI_OP_DEQUANTIZE_LINEAR) : NULL;
}

/* A convolution whose input is dequantised, and whose weights come from bytes. */
static uf_status from_dequantized(ufi_pass *p, ufi_node *n)
{
    uint32_t in[12];
    const float *by;
    const ufi_node *x = dequantized_input(p, n, &by);
    if (!x || !is_u8(p, x->in[0]) || !is_scalar(p, x, 1) ||
        (ufi_node_has(x, 2) && !is_scalar(p, x, 2)) || (ufi_node_has(n, 2) && !constant(p, n, 2)))
        return UF_OK;
    none(in);
    const weights r = find_weights(p, n->in[1]);
    if (!suit_qconv(&r, by))
        return UF_OK;
    uf_status st = add_weights(p, &r, by, in);
    if (st)
        return st;
    in[0] = x->in[0], in[2] = x->in[1], in[3] = ufi_node_has(x, 2) ? x->in[2] : UFI_NONE;
    in[5] = ufi_node_has(n, 2) ? n->in[2] : UFI_NONE;
    n->op = UFI_OP_QCONV;
    return ufi_pass_set_inputs(p, n, in, 12);
}

/* Weights that span more than signed bytes do: the ConvInteger becomes the DequantizeLinear of its
 * input with scale 1, and the Cast an FP32 convolution of whole numbers. Sums below 2^24, which is
 * what networks have, are exact; the scaling behind stays as it is. */
static uf_status to_float_conv(ufi_pass *p, ufi_node *conv, ufi_node *cast, const weights *r)
{
    const float one = 1;
    const ufi_shape scalar = {.rank = 0};
    uint32_t x[3] = {conv->in[0], 0, ufi_node_has(conv, 2) ? conv->in[2] : UFI_NONE};
    uint32_t in[2] = {conv->out[0], 0};
    float *w;
    uf_status st = ufi_pass_constant(p, r->name, &r->w.shape, NULL, &in[1], &w);
    if (!st)
        st = ufi_pass_constant(p, "one", &scalar, &one, &x[1], NULL);
    if (st)
        return st;
    for (size_t i = 0; i < r->filters * r->per_filter; i++)
        w[i] = (float)plain_weight(&r->w, &r->zero, i, r->per_filter);
    cast->op = UFI_OP_CONV;
    cast->name = conv->name;
    cast->attrs = conv->attrs;
    cast->attr_count = conv->attr_count;
    st = ufi_pass_set_inputs(p, cast, in, 2);
    conv->op = UFI_OP_DEQUANTIZE_LINEAR;
    conv->attrs = NULL;
    conv->attr_count = 0;
    ufi_value *y = &p->g->values[conv->out[0]];
    y->dtype = UF_F32;
    y->shape = p->g->values[x[0]].shape;
    y->has_shape = p->g->values[x[0]].has_shape;
    return st ? st : ufi_pass_set_inputs(p, conv, x, 3);
}

/* n = Mul(Cast(ConvInteger(x, w, x_zero, w_zero)), Mul(x_scale, w_scale)). */
static uf_status from_conv_integer(ufi_pass *p, ufi_node *n)
{
    uint32_t in[12];
    ufi_node *cast = NULL, *conv = NULL;
    const ufi_node *scales = NULL;
    for (int i = 0; i < 2 && !conv; i++) {
        cast = ufi_pass_sole_producer(p, n->in[i], UFI_OP_CAST);
        conv = cast ? ufi_pass_sole_producer(p, cast->in[0], UFI_OP_CONV_INTEGER) : NULL;
        scales = ufi_pass_producer(p, n->in[1 - i], UFI_OP_MUL);
    }
    if (!conv || !scales || !is_u8(p, conv->in[0]))
        return UF_OK;
    const int known = constant(p, scales, 1) ? 1 : 0;
    const ufi_value *w = constant(p, conv, 1), *w_scale = constant(p, scales, (uint32_t)known);
    const ufi_value *x_scale = ufi_pass_value(p, scales->in[1 - known]);
    if (!w || !w_scale || w_scale->dtype != UF_F32 || x_scale->data || !x_scale->has_shape ||
        ufi_shape_count(&x_scale->shape) != 1 ||
        (!is_single(w_scale) && ufi_shape_count(&w_scale->shape) != w->shape.dims[0]))
        return UF_OK;
    none(in);
    in[2] = scales->in[1 - known];
    in[3] = ufi_node_has(conv, 2) ? conv->in[2] : UFI_NONE;
    in[0] = conv->in[0];
    const weights r = read_weights(w, constant(p, conv, 3), w_scale);
    if (r.usable && !r.fits)
        return to_float_conv(p, conv, cast, &r);
    if (!r.usable)
        return UF_OK;
    uf_status st = add_weights(p, &r, NULL, in);
    if (st)
        return st;
    st = ufi_pass_merge(p, n, cast);
    if (!st)
        st = ufi_pass_merge(p, n, conv);
    n->op = UFI_OP_QCONV;
    return st ? st : ufi_pass_set_inputs(p, n, in, 12);
}

/* ---- what follows ---- */

/* The QConv that makes `v` for this reader alone, with an FP32 output. */
static ufi_node *open_qconv(const ufi_pass *p, uint32_t v)
{
    ufi_node *n = ufi_pass_sole_producer(p, v, UFI_OP_QCONV);
    return n && !ufi_node_has(n, 10) ? n : NULL;
}

static uf_status add_bias(ufi_pass *p, ufi_node *n)
{
    for (int i = 0; i < 2; i++) {
        ufi_node *conv = open_qconv(p, n->in[i]);
        int64_t count;
        const float *bias = ufi_pass_floats(p, n->in[1 - i], &count);
        if (!conv || !bias || ufi_node_has(conv, 5) ||
            ufi_node_int(conv, UFI_ATTR_ACT, UFI_ACT_NONE) != UFI_ACT_NONE ||
            count != p->g->values[conv->in[1]].shape.dims[0])
            continue;
        const ufi_shape *s = &ufi_pass_value(p, n->in[1 - i])->shape;
        if (s->rank < 3 || s->rank > 4 || s->dims[s->rank - 3] != count)
            continue;
        uint32_t in[12], id;
        const ufi_shape vector = {.rank = 1, .dims = {count}};
        uf_status st = ufi_pass_constant(p, "bias", &vector, bias, &id, NULL);
        memcpy(in, conv->in, sizeof in);
        in[5] = id;
        if (!st)
            st = ufi_pass_merge(p, n, conv);
        return st ? st : ufi_pass_set_inputs(p, n, in, 12);
    }
    return UF_OK;
}

/* Those that the kernels have behind their sums. */
static uf_status add_activation(ufi_pass *p, ufi_node *n)
{
    ufi_pass_act a;
    ufi_node *conv = n->in_count ? open_qconv(p, n->in[0]) : NULL;
    if (!conv || ufi_node_int(conv, UFI_ATTR_ACT, UFI_ACT_NONE) != UFI_ACT_NONE ||
        !ufi_pass_read_act(p, n, conv, &a) || a.act == UFI_ACT_SILU || a.act == UFI_ACT_SIGMOID)
        return UF_OK;
    uf_status st = ufi_pass_merge(p, n, conv);
    return st ? st : ufi_pass_set_act(p, n, &a, 6);
}

/* n = QConv times a positive number for each channel: sums and bias are scaled instead, which
 * activations that are straight lines from 0 let through. */
static uf_status scale_channels(ufi_pass *p, ufi_node *n)
{
    ufi_node *conv = open_qconv(p, n->in[0]);
    const int64_t act = conv ? ufi_node_int(conv, UFI_ATTR_ACT, UFI_ACT_NONE) : UFI_ACT_CLAMP;
    if ((act != UFI_ACT_NONE && act != UFI_ACT_RELU && act != UFI_ACT_PRELU &&
         act != UFI_ACT_LEAKY) ||
        ufi_node_has(conv, 7))
        return UF_OK;
    const int64_t filters = p->g->values[conv->in[1]].shape.dims[0];
    int64_t scales = 0;
    const float *scale = ufi_pass_floats(p, conv->in[4], &scales);
    const float *by = scale ? channel_numbers(p, n->in[1], filters) : NULL;
    for (int64_t f = 0; by && f < filters; f++) {
        const float product = scale[scales > 1 ? f : 0] * by[f];
        by = by[f] > 0 && product > 0 && isfinite(product) ? by : NULL;
    }
    if (!by)
        return UF_OK;
    uint32_t in[12];
    const ufi_shape vector = {.rank = 1, .dims = {filters}};
    memcpy(in, conv->in, sizeof in);
    for (int i = 4; i <= 5; i++) {
        float *to;
        int64_t count;
        const float *from = ufi_pass_floats(p, conv->in[i], &count);
        uf_status st = from ? ufi_pass_constant(p, "scaled", &vector, NULL, &in[i], &to) : UF_OK;
        if (st)
            return st;
        for (int64_t f = 0; from && f < filters; f++)
            to[f] = from[count > 1 ? f : 0] * by[f];
    }
    uf_status st = ufi_pass_merge(p, n, conv);
    return st ? st : ufi_pass_set_inputs(p, n, in, 12);
}

/* n = QuantizeLinear of a QConv: its output. */
static uf_status add_output(ufi_pass *p, ufi_node *n)
{
    uint32_t in[12];
    ufi_node *conv = open_qconv(p, n->in[0]);
    if (!conv || !is_u8(p, n->out[0]) || !is_scalar(p, n, 1) ||
        (ufi_node_has(n, 2) && !is_scalar(p, n, 2)))
        return UF_OK;
    memcpy(in, conv->in, sizeof in);
    in[10] = n->in[1];
    in[11] = ufi_node_has(n, 2) ? n->in[2] : UFI_NONE;
    uf_status st = ufi_pass_merge(p, n, conv);
    return st ? st : ufi_pass_set_inputs(p, n, in, 12);
}

/* n = QuantizeLinear of the sum of two dequantised tensors: QLinearAdd. */
static uf_status add_addition(ufi_pass *p, ufi_node *n)
{
    const ufi_node *add = ufi_pass_sole_producer(p, n->in[0], UFI_OP_ADD), *side[2];
    if (!add || !is_u8(p, n->out[0]) || !is_scalar(p, n, 1))
        return UF_OK;
    for (int i = 0; i < 2; i++) {
        side[i] = ufi_pass_producer(p, add->in[i], UFI_OP_DEQUANTIZE_LINEAR);
        if (!side[i] || !is_u8(p, side[i]->in[0]) || !is_scalar(p, side[i], 1))
            return UF_OK;
    }
    uint32_t in[8];
    for (int i = 0; i < 2; i++) {
        in[3 * i] = side[i]->in[0];
        in[3 * i + 1] = side[i]->in[1];
        in[3 * i + 2] = ufi_node_has(side[i], 2) ? side[i]->in[2] : UFI_NONE;
    }
    in[6] = n->in[1];
    in[7] = ufi_node_has(n, 2) ? n->in[2] : UFI_NONE;
    n->op = UFI_OP_QLINEAR_ADD;
    n->attr_count = 0;
    return ufi_pass_set_inputs(p, n, in, 8);
}

/* The DequantizeLinear that makes input i of `n` for it alone, as it makes input 0. */
static ufi_node *same_dequantize(const ufi_pass *p, const ufi_node *n, uint32_t i)
{
    ufi_node *dq = ufi_pass_sole_producer(p, n->in[i], UFI_OP_DEQUANTIZE_LINEAR);
    const ufi_node *first = ufi_pass_producer(p, n->in[0], UFI_OP_DEQUANTIZE_LINEAR);
    if (!dq || !first || !is_u8(p, dq->in[0]))
        return NULL;
    for (uint32_t k = 1; k <= 2; k++) {
        const ufi_value *a = constant(p, dq, k), *b = constant(p, first, k);
        if (ufi_node_has(dq, k) != ufi_node_has(first, k) ||
            (ufi_node_has(dq, k) && (!is_single(a) || !is_single(b) || a->dtype != b->dtype ||
                                     memcmp(a->data, b->data, ufi_dtype_bytes(a->dtype)) != 0)))
            return NULL;
    }
    return dq;
}

/* What only moves numbers moves bytes: n = MaxPool or Concat of dequantised tensors is made before
 * they are dequantised, by the last of those nodes; n dequantises. */
static uf_status in_bytes(ufi_pass *p, ufi_node *n)
{
    uint32_t in[UFI_MAX_NODE_IO], last = 0;
    const uint32_t count = n->in_count;
    if (n->out_count != 1 || !ufi_pass_value(p, n->out[0])->has_shape)
        return UF_OK;
    for (uint32_t i = 0; i < count; i++) {
        const ufi_node *dq = same_dequantize(p, n, i);
        if (!dq)
            return UF_OK;
        in[i] = dq->in[0];
        last = p->producer[n->in[i]] > p->producer[n->in[last]] ? i : last;
    }
    ufi_node *mover = &p->g->nodes[p->producer[n->in[last]]], old = *n;
    const uint32_t back[3] = {n->in[last], mover->in[1],
                              ufi_node_has(mover, 2) ? mover->in[2] : UFI_NONE};
    ufi_value *bytes = &p->g->values[n->in[last]];
    bytes->dtype = UF_U8;
    bytes->shape = ufi_pass_value(p, n->out[0])->shape;
    n->op = UFI_OP_DEQUANTIZE_LINEAR;
    n->attrs = NULL;
    n->attr_count = 0;
    mover->op = old.op;
    mover->name = old.name;
    mover->attrs = old.attrs;
    mover->attr_count = old.attr_count;
    uf_status st = ufi_pass_set_inputs(p, n, back, 3);
    return st ? st : ufi_pass_set_inputs(p, mover, in, count);
}

static uf_status rewrite(ufi_pass *p, ufi_node *n)
{
    uf_status st = UF_OK;
    switch (n->op) {
    case UFI_OP_QLINEAR_CONV:
        return from_qlinear(p, n);
    case UFI_OP_CONV:
        return from_dequantized(p, n);
    case UFI_OP_MUL:
        st = from_conv_integer(p, n);
        return st || n->op != UFI_OP_MUL ? st : scale_channels(p, n);
    case UFI_OP_MAX_POOL:
    case UFI_OP_CONCAT:
        return in_bytes(p, n);
    case UFI_OP_ADD:
        return add_bias(p, n);
    case UFI_OP_QUANTIZE_LINEAR:
        st = add_output(p, n);
        return st || n->op != UFI_OP_QUANTIZE_LINEAR ? st : add_addition(p, n);
    default:
        return add_activation(p, n);
    }
}

uf_status ufi_pass_quant(ufi_pass *p)
{
    uf_status st = unsign(p);
    for (uint32_t i = 0; !st && i < p->g->node_count; i++)
        if (p->g->nodes[i].out_count == 1 && p->g->nodes[i].out[0] != UFI_NONE)
            st = rewrite(p, &p->g->nodes[i]);
    return st;
}
