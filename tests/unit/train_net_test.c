/*
 * Networks under training: outputs against the operators' C references, gradients of every operator
 * against differences, batch normalisation.
 */
#include "net_maker.h"
#include "train/net_dnnl.h"

static bool compared[UFI_OP_COUNT]; /* operators whose gradients were compared so far */

static double loss_of(ufi_net *net, uint32_t outputs, uf_error *err)
{
    double sum = 0;
    CHECK_OK(ufi_net_forward(net, err), *err);
    for (uint32_t o = 0; o < outputs; o++) {
        ufi_shape s;
        const float *y = ufi_net_output(net, o, &s);
        for (int64_t i = 0; i < ufi_shape_count(&s); i++)
            sum += (double)y[i] * (double)loss_weight((size_t)i + 7 * o);
    }
    return sum;
}

/* The difference quotient at element `i` of `v`; NAN at a corner, where its two sides disagree. */
static double quotient(ufi_net *net, ufi_variable *v, size_t i, uint32_t outputs, double most,
                       uf_error *err)
{
    const float at = v->data[i], step = 2e-3f;
    const double here = loss_of(net, outputs, err);
    v->data[i] = at + step;
    const double high = (double)v->data[i], up = loss_of(net, outputs, err);
    v->data[i] = at - step;
    const double low = (double)v->data[i], down = loss_of(net, outputs, err);
    v->data[i] = at;
    const double right = (up - here) / (high - (double)at),
                 left = (here - down) / ((double)at - low);
    return fabs(right - left) > 1e-2 * most + 5e-3 ? (double)NAN : (up - down) / (high - low);
}

static void check_variable(ufi_net *net, ufi_variable *v, uint32_t outputs, const char *what,
                           uf_error *err)
{
    float *grad = malloc(v->count * sizeof *grad);
    double most = 1e-2;
    size_t corners = 0;
    memcpy(grad, v->grad, v->count * sizeof *grad);
    for (size_t i = 0; i < v->count; i++)
        most = fmax(most, fabs((double)grad[i]));
    for (size_t i = 0; i < v->count; i++) {
        double q = quotient(net, v, i, outputs, most, err);
        corners += isnan(q);
        CHECK_MSG(isnan(q) || fabs(q - (double)grad[i]) < 2e-2 * most + 3e-3,
                  "%s: gradient %zu of %s is %g, differences say %g", what, i, v->name,
                  (double)grad[i], q);
    }
    CHECK_MSG(2 * corners <= v->count, "%s: %zu of %zu numbers of %s lie at corners", what, corners,
              v->count, v->name);
    free(grad);
}

/* Outputs as the C references compute them; graphs with batch normalisation are left out. */
static void check_outputs(ufi_net *net, ufi_graph *g, const char *what, uf_error *err)
{
    const ufi_shape *s = &g->values[g->inputs[0]].shape;
    void *data[MAX_VALUES] = {NULL};
    float *x = malloc(input_count(g) * sizeof *x);
    const int64_t *d = s->dims, plane = s->rank == 4 ? d[2] * d[3] : 1;
    for (int64_t b = 0; b < d[0]; b++)
        for (int64_t c = 0; c < d[1]; c++)
            for (int64_t p = 0; p < plane; p++)
                x[(b * d[1] + c) * plane + p] = ufi_net_input(net)[(b * plane + p) * d[1] + c];
    REQUIRE_OK(by_reference(g, (float *const *)&x, data, err), *err);
    for (uint32_t o = 0; o < g->output_count; o++) {
        ufi_shape shape;
        const float *y = ufi_net_output(net, o, &shape);
        double off = difference(y, data[g->outputs[o]], (size_t)ufi_shape_count(&shape));
        CHECK(ufi_shape_equal(&shape, &g->values[g->outputs[o]].shape));
        CHECK_MSG(off < 1e-5, "%s: output %u is off by %g", what, o, off);
    }
    for (uint32_t i = 0; i < g->value_count; i++)
        if (i != g->inputs[0] && !g->values[i].data)
            free(data[i]);
    free(x);
}

