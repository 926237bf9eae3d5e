/*
 * What a network under training leaves: running statistics of normalisations, and the graph that is
 * stored.
 */
#include "net_maker.h"

TEST(running_statistics)
{
    maker m;
    uf_error err = {0};
    ufi_net *net = NULL;
    maker_init(&m, 160);
    uint32_t x = add_input(&m, shape_of(4, 2, 3, 4, 5)), y = add_affine(&m, x, 3, true);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &err), err);
    REQUIRE_OK(ufi_graph_infer(&m.g, 0, &err), err);
    REQUIRE_OK(ufi_net_create(&net, &m.g, &plain, &err), err);
    REQUIRE(ufi_net_variable_count(net) == 4);
    const ufi_variable *mean = &ufi_net_variables(net)[2], *variance = mean + 1;
    CHECK(!strcmp(mean->name, "Affine.mean") && !strcmp(variance->name, "Affine.variance"));
    CHECK(!mean->grad && mean->value == UFI_NONE && !mean->decay);
    double want_mean[3] = {0}, want_variance[3] = {1, 1, 1};
    for (int step = 0; step < 2; step++) {
        fill_input(net, &m.g, 3 + (uint64_t)step);
        for (size_t c = 0; c < 3; c++) {
            double sum = 0, square = 0;
            for (size_t i = 0; i < 40; i++) {
                float *v = &ufi_net_input(net)[3 * i + c];
                *v += 100; /* a mean that drowns the spread, were it not taken off */
                sum += (double)*v;
            }
            for (size_t i = 0; i < 40; i++)
                square += pow((double)ufi_net_input(net)[3 * i + c] - sum / 40, 2);
            want_mean[c] += 0.1 * (sum / 40 - want_mean[c]);
            want_variance[c] += 0.1 * (square / 39 - want_variance[c]);
        }
        REQUIRE_OK(ufi_net_forward(net, &err), err);
    }
    for (size_t c = 0; c < 3; c++) {
        CHECK(fabs((double)mean->data[c] - want_mean[c]) < 1e-4);
        CHECK(fabs((double)variance->data[c] - want_variance[c]) < 1e-5);
    }
    ufi_net_destroy(net);
    ufi_graph_free(&m.g);
}

/* y = (x - mean) / sqrt(variance + epsilon) * scale + shift by the reference, behind the passes. */
TEST(what_is_stored_runs)
{
    maker m;
    uint32_t y;
    uf_error err = {0};
    ufi_net *net = NULL;
    ufi_graph stored, plain_graph;
    float *inputs[1] = {NULL};
    void *a[MAX_VALUES] = {NULL}, *b[2 * MAX_VALUES] = {NULL};
    small_network(&m, &y);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_net_create(&net, &m.g, &plain, &err), err);
    for (int i = 0; i < 5; i++) {
        fill_input(net, &m.g, 20 + (uint64_t)i);
        REQUIRE_OK(ufi_net_forward(net, &err), err);
    }
    REQUIRE_OK(ufi_net_store(net, NULL, &stored, &err), err);
    REQUIRE_OK(ufi_graph_check(&stored, &err), err);
    CHECK(!has_norm(&stored));
    REQUIRE_OK(ufi_graph_clone(&plain_graph, &stored, &err), err);
    REQUIRE_OK(ufi_graph_infer(&stored, 0, &err), err);
    REQUIRE_OK(ufi_graph_optimize(&stored, &err), err);
    CHECK(stored.node_count < plain_graph.node_count);
    const ufi_shape shape = shape_of(4, 2, 3, 8, 8);
    maker inputs_of = {.input_count = 1};
    fill_inputs(&inputs_of, inputs, &shape, 77);
    REQUIRE_OK(by_reference(&stored, inputs, a, &err), err);
    REQUIRE_OK(by_reference(&plain_graph, inputs, b, &err), err);
    double off = difference(a[stored.outputs[0]], b[plain_graph.outputs[0]], 16);
    CHECK_MSG(off < 1e-4, "optimised and plain differ by %g", off);
    /* The first normalisation by the formula. */
    const ufi_variable *v = ufi_net_variables(net);
    const ufi_node *norm = NULL;
    for (uint32_t i = 0; !norm && i < m.g.node_count; i++)
        norm = m.g.nodes[i].op == UFI_OP_AFFINE ? &m.g.nodes[i] : NULL;
    REQUIRE(norm && !strcmp(v[4].name, "Affine.mean"));
    const float *in = b[norm->in[0]], *out = b[norm->out[0]];
    for (size_t i = 0; i < 2 * 8 * 64; i++) {
        const size_t c = i / 64 % 8;
        double want = ((double)in[i] - (double)v[4].data[c]) /
                          sqrt((double)v[5].data[c] + (double)1e-3f) * (double)v[2].data[c] +
                      (double)v[3].data[c];
        CHECK(fabs(want - (double)out[i]) < 1e-4);
    }
    for (uint32_t i = 0; i < stored.value_count; i++)
        if (!stored.values[i].data && i != stored.inputs[0])
            free(a[i]);
    for (uint32_t i = 0; i < plain_graph.value_count; i++)
        if (!plain_graph.values[i].data && i != plain_graph.inputs[0])
            free(b[i]);
    free(inputs[0]);
    ufi_graph_free(&plain_graph);
    ufi_graph_free(&stored);
    ufi_net_destroy(net);
    ufi_graph_free(&m.g);
}

