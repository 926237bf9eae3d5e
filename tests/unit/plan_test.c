/*
 * Plans of the CPU device against the operators' C references: small graphs of each form that the
 * planner knows. A run allocates nothing.
 */
#include "backend/cpu/build.h"
#include "base/cpu.h"
#include "graph_maker.h"

/* Weights stored as `stored`. BF16 activations are rounded to 8 bits, each by 2^-9 at most, which a
 * sum mostly evens out; pairs of BF16, for FP16 and FP32, are as good as FP32 but for 2^-16. */
static void start(maker *m, uint64_t seed, uf_dtype stored)
{
    maker_init(m, seed);
    m->stored = stored;
    m->bound = stored == UF_F32 ? m->bound : stored == UF_F16 ? 4e-5 : 8e-3;
}

static void check_conv(const conv_case *c, uf_dtype stored)
{
    maker m;
    char what[160];
    start(&m, (uint64_t)(c->in_c * 31 + c->h), stored);
    int oh = (c->h + 2 * c->pad - (c->kh - 1) * c->dilation - 1) / c->stride + 1;
    int ow = (c->w + 2 * c->pad - (c->kw - 1) * c->dilation - 1) / c->stride + 1;
    uint32_t x = add_input(&m, shape_of(4, c->batch, c->in_c, c->h, c->w)), residual = UFI_NONE;
    if (c->residual)
        residual = add_input(&m, shape_of(4, c->batch, c->out_c, oh, ow));
    uint32_t y = add_conv(&m, x, c, residual);
    snprintf(what, sizeof what,
             "conv %s %dx%d s%d d%d p%d g%d, [%d,%d,%d,%d] to %d, act %d, res %d",
             ufi_dtype_name(stored), c->kh, c->kw, c->stride, c->dilation, c->pad, c->group,
             c->batch, c->in_c, c->h, c->w, c->out_c, c->act, c->residual);
    compare(&m, &y, 1, false, what);
}

