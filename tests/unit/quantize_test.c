/*
 * Quantisation: plans of QConv against its C reference, ranges, equalisation, and a small network
 * all the way.
 */
#include "network_maker.h"
#include "optimize/equalize.h"
#include "optimize/half.h"
#include "optimize/rounding.h"
#include "optimize/search.h"

/* ---- QConv ---- */

typedef struct qconv_case {
    conv_case conv;
    bool floats, dynamic;
} qconv_case;

static uint32_t add_scalar(maker *m, uf_dtype dtype, float value)
{
    uint32_t id = 0;
    const uint8_t byte = (uint8_t)value;
    const ufi_tensor t = {
        dtype, UFI_PLAIN, {0, {0}}, dtype == UF_U8 ? (void *)(uintptr_t)&byte : (void *)&value};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "scalar", &t, true, &id, &m->err);
    return id;
}

static uint32_t add_bytes(maker *m, ufi_shape s)
{
    uint32_t id = 0;
    size_t n = (size_t)ufi_shape_count(&s);
    int8_t *b = malloc(n);
    for (size_t i = 0; i < n; i++)
        b[i] = (int8_t)(127 * test_random_float(&m->seed));
    const ufi_tensor t = {UF_I8, UFI_PLAIN, s, b};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "bytes", &t, true, &id, &m->err);
    free(b);
    return id;
}

/* Positive scales. */
static uint32_t add_scales(maker *m, int count, float size)
{
    uint32_t id = 0;
    float f[256];
    for (int i = 0; i < count; i++)
        f[i] = size * (1.5f + test_random_float(&m->seed));
    const ufi_tensor t = {UF_F32, UFI_PLAIN, {1, {count}}, f};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "scales", &t, true, &id, &m->err);
    return id;
}

/* x as bytes, with its scale and zero point: constants, or made at run time. */
static void add_activation(maker *m, const qconv_case *q, uint32_t x, uint32_t in[12])
{
    if (!q->dynamic) {
        in[2] = add_scalar(m, UF_F32, 1.0f / 100);
        in[3] = add_scalar(m, UF_U8, 117);
        in[0] = quantized(m, x, in[2], in[3]);
        return;
    }
    uint32_t out[3], index;
    for (int i = 0; i < 3 && !m->st; i++)
        m->st = ufi_graph_add_value(&m->g, "dynamic", UF_DTYPE_NONE, NULL, &out[i], &m->err);
    if (!m->st)
        m->st = ufi_graph_add_node(&m->g, UFI_OP_DYNAMIC_QUANTIZE_LINEAR, "dynamic", &x, 1, out, 3,
                                   &index, &m->err);
    in[0] = out[0], in[2] = out[1], in[3] = out[2];
}

static void check_qconv(const qconv_case *q)
{
    const conv_case *c = &q->conv;
    maker m;
    char what[160];
    uint32_t in[12];
    ufi_node *n;
    maker_init(&m, (uint64_t)(c->in_c * 31 + c->h));
    /* Bytes may differ by one where the sum falls near a half; of about 120 that occur. */
    m.bound = q->floats ? 2e-5 : 0.02;
    for (int i = 0; i < 12; i++)
        in[i] = UFI_NONE;
    int oh = (c->h + 2 * c->pad - (c->kh - 1) * c->dilation - 1) / c->stride + 1;
    int ow = (c->w + 2 * c->pad - (c->kw - 1) * c->dilation - 1) / c->stride + 1;
    uint32_t x = add_input(&m, shape_of(4, c->batch, c->in_c, c->h, c->w));
    add_activation(&m, q, x, in);
    float depth = (float)(c->in_c / c->group * c->kh * c->kw);
    in[1] = add_bytes(&m, shape_of(4, c->out_c, c->in_c / c->group, c->kh, c->kw));
    in[4] = add_scales(&m, c->out_c, 1 / (64 * sqrtf(depth)));
    if (c->bias)
        in[5] = add_weights(&m, shape_of(1, c->out_c, 0, 0, 0), 0.3f);
    if (c->act == UFI_ACT_PRELU)
        in[6] = add_weights(&m, shape_of(1, c->out_c, 0, 0, 0), 0.5f);
    if (c->residual) {
        in[8] = add_scalar(&m, UF_F32, 1.0f / 90);
        in[9] = add_scalar(&m, UF_U8, 100);
        in[7] = quantized(&m, add_input(&m, shape_of(4, c->batch, c->out_c, oh, ow)), in[8], in[9]);
    }
    if (!q->floats) {
        in[10] = add_scalar(&m, UF_F32, 1.0f / 60);
        in[11] = add_scalar(&m, UF_U8, 90);
    }
    uint32_t y = add_node(&m, UFI_OP_QCONV, in, 12, &n);
    set_conv_attributes(&m, n, c);
    if (!q->floats) {
        const uint32_t back[3] = {y, in[10], in[11]};
        y = add_node(&m, UFI_OP_DEQUANTIZE_LINEAR, back, 3, NULL);
    }
    snprintf(what, sizeof what, "qconv %dx%d s%d d%d p%d g%d, [%d,%d,%d,%d] to %d, act %d, res %d",
             c->kh, c->kw, c->stride, c->dilation, c->pad, c->group, c->batch, c->in_c, c->h, c->w,
             c->out_c, c->act, c->residual);
    compare(&m, &y, 1, false, what);
}

