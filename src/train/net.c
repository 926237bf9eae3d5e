/* Making, running and taking down networks under training; see net_impl.h for how they are built.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "train/net_impl.h"

/* ---- small things all files use ---- */

uf_status ufi_step_fail(const ufi_node *n, uf_error *err, uf_status st, const char *fmt, ...)
{
    char message[300];
    va_list list;
    va_start(list, fmt);
    vsnprintf(message, sizeof message, fmt, list);
    va_end(list);
    return ufi_fail(err, st, "%s node \"%.80s\": %s", n ? ufi_op_name((ufi_op)n->op) : "a",
                    n ? n->name : "", message);
}

void *ufi_net_alloc(ufi_net *net, size_t count, size_t size, uf_error *err)
{
    void *p = ufi_arena_alloc(&net->arena, count ? count : 1, size);
    if (!p)
        ufi_fail(err, UF_E_NOMEM, "no memory for a network under training");
    return p;
}

size_t ufi_blob_channels(const ufi_blob *b)
{
    if (b->shape.rank == 0)
        return 1;
    return (size_t)b->shape.dims[b->shape.rank == 4 ? 1 : b->shape.rank - 1];
}

ufi_variable *ufi_step_variable(const ufi_net *net, const ufi_step *s, uint32_t i)
{
    const ufi_blob *b = ufi_blob_in(net, s, i);
    return b && b->variable != UFI_NONE ? &net->variables[b->variable] : NULL;
}

/* ---- making ---- */

/* Targets of Reshape that name the batch they were traced with mean any: 0 says "as it is". */
static uf_status free_reshapes(ufi_net *net, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < net->graph.node_count; i++) {
        ufi_node *n = &net->graph.nodes[i];
        if (n->op != UFI_OP_RESHAPE || ufi_node_int(n, UFI_ATTR_ALLOWZERO, 0))
            continue;
        const ufi_value *x = &net->given->values[n->in[0]], *s = &net->given->values[n->in[1]];
        if (!s->data || s->dtype != UF_I64 || s->shape.rank != 1 || s->shape.dims[0] < 1 ||
            s->shape.dims[0] > UF_MAX_DIMS || !x->has_shape || x->shape.rank < 1 ||
            ((const int64_t *)s->data)[0] != x->shape.dims[0])
            continue;
        int64_t target[UF_MAX_DIMS];
        memcpy(target, s->data, (size_t)s->shape.dims[0] * sizeof *target);
        target[0] = 0;
        const ufi_tensor t = {UF_I64, UFI_PLAIN, s->shape, target};
        uint32_t id;
        st = ufi_graph_add_constant(&net->graph, "", &t, true, &id, err);
        net->graph.nodes[i].in[1] = id;
    }
    return st;
}

/* The graph with the batch's shapes. What was written down for another batch is not believed. */
static uf_status take_graph(ufi_net *net, const ufi_graph *g, uf_error *err)
{
    if (g->input_count != 1)
        return ufi_fail(err, UF_E_UNSUPPORTED,
                        "the graph has %u inputs; a network that is trained has one",
                        g->input_count);
    const ufi_value *x = &g->values[g->inputs[0]];
    if (!x->has_shape || x->shape.rank < 1 || x->dtype != UF_F32)
        return ufi_fail(err, UF_E_UNSUPPORTED, "the graph's input is no f32 of known rank");
    uf_status st = ufi_graph_clone(&net->graph, g, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < net->graph.value_count; i++)
        if (!net->graph.values[i].data)
            net->graph.values[i].has_shape = false;
    st = free_reshapes(net, err);
    if (st)
        return st;
    ufi_value *v = &net->graph.values[net->graph.inputs[0]];
    v->shape = x->shape;
    v->shape.dims[0] = net->options.batch;
    v->has_shape = true;
    if (!ufi_shape_known(&v->shape))
        return ufi_fail(err, UF_E_UNSUPPORTED,
                        "the size of the graph's input is not known; fix it before training");
    return ufi_graph_infer(&net->graph, 0, err);
}

static uf_status create_steps(ufi_net *net, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < net->step_count; i++)
        st = ufi_wrap(err, net->steps[i].kind->create(net, &net->steps[i], err), "training: %s",
                      net->steps[i].node ? net->steps[i].node->name : "");
    return st;
}

static uf_status bind_steps(ufi_net *net, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < net->step_count; i++)
        if (net->steps[i].kind->bind)
            st = net->steps[i].kind->bind(net, &net->steps[i], err);
    return st;
}

