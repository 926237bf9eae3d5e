/* Which weights made of bytes become those of a QConv: only what certainly means the same. */
#include "graph_maker.h"

typedef struct given {
    ufi_shape bytes, scale;
    float first; /* of the scales; the others are 0.5 */
} given;

static uint32_t constant_of(maker *m, uf_dtype dtype, ufi_shape shape, const void *data)
{
    uint32_t id = 0;
    const ufi_tensor t = {dtype, UFI_PLAIN, shape, (void *)(uintptr_t)data};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "c", &t, true, &id, &m->err);
    return id;
}

/* A 3x3 convolution of dequantised bytes; its weights are bytes made floats, times the scales, in
 * the form [3][2][3][3]. */
static bool is_qconv(const given *c)
{
    maker m;
    ufi_node *n;
    static const int8_t bytes[54] = {1, -2, 3, 127, -128};
    float scales[3] = {c->first, 0.5f, 0.5f};
    const float one = 0.25f;
    const uint8_t zero = 7;
    const int64_t to = UF_F32, form[4] = {3, 2, 3, 3};
    const ufi_shape scalar = {0}, four = shape_of(1, 4, 0, 0, 0);
    bool found = false;
    maker_init(&m, 3);
    uint32_t in[3] = {add_input(&m, shape_of(4, 1, 2, 6, 6)), constant_of(&m, UF_F32, scalar, &one),
                      constant_of(&m, UF_U8, scalar, &zero)};
    in[0] = add_node(&m, UFI_OP_QUANTIZE_LINEAR, in, 3, NULL);
    const uint32_t x = add_node(&m, UFI_OP_DEQUANTIZE_LINEAR, in, 3, NULL);
    uint32_t w[2] = {constant_of(&m, UF_I8, c->bytes, bytes), 0};
    w[0] = add_node(&m, UFI_OP_CAST, w, 1, &n);
    set_ints(&m, n, UFI_ATTR_TO, &to, 1);
    w[1] = constant_of(&m, UF_F32, c->scale, scales);
    w[0] = add_node(&m, UFI_OP_MUL, w, 2, NULL);
    w[1] = constant_of(&m, UF_I64, four, form);
    const uint32_t both[2] = {x, add_node(&m, UFI_OP_RESHAPE, w, 2, NULL)};
    const uint32_t y = add_node(&m, UFI_OP_CONV, both, 2, NULL);
    CHECK_OK(m.st, m.err);
    if (!m.st)
        m.st = ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err);
    if (!m.st)
        m.st = ufi_graph_infer(&m.g, 0, &m.err);
    if (!m.st)
        m.st = ufi_graph_optimize(&m.g, &m.err);
    CHECK_OK(m.st, m.err);
    for (uint32_t i = 0; i < m.g.node_count; i++)
        found |= m.g.nodes[i].op == UFI_OP_QCONV;
    /* What was made can be read again. */
    CHECK_OK(ufi_graph_infer(&m.g, 0, &m.err), m.err);
    ufi_graph_free(&m.g);
    return found;
}

TEST(weights_times_a_scale_for_each_filter)
{
    const given good = {shape_of(4, 3, 2, 3, 3), shape_of(4, 3, 1, 1, 1), 0.5f};
    CHECK(is_qconv(&good));
}

TEST(what_means_something_else_stays_in_floats)
{
    const given bad[] = {
        {shape_of(4, 1, 2, 3, 3), shape_of(4, 3, 1, 1, 1), 0.5f}, /* bytes are repeated */
        {shape_of(4, 3, 2, 3, 3), shape_of(4, 1, 2, 1, 1), 0.5f}, /* a scale for inputs */
        {shape_of(4, 2, 3, 3, 3), shape_of(4, 2, 1, 1, 1), 0.5f}, /* other filters */
        {shape_of(4, 3, 2, 3, 3), shape_of(4, 3, 1, 1, 1), 0},    /* no scale at all */
        {shape_of(4, 3, 2, 3, 3), shape_of(4, 3, 1, 1, 1), -0.5f},
        {shape_of(4, 3, 2, 3, 3), shape_of(4, 3, 1, 1, 1), INFINITY}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_MSG(!is_qconv(&bad[i]), "case %zu", i);
}

TEST_MAIN