static void check_convs(uf_dtype stored)
{
    static const conv_case cases[] = {
        {1, 3, 33, 31, 16, 3, 3, 2, 1, 1, 1, UFI_ACT_RELU, true, false},
        {2, 16, 20, 20, 24, 1, 1, 1, 1, 0, 1, UFI_ACT_CLAMP, true, true},
        {1, 16, 9, 7, 10, 1, 1, 2, 1, 0, 1, UFI_ACT_NONE, false, false},
        {1, 16, 40, 40, 32, 3, 3, 1, 1, 1, 1, UFI_ACT_PRELU, true, true},
        {2, 20, 14, 14, 36, 3, 3, 1, 1, 1, 1, UFI_ACT_LEAKY, true, false},
        {1, 33, 13, 12, 17, 3, 3, 1, 1, 1, 1, UFI_ACT_SILU, true, true},
        {1, 16, 7, 7, 64, 3, 3, 1, 1, 1, 1, UFI_ACT_SIGMOID, true, false},
        {1, 24, 30, 30, 24, 3, 3, 1, 1, 0, 1, UFI_ACT_NONE, false, false},
        {1, 8, 17, 17, 12, 5, 5, 2, 1, 2, 1, UFI_ACT_HARD_SWISH, true, false},
        {1, 8, 17, 17, 12, 3, 3, 1, 2, 2, 1, UFI_ACT_NONE, true, false},
        {2, 12, 15, 15, 18, 3, 3, 1, 1, 1, 3, UFI_ACT_PRELU, true, true},
        {1, 12, 15, 15, 18, 1, 1, 1, 1, 0, 6, UFI_ACT_NONE, true, false},
        {2, 40, 14, 15, 40, 3, 3, 1, 1, 1, 40, UFI_ACT_PRELU, true, true},
        {1, 40, 14, 15, 40, 3, 3, 2, 1, 1, 40, UFI_ACT_CLAMP, true, false},
        {1, 72, 7, 7, 72, 7, 7, 1, 1, 0, 72, UFI_ACT_NONE, true, false},
        {1, 19, 12, 12, 19, 5, 5, 1, 1, 2, 19, UFI_ACT_HARD_SWISH, true, false},
        {1, 19, 12, 12, 19, 3, 3, 1, 2, 2, 19, UFI_ACT_NONE, false, false},
        {1, 8, 8, 8, 16, 3, 3, 1, 1, 1, 8, UFI_ACT_NONE, true, false},
        {1, 1, 12, 12, 4, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false},
        {3, 64, 1, 1, 48, 1, 1, 1, 1, 0, 1, UFI_ACT_SIGMOID, true, false},
        {2, 3, 57, 61, 18, 3, 3, 2, 1, 1, 1, UFI_ACT_PRELU, true, false},
        {1, 4, 40, 33, 40, 7, 7, 1, 1, 3, 1, UFI_ACT_RELU, false, false},
        {1, 2, 30, 30, 8, 5, 5, 1, 1, 0, 1, UFI_ACT_NONE, true, false},
        {1, 1, 20, 20, 1, 3, 3, 1, 1, 1, 1, UFI_ACT_SIGMOID, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_conv(&cases[i], stored);
}

TEST(convolutions)
{
    check_convs(UF_F32);
}

TEST(convolutions_with_weights_of_16_bits)
{
    check_convs(UF_BF16);
    check_convs(UF_F16);
}

TEST(asymmetric_pads)
{
    maker m;
    maker_init(&m, 5);
    const conv_case c = {1, 6, 12, 12, 8, 3, 3, 2, 1, 0, 1, UFI_ACT_RELU, true, false};
    uint32_t y = add_conv(&m, add_input(&m, shape_of(4, 1, 6, 12, 12)), &c, UFI_NONE);
    const int64_t pads[4] = {0, 0, 1, 1};
    set_ints(&m, &m.g.nodes[0], UFI_ATTR_PADS, pads, 4);
    compare(&m, &y, 1, false, "asymmetric pads");
}

/* A file may say of the same bytes that they are weights of two shapes. */
TEST(weights_of_two_shapes_share_their_bytes)
{
    maker m;
    maker_init(&m, 7);
    const conv_case points = {1, 8, 12, 12, 9, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false};
    const conv_case window = {1, 8, 12, 12, 1, 3, 3, 2, 1, 1, 1, UFI_ACT_NONE, false, false};
    const uint32_t x = add_input(&m, shape_of(4, 1, 8, 12, 12));
    const uint32_t y[2] = {add_conv(&m, x, &points, UFI_NONE), add_conv(&m, x, &window, UFI_NONE)};
    m.g.values[m.g.nodes[1].in[1]].data = m.g.values[m.g.nodes[0].in[1]].data;
    compare(&m, y, 2, false, "shared weights");
}

/* Large maps, so that the planner makes one step of both. */
static void check_fused(int in, uf_dtype stored)
{
    for (int variant = 0; variant < 6; variant++) {
        maker m;
        start(&m, 41 + (uint64_t)variant, stored);
        const int stride = 1 + variant % 2, pad = variant < 4, channels = variant == 3 ? 37 : 40;
        const int h = 50 + variant, w = 45;
        const conv_case point = {2, in, h, w, channels,      1,    1,
                                 1, 1,  0, 1, UFI_ACT_PRELU, true, false};
        const conv_case depth = {2,    channels,    h, w,   channels, 3,
                                 3,    stride,      1, pad, channels, UFI_ACT_CLAMP,
                                 true, variant == 2};
        uint32_t y = add_conv(&m, add_input(&m, shape_of(4, 2, in, h, w)), &point, UFI_NONE);
        uint32_t residual = UFI_NONE;
        if (depth.residual)
            residual = add_input(&m, shape_of(4, 2, channels, h, w));
        y = add_conv(&m, y, &depth, residual);
        compare(&m, &y, 1, false, "pointwise and depthwise");
    }
}

TEST(pointwise_and_depthwise_in_one_step)
{
    check_fused(12, UF_F32);
    check_fused(48, UF_BF16);
    check_fused(50, UF_F16);
}

/* What many networks begin with: a few planes by a strided kernel, and a depthwise one behind it.
 */
TEST(first_and_depthwise_in_one_step)
{
    for (int v = 0; v < 48; v++) {
        static const int channels[] = {16, 37, 40};
        maker m;
        maker_init(&m, 100 + (uint64_t)v);
        const int k = v % 4 == 3 ? 5 : 3, stride = 1 + v / 2 % 2, pad = v % 5 == 0 ? 0 : k / 2;
        const int c = channels[v % 3], batch = 1 + v % 2, in = 2 + v % 3;
        const int h = 101 + v, w = 99 + v * 3 % 17;
        const conv_case first = {.batch = batch,
                                 .in_c = in,
                                 .h = h,
                                 .w = w,
                                 .out_c = c,
                                 .kh = k,
                                 .kw = k,
                                 .stride = stride,
                                 .dilation = 1,
                                 .pad = pad,
                                 .group = 1,
                                 .act = v % 2 ? UFI_ACT_PRELU : UFI_ACT_RELU,
                                 .bias = true};
        conv_case depth = {.batch = batch,
                           .in_c = c,
                           .h = (h + 2 * pad - k) / stride + 1,
                           .w = (w + 2 * pad - k) / stride + 1,
                           .out_c = c,
                           .kh = 3,
                           .kw = 3,
                           .stride = 1 + v / 4 % 2,
                           .dilation = 1,
                           .pad = v % 7 != 0,
                           .group = c,
                           .act = v % 3 ? UFI_ACT_CLAMP : UFI_ACT_SILU,
                           .bias = true};
        depth.residual = depth.stride == 1 && depth.pad == 1 && v % 2;
        uint32_t y = add_conv(&m, add_input(&m, shape_of(4, batch, in, h, w)), &first, UFI_NONE);
        uint32_t residual = UFI_NONE;
        if (depth.residual)
            residual = add_input(&m, shape_of(4, batch, c, depth.h, depth.w));
        y = add_conv(&m, y, &depth, residual);
        compare(&m, &y, 1, false, "first and depthwise");
    }
}

/* What runs is what the machine is good at, and the profile says so. */
TEST(stored_weights_choose_the_kernel)
{
    enum { AMX = UFI_CPU_AMX | UFI_CPU_AVX512BF16 };
    static const struct {
        uf_dtype stored;
        uint32_t flags;
        const char *names[2];
    } rows[] = {{UF_BF16, AMX, {"conv_bf16_amx", "conv_dwconv_bf16"}},
                {UF_F16, AMX, {"conv_f16_amx", "conv_dwconv_f16"}},
                {UF_F32, UFI_CPU_BF16X3, {"conv_bf16x3_amx", "conv_dwconv_bf16x3"}}};
    for (size_t row = 0; row < sizeof rows / sizeof rows[0]; row++) {
        const bool has = (ufi_cpu_flags() & rows[row].flags) == rows[row].flags;
        maker m;
        ufi_program *p = NULL;
        ufi_context *c = NULL;
        ufi_step_info step[2];
        const ufi_shape shape = shape_of(4, 1, 64, 56, 56);
        const conv_case point = {.batch = 1,
                                 .in_c = 64,
                                 .h = 56,
                                 .w = 56,
                                 .out_c = 64,
                                 .kh = 1,
                                 .kw = 1,
                                 .stride = 1,
                                 .dilation = 1,
                                 .group = 1};
        conv_case depth = point;
        depth.kh = depth.kw = 3;
        depth.pad = 1;
        depth.group = 64;
        start(&m, 5, rows[row].stored);
        uint32_t y = add_conv(&m, add_input(&m, shape), &point, UFI_NONE);
        y = add_conv(&m, add_conv(&m, y, &point, UFI_NONE), &depth, UFI_NONE);
        if (!m.st)
            m.st = ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err);
        if (!m.st)
            m.st = ufi_program_create(&p, &m.g, "CPU", &m.err);
        REQUIRE_OK(m.st, m.err);
        REQUIRE_OK(ufi_context_create(&c, p, 1, &m.err), m.err);
        REQUIRE_OK(ufi_context_prepare(c, &shape, 1, UFI_NHWC, &m.err), m.err);
        for (uint32_t i = 0; i < 2; i++) {
            ufi_context_step(c, i, &step[i]);
            CHECK_MSG(has ? !strcmp(step[i].kernel, rows[row].names[i])
                          : strstr(step[i].kernel, "_f32") != NULL,
                      "%s", step[i].kernel);
        }
        ufi_context_destroy(c);
        ufi_program_destroy(p);
        ufi_graph_free(&m.g);
    }
}

/* ---- products ---- */

/* One picture, and more than a block of them. */
TEST(gemm_with_weights_of_16_bits)
{
    for (int variant = 0; variant < 4; variant++) {
        maker m;
        ufi_node *n;
        start(&m, 3, variant % 2 ? UF_F16 : UF_BF16);
        const int64_t one = 1, act = UFI_ACT_RELU, rows = variant < 2 ? 1 : 77;
        uint32_t in[3] = {add_input(&m, shape_of(2, rows, 530, 0, 0)), 0, 0};
        in[1] = add_weights(&m, shape_of(2, 45, 530, 0, 0), 0.2f);
        in[2] = add_weights(&m, shape_of(1, 45, 0, 0, 0), 1);
        uint32_t y = add_node(&m, UFI_OP_GEMM, in, 3, &n);
        set_ints(&m, n, UFI_ATTR_TRANS_B, &one, 1);
        set_ints(&m, n, UFI_ATTR_ACT, &act, 1);
        compare(&m, &y, 1, false, "product of 16 bits");
    }
}

TEST(gemm_and_matmul)
{
    for (int variant = 0; variant < 4; variant++) {
        maker m;
        ufi_node *n;
        maker_init(&m, 7 + (uint64_t)variant);
        int64_t one = 1, act = variant == 1 ? UFI_ACT_RELU : UFI_ACT_NONE;
        uint32_t in[3] = {add_input(&m, shape_of(2, 3, 70, 0, 0)), 0, 0};
        in[1] = add_weights(&m, variant % 2 ? shape_of(2, 45, 70, 0, 0) : shape_of(2, 70, 45, 0, 0),
                            0.2f);
        in[2] = add_weights(&m, shape_of(1, 45, 0, 0, 0), 1);
        uint32_t y =
            add_node(&m, variant < 2 ? UFI_OP_GEMM : UFI_OP_MATMUL, in, variant < 2 ? 3 : 2, &n);
        if (variant >= 2) {
            in[1] = add_weights(&m, shape_of(2, 70, 45, 0, 0), 0.2f);
            m.g.nodes[0].in[1] = in[1];
        } else if (variant == 1) {
            set_ints(&m, n, UFI_ATTR_TRANS_B, &one, 1);
            set_ints(&m, n, UFI_ATTR_ACT, &act, 1);
        }
        compare(&m, &y, 1, false, "product");
    }
}

TEST(batched_matmul)
{
    maker m;
    maker_init(&m, 9);
    uint32_t in[2] = {add_input(&m, shape_of(4, 2, 3, 5, 8)),
                      add_input(&m, shape_of(4, 2, 3, 8, 6))};
    uint32_t y = add_node(&m, UFI_OP_MATMUL, in, 2, NULL);
    compare(&m, &y, 1, false, "batched product");
}

/* ---- pooling, elementwise ---- */

static void check_pool(ufi_op op, int kernel, int stride, int pad, int64_t ceil_mode,
                       int64_t include)
{
    maker m;
    ufi_node *n;
    maker_init(&m, 11);
    uint32_t x = add_input(&m, shape_of(4, 2, 20, 15, 13));
    uint32_t y = add_node(&m, op, &x, 1, &n);
    const int64_t k[2] = {kernel, kernel}, s[2] = {stride, stride}, p[4] = {pad, pad, pad, pad};
    set_ints(&m, n, UFI_ATTR_KERNEL_SHAPE, k, 2);
    set_ints(&m, n, UFI_ATTR_STRIDES, s, 2);
    set_ints(&m, n, UFI_ATTR_PADS, p, 4);
    set_ints(&m, n, UFI_ATTR_CEIL_MODE, &ceil_mode, 1);
    set_ints(&m, n, UFI_ATTR_COUNT_INCLUDE_PAD, &include, 1);
    compare(&m, &y, 1, false, ufi_op_name(op));
}

TEST(pooling)
{
    check_pool(UFI_OP_MAX_POOL, 2, 2, 0, 0, 0);
    check_pool(UFI_OP_MAX_POOL, 3, 2, 1, 1, 0);
    check_pool(UFI_OP_AVERAGE_POOL, 3, 1, 1, 0, 0);
    check_pool(UFI_OP_AVERAGE_POOL, 3, 2, 1, 0, 1);
    check_pool(UFI_OP_AVERAGE_POOL, 3, 2, 0, 1, 0);
    maker m;
    maker_init(&m, 12);
    uint32_t x = add_input(&m, shape_of(4, 2, 20, 7, 5));
    uint32_t y = add_node(&m, UFI_OP_GLOBAL_AVERAGE_POOL, &x, 1, NULL);
    compare(&m, &y, 1, false, "global average");
}

TEST(unary_operators)
{
    static const ufi_op ops[] = {
        UFI_OP_RELU,       UFI_OP_LEAKY_RELU, UFI_OP_ELU,  UFI_OP_SIGMOID,  UFI_OP_HARD_SIGMOID,
        UFI_OP_HARD_SWISH, UFI_OP_SILU,       UFI_OP_GELU, UFI_OP_TANH,     UFI_OP_EXP,
        UFI_OP_NEG,        UFI_OP_ABS,        UFI_OP_MISH, UFI_OP_SOFTPLUS, UFI_OP_ERF};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        maker m;
        maker_init(&m, 13 + i);
        uint32_t x = add_input(&m, shape_of(4, 2, 5, 9, 7));
        uint32_t y = add_node(&m, ops[i], &x, 1, NULL);
        compare(&m, &y, 1, false, ufi_op_name(ops[i]));
    }
}

