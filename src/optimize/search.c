/* Trying the ways of quantisation. */
#include "optimize/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "optimize/equalize.h"

/* ---- samples ---- */

uf_status ufi_samples_add(ufi_samples *s, const ufi_tensor *input, uf_error *err)
{
    const size_t bytes = ufi_tensor_bytes(input);
    if (s->bytes + bytes > UFI_SAMPLES_MAX_BYTES)
        return UF_OK;
    if (s->count == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 64;
        float **inputs = ufi_realloc(s->inputs, cap, sizeof *inputs);
        if (!inputs)
            return ufi_fail(err, UF_E_NOMEM, "no memory for calibration inputs");
        s->inputs = inputs;
        s->cap = cap;
    }
    float *copy = ufi_malloc(bytes, 1);
    if (!copy)
        return ufi_fail(err, UF_E_NOMEM, "no memory for calibration inputs");
    memcpy(copy, input->data, bytes);
    s->inputs[s->count++] = copy;
    s->shape = input->shape;
    s->layout = input->layout;
    s->bytes += bytes;
    return UF_OK;
}

void ufi_samples_free(ufi_samples *s)
{
    for (size_t i = 0; i < s->count; i++)
        ufi_free(s->inputs[i]);
    ufi_free(s->inputs);
    *s = (ufi_samples){0};
}

/* ---- running a graph over samples ---- */

typedef struct runner {
    ufi_program *program;
    ufi_context *context;
    const ufi_samples *samples;
} runner;

static void close_runner(runner *r)
{
    ufi_context_destroy(r->context);
    ufi_program_destroy(r->program);
    *r = (runner){0};
}

static uf_status prepare(runner *r, ufi_program *program, const ufi_samples *s, unsigned threads,
                         uf_error *err)
{
    r->samples = s;
    uf_status st = ufi_context_create(&r->context, program, threads, err);
    return st ? st : ufi_context_prepare(r->context, &s->shape, 1, s->layout, err);
}

static uf_status open_runner(runner *r, const ufi_graph *g, const ufi_samples *s, unsigned threads,
                             uf_error *err)
{
    *r = (runner){0};
    uf_status st = ufi_program_create(&r->program, g, "CPU", err);
    return st ? st : prepare(r, r->program, s, threads, err);
}

static uf_status run_sample(runner *r, size_t i, uf_error *err)
{
    ufi_tensor *in = ufi_context_input(r->context, 0);
    memcpy(in->data, r->samples->inputs[i], ufi_tensor_bytes(in));
    return ufi_context_run(r->context, err);
}

/* ---- judging ---- */

typedef struct search {
    const ufi_graph *g;
    const ufi_samples *samples;
    const ufi_search_options *options;
    size_t judged;   /* samples that are judged, evenly over all */
    float **answers; /* of FP32, all outputs one after the other */
    size_t done, total;
    ufi_graph *out;
    ufi_trial *best;
    bool has_best;
    double aim; /* 0 until layers are kept in FP32 */
    uf_error *err;
} search;

static size_t judged_sample(const search *s, size_t i)
{
    return i * s->samples->count / s->judged;
}

static size_t answer_size(const runner *r, uint32_t outputs)
{
    size_t size = 0;
    for (uint32_t i = 0; i < outputs; i++)
        size += (size_t)ufi_shape_count(&ufi_context_output(r->context, i)->shape);
    return size;
}

static uf_status find_answers(search *s)
{
    runner r;
    uf_status st = open_runner(&r, s->g, s->samples, s->options->threads, s->err);
    s->answers = ufi_calloc(s->judged, sizeof *s->answers);
    if (!st && !s->answers)
        st = ufi_fail(s->err, UF_E_NOMEM, "no memory for reference outputs");
    for (size_t i = 0; !st && i < s->judged; i++) {
        st = run_sample(&r, judged_sample(s, i), s->err);
        if (st)
            break;
        if (s->options->agreement) {
            s->options->agreement(s->options->agreement_arg, i, r.context, true);
            continue;
        }
        float *to = ufi_malloc(answer_size(&r, s->g->output_count) + 1, sizeof *to);
        if (!to) {
            st = ufi_fail(s->err, UF_E_NOMEM, "no memory for reference outputs");
            break;
        }
        s->answers[i] = to;
        for (uint32_t k = 0; k < s->g->output_count; k++) {
            const ufi_tensor *t = ufi_context_output(r.context, k);
            memcpy(to, t->data, ufi_tensor_bytes(t));
            to += ufi_shape_count(&t->shape);
        }
    }
    close_runner(&r);
    return st;
}

