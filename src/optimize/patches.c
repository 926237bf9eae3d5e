/* Covariances of the inputs of convolutions. */
#include "optimize/patches.h"

#include "base/mem.h"
#include "optimize/conv.h"
#include "optimize/watch.h"

enum {
    MAX_LENGTH = 640,      /* weights of an output channel: 512 inputs of a 1x1, 64 of a 3x3 */
    MAX_NUMBERS = 1 << 22, /* of all covariances of a layer: depthwise ones have one a channel */
    MIN_PLACES = 4,        /* of each sample and convolution */
    MAX_PLACES = 64,
    PRODUCTS = 1 << 24 /* of each sample and convolution, in between */
};

/* How a kernel walks over an input. */
typedef struct window {
    int64_t stride[2], dilation[2], pad[4]; /* top, left, bottom, right */
    int64_t kernel[2], in[2], out[2];
} window;

typedef struct collector {
    const ufi_graph *g;
    ufi_patches *patches; /* per node */
    double **means;       /* per node, [count][length] */
    uint64_t *places;     /* per node, looked at so far */
    float *patch;
} collector;

static bool is_wanted(const ufi_graph *g, const ufi_node *n)
{
    if (!ufi_is_plain_conv(g, n) || g->values[n->in[0]].data || ufi_node_attr(n, UFI_ATTR_AUTO_PAD))
        return false;
    const int64_t *d = g->values[n->in[1]].shape.dims;
    const int64_t length = d[1] * d[2] * d[3], count = ufi_is_depthwise(g, n) ? d[0] : 1;
    return length <= MAX_LENGTH && count * length <= MAX_NUMBERS / length;
}

static uf_status make_room(collector *c, uint32_t node, uf_error *err)
{
    const ufi_node *n = &c->g->nodes[node];
    const int64_t *d = c->g->values[n->in[1]].shape.dims;
    ufi_patches *p = &c->patches[node];
    p->length = (size_t)(d[1] * d[2] * d[3]);
    p->count = ufi_is_depthwise(c->g, n) ? (size_t)d[0] : 1;
    p->covariance = ufi_calloc(p->count * p->length, p->length * sizeof *p->covariance);
    c->means[node] = ufi_calloc(p->count * p->length, sizeof **c->means);
    return p->covariance && c->means[node]
               ? UF_OK
               : ufi_fail(err, UF_E_NOMEM, "no memory for statistics of \"%s\"", n->name);
}

/* ---- one place of one picture ---- */

static void read_ints(int64_t *out, uint32_t count, int64_t usual, const ufi_node *n,
                      ufi_attr_key key)
{
    const ufi_attr *a = ufi_node_attr(n, key);
    for (uint32_t i = 0; i < count; i++)
        out[i] = a && i < a->count ? a->u.ints[i] : usual;
}

static window read_window(const ufi_graph *g, const ufi_node *n, const ufi_shape *x)
{
    window w;
    read_ints(w.stride, 2, 1, n, UFI_ATTR_STRIDES);
    read_ints(w.dilation, 2, 1, n, UFI_ATTR_DILATIONS);
    read_ints(w.pad, 4, 0, n, UFI_ATTR_PADS);
    for (int i = 0; i < 2; i++) {
        w.kernel[i] = g->values[n->in[1]].shape.dims[2 + i];
        w.in[i] = x->dims[2 + i];
        w.out[i] = (w.in[i] + w.pad[i] + w.pad[i + 2] - w.dilation[i] * (w.kernel[i] - 1) - 1) /
                       w.stride[i] +
                   1;
    }
    return w;
}

/* What lies under the kernel at output `place` in one channel, which begins at `x`. */
static void read_patch(float *patch, const window *w, int64_t place, const float *x, size_t step)
{
    const int64_t top = place / w->out[1] * w->stride[0] - w->pad[0];
    const int64_t left = place % w->out[1] * w->stride[1] - w->pad[1];
    for (int64_t i = 0; i < w->kernel[0]; i++)
        for (int64_t k = 0; k < w->kernel[1]; k++) {
            const int64_t row = top + i * w->dilation[0], column = left + k * w->dilation[1];
            const bool inside = row >= 0 && row < w->in[0] && column >= 0 && column < w->in[1];
            *patch++ = inside ? x[(size_t)(row * w->in[1] + column) * step] : 0;
        }
}

static void add_patch(double *mean, double *covariance, const float *x, size_t length)
{
    for (size_t a = 0; a < length; a++) {
        const double xa = (double)x[a];
        double *row = covariance + a * length;
        mean[a] += xa;
        for (size_t b = 0; b <= a; b++)
            row[b] += xa * (double)x[b];
    }
}

