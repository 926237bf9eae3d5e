/* Trying the ways of quantisation. */
#include "optimize/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "optimize/equalize.h"
#include "optimize/half.h"

/* So much agreement may faster weights cost. */
#define MOST_FOR_SPEED 0.001

typedef struct search {
    const ufi_graph *g;
    const ufi_observer *observer; /* of g */
    const ufi_samples *samples;
    const ufi_search_options *options;
    ufi_judge judge;
    size_t done, total;
    ufi_graph *out;
    ufi_trial *best;
    bool has_best;
    double aim;  /* 0 until layers are kept in FP32 */
    bool *heads; /* per node: stays in FP32 always */
    bool *kept;  /* per node: in FP32 in the best graph */
    uint32_t head_count, layers;
    ufi_patches *patches; /* per node of the best graph, for trials that round by them */
    uint32_t node_count;
    uf_error *err;
} search;

/* ---- heads ---- */

/* Convolutions and fully connected layers with none of these behind them. */
static uf_status mark_last_layers(const ufi_graph *g, bool *last, uf_error *err)
{
    bool *reached = ufi_calloc(g->value_count + 1, sizeof *reached);
    if (!reached)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a search");
    for (uint32_t i = 0; i < g->output_count; i++)
        reached[g->outputs[i]] = true;
    for (uint32_t i = g->node_count; i-- > 0;) {
        const ufi_node *n = &g->nodes[i];
        bool leads_out = false;
        for (uint32_t k = 0; k < n->out_count; k++)
            leads_out |= n->out[k] != UFI_NONE && reached[n->out[k]];
        last[i] = leads_out && (n->op == UFI_OP_CONV || n->op == UFI_OP_GEMM);
        for (uint32_t k = 0; leads_out && !last[i] && k < n->in_count; k++)
            if (n->in[k] != UFI_NONE)
                reached[n->in[k]] = true;
    }
    ufi_free(reached);
    return UF_OK;
}

/* A network that is heads only keeps none. */
static uf_status find_heads(search *s, const ufi_observer *o)
{
    const uint32_t count = s->g->node_count;
    bool *quantizable = ufi_calloc(count + 1, sizeof *quantizable);
    s->heads = ufi_calloc(count + 1, sizeof *s->heads);
    uf_status st = quantizable && s->heads
                       ? ufi_quantizable_nodes(s->g, o, false, quantizable, s->err)
                       : ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    if (!st && s->options->float_heads)
        st = mark_last_layers(s->g, s->heads, s->err);
    for (uint32_t i = 0; !st && i < count; i++) {
        s->heads[i] = s->heads[i] && quantizable[i];
        s->head_count += s->heads[i];
        s->layers += quantizable[i];
    }
    if (!st && s->head_count == s->layers) {
        memset(s->heads, 0, count * sizeof *s->heads);
        s->head_count = 0;
    }
    ufi_free(quantizable);
    return st;
}

/* ---- trials ---- */

/* Whether the trial is better than the best so far: nearer, or, once both reach the aim, with fewer
 * layers in FP32. */
static bool is_better(const search *s, const ufi_trial *t)
{
    if (!s->has_best)
        return true;
    if (t->narrow) /* for speed */
        return t->agreement >= fmax(s->options->min_agreement, s->best->agreement - MOST_FOR_SPEED);
    if (s->aim > 0 && t->agreement >= s->aim && s->best->agreement >= s->aim)
        return t->kept < s->best->kept;
    return t->agreement > s->best->agreement;
}

static uf_status try_one(search *s, const ufi_graph *g, const ufi_observer *o, ufi_trial trial,
                         const bool *keep_float, double *agreement)
{
    ufi_graph made;
    const ufi_quantize_options options = {.method = trial.method,
                                          .words = trial.words,
                                          .correct_bias = trial.bias_corrected,
                                          .keep_float = keep_float,
                                          .narrow = trial.narrow,
                                          .patches = trial.rounded ? s->patches : NULL};
    uf_status st = ufi_quantize_graph(&made, g, o, &options, s->err);
    *agreement = 0;
    if (st)
        return st;
    if (!trial.words) /* of the layers that stay in FP32; half is less than words keep */
        st = ufi_store_weights_half(&made, s->err);
    if (!st)
        st = ufi_judge_graph(&s->judge, &made, &trial.agreement, s->err);
    *agreement = trial.agreement;
    s->done++;
    if (!st && s->options->progress &&
        !s->options->progress(s->options->arg, &trial, s->done, s->total))
        st = ufi_fail(s->err, UF_E_CANCELLED, "quantisation was cancelled");
    if (!st && is_better(s, &trial)) {
        ufi_graph_free(s->out);
        *s->out = made;
        *s->best = trial;
        s->has_best = true;
        memcpy(s->kept, keep_float, g->node_count * sizeof *s->kept);
    } else {
        ufi_graph_free(&made);
    }
    return st;
}

