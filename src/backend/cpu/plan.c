/*
 * Making and running plans: infer all shapes, build steps node by node, find out how long each
 * buffer lives, place all buffers in one block, then bind pointers.
 */
#include <string.h>

#include "backend/cpu/build.h"
#include "base/clock.h"
#include "base/mem.h"

/* Constants of these operators larger than this are computed in the run, not kept. */
#define MAX_FOLD_BYTES ((size_t)64 << 20)
#define MAX_MEMORY_BYTES ((size_t)1 << 30)

/* The fast form of each operator; absent ones run by reference. */
static cpu_build_fn *const build_table[UFI_OP_COUNT] = {
    [UFI_OP_CONV] = cpu_build_conv,
    [UFI_OP_GEMM] = cpu_build_gemm,
    [UFI_OP_MATMUL] = cpu_build_matmul,
    [UFI_OP_AFFINE] = cpu_build_affine,
    [UFI_OP_MAX_POOL] = cpu_build_pool,
    [UFI_OP_AVERAGE_POOL] = cpu_build_pool,
    [UFI_OP_GLOBAL_AVERAGE_POOL] = cpu_build_global_pool,
    [UFI_OP_ADD] = cpu_build_binary,
    [UFI_OP_SUB] = cpu_build_binary,
    [UFI_OP_MUL] = cpu_build_binary,
    [UFI_OP_DIV] = cpu_build_binary,
    [UFI_OP_MIN] = cpu_build_binary,
    [UFI_OP_MAX] = cpu_build_binary,
    [UFI_OP_SUM] = cpu_build_binary,
    [UFI_OP_PRELU] = cpu_build_prelu,
    [UFI_OP_RELU] = cpu_build_unary,
    [UFI_OP_CLIP] = cpu_build_clip,
    [UFI_OP_LEAKY_RELU] = cpu_build_unary,
    [UFI_OP_ELU] = cpu_build_unary,
    [UFI_OP_SIGMOID] = cpu_build_unary,
    [UFI_OP_HARD_SIGMOID] = cpu_build_unary,
    [UFI_OP_HARD_SWISH] = cpu_build_unary,
    [UFI_OP_SILU] = cpu_build_unary,
    [UFI_OP_GELU] = cpu_build_unary,
    [UFI_OP_TANH] = cpu_build_unary,
    [UFI_OP_EXP] = cpu_build_unary,
    [UFI_OP_SQRT] = cpu_build_unary,
    [UFI_OP_NEG] = cpu_build_unary,
    [UFI_OP_ABS] = cpu_build_unary,
    [UFI_OP_ERF] = cpu_build_unary,
    [UFI_OP_POW] = cpu_build_pow,
    [UFI_OP_REDUCE_SUM] = cpu_build_reduce,
    [UFI_OP_REDUCE_MEAN] = cpu_build_reduce,
    [UFI_OP_REDUCE_L2] = cpu_build_reduce,
    [UFI_OP_REDUCE_SUM_SQUARE] = cpu_build_reduce,
    [UFI_OP_LAYER_NORM] = cpu_build_layer_norm,
    [UFI_OP_SOFTMAX] = cpu_build_softmax,
    [UFI_OP_IDENTITY] = cpu_build_view,
    [UFI_OP_RESHAPE] = cpu_build_view,
    [UFI_OP_FLATTEN] = cpu_build_view,
    [UFI_OP_SQUEEZE] = cpu_build_view,
    [UFI_OP_UNSQUEEZE] = cpu_build_view,
    [UFI_OP_TRANSPOSE] = cpu_build_transpose,
    [UFI_OP_CONCAT] = cpu_build_concat,
    [UFI_OP_SPLIT] = cpu_build_split,
    [UFI_OP_SLICE] = cpu_build_slice,
    [UFI_OP_RESIZE] = cpu_build_resize,
    [UFI_OP_QCONV] = cpu_build_qconv,
    [UFI_OP_QUANTIZE_LINEAR] = cpu_build_quantize,
    [UFI_OP_DEQUANTIZE_LINEAR] = cpu_build_dequantize,
    [UFI_OP_QLINEAR_ADD] = cpu_build_qlinear_add,
    [UFI_OP_DYNAMIC_QUANTIZE_LINEAR] = cpu_build_dynamic_quantize,
};