/* ---- all of them ---- */

static void take_node(collector *c, uint32_t node, const ufi_tensor *t, size_t sample)
{
    const ufi_patches *p = &c->patches[node];
    const window w = read_window(c->g, &c->g->nodes[node], &t->shape);
    const size_t channels = (size_t)t->shape.dims[1], taps = (size_t)(w.kernel[0] * w.kernel[1]);
    const size_t pixels = (size_t)(w.in[0] * w.in[1]), places = (size_t)(w.out[0] * w.out[1]);
    const bool last = t->layout == UFI_NHWC;
    size_t most = PRODUCTS / (p->count * p->length * p->length);
    most = most < MIN_PLACES ? MIN_PLACES : most > MAX_PLACES ? MAX_PLACES : most;
    const size_t step = places > most ? places / most : 1;
    for (size_t at = sample % step; at < places; at += step) {
        for (size_t ch = 0; ch < channels; ch++)
            read_patch(c->patch + ch * taps, &w, (int64_t)at,
                       (const float *)t->data + ch * (last ? 1 : pixels), last ? channels : 1);
        for (size_t i = 0; i < p->count; i++)
            add_patch(c->means[node] + i * p->length, p->covariance + i * p->length * p->length,
                      c->patch + i * p->length, p->length);
        c->places[node]++;
    }
}

static uf_status take_value(void *arg, uint32_t v, const ufi_tensor *t, size_t sample,
                            uf_error *err)
{
    collector *c = arg;
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < c->g->node_count; i++) {
        if (!is_wanted(c->g, &c->g->nodes[i]) || c->g->nodes[i].in[0] != v)
            continue;
        if (!c->patches[i].length)
            st = make_room(c, i, err);
        if (!st)
            take_node(c, i, t, sample);
    }
    return st;
}

/* Sums become covariances; the upper half is filled. */
static void finish(const ufi_patches *p, const double *sums, uint64_t places)
{
    const double n = (double)(places ? places : 1);
    for (size_t i = 0; i < p->count; i++, sums += p->length) {
        double *covariance = p->covariance + i * p->length * p->length;
        for (size_t a = 0; a < p->length; a++)
            for (size_t b = 0; b <= a; b++) {
                double *at = &covariance[a * p->length + b];
                *at = *at / n - sums[a] / n * (sums[b] / n);
                covariance[b * p->length + a] = *at;
            }
    }
}

static uf_status open_collector(collector *c, bool *wanted, uf_error *err)
{
    size_t most = 1;
    for (uint32_t i = 0; i < c->g->node_count; i++) {
        const ufi_node *n = &c->g->nodes[i];
        if (!is_wanted(c->g, n))
            continue;
        wanted[n->in[0]] = true;
        const size_t weights = (size_t)ufi_shape_count(&c->g->values[n->in[1]].shape);
        most = weights > most ? weights : most;
    }
    c->means = ufi_calloc(c->g->node_count + 1, sizeof *c->means);
    c->places = ufi_calloc(c->g->node_count + 1, sizeof *c->places);
    c->patch = ufi_malloc(most, sizeof *c->patch);
    return c->means && c->places && c->patch
               ? UF_OK
               : ufi_fail(err, UF_E_NOMEM, "no memory for statistics of weights");
}

uf_status ufi_patches_collect(ufi_patches *patches, const ufi_judge *judge, uf_error *err)
{
    collector c = {.g = judge->g, .patches = patches};
    bool *wanted = ufi_calloc(c.g->value_count + 1, sizeof *wanted);
    uf_status st = wanted ? open_collector(&c, wanted, err)
                          : ufi_fail(err, UF_E_NOMEM, "no memory for statistics of weights");
    if (!st)
        st = ufi_watch(judge, wanted, take_value, &c, err);
    for (uint32_t i = 0; c.means && i < c.g->node_count; i++) {
        if (!st && patches[i].length)
            finish(&patches[i], c.means[i], c.places[i]);
        ufi_free(c.means[i]);
    }
    if (st)
        ufi_patches_free(patches, c.g->node_count);
    ufi_free(c.means);
    ufi_free(c.places);
    ufi_free(c.patch);
    ufi_free(wanted);
    return st;
}

void ufi_patches_free(ufi_patches *patches, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        ufi_free(patches[i].covariance);
        patches[i] = (ufi_patches){0};
    }
}
