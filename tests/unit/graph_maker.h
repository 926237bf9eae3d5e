/*
 * Small graphs for tests, and their plans compared with the operators' C references: random data,
 * several thread counts, both input layouts. Include once per test program.
 */
#ifndef UF_TESTS_GRAPH_MAKER_H
#define UF_TESTS_GRAPH_MAKER_H

#include "backend/backend.h"
#include "base/mem.h"
#include "graph/graph.h"
#include "test.h"

enum { MAX_VALUES = 64 };

/* ---- a graph under construction; errors end up in `err` and fail the comparison ---- */

typedef struct maker {
    ufi_graph g;
    uf_error err;
    uf_status st;
    uint64_t seed;
    double bound;    /* of the relative difference between plan and reference */
    uf_dtype stored; /* of add_weights; 16 bits are widened by a Cast */
    uint32_t inputs[4], input_count;
} maker;

static inline void maker_init(maker *m, uint64_t seed)
{
    memset(m, 0, sizeof *m);
    m->seed = seed;
    m->bound = 2e-5;
    m->stored = UF_F32;
    ufi_graph_init(&m->g);
}

static inline ufi_shape shape_of(uint32_t rank, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return ufi_shape_make(rank, (const int64_t[]){a, b, c, d});
}

static inline uint32_t add_input(maker *m, ufi_shape s)
{
    uint32_t id = 0;
    if (!m->st)
        m->st = ufi_graph_add_value(&m->g, "x", UF_F32, &s, &id, &m->err);
    m->inputs[m->input_count++] = id;
    return id;
}

static inline uint32_t add_ints(maker *m, const int64_t *v, int64_t count)
{
    uint32_t id = 0;
    ufi_tensor t = {UF_I64, UFI_PLAIN, {1, {count}}, (void *)(uintptr_t)v};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "ints", &t, true, &id, &m->err);
    return id;
}

static inline uint32_t add_node(maker *m, ufi_op op, const uint32_t *in, uint32_t count,
                                ufi_node **node)
{
    uint32_t out = 0, index = 0;
    if (!m->st)
        m->st = ufi_graph_add_value(&m->g, ufi_op_name(op), UF_DTYPE_NONE, NULL, &out, &m->err);
    if (!m->st)
        m->st = ufi_graph_add_node(&m->g, op, ufi_op_name(op), in, count, &out, 1, &index, &m->err);
    if (node)
        *node = m->st ? NULL : &m->g.nodes[index];
    return out;
}

static inline void set_ints(maker *m, ufi_node *n, ufi_attr_key key, const int64_t *v,
                            uint32_t count)
{
    if (!m->st)
        m->st = ufi_node_set_ints(&m->g, n, key, v, count, &m->err);
}

static inline void set_float(maker *m, ufi_node *n, ufi_attr_key key, float v)
{
    if (!m->st)
        m->st = ufi_node_set_floats(&m->g, n, key, &v, 1, &m->err);
}

static inline uint32_t add_weights(maker *m, ufi_shape s, float scale)
{
    uint32_t id = 0;
    size_t n = (size_t)ufi_shape_count(&s);
    float *f = malloc((n + 1) * sizeof *f);
    uint16_t *h = malloc((n + 1) * sizeof *h);
    for (size_t i = 0; i < n; i++) {
        f[i] = test_random_float(&m->seed) * scale;
        h[i] = m->stored == UF_BF16 ? ufi_f32_to_bf16(f[i]) : ufi_f32_to_f16(f[i]);
    }
    ufi_tensor t = {m->stored, UFI_PLAIN, s, m->stored == UF_F32 ? (void *)f : (void *)h};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "w", &t, true, &id, &m->err);
    free(f);
    free(h);
    if (m->stored != UF_F32) {
        const int64_t to = UF_F32;
        ufi_node *cast;
        id = add_node(m, UFI_OP_CAST, &id, 1, &cast);
        set_ints(m, cast, UFI_ATTR_TO, &to, 1);
    }
    return id;
}

/* ---- two ways to compute the outputs ---- */

