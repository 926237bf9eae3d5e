/* Pruning: a network with channels that others can tell, and some that they cannot. */
#include "graph_maker.h"
#include "optimize/prune.h"

enum { SIDE = 12, OUTPUTS = 32, SAMPLES = 24 };

/* A stem of 32 channels; a block that widens them to 64 without an activation (half of them are
 * superfluous) and adds the stem again; a depthwise block with PReLU; a layer that reads all. */
static void make_network(maker *m)
{
    const conv_case stem = {1, 3, SIDE, SIDE, 32, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false};
    const conv_case widen = {1, 32, SIDE, SIDE, 64, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, true, false};
    const conv_case narrow = {1, 64, SIDE, SIDE, 32, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, true, true};
    const conv_case point = {1, 32, SIDE, SIDE, 48, 1, 1, 1, 1, 0, 1, UFI_ACT_PRELU, true, false};
    const conv_case depth = {1, 48, SIDE, SIDE, 48, 3, 3, 2, 1, 1, 48, UFI_ACT_PRELU, true, false};
    const conv_case last = {1, 48, 6, 6, OUTPUTS, 6, 6, 1, 1, 0, 1, UFI_ACT_NONE, false, false};
    maker_init(m, 7);
    uint32_t a = add_conv(m, add_input(m, shape_of(4, 1, 3, SIDE, SIDE)), &stem, UFI_NONE);
    uint32_t b = add_conv(m, add_conv(m, a, &widen, UFI_NONE), &narrow, a);
    uint32_t c = add_conv(m, add_conv(m, b, &point, UFI_NONE), &depth, UFI_NONE);
    uint32_t y = add_conv(m, c, &last, UFI_NONE);
    if (!m->st)
        m->st = ufi_graph_set_io(&m->g, m->inputs, 1, &y, 1, &m->err);
    if (!m->st)
        m->st = ufi_graph_infer(&m->g, 0, &m->err);
    CHECK_MSG(m->st == UF_OK, "%s", m->err.message);
}

static void make_samples(ufi_samples *s)
{
    static float data[3 * SIDE * SIDE];
    uint64_t seed = 3;
    uf_error err;
    const ufi_tensor t = {UF_F32, UFI_PLAIN, {4, {1, 3, SIDE, SIDE}}, data};
    for (int k = 0; k < SAMPLES; k++) {
        for (int i = 0; i < 3 * SIDE * SIDE; i++)
            data[i] = test_random_float(&seed);
        REQUIRE_OK(ufi_samples_add(s, &t, &err), err);
    }
}

static double macs_of(const ufi_graph *g)
{
    double sum = 0;
    for (uint32_t i = 0; i < g->node_count; i++)
        sum += (double)ufi_node_macs(g, &g->nodes[i]);
    return sum;
}

static const ufi_prune_group *group_of_channels(const ufi_prune_plan *p, size_t channels)
{
    for (uint32_t i = 0; i < p->count; i++)
        if (p->groups[i].channels == channels)
            return &p->groups[i];
    return NULL;
}

typedef struct fixture {
    maker m;
    ufi_samples samples;
    ufi_judge judge;
    ufi_prune_plan plan;
} fixture;

static void open_fixture(fixture *f)
{
    memset(f, 0, sizeof *f);
    make_network(&f->m);
    make_samples(&f->samples);
    REQUIRE_OK(ufi_judge_open(&f->judge, &f->m.g, &f->samples, 8, 1, NULL, NULL, &f->m.err),
               f->m.err);
    REQUIRE_OK(ufi_prune_scan(&f->plan, &f->judge, NULL, NULL, &f->m.err), f->m.err);
}

static void close_fixture(fixture *f)
{
    ufi_prune_plan_free(&f->plan);
    ufi_judge_close(&f->judge);
    ufi_samples_free(&f->samples);
    ufi_graph_free(&f->m.g);
}

TEST(the_scan_tells_what_is_superfluous)
{
    fixture f;
    open_fixture(&f);
    CHECK(f.plan.count == 3);
    const ufi_prune_group *wide = group_of_channels(&f.plan, 64);
    const ufi_prune_group *stem = group_of_channels(&f.plan, 32);
    const ufi_prune_group *deep = group_of_channels(&f.plan, 48);
    REQUIRE(wide && stem && deep);
    CHECK_MSG(wide->loss < 0.1 * stem->loss && wide->loss < 0.1 * deep->loss, "losses %g, %g, %g",
              wide->loss, stem->loss, deep->loss);
    close_fixture(&f);
}