TEST(qconv_plans)
{
    static const qconv_case cases[] = {
        {{1, 3, 65, 61, 16, 3, 3, 2, 1, 1, 1, UFI_ACT_RELU, true, false}, false, false},
        {{2, 16, 20, 20, 24, 1, 1, 1, 1, 0, 1, UFI_ACT_CLAMP, true, true}, false, false},
        {{1, 16, 9, 7, 10, 1, 1, 2, 1, 0, 1, UFI_ACT_NONE, false, false}, false, false},
        {{1, 16, 40, 40, 32, 3, 3, 1, 1, 1, 1, UFI_ACT_PRELU, true, true}, false, false},
        {{2, 20, 14, 14, 36, 3, 3, 1, 1, 1, 1, UFI_ACT_LEAKY, true, false}, false, false},
        {{1, 8, 17, 17, 12, 5, 5, 2, 1, 2, 1, UFI_ACT_HARD_SWISH, true, false}, false, false},
        {{1, 8, 17, 17, 12, 3, 3, 1, 2, 2, 1, UFI_ACT_NONE, true, false}, false, false},
        {{2, 12, 15, 15, 18, 3, 3, 1, 1, 1, 3, UFI_ACT_PRELU, true, true}, false, false},
        {{2, 40, 14, 15, 40, 3, 3, 1, 1, 1, 40, UFI_ACT_PRELU, true, true}, false, false},
        {{1, 40, 14, 15, 40, 3, 3, 2, 1, 1, 40, UFI_ACT_CLAMP, true, false}, false, false},
        {{1, 72, 7, 7, 72, 7, 7, 1, 1, 0, 72, UFI_ACT_NONE, true, false}, false, false},
        {{1, 19, 12, 12, 19, 5, 5, 1, 1, 2, 19, UFI_ACT_NONE, true, false}, true, false},
        {{1, 64, 7, 7, 40, 7, 7, 1, 1, 0, 1, UFI_ACT_NONE, true, false}, true, false},
        {{1, 16, 40, 40, 32, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false}, true, true},
        {{1, 33, 12, 12, 40, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, true, true}, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_qconv(&cases[i]);
}

/* ---- quantised graphs of other tools ---- */

static uint32_t add_zero(maker *m, uf_dtype dtype, int value)
{
    uint32_t id = 0;
    const int8_t byte = (int8_t)value;
    const ufi_tensor t = {dtype, UFI_PLAIN, {0, {0}}, (void *)(uintptr_t)&byte};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "zero", &t, true, &id, &m->err);
    return id;
}

static uint32_t add_dq(maker *m, uint32_t x, uint32_t scale, uint32_t zero)
{
    ufi_node *n;
    const int64_t axis = 0;
    const uint32_t in[3] = {x, scale, zero};
    uint32_t y = add_node(m, UFI_OP_DEQUANTIZE_LINEAR, in, zero == UFI_NONE ? 2 : 3, &n);
    set_ints(m, n, UFI_ATTR_AXIS, &axis, 1);
    return y;
}

/* QuantizeLinear and DequantizeLinear around a convolution, ReLU and addition; signed activations
 * or unsigned ones. */
static uint32_t make_qdq(maker *m, uf_dtype dtype)
{
    const int shift = dtype == UF_I8 ? -128 : 0;
    const conv_case c = {1, 16, 12, 12, 24, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, false, false};
    ufi_node *n;
    maker_init(m, 51);
    m->bound = 0.02;
    const uint32_t scale = add_scalar(m, UF_F32, 0.01f), zero = add_zero(m, dtype, 120 + shift);
    const uint32_t y_scale = add_scalar(m, UF_F32, 0.02f), y_zero = add_zero(m, dtype, 10 + shift);
    uint32_t x = quantized(m, add_input(m, shape_of(4, 1, 16, 12, 12)), scale, zero);
    const uint32_t w = add_dq(m, add_bytes(m, shape_of(4, 24, 16, 3, 3)),
                              add_scales(m, 24, 1.0f / 1024), UFI_NONE);
    const uint32_t conv[3] = {add_dq(m, x, scale, zero), w,
                              add_weights(m, shape_of(1, 24, 0, 0, 0), 0.1f)};
    uint32_t y = add_node(m, UFI_OP_CONV, conv, 3, &n);
    set_conv_attributes(m, n, &c);
    y = add_node(m, UFI_OP_RELU, &y, 1, NULL);
    y = add_dq(m, quantized(m, y, y_scale, y_zero), y_scale, y_zero);
    const uint32_t sum[2] = {y, y};
    y = add_node(m, UFI_OP_ADD, sum, 2, NULL);
    return add_dq(m, quantized(m, y, y_scale, y_zero), y_scale, y_zero);
}

TEST(qdq_graphs_run_in_bytes)
{
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        maker m;
        const uf_dtype dtype = is_signed ? UF_I8 : UF_U8;
        uint32_t y = make_qdq(&m, dtype);
        if (!m.st)
            m.st = ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err);
        if (!m.st)
            m.st = ufi_graph_infer(&m.g, 0, &m.err);
        if (!m.st)
            m.st = ufi_graph_optimize(&m.g, &m.err);
        CHECK_MSG(m.st == UF_OK, "%s", m.err.message);
        CHECK(count_op(&m.g, UFI_OP_QCONV) == 1 && count_op(&m.g, UFI_OP_CONV) == 0);
        CHECK(count_op(&m.g, UFI_OP_QLINEAR_ADD) == 1 && count_op(&m.g, UFI_OP_RELU) == 0);
        CHECK(count_op(&m.g, UFI_OP_QUANTIZE_LINEAR) == 1);
        ufi_graph_free(&m.g);
        y = make_qdq(&m, dtype);
        compare(&m, &y, 1, true, is_signed ? "signed QDQ" : "unsigned QDQ");
    }
}

