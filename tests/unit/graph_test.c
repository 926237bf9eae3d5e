/* Building, attributes, copies, checks and order of graphs; hostile ones. */
#include "graph/graph.h"

#include "base/mem.h"
#include "test.h"

/* x -> Relu -> a -> Neg -> y, written in the order given. */
static uf_status make_chain(ufi_graph *g, bool reversed, uf_error *err)
{
    ufi_shape s = ufi_shape_make(2, (const int64_t[]){1, 4});
    uint32_t x, a, y, node;
    ufi_graph_init(g);
    uf_status st = ufi_graph_add_value(g, "x", UF_F32, &s, &x, err);
    if (!st)
        st = ufi_graph_add_value(g, "a", UF_F32, NULL, &a, err);
    if (!st)
        st = ufi_graph_add_value(g, "y", UF_F32, NULL, &y, err);
    if (!st && reversed)
        st = ufi_graph_add_node(g, UFI_OP_NEG, "neg", &a, 1, &y, 1, &node, err);
    if (!st)
        st = ufi_graph_add_node(g, UFI_OP_RELU, "relu", &x, 1, &a, 1, &node, err);
    if (!st && !reversed)
        st = ufi_graph_add_node(g, UFI_OP_NEG, "neg", &a, 1, &y, 1, &node, err);
    if (!st)
        st = ufi_node_set_ints(g, &g->nodes[0], UFI_ATTR_AXES, (const int64_t[]){1, -1}, 2, err);
    if (!st)
        st = ufi_node_set_string(g, &g->nodes[0], UFI_ATTR_MODE, "abc", 3, err);
    if (!st)
        st = ufi_node_set_floats(g, &g->nodes[0], UFI_ATTR_ALPHA, (const float[]){0.5f}, 1, err);
    if (!st)
        st = ufi_graph_set_io(g, &x, 1, &y, 1, err);
    return st;
}

TEST(sort_puts_producers_first)
{
    ufi_graph g;
    uf_error err = {0};
    REQUIRE_OK(make_chain(&g, true, &err), err);
    CHECK(ufi_graph_check(&g, &err) == UF_E_FORMAT && strstr(err.message, "neg"));
    CHECK_OK(ufi_graph_sort(&g, &err), err);
    CHECK(g.nodes[0].op == UFI_OP_RELU && g.nodes[1].op == UFI_OP_NEG);
    CHECK_OK(ufi_graph_check(&g, &err), err);
    ufi_graph_free(&g);
    ufi_graph_free(&g);
}

TEST(attributes_and_copies)
{
    ufi_graph g, copy;
    uf_error err = {0};
    REQUIRE_OK(make_chain(&g, false, &err), err);
    CHECK_OK(ufi_node_set_floats(&g, &g.nodes[0], UFI_ATTR_ALPHA, (const float[]){0.25f}, 1, &err),
             err);
    g.map = (ufi_file_map){.data = (void *)&g, .size = sizeof g};
    REQUIRE_OK(ufi_graph_clone(&copy, &g, &err), err);
    ufi_graph_free(&g);
    CHECK(!copy.map.data); /* the copy may outlive the file */
    const ufi_node *n = &copy.nodes[0];
    CHECK(n->attr_count == 3 && ufi_node_float(n, UFI_ATTR_ALPHA, 9) == 0.25f);
    CHECK(ufi_node_attr(n, UFI_ATTR_AXES)->u.ints[1] == -1);
    CHECK(ufi_node_int(n, UFI_ATTR_AXES, 9) == 1 && ufi_node_int(n, UFI_ATTR_AXIS, 9) == 9);
    CHECK(strcmp(ufi_node_string(n, UFI_ATTR_MODE, ""), "abc") == 0);
    CHECK(copy.input_count == 1 && strcmp(copy.values[copy.inputs[0]].name, "x") == 0);
    CHECK_OK(ufi_graph_check(&copy, &err), err);
    ufi_graph_free(&copy);
}

TEST(a_cycle_is_an_error_that_names_a_node)
{
    ufi_graph g;
    uf_error err = {0};
    REQUIRE_OK(make_chain(&g, false, &err), err);
    g.nodes[0].in[0] = 2; /* relu reads what neg makes */
    CHECK(ufi_graph_sort(&g, &err) == UF_E_FORMAT);
    CHECK(strstr(err.message, "relu") || strstr(err.message, "neg"));
    ufi_graph_free(&g);
}

/* Each change makes a good graph bad in one way. */
static void spoil(ufi_graph *g, int how)
{
    switch (how) {
    case 0:
        g->nodes[0].in[0] = 99;
        break;
    case 1:
        g->nodes[1].out[0] = 99;
        break;
    case 2:
        g->nodes[1].out[0] = 1; /* made twice */
        break;
    case 3:
        g->nodes[0].op = UFI_OP_COUNT;
        break;
    case 4:
        g->nodes[0].in_count = 0;
        break;
    case 5:
        g->nodes[0].in[0] = UFI_NONE;
        break;
    case 6:
        g->outputs[0] = 99;
        break;
    case 7:
        g->output_count = 0;
        break;
    case 8:
        g->inputs[0] = 99;
        break;
    case 9:
        g->nodes[1].out[0] = 0; /* overwrites the graph's input */
        break;
    default:
        g->nodes[0].attrs[0].key = UFI_ATTR_COUNT;
        break;
    }
}

TEST(hostile_graphs_are_refused)
{
    for (int how = 0; how <= 10; how++) {
        ufi_graph g;
        uf_error err = {0};
        REQUIRE_OK(make_chain(&g, false, &err), err);
        spoil(&g, how);
        CHECK_MSG(ufi_graph_check(&g, &err) == UF_E_FORMAT, "case %d: %s", how, err.message);
        CHECK(err.message[0]);
        ufi_graph_free(&g);
    }
}

TEST(limits_hold)
{
    ufi_graph g;
    uf_error err = {0};
    uint32_t id, many[UFI_MAX_NODE_IO + 1] = {0};
    char *name = ufi_calloc(UFI_MAX_NAME_BYTES + 2, 1);
    REQUIRE(name);
    memset(name, 'n', UFI_MAX_NAME_BYTES + 1);
    ufi_graph_init(&g);
    CHECK(ufi_graph_add_value(&g, name, UF_F32, NULL, &id, &err) == UF_E_LIMIT);
    ufi_tensor t = {UF_F32, UFI_PLAIN, {2, {-1, 4}}, name};
    CHECK(ufi_graph_add_constant(&g, "c", &t, true, &id, &err) == UF_E_FORMAT);
    CHECK(ufi_graph_add_node(&g, UFI_OP_CONCAT, "c", many, UFI_MAX_NODE_IO + 1, many, 1, NULL,
                             &err) == UF_E_LIMIT);
    ufi_graph_free(&g);
    ufi_free(name);
}

TEST(every_failed_allocation_is_an_error_and_leaks_nothing)
{
    uf_status st = UF_E_NOMEM;
    uint64_t k = 1;
    for (; st && k < 1000; k++) {
        ufi_graph g, copy = {0};
        uf_error err = {0};
        ufi_mem_fail_after(k, false);
        st = make_chain(&g, false, &err);
        if (!st)
            st = ufi_graph_sort(&g, &err);
        if (!st)
            st = ufi_graph_check(&g, &err);
        if (!st)
            st = ufi_graph_clone(&copy, &g, &err);
        ufi_mem_fail_after(0, false);
        CHECK(st == UF_OK || st == UF_E_NOMEM);
        ufi_graph_free(&copy);
        ufi_graph_free(&g);
    }
    CHECK(st == UF_OK && k > 5);
}

TEST_MAIN
