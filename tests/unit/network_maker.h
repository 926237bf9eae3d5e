/* A small network for tests of quantisation: made, observed on random inputs, run. Include once per
 * test program. */
#ifndef UF_TESTS_NETWORK_MAKER_H
#define UF_TESTS_NETWORK_MAKER_H

#include "graph_maker.h"
#include "optimize/search.h"

static inline uint32_t count_op(const ufi_graph *g, ufi_op op)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < g->node_count; i++)
        count += g->nodes[i].op == op;
    return count;
}

static inline uint32_t quantized(maker *m, uint32_t x, uint32_t scale, uint32_t zero)
{
    const uint32_t in[3] = {x, scale, zero};
    return add_node(m, UFI_OP_QUANTIZE_LINEAR, in, 3, NULL);
}

enum { SIDE = 24 };

/* Convolutions of all kinds, a residual, pooling, enlargement and addition, perhaps a scaling of
 * channels, a fully connected layer. */
static inline void make_network(maker *m, bool scaled)
{
    const conv_case first = {1, 3, SIDE, SIDE, 24, 3, 3, 1, 1, 1, 1, UFI_ACT_PRELU, true, false};
    const conv_case depth = {1, 24, SIDE, SIDE, 24, 3, 3, 1, 1, 1, 24, UFI_ACT_RELU, true, false};
    const conv_case point = {1, 24, SIDE, SIDE, 24, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, true, true};
    ufi_node *n;
    maker_init(m, 77);
    uint32_t a = add_conv(m, add_input(m, shape_of(4, 1, 3, SIDE, SIDE)), &first, UFI_NONE);
    uint32_t b = add_conv(m, add_conv(m, a, &depth, UFI_NONE), &point, a);
    const int64_t two[2] = {2, 2};
    uint32_t pooled = add_node(m, UFI_OP_MAX_POOL, &b, 1, &n);
    set_ints(m, n, UFI_ATTR_KERNEL_SHAPE, two, 2);
    set_ints(m, n, UFI_ATTR_STRIDES, two, 2);
    const float scales[4] = {1, 1, 2, 2};
    const ufi_tensor t = {UF_F32, UFI_PLAIN, {1, {4}}, (void *)(uintptr_t)scales};
    uint32_t in[3] = {pooled, UFI_NONE, 0};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "scales", &t, true, &in[2], &m->err);
    uint32_t large = add_node(m, UFI_OP_RESIZE, in, 3, &n);
    if (!m->st)
        m->st = ufi_node_set_string(&m->g, n, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "asymmetric",
                                    10, &m->err);
    const uint32_t both[2] = {b, large};
    uint32_t sum = add_node(m, UFI_OP_ADD, both, 2, NULL);
    if (scaled) {
        const uint32_t scaling[3] = {sum, add_weights(m, shape_of(1, 24, 0, 0, 0), 2.0f),
                                     add_weights(m, shape_of(1, 24, 0, 0, 0), 0.5f)};
        sum = add_node(m, UFI_OP_AFFINE, scaling, 3, NULL);
    }
    const conv_case last = {1, 24, SIDE, SIDE, 8, 3, 3, 2, 1, 1, 1, UFI_ACT_RELU, true, false};
    uint32_t y = add_conv(m, sum, &last, UFI_NONE), flat = add_node(m, UFI_OP_FLATTEN, &y, 1, NULL);
    const uint32_t gemm[3] = {flat,
                              add_weights(m, shape_of(2, 32, 8 * SIDE * SIDE / 4, 0, 0), 0.05f),
                              add_weights(m, shape_of(1, 32, 0, 0, 0), 0.1f)};
    const int64_t one = 1;
    uint32_t out = add_node(m, UFI_OP_GEMM, gemm, 3, &n);
    set_ints(m, n, UFI_ATTR_TRANS_B, &one, 1);
    if (!m->st)
        m->st = ufi_graph_set_io(&m->g, m->inputs, 1, &out, 1, &m->err);
    if (!m->st)
        m->st = ufi_graph_infer(&m->g, 0, &m->err);
    CHECK_MSG(m->st == UF_OK, "%s", m->err.message);
}

static inline void run_graph(const ufi_graph *g, uint64_t seed, float out[32])
{
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    uf_error err;
    const ufi_shape s = {4, {1, 3, SIDE, SIDE}};
    REQUIRE_OK(ufi_program_create(&p, g, "CPU", &err), err);
    REQUIRE_OK(ufi_context_create(&c, p, 1, &err), err);
    REQUIRE_OK(ufi_context_prepare(c, &s, 1, UFI_PLAIN, &err), err);
    float *x = ufi_context_input(c, 0)->data;
    for (int i = 0; i < 3 * SIDE * SIDE; i++)
        x[i] = test_random_float(&seed);
    REQUIRE_OK(ufi_context_run(c, &err), err);
    memcpy(out, ufi_context_output(c, 0)->data, 32 * sizeof *out);
    ufi_context_destroy(c);
    ufi_program_destroy(p);
}

static inline double cosine_of(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;
    for (int i = 0; i < 32; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

/* Observes `runs` random inputs, which are kept in `s`. */
static inline void observe(ufi_observer **o, ufi_samples *s, const ufi_graph *g, int runs)
{
    ufi_context *c = NULL;
    uf_error err;
    uint64_t seed = 5;
    const ufi_shape shape = {4, {1, 3, SIDE, SIDE}};
    REQUIRE_OK(ufi_observer_create(o, g, &err), err);
    REQUIRE_OK(ufi_context_create(&c, ufi_observer_program(*o), 1, &err), err);
    REQUIRE_OK(ufi_context_prepare(c, &shape, 1, UFI_NHWC, &err), err);
    for (int r = 0; r < runs; r++) {
        float *x = ufi_context_input(c, 0)->data;
        for (int i = 0; i < 3 * SIDE * SIDE; i++)
            x[i] = test_random_float(&seed);
        REQUIRE_OK(ufi_context_run(c, &err), err);
        ufi_observer_take(*o, c);
        REQUIRE_OK(ufi_samples_add(s, ufi_context_input(c, 0), &err), err);
    }
    ufi_context_destroy(c);
}

#endif