/* A constant of positive numbers for each channel, [1,C,1,1] or [C,1,1,1]. */
static uint32_t add_each(maker *m, ufi_shape s, float size)
{
    uint32_t id = 0;
    float f[64];
    for (int64_t i = 0; i < ufi_shape_count(&s); i++)
        f[i] = size * (1.5f + test_random_float(&m->seed));
    const ufi_tensor t = {UF_F32, UFI_PLAIN, s, f};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "each", &t, true, &id, &m->err);
    return id;
}

/* Bytes made floats times a scale for each filter; reshaped there and back where groups need it. */
static uint32_t add_cast_weights(maker *m, ufi_shape s, bool reshaped)
{
    ufi_node *n;
    const int64_t to = UF_F32, five[5] = {s.dims[0], 1, s.dims[1], s.dims[2], s.dims[3]};
    const uint32_t bytes = add_bytes(m, s);
    const uint32_t cast = add_node(m, UFI_OP_CAST, &bytes, 1, &n);
    set_ints(m, n, UFI_ATTR_TO, &to, 1);
    uint32_t in[2] = {cast, add_each(m, shape_of(4, s.dims[0], 1, 1, 1), 1.0f / 1024)};
    uint32_t y = add_node(m, UFI_OP_MUL, in, 2, NULL);
    for (int back = 0; reshaped && back < 2; back++) {
        in[0] = y;
        in[1] = back ? add_ints(m, s.dims, 4) : add_ints(m, five, 5);
        y = add_node(m, UFI_OP_RESHAPE, in, 2, NULL);
    }
    return y;
}

static uint32_t binary(maker *m, ufi_op op, uint32_t a, uint32_t b)
{
    const uint32_t in[2] = {a, b};
    return add_node(m, op, in, 2, NULL);
}

/* As OpenVINO's files come in: weights cast and multiplied, a PReLU, a depthwise convolution whose
 * input has a scale for each channel, maxima and concatenation of dequantised tensors. */