uf_status ufi_net_create(ufi_net **out, const ufi_graph *g, const ufi_net_options *options,
                         uf_error *err)
{
    *out = NULL;
    if (options->batch < 1 || options->batch > 65536 || options->threads < 1 ||
        options->threads > 1024)
        return ufi_fail(err, UF_E_ARG, "a batch of %lld with %u threads", (long long)options->batch,
                        options->threads);
    if (options->bf16 && !ufi_dnnl_has_bf16())
        return ufi_fail(err, UF_E_UNSUPPORTED,
                        "BF16 is multiplied with AVX-512 only, which this processor has not: train "
                        "in FP32");
    ufi_net *net = ufi_calloc(1, sizeof *net);
    if (!net)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a network under training");
    net->options = *options;
    net->given = g;
    net->rows = ufi_rows_pick();
    ufi_graph_init(&net->graph);
    ufi_arena_init(&net->arena, 0);
    unsigned before = ufi_net_set_threads(options->threads);
    uf_status st = ufi_dnnl_open(&net->dnnl, err);
    if (!st)
        st = take_graph(net, g, err);
    if (!st)
        st = ufi_net_lower(net, err);
    if (!st)
        st = ufi_net_find_writers(net, err);
    if (!st)
        st = create_steps(net, err);
    if (!st)
        st = ufi_net_plan(net, err);
    if (!st)
        st = bind_steps(net, err);
    ufi_net_set_threads(before);
    if (st)
        ufi_net_destroy(net);
    else
        *out = net;
    return st;
}

void ufi_net_destroy(ufi_net *net)
{
    if (!net)
        return;
    for (uint32_t i = 0; i < net->step_count; i++)
        if (net->steps[i].kind->destroy && net->steps[i].state)
            net->steps[i].kind->destroy(&net->steps[i]);
    for (uint32_t i = 0; i < net->variable_count; i++) {
        ufi_free(net->variables[i].data);
        ufi_free(net->variables[i].grad);
    }
    for (uint32_t i = 0; net->output_data && i < net->graph.output_count; i++) {
        ufi_free(net->output_data[i]);
        ufi_free(net->output_grad[i]);
    }
    ufi_free(net->input_data);
    ufi_free(net->variables);
    ufi_free(net->blobs);
    ufi_free(net->steps);
    ufi_free(net->memory);
    ufi_dnnl_close(&net->dnnl);
    ufi_graph_free(&net->graph);
    ufi_arena_free(&net->arena);
    ufi_free(net);
}

/* ---- what it shows ---- */

size_t ufi_net_variable_count(const ufi_net *net)
{
    return net->variable_count;
}

ufi_variable *ufi_net_variables(ufi_net *net)
{
    return net->variables;
}

float *ufi_net_input(ufi_net *net)
{
    return net->input_data;
}

const float *ufi_net_output(const ufi_net *net, uint32_t i, ufi_shape *shape)
{
    if (shape)
        *shape = net->graph.values[net->graph.outputs[i]].shape;
    return net->output_data[i];
}

float *ufi_net_output_grad(ufi_net *net, uint32_t i)
{
    return net->output_grad[i];
}

size_t ufi_net_bytes(const ufi_net *net)
{
    return net->bytes;
}

/* ---- running ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uf_status run_step(ufi_net *net, ufi_step *s, bool back, uf_error *err)
{
    double start = net->timed ? now() : 0;
    uf_status st = back ? s->kind->backward(net, s, err) : s->kind->forward(net, s, err);
    if (net->timed)
        s->seconds[back] += now() - start;
    return st;
}

uf_status ufi_net_forward(ufi_net *net, uf_error *err)
{
    uf_status st = UF_OK;
    unsigned before = ufi_net_set_threads(net->options.threads);
    for (uint32_t i = 0; !st && i < net->step_count; i++)
        st = run_step(net, &net->steps[i], false, err);
    ufi_net_set_threads(before);
    return st;
}

uf_status ufi_net_backward(ufi_net *net, uf_error *err)
{
    uf_status st = UF_OK;
    unsigned before = ufi_net_set_threads(net->options.threads);
    for (uint32_t i = 0; i < net->variable_count; i++)
        if (net->shared[i] != 1 && net->variables[i].grad)
            memset(net->variables[i].grad, 0, net->variables[i].count * sizeof(float));
    for (uint32_t i = net->step_count; !st && i-- > 0;)
        if (ufi_step_takes_part(net, &net->steps[i]))
            st = run_step(net, &net->steps[i], true, err);
    ufi_net_set_threads(before);
    return st;
}

void ufi_net_time_steps(ufi_net *net, bool on)
{
    net->timed = on;
}

uint32_t ufi_net_step_count(const ufi_net *net)
{
    return net->step_count;
}

ufi_net_step_time ufi_net_step_seconds(const ufi_net *net, uint32_t i)
{
    const ufi_step *s = &net->steps[i];
    const ufi_blob *b = s->out_count && s->out[0] != UFI_NONE ? &net->blobs[s->out[0]] : NULL;
    return (ufi_net_step_time){s->kind->name, s->node ? s->node->name : "", b ? &b->shape : NULL,
                               s->seconds[0], s->seconds[1]};
}
