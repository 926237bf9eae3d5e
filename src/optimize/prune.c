/* Pruning: groups of channels, their worth, and graphs without some of them. */
#include "optimize/prune_impl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/forest.h"
#include "base/mem.h"

/* Kernels work on eight channels at a time: fewer would save nothing. */
enum { STEP = 8, LEAST_CHANNELS = 16 };

/* ---- groups ---- */

typedef struct grouping {
    const ufi_graph *g;
    uint32_t *parent; /* per value */
    bool *fixed;      /* per value, then per root */
} grouping;

static void fix_all(grouping *t, const uint32_t *v, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (v[i] != UFI_NONE)
            t->fixed[v[i]] = true;
}

static void visit(grouping *t, const ufi_node *n)
{
    const ufi_graph *g = t->g;
    if (ufi_prune_is_conv(g, n)) {
        if (ufi_is_depthwise(g, n))
            ufi_forest_join(t->parent, n->in[0], n->out[0]);
        if (ufi_node_has(n, 4))
            ufi_forest_join(t->parent, n->in[4], n->out[0]);
    } else if ((n->op == UFI_OP_MAX_POOL || n->op == UFI_OP_AVERAGE_POOL) && n->out_count == 1) {
        ufi_forest_join(t->parent, n->in[0], n->out[0]);
    } else if (n->op == UFI_OP_ADD && !g->values[n->in[0]].data && !g->values[n->in[1]].data) {
        ufi_forest_join(t->parent, n->in[0], n->out[0]);
        ufi_forest_join(t->parent, n->in[1], n->out[0]);
    } else {
        fix_all(t, n->in, n->in_count);
        fix_all(t, n->out, n->out_count);
    }
}

/* Values of a group have the same number of channels, and are known. */
static void fix_odd_ones(grouping *t)
{
    for (uint32_t v = 0; v < t->g->value_count; v++) {
        const ufi_value *a = &t->g->values[v], *b = &t->g->values[ufi_forest_root(t->parent, v)];
        if (t->fixed[v] || !a->has_shape || a->shape.rank != 4 || !b->has_shape ||
            b->shape.rank != 4 || a->shape.dims[1] != b->shape.dims[1] ||
            a->shape.dims[1] < LEAST_CHANNELS)
            t->fixed[ufi_forest_root(t->parent, v)] = true;
    }
}

static uf_status find_groups(ufi_prune_plan *p, grouping *t, uf_error *err)
{
    const ufi_graph *g = t->g;
    for (uint32_t v = 0; v < g->value_count; v++)
        t->parent[v] = v;
    fix_all(t, g->inputs, g->input_count);
    fix_all(t, g->outputs, g->output_count);
    for (uint32_t i = 0; i < g->node_count; i++)
        visit(t, &g->nodes[i]);
    fix_odd_ones(t);
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        const uint32_t root = ufi_prune_is_dense(g, n) ? ufi_forest_root(t->parent, n->out[0]) : 0;
        if (!ufi_prune_is_dense(g, n) || t->fixed[root] || p->group_of[root])
            continue;
        const size_t channels = (size_t)g->values[root].shape.dims[1];
        uint32_t *order = ufi_malloc(channels, sizeof *order);
        if (!order)
            return ufi_fail(err, UF_E_NOMEM, "no memory for pruning");
        p->groups[p->count] = (ufi_prune_group){
            .value = root, .name = n->name, .channels = channels, .kept = channels, .order = order};
        p->group_of[root] = ++p->count;
    }
    for (uint32_t v = 0; v < g->value_count; v++)
        p->group_of[v] = p->group_of[ufi_forest_root(t->parent, v)];
    return p->count ? UF_OK
                    : ufi_fail(err, UF_E_UNSUPPORTED,
                               "the network has no channels that could be "
                               "taken out without changing its outputs");
}

/* ---- order of channels ---- */

/* Size of the weights with which the convolution reads channel c. */
static double reading(const ufi_graph *g, const ufi_node *n, size_t c)
{
    const ufi_shape *s = &g->values[n->in[1]].shape;
    const float *w = g->values[n->in[1]].data;
    const size_t in = (size_t)s->dims[1], taps = (size_t)(s->dims[2] * s->dims[3]);
    double squares = 0;
    for (size_t m = 0; m < (size_t)s->dims[0]; m++)
        for (size_t k = 0; k < taps; k++) {
            const double x = (double)w[(m * in + c) * taps + k];
            squares += x * x;
        }
    return sqrt(squares);
}