static uint32_t make_openvino(maker *m)
{
    const conv_case c[4] = {{1, 16, 12, 12, 24, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, false, false},
                            {1, 24, 12, 12, 24, 3, 3, 1, 1, 1, 24, UFI_ACT_NONE, false, false},
                            {1, 16, 12, 12, 8, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false},
                            {1, 32, 6, 6, 8, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false}};
    const int64_t two[2] = {2, 2};
    ufi_node *n;
    maker_init(m, 52);
    m->bound = 0.02;
    const uint32_t scale = add_scalar(m, UF_F32, 0.02f), zero = add_scalar(m, UF_U8, 120);
    const uint32_t one = add_scalar(m, UF_F32, 1), each = add_each(m, shape_of(4, 1, 24, 1, 1), 60);
    const uint32_t back = add_each(m, shape_of(4, 1, 24, 1, 1), 0.01f);
    const uint32_t x =
        add_dq(m, quantized(m, add_input(m, shape_of(4, 1, 16, 12, 12)), scale, zero), scale, zero);
    uint32_t y = binary(m, UFI_OP_CONV, x, add_cast_weights(m, shape_of(4, 24, 16, 3, 3), false));
    set_conv_attributes(m, &m->g.nodes[m->g.node_count - 1], &c[0]);
    y = binary(m, UFI_OP_ADD, y, add_each(m, shape_of(4, 1, 24, 1, 1), 0.1f));
    y = binary(m, UFI_OP_PRELU, y, add_weights(m, shape_of(3, 24, 1, 1, 0), 0.3f));
    y = binary(m, UFI_OP_MUL, y, each);
    y = binary(m, UFI_OP_MUL, add_dq(m, quantized(m, y, one, zero), one, zero), back);
    y = binary(m, UFI_OP_CONV, y, add_cast_weights(m, shape_of(4, 24, 1, 3, 3), true));
    set_conv_attributes(m, &m->g.nodes[m->g.node_count - 1], &c[1]);
    uint32_t side = binary(m, UFI_OP_CONV, x, add_cast_weights(m, shape_of(4, 8, 16, 1, 1), false));
    set_conv_attributes(m, &m->g.nodes[m->g.node_count - 1], &c[2]);
    uint32_t both[2] = {y, side};
    for (int i = 0; i < 2; i++) {
        both[i] = add_dq(m, quantized(m, both[i], scale, zero), scale, zero);
        both[i] = add_node(m, UFI_OP_MAX_POOL, &both[i], 1, &n);
        set_ints(m, n, UFI_ATTR_KERNEL_SHAPE, two, 2);
        set_ints(m, n, UFI_ATTR_STRIDES, two, 2);
    }
    const int64_t axis = 1;
    y = add_node(m, UFI_OP_CONCAT, both, 2, &n);
    set_ints(m, n, UFI_ATTR_AXIS, &axis, 1);
    y = binary(m, UFI_OP_CONV, y, add_cast_weights(m, shape_of(4, 8, 32, 1, 1), false));
    set_conv_attributes(m, &m->g.nodes[m->g.node_count - 1], &c[3]);
    return y;
}

TEST(openvino_graphs_run_in_bytes)
{
    maker m;
    uint32_t y = make_openvino(&m);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err);
    if (!m.st)
        m.st = ufi_graph_infer(&m.g, 0, &m.err);
    if (!m.st)
        m.st = ufi_graph_optimize(&m.g, &m.err);
    CHECK_MSG(m.st == UF_OK, "%s", m.err.message);
    CHECK(count_op(&m.g, UFI_OP_QCONV) == 4 && count_op(&m.g, UFI_OP_QUANTIZE_LINEAR) == 1);
    CHECK(count_op(&m.g, UFI_OP_MAX_POOL) == 2 && count_op(&m.g, UFI_OP_CONCAT) == 1);
    CHECK_MSG(m.g.node_count == 8, "%u nodes", m.g.node_count);
    ufi_graph_free(&m.g);
    y = make_openvino(&m);
    compare(&m, &y, 1, true, "as OpenVINO has it");
}

/* DynamicQuantizeLinear, ConvInteger, Cast, Mul, Add: in bytes, or, where the weights span more
 * than signed bytes do, in whole numbers. */
