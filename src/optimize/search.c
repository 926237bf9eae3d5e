/* Trying the ways of quantisation. */
#include "optimize/search.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "optimize/equalize.h"

/* Samples on which each way is judged. */
#define MAX_JUDGED 24

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

static double cosine(const float *a, const float *b, size_t n)
{
    double ab = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < n; i++) {
        ab += (double)a[i] * (double)b[i];
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
    }
    if (!(aa > 0) || !(bb > 0))
        return aa > 0 || bb > 0 ? 0 : 1;
    return ab / sqrt(aa * bb);
}

static uf_status judge(search *s, const ufi_graph *g, double *mean)
{
    runner r;
    double sum = 0;
    uf_status st = open_runner(&r, g, s->samples, s->options->threads, s->err);
    for (size_t i = 0; !st && i < s->judged; i++) {
        st = run_sample(&r, judged_sample(s, i), s->err);
        const float *want = s->answers[i];
        for (uint32_t k = 0; !st && k < g->output_count; k++) {
            const ufi_tensor *t = ufi_context_output(r.context, k);
            const size_t n = (size_t)ufi_shape_count(&t->shape);
            sum += cosine(t->data, want, n);
            want += n;
        }
    }
    *mean = sum / (double)s->judged / (double)g->output_count;
    close_runner(&r);
    return st;
}

/* ---- trials ---- */

static uf_status try_one(search *s, const ufi_graph *g, const ufi_observer *o, ufi_trial trial)
{
    ufi_graph made;
    const ufi_quantize_options options = {.method = trial.method,
                                          .correct_bias = trial.bias_corrected};
    uf_status st = ufi_quantize_graph(&made, g, o, &options, s->err);
    if (st)
        return st;
    st = judge(s, &made, &trial.cosine);
    s->done++;
    if (!st && s->options->progress &&
        !s->options->progress(s->options->arg, &trial, s->done, s->total))
        st = ufi_fail(s->err, UF_E_CANCELLED, "quantisation was cancelled");
    if (!st && (!s->has_best || trial.cosine > s->best->cosine)) {
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
        for (int corrected = 0; !st && corrected < 2; corrected++)
            st = try_one(s, g, o, (ufi_trial){equalized, corrected == 1, (ufi_range_method)m, 0});
    }
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
    s.judged = samples->count < MAX_JUDGED ? samples->count : MAX_JUDGED;
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
