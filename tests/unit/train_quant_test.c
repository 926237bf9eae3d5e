/*
 * INT8 networks under training: what the net computes against what the runtime computes of the same
 * graph, before and after learning; gradients of the quantisers against the formulas of LSQ.
 */
#include "graph_maker.h"
#include "optimize/half.h"
#include "optimize/quantize.h"
#include "train/net.h"

enum { BATCH = 2, SIDE = 12, OUTPUTS = 5, RUNS = 8 };

/* ---- a network with everything that works on bytes ---- */

static const char *const output_names[OUTPUTS] = {"stem", "sum", "depthwise", "pooled", "vector"};

static void make_source(maker *m)
{
    static const conv_case stem = {1, 3, SIDE, SIDE,          8,    3,    3, 1,
                                   1, 1, 1,    UFI_ACT_PRELU, true, false};
    static const conv_case wide = {1, 8, SIDE, SIDE,          8,    1,   1, 1,
                                   1, 0, 1,    UFI_ACT_CLAMP, true, true};
    static const conv_case each = {1, 8, SIDE, SIDE,         8,    3,    3, 2,
                                   1, 1, 8,    UFI_ACT_RELU, true, false};
    static const conv_case last = {1,    8,    3, 3, 8, 3, 3, 1, 1, 1, 1, UFI_ACT_HARD_SWISH,
                                   true, false};
    const int64_t two[2] = {2, 2}, by_rows = 1;
    ufi_node *n;
    maker_init(m, 7);
    const uint32_t x = add_input(m, shape_of(4, 1, 3, SIDE, SIDE));
    uint32_t y[OUTPUTS], pair[2], gemm[3];
    y[0] = pair[0] = add_conv(m, x, &stem, UFI_NONE);
    pair[1] = add_conv(m, y[0], &wide, y[0]);
    y[1] = add_node(m, UFI_OP_ADD, pair, 2, NULL);
    y[2] = add_conv(m, y[1], &each, UFI_NONE);
    y[3] = add_node(m, UFI_OP_MAX_POOL, &y[2], 1, &n);
    set_ints(m, n, UFI_ATTR_KERNEL_SHAPE, two, 2);
    set_ints(m, n, UFI_ATTR_STRIDES, two, 2);
    const uint32_t image = add_conv(m, y[3], &last, UFI_NONE);
    gemm[0] = add_node(m, UFI_OP_FLATTEN, &image, 1, NULL);
    gemm[1] = add_weights(m, shape_of(2, 6, 72, 0, 0), 0.2f);
    gemm[2] = add_weights(m, shape_of(1, 6, 0, 0, 0), 1);
    y[4] = add_node(m, UFI_OP_GEMM, gemm, 3, &n);
    set_ints(m, n, UFI_ATTR_TRANS_B, &by_rows, 1);
    if (!m->st)
        m->st = ufi_graph_set_io(&m->g, m->inputs, 1, y, OUTPUTS, &m->err);
    if (!m->st)
        m->st = ufi_graph_infer(&m->g, 0, &m->err);
    REQUIRE_OK(m->st, m->err);
}

static void fill(float *x, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++)
        x[i] = test_random_float(&seed);
}

/* `g` in bytes but for the nodes `keep` (or NULL); ranges are those of a few inputs. */
static void to_bytes_but(ufi_graph *out, const ufi_graph *g, const bool *keep, uf_error *err)
{
    ufi_observer *o = NULL;
    ufi_context *c = NULL;
    const ufi_shape *shape = &g->values[g->inputs[0]].shape;
    const ufi_quantize_options how = {
        .method = UFI_RANGE_MINMAX, .correct_bias = true, .keep_float = keep};
    REQUIRE_OK(ufi_observer_create(&o, g, err), *err);
    REQUIRE_OK(ufi_context_create(&c, ufi_observer_program(o), 1, err), *err);
    REQUIRE_OK(ufi_context_prepare(c, shape, 1, UFI_NHWC, err), *err);
    for (uint64_t r = 0; r < RUNS; r++) {
        fill(ufi_context_input(c, 0)->data, (size_t)ufi_shape_count(shape), 100 + r);
        REQUIRE_OK(ufi_context_run(c, err), *err);
        ufi_observer_take(o, c);
    }
    REQUIRE_OK(ufi_quantize_graph(out, g, o, &how, err), *err);
    ufi_context_destroy(c);
    ufi_observer_destroy(o);
}

static void to_bytes(ufi_graph *out, const ufi_graph *g, uf_error *err)
{
    to_bytes_but(out, g, NULL, err);
}