/* Everything about the graph whose outputs are given; frees the maker. */
static void check_net(maker *m, const uint32_t *outputs, uint32_t count, const char *what)
{
    ufi_net *net = NULL;
    if (!m->st)
        m->st = ufi_graph_set_io(&m->g, m->inputs, m->input_count, outputs, count, &m->err);
    if (!m->st)
        m->st = ufi_graph_infer(&m->g, 0, &m->err);
    if (!m->st)
        m->st = ufi_net_create(&net, &m->g, &plain, &m->err);
    CHECK_MSG(m->st == UF_OK, "%s: %s", what, m->err.message);
    if (!m->st) {
        fill_input(net, &m->g, m->seed);
        CHECK_OK(run_both_ways(net, count, &m->err), m->err);
        if (!has_norm(&m->g))
            check_outputs(net, &m->g, what, &m->err);
        CHECK(ufi_net_variable_count(net) > 0);
        for (size_t i = 0; i < ufi_net_variable_count(net); i++)
            if (ufi_net_variables(net)[i].grad)
                check_variable(net, &ufi_net_variables(net)[i], count, what, &m->err);
        for (uint32_t i = 0; i < m->g.node_count; i++)
            compared[m->g.nodes[i].op] = true;
    }
    ufi_net_destroy(net);
    ufi_graph_free(&m->g);
}

static void finish(maker *m, uint32_t y, const char *what)
{
    check_net(m, &y, 1, what);
}

/* ---- products ---- */