static uf_status try_all(search *s, const ufi_graph *g, const ufi_observer *o, bool equalized)
{
    uf_status st = UF_OK;
    for (int m = UFI_RANGE_MINMAX; !st && m <= UFI_RANGE_ENTROPY; m++) {
        if (!s->options->all_methods && m != (int)s->options->method)
            continue;
        for (int corrected = 0; !st && corrected < 2; corrected++) {
            const ufi_trial trial = {.equalized = equalized,
                                     .bias_corrected = corrected == 1,
                                     .method = (ufi_range_method)m,
                                     .kept = s->head_count,
                                     .layers = s->head_count ? s->layers : 0};
            double agreement;
            st = try_one(s, g, o, trial, s->heads, &agreement);
        }
    }
    return st;
}

/* ---- rounding by data ---- */

/* The best trial again with its weights rounded by what they meet. `g` and `o` are what it was made
 * of. */
static uf_status try_rounded(search *s, const ufi_graph *g, const ufi_observer *o)
{
    ufi_judge judge = s->judge;
    ufi_trial trial = *s->best;
    double agreement;
    judge.g = g;
    trial.rounded = true;
    trial.bias_corrected = true; /* rounding leaves the means to that */
    s->node_count = g->node_count;
    s->patches = ufi_calloc(g->node_count + 1, sizeof *s->patches);
    uf_status st = s->patches ? ufi_patches_collect(s->patches, &judge, s->err)
                              : ufi_fail(s->err, UF_E_NOMEM, "no memory for rounding weights");
    return st ? st : try_one(s, g, o, trial, s->heads, &agreement);
}

/* ---- 16 bits ---- */

static uf_status try_words(search *s)
{
    ufi_trial trial = {.words = true, .kept = s->layers, .layers = s->layers};
    double agreement;
    bool *able = ufi_calloc(s->g->node_count + 1, sizeof *able);
    uf_status st = able ? ufi_quantizable_nodes(s->g, s->observer, true, able, s->err)
                        : ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    for (uint32_t i = 0; !st && i < s->g->node_count; i++)
        trial.kept -= able[i] && !s->heads[i];
    ufi_free(able);
    s->total++;
    if (!st && trial.kept < s->layers)
        st = try_one(s, s->g, s->observer, trial, s->heads, &agreement);
    return st;
}

/* ---- layers that stay in FP32 ---- */

typedef struct layer {
    uint32_t node;
    double loss, cost; /* 1 - agreement when only this one is quantised; of keeping it in FP32 */
} layer;

/* Most loss for the least cost first. */
static int worst_first(const void *pa, const void *pb)
{
    const layer *a = pa, *b = pb;
    const double x = a->loss / a->cost, y = b->loss / b->cost;
    return (x < y) - (x > y);
}

/* A layer in FP32 takes longer for each product, and for each output, which has four times the
 * bytes and is converted on the way to its readers. As much as 24 products by the depthwise layers
 * of a detector (AVX-512); the same on every machine, so that all choose the same. */
#define OUTPUT_COST 24

static double layer_cost(const ufi_graph *sized, uint32_t node)
{
    const ufi_node *n = &sized->nodes[node];
    const double outputs = (double)ufi_shape_count(&sized->values[n->out[0]].shape);
    return fmax((double)ufi_node_macs(sized, n) + OUTPUT_COST * outputs, 1);
}

/* What each layer loses by itself. */
static uf_status measure_layers(search *s, const ufi_graph *g, const ufi_observer *o,
                                const ufi_quantize_options *base, layer *layers, uint32_t *count)
{
    bool *keep = ufi_malloc(g->node_count + 1, sizeof *keep);
    bool *quantizable = ufi_malloc(g->node_count + 1, sizeof *quantizable);
    uf_status st = keep && quantizable ? ufi_quantizable_nodes(g, o, false, quantizable, s->err)
                                       : ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    ufi_graph sized = {0};
    ufi_judge judge = s->judge;
    ufi_quantize_options options = *base;
    options.keep_float = keep;
    judge.strictly = true;
    *count = 0;
    if (!st)
        st = ufi_samples_size(&sized, g, s->samples, s->err);
    for (uint32_t i = 0; !st && i < g->node_count; i++) {
        ufi_graph made;
        double agreement = 1;
        if (!quantizable[i] || s->heads[i])
            continue;
        memset(keep, 1, g->node_count * sizeof *keep);
        keep[i] = false;
        st = ufi_quantize_graph(&made, g, o, &options, s->err);
        if (!st) {
            st = ufi_judge_graph(&judge, &made, &agreement, s->err);
            ufi_graph_free(&made);
        }
        layers[(*count)++] = (layer){i, 1 - agreement, layer_cost(&sized, i)};
    }
    ufi_graph_free(&sized);
    ufi_free(keep);
    ufi_free(quantizable);
    return st;
}

/* The graph with the heads and the first `kept` of `layers` in FP32. */
static uf_status try_kept(search *s, const ufi_graph *g, const ufi_observer *o, ufi_trial trial,
                          const layer *layers, uint32_t kept, double *agreement)
{
    bool *keep = ufi_calloc(g->node_count + 1, sizeof *keep);
    if (!keep)
        return ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    memcpy(keep, s->heads, g->node_count * sizeof *keep);
    for (uint32_t i = 0; i < kept; i++)
        keep[layers[i].node] = true;
    trial.kept = s->head_count + kept;
    trial.layers = s->layers;
    s->total++;
    uf_status st = try_one(s, g, o, trial, keep, agreement);
    ufi_free(keep);
    return st;
}

