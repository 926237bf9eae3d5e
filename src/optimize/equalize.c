/* Equalisation across layers. */
#include "optimize/equalize.h"

#include <math.h>
#include <string.h>

#include "base/forest.h"
#include "base/mem.h"
#include "optimize/conv.h"

/* A channel is scaled by at most this, either way. */
#define MOST_SCALE 1000.0f

typedef struct equalizer {
    ufi_graph *g;
    const ufi_observer *observer;
    uint32_t *group; /* per value: a parent in its group (union-find) */
    bool *fixed;     /* per root: some member cannot be scaled */
    uf_error *err;
} equalizer;

/* A convolution whose rows can be scaled: what follows the sum is linear in positive factors. */
static bool is_scalable_conv(const ufi_graph *g, const ufi_node *n)
{
    const int64_t act = ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE);
    const bool homogeneous =
        act == UFI_ACT_NONE || act == UFI_ACT_RELU || act == UFI_ACT_PRELU || act == UFI_ACT_LEAKY;
    return homogeneous && ufi_is_plain_conv(g, n);
}

/* Channels go through unchanged and alone. */
static bool is_channelwise(const ufi_node *n)
{
    return n->op == UFI_OP_MAX_POOL || n->op == UFI_OP_RESIZE || n->op == UFI_OP_AVERAGE_POOL;
}

/* ---- groups ---- */

static void fix(bool *fixed, uint32_t v)
{
    if (v != UFI_NONE)
        fixed[v] = true;
}

/* Ties values, and marks in `fixed` (per value) those that must stay as they are. */
static void visit(equalizer *e, const ufi_node *n, bool *fixed)
{
    if (is_scalable_conv(e->g, n)) {
        if (ufi_node_has(n, 4))
            ufi_forest_join(e->group, n->in[4], n->out[0]);
        return;
    }
    if (n->op == UFI_OP_CONV && e->g->values[n->in[1]].data &&
        ufi_node_int(n, UFI_ATTR_GROUP, 1) == 1 && !ufi_node_has(n, 4)) {
        fix(fixed, n->out[0]); /* its input can be scaled all the same */
        return;
    }
    if (is_channelwise(n) && n->out_count == 1 && !e->g->values[n->in[0]].data) {
        ufi_forest_join(e->group, n->in[0], n->out[0]);
        return;
    }
    if (n->op == UFI_OP_ADD && !e->g->values[n->in[0]].data && !e->g->values[n->in[1]].data) {
        ufi_forest_join(e->group, n->in[0], n->out[0]);
        ufi_forest_join(e->group, n->in[1], n->out[0]);
        return;
    }
    for (uint32_t i = 0; i < n->in_count; i++)
        fix(fixed, n->in[i]);
    for (uint32_t i = 0; i < n->out_count; i++)
        fix(fixed, n->out[i]);
}

static uf_status find_groups(equalizer *e)
{
    const ufi_graph *g = e->g;
    bool *fixed = ufi_calloc(g->value_count + 1, sizeof *fixed);
    if (!fixed)
        return ufi_fail(e->err, UF_E_NOMEM, "no memory for equalising");
    for (uint32_t i = 0; i < g->value_count; i++)
        e->group[i] = i;
    for (uint32_t i = 0; i < g->input_count; i++)
        fix(fixed, g->inputs[i]);
    for (uint32_t i = 0; i < g->output_count; i++)
        fix(fixed, g->outputs[i]);
    for (uint32_t i = 0; i < g->node_count; i++)
        visit(e, &g->nodes[i], fixed);
    for (uint32_t v = 0; v < g->value_count; v++)
        if (fixed[v])
            e->fixed[ufi_forest_root(e->group, v)] = true;
    ufi_free(fixed);
    return UF_OK;
}

/* ---- factors ---- */

/* Greatest magnitudes of the group's activations, and of the weights that read each channel; false
 * when a member was not observed or the channels do not agree. */
static bool measure(equalizer *e, uint32_t root, size_t channels, float *acts, float *weights,
                    bool *dense)
{
    const ufi_graph *g = e->g;
    for (uint32_t v = 0; v < g->value_count; v++) {
        if (ufi_forest_root(e->group, v) != root || g->values[v].data)
            continue;
        const ufi_channel_stats *s = ufi_observer_channels(e->observer, v);
        if (!s || s->channels != channels)
            return false;
        for (size_t c = 0; c < channels; c++)
            acts[c] = fmaxf(acts[c], s->most[c]);
    }
    *dense = false;
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        if (n->op != UFI_OP_CONV || ufi_forest_root(e->group, n->in[0]) != root)
            continue;
        const ufi_shape *s = &g->values[n->in[1]].shape;
        const float *w = g->values[n->in[1]].data;
        const size_t taps = (size_t)(s->dims[2] * s->dims[3]), per_filter = (size_t)s->dims[1];
        const bool depthwise = ufi_is_depthwise(g, n);
        *dense |= !depthwise;
        for (size_t k = 0; k < (size_t)ufi_shape_count(s); k++) {
            const size_t c = depthwise ? k / taps : k / taps % per_filter;
            weights[c] = fmaxf(weights[c], fabsf(w[k]));
        }
    }
    return true;
}