TEST(binary_operators_broadcast)
{
    static const ufi_op ops[] = {UFI_OP_ADD, UFI_OP_SUB, UFI_OP_MUL, UFI_OP_MAX};
    static const int64_t shapes[][4] = {{2, 6, 5, 7}, {1, 6, 1, 1}, {2, 6, 1, 1}, {1, 1, 1, 1},
                                        {2, 1, 5, 7}, {1, 1, 1, 7}, {1, 6, 5, 7}, {1, 1, 5, 1}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
            for (int swap = 0; swap < 2; swap++) {
                maker m;
                maker_init(&m, 17 + k);
                uint32_t a = add_input(&m, shape_of(4, 2, 6, 5, 7));
                ufi_shape s = ufi_shape_make(4, shapes[k]);
                uint32_t b = k % 2 ? add_weights(&m, s, 1) : add_input(&m, s);
                const uint32_t in[2] = {swap ? b : a, swap ? a : b};
                uint32_t y = add_node(&m, ops[i], in, 2, NULL);
                char what[80];
                snprintf(what, sizeof what, "%s with operand %zu, swap %d", ufi_op_name(ops[i]), k,
                         swap);
                compare(&m, &y, 1, false, what);
            }
}

TEST(softmax_prelu_affine)
{
    maker m;
    ufi_node *n;
    maker_init(&m, 19);
    int64_t axis = 1;
    uint32_t x = add_input(&m, shape_of(4, 2, 6, 5, 7));
    uint32_t in[3] = {x, add_weights(&m, shape_of(1, 6, 0, 0, 0), 1),
                      add_weights(&m, shape_of(1, 6, 0, 0, 0), 1)};
    uint32_t out[4];
    out[0] = add_node(&m, UFI_OP_AFFINE, in, 3, NULL);
    in[1] = add_weights(&m, shape_of(3, 6, 1, 1, 0), 1);
    out[1] = add_node(&m, UFI_OP_PRELU, in, 2, NULL);
    out[2] = add_node(&m, UFI_OP_SOFTMAX, &out[0], 1, &n);
    set_ints(&m, n, UFI_ATTR_AXIS, &axis, 1);
    out[3] = add_node(&m, UFI_OP_SOFTMAX, &out[1], 1, NULL);
    compare(&m, out, 4, false, "softmax, prelu, affine");
}

/* ---- rows ---- */

static uint32_t add_reduce(maker *m, ufi_op op, uint32_t x, const int64_t *axes, int64_t count,
                           int64_t keep)
{
    ufi_node *n;
    const uint32_t in[2] = {x, add_ints(m, axes, count)};
    uint32_t y = add_node(m, op, in, 2, &n);
    set_ints(m, n, UFI_ATTR_KEEPDIMS, &keep, 1);
    return y;
}

TEST(reductions)
{
    static const ufi_op ops[] = {UFI_OP_REDUCE_MEAN, UFI_OP_REDUCE_SUM, UFI_OP_REDUCE_L2,
                                 UFI_OP_REDUCE_SUM_SQUARE, UFI_OP_REDUCE_MAX};
    const int64_t last[1] = {-1}, two[2] = {3, 2}, inner[1] = {2}, channels[1] = {1};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        maker m;
        uint32_t y[7];
        maker_init(&m, 71 + i);
        const conv_case c = {2, 5, 9, 7, 20, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, true, false};
        uint32_t x = add_conv(&m, add_input(&m, shape_of(4, 2, 5, 9, 7)), &c, UFI_NONE);
        y[0] = add_reduce(&m, ops[i], x, last, 1, 1);
        y[1] = add_reduce(&m, ops[i], x, last, 1, 0);
        y[2] = add_reduce(&m, ops[i], x, two, 2, 0);
        y[3] = add_reduce(&m, ops[i], x, inner, 1, 1); /* no trailing axis: the reference */
        y[4] = add_reduce(&m, ops[i], x, channels, 1, 1);
        y[5] = add_reduce(&m, ops[i], x, channels, 1, 0);
        y[6] = add_node(&m, ops[i], &x, 1, NULL); /* all of them */
        m.bound = 1e-4;                           /* sums may cancel */
        compare(&m, y, 7, false, ufi_op_name(ops[i]));
    }
}

