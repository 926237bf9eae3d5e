/*
 * Small networks for the tests of training: their options, inputs and gradients.
 */
#ifndef UF_TESTS_NET_MAKER_H
#define UF_TESTS_NET_MAKER_H

#include "graph_maker.h"
#include "train/net.h"

static const ufi_net_options plain = {2, 2, false, 0.1f};

/* The weights of the loss, which is the sum of outputs times these. */
static inline float loss_weight(size_t i)
{
    return (float)((i * 2654435761u) % 2003) / 1001.0f - 1;
}

static inline uf_status run_both_ways(ufi_net *net, uint32_t outputs, uf_error *err)
{
    uf_status st = ufi_net_forward(net, err);
    for (uint32_t o = 0; o < outputs; o++) {
        ufi_shape s;
        ufi_net_output(net, o, &s);
        for (int64_t i = 0; i < ufi_shape_count(&s); i++)
            ufi_net_output_grad(net, o)[i] = loss_weight((size_t)i + 7 * o);
    }
    return st ? st : ufi_net_backward(net, err);
}

static inline size_t input_count(const ufi_graph *g)
{
    return (size_t)ufi_shape_count(&g->values[g->inputs[0]].shape);
}

static inline void fill_input(ufi_net *net, const ufi_graph *g, uint64_t seed)
{
    for (size_t i = 0; i < input_count(g); i++)
        ufi_net_input(net)[i] = test_random_float(&seed);
}

static inline bool has_norm(const ufi_graph *g)
{
    for (uint32_t i = 0; i < g->node_count; i++)
        if (ufi_node_attr(&g->nodes[i], UFI_ATTR_EPSILON))
            return true;
    return false;
}

/* An input behind a 1x1 convolution to `channels`, so that what follows must pass gradients on. */
static inline uint32_t start(maker *m, uint64_t seed, int channels, int height, int width)
{
    maker_init(m, seed);
    uint32_t x = add_input(m, shape_of(4, 2, 3, height, width));
    const conv_case c = {2, 3, height, width, channels,     1,    1,
                         1, 1, 0,      1,     UFI_ACT_NONE, true, false};
    return add_conv(m, x, &c, UFI_NONE);
}

static inline uint32_t add_affine(maker *m, uint32_t x, int channels, bool norm)
{
    ufi_node *n;
    const uint32_t in[3] = {x, add_weights(m, shape_of(1, channels, 0, 0, 0), 1),
                            add_weights(m, shape_of(1, channels, 0, 0, 0), 1)};
    uint32_t y = add_node(m, UFI_OP_AFFINE, in, 3, &n);
    if (norm)
        set_float(m, n, UFI_ATTR_EPSILON, 1e-3f);
    return y;
}

static inline uint32_t add_activation(maker *m, ufi_op op, uint32_t x, int channels)
{
    uint32_t in[3] = {x, UFI_NONE, UFI_NONE}, count = 1;
    const ufi_shape one = {0};
    const float low = -0.2f, high = 0.5f;
    if (op == UFI_OP_PRELU) {
        in[count++] = add_weights(m, shape_of(3, channels, 1, 1, 0), 0.5f);
    } else if (op == UFI_OP_CLIP && !m->st) {
        const ufi_tensor lo = {UF_F32, UFI_PLAIN, one, (void *)(uintptr_t)&low};
        const ufi_tensor hi = {UF_F32, UFI_PLAIN, one, (void *)(uintptr_t)&high};
        m->st = ufi_graph_add_constant(&m->g, "low", &lo, true, &in[count++], &m->err);
        if (!m->st)
            m->st = ufi_graph_add_constant(&m->g, "high", &hi, true, &in[count++], &m->err);
    }
    return add_node(m, op, in, count, NULL);
}

/* Two blocks of a MobileFaceNet of few channels; *y is its output. */
static inline void small_network(maker *m, uint32_t *y)
{
    const conv_case wide = {4, 8, 8, 8, 16, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false};
    const conv_case deep = {4, 16, 8, 8, 16, 3, 3, 1, 1, 1, 16, UFI_ACT_NONE, false, false};
    const conv_case narrow = {4, 16, 8, 8, 8, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false};
    uint32_t x = add_affine(m, start(m, 150, 8, 8, 8), 8, true);
    for (int i = 0; i < 2; i++) {
        uint32_t h = add_activation(m, UFI_OP_PRELU,
                                    add_affine(m, add_conv(m, x, &wide, UFI_NONE), 16, true), 16);
        h = add_activation(m, UFI_OP_RELU, add_affine(m, add_conv(m, h, &deep, UFI_NONE), 16, true),
                           16);
        const uint32_t in[2] = {x, add_affine(m, add_conv(m, h, &narrow, UFI_NONE), 8, true)};
        x = add_node(m, UFI_OP_ADD, in, 2, NULL);
    }
    *y = add_node(m, UFI_OP_GLOBAL_AVERAGE_POOL, &x, 1, NULL);
    *y = add_node(m, UFI_OP_FLATTEN, y, 1, NULL);
    if (!m->st)
        m->st = ufi_graph_set_io(&m->g, m->inputs, 1, y, 1, &m->err);
    if (!m->st)
        m->st = ufi_graph_infer(&m->g, 0, &m->err);
}

#endif
