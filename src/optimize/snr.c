/* Signal to noise of layers. */
#include "optimize/snr.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* A layer of both graphs. */
typedef struct layer {
    const char *name;
    uint32_t values[2]; /* its output in each graph, as floats */
    int bits;           /* see ufi_layer_fn */
    size_t channels;
    double *sums; /* of each channel: a a, a b, b b, where a is the signal */
} layer;

typedef struct comparison {
    ufi_graph graphs[2]; /* clones whose outputs are the layers' */
    ufi_runner runners[2];
    layer *layers;
    uint32_t count;
} comparison;

static bool is_layer(const ufi_node *n)
{
    return (n->op == UFI_OP_CONV || n->op == UFI_OP_GEMM || n->op == UFI_OP_QCONV) && n->name[0];
}

static const ufi_node *layer_named(const ufi_graph *g, const char *name)
{
    for (uint32_t i = 0; i < g->node_count; i++)
        if (is_layer(&g->nodes[i]) && !strcmp(g->nodes[i].name, name))
            return &g->nodes[i];
    return NULL;
}

/* 8 or 16 where it works on bytes or words, 0 elsewhere. */
static int bits_of(const ufi_graph *g, const ufi_node *n)
{
    if (n->op != UFI_OP_QCONV)
        return 0;
    return g->values[n->in[0]].dtype == UF_I16 ? 16 : 8;
}

/* The layer's output as floats: bytes are led through a conversion that is added. */
static uf_status float_output(ufi_graph *g, const ufi_node *n, uint32_t *value, uf_error *err)
{
    const uint32_t out = n->out[0];
    uint32_t index;
    *value = out;
    if (n->op != UFI_OP_QCONV || n->in_count < 12 || n->in[10] == UFI_NONE)
        return UF_OK;
    const uint32_t in[3] = {out, n->in[10], n->in[11]};
    uf_status st = ufi_graph_add_value(g, n->name, UF_F32, NULL, value, err);
    return st ? st
              : ufi_graph_add_node(g, UFI_OP_DEQUANTIZE_LINEAR, "", in, 3, value, 1, &index, err);
}

static uf_status find_layers(comparison *c, uf_error *err)
{
    const uint32_t nodes = c->graphs[0].node_count;
    uf_status st = UF_OK;
    c->layers = ufi_calloc(nodes + 1, sizeof *c->layers);
    if (!c->layers)
        return ufi_fail(err, UF_E_NOMEM, "no memory to compare layers");
    for (uint32_t i = 0; !st && i < nodes; i++) {
        const ufi_node *n = &c->graphs[0].nodes[i];
        const ufi_node *m = is_layer(n) ? layer_named(&c->graphs[1], n->name) : NULL;
        if (!m || n->op == UFI_OP_QCONV)
            continue;
        layer *l = &c->layers[c->count++];
        l->name = n->name;
        l->values[0] = n->out[0];
        l->bits = bits_of(&c->graphs[1], m);
        st = float_output(&c->graphs[1], m, &l->values[1], err);
    }
    return st || c->count ? st
                          : ufi_fail(err, UF_E_MISMATCH, "the networks have no layer in common");
}

static uf_status expose(comparison *c, int side, const ufi_samples *samples, unsigned threads,
                        uf_error *err)
{
    ufi_graph *g = &c->graphs[side];
    ufi_runner *r = &c->runners[side];
    uint32_t *outputs = ufi_malloc(c->count, sizeof *outputs);
    if (!outputs)
        return ufi_fail(err, UF_E_NOMEM, "no memory to compare layers");
    for (uint32_t i = 0; i < c->count; i++)
        outputs[i] = c->layers[i].values[side];
    uf_status st = ufi_graph_set_io(g, g->inputs, g->input_count, outputs, c->count, err);
    ufi_free(outputs);
    if (!st)
        st = ufi_graph_infer(g, 0, err);
    return st ? st : ufi_runner_open(r, g, samples, threads, err);
}