static ufi_net *open_net(const ufi_graph *g, uf_error *err)
{
    const ufi_net_options options = {BATCH, 2, false, 0.1f};
    ufi_net *net = NULL;
    CHECK_OK(ufi_net_create(&net, g, &options, err), *err);
    if (!net)
        exit(1); /* nothing below makes sense */
    const ufi_shape *x = &g->values[g->inputs[0]].shape;
    fill(ufi_net_input(net), BATCH * (size_t)ufi_shape_count(x) / (size_t)x->dims[0], 100);
    return net;
}

/* Outputs of the net and of the runtime on the same batch. Sums are whole numbers and the same;
 * what follows them is rounded to FP32 in another order, so a few numbers in a thousand, those next
 * to the middle of two steps, may differ by that step - and by two where an addition has both. */
static void compare_forward(ufi_net *net, const ufi_graph *g, const char *when)
{
    uf_error err;
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    ufi_shape shape = g->values[g->inputs[0]].shape;
    shape.dims[0] = BATCH;
    REQUIRE_OK(ufi_net_forward(net, &err), err);
    REQUIRE_OK(ufi_program_create(&p, g, "CPU", &err), err);
    REQUIRE_OK(ufi_context_create(&c, p, 1, &err), err);
    REQUIRE_OK(ufi_context_prepare(c, &shape, 1, UFI_NHWC, &err), err);
    memcpy(ufi_context_input(c, 0)->data, ufi_net_input(net),
           (size_t)ufi_shape_count(&shape) * sizeof(float));
    REQUIRE_OK(ufi_context_run(c, &err), err);
    for (uint32_t o = 0; o < OUTPUTS; o++) {
        ufi_shape s;
        const float *got = ufi_net_output(net, o, &s), *want = ufi_context_output(c, o)->data;
        const size_t count = (size_t)ufi_shape_count(&s);
        float step = INFINITY, most = 0;
        size_t off = 0;
        for (size_t i = 0; i < count; i++) {
            step = want[i] > 0 || want[i] < 0 ? fminf(step, fabsf(want[i])) : step;
            most = fmaxf(most, fabsf(want[i]));
        }
        for (size_t i = 0; i < count; i++) {
            const float d = fabsf(got[i] - want[i]);
            if (o == OUTPUTS - 1) {
                CHECK_MSG(d < 0.01f * most, "%s, vector: %g, not %g", when, (double)got[i],
                          (double)want[i]);
                continue;
            }
            off += d > 0.01f * step;
            CHECK_MSG(d < 2.01f * step, "%s, %s: %g is %g steps away", when, output_names[o],
                      (double)got[i], (double)(d / step));
        }
        CHECK_MSG(off <= 1 + count / 200, "%s, %s: %zu of %zu differ", when, output_names[o], off,
                  count);
    }
    ufi_context_destroy(c);
    ufi_program_destroy(p);
}

TEST(the_graph_that_is_trained_is_the_graph_that_runs)
{
    maker m;
    ufi_graph bytes, learned;
    make_source(&m);
    to_bytes(&bytes, &m.g, &m.err);
    ufi_net *net = open_net(&bytes, &m.err);
    compare_forward(net, &bytes, "as quantised");
    REQUIRE_OK(ufi_net_store(net, NULL, &learned, &m.err), m.err);
    compare_forward(net, &learned, "stored as it was");
    ufi_graph_free(&learned);
    uint64_t seed = 3;
    for (size_t v = 0; v < ufi_net_variable_count(net); v++)
        for (size_t i = 0; i < ufi_net_variables(net)[v].count; i++)
            ufi_net_variables(net)[v].data[i] += 0.05f * test_random_float(&seed);
    REQUIRE_OK(ufi_net_store(net, NULL, &learned, &m.err), m.err);
    compare_forward(net, &learned, "after learning");
    ufi_graph_free(&learned);
    ufi_net_destroy(net);
    ufi_graph_free(&bytes);
    ufi_graph_free(&m.g);
}

/* Layers that stay in FP32 are stored as a search stores them, with weights in 16 bits. They learn
 * like all others, and what they learned is in the graph that is written. */