TEST(convolutions)
{
    static const conv_case cases[] = {
        {2, 4, 6, 5, 6, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, true, false},
        {2, 4, 7, 6, 6, 3, 3, 2, 1, 1, 2, UFI_ACT_RELU, false, false},
        {2, 4, 7, 6, 4, 3, 3, 2, 1, 1, 4, UFI_ACT_CLAMP, true, false},
        {2, 4, 6, 6, 4, 3, 3, 1, 1, 1, 4, UFI_ACT_PRELU, true, false},
        {2, 4, 6, 6, 8, 2, 3, 1, 1, 0, 4, UFI_ACT_LEAKY, true, false},
        {2, 4, 7, 7, 5, 3, 3, 1, 2, 2, 1, UFI_ACT_HARD_SWISH, true, false},
        {2, 4, 5, 5, 4, 1, 1, 1, 1, 0, 1, UFI_ACT_SILU, true, true},
        {2, 4, 5, 5, 4, 3, 3, 1, 1, 1, 4, UFI_ACT_SIGMOID, true, true},
        {2, 4, 5, 5, 4, 5, 5, 1, 1, 0, 4, UFI_ACT_NONE, false, false},
        {2, 4, 5, 5, 4, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, true, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        maker m;
        char what[40];
        snprintf(what, sizeof what, "convolution %zu", i);
        uint32_t x = start(&m, 10 + i, cases[i].in_c, cases[i].h, cases[i].w);
        finish(&m, add_conv(&m, x, &cases[i], cases[i].residual ? x : UFI_NONE), what);
    }
}

TEST(matrix_products)
{
    for (int i = 0; i < 5; i++) {
        maker m;
        ufi_node *n;
        uint32_t x = start(&m, 30 + (uint64_t)i, 4, 2, 3);
        uint32_t in[3] = {add_node(&m, UFI_OP_FLATTEN, &x, 1, NULL), 0, UFI_NONE};
        const int64_t by_rows = i % 2, act = i == 2 ? UFI_ACT_LEAKY : UFI_ACT_NONE;
        in[1] =
            add_weights(&m, by_rows ? shape_of(2, 5, 24, 0, 0) : shape_of(2, 24, 5, 0, 0), 0.3f);
        if (i > 0 && i < 4)
            in[2] = add_weights(&m, i == 3 ? shape_of(2, 2, 5, 0, 0) : shape_of(1, 5, 0, 0, 0), 1);
        uint32_t y = add_node(&m, i == 4 ? UFI_OP_MATMUL : UFI_OP_GEMM, in, i == 4 ? 2 : 3, &n);
        if (i == 4)
            m.g.nodes[m.g.node_count - 1].in[1] = add_weights(&m, shape_of(2, 24, 5, 0, 0), 0.3f);
        if (i < 4) {
            set_ints(&m, n, UFI_ATTR_TRANS_B, &by_rows, 1);
            set_ints(&m, n, UFI_ATTR_ACT, &act, 1);
            set_float(&m, n, UFI_ATTR_ALPHA, i == 1 ? 0.5f : 1);
        }
        char what[40];
        snprintf(what, sizeof what, "matrix product %d", i);
        finish(&m, y, what);
    }
}

/* ---- per channel ---- */

TEST(activations_alone_and_behind_scales)
{
    static const ufi_op ops[] = {UFI_OP_RELU,    UFI_OP_CLIP,         UFI_OP_PRELU,
                                 UFI_OP_SIGMOID, UFI_OP_HARD_SIGMOID, UFI_OP_HARD_SWISH,
                                 UFI_OP_SILU,    UFI_OP_TANH,         UFI_OP_LEAKY_RELU};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        for (int form = 0; form < 3; form++) {
            maker m;
            char what[60];
            snprintf(what, sizeof what, "%s, form %d", ufi_op_name(ops[i]), form);
            uint32_t x = start(&m, 50 + i, 5, 4, 3);
            if (form > 0)
                x = add_affine(&m, x, 5, form == 2);
            finish(&m, add_activation(&m, ops[i], x, 5), what);
        }
}

TEST(batch_normalisation_between_convolutions)
{
    maker m;
    const conv_case c = {2, 4, 5, 5, 4, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, false, false};
    uint32_t x = start(&m, 70, 4, 5, 5);
    x = add_affine(&m, x, 4, true);
    uint32_t y = add_conv(&m, add_activation(&m, UFI_OP_PRELU, x, 4), &c, UFI_NONE);
    const uint32_t in[2] = {add_affine(&m, y, 4, true), x};
    finish(&m, add_node(&m, UFI_OP_ADD, in, 2, NULL), "a block with a residual");
}

/* ---- two operands ---- */

TEST(broadcasting)
{
    static const ufi_op ops[] = {UFI_OP_ADD, UFI_OP_SUB, UFI_OP_MUL, UFI_OP_DIV};
    for (size_t i = 0; i < 4; i++)
        for (int form = 0; form < 7; form++) {
            maker m;
            char what[60];
            snprintf(what, sizeof what, "%s, form %d", ufi_op_name(ops[i]), form);
            uint32_t x = start(&m, 80 + i, 4, 3, 5), in[2] = {x, x};
            uint32_t gate = add_node(&m, UFI_OP_GLOBAL_AVERAGE_POOL, &x, 1, NULL);
            gate = add_affine(&m, gate, 4, false);
            gate = add_node(&m, UFI_OP_SIGMOID, &gate, 1, NULL); /* never near 0 */
            uint32_t whole = add_node(&m, UFI_OP_SIGMOID, &x, 1, NULL);
            in[1] = form == 0 ? whole : gate;
            if (form == 2) {
                in[0] = gate;
                in[1] = whole;
            }
            const float spread = ops[i] == UFI_OP_DIV ? 0 : 1;
            if (form >= 3) {
                const ufi_shape shapes[] = {shape_of(3, 4, 1, 1, 0), shape_of(1, 5, 0, 0, 0),
                                            shape_of(0, 0, 0, 0, 0), shape_of(2, 3, 1, 0, 0)};
                in[1] = add_weights(&m, shapes[form - 3], 1);
                float *w = (float *)(uintptr_t)m.g.values[in[1]].data;
                for (int64_t k = 0; k < ufi_shape_count(&shapes[form - 3]); k++)
                    w[k] = w[k] * 0.3f * (1 + spread) + 1.5f;
            }
            finish(&m, add_node(&m, ops[i], in, 2, NULL), what);
        }
}

/* ---- windows and lanes ---- */

TEST(pools)
{
    static const struct {
        ufi_op op;
        int64_t kernel[2], stride[2], pads[4], all;
    } cases[] = {
        {UFI_OP_MAX_POOL, {2, 2}, {2, 2}, {0, 0, 0, 0}, 0},
        {UFI_OP_MAX_POOL, {3, 3}, {2, 2}, {1, 1, 1, 1}, 0},
        {UFI_OP_AVERAGE_POOL, {2, 3}, {1, 2}, {0, 1, 0, 1}, 0},
        {UFI_OP_AVERAGE_POOL, {3, 3}, {2, 2}, {1, 1, 1, 1}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        maker m;
        ufi_node *n;
        uint32_t x = start(&m, 90 + i, 3, 6, 5);
        uint32_t y = add_node(&m, cases[i].op, &x, 1, &n);
        set_ints(&m, n, UFI_ATTR_KERNEL_SHAPE, cases[i].kernel, 2);
        set_ints(&m, n, UFI_ATTR_STRIDES, cases[i].stride, 2);
        set_ints(&m, n, UFI_ATTR_PADS, cases[i].pads, 4);
        set_ints(&m, n, UFI_ATTR_COUNT_INCLUDE_PAD, &cases[i].all, 1);
        finish(&m, y, "pool");
    }
}

TEST(means_over_the_plane)
{
    for (int64_t keep = 0; keep < 2; keep++) {
        maker m;
        ufi_node *n;
        const int64_t axes[2] = {2, -1};
        uint32_t x = start(&m, 95, 3, 4, 5);
        const uint32_t in[2] = {x, add_ints(&m, axes, 2)};
        uint32_t y = add_node(&m, UFI_OP_REDUCE_MEAN, in, 2, &n);
        set_ints(&m, n, UFI_ATTR_KEEPDIMS, &keep, 1);
        finish(&m, y, "ReduceMean");
    }
}

TEST(enlarging)
{
    maker m;
    ufi_node *n;
    uint32_t x = start(&m, 97, 3, 4, 2);
    uint32_t scales = add_weights(&m, shape_of(1, 4, 0, 0, 0), 0);
    float *s = (float *)(uintptr_t)m.g.values[scales].data;
    s[0] = s[1] = 1;
    s[2] = 2;
    s[3] = 3;
    const uint32_t in[3] = {x, UFI_NONE, scales};
    uint32_t y = add_node(&m, UFI_OP_RESIZE, in, 3, &n);
    if (!m.st)
        m.st = ufi_node_set_string(&m.g, n, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "asymmetric",
                                   10, &m.err);
    if (!m.st)
        m.st = ufi_node_set_string(&m.g, n, UFI_ATTR_NEAREST_MODE, "floor", 5, &m.err);
    finish(&m, y, "Resize");
}

TEST(lanes)
{
    for (int i = 0; i < 4; i++) {
        maker m;
        ufi_node *n;
        const int64_t axis = i % 2 ? 1 : -1, p = i < 3 ? 2 : 1;
        uint32_t x = start(&m, 100 + (uint64_t)i, 5, 2, 3);
        uint32_t y = add_node(&m, i < 2 ? UFI_OP_SOFTMAX : UFI_OP_LP_NORM, &x, 1, &n);
        set_ints(&m, n, UFI_ATTR_AXIS, &axis, 1);
        if (i >= 2)
            set_ints(&m, n, UFI_ATTR_P, &p, 1);
        finish(&m, y, i < 2 ? "Softmax" : "LpNormalization");
    }
}

/* ---- moves ---- */

TEST(reshapes_and_transpositions)
{
    maker m;
    ufi_node *n;
    const int64_t perm[4] = {0, 2, 3, 1}, target[3] = {0, -1, 4}, axes[1] = {3};
    uint32_t x = start(&m, 110, 4, 3, 5);
    uint32_t t = add_node(&m, UFI_OP_TRANSPOSE, &x, 1, &n);
    set_ints(&m, n, UFI_ATTR_PERM, perm, 4);
    const uint32_t in[2] = {t, add_ints(&m, target, 3)};
    uint32_t r = add_node(&m, UFI_OP_RESHAPE, in, 2, NULL);
    uint32_t y[3] = {add_node(&m, UFI_OP_SIGMOID, &r, 1, NULL),
                     add_node(&m, UFI_OP_FLATTEN, &x, 1, NULL), 0};
    const uint32_t up[2] = {r, add_ints(&m, axes, 1)};
    y[2] = add_node(&m, UFI_OP_UNSQUEEZE, up, 2, NULL);
    y[2] = add_node(&m, UFI_OP_IDENTITY, &y[2], 1, NULL);
    const uint32_t down[2] = {y[2], add_ints(&m, axes, 1)};
    y[2] = add_node(&m, UFI_OP_SQUEEZE, down, 2, NULL);
    check_net(&m, y, 3, "moves");
}

TEST(parts_and_joins)
{
    maker m;
    ufi_node *n;
    const int64_t sizes[3] = {1, 2, 3}, one = 1;
    const int64_t starts[2] = {1, -1}, ends[2] = {3, -4}, axes[2] = {2, 3}, steps[2] = {1, -2};
    uint32_t x = start(&m, 120, 6, 4, 3), out[3] = {0}, index = 0;
    const uint32_t in[2] = {x, add_ints(&m, sizes, 3)};
    for (int i = 0; !m.st && i < 3; i++)
        m.st = ufi_graph_add_value(&m.g, "part", UF_DTYPE_NONE, NULL, &out[i], &m.err);
    if (!m.st)
        m.st = ufi_graph_add_node(&m.g, UFI_OP_SPLIT, "split", in, 2, out, 3, &index, &m.err);
    if (!m.st)
        set_ints(&m, &m.g.nodes[index], UFI_ATTR_AXIS, &one, 1);
    const uint32_t cut[5] = {out[2], add_ints(&m, starts, 2), add_ints(&m, ends, 2),
                             add_ints(&m, axes, 2), add_ints(&m, steps, 2)};
    const uint32_t join[3] = {out[1], x, out[1]}; /* part 0 nobody reads */
    uint32_t y[2] = {add_node(&m, UFI_OP_CONCAT, join, 3, &n),
                     add_node(&m, UFI_OP_SLICE, cut, 5, NULL)};
    for (uint32_t i = 0; !m.st && i < m.g.node_count; i++)
        if (m.g.nodes[i].op == UFI_OP_CONCAT)
            set_ints(&m, &m.g.nodes[i], UFI_ATTR_AXIS, &one, 1);
    check_net(&m, y, 2, "parts");
}

TEST(pads)
{
    maker m;
    const int64_t pads[8] = {0, 1, 2, 0, 0, 0, 1, 1};
    uint32_t x = start(&m, 130, 3, 3, 2);
    const uint32_t in[2] = {x, add_ints(&m, pads, 8)};
    finish(&m, add_node(&m, UFI_OP_PAD, in, 2, NULL), "Pad");
}

/* ---- the whole ---- */

TEST(a_weight_that_two_nodes_read_is_one_variable)
{
    maker m;
    uf_error err = {0};
    uint32_t x = start(&m, 140, 3, 4, 4);
    const conv_case c = {2, 3, 4, 4, 3, 3, 3, 1, 1, 1, 1, UFI_ACT_NONE, true, false};
    uint32_t a = add_conv(&m, x, &c, UFI_NONE);
    REQUIRE_OK(m.st, m.err);
    const ufi_node first = m.g.nodes[m.g.node_count - 1];
    uint32_t in[5] = {a, first.in[1], first.in[2], UFI_NONE, UFI_NONE};
    ufi_node *n;
    uint32_t y = add_node(&m, UFI_OP_CONV, in, 5, &n);
    set_conv_attributes(&m, n, &c);
    ufi_net *net = NULL;
    REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &err), err);
    REQUIRE_OK(ufi_graph_infer(&m.g, 0, &err), err);
    REQUIRE_OK(ufi_net_create(&net, &m.g, &plain, &err), err);
    CHECK(ufi_net_variable_count(net) == 4);
    ufi_net_destroy(net);
    finish(&m, y, "shared weights");
}