/* By what each channel's activation is divided. */
static void choose_factors(float *factors, const float *acts, const float *weights, size_t channels,
                           bool dense)
{
    float most = 0;
    for (size_t c = 0; c < channels; c++) {
        factors[c] = 1;
        if (acts[c] > 1e-9f && weights[c] > 1e-9f)
            factors[c] = dense ? sqrtf(acts[c] / weights[c]) : acts[c];
        else
            factors[c] = 0; /* dead: decided below */
        most = fmaxf(most, factors[c]);
    }
    for (size_t c = 0; c < channels; c++) {
        factors[c] = factors[c] > 0 ? factors[c] / most : 1;
        factors[c] = fminf(fmaxf(factors[c], 1 / MOST_SCALE), MOST_SCALE);
    }
}

/* ---- weights ---- */

/* Input i of the node becomes a copy of the constant it was, to be changed; NULL without memory. */
static float *own_copy(equalizer *e, ufi_node *n, uint32_t i)
{
    float *copy;
    return ufi_graph_own_input(e->g, n, i, &copy, e->err) ? NULL : copy;
}

/* Divides what the convolution puts out, channel by channel. */
static uf_status scale_rows(equalizer *e, ufi_node *n, const float *factors)
{
    const ufi_shape s = e->g->values[n->in[1]].shape;
    const size_t filters = (size_t)s.dims[0], per = (size_t)ufi_shape_count(&s) / filters;
    float *w = own_copy(e, n, 1);
    if (!w)
        return UF_E_NOMEM;
    for (size_t i = 0; i < filters * per; i++)
        w[i] /= factors[i / per];
    if (!ufi_node_has(n, 2))
        return UF_OK;
    float *bias = own_copy(e, n, 2);
    if (!bias)
        return UF_E_NOMEM;
    for (size_t i = 0; i < filters; i++)
        bias[i] /= factors[i];
    return UF_OK;
}

/* Multiplies the weights that read each channel. */
static uf_status scale_columns(equalizer *e, ufi_node *n, const float *factors)
{
    const ufi_shape s = e->g->values[n->in[1]].shape;
    const size_t taps = (size_t)(s.dims[2] * s.dims[3]), per_filter = (size_t)s.dims[1];
    const bool depthwise = ufi_is_depthwise(e->g, n);
    float *w = own_copy(e, n, 1);
    if (!w)
        return UF_E_NOMEM;
    for (size_t i = 0; i < (size_t)ufi_shape_count(&s); i++)
        w[i] *= factors[depthwise ? i / taps : i / taps % per_filter];
    return UF_OK;
}

static uf_status scale_group(equalizer *e, uint32_t root, const float *factors)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < e->g->node_count; i++) {
        ufi_node *n = &e->g->nodes[i];
        if (n->op != UFI_OP_CONV)
            continue;
        if (ufi_forest_root(e->group, n->out[0]) == root)
            st = scale_rows(e, n, factors);
        if (!st && ufi_forest_root(e->group, n->in[0]) == root)
            st = scale_columns(e, n, factors);
    }
    return st;
}

static uf_status equalize_group(equalizer *e, uint32_t root, uint32_t *groups)
{
    const ufi_value *v = &e->g->values[root];
    if (v->data || v->dtype != UF_F32 || !v->has_shape || v->shape.rank != 4 ||
        v->shape.dims[1] < 2)
        return UF_OK;
    const size_t channels = (size_t)v->shape.dims[1];
    float *all = ufi_calloc(3 * channels, sizeof *all);
    float *acts = all, *weights = all + channels, *factors = all + 2 * channels;
    uf_status st = UF_OK;
    bool dense;
    if (!all)
        return ufi_fail(e->err, UF_E_NOMEM, "no memory for equalising");
    if (measure(e, root, channels, acts, weights, &dense)) {
        choose_factors(factors, acts, weights, channels, dense);
        st = scale_group(e, root, factors);
        (*groups)++;
    }
    ufi_free(all);
    return st;
}

/* A group that no convolution makes has nothing to divide. */
static bool is_made_by_conv(equalizer *e, uint32_t root)
{
    for (uint32_t i = 0; i < e->g->node_count; i++)
        if (e->g->nodes[i].op == UFI_OP_CONV &&
            ufi_forest_root(e->group, e->g->nodes[i].out[0]) == root)
            return true;
    return false;
}

uf_status ufi_equalize_graph(ufi_graph *g, const ufi_observer *o, uint32_t *groups, uf_error *err)
{
    const uint32_t count = g->value_count; /* new constants need no group */
    const uint32_t room = count + 8 * g->node_count + 16;
    equalizer e = {.g = g, .observer = o, .err = err};
    e.group = ufi_calloc(room, sizeof *e.group);
    e.fixed = ufi_calloc(room, sizeof *e.fixed);
    uf_status st = e.group && e.fixed ? find_groups(&e)
                                      : ufi_fail(err, UF_E_NOMEM, "no memory for equalising");
    for (uint32_t v = count; !st && v < room; v++)
        e.group[v] = v;
    *groups = 0;
    for (uint32_t v = 0; !st && v < count; v++)
        if (ufi_forest_root(e.group, v) == v && !e.fixed[v] && is_made_by_conv(&e, v))
            st = equalize_group(&e, v, groups);
    ufi_free(e.group);
    ufi_free(e.fixed);
    return st ? st : ufi_graph_optimize(g, err); /* sweeps the old weights */
}