/* Adds what the convolution sees of its input: the covariance, weighted by how it reads. */
static void add_view(double *view, const ufi_prune_plan *p, const ufi_graph *g, const ufi_node *n,
                     double *weights)
{
    const ufi_moments *m = &p->moments[n->in[0]];
    const size_t channels = m->channels;
    for (size_t c = 0; c < channels; c++)
        weights[c] = reading(g, n, c);
    for (size_t a = 0; a < channels; a++)
        for (size_t b = 0; b < channels; b++)
            view[a * channels + b] += weights[a] * weights[b] * m->covariance[a * channels + b];
}

/* Pivoted Cholesky: each time the channel of which the chosen ones explain least. What is left of
 * the variance stands in the diagonal. */
static void choose_order(uint32_t *order, double *view, double *column, size_t n)
{
    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    for (size_t i = 0; i < n; i++) {
        size_t best = i;
        for (size_t k = i; k < n; k++)
            if (view[order[k] * n + order[k]] > view[order[best] * n + order[best]])
                best = k;
        const uint32_t pivot = order[best];
        order[best] = order[i];
        order[i] = pivot;
        const double left = view[pivot * n + pivot];
        if (!(left > 1e-12))
            return;
        for (size_t k = i + 1; k < n; k++)
            column[order[k]] = view[order[k] * n + pivot];
        for (size_t a = i + 1; a < n; a++)
            for (size_t b = i + 1; b < n; b++)
                view[order[a] * n + order[b]] -= column[order[a]] * column[order[b]] / left;
    }
}

static uf_status order_channels(ufi_prune_plan *p, uint32_t group, const ufi_graph *g,
                                uf_error *err)
{
    ufi_prune_group *q = &p->groups[group];
    const size_t n = q->channels;
    double *view = ufi_calloc(n * n, sizeof *view), *column = ufi_malloc(n, sizeof *column);
    const bool ok = view && column;
    for (uint32_t i = 0; ok && i < g->node_count; i++)
        if (ufi_prune_is_dense(g, &g->nodes[i]) && ufi_prune_group_at(p, g->nodes[i].in[0]) == q &&
            p->moments[g->nodes[i].in[0]].channels == n)
            add_view(view, p, g, &g->nodes[i], column);
    if (ok)
        choose_order(q->order, view, column, n);
    ufi_free(view);
    ufi_free(column);
    return ok ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for pruning");
}

static uf_status measure_inputs(ufi_prune_plan *p, const ufi_judge *judge, uf_error *err)
{
    const ufi_graph *g = judge->g;
    bool *wanted = ufi_calloc(g->value_count + 1, sizeof *wanted);
    p->value_count = g->value_count;
    p->moments = ufi_calloc(g->value_count + 1, sizeof *p->moments);
    uf_status st =
        wanted && p->moments ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for pruning");
    for (uint32_t i = 0; !st && i < g->node_count; i++)
        if (ufi_prune_is_dense(g, &g->nodes[i]) && p->group_of[g->nodes[i].in[0]])
            wanted[g->nodes[i].in[0]] = true;
    if (!st)
        st = ufi_moments_collect(p->moments, wanted, judge, err);
    ufi_free(wanted);
    return st;
}

/* ---- how much to cut where ---- */

static double share_kept(const ufi_prune_plan *p, uint32_t v)
{
    const ufi_prune_group *q = ufi_prune_group_at(p, v);
    return q ? (double)q->kept / (double)q->channels : 1;
}

static double plan_macs(const ufi_prune_plan *p, const ufi_graph *g)
{
    double sum = 0;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        double macs = (double)ufi_node_macs(g, n);
        if (ufi_prune_is_conv(g, n))
            macs *=
                share_kept(p, n->out[0]) * (ufi_is_depthwise(g, n) ? 1 : share_kept(p, n->in[0]));
        sum += macs;
    }
    return sum;
}

/* Loss of a group that keeps `kept` channels: it grows with the square of what is taken out. */
static double group_loss(const ufi_prune_group *q, size_t kept)
{
    const double out = 1 - (double)kept / (double)q->channels;
    return (fmax(q->loss, 0) + 1e-6) * 4 * out * out;
}

void ufi_prune_choose(ufi_prune_plan *p, const ufi_graph *g, double keep)
{
    for (uint32_t i = 0; i < p->count; i++)
        p->groups[i].kept = p->groups[i].channels;
    p->macs = p->source = plan_macs(p, g);
    while (p->macs > keep * p->source) {
        ufi_prune_group *best = NULL;
        double best_gain = 0;
        for (uint32_t i = 0; i < p->count; i++) {
            ufi_prune_group *q = &p->groups[i];
            const size_t fewer = (q->kept - 1) / STEP * STEP;
            if (fewer < STEP || fewer * 8 < q->channels)
                continue;
            const size_t kept = q->kept;
            const double loss = group_loss(q, fewer) - group_loss(q, kept);
            q->kept = fewer;
            const double gain = (p->macs - plan_macs(p, g)) / loss;
            q->kept = kept;
            if (gain > best_gain) {
                best_gain = gain;
                best = q;
            }
        }
        if (!best)
            break;
        best->kept = (best->kept - 1) / STEP * STEP;
        p->macs = plan_macs(p, g);
    }
}