TEST(a_small_network)
{
    maker m;
    uint32_t y;
    small_network(&m, &y);
    finish(&m, y, "a small network");
}

TEST(the_same_bits_twice)
{
    for (int bf16 = 0; bf16 < (ufi_dnnl_has_bf16() ? 2 : 1); bf16++) {
        maker m;
        uint32_t y;
        uf_error err = {0};
        ufi_net *a = NULL, *b = NULL;
        const ufi_net_options o = {4, 2, bf16, 0.1f};
        small_network(&m, &y);
        REQUIRE_OK(m.st, m.err);
        REQUIRE_OK(ufi_net_create(&a, &m.g, &o, &err), err);
        REQUIRE_OK(ufi_net_create(&b, &m.g, &o, &err), err);
        for (int i = 0; i < 2; i++) {
            ufi_net *net = i ? b : a;
            uint64_t seed = 5;
            for (size_t k = 0; k < (size_t)4 * 3 * 8 * 8; k++)
                ufi_net_input(net)[k] = test_random_float(&seed);
            REQUIRE_OK(run_both_ways(net, 1, &err), err);
        }
        CHECK(!memcmp(ufi_net_output(a, 0, NULL), ufi_net_output(b, 0, NULL), 4 * 8 * 4));
        for (size_t i = 0; i < ufi_net_variable_count(a); i++) {
            const ufi_variable *v = &ufi_net_variables(a)[i], *w = &ufi_net_variables(b)[i];
            CHECK(!memcmp(v->data, w->data, v->count * 4));
            CHECK(!v->grad || !memcmp(v->grad, w->grad, v->count * 4));
        }
        ufi_net_destroy(a);
        ufi_net_destroy(b);
        ufi_graph_free(&m.g);
    }
}