/* ---- building ---- */

/* Counts this node's reads as done, so that cpu_out knows whose memory is free to reuse. */
static void consume_inputs(cpu_builder *b, const ufi_node *n)
{
    for (uint32_t i = 0; i < n->in_count; i++) {
        uint32_t v = n->in[i];
        if (v == UFI_NONE || cpu_is_constant(b, v))
            continue;
        const cpu_place *p = &b->places[v];
        b->uses[v]--;
        if (p->buffer[0] >= 0)
            b->pending[p->buffer[0]]--;
        if (p->buffer[1] >= 0 && p->buffer[1] != p->buffer[0])
            b->pending[p->buffer[1]]--;
    }
}

static bool node_is_folded(const cpu_builder *b, const ufi_node *n)
{
    for (uint32_t i = 0; i < n->out_count; i++)
        if (n->out[i] != UFI_NONE && !b->g->values[n->out[i]].data)
            return false;
    return true;
}

/* The next node behind node `i` that is left to compute (weights of 16 bits have Casts between). */
static uint32_t next_computed(const cpu_builder *b, uint32_t i)
{
    do
        i++;
    while (i < b->g->node_count && node_is_folded(b, &b->g->nodes[i]));
    return i;
}

static uf_status build_node(cpu_builder *b, const ufi_node *n)
{
    if (node_is_folded(b, n)) {
        consume_inputs(b, n);
        return UF_OK;
    }
    for (uint32_t i = 0; i < n->out_count; i++)
        if (n->out[i] != UFI_NONE && !ufi_shape_known(cpu_shape(b, n->out[i])))
            return ufi_fail(b->err, UF_E_UNSUPPORTED,
                            "node \"%s\" (%s): its output shape depends on data", n->name,
                            ufi_op_name((ufi_op)n->op));
    consume_inputs(b, n);
    uf_status st = UF_E_UNSUPPORTED;
    if (build_table[n->op])
        st = build_table[n->op](b, n);
    if (st == UF_E_UNSUPPORTED)
        st = cpu_build_reference(b, n);
    return st;
}

static uf_status count_uses(cpu_builder *b)
{
    ufi_graph *g = b->g;
    b->places = ufi_calloc(g->value_count, sizeof *b->places);
    b->uses = ufi_calloc(g->value_count, sizeof *b->uses);
    if (!b->places || !b->uses)
        return ufi_fail(b->err, UF_E_NOMEM, "no memory for a plan");
    for (uint32_t i = 0; i < g->value_count; i++)
        b->places[i].buffer[0] = b->places[i].buffer[1] = -1;
    for (uint32_t i = 0; i < g->node_count; i++)
        for (uint32_t j = 0; j < g->nodes[i].in_count; j++)
            if (g->nodes[i].in[j] != UFI_NONE)
                b->uses[g->nodes[i].in[j]]++;
    for (uint32_t i = 0; i < g->output_count; i++)
        b->uses[g->outputs[i]]++;
    return UF_OK;
}

static uf_status build_inputs(cpu_builder *b, ufi_layout layout)
{
    ufi_graph *g = b->g;
    cpu_plan *p = b->plan;
    p->inputs = cpu_params(b, (g->input_count + 1) * sizeof *p->inputs);
    if (!p->inputs)
        return UF_E_NOMEM;
    for (uint32_t i = 0; i < g->input_count; i++) {
        uint32_t v = g->inputs[i];
        uf_status st = cpu_out(b, v, cpu_is_f32(b, v) ? layout : UFI_PLAIN, NULL, &p->inputs[i]);
        if (st)
            return st;
        b->pinned[p->inputs[i].buffer] = true;
    }
    return UF_OK;
}

static uf_status copy_constant_run(const cpu_step *s, cpu_plan *plan, uf_error *err)
{
    memcpy(s->out[0].t.data, s->in[0].t.data, ufi_tensor_bytes(&s->in[0].t));
    return UF_OK;
}