TEST(conv_integer_graphs)
{
    for (int wide = 0; wide < 2; wide++) {
        maker m;
        const conv_case c = {1, 8, 12, 12, 16, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, false, false};
        uint32_t q[3], in[4], index, id = 0;
        ufi_node *n;
        uint8_t bytes[16 * 8 * 9];
        maker_init(&m, 53);
        m.bound = 1e-5;
        uint32_t x = add_input(&m, shape_of(4, 1, 8, 12, 12));
        for (int i = 0; i < 3 && !m.st; i++)
            m.st = ufi_graph_add_value(&m.g, "q", UF_DTYPE_NONE, NULL, &q[i], &m.err);
        if (!m.st)
            m.st = ufi_graph_add_node(&m.g, UFI_OP_DYNAMIC_QUANTIZE_LINEAR, "q", &x, 1, q, 3,
                                      &index, &m.err);
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(test_random(&m.seed) >> 40);
        const ufi_tensor t = {UF_U8, UFI_PLAIN, {4, {16, 8, 3, 3}}, bytes};
        if (!m.st)
            m.st = ufi_graph_add_constant(&m.g, "w", &t, true, &id, &m.err);
        in[0] = q[0], in[1] = id, in[2] = q[2];
        in[3] = add_scalar(&m, UF_U8, wide ? 90 : 128);
        uint32_t y = add_node(&m, UFI_OP_CONV_INTEGER, in, 4, &n);
        set_conv_attributes(&m, n, &c);
        const int64_t f32 = UF_F32;
        y = add_node(&m, UFI_OP_CAST, &y, 1, &n);
        set_ints(&m, n, UFI_ATTR_TO, &f32, 1);
        in[0] = q[1], in[1] = add_scalar(&m, UF_F32, 0.004f);
        const uint32_t scale = add_node(&m, UFI_OP_MUL, in, 2, NULL);
        in[0] = y, in[1] = scale;
        y = add_node(&m, UFI_OP_MUL, in, 2, NULL);
        in[0] = y, in[1] = add_weights(&m, shape_of(4, 1, 16, 1, 1), 1);
        y = add_node(&m, UFI_OP_ADD, in, 2, NULL);
        compare(&m, &y, 1, true, wide ? "wide ConvInteger" : "ConvInteger");
    }
}

/* ---- ranges ---- */

TEST(ranges)
{
    ufi_histogram *h = calloc(1, sizeof *h);
    float lo, hi, scale;
    uint8_t zero;
    uint64_t seed = 3;
    for (int i = 0; i < 200000; i++) {
        float v = test_random_float(&seed);
        ufi_histogram_add(h, &v, 1);
    }
    const float outliers[4] = {-3, 30, NAN, INFINITY};
    ufi_histogram_add(h, outliers, 4);
    CHECK(h->count == 200002);
    ufi_histogram_range(h, UFI_RANGE_MINMAX, &lo, &hi);
    CHECK(lo == -3 && hi == 30);
    ufi_histogram_range(h, UFI_RANGE_PERCENTILE, &lo, &hi);
    CHECK(lo > -1.1f && lo < -0.9f && hi > 0.9f && hi < 1.1f);
    for (int m = UFI_RANGE_MSE; m <= UFI_RANGE_ENTROPY; m++) {
        ufi_histogram_range(h, (ufi_range_method)m, &lo, &hi);
        CHECK_MSG(lo <= -0.25f && hi >= 0.9f && hi < 25, "method %d: %g to %g", m, (double)lo,
                  (double)hi);
    }
    ufi_range_to_u8(-1, 3, &scale, &zero);
    CHECK(fabsf(scale - 4.0f / 255) < 1e-6f && zero == 64);
    ufi_range_to_u8(0, 2, &scale, &zero);
    CHECK(zero == 0);
    free(h);
}

TEST(an_empty_histogram_has_a_range)
{
    ufi_histogram *h = calloc(1, sizeof *h);
    float lo, hi;
    const float zeros[3] = {0, 0, 0};
    ufi_histogram_range(h, UFI_RANGE_MSE, &lo, &hi);
    CHECK(lo <= 0 && hi > lo);
    ufi_histogram_add(h, zeros, 3);
    ufi_histogram_range(h, UFI_RANGE_ENTROPY, &lo, &hi);
    CHECK(lo <= 0 && hi > lo);
    free(h);
}

/* ---- a network ---- */