/* The cosine between two lists of numbers. */
static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 1e-30, bb = 1e-30;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

TEST(bf16_without_avx512_says_so)
{
    maker m;
    uint32_t y;
    uf_error err = {0};
    ufi_net *net = NULL;
    const ufi_net_options o = {2, 1, true, 0.1f};
    if (ufi_dnnl_has_bf16())
        SKIP("this processor has AVX-512");
    small_network(&m, &y);
    REQUIRE_OK(m.st, m.err);
    CHECK(ufi_net_create(&net, &m.g, &o, &err) == UF_E_UNSUPPORTED);
    CHECK_MSG(strstr(err.message, "train in FP32") != NULL, "%s", err.message);
    ufi_graph_free(&m.g);
}

TEST(bf16_is_close_to_fp32)
{
    if (!ufi_dnnl_has_bf16())
        SKIP("this processor has no AVX-512");
    maker m;
    uint32_t y;
    uf_error err = {0};
    ufi_net *nets[2] = {NULL};
    small_network(&m, &y);
    REQUIRE_OK(m.st, m.err);
    for (int i = 0; i < 2; i++) {
        const ufi_net_options o = {2, 1, i == 1, 0.1f};
        REQUIRE_OK(ufi_net_create(&nets[i], &m.g, &o, &err), err);
        fill_input(nets[i], &m.g, 9);
        REQUIRE_OK(run_both_ways(nets[i], 1, &err), err);
    }
    double off = difference(ufi_net_output(nets[1], 0, NULL), ufi_net_output(nets[0], 0, NULL), 16);
    CHECK_MSG(off < 0.05, "the output is off by %g", off);
    for (size_t i = 0; i < ufi_net_variable_count(nets[0]); i++) {
        const ufi_variable *v = &ufi_net_variables(nets[0])[i], *w = &ufi_net_variables(nets[1])[i];
        if (!v->grad || i == 1) /* a shift before a normalisation changes nothing */
            continue;
        double like = cosine(v->grad, w->grad, v->count);
        CHECK_MSG(like > 0.9, "gradient %zu (%s) has cosine %g", i, v->name, like);
    }
    ufi_net_destroy(nets[0]);
    ufi_net_destroy(nets[1]);
    ufi_graph_free(&m.g);
}

