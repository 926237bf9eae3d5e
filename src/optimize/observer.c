/* Watching activations. */
#include "optimize/observer.h"

#include "base/mem.h"

struct ufi_observer {
    ufi_graph graph; /* a clone whose outputs are the watched values */
    ufi_program *program;
    ufi_histogram **of_value; /* per value of the graph; NULL: not watched */
    uint32_t value_count;
    uint64_t runs;
};

/* What convolutions, additions and pooling read or write: all that can become bytes. */
static bool is_watched_op(uint16_t op)
{
    return op == UFI_OP_CONV || op == UFI_OP_GEMM || op == UFI_OP_ADD || op == UFI_OP_MAX_POOL ||
           op == UFI_OP_RESIZE;
}

static uf_status watch(ufi_observer *o, uint32_t v, uf_error *err)
{
    const ufi_value *value = v == UFI_NONE ? NULL : &o->graph.values[v];
    if (!value || value->data || value->dtype != UF_F32 || o->of_value[v])
        return UF_OK;
    o->of_value[v] = ufi_calloc(1, sizeof **o->of_value);
    return o->of_value[v] ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for histograms");
}

static bool is_input(const ufi_graph *g, uint32_t v)
{
    for (uint32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] == v)
            return true;
    return false;
}

static uf_status choose_values(ufi_observer *o, uf_error *err)
{
    ufi_graph *g = &o->graph;
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        if (!is_watched_op(n->op))
            continue;
        for (uint32_t k = 0; !st && k < n->in_count; k++)
            st = watch(o, n->in[k], err);
        for (uint32_t k = 0; !st && k < n->out_count; k++)
            st = watch(o, n->out[k], err);
    }
    return st;
}

/* Inputs are watched where they are, everything else becomes an output. */
static uf_status expose(ufi_observer *o, uf_error *err)
{
    ufi_graph *g = &o->graph;
    uint32_t count = 0, *outputs = ufi_malloc(g->value_count + 1, sizeof *outputs);
    if (!outputs)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an observer");
    for (uint32_t v = 0; v < g->value_count; v++)
        if (o->of_value[v] && !is_input(g, v))
            outputs[count++] = v;
    uf_status st = ufi_graph_set_io(g, g->inputs, g->input_count, outputs, count, err);
    ufi_free(outputs);
    return st;
}

uf_status ufi_observer_create(ufi_observer **out, const ufi_graph *g, uf_error *err)
{
    ufi_observer *o = ufi_calloc(1, sizeof *o);
    *out = NULL;
    if (!o)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an observer");
    ufi_graph_init(&o->graph);
    o->value_count = g->value_count;
    o->of_value = ufi_calloc(g->value_count + 1, sizeof *o->of_value);
    uf_status st = o->of_value ? ufi_graph_clone(&o->graph, g, err)
                               : ufi_fail(err, UF_E_NOMEM, "no memory for an observer");
    if (!st)
        st = choose_values(o, err);
    if (!st)
        st = expose(o, err);
    if (!st)
        st = ufi_program_create(&o->program, &o->graph, "CPU", err);
    if (st)
        ufi_observer_destroy(o);
    else
        *out = o;
    return st;
}

void ufi_observer_destroy(ufi_observer *o)
{
    if (!o)
        return;
    ufi_program_destroy(o->program);
    for (uint32_t i = 0; o->of_value && i < o->value_count; i++)
        ufi_free(o->of_value[i]);
    ufi_free(o->of_value);
    ufi_graph_free(&o->graph);
    ufi_free(o);
}

ufi_program *ufi_observer_program(ufi_observer *o)
{
    return o->program;
}

void ufi_observer_take(ufi_observer *o, ufi_context *c)
{
    const ufi_graph *g = &o->graph;
    for (uint32_t i = 0; i < g->input_count; i++) {
        const ufi_tensor *t = ufi_context_input(c, i);
        if (o->of_value[g->inputs[i]])
            ufi_histogram_add(o->of_value[g->inputs[i]], t->data,
                              (size_t)ufi_shape_count(&t->shape));
    }
    for (uint32_t i = 0; i < g->output_count; i++) {
        const ufi_tensor *t = ufi_context_output(c, i);
        ufi_histogram_add(o->of_value[g->outputs[i]], t->data, (size_t)ufi_shape_count(&t->shape));
    }
    o->runs++;
}

uint64_t ufi_observer_runs(const ufi_observer *o)
{
    return o->runs;
}

const ufi_histogram *ufi_observer_histogram(const ufi_observer *o, uint32_t v)
{
    return v < o->value_count ? o->of_value[v] : NULL;
}