TEST(layer_normalisation)
{
    for (int64_t axis = -1; axis >= -2; axis--)
        for (int shift = 0; shift < 2; shift++) {
            maker m;
            ufi_node *n;
            maker_init(&m, 81);
            m.bound = 1e-4;
            ufi_shape s = axis == -1 ? shape_of(1, 40, 0, 0, 0) : shape_of(2, 13, 40, 0, 0);
            const uint32_t in[3] = {add_input(&m, shape_of(3, 50, 13, 40, 0)),
                                    add_weights(&m, s, 1), add_weights(&m, s, 1)};
            uint32_t y = add_node(&m, UFI_OP_LAYER_NORM, in, shift ? 3 : 2, &n);
            set_ints(&m, n, UFI_ATTR_AXIS, &axis, 1);
            compare(&m, &y, 1, false, "layer normalisation");
        }
}

/* What exporters make of a layer normalisation and of a GELU: nothing of it is left to the
 * references. */
TEST(what_transformers_do_has_fast_forms)
{
    maker m;
    ufi_program *p = NULL;
    ufi_context *context = NULL;
    const int64_t last[1] = {-1};
    ufi_shape s = shape_of(3, 1, 49, 40, 0);
    const float numbers[3] = {2, 1, 0.5f};
    uint32_t constants[3];
    maker_init(&m, 91);
    uint32_t x = add_input(&m, s), in[2];
    for (int i = 0; i < 3; i++) {
        ufi_tensor t = {UF_F32, UFI_PLAIN, {0, {0}}, (void *)(uintptr_t)&numbers[i]};
        CHECK_OK(ufi_graph_add_constant(&m.g, "c", &t, true, &constants[i], &m.err), m.err);
    }
    in[0] = x, in[1] = add_reduce(&m, UFI_OP_REDUCE_MEAN, x, last, 1, 1);
    uint32_t d = add_node(&m, UFI_OP_SUB, in, 2, NULL);
    in[0] = d, in[1] = constants[0];
    uint32_t v = add_node(&m, UFI_OP_POW, in, 2, NULL);
    in[0] = add_reduce(&m, UFI_OP_REDUCE_MEAN, v, last, 1, 1), in[1] = constants[2];
    in[1] = add_node(&m, UFI_OP_ADD, in, 2, NULL);
    in[1] = add_node(&m, UFI_OP_SQRT, &in[1], 1, NULL);
    in[0] = d;
    x = add_node(&m, UFI_OP_DIV, in, 2, NULL);
    in[0] = add_node(&m, UFI_OP_ERF, &x, 1, NULL), in[1] = constants[1];
    in[0] = add_node(&m, UFI_OP_ADD, in, 2, NULL), in[1] = x;
    uint32_t y = add_node(&m, UFI_OP_MUL, in, 2, NULL);
    CHECK_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err), m.err);
    CHECK_OK(ufi_program_create(&p, &m.g, "CPU", &m.err), m.err);
    CHECK_OK(ufi_context_create(&context, p, 1, &m.err), m.err);
    CHECK_OK(ufi_context_prepare(context, &s, 1, UFI_PLAIN, &m.err), m.err);
    CHECK(ufi_context_step_count(context) == 10);
    for (uint32_t i = 0; i < ufi_context_step_count(context); i++) {
        ufi_step_info step;
        ufi_context_step(context, i, &step);
        CHECK_MSG(strcmp(step.kernel, "reference") != 0, "%s runs by reference", step.op);
    }
    ufi_context_destroy(context);
    ufi_program_destroy(p);
    compare(&m, &y, 1, false, "layer normalisation and GELU in pieces");
}