/* Cosine of what is left of `got` and `want` when the mean of each column of `want` is taken away:
 * a box's constant part says nothing. Of a single row (a template) nothing is taken away. */
static double centred_cosine(const float *got, const float *want, size_t rows, size_t columns)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t c = 0; c < columns; c++) {
        double mean = 0;
        for (size_t r = 0; rows > 1 && r < rows; r++)
            mean += (double)want[r * columns + c] / (double)rows;
        for (size_t r = 0; r < rows; r++) {
            const double a = (double)got[r * columns + c] - mean;
            const double b = (double)want[r * columns + c] - mean;
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
    }
    if (!(aa > 0) || !(bb > 0))
        return aa > 0 || bb > 0 ? 0 : 1;
    return ab / sqrt(aa * bb);
}

/* Mean cosine of the outputs of the last run with the answers to judged sample i. */
static double output_cosine(const search *s, size_t i, const ufi_context *c)
{
    const float *want = s->answers[i];
    double sum = 0;
    for (uint32_t k = 0; k < s->g->output_count; k++) {
        const ufi_tensor *t = ufi_context_output(c, k);
        const size_t n = (size_t)ufi_shape_count(&t->shape);
        const size_t columns = t->shape.rank ? (size_t)t->shape.dims[t->shape.rank - 1] : 1;
        sum += centred_cosine(t->data, want, columns ? n / columns : 0, columns);
        want += n;
    }
    return sum / (double)s->g->output_count;
}

static uf_status judge(search *s, const ufi_graph *g, double *mean)
{
    runner r;
    double sum = 0;
    uf_status st = open_runner(&r, g, s->samples, s->options->threads, s->err);
    for (size_t i = 0; !st && i < s->judged; i++) {
        st = run_sample(&r, judged_sample(s, i), s->err);
        if (!st)
            sum += s->options->agreement
                       ? s->options->agreement(s->options->agreement_arg, i, r.context, false)
                       : output_cosine(s, i, r.context);
    }
    *mean = sum / (double)s->judged;
    close_runner(&r);
    return st;
}

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
    st = judge(s, &made, &trial.agreement);
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
            st = judge(s, &made, &agreement);
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
    runner r = {0};
    uint32_t groups = 0;
    uf_status st = ufi_graph_clone(&g, s->g, s->err);
    if (!st)
        st = ufi_equalize_graph(&g, o, &groups, s->err);
    if (!st && groups)
        st = ufi_observer_create(&again, &g, s->err);
    if (!st && groups)
        st = prepare(&r, ufi_observer_program(again), s->samples, s->options->threads, s->err);
    for (size_t i = 0; !st && groups && i < s->samples->count; i++) {
        st = run_sample(&r, i, s->err);
        if (!st)
            ufi_observer_take(again, r.context);
    }
    if (!st && groups)
        st = try_all(s, &g, again, true);
    if (!st && s->best->agreement < s->options->min_agreement)
        st = s->best->equalized ? keep_layers(s, &g, again) : keep_layers(s, s->g, o);
    close_runner(&r);
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
    s.judged = samples->count < UFI_MAX_JUDGED ? samples->count : UFI_MAX_JUDGED;
    s.total = options->all_methods ? 16 : 4;
    uf_status st =
        s.judged ? find_answers(&s) : ufi_fail(err, UF_E_STATE, "there are no sample inputs");
    if (!st)
        st = try_all(&s, g, o, false);
    if (!st)
        st = try_equalized(&s, o);
    for (size_t i = 0; s.answers && i < s.judged; i++)
        ufi_free(s.answers[i]);
    ufi_free(s.answers);
    if (st)
        ufi_graph_free(out);
    return st;
}
