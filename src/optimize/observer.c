/* Watching activations. */
#include "optimize/observer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { METHODS = UFI_RANGE_ENTROPY + 1 };

/* Ranges of one value, as far as they were asked for. */
typedef struct range_cache {
    bool known[METHODS];
    float lo[METHODS], hi[METHODS];
} range_cache;

struct ufi_observer {
    ufi_graph graph; /* a clone whose outputs are the watched values */
    ufi_program *program;
    ufi_histogram **of_value; /* per value of the graph; NULL: not watched */
    ufi_channel_stats *channels;
    range_cache *ranges; /* forgotten when more is observed */
    uint32_t value_count;
    uint64_t runs;
};

/* What convolutions, scalings, additions and pooling read or write: all that can become bytes. */
static bool is_watched_op(uint16_t op)
{
    return op == UFI_OP_CONV || op == UFI_OP_GEMM || op == UFI_OP_AFFINE || op == UFI_OP_ADD ||
           op == UFI_OP_MAX_POOL || op == UFI_OP_RESIZE || op == UFI_OP_FLATTEN ||
           op == UFI_OP_RESHAPE;
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
    o->channels = ufi_calloc(g->value_count + 1, sizeof *o->channels);
    o->ranges = ufi_calloc(g->value_count + 1, sizeof *o->ranges);
    uf_status st = o->of_value && o->channels && o->ranges
                       ? ufi_graph_clone(&o->graph, g, err)
                       : ufi_fail(err, UF_E_NOMEM, "no memory for an observer");
    if (!st)
        st = choose_values(o, err);
    if (!st)
        st = expose(o, err);
    if (!st)
        st = ufi_program_create(&o->program, &o->graph, "CPU", err);
    if (st) {
        ufi_observer_destroy(o);
        return st;
    }
    ufi_program_set_exact(o->program);
    *out = o;
    return UF_OK;
}

void ufi_observer_destroy(ufi_observer *o)
{
    if (!o)
        return;
    ufi_program_destroy(o->program);
    for (uint32_t i = 0; o->of_value && o->channels && i < o->value_count; i++) {
        ufi_free(o->of_value[i]);
        ufi_free(o->channels[i].most);
        ufi_free(o->channels[i].sum);
    }
    ufi_free(o->of_value);
    ufi_free(o->channels);
    ufi_free(o->ranges);
    ufi_graph_free(&o->graph);
    ufi_free(o);
}

ufi_program *ufi_observer_program(ufi_observer *o)
{
    return o->program;
}

/* Room for the channels of value `v`, made when the first tensor shows how many there are. */
static ufi_channel_stats *need_channels(ufi_observer *o, uint32_t v, size_t channels)
{
    ufi_channel_stats *s = &o->channels[v];
    if (!s->channels) {
        s->most = ufi_calloc(channels, sizeof *s->most);
        s->sum = ufi_calloc(channels, sizeof *s->sum);
        s->channels = s->most && s->sum ? channels : 0;
    }
    return s->channels == channels ? s : NULL;
}

/* Statistics of the channels are an extra: without memory for them they stay unknown. */
static void take_channels(ufi_observer *o, uint32_t v, const ufi_tensor *t)
{
    if (t->shape.rank != 4)
        return;
    const size_t channels = (size_t)t->shape.dims[1];
    const size_t pixels = (size_t)(t->shape.dims[2] * t->shape.dims[3]);
    const bool last = t->layout == UFI_NHWC;
    ufi_channel_stats *s = need_channels(o, v, channels);
    if (!s)
        return;
    for (size_t n = 0; n < (size_t)t->shape.dims[0]; n++)
        for (size_t c = 0; c < channels; c++) {
            const float *x =
                (const float *)t->data + n * channels * pixels + (last ? c : c * pixels);
            float most = s->most[c], sum = 0;
            for (size_t i = 0; i < pixels; i++) {
                const float value = x[last ? i * channels : i];
                most = fabsf(value) > most ? fabsf(value) : most;
                sum += value;
            }
            s->most[c] = most;
            s->sum[c] += (double)sum;
        }
    s->count += (uint64_t)t->shape.dims[0] * pixels;
}

static void take_tensor(ufi_observer *o, uint32_t v, const ufi_tensor *t)
{
    if (!o->of_value[v])
        return;
    ufi_histogram_add(o->of_value[v], t->data, (size_t)ufi_shape_count(&t->shape));
    take_channels(o, v, t);
}

void ufi_observer_take(ufi_observer *o, ufi_context *c)
{
    const ufi_graph *g = &o->graph;
    for (uint32_t i = 0; i < g->input_count; i++)
        take_tensor(o, g->inputs[i], ufi_context_input(c, i));
    for (uint32_t i = 0; i < g->output_count; i++)
        take_tensor(o, g->outputs[i], ufi_context_output(c, i));
    memset(o->ranges, 0, o->value_count * sizeof *o->ranges);
    o->runs++;
}

bool ufi_observer_range(const ufi_observer *o, uint32_t v, ufi_range_method method, float *lo,
                        float *hi)
{
    if (v >= o->value_count || !o->of_value[v])
        return false;
    range_cache *r = &o->ranges[v];
    if (!r->known[method])
        ufi_histogram_range(o->of_value[v], method, &r->lo[method], &r->hi[method]);
    r->known[method] = true;
    *lo = r->lo[method];
    *hi = r->hi[method];
    return true;
}

uint64_t ufi_observer_runs(const ufi_observer *o)
{
    return o->runs;
}

const ufi_histogram *ufi_observer_histogram(const ufi_observer *o, uint32_t v)
{
    return v < o->value_count ? o->of_value[v] : NULL;
}

const ufi_channel_stats *ufi_observer_channels(const ufi_observer *o, uint32_t v)
{
    return v < o->value_count ? &o->channels[v] : NULL;
}