/* ---- moves ---- */

TEST(moves)
{
    maker m;
    ufi_node *n;
    maker_init(&m, 23);
    uint32_t x = add_input(&m, shape_of(4, 2, 6, 5, 7)), y = add_input(&m, shape_of(4, 2, 3, 5, 7));
    uint32_t out[6], in[5];
    const int64_t one = 1, perm[4] = {0, 2, 3, 1}, target[3] = {0, 6, -1};
    const int64_t starts[2] = {1, 1}, ends[2] = {4, 6}, axes[2] = {1, 3}, steps[2] = {1, 2};
    in[0] = x, in[1] = y;
    out[0] = add_node(&m, UFI_OP_CONCAT, in, 2, &n);
    set_ints(&m, n, UFI_ATTR_AXIS, &one, 1);
    out[1] = add_node(&m, UFI_OP_TRANSPOSE, &x, 1, &n);
    set_ints(&m, n, UFI_ATTR_PERM, perm, 4);
    in[1] = add_ints(&m, target, 3);
    out[2] = add_node(&m, UFI_OP_RESHAPE, in, 2, NULL);
    in[1] = add_ints(&m, starts, 2), in[2] = add_ints(&m, ends, 2);
    in[3] = add_ints(&m, axes, 2), in[4] = add_ints(&m, steps, 2);
    out[3] = add_node(&m, UFI_OP_SLICE, in, 5, NULL);
    out[4] = add_node(&m, UFI_OP_FLATTEN, &out[0], 1, NULL);
    in[0] = out[1], in[1] = out[1];
    out[5] = add_node(&m, UFI_OP_CONCAT, in, 2, &n);
    set_ints(&m, n, UFI_ATTR_AXIS, &one, 1);
    compare(&m, out, 6, false, "moves");
}