TEST(a_pass_allocates_nothing)
{
    maker m;
    uint32_t y;
    uf_error err = {0};
    ufi_net *net = NULL;
    small_network(&m, &y);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_net_create(&net, &m.g, &plain, &err), err);
    CHECK(ufi_net_bytes(net) > 0);
    uint64_t allocations = ufi_mem_allocation_count();
    REQUIRE_OK(run_both_ways(net, 1, &err), err);
    CHECK(ufi_mem_allocation_count() == allocations);
    ufi_net_destroy(net);
    ufi_graph_free(&m.g);
}

TEST(what_cannot_be_trained_is_named)
{
    maker m;
    uf_error err = {0};
    ufi_net *net = NULL;
    uint32_t x = start(&m, 180, 3, 4, 4), y = add_node(&m, UFI_OP_FLOOR, &x, 1, NULL);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &err), err);
    REQUIRE_OK(ufi_graph_infer(&m.g, 0, &err), err);
    CHECK(ufi_net_create(&net, &m.g, &plain, &err) == UF_E_UNSUPPORTED && !net);
    CHECK(strstr(err.message, "Floor node \"Floor\"") && strstr(err.message, "no gradient"));
    const ufi_net_options none = {0, 1, false, 0.1f};
    CHECK(ufi_net_create(&net, &m.g, &none, &err) == UF_E_ARG);
    ufi_graph_free(&m.g);
}

