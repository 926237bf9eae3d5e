/* Trying the ways of quantisation. */
#include "optimize/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "optimize/equalize.h"
#include "optimize/half.h"

typedef struct search {
    const ufi_graph *g;
    const ufi_samples *samples;
    const ufi_search_options *options;
    ufi_judge judge;
    size_t done, total;
    ufi_graph *out;
    ufi_trial *best;
    bool has_best;
    double aim; /* 0 until layers are kept in FP32 */
    uf_error *err;
} search;

/* ---- trials ---- */

/* Whether the trial is better than the best so far: nearer, or, once both reach the aim, with fewer
 * layers in FP32. */
static bool is_better(const search *s, const ufi_trial *t)
{
    if (!s->has_best)
        return true;
    if (s->aim > 0 && t->agreement >= s->aim && s->best->agreement >= s->aim)
        return t->kept < s->best->kept;
    return t->agreement > s->best->agreement;
}

static uf_status try_one(search *s, const ufi_graph *g, const ufi_observer *o, ufi_trial trial,
                         const bool *keep_float, double *agreement)
{
    ufi_graph made;
    const ufi_quantize_options options = {
        .method = trial.method, .correct_bias = trial.bias_corrected, .keep_float = keep_float};
    uf_status st = ufi_quantize_graph(&made, g, o, &options, s->err);
    *agreement = 0;
    if (st)
        return st;
    st = ufi_store_weights_half(&made, s->err); /* of the layers that stay in FP32 */
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
                                     .method = (ufi_range_method)m};
            double agreement;
            st = try_one(s, g, o, trial, NULL, &agreement);
        }
    }
    return st;
}

/* ---- layers that stay in FP32 ---- */

typedef struct layer {
    uint32_t node;
    double loss, macs; /* 1 - agreement when only this one is quantised */
} layer;

/* Most loss for the least work first. */
static int worst_first(const void *pa, const void *pb)
{
    const layer *a = pa, *b = pb;
    const double x = a->loss / a->macs, y = b->loss / b->macs;
    return (x < y) - (x > y);
}

/* What each layer loses by itself. */
static uf_status measure_layers(search *s, const ufi_graph *g, const ufi_observer *o,
                                const ufi_quantize_options *base, layer *layers, uint32_t *count)
{
    bool *keep = ufi_malloc(g->node_count + 1, sizeof *keep);
    bool *quantizable = ufi_malloc(g->node_count + 1, sizeof *quantizable);
    uf_status st = keep && quantizable ? ufi_quantizable_nodes(g, o, quantizable, s->err)
                                       : ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    ufi_quantize_options options = *base;
    options.keep_float = keep;
    *count = 0;
    for (uint32_t i = 0; !st && i < g->node_count; i++) {
        ufi_graph made;
        double agreement = 1;
        if (!quantizable[i])
            continue;
        memset(keep, 1, g->node_count * sizeof *keep);
        keep[i] = false;
        st = ufi_quantize_graph(&made, g, o, &options, s->err);
        if (!st) {
            st = ufi_judge_graph(&s->judge, &made, &agreement, s->err);
            ufi_graph_free(&made);
        }
        const double macs = (double)ufi_node_macs(g, &g->nodes[i]);
        layers[(*count)++] = (layer){i, 1 - agreement, macs > 1 ? macs : 1};
    }
    ufi_free(keep);
    ufi_free(quantizable);
    return st;
}

/* The graph with the first `kept` of `layers` in FP32. */
static uf_status try_kept(search *s, const ufi_graph *g, const ufi_observer *o, ufi_trial trial,
                          const layer *layers, double *agreement)
{
    bool *keep = ufi_calloc(g->node_count + 1, sizeof *keep);
    if (!keep)
        return ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    for (uint32_t i = 0; i < trial.kept; i++)
        keep[layers[i].node] = true;
    s->total++;
    uf_status st = try_one(s, g, o, trial, keep, agreement);
    ufi_free(keep);
    return st;
}

/* As few layers in FP32 as it takes to reach min_agreement; found by halving. */
static uf_status keep_layers(search *s, const ufi_graph *g, const ufi_observer *o)
{
    ufi_trial trial = *s->best;
    const ufi_quantize_options base = {.method = trial.method,
                                       .correct_bias = trial.bias_corrected};
    layer *layers = ufi_malloc(g->node_count + 1, sizeof *layers);
    uint32_t count = 0;
    uf_status st = layers ? measure_layers(s, g, o, &base, layers, &count)
                          : ufi_fail(s->err, UF_E_NOMEM, "no memory for a search");
    if (!st)
        qsort(layers, count, sizeof *layers, worst_first);
    uint32_t low = 0, high = count ? count - 1 : 0; /* at least one stays quantised */
    s->aim = s->options->min_agreement;
    trial.layers = count;
    while (!st && low < high) {
        double agreement;
        trial.kept = (low + high) / 2;
        st = try_kept(s, g, o, trial, layers, &agreement);
        if (agreement >= s->aim)
            high = trial.kept;
        else
            low = trial.kept + 1;
    }
    if (!st && count && s->best->agreement < s->aim) {
        double agreement;
        trial.kept = high;
        st = try_kept(s, g, o, trial, layers, &agreement);
    }
    ufi_free(layers);
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
    if (!st && s->best->agreement < s->options->min_agreement)
        st = s->best->equalized ? keep_layers(s, &g, again) : keep_layers(s, s->g, o);
    ufi_runner_close(&r);
    ufi_observer_destroy(again);
    ufi_graph_free(&g);
    return st;
}

uf_status ufi_quantize_search(ufi_graph *out, const ufi_graph *g, const ufi_observer *o,
                              const ufi_samples *samples, const ufi_search_options *options,
                              ufi_trial *best, uf_error *err)
{
    search s = {
        .g = g, .samples = samples, .options = options, .out = out, .best = best, .err = err};
    ufi_graph_init(out);
    s.total = options->all_methods ? 16 : 4;
    uf_status st = ufi_judge_open(&s.judge, g, samples, UFI_MAX_JUDGED, options->threads,
                                  options->agreement, options->agreement_arg, err);
    if (!st)
        st = try_all(&s, g, o, false);
    if (!st)
        st = try_equalized(&s, o);
    ufi_judge_close(&s.judge);
    if (st)
        ufi_graph_free(out);
    return st;
}