/* A head's permutation to height, width, batch, channels: a view when the batch is one. */
TEST(head_permutations)
{
    for (int64_t batch = 1; batch <= 2; batch++) {
        maker m;
        ufi_node *n;
        maker_init(&m, 27);
        const int64_t perm[4] = {2, 3, 0, 1}, back[4] = {0, 3, 1, 2};
        const conv_case c = {(int)batch, 6, 9, 8, 10, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, true, false};
        uint32_t x = add_conv(&m, add_input(&m, shape_of(4, batch, 6, 9, 8)), &c, UFI_NONE), y[2];
        y[0] = add_node(&m, UFI_OP_TRANSPOSE, &x, 1, &n);
        set_ints(&m, n, UFI_ATTR_PERM, perm, 4);
        y[1] = add_node(&m, UFI_OP_TRANSPOSE, &x, 1, &n);
        set_ints(&m, n, UFI_ATTR_PERM, back, 4);
        compare(&m, y, 2, false, "head permutations");
    }
}

TEST(resize)
{
    for (int linear = 0; linear < 2; linear++) {
        maker m;
        ufi_node *n;
        maker_init(&m, 29);
        const float scales[4] = {1, 1, 2, 2};
        ufi_tensor t = {UF_F32, UFI_PLAIN, {1, {4}}, (void *)(uintptr_t)scales};
        uint32_t in[3] = {add_input(&m, shape_of(4, 2, 6, 5, 7)), UFI_NONE, 0};
        if (!m.st)
            m.st = ufi_graph_add_constant(&m.g, "scales", &t, true, &in[2], &m.err);
        uint32_t y = add_node(&m, UFI_OP_RESIZE, in, 3, &n);
        if (!m.st && linear)
            m.st = ufi_node_set_string(&m.g, n, UFI_ATTR_MODE, "linear", 6, &m.err);
        if (!m.st && !linear)
            m.st = ufi_node_set_string(&m.g, n, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE,
                                       "asymmetric", 10, &m.err);
        compare(&m, &y, 1, false, linear ? "resize linear" : "resize nearest");
    }
}

/* ---- passes: the optimised graph computes the same ---- */