TEST(channels_go_where_it_costs_nothing)
{
    fixture f;
    ufi_graph g;
    double agreement;
    open_fixture(&f);
    /* Half of the wide block is 2048 of 144 * 10,000 multiplications or so. */
    const double spare = 32.0 * (32 + 32) * SIDE * SIDE / macs_of(&f.m.g);
    ufi_prune_choose(&f.plan, &f.m.g, 1 - 0.95 * spare);
    CHECK(group_of_channels(&f.plan, 64)->kept == 32);
    CHECK(group_of_channels(&f.plan, 32)->kept == 32 && group_of_channels(&f.plan, 48)->kept == 48);
    REQUIRE_OK(ufi_prune_apply(&g, &f.m.g, &f.plan, &f.m.err), f.m.err);
    REQUIRE_OK(ufi_judge_graph(&f.judge, &g, &agreement, &f.m.err), f.m.err);
    CHECK_MSG(agreement > 0.9999, "agreement %g", agreement);
    CHECK(fabs(macs_of(&g) / f.plan.macs - 1) < 1e-9 && f.plan.macs < f.plan.source);
    ufi_graph_free(&g);
    close_fixture(&f);
}

TEST(all_groups_can_shrink)
{
    fixture f;
    ufi_graph g;
    double agreement;
    open_fixture(&f);
    ufi_prune_choose(&f.plan, &f.m.g, 0.4);
    REQUIRE_OK(ufi_prune_apply(&g, &f.m.g, &f.plan, &f.m.err), f.m.err);
    REQUIRE_OK(ufi_judge_graph(&f.judge, &g, &agreement, &f.m.err), f.m.err);
    CHECK_MSG(agreement > 0.3, "agreement %g", agreement);
    CHECK(macs_of(&g) <= 0.4 * macs_of(&f.m.g));
    for (uint32_t i = 0; i < f.plan.count; i++)
        CHECK(f.plan.groups[i].kept % 8 == 0 && f.plan.groups[i].kept >= 8);
    /* The outputs keep their shape. */
    CHECK(g.values[g.outputs[0]].shape.dims[1] == OUTPUTS);
    ufi_graph_free(&g);
    close_fixture(&f);
}

TEST(nothing_taken_out_changes_nothing)
{
    fixture f;
    ufi_graph g;
    double agreement;
    open_fixture(&f);
    ufi_prune_choose(&f.plan, &f.m.g, 1);
    REQUIRE_OK(ufi_prune_apply(&g, &f.m.g, &f.plan, &f.m.err), f.m.err);
    REQUIRE_OK(ufi_judge_graph(&f.judge, &g, &agreement, &f.m.err), f.m.err);
    CHECK(fabs(agreement - 1) < 1e-12);
    ufi_graph_free(&g);
    close_fixture(&f);
}

static bool stop(void *arg, const char *what, double agreement, size_t done, size_t total)
{
    return ++*(int *)arg < 2;
}

TEST(a_scan_can_be_stopped)
{
    fixture f;
    ufi_prune_plan p;
    int calls = 0;
    open_fixture(&f);
    CHECK(ufi_prune_scan(&p, &f.judge, stop, &calls, &f.m.err) == UF_E_CANCELLED && calls == 2);
    close_fixture(&f);
}

TEST(a_network_without_inner_channels_is_refused)
{
    const conv_case only = {1, 3, SIDE, SIDE, 32, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false};
    fixture f = {0};
    maker_init(&f.m, 9);
    uint32_t y = add_conv(&f.m, add_input(&f.m, shape_of(4, 1, 3, SIDE, SIDE)), &only, UFI_NONE);
    REQUIRE_OK(ufi_graph_set_io(&f.m.g, f.m.inputs, 1, &y, 1, &f.m.err), f.m.err);
    REQUIRE_OK(ufi_graph_infer(&f.m.g, 0, &f.m.err), f.m.err);
    make_samples(&f.samples);
    REQUIRE_OK(ufi_judge_open(&f.judge, &f.m.g, &f.samples, 8, 1, NULL, NULL, &f.m.err), f.m.err);
    CHECK(ufi_prune_scan(&f.plan, &f.judge, NULL, NULL, &f.m.err) == UF_E_UNSUPPORTED);
    close_fixture(&f);
}

TEST(single_weights_become_zero)
{
    maker m;
    ufi_graph g;
    make_network(&m);
    REQUIRE_OK(ufi_prune_weights(&g, &m.g, 0.75, &m.err), m.err);
    for (uint32_t i = 0; i < g.node_count; i++) {
        const ufi_value *w = &g.values[g.nodes[i].in[1]];
        const size_t n = (size_t)ufi_shape_count(&w->shape);
        size_t zeros = 0;
        for (size_t k = 0; k < n; k++)
            zeros += ((const float *)w->data)[k] == 0;
        CHECK(zeros == n * 3 / 4);
        CHECK(w->data != m.g.values[m.g.nodes[i].in[1]].data);
    }
    ufi_graph_free(&g);
    ufi_graph_free(&m.g);
}

TEST_MAIN