static inline void fill_inputs(const maker *m, float **data, const ufi_shape *shapes, uint64_t seed)
{
    for (uint32_t i = 0; i < m->input_count; i++) {
        size_t n = (size_t)ufi_shape_count(&shapes[i]);
        data[i] = malloc((n + 1) * sizeof(float));
        for (size_t k = 0; k < n; k++)
            data[i][k] = test_random_float(&seed);
    }
}

/* All values by the C references, one node after the other; the caller frees what is not constant.
 */
static inline uf_status by_reference(ufi_graph *g, float *const *inputs, void **data, uf_error *err)
{
    ufi_tensor in[UFI_MAX_NODE_IO], out[UFI_MAX_NODE_IO];
    uf_status st = ufi_graph_infer(g, 0, err);
    for (uint32_t i = 0; i < g->input_count; i++)
        data[g->inputs[i]] = inputs[i];
    for (uint32_t i = 0; !st && i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->in_count; k++) {
            in[k] = (ufi_tensor){0};
            if (n->in[k] == UFI_NONE)
                continue;
            const ufi_value *v = &g->values[n->in[k]];
            in[k] = (ufi_tensor){v->dtype, UFI_PLAIN, v->shape,
                                 v->data ? (void *)(uintptr_t)v->data : data[n->in[k]]};
        }
        for (uint32_t k = 0; k < n->out_count; k++) {
            const ufi_value *v = &g->values[n->out[k]];
            out[k] = (ufi_tensor){v->dtype, UFI_PLAIN, v->shape, NULL};
            out[k].data = data[n->out[k]] = malloc(ufi_tensor_bytes(&out[k]) + 1);
        }
        ufi_op_call call = {n, in, n->in_count, out, n->out_count};
        st = ufi_op_eval(&call, err);
    }
    return st;
}

static inline void write_input(ufi_tensor *t, const float *from)
{
    const int64_t *d = t->shape.dims;
    float *to = t->data;
    size_t n = (size_t)ufi_shape_count(&t->shape);
    if (t->layout != UFI_NHWC) {
        memcpy(to, from, n * sizeof *to);
        return;
    }
    for (int64_t b = 0; b < d[0]; b++)
        for (int64_t c = 0; c < d[1]; c++)
            for (int64_t p = 0; p < d[2] * d[3]; p++)
                to[(b * d[2] * d[3] + p) * d[1] + c] = from[(b * d[1] + c) * d[2] * d[3] + p];
}

/* The largest difference relative to the largest magnitude. */
static inline double difference(const float *a, const float *b, size_t n)
{
    double most = 0, size = 1e-6;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
        if (isnan(a[i]) != isnan(b[i]))
            return INFINITY;
    }
    return most / size;
}

static inline void compare_plan(ufi_program *p, const ufi_graph *g, const ufi_shape *shapes,
                                float *const *inputs, void *const *want, unsigned threads,
                                ufi_layout layout, double bound, const char *what)
{
    uf_error err;
    ufi_context *c = NULL;
    REQUIRE_OK(ufi_context_create(&c, p, threads, &err), err);
    uf_status st = ufi_context_prepare(c, shapes, g->input_count, layout, &err);
    CHECK_MSG(st == UF_OK, "%s: %s", what, err.message);
    for (int run = 0; !st && run < 2; run++) {
        for (uint32_t i = 0; i < g->input_count; i++)
            write_input(ufi_context_input(c, i), inputs[i]);
        uint64_t allocations = ufi_mem_allocation_count();
        st = ufi_context_run(c, &err);
        CHECK_MSG(st == UF_OK, "%s: %s", what, err.message);
        CHECK_MSG(ufi_mem_allocation_count() == allocations, "%s: a run allocates", what);
        for (uint32_t i = 0; !st && i < g->output_count; i++) {
            const ufi_tensor *o = ufi_context_output(c, i);
            const ufi_value *v = &g->values[g->outputs[i]];
            CHECK(ufi_shape_equal(&o->shape, &v->shape));
            double d = difference(o->data, want[g->outputs[i]], (size_t)ufi_shape_count(&v->shape));
            CHECK_MSG(d < bound, "%s, %u threads, layout %d: output %u is off by %g", what, threads,
                      layout, i, d);
        }
    }
    ufi_context_destroy(c);
}