/* ---- the scan ---- */

static uf_status scan_group(ufi_prune_plan *p, uint32_t i, ufi_judge *judge, double *agreement,
                            uf_error *err)
{
    ufi_prune_group *q = &p->groups[i];
    ufi_graph made;
    q->kept = q->channels / 2;
    uf_status st = ufi_prune_apply(&made, judge->g, p, err);
    q->kept = q->channels;
    if (st)
        return st;
    st = ufi_judge_graph(judge, &made, agreement, err);
    q->loss = 1 - *agreement;
    ufi_graph_free(&made);
    return st;
}

uf_status ufi_prune_scan(ufi_prune_plan *p, ufi_judge *judge, ufi_prune_progress *progress,
                         void *arg, uf_error *err)
{
    const ufi_graph *g = judge->g;
    grouping t = {.g = g};
    char what[200];
    *p = (ufi_prune_plan){0};
    t.parent = ufi_malloc(g->value_count + 1, sizeof *t.parent);
    t.fixed = ufi_calloc(g->value_count + 1, sizeof *t.fixed);
    p->groups = ufi_calloc(g->node_count + 1, sizeof *p->groups);
    p->group_of = ufi_calloc(g->value_count + 1, sizeof *p->group_of);
    uf_status st = t.parent && t.fixed && p->groups && p->group_of
                       ? find_groups(p, &t, err)
                       : ufi_fail(err, UF_E_NOMEM, "no memory for pruning");
    if (!st)
        st = measure_inputs(p, judge, err);
    for (uint32_t i = 0; !st && i < p->count; i++)
        st = order_channels(p, i, g, err);
    for (uint32_t i = 0; !st && i < p->count; i++) {
        double agreement;
        st = scan_group(p, i, judge, &agreement, err);
        snprintf(what, sizeof what, "half of the %zu channels of %.120s", p->groups[i].channels,
                 p->groups[i].name);
        if (!st && progress && !progress(arg, what, agreement, i + 1, p->count))
            st = ufi_fail(err, UF_E_CANCELLED, "pruning was cancelled");
    }
    ufi_free(t.parent);
    ufi_free(t.fixed);
    if (st)
        ufi_prune_plan_free(p);
    return st;
}

void ufi_prune_plan_free(ufi_prune_plan *p)
{
    for (uint32_t i = 0; i < p->count; i++)
        ufi_free(p->groups[i].order);
    ufi_free(p->groups);
    ufi_free(p->group_of);
    if (p->moments)
        ufi_moments_free(p->moments, p->value_count);
    ufi_free(p->moments);
    *p = (ufi_prune_plan){0};
}

/* ---- single weights ---- */

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static uf_status zero_smallest(ufi_value *v, double sparsity, uf_error *err)
{
    const size_t n = (size_t)ufi_shape_count(&v->shape), gone = (size_t)((double)n * sparsity);
    float *w = (float *)(uintptr_t)v->data, *sizes = ufi_malloc(n + 1, sizeof *sizes);
    if (!sizes)
        return ufi_fail(err, UF_E_NOMEM, "no memory for pruning");
    for (size_t i = 0; i < n; i++)
        sizes[i] = fabsf(w[i]);
    qsort(sizes, n, sizeof *sizes, by_size);
    for (size_t i = 0; gone && i < n; i++)
        if (fabsf(w[i]) <= sizes[gone - 1])
            w[i] = 0;
    ufi_free(sizes);
    return UF_OK;
}

uf_status ufi_prune_weights(ufi_graph *out, const ufi_graph *g, double sparsity, uf_error *err)
{
    uf_status st = ufi_graph_clone(out, g, err);
    if (!st)
        st = ufi_prune_own_constants(out, err);
    for (uint32_t i = 0; !st && i < out->node_count; i++) {
        const ufi_node *n = &out->nodes[i];
        if (n->op != UFI_OP_CONV && n->op != UFI_OP_GEMM && n->op != UFI_OP_MATMUL)
            continue;
        ufi_value *w = &out->values[n->in[1]];
        if (w->data && w->dtype == UF_F32)
            st = zero_smallest(w, sparsity, err);
    }
    if (st)
        ufi_graph_free(out);
    return st;
}