/* Behind products that are too large to be folded, constants may reach any operator. */
TEST(constants_in_place_of_data_are_refused)
{
    maker m;
    uf_error err = {0};
    ufi_net *net = NULL;
    const conv_case c = {2, 3, 4, 4, 3, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, true};
    uint32_t x = start(&m, 190, 3, 4, 4);
    uint32_t y = add_conv(&m, x, &c, add_weights(&m, shape_of(4, 2, 3, 4, 4), 1));
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &err), err);
    REQUIRE_OK(ufi_graph_infer(&m.g, 0, &err), err);
    CHECK(ufi_net_create(&net, &m.g, &plain, &err) == UF_E_UNSUPPORTED && !net &&
          strstr(err.message, "residual is a constant"));
    ufi_graph_free(&m.g);
}

TEST(no_memory_is_an_error)
{
    maker m;
    uint32_t y;
    uf_error err = {0};
    ufi_net *net = NULL;
    small_network(&m, &y);
    REQUIRE_OK(m.st, m.err);
    uf_status st = UF_E_NOMEM;
    for (uint64_t k = 1; st; k++) {
        REQUIRE(k < 5000);
        ufi_mem_fail_after(k, true);
        st = ufi_net_create(&net, &m.g, &plain, &err);
        ufi_mem_fail_after(0, false);
        CHECK(st == UF_OK || (st == UF_E_NOMEM && !net));
    }
    ufi_net_destroy(net);
    ufi_graph_free(&m.g);
}

/* Of the tests above. What rounds has no differences to compare with (train_quant_test.c). */
TEST(every_gradient_was_compared)
{
    if (!compared[UFI_OP_CONV])
        SKIP("the tests that compare were left out");
    compared[UFI_OP_QUANTIZE_LINEAR] = compared[UFI_OP_DEQUANTIZE_LINEAR] = true;
    compared[UFI_OP_QCONV] = compared[UFI_OP_QLINEAR_ADD] = true;
    for (ufi_op op = 0; op < UFI_OP_COUNT; op++)
        CHECK_MSG(compared[op] || !ufi_net_has_gradient(op), "%s was not", ufi_op_name(op));
}

TEST_MAIN
