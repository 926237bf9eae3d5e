/* Samples, running graphs over them, and how far answers agree. */
#include "optimize/judge.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

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

size_t ufi_samples_pictures(const ufi_samples *s)
{
    return s->views ? (s->count + s->views - 1) / s->views : s->count;
}

uf_status ufi_samples_size(ufi_graph *out, const ufi_graph *g, const ufi_samples *s, uf_error *err)
{
    uf_status st = ufi_graph_clone(out, g, err);
    if (st)
        return st;
    ufi_value *input = &out->values[out->inputs[0]];
    input->shape = s->shape;
    input->has_shape = true;
    return ufi_graph_infer(out, 0, err);
}

/* ---- running a graph over samples ---- */

void ufi_runner_close(ufi_runner *r)
{
    ufi_context_destroy(r->context);
    ufi_program_destroy(r->program);
    *r = (ufi_runner){0};
}

uf_status ufi_runner_prepare(ufi_runner *r, ufi_program *program, const ufi_samples *s,
                             unsigned threads, uf_error *err)
{
    r->samples = s;
    uf_status st = ufi_context_create(&r->context, program, threads, err);
    return st ? st : ufi_context_prepare(r->context, &s->shape, 1, s->layout, err);
}

uf_status ufi_runner_open(ufi_runner *r, const ufi_graph *g, const ufi_samples *s, unsigned threads,
                          uf_error *err)
{
    *r = (ufi_runner){0};
    uf_status st = ufi_program_create(&r->program, g, "CPU", err);
    if (st)
        return st;
    ufi_program_set_exact(r->program);
    return ufi_runner_prepare(r, r->program, s, threads, err);
}

uf_status ufi_runner_run(ufi_runner *r, size_t i, uf_error *err)
{
    ufi_tensor *in = ufi_context_input(r->context, 0);
    memcpy(in->data, r->samples->inputs[i], ufi_tensor_bytes(in));
    return ufi_context_run(r->context, err);
}

/* ---- judging ---- */

static size_t judged_sample(const ufi_judge *j, size_t i)
{
    const size_t picture = i * ufi_samples_pictures(j->samples) / j->judged;
    return j->samples->views ? picture * j->samples->views : picture;
}

static size_t answer_size(const ufi_runner *r, uint32_t outputs)
{
    size_t size = 0;
    for (uint32_t i = 0; i < outputs; i++)
        size += (size_t)ufi_shape_count(&ufi_context_output(r->context, i)->shape);
    return size;
}

static uf_status find_answers(ufi_judge *j, uf_error *err)
{
    ufi_runner r;
    uf_status st = ufi_runner_open(&r, j->g, j->samples, j->threads, err);
    j->answers = ufi_calloc(j->judged, sizeof *j->answers);
    if (!st && !j->answers)
        st = ufi_fail(err, UF_E_NOMEM, "no memory for reference outputs");
    for (size_t i = 0; !st && i < j->judged; i++) {
        st = ufi_runner_run(&r, judged_sample(j, i), err);
        if (st)
            break;
        if (j->agreement) {
            j->agreement(j->arg, i, r.context, UFI_JUDGE_REFERENCE);
            continue;
        }
        float *to = ufi_malloc(answer_size(&r, j->g->output_count) + 1, sizeof *to);
        if (!to) {
            st = ufi_fail(err, UF_E_NOMEM, "no memory for reference outputs");
            break;
        }
        j->answers[i] = to;
        for (uint32_t k = 0; k < j->g->output_count; k++) {
            const ufi_tensor *t = ufi_context_output(r.context, k);
            memcpy(to, t->data, ufi_tensor_bytes(t));
            to += ufi_shape_count(&t->shape);
        }
    }
    ufi_runner_close(&r);
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
static double output_cosine(const ufi_judge *j, size_t i, const ufi_context *c)
{
    const float *want = j->answers[i];
    double sum = 0;
    for (uint32_t k = 0; k < j->g->output_count; k++) {
        const ufi_tensor *t = ufi_context_output(c, k);
        const size_t n = (size_t)ufi_shape_count(&t->shape);
        const size_t columns = t->shape.rank ? (size_t)t->shape.dims[t->shape.rank - 1] : 1;
        sum += centred_cosine(t->data, want, columns ? n / columns : 0, columns);
        want += n;
    }
    return sum / (double)j->g->output_count;
}

uf_status ufi_judge_graph(ufi_judge *j, const ufi_graph *g, double *mean, uf_error *err)
{
    const ufi_judging how = j->strictly ? UFI_JUDGE_STRICTLY : UFI_JUDGE_USUAL;
    ufi_runner r;
    double sum = 0;
    uf_status st = ufi_runner_open(&r, g, j->samples, j->threads, err);
    for (size_t i = 0; !st && i < j->judged; i++) {
        st = ufi_runner_run(&r, judged_sample(j, i), err);
        if (!st)
            sum += j->agreement ? j->agreement(j->arg, i, r.context, how)
                                : output_cosine(j, i, r.context);
    }
    *mean = sum / (double)j->judged;
    ufi_runner_close(&r);
    return st;
}

uf_status ufi_judge_open(ufi_judge *j, const ufi_graph *g, const ufi_samples *samples, size_t most,
                         unsigned threads, ufi_agreement_fn *agreement, void *arg, uf_error *err)
{
    *j = (ufi_judge){
        .g = g, .samples = samples, .threads = threads, .agreement = agreement, .arg = arg};
    const size_t pictures = ufi_samples_pictures(samples);
    j->judged = pictures < most ? pictures : most;
    return j->judged ? find_answers(j, err)
                     : ufi_fail(err, UF_E_STATE, "there are no sample inputs");
}

bool ufi_judge_uses(const ufi_judge *j, size_t sample)
{
    for (size_t i = 0; i < j->judged; i++)
        if (judged_sample(j, i) == sample)
            return true;
    return false;
}

void ufi_judge_close(ufi_judge *j)
{
    for (size_t i = 0; j->answers && i < j->judged; i++)
        ufi_free(j->answers[i]);
    ufi_free(j->answers);
}