/* Outputs are PLAIN; one that was folded to a constant gets a buffer of its own all the same. */
static uf_status build_outputs(cpu_builder *b)
{
    ufi_graph *g = b->g;
    cpu_plan *p = b->plan;
    p->outputs = cpu_params(b, (g->output_count + 1) * sizeof *p->outputs);
    if (!p->outputs)
        return UF_E_NOMEM;
    for (uint32_t i = 0; i < g->output_count; i++) {
        uint32_t v = g->outputs[i];
        cpu_operand *o = &p->outputs[i];
        uf_status st = cpu_in(b, v, UFI_PLAIN, o);
        if (!st && o->buffer < 0) {
            cpu_operand from = *o;
            st = cpu_out(b, v, UFI_PLAIN, NULL, o);
            if (!st)
                st = cpu_add_step(b, NULL, copy_constant_run, "copy", &from, 1, o, 1, NULL, NULL);
        }
        if (st)
            return st;
        b->pinned[o->buffer] = true;
    }
    return UF_OK;
}

static uf_status build_steps(cpu_builder *b, ufi_layout layout)
{
    uf_status st = count_uses(b);
    if (!st)
        st = build_inputs(b, layout);
    for (uint32_t i = 0; !st && i < b->g->node_count; i++) {
        const ufi_node *n = &b->g->nodes[i];
        const uint32_t next = next_computed(b, i);
        if (next < b->g->node_count && cpu_can_fuse(b, n, &b->g->nodes[next])) {
            for (; i < next; i++)
                consume_inputs(b, &b->g->nodes[i]);
            consume_inputs(b, &b->g->nodes[next]);
            st = cpu_build_fused(b, n, &b->g->nodes[next]);
        } else {
            st = build_node(b, n);
        }
        if (st)
            ufi_wrap(b->err, st, "planning node \"%s\" (%s)", n->name, ufi_op_name((ufi_op)n->op));
    }
    return st ? st : build_outputs(b);
}

/* ---- memory ---- */

static void touch(cpu_plan *p, int32_t buffer, uint32_t step)
{
    if (buffer < 0)
        return;
    ufi_buffer *m = &p->buffers[buffer];
    if (step < m->first_step)
        m->first_step = step;
    if (step > m->last_step)
        m->last_step = step;
}

static void find_lifetimes(cpu_plan *p)
{
    uint32_t last = p->step_count ? p->step_count - 1 : 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        p->buffers[i].first_step = last;
        p->buffers[i].last_step = 0;
    }
    for (uint32_t i = 0; i < p->step_count; i++) {
        const cpu_step *s = &p->steps[i];
        for (uint32_t j = 0; j < s->in_count; j++)
            touch(p, s->in[j].buffer, i);
        for (uint32_t j = 0; j < s->out_count; j++)
            touch(p, s->out[j].buffer, i);
    }
    /* Inputs keep their contents over the whole run (it may be repeated), outputs beyond it. */
    for (uint32_t i = 0; i < p->graph.input_count; i++) {
        touch(p, p->inputs[i].buffer, 0);
        touch(p, p->inputs[i].buffer, last);
    }
    for (uint32_t i = 0; i < p->graph.output_count; i++)
        touch(p, p->outputs[i].buffer, last);
}

static void bind_operand(const cpu_plan *p, cpu_operand *o)
{
    if (o->buffer >= 0)
        o->t.data = p->memory + p->buffers[o->buffer].offset_bytes;
}

static void bind_pointers(cpu_plan *p)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        cpu_step *s = &p->steps[i];
        for (uint32_t j = 0; j < s->in_count; j++)
            bind_operand(p, &s->in[j]);
        for (uint32_t j = 0; j < s->out_count; j++)
            bind_operand(p, &s->out[j]);
    }
    for (uint32_t i = 0; i < p->graph.input_count; i++)
        bind_operand(p, &p->inputs[i]);
    for (uint32_t i = 0; i < p->graph.output_count; i++)
        bind_operand(p, &p->outputs[i]);
    p->shared_scratch = p->memory + p->shared_offset;
    p->worker_scratch = p->memory + p->worker_offset;
}

/* The memory may have moved since: another plan needed more. */
static void follow_memory(cpu_plan *p)
{
    if (p->memory == p->queue->memory)
        return;
    p->memory = p->queue->memory;
    bind_pointers(p);
}