TEST(layers_left_in_fp32_learn_too)
{
    maker m;
    ufi_graph bytes, learned;
    make_source(&m);
    bool *keep = calloc(m.g.node_count, sizeof *keep);
    REQUIRE(keep);
    for (uint32_t i = 0, seen = 0; i < m.g.node_count; i++)
        keep[i] = m.g.nodes[i].op == UFI_OP_GEMM || (m.g.nodes[i].op == UFI_OP_CONV && ++seen == 2);
    to_bytes_but(&bytes, &m.g, keep, &m.err);
    REQUIRE_OK(ufi_store_weights_half(&bytes, &m.err), m.err);
    ufi_net *net = open_net(&bytes, &m.err);
    compare_forward(net, &bytes, "as quantised");
    uint64_t seed = 3;
    for (size_t v = 0; v < ufi_net_variable_count(net); v++)
        for (size_t i = 0; i < ufi_net_variables(net)[v].count; i++)
            ufi_net_variables(net)[v].data[i] += 0.05f * test_random_float(&seed);
    REQUIRE_OK(ufi_net_store(net, NULL, &learned, &m.err), m.err);
    compare_forward(net, &learned, "after learning");
    ufi_graph_free(&learned);
    ufi_net_destroy(net);
    free(keep);
    ufi_graph_free(&bytes);
    ufi_graph_free(&m.g);
}

TEST(nothing_is_lost_by_storing)
{
    maker m;
    ufi_graph bytes, stored;
    make_source(&m);
    to_bytes(&bytes, &m.g, &m.err);
    ufi_net *net = open_net(&bytes, &m.err);
    REQUIRE_OK(ufi_net_store(net, NULL, &stored, &m.err), m.err);
    for (uint32_t i = 0; i < bytes.node_count; i++)
        for (uint32_t k = 0; k < bytes.nodes[i].in_count; k++) {
            if (!ufi_node_has(&bytes.nodes[i], k))
                continue;
            const ufi_value *a = &bytes.values[bytes.nodes[i].in[k]];
            const ufi_value *b = &stored.values[stored.nodes[i].in[k]];
            if (!a->data)
                continue;
            const ufi_tensor all = {a->dtype, UFI_PLAIN, a->shape, NULL};
            CHECK_MSG(a->dtype == b->dtype && ufi_shape_equal(&a->shape, &b->shape) &&
                          !memcmp(a->data, b->data, ufi_tensor_bytes(&all)),
                      "input %u of node %s changed", k, bytes.nodes[i].name);
        }
    ufi_graph_free(&stored);
    ufi_net_destroy(net);
    ufi_graph_free(&bytes);
    ufi_graph_free(&m.g);
}

/* ---- gradients ---- */

enum { IN = 3, FILTERS = 4, PIXELS = BATCH * SIDE * SIDE };

/* One convolution of one pixel, bytes in and out, in plain formulas: every quantiser's output is
 * real, every gradient that of FakeQuant behind it. */
typedef struct plain_layer {
    float x_scale, y_scale, scales[FILTERS], bias[FILTERS], w[FILTERS][IN];
    float x_zero, y_zero;
    double d_x, d_y, d_scales[FILTERS], d_bias[FILTERS], d_w[FILTERS][IN];
} plain_layer;

static double fake(double v, double scale, double low, double high, bool *inside)
{
    const double q = rint(v / scale);
    *inside = q >= low && q <= high;
    return scale * fmin(fmax(q, low), high);
}

static void add_plain(plain_layer *l, const float *x, const float *dy)
{
    for (size_t p = 0; p < PIXELS; p++)
        for (int f = 0; f < FILTERS; f++) {
            double v = (double)l->bias[f], xq[IN], wq[IN];
            bool x_in[IN], w_in[IN], y_in;
            for (int i = 0; i < IN; i++) {
                xq[i] = fake((double)x[p * IN + (size_t)i], (double)l->x_scale, -(double)l->x_zero,
                             255 - (double)l->x_zero, &x_in[i]);
                wq[i] = fake((double)l->w[f][i], (double)l->scales[f], -127, 127, &w_in[i]);
                v += xq[i] * wq[i];
            }
            const double g = (double)dy[p * FILTERS + (size_t)f];
            const double y =
                fake(v, (double)l->y_scale, -(double)l->y_zero, 255 - (double)l->y_zero, &y_in);
            const double gv = y_in ? g : 0;
            l->d_y += g * (y - (y_in ? v : 0));
            l->d_bias[f] += gv;
            for (int i = 0; i < IN; i++) {
                const double at = (double)x[p * IN + (size_t)i];
                l->d_x += gv * wq[i] * (xq[i] - (x_in[i] ? at : 0));
                l->d_scales[f] += gv * xq[i] * (wq[i] - (w_in[i] ? (double)l->w[f][i] : 0));
                l->d_w[f][i] += w_in[i] ? gv * xq[i] : 0;
            }
        }
}

static float scalar_at(const ufi_graph *g, const ufi_node *n, uint32_t i)
{
    const ufi_value *v = &g->values[n->in[i]];
    return v->dtype == UF_U8 ? (float)*(const uint8_t *)v->data : *(const float *)v->data;
}