/* Weights that AVX2 adds in 16 bits (optimize/quantize.c) sum to at most 128, and nearly that. */
static void check_sums_fit(const ufi_graph *g)
{
    int greatest = 0;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_value *v = &g->values[g->nodes[i].in[1]];
        if (g->nodes[i].op != UFI_OP_QCONV || v->shape.dims[1] == 1)
            continue;
        const size_t channels = (size_t)v->shape.dims[1];
        const size_t taps = (size_t)(v->shape.dims[2] * v->shape.dims[3]);
        for (size_t f = 0; f < (size_t)v->shape.dims[0]; f++) {
            int sums[2][2] = {{0}};
            for (size_t k = 0; k < channels * taps; k++) {
                const size_t at = (f * channels + k % channels) * taps + k / channels;
                const int x = ((const int8_t *)v->data)[at];
                if (k % 8 == 0)
                    memset(sums, 0, sizeof sums);
                sums[k / 2 % 2][x > 0] += abs(x);
                greatest = (int)fmax(greatest, sums[k / 2 % 2][x > 0]);
            }
        }
    }
    CHECK_MSG(greatest <= 128 && greatest > 120, "%d", greatest);
}

TEST(a_network_in_bytes)
{
    maker m;
    ufi_graph q;
    ufi_observer *o = NULL;
    ufi_samples s = {0};
    ufi_trial best;
    float want[32], got[32];
    make_network(&m, true);
    observe(&o, &s, &m.g, 12);
    const ufi_search_options options = {.all_methods = true, .threads = 1};
    REQUIRE_OK(ufi_quantize_search(&q, &m.g, o, &s, &options, &best, &m.err), m.err);
    CHECK(count_op(&q, UFI_OP_QCONV) == 6 && count_op(&q, UFI_OP_AFFINE) == 0);
    CHECK(count_op(&q, UFI_OP_CONV) == 0 && count_op(&q, UFI_OP_GEMM) == 0);
    CHECK(count_op(&q, UFI_OP_QLINEAR_ADD) == 1 && count_op(&q, UFI_OP_ADD) == 0);
    CHECK(count_op(&q, UFI_OP_QUANTIZE_LINEAR) == 1);
    CHECK(count_op(&q, UFI_OP_DEQUANTIZE_LINEAR) == 0);
    check_sums_fit(&q);
    run_graph(&m.g, 99, want);
    run_graph(&q, 99, got);
    CHECK_MSG(cosine_of(want, got) > 0.995, "cosine %g", cosine_of(want, got));
    CHECK_MSG(best.narrow && best.agreement > 0.995, "the search says %g", best.agreement);
    ufi_graph_free(&q);
    ufi_observer_destroy(o);
    ufi_samples_free(&s);
    ufi_graph_free(&m.g);
}

TEST(equalisation_keeps_the_function)
{
    maker m;
    ufi_graph g;
    ufi_observer *o = NULL;
    ufi_samples s = {0};
    uint32_t groups;
    float want[32], got[32];
    make_network(&m, false);
    observe(&o, &s, &m.g, 3);
    REQUIRE_OK(ufi_graph_clone(&g, &m.g, &m.err), m.err);
    REQUIRE_OK(ufi_equalize_graph(&g, o, &groups, &m.err), m.err);
    CHECK(groups >= 2);
    run_graph(&m.g, 99, want);
    run_graph(&g, 99, got);
    for (int i = 0; i < 32; i++)
        CHECK_MSG(fabsf(want[i] - got[i]) < 1e-4f, "%g, not %g", (double)got[i], (double)want[i]);
    ufi_graph_free(&g);
    ufi_observer_destroy(o);
    ufi_samples_free(&s);
    ufi_graph_free(&m.g);
}

TEST(without_calibration_int8_is_refused)
{
    maker m;
    ufi_graph q;
    ufi_observer *o = NULL;
    const ufi_quantize_options options = {.method = UFI_RANGE_MSE};
    make_network(&m, false);
    REQUIRE_OK(ufi_observer_create(&o, &m.g, &m.err), m.err);
    CHECK(ufi_quantize_graph(&q, &m.g, o, &options, &m.err) == UF_E_STATE);
    ufi_observer_destroy(o);
    ufi_graph_free(&m.g);
}

TEST(half_precision_storage)
{
    for (int bf16 = 0; bf16 < 2; bf16++) {
        maker m;
        ufi_graph g;
        float want[32], got[32];
        make_network(&m, false);
        REQUIRE_OK(ufi_store_half(&g, &m.g, bf16 ? UF_BF16 : UF_F16, &m.err), m.err);
        run_graph(&m.g, 99, want);
        run_graph(&g, 99, got);
        CHECK(cosine_of(want, got) > (bf16 ? 0.9999 : 0.999999));
        ufi_graph_free(&g);
        ufi_graph_free(&m.g);
    }
}

