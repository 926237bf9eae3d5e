/* Pruning: a graph without the channels that a plan gives up. */
#include "optimize/prune_impl.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* Which channels of a tensor stay, in their old order. */
typedef struct selection {
    uint32_t *at;
    size_t count, channels;
    bool *kept;
} selection;

static void free_selection(selection *s)
{
    ufi_free(s->at);
    ufi_free(s->kept);
}

static bool select_channels(selection *s, const ufi_prune_group *q, size_t channels)
{
    *s = (selection){.channels = channels};
    s->at = ufi_malloc(channels, sizeof *s->at);
    s->kept = ufi_calloc(channels, sizeof *s->kept);
    if (!s->at || !s->kept)
        return false;
    for (size_t i = 0; i < (q ? q->kept : channels); i++)
        s->kept[q ? q->order[i] : i] = true;
    for (size_t c = 0; c < channels; c++)
        if (s->kept[c])
            s->at[s->count++] = (uint32_t)c;
    return true;
}

static uf_status cut_weights(ufi_graph *g, ufi_node *n, const selection *in, const selection *out,
                             uf_error *err)
{
    const ufi_value w = g->values[n->in[1]];
    const bool depthwise = ufi_is_depthwise(g, n);
    const size_t taps = (size_t)(w.shape.dims[2] * w.shape.dims[3]);
    const size_t per = (size_t)w.shape.dims[1], columns = depthwise ? 1 : in->count;
    ufi_shape shape = w.shape;
    const float *from = w.data;
    float *to;
    uint32_t id;
    shape.dims[0] = (int64_t)out->count;
    shape.dims[1] = (int64_t)columns;
    uf_status st = ufi_graph_add_floats(g, w.name, &shape, &to, &id, err);
    for (size_t m = 0; !st && m < out->count; m++)
        for (size_t c = 0; c < columns; c++)
            memcpy(to + (m * columns + c) * taps,
                   from + (out->at[m] * per + (depthwise ? 0 : in->at[c])) * taps,
                   taps * sizeof *to);
    if (!st)
        n->in[1] = id;
    const int64_t groups = (int64_t)out->count;
    return st || !depthwise ? st : ufi_node_set_ints(g, n, UFI_ATTR_GROUP, &groups, 1, err);
}

/* A constant of one number a channel (or one for all). */
static uf_status cut_vector(ufi_graph *g, ufi_node *n, uint32_t input, const selection *out,
                            uf_error *err)
{
    const ufi_value v = g->values[n->in[input]];
    if ((size_t)ufi_shape_count(&v.shape) != out->channels || out->channels == out->count)
        return UF_OK;
    ufi_shape shape = v.shape;
    const float *from = v.data;
    float *to;
    uint32_t id;
    for (uint32_t d = 0; d < shape.rank; d++)
        if (shape.dims[d] == (int64_t)out->channels)
            shape.dims[d] = (int64_t)out->count;
    uf_status st = ufi_graph_add_floats(g, v.name, &shape, &to, &id, err);
    for (size_t m = 0; !st && m < out->count; m++)
        to[m] = from[out->at[m]];
    if (!st)
        n->in[input] = id;
    return st;
}

/* ---- what the channels that go had in common with those that stay ---- */

/* Cholesky factor of the symmetric a[n][n], in its lower half; false when it is not definite. */
static bool factor(double *a, size_t n)
{
    for (size_t j = 0; j < n; j++) {
        for (size_t k = 0; k < j; k++)
            for (size_t i = j; i < n; i++)
                a[i * n + j] -= a[i * n + k] * a[j * n + k];
        if (!(a[j * n + j] > 0))
            return false;
        const double root = sqrt(a[j * n + j]);
        for (size_t i = j; i < n; i++)
            a[i * n + j] /= root;
    }
    return true;
}

/* Solves for x, given the factor. */
static void solve(const double *a, size_t n, double *x)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++)
            x[i] -= a[i * n + k] * x[k];
        x[i] /= a[i * n + i];
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t k = i + 1; k < n; k++)
            x[i] -= a[k * n + i] * x[k];
        x[i] /= a[i * n + i];
    }
}

/* mix[c][k]: how much of kept channel k stands for channel c that goes (least squares with a small
 * ridge); rest[c]: the constant besides. Zeros for channels that stay. */
static bool fit_lost(const ufi_moments *m, const selection *in, double *mix, double *rest)
{
    const size_t n = in->count, all = in->channels;
    double *a = ufi_malloc(n * n, sizeof *a), ridge = 1e-9;
    if (!a)
        return false;
    for (size_t c = 0; c < all; c++)
        ridge += 1e-3 * m->covariance[c * all + c] / (double)all;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            a[i * n + k] = m->covariance[in->at[i] * all + in->at[k]] + (i == k ? ridge : 0);
    const bool ok = factor(a, n);
    for (size_t c = 0; ok && c < all; c++) {
        double *x = mix + c * n;
        if (in->kept[c])
            continue;
        rest[c] = m->mean[c];
        for (size_t k = 0; k < n; k++)
            x[k] = m->covariance[c * all + in->at[k]];
        solve(a, n, x);
        for (size_t k = 0; k < n; k++)
            rest[c] -= x[k] * m->mean[in->at[k]];
    }
    ufi_free(a);
    return ok;
}