/* conv, affine, relu; conv; add; prelu: what networks are made of. */
TEST(passes_keep_the_function)
{
    maker m;
    maker_init(&m, 31);
    const conv_case c = {1, 8, 16, 16, 8, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, true, false};
    uint32_t x = add_input(&m, shape_of(4, 1, 8, 16, 16));
    uint32_t in[3] = {add_conv(&m, x, &c, UFI_NONE), add_weights(&m, shape_of(1, 8, 0, 0, 0), 1),
                      add_weights(&m, shape_of(1, 8, 0, 0, 0), 1)};
    uint32_t v = add_node(&m, UFI_OP_AFFINE, in, 3, NULL);
    v = add_node(&m, UFI_OP_RELU, &v, 1, NULL);
    v = add_conv(&m, v, &c, UFI_NONE);
    in[0] = v, in[1] = x;
    v = add_node(&m, UFI_OP_ADD, in, 2, NULL);
    in[0] = v, in[1] = add_weights(&m, shape_of(3, 8, 1, 1, 0), 1);
    v = add_node(&m, UFI_OP_PRELU, in, 2, NULL);
    uint32_t gate = add_node(&m, UFI_OP_SIGMOID, &v, 1, NULL);
    in[0] = v, in[1] = gate;
    v = add_node(&m, UFI_OP_MUL, in, 2, NULL);
    in[0] = v, in[1] = add_weights(&m, shape_of(4, 1, 8, 1, 1), 1);
    v = add_node(&m, UFI_OP_MUL, in, 2, NULL);
    in[0] = v, in[1] = add_weights(&m, shape_of(3, 8, 1, 1, 0), 1);
    v = add_node(&m, UFI_OP_SUB, in, 2, NULL);
    v = add_conv(&m, v, &c, UFI_NONE);
    in[0] = v, in[1] = add_weights(&m, shape_of(1, 8, 0, 0, 0), 1);
    in[2] = add_weights(&m, shape_of(1, 8, 0, 0, 0), 1);
    v = add_node(&m, UFI_OP_AFFINE, in, 3, NULL);
    v = add_node(&m, UFI_OP_RELU, &v, 1, NULL);
    in[0] = v;
    v = add_node(&m, UFI_OP_AFFINE, in, 3, NULL);
    const conv_case unpadded = {1, 8, 16, 16, 8, 3, 3, 1, 1, 0, 1, UFI_ACT_NONE, true, false};
    v = add_conv(&m, v, &unpadded, UFI_NONE);
    v = add_node(&m, UFI_OP_IDENTITY, &v, 1, NULL);
    compare(&m, &v, 1, true, "passes");
}

/* Small convolutions on one input become one, and still give their own outputs. */
TEST(siblings_are_joined)
{
    maker m;
    maker_init(&m, 37);
    static const int outputs[4] = {1, 4, 10, 40};
    uint32_t x = add_input(&m, shape_of(4, 2, 12, 11, 9)), y[5];
    for (int i = 0; i < 4; i++) {
        const conv_case c = {2, 12, 11, 9, outputs[i],   3,      3,
                             1, 1,  1,  1, UFI_ACT_NONE, i != 1, false};
        y[i] = add_conv(&m, x, &c, UFI_NONE);
    }
    const conv_case other = {2, 12, 11, 9, 6, 1, 1, 1, 1, 0, 1, UFI_ACT_RELU, true, false};
    y[4] = add_conv(&m, x, &other, UFI_NONE);
    y[2] = add_node(&m, UFI_OP_SIGMOID, &y[2], 1, NULL);
    compare(&m, y, 5, true, "siblings");
}

/* Additions that are left of x + conv(x) where the input leaves batch or also height open. */
static uint32_t additions_left(int64_t height)
{
    maker m;
    uint32_t left = 0;
    maker_init(&m, 41);
    const conv_case c = {1, 8, 16, 16, 8, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, true, false};
    uint32_t x = add_input(&m, shape_of(4, -1, 8, height, 16));
    const uint32_t in[2] = {add_conv(&m, x, &c, UFI_NONE), x};
    uint32_t y = add_node(&m, UFI_OP_ADD, in, 2, NULL);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, m.input_count, &y, 1, &m.err);
    if (!m.st)
        m.st = ufi_graph_infer(&m.g, 0, &m.err);
    if (!m.st)
        m.st = ufi_graph_optimize(&m.g, &m.err);
    CHECK_MSG(m.st == UF_OK, "%s", m.err.message);
    for (uint32_t i = 0; i < m.g.node_count; i++)
        left += m.g.nodes[i].op == UFI_OP_ADD;
    ufi_graph_free(&m.g);
    return left;
}

TEST(residuals_of_an_open_batch_are_fused)
{
    CHECK(additions_left(16) == 0);
    CHECK(additions_left(-1) == 1); /* two open dimensions could be any two numbers */
}