/* A normalisation's own numbers may be stored in 16 bits, behind a Cast. */
TEST(a_norm_of_16_bits_is_stored)
{
    maker m;
    uf_error err = {0};
    ufi_net *net = NULL;
    ufi_graph stored;
    maker_init(&m, 9);
    m.stored = UF_F16;
    uint32_t y = add_affine(&m, add_input(&m, shape_of(4, 2, 3, 2, 2)), 3, true);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &err), err);
    REQUIRE_OK(ufi_net_create(&net, &m.g, &plain, &err), err);
    ufi_variable *v = ufi_net_variables(net);
    REQUIRE(ufi_net_variable_count(net) == 4 && v[0].count == 3);
    for (int c = 0; c < 3; c++) {
        v[0].data[c] = 0.1f * (float)(c + 1);
        v[3].data[c] = 4;
    }
    REQUIRE_OK(ufi_net_store(net, NULL, &stored, &err), err);
    REQUIRE_OK(ufi_graph_check(&stored, &err), err);
    const ufi_node *n = NULL;
    for (uint32_t i = 0; i < stored.node_count; i++)
        n = stored.nodes[i].op == UFI_OP_AFFINE ? &stored.nodes[i] : n;
    REQUIRE(n && stored.values[n->in[1]].data);
    for (int c = 0; c < 3; c++) {
        const double got = (double)((const float *)stored.values[n->in[1]].data)[c];
        CHECK_MSG(fabs(got - 0.1 * (c + 1) / sqrt(4.001)) < 1e-6, "scale %d: %g", c, got);
    }
    ufi_graph_free(&stored);
    ufi_net_destroy(net);
    ufi_graph_free(&m.g);
}

TEST(averaged_weights_are_stored_in_place_of_its_own)
{
    maker m;
    uf_error err = {0};
    ufi_net *net = NULL;
    ufi_graph stored;
    uint32_t y = start(&m, 170, 2, 2, 2);
    const float average[6] = {1, 2, 3, 4, 5, 6}, *data[2] = {average, NULL};
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &err), err);
    REQUIRE_OK(ufi_graph_infer(&m.g, 0, &err), err);
    REQUIRE_OK(ufi_net_create(&net, &m.g, &plain, &err), err);
    REQUIRE(ufi_net_variable_count(net) == 2 && ufi_net_variables(net)[0].count == 6);
    ufi_net_variables(net)[1].data[0] = 42;
    REQUIRE_OK(ufi_net_store(net, data, &stored, &err), err);
    CHECK(!memcmp(stored.values[ufi_net_variables(net)[0].value].data, average, sizeof average));
    CHECK(*(const float *)stored.values[ufi_net_variables(net)[1].value].data == 42);
    ufi_graph_free(&stored);
    ufi_net_destroy(net);
    ufi_graph_free(&m.g);
}

TEST_MAIN