/* Turned to its other neighbours where that lowers the error of the output, and never raises it. */
TEST(rounding_lowers_the_error_of_the_output)
{
    enum { COUNT = 24 };
    double covariance[COUNT][COUNT] = {{0}}, room[2 * COUNT], error[2] = {0, 0};
    float w[COUNT], common[COUNT];
    int8_t nearest[COUNT], bytes[COUNT];
    size_t turned = 0;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        uint32_t x = seed;
        for (int i = 0; i < COUNT; i++) {
            x = x * 1664525u + 1013904223u;
            w[i] = (float)(x >> 8) / (float)(1 << 24) * 4 - 2;
            common[i] = (float)(x >> 12 & 255) / 255;
            nearest[i] = bytes[i] = (int8_t)rintf(w[i] / 0.125f);
        }
        nearest[0] = bytes[0] = 127;    /* has no neighbour above */
        for (int i = 0; i < COUNT; i++) /* inputs that rise and fall together, and some noise */
            for (int k = 0; k < COUNT; k++)
                covariance[i][k] = (double)common[i] * (double)common[k] + (i == k ? 0.05 : 0);
        turned += ufi_round_channel(bytes, w, 0.125f, COUNT, covariance[0], room);
        for (int which = 0; which < 2; which++) {
            double sum = 0;
            for (int i = 0; i < COUNT; i++)
                for (int k = 0; k < COUNT; k++) {
                    const int8_t *b = which ? bytes : nearest;
                    sum += (b[i] * 0.125 - (double)w[i]) * covariance[i][k] *
                           (b[k] * 0.125 - (double)w[k]);
                }
            error[which] = sum;
        }
        CHECK_MSG(error[1] <= error[0], "%g, to nearest %g", error[1], error[0]);
        for (int i = 1; i < COUNT; i++)
            CHECK(fabs(bytes[i] * 0.125 - (double)w[i]) <= 0.125 + 1e-6);
    }
    CHECK(turned > 20);
}

/* Variance of channel `ch` of an output over all samples, by running the network. */
static void find_variance(const ufi_judge *j, uint32_t output, size_t ch, double *variance)
{
    ufi_runner r;
    uf_error err;
    double sum = 0, squares = 0, count = 0;
    REQUIRE_OK(ufi_runner_open(&r, j->g, j->samples, 1, &err), err);
    for (size_t s = 0; s < j->samples->count; s++) {
        REQUIRE_OK(ufi_runner_run(&r, s, &err), err);
        const ufi_tensor *t = ufi_context_output(r.context, output);
        const size_t pixels = (size_t)(t->shape.dims[2] * t->shape.dims[3]);
        for (size_t i = 0; i < pixels; i++) {
            const double y = (double)((const float *)t->data)[ch * pixels + i];
            sum += y;
            squares += y * y;
            count++;
        }
    }
    ufi_runner_close(&r);
    *variance = squares / count - sum / count * (sum / count);
}

/* What the covariance of its patches says about the variance of channel `ch`. */
static double expected_variance(const ufi_judge *j, const ufi_patches *p, uint32_t node, size_t ch)
{
    const float *w = (const float *)j->g->values[j->g->nodes[node].in[1]].data + ch * p->length;
    const double *covariance = p->covariance + (p->count > 1 ? ch : 0) * p->length * p->length;
    double sum = 0;
    for (size_t a = 0; a < p->length; a++)
        for (size_t b = 0; b < p->length; b++)
            sum += (double)w[a] * covariance[a * p->length + b] * (double)w[b];
    return sum;
}

/* Of the network's input and inside, dense and depthwise, with strides and borders. */
TEST(patches_tell_the_variance_of_what_a_convolution_puts_out)
{
    maker m;
    ufi_observer *o = NULL;
    ufi_samples s = {0};
    ufi_patches patches[2] = {{0}};
    maker_init(&m, 9);
    const conv_case dense = {1, 3, SIDE, SIDE, 6, 3, 3, 3, 1, 1, 1, UFI_ACT_NONE, true, false};
    const conv_case depthwise = {1, 6, SIDE / 3, SIDE / 3,     6,    3,    3, 1,
                                 1, 1, 6,        UFI_ACT_NONE, true, false};
    uint32_t y[2];
    y[0] = add_conv(&m, add_input(&m, shape_of(4, 1, 3, SIDE, SIDE)), &dense, UFI_NONE);
    y[1] = add_conv(&m, y[0], &depthwise, UFI_NONE);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, 1, y, 2, &m.err);
    if (!m.st)
        m.st = ufi_graph_infer(&m.g, 0, &m.err);
    REQUIRE_OK(m.st, m.err);
    observe(&o, &s, &m.g, 5);
    const ufi_judge judge = {.g = &m.g, .samples = &s, .threads = 1, .judged = s.count};
    REQUIRE_OK(ufi_patches_collect(patches, &judge, &m.err), m.err);
    CHECK(patches[0].length == 27 && patches[0].count == 1);
    CHECK(patches[1].length == 9 && patches[1].count == 6);
    for (uint32_t layer = 0; layer < 2; layer++)
        for (size_t ch = 0; ch < 6; ch++) {
            double want = 0;
            find_variance(&judge, layer, ch, &want);
            const double got = expected_variance(&judge, &patches[layer], layer, ch);
            CHECK_MSG(fabs(got - want) <= 1e-4 * want, "layer %u, channel %zu: %g, not %g", layer,
                      ch, got, want);
        }
    ufi_patches_free(patches, 2);
    ufi_observer_destroy(o);
    ufi_samples_free(&s);
    ufi_graph_free(&m.g);
}