/* The element of `t` that stands at `i` of plain order. */
static size_t place_of(const ufi_tensor *t, size_t i)
{
    if (t->layout != UFI_NHWC || t->shape.rank != 4)
        return i;
    const size_t channels = (size_t)t->shape.dims[1];
    const size_t pixels = (size_t)(t->shape.dims[2] * t->shape.dims[3]);
    const size_t p = i % pixels, ch = i / pixels % channels, n = i / pixels / channels;
    return (n * pixels + p) * channels + ch;
}

static uf_status add_products(layer *l, const ufi_tensor *a, const ufi_tensor *b, uf_error *err)
{
    const size_t count = (size_t)ufi_shape_count(&a->shape);
    const bool image = a->shape.rank == 4;
    const size_t channels = image ? (size_t)a->shape.dims[1] : 1;
    const size_t pixels = image ? (size_t)(a->shape.dims[2] * a->shape.dims[3]) : count;
    const float *x = a->data, *y = b->data;
    if (count != (size_t)ufi_shape_count(&b->shape))
        return UF_OK; /* pruned: the channels are others */
    if (!l->sums && !(l->sums = ufi_calloc(3 * channels, sizeof *l->sums)))
        return ufi_fail(err, UF_E_NOMEM, "no memory to compare layers");
    l->channels = channels;
    for (size_t i = 0; i < count; i++) {
        const double u = (double)x[place_of(a, i)], v = (double)y[place_of(b, i)];
        double *sum = l->sums + 3 * (i / pixels % channels);
        sum[0] += u * u;
        sum[1] += u * v;
        sum[2] += v * v;
    }
    return UF_OK;
}

/* Noise is what is left when each channel is scaled as suits it best. */
static bool layer_ratio(const layer *l, double *db)
{
    double signal = 0, noise = 0;
    for (size_t c = 0; c < l->channels; c++) {
        const double *sum = l->sums + 3 * c;
        signal += sum[0];
        noise += sum[2] > 0 ? fmax(0, sum[0] - sum[1] * sum[1] / sum[2]) : sum[0];
    }
    /* Sums of products lose some ten digits: below that there is no difference. */
    *db = noise > signal * 1e-12 ? 10 * log10(signal / noise) : INFINITY;
    return signal > 0;
}

static uf_status run_samples(comparison *c, const ufi_samples *samples, uf_error *err)
{
    uf_status st = UF_OK;
    for (size_t s = 0; !st && s < samples->count; s++) {
        for (int k = 0; !st && k < 2; k++)
            st = ufi_runner_run(&c->runners[k], s, err);
        for (uint32_t i = 0; !st && i < c->count; i++)
            st = add_products(&c->layers[i], ufi_context_output(c->runners[0].context, i),
                              ufi_context_output(c->runners[1].context, i), err);
    }
    return st;
}

uf_status ufi_layer_snr(const ufi_graph *g, const ufi_graph *changed, const ufi_samples *samples,
                        unsigned threads, ufi_layer_fn *fn, void *arg, uf_error *err)
{
    comparison c = {0};
    uf_status st = samples->count ? ufi_graph_clone(&c.graphs[0], g, err)
                                  : ufi_fail(err, UF_E_STATE, "there are no sample inputs");
    if (!st)
        st = ufi_graph_clone(&c.graphs[1], changed, err);
    if (!st)
        st = find_layers(&c, err);
    for (int k = 0; !st && k < 2; k++)
        st = expose(&c, k, samples, threads, err);
    if (!st)
        st = run_samples(&c, samples, err);
    for (uint32_t i = 0; i < c.count; i++) {
        double db;
        if (!st && layer_ratio(&c.layers[i], &db))
            fn(arg, c.layers[i].name, c.layers[i].bits, db);
        ufi_free(c.layers[i].sums);
    }
    for (int k = 0; k < 2; k++) {
        ufi_runner_close(&c.runners[k]);
        ufi_graph_free(&c.graphs[k]);
    }
    ufi_free(c.layers);
    return st;
}