/* Compares plan and reference of the graph whose outputs are given; frees the maker. */
static inline void compare(maker *m, const uint32_t *outputs, uint32_t output_count, bool optimize,
                           const char *what)
{
    ufi_graph reference;
    void *want[MAX_VALUES] = {NULL};
    float *inputs[4] = {NULL};
    ufi_shape shapes[4];
    ufi_program *p = NULL;
    if (!m->st)
        m->st = ufi_graph_set_io(&m->g, m->inputs, m->input_count, outputs, output_count, &m->err);
    for (uint32_t i = 0; i < m->input_count; i++)
        shapes[i] = m->g.values[m->inputs[i]].shape;
    fill_inputs(m, inputs, shapes, m->seed);
    if (!m->st)
        m->st = ufi_graph_clone(&reference, &m->g, &m->err);
    CHECK_MSG(m->st == UF_OK, "%s: %s", what, m->err.message);
    uf_status st = m->st;
    if (!st) {
        st = by_reference(&reference, inputs, want, &m->err);
        if (!st && optimize) {
            st = ufi_graph_infer(&m->g, 0, &m->err);
            if (!st)
                st = ufi_graph_optimize(&m->g, &m->err);
        }
        if (!st)
            st = ufi_program_create(&p, &m->g, "CPU", &m->err);
        CHECK_MSG(st == UF_OK, "%s: %s", what, m->err.message);
        for (unsigned threads = 1; !st && threads <= 3; threads += 2) {
            compare_plan(p, &reference, shapes, inputs, want, threads, UFI_PLAIN, m->bound, what);
            compare_plan(p, &reference, shapes, inputs, want, threads, UFI_NHWC, m->bound, what);
        }
        ufi_program_destroy(p);
        for (uint32_t i = 0; i < reference.value_count; i++) {
            bool is_input = false;
            for (uint32_t k = 0; k < reference.input_count; k++)
                is_input |= reference.inputs[k] == i;
            if (!is_input)
                free(want[i]);
        }
        ufi_graph_free(&reference);
    }
    for (uint32_t i = 0; i < m->input_count; i++)
        free(inputs[i]);
    ufi_graph_free(&m->g);
}

/* ---- convolutions ---- */

typedef struct conv_case {
    int batch, in_c, h, w, out_c, kh, kw, stride, dilation, pad, group;
    ufi_act act;
    bool bias, residual;
} conv_case;

static inline void set_conv_attributes(maker *m, ufi_node *n, const conv_case *c)
{
    const int64_t two[2] = {c->stride, c->stride}, dilations[2] = {c->dilation, c->dilation};
    const int64_t pads[4] = {c->pad, c->pad, c->pad, c->pad}, group = c->group, act = c->act;
    set_ints(m, n, UFI_ATTR_STRIDES, two, 2);
    set_ints(m, n, UFI_ATTR_DILATIONS, dilations, 2);
    set_ints(m, n, UFI_ATTR_PADS, pads, 4);
    set_ints(m, n, UFI_ATTR_GROUP, &group, 1);
    set_ints(m, n, UFI_ATTR_ACT, &act, 1);
    set_float(m, n, UFI_ATTR_ACT_LO, -0.3f);
    set_float(m, n, UFI_ATTR_ACT_HI, 0.6f);
    set_float(m, n, UFI_ATTR_ACT_ALPHA, 0.1f);
}

static inline uint32_t add_conv(maker *m, uint32_t x, const conv_case *c, uint32_t residual)
{
    uint32_t in[5] = {x, 0, UFI_NONE, UFI_NONE, residual};
    float scale = 1.0f / sqrtf((float)(c->in_c / c->group * c->kh * c->kw));
    in[1] = add_weights(m, shape_of(4, c->out_c, c->in_c / c->group, c->kh, c->kw), scale);
    if (c->bias)
        in[2] = add_weights(m, shape_of(1, c->out_c, 0, 0, 0), 1);
    if (c->act == UFI_ACT_PRELU)
        in[3] = add_weights(m, shape_of(1, c->out_c, 0, 0, 0), 0.5f);
    ufi_node *n;
    uint32_t y = add_node(m, UFI_OP_CONV, in, 5, &n);
    set_conv_attributes(m, n, c);
    return y;
}

#endif