/* As few layers in FP32 as it takes to reach min_agreement; found by halving. `trial` is the best
 * way in bytes. */
static uf_status keep_layers(search *s, ufi_trial trial, const ufi_graph *g, const ufi_observer *o)
{
    const ufi_quantize_options base = {.method = trial.method,
                                       .correct_bias = trial.bias_corrected,
                                       .patches = trial.rounded ? s->patches : NULL};
    layer *layers = ufi_malloc(g->node_count + 1, sizeof *layers);
    uint32_t count = 0;
    uf_status st = layers ? measure_layers(s, g, o, &base, layers, &count)
                          : ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    if (!st)
        qsort(layers, count, sizeof *layers, worst_first);
    uint32_t low = 0, high = count ? count - 1 : 0; /* at least one stays quantised */
    s->aim = s->options->min_agreement;
    while (!st && low < high) {
        double agreement;
        const uint32_t kept = (low + high) / 2;
        st = try_kept(s, g, o, trial, layers, kept, &agreement);
        if (agreement >= s->aim)
            high = kept;
        else
            low = kept + 1;
    }
    if (!st && count && s->best->agreement < s->aim) {
        double agreement;
        st = try_kept(s, g, o, trial, layers, high, &agreement);
    }
    ufi_free(layers);
    return st;
}

/* The best trial again with weights that are faster on some processors, if they are good enough. */
static uf_status try_narrow(search *s, const ufi_graph *g, const ufi_observer *o)
{
    ufi_trial trial = *s->best;
    double agreement;
    bool *keep = ufi_malloc(g->node_count + 1, sizeof *keep);
    if (!keep)
        return ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    memcpy(keep, s->kept, g->node_count * sizeof *keep);
    trial.narrow = true;
    uf_status st = try_one(s, g, o, trial, keep, &agreement);
    ufi_free(keep);
    return st;
}

/* The equalised graph must be observed again, its activations are others. */
static uf_status try_equalized(search *s, const ufi_observer *o)
{
    ufi_graph g;
    ufi_observer *again = NULL;
    ufi_runner r = {0};
    uint32_t groups = 0;
    uf_status st = ufi_graph_clone(&g, s->g, s->err);
    if (!st)
        st = ufi_equalize_graph(&g, o, &groups, s->err);
    if (!st && groups)
        st = ufi_observer_create(&again, &g, s->err);
    if (!st && groups)
        st = ufi_runner_prepare(&r, ufi_observer_program(again), s->samples, s->options->threads,
                                s->err);
    for (size_t i = 0; !st && groups && i < s->samples->count; i++) {
        st = ufi_runner_run(&r, i, s->err);
        if (!st)
            ufi_observer_take(again, r.context);
    }
    if (!st && groups)
        st = try_all(s, &g, again, true);
    const bool equalized = !st && s->best->equalized;
    if (!st)
        st = try_rounded(s, equalized ? &g : s->g, equalized ? again : o);
    const ufi_trial bytes = st ? (ufi_trial){0} : *s->best;
    if (!st && s->options->words && s->best->agreement < s->options->min_agreement)
        st = try_words(s);
    if (!st && s->best->agreement < s->options->min_agreement)
        st = keep_layers(s, bytes, equalized ? &g : s->g, equalized ? again : o);
    if (!st && !s->best->words)
        st = try_narrow(s, equalized ? &g : s->g, equalized ? again : o);
    ufi_runner_close(&r);
    ufi_observer_destroy(again);
    ufi_graph_free(&g);
    return st;
}

uf_status ufi_quantize_search(ufi_graph *out, const ufi_graph *g, const ufi_observer *o,
                              const ufi_samples *samples, const ufi_search_options *options,
                              ufi_trial *best, uf_error *err)
{
    search s = {.g = g,
                .observer = o,
                .samples = samples,
                .options = options,
                .out = out,
                .best = best,
                .err = err};
    ufi_graph_init(out);
    s.total = options->all_methods ? 18 : 6;
    s.kept = ufi_malloc(g->node_count + 1, sizeof *s.kept);
    uf_status st = ufi_judge_open(&s.judge, g, samples, UFI_MAX_JUDGED, options->threads,
                                  options->agreement, options->agreement_arg, err);
    if (!st && !s.kept)
        st = ufi_fail(err, UF_E_NOMEM, "no memory for a search");
    if (!st)
        st = find_heads(&s, o);
    if (!st)
        st = try_all(&s, g, o, false);
    if (!st)
        st = try_equalized(&s, o);
    ufi_judge_close(&s.judge);
    ufi_free(s.heads);
    ufi_free(s.kept);
    if (s.patches)
        ufi_patches_free(s.patches, s.node_count);
    ufi_free(s.patches);
    if (st)
        ufi_graph_free(out);
    return st;
}