static uf_status reserve_memory(cpu_queue *q, size_t bytes, uf_error *err)
{
    if (q->memory && q->memory_bytes >= bytes)
        return UF_OK;
    uint8_t *memory = ufi_aligned_malloc(bytes ? bytes : 64);
    if (!memory)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %zu bytes of activations", bytes);
    ufi_free(q->memory);
    q->memory = memory;
    q->memory_bytes = bytes;
    return UF_OK;
}

static size_t round_up(size_t n)
{
    return (n + 63) & ~(size_t)63;
}

static uf_status place_memory(cpu_plan *p, uf_error *err)
{
    size_t arena, shared = 0, worker = 0, workers = ufi_pool_size(p->pool);
    find_lifetimes(p);
    uf_status st = ufi_memory_plan(p->buffers, p->buffer_count, &arena, err);
    if (st)
        return st;
    for (uint32_t i = 0; i < p->step_count; i++) {
        if (p->steps[i].shared_bytes > shared)
            shared = p->steps[i].shared_bytes;
        if (p->steps[i].worker_bytes > worker)
            worker = p->steps[i].worker_bytes;
    }
    shared = round_up(shared);
    worker = round_up(worker);
    if (arena > MAX_MEMORY_BYTES || shared > MAX_MEMORY_BYTES ||
        worker > MAX_MEMORY_BYTES / workers)
        return ufi_fail(
            err, UF_E_LIMIT,
            "the network needs more than %zu GiB for its activations at this input size",
            MAX_MEMORY_BYTES >> 30);
    p->shared_offset = round_up(arena);
    p->worker_offset = p->shared_offset + shared;
    p->worker_stride = worker;
    p->memory_bytes = p->worker_offset + worker * workers;
    st = reserve_memory(p->queue, p->memory_bytes, err);
    if (!st)
        follow_memory(p);
    return st;
}

/* ---- plans ---- */

/* A network that was exported with a fixed batch may hide it in constants (Reshape to [1, -1]);
 * with another batch such a graph computes nonsense or fails. Then every output's first dimension
 * does not follow the batch, and the caller must run one by one. */
static uf_status check_batch(const ufi_graph *source, const ufi_graph *g, uf_error *err)
{
    if (!g->input_count || !source->values[source->inputs[0]].has_shape)
        return UF_OK;
    int64_t declared = source->values[source->inputs[0]].shape.dims[0];
    int64_t asked = g->values[g->inputs[0]].shape.dims[0];
    if (declared < 0 || declared == asked)
        return UF_OK;
    for (uint32_t i = 0; i < g->output_count; i++) {
        const ufi_value *was = &source->values[source->outputs[i]];
        const ufi_value *now = &g->values[g->outputs[i]];
        if (!was->has_shape || was->shape.rank == 0 ||
            was->shape.dims[0] * asked != now->shape.dims[0] * declared)
            return ufi_fail(err, UF_E_UNSUPPORTED,
                            "the model was made for batch %lld and cannot run batch %lld at once",
                            (long long)declared, (long long)asked);
    }
    return UF_OK;
}

/* Whether the file left dimensions of an input open: then passes that compare shapes (residuals,
 * siblings) could do nothing when it was imported. */
static bool is_dynamic(const ufi_graph *g)
{
    for (uint32_t i = 0; i < g->input_count; i++) {
        const ufi_value *v = &g->values[g->inputs[i]];
        if (!v->has_shape || !ufi_shape_known(&v->shape))
            return true;
    }
    return false;
}

static uf_status infer_shapes(cpu_plan *p, const ufi_graph *source, const ufi_shape *inputs,
                              uf_error *err)
{
    uf_status st = ufi_graph_clone(&p->graph, source, err);
    if (st)
        return st;
    /* Shapes written down for another input size must not be believed. */
    for (uint32_t i = 0; i < p->graph.value_count; i++)
        if (!p->graph.values[i].data)
            p->graph.values[i].has_shape = false;
    for (uint32_t i = 0; i < p->graph.input_count; i++) {
        ufi_value *v = &p->graph.values[p->graph.inputs[i]];
        v->shape = inputs[i];
        v->has_shape = true;
    }
    st = ufi_graph_infer(&p->graph, MAX_FOLD_BYTES, err);
    if (!st)
        st = check_batch(source, &p->graph, err);
    if (st || !is_dynamic(source))
        return st;
    st = ufi_graph_optimize(&p->graph, err);
    return st ? st : ufi_graph_infer(&p->graph, MAX_FOLD_BYTES, err);
}