static const ufi_node *find_node(const ufi_graph *g, ufi_op op)
{
    for (uint32_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == op)
            return &g->nodes[i];
    return NULL;
}

static ufi_variable *variable_of(ufi_net *net, size_t *at, size_t count)
{
    while (*at < ufi_net_variable_count(net) && ufi_net_variables(net)[*at].count != count)
        (*at)++;
    CHECK(*at < ufi_net_variable_count(net));
    return &ufi_net_variables(net)[(*at)++];
}

static void near(double got, double want, double size, const char *what)
{
    CHECK_MSG(fabs(got - want) < 1e-4 * (1 + size), "d %s is %g, LSQ says %g", what, got, want);
}

TEST(gradients_of_fake_quant)
{
    static const conv_case c = {1, IN, SIDE, SIDE, FILTERS,      1,    1,
                                1, 1,  0,    1,    UFI_ACT_NONE, true, false};
    maker m;
    ufi_graph g;
    float dy[PIXELS * FILTERS], x[PIXELS * IN];
    plain_layer l = {0};
    maker_init(&m, 11);
    const uint32_t first =
        add_conv(&m, add_input(&m, shape_of(4, 1, IN, SIDE, SIDE)), &c, UFI_NONE);
    static const conv_case next = {1, FILTERS, SIDE, SIDE, FILTERS,      1,     1,
                                   1, 1,       0,    1,    UFI_ACT_NONE, false, false};
    const uint32_t outputs[2] = {first, add_conv(&m, first, &next, UFI_NONE)};
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, 1, outputs, 2, &m.err);
    if (!m.st)
        m.st = ufi_graph_infer(&m.g, 0, &m.err);
    REQUIRE_OK(m.st, m.err);
    to_bytes(&g, &m.g, &m.err);
    ufi_net *net = open_net(&g, &m.err);
    /* Inputs half as large again as those observed, so that some lie outside. */
    for (size_t i = 0; i < PIXELS * IN; i++)
        x[i] = ufi_net_input(net)[i] *= 1.5f;
    /* Weights that are no multiples of their scales, the first filter's partly outside. */
    size_t at = 0;
    ufi_variable *x_log = variable_of(net, &at, 1), *y_log = variable_of(net, &at, 1);
    ufi_variable *w = variable_of(net, &at, FILTERS * IN);
    ufi_variable *w_log = variable_of(net, &at, FILTERS), *bias = variable_of(net, &at, FILTERS);
    uint64_t seed = 5;
    for (size_t i = 0; i < w->count; i++)
        w->data[i] *= 1.02f + 0.004f * test_random_float(&seed);
    const ufi_node *q = find_node(&g, UFI_OP_QCONV);
    l.x_scale = scalar_at(&g, q, 2);
    l.x_zero = scalar_at(&g, q, 3);
    l.y_scale = scalar_at(&g, q, 10);
    l.y_zero = scalar_at(&g, q, 11);
    memcpy(l.scales, g.values[q->in[4]].data, sizeof l.scales);
    memcpy(l.bias, bias->data, sizeof l.bias);
    for (int f = 0; f < FILTERS; f++)
        for (int i = 0; i < IN; i++)
            l.w[f][i] = w->data[f * IN + i] * 127 * l.scales[f];
    REQUIRE_OK(ufi_net_forward(net, &m.err), m.err);
    const size_t plane = SIDE * SIDE;
    for (size_t i = 0; i < PIXELS * FILTERS; i++) {
        const size_t b = i / (FILTERS * plane), f = i / plane % FILTERS, p = i % plane;
        dy[(b * plane + p) * FILTERS + f] = ufi_net_output_grad(net, 0)[i] =
            test_random_float(&seed);
    }
    REQUIRE_OK(ufi_net_backward(net, &m.err), m.err);
    add_plain(&l, x, dy);
    near((double)x_log->grad[0], l.d_x, fabs(l.d_x), "ln x_scale");
    near((double)y_log->grad[0], l.d_y, fabs(l.d_y), "ln y_scale");
    for (int f = 0; f < FILTERS; f++) {
        near((double)w_log->grad[f], l.d_scales[f], fabs(l.d_scales[f]), "ln w_scale");
        near((double)bias->grad[f], l.d_bias[f], fabs(l.d_bias[f]), "bias");
        for (int i = 0; i < IN; i++)
            near((double)w->grad[f * IN + i] / (127 * (double)l.scales[f]), l.d_w[f][i],
                 fabs(l.d_w[f][i]), "w");
    }
    ufi_net_destroy(net);
    ufi_graph_free(&g);
    ufi_graph_free(&m.g);
}

TEST_MAIN