/* Of a quantised graph only weights are stored so, and only those that FP16 can hold. */
TEST(weights_that_stay_in_fp32_are_stored_in_half)
{
    for (int large = 0; large < 2; large++) {
        maker m;
        ufi_graph g;
        float want[32], got[32], *weights;
        uint32_t before = 0, halves = 0;
        make_network(&m, false);
        REQUIRE_OK(ufi_graph_clone(&g, &m.g, &m.err), m.err);
        for (uint32_t i = 0; i < g.node_count; i++)
            if (g.nodes[i].op == UFI_OP_CONV || g.nodes[i].op == UFI_OP_GEMM) {
                REQUIRE_OK(ufi_graph_own_input(&g, &g.nodes[i], 1, &weights, &m.err), m.err);
                weights[0] = large ? 1e6f : weights[0];
                before += ufi_shape_count(&g.values[g.nodes[i].in[1]].shape) >= 64;
            }
        run_graph(&g, 99, want);
        REQUIRE_OK(ufi_store_weights_half(&g, &m.err), m.err);
        for (uint32_t v = 0; v < g.value_count; v++)
            halves += g.values[v].dtype == UF_F16;
        CHECK(before > 0 && halves == (large ? 0 : before));
        run_graph(&g, 99, got);
        CHECK(large || cosine_of(want, got) > 0.999999);
        ufi_graph_free(&g);
        ufi_graph_free(&m.g);
    }
}

/* A layer that the search left in FP32 stays there on every machine: 16 bits are storage only. */
TEST(beside_int8_weights_of_16_bits_are_computed_in_fp32)
{
    const qconv_case q = {{.batch = 1,
                           .in_c = 64,
                           .h = 9,
                           .w = 9,
                           .out_c = 64,
                           .kh = 1,
                           .kw = 1,
                           .stride = 1,
                           .dilation = 1,
                           .group = 1},
                          .floats = true,
                          .dynamic = true};
    maker m;
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    ufi_node *n;
    const ufi_shape shape = shape_of(4, 1, 64, 9, 9);
    uint32_t in[12], floats = 0;
    maker_init(&m, 3);
    m.stored = UF_F16;
    for (int i = 0; i < 12; i++)
        in[i] = UFI_NONE;
    const uint32_t x = add_conv(&m, add_input(&m, shape), &q.conv, UFI_NONE);
    add_activation(&m, &q, x, in);
    in[1] = add_bytes(&m, shape_of(4, 64, 64, 1, 1));
    in[4] = add_scales(&m, 64, 1.0f / 512);
    const uint32_t y = add_node(&m, UFI_OP_QCONV, in, 12, &n);
    set_conv_attributes(&m, n, &q.conv);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err);
    if (!m.st)
        m.st = ufi_program_create(&p, &m.g, "CPU", &m.err);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_context_create(&c, p, 1, &m.err), m.err);
    REQUIRE_OK(ufi_context_prepare(c, &shape, 1, UFI_NHWC, &m.err), m.err);
    for (uint32_t i = 0; i < ufi_context_step_count(c); i++) {
        ufi_step_info step;
        ufi_context_step(c, i, &step);
        CHECK_MSG(strncmp(step.kernel, "conv_f16", 8) != 0, "%s", step.kernel);
        floats += strncmp(step.kernel, "conv_f32", 8) == 0;
    }
    CHECK(floats == 1);
    ufi_context_destroy(c);
    ufi_program_destroy(p);
    ufi_graph_free(&m.g);
}

TEST_MAIN