uf_status cpu_plan_create(void **out, void *queue, const ufi_shape *inputs, ufi_layout layout,
                          uf_error *err)
{
    cpu_queue *q = queue;
    cpu_plan *p = ufi_calloc(1, sizeof *p);
    if (!p)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a plan");
    ufi_arena_init(&p->arena, 0);
    ufi_graph_init(&p->graph);
    p->k = ufk_default_table();
    p->pool = q->pool;
    p->queue = q;
    cpu_builder b = {.program = q->program,
                     .plan = p,
                     .g = &p->graph,
                     .k = p->k,
                     .workers = ufi_pool_size(q->pool),
                     .steady = q->steady,
                     .err = err};
    const ufi_graph *graph = cpu_program_graph(q->program);
    uf_status st = ufi_file_map_check(&graph->map, err);
    if (!st)
        st = infer_shapes(p, graph, inputs, err);
    if (!st)
        st = build_steps(&b, layout);
    if (!st)
        st = place_memory(p, err);
    ufi_free(b.places);
    ufi_free(b.uses);
    ufi_free(b.pending);
    ufi_free(b.pinned);
    if (st)
        cpu_plan_destroy(p);
    else
        *out = p;
    return st;
}

void cpu_plan_destroy(void *plan)
{
    cpu_plan *p = plan;
    if (!p)
        return;
    ufi_free(p->buffers);
    ufi_free(p->steps);
    ufi_graph_free(&p->graph);
    ufi_arena_free(&p->arena);
    ufi_free(p);
}

static void measure_peaks(cpu_plan *p)
{
    for (uint32_t i = 0; i < p->step_count; i++) {
        const cpu_step *s = &p->steps[i];
        if (s->macs && !p->peaks[s->arithmetic])
            p->peaks[s->arithmetic] = cpu_peak_macs_per_ns(p->k, s->arithmetic);
    }
}

uf_status cpu_plan_run(void *plan, bool profile, uf_error *err)
{
    cpu_plan *p = plan;
    uint64_t before = profile ? ufi_clock_ns() : 0;
    follow_memory(p);
    for (uint32_t i = 0; i < p->step_count; i++) {
        cpu_step *s = &p->steps[i];
        uf_status st = s->run(s, p, err);
        if (st)
            return ufi_wrap(err, st, "node \"%s\"", s->node ? s->node->name : "");
        if (profile) {
            uint64_t now = ufi_clock_ns();
            s->time_ns = now - before;
            before = now;
        }
    }
    if (profile)
        measure_peaks(p);
    return UF_OK;
}

ufi_tensor *cpu_plan_tensor(void *plan, bool output, uint32_t i)
{
    cpu_plan *p = plan;
    if (i >= (output ? p->graph.output_count : p->graph.input_count))
        return NULL;
    follow_memory(p);
    return output ? &p->outputs[i].t : &p->inputs[i].t;
}

bool cpu_plan_step(const void *plan, uint32_t i, ufi_step_info *out)
{
    const cpu_plan *p = plan;
    if (i >= p->step_count)
        return false;
    const cpu_step *s = &p->steps[i];
    *out = (ufi_step_info){
        .op = s->node ? ufi_op_name((ufi_op)s->node->op) : "Convert",
        .name = s->node ? s->node->name : "",
        .kernel = s->kernel,
        .macs = s->macs,
        .time_ns = s->time_ns,
        .peak_macs_per_ns = s->macs ? p->peaks[s->arithmetic] * (double)ufi_pool_size(p->pool) : 0,
        .output_bytes = s->out_count ? ufi_tensor_bytes(&s->out[0].t) : 0,
    };
    if (s->out_count)
        out->output_shape = s->out[0].t.shape;
    return true;
}

size_t cpu_plan_bytes(const void *plan)
{
    return ((const cpu_plan *)plan)->memory_bytes;
}