/* What passes could not fuse when a network was imported, they fuse in its plan. */
TEST(open_dimensions_are_optimised_in_the_plan)
{
    maker m;
    ufi_program *p = NULL;
    ufi_context *context = NULL;
    maker_init(&m, 43);
    const conv_case c = {1, 8, 16, 16, 8, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, true, false};
    uint32_t x = add_input(&m, shape_of(4, -1, 8, 16, 16));
    uint32_t in[2] = {add_conv(&m, x, &c, UFI_NONE), x};
    uint32_t y = add_node(&m, UFI_OP_ADD, in, 2, NULL);
    y = add_node(&m, UFI_OP_RELU, &y, 1, NULL);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, m.input_count, &y, 1, &m.err);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_program_create(&p, &m.g, "CPU", &m.err), m.err);
    REQUIRE_OK(ufi_context_create(&context, p, 1, &m.err), m.err);
    const ufi_shape shape = shape_of(4, 3, 8, 16, 16);
    REQUIRE_OK(ufi_context_prepare(context, &shape, 1, UFI_NHWC, &m.err), m.err);
    ufi_step_info step;
    for (uint32_t i = 0; i < ufi_context_step_count(context); i++) {
        ufi_context_step(context, i, &step);
        CHECK_MSG(strcmp(step.op, "Add") != 0 && strcmp(step.op, "Relu") != 0,
                  "step %u is still %s", i, step.op);
    }
    CHECK(ufi_context_output(context, 0)->shape.dims[0] == 3);
    ufi_context_destroy(context);
    ufi_program_destroy(p);
    ufi_graph_free(&m.g);
}

/* The kernels that `program` would take for the first node of `g` with those of `table`. */
static const ufk_hconv *kernels_of(void *program, ufi_graph *g, const ufk_table *table)
{
    const cpu_builder b = {.program = program, .g = g, .k = table};
    return cpu_half_kernels(&b, &g->nodes[0]);
}

/* Whatever machine the test runs on: FP32 as BF16 products where a table has them, but not in a
 * program that was told to be exact. */
TEST(exact_programs_compute_fp32_by_fp32_instructions)
{
    maker m;
    ufk_table table;
    void *usual = NULL, *exact = NULL;
    maker_init(&m, 45);
    const conv_case c = {1, 64, 16, 16, 64, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false};
    uint32_t y = add_conv(&m, add_input(&m, shape_of(4, 1, 64, 16, 16)), &c, UFI_NONE);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, m.input_count, &y, 1, &m.err);
    REQUIRE_OK(m.st, m.err);
    ufk_table_init(&table, 0);
    table.bf16x3.pays = true;
    REQUIRE_OK(cpu_program_create(&usual, &m.g, 0, &m.err), m.err);
    REQUIRE_OK(cpu_program_create(&exact, &m.g, 0, &m.err), m.err);
    cpu_program_set_exact(exact);
    CHECK(kernels_of(usual, &m.g, &table) == &table.bf16x3);
    CHECK(kernels_of(exact, &m.g, &table) == NULL);
    cpu_program_destroy(usual);
    cpu_program_destroy(exact);
    ufi_graph_free(&m.g);
}

/* Runs `batch` pictures of a fixed pattern and copies the output. */
static void run_batch(ufi_context *c, int64_t batch, float *out, size_t room)
{
    uf_error err;
    const ufi_shape shape = shape_of(4, batch, 8, 16, 16);
    REQUIRE_OK(ufi_context_prepare(c, &shape, 1, UFI_NHWC, &err), err);
    float *x = ufi_context_input(c, 0)->data;
    for (int64_t i = 0; i < ufi_shape_count(&shape); i++)
        x[i] = (float)((i * 37 + batch) % 101) / 50 - 1;
    REQUIRE_OK(ufi_context_run(c, &err), err);
    const ufi_tensor *y = ufi_context_output(c, 0);
    REQUIRE(ufi_tensor_bytes(y) <= room);
    memcpy(out, y->data, ufi_tensor_bytes(y));
}

/* Plans of one context share the memory of their activations, which moves when a plan needs more.
 */
TEST(plans_of_a_context_share_their_memory)
{
    enum { ROOM = 5 * 8 * 16 * 16 };
    static float alone[ROOM], shared[ROOM];
    static const int64_t batches[] = {2, 1, 5, 2, 1, 3, 5, 2};
    maker m;
    ufi_program *p = NULL;
    ufi_context *context = NULL, *own = NULL;
    maker_init(&m, 44);
    const conv_case c = {1, 8, 16, 16, 8, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false};
    uint32_t y = add_conv(&m, add_input(&m, shape_of(4, -1, 8, 16, 16)), &c, UFI_NONE);
    y = add_conv(&m, y, &c, UFI_NONE);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, m.input_count, &y, 1, &m.err);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_program_create(&p, &m.g, "CPU", &m.err), m.err);
    REQUIRE_OK(ufi_context_create(&context, p, 2, &m.err), m.err);
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        REQUIRE_OK(ufi_context_create(&own, p, 2, &m.err), m.err);
        run_batch(own, batches[i], alone, sizeof alone);
        ufi_context_destroy(own);
        run_batch(context, batches[i], shared, sizeof shared);
        CHECK_MSG(!memcmp(alone, shared, (size_t)batches[i] * 8 * 16 * 16 * sizeof *alone),
                  "run %zu, batch %d: other numbers than in a context of its own", i,
                  (int)batches[i]);
    }
    ufi_context_destroy(context);
    ufi_program_destroy(p);
    ufi_graph_free(&m.g);
}

TEST_MAIN
