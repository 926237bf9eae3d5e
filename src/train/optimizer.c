#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

enum { MOMENT, SQUARE, AVERAGE, KINDS };

struct ufi_optimizer {
    ufi_optimizer_options options;
    ufi_variable **variables;
    size_t count;
    float **states[KINDS]; /* per variable; NULL where the kind or the variable has none */
    const float **average; /* per variable */
    int64_t steps;
};

static bool keeps(const ufi_optimizer *o, int kind, const ufi_variable *v)
{
    if (kind == AVERAGE)
        return o->options.average > 0;
    return v->grad && (kind == MOMENT || o->options.kind == UFI_ADAMW);
}

static uf_status make_states(ufi_optimizer *o, uf_error *err)
{
    for (int k = 0; k < KINDS; k++) {
        o->states[k] = ufi_calloc(o->count, sizeof *o->states[k]);
        for (size_t i = 0; o->states[k] && i < o->count; i++) {
            const ufi_variable *v = o->variables[i];
            if (!keeps(o, k, v))
                continue;
            o->states[k][i] = ufi_aligned_calloc(v->count * sizeof(float));
            if (!o->states[k][i])
                return ufi_fail(err, UF_E_NOMEM, "no memory to train %zu numbers", v->count);
            if (k == AVERAGE)
                memcpy(o->states[k][i], v->data, v->count * sizeof(float));
        }
        if (!o->states[k] && o->count)
            return ufi_fail(err, UF_E_NOMEM, "no memory to train");
    }
    for (size_t i = 0; i < o->count; i++)
        o->average[i] = o->states[AVERAGE][i] ? o->states[AVERAGE][i] : o->variables[i]->data;
    return UF_OK;
}

uf_status ufi_optimizer_create(ufi_optimizer **out, ufi_variable *const *variables, size_t count,
                               const ufi_optimizer_options *options, uf_error *err)
{
    ufi_optimizer *o = ufi_calloc(1, sizeof *o);
    if (!o)
        return ufi_fail(err, UF_E_NOMEM, "no memory to train");
    o->options = *options;
    o->count = count;
    o->variables = ufi_calloc(count, sizeof *o->variables);
    o->average = ufi_calloc(count, sizeof *o->average);
    uf_status st = UF_OK;
    if (!o->variables || !o->average)
        st = ufi_fail(err, UF_E_NOMEM, "no memory to train");
    if (!st) {
        memcpy(o->variables, variables, count * sizeof *variables);
        st = make_states(o, err);
    }
    if (st) {
        ufi_optimizer_destroy(o);
        return st;
    }
    *out = o;
    return UF_OK;
}

void ufi_optimizer_destroy(ufi_optimizer *o)
{
    if (!o)
        return;
    for (int k = 0; k < KINDS; k++) {
        for (size_t i = 0; o->states[k] && i < o->count; i++)
            ufi_free(o->states[k][i]);
        ufi_free(o->states[k]);
    }
    ufi_free(o->variables);
    ufi_free(o->average);
    ufi_free(o);
}

static double gradient_norm(const ufi_optimizer *o)
{
    double sum = 0;
    for (size_t i = 0; i < o->count; i++) {
        const ufi_variable *v = o->variables[i];
        for (size_t k = 0; v->grad && k < v->count; k++)
            sum += (double)v->grad[k] * (double)v->grad[k];
    }
    return sqrt(sum);
}

static void step_sgd(const ufi_optimizer *o, ufi_variable *v, float *moment, float rate,
                     float factor)
{
    const float momentum = (float)o->options.momentum;
    const float decay = v->decay ? (float)o->options.decay : 0;
    for (size_t k = 0; k < v->count; k++) {
        const float g = v->grad[k] * factor + decay * v->data[k];
        moment[k] = momentum * moment[k] + g;
        v->data[k] -= rate * (g + momentum * moment[k]);
    }
}

static void step_adamw(const ufi_optimizer *o, ufi_variable *v, float *moment, float *square,
                       float rate, float factor)
{
    const ufi_optimizer_options *q = &o->options;
    const float b1 = (float)q->beta1, b2 = (float)q->beta2, delta = (float)q->delta;
    const float c1 = (float)(1 / (1 - pow(q->beta1, (double)o->steps)));
    const float c2 = (float)(1 / (1 - pow(q->beta2, (double)o->steps)));
    const float keep = 1 - rate * (v->decay ? (float)q->decay : 0);
    for (size_t k = 0; k < v->count; k++) {
        const float g = v->grad[k] * factor;
        moment[k] = b1 * moment[k] + (1 - b1) * g;
        square[k] = b2 * square[k] + (1 - b2) * g * g;
        v->data[k] = keep * v->data[k] - rate * moment[k] * c1 / (sqrtf(square[k] * c2) + delta);
    }
}

static void step_average(const ufi_optimizer *o)
{
    const double early = (1.0 + (double)o->steps) / (10.0 + (double)o->steps);
    const float keep = (float)(early < o->options.average ? early : o->options.average);
    for (size_t i = 0; i < o->count; i++) {
        const ufi_variable *v = o->variables[i];
        float *a = o->states[AVERAGE][i];
        for (size_t k = 0; k < v->count; k++)
            a[k] += (1 - keep) * (v->data[k] - a[k]);
    }
}

uf_status ufi_optimizer_step(ufi_optimizer *o, double rate, double *norm, uf_error *err)
{
    const double n = gradient_norm(o), clip = o->options.clip;
    if (norm)
        *norm = n;
    if (!isfinite(n))
        return ufi_fail(err, UF_E_STATE,
                        "step %lld: the gradients are not finite; a lower learning rate or a "
                        "longer warm-up helps",
                        (long long)o->steps);
    const float factor = clip > 0 && n > clip ? (float)(clip / n) : 1;
    o->steps++;
    for (size_t i = 0; i < o->count; i++) {
        ufi_variable *v = o->variables[i];
        if (v->grad && o->options.kind == UFI_ADAMW)
            step_adamw(o, v, o->states[MOMENT][i], o->states[SQUARE][i], (float)rate, factor);
        else if (v->grad)
            step_sgd(o, v, o->states[MOMENT][i], (float)rate, factor);
    }
    if (o->options.average > 0)
        step_average(o);
    return UF_OK;
}

const float *const *ufi_optimizer_average(const ufi_optimizer *o)
{
    return o->average;
}

size_t ufi_optimizer_state_count(const ufi_optimizer *o)
{
    return o->count * KINDS;
}

ufi_optimizer_state ufi_optimizer_state_at(const ufi_optimizer *o, size_t i)
{
    float *data = o->states[i % KINDS][i / KINDS];
    return (ufi_optimizer_state){data, data ? o->variables[i / KINDS]->count : 0};
}

int64_t ufi_optimizer_steps(const ufi_optimizer *o)
{
    return o->steps;
}

void ufi_optimizer_set_steps(ufi_optimizer *o, int64_t steps)
{
    o->steps = steps;
}