/* New weights (still with all columns) and bias of the convolution: what went is made up for. */
static void make_up(float *w, float *bias, const ufi_shape *s, const selection *in,
                    const double *mix, const double *rest)
{
    const size_t taps = (size_t)(s->dims[2] * s->dims[3]), n = in->count, all = in->channels;
    for (size_t m = 0; m < (size_t)s->dims[0]; m++)
        for (size_t c = 0; c < all; c++) {
            const float *lost = w + (m * all + c) * taps;
            if (in->kept[c])
                continue;
            for (size_t t = 0; t < taps; t++) {
                const double x = (double)lost[t];
                bias[m] += (float)(x * rest[c]);
                for (size_t k = 0; k < n; k++)
                    w[(m * all + in->at[k]) * taps + t] += (float)(x * mix[c * n + k]);
            }
        }
}

/* A bias that may be changed; zeros where there was none. */
static uf_status own_bias(ufi_graph *g, ufi_node *n, int64_t rows, float **bias, uf_error *err)
{
    const ufi_shape shape = {.rank = 1, .dims = {rows}};
    uint32_t id, *inputs;
    if (ufi_node_has(n, 2))
        return ufi_graph_own_input(g, n, 2, bias, err);
    uf_status st = ufi_graph_add_floats(g, "bias", &shape, bias, &id, err);
    if (st)
        return st;
    inputs = ufi_arena_alloc(&g->arena, n->in_count < 3 ? 3 : n->in_count, sizeof *inputs);
    if (!inputs)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a bias");
    memcpy(inputs, n->in, n->in_count * sizeof *inputs);
    inputs[2] = id;
    n->in = inputs;
    n->in_count = n->in_count < 3 ? 3 : n->in_count;
    return UF_OK;
}

/* Called before the weights are cut. */
static uf_status reconstruct(ufi_graph *g, ufi_node *n, const ufi_prune_plan *p,
                             const selection *in, uf_error *err)
{
    const ufi_moments *m = &p->moments[n->in[0]];
    const ufi_shape shape = g->values[n->in[1]].shape;
    float *w, *bias;
    if (m->channels != in->channels || in->count == in->channels)
        return UF_OK;
    double *mix = ufi_calloc(in->channels * in->count, sizeof *mix);
    double *rest = ufi_calloc(in->channels, sizeof *rest);
    uf_status st = mix && rest ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for pruning");
    if (!st && fit_lost(m, in, mix, rest)) {
        st = ufi_graph_own_input(g, n, 1, &w, err);
        if (!st)
            st = own_bias(g, n, shape.dims[0], &bias, err);
        if (!st)
            make_up(w, bias, &shape, in, mix, rest);
    }
    ufi_free(mix);
    ufi_free(rest);
    return st;
}

static uf_status cut_conv(ufi_graph *g, ufi_node *n, const ufi_prune_plan *p, uf_error *err)
{
    const bool dense = !ufi_is_depthwise(g, n);
    const ufi_shape *w = &g->values[n->in[1]].shape;
    selection in = {0}, out = {0};
    uf_status st = UF_OK;
    if (!select_channels(&out, ufi_prune_group_at(p, n->out[0]), (size_t)w->dims[0]) ||
        !select_channels(&in, ufi_prune_group_at(p, n->in[0]),
                         (size_t)(dense ? w->dims[1] : w->dims[0])))
        st = ufi_fail(err, UF_E_NOMEM, "no memory for pruning");
    if (!st && dense)
        st = reconstruct(g, n, p, &in, err);
    if (!st)
        st = cut_weights(g, n, &in, &out, err);
    for (uint32_t i = 2; !st && i <= 3; i++)
        if (ufi_node_has(n, i))
            st = cut_vector(g, n, i, &out, err);
    free_selection(&in);
    free_selection(&out);
    return st;
}

uf_status ufi_prune_own_constants(ufi_graph *g, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t v = 0; !st && v < g->value_count; v++)
        if (g->values[v].data)
            st = ufi_graph_own_value(g, v, err);
    return st;
}

uf_status ufi_prune_apply(ufi_graph *out, const ufi_graph *g, const ufi_prune_plan *p,
                          uf_error *err)
{
    uf_status st = ufi_graph_clone(out, g, err);
    const uint32_t values = st ? 0 : out->value_count;
    for (uint32_t i = 0; !st && i < out->node_count; i++)
        if (ufi_prune_is_conv(out, &out->nodes[i]))
            st = cut_conv(out, &out->nodes[i], p, err);
    for (uint32_t v = 0; v < values; v++)
        if (p->group_of[v])
            out->values[v].has_shape = false;
    if (!st)
        st = ufi_graph_infer(out, 0, err);
    if (!st)
        st = ufi_graph_optimize(out, err);
    if (!st)
        st = ufi_prune_own_constants(out, err);
    if (st)
        ufi_graph_free(out);
    return st;
}
