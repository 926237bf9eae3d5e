/*
 * Folds y = x * scale[c] + shift[c] (batch normalisation, and products and sums with constants per
 * channel) into the weights of the convolution or product before it, or of the convolution after
 * it, or into the neighbouring one of its own kind. Sums run in double.
 */
#include "graph/pass.h"

/* A node seen as scale and shift per channel of its data input. */
typedef struct channel_affine {
    uint32_t data;              /* the value that is transformed */
    int64_t channels;           /* of data, axis 1 */
    const float *scale, *shift; /* constants; NULL: 1 and 0 */
    bool one_scale, one_shift;  /* a single element for all channels */
    bool invert, negate;        /* divide by `scale`; subtract `shift` */
    bool flip;                  /* shift - x */
} channel_affine;

static double scale_at(const channel_affine *a, int64_t c)
{
    if (a->flip)
        return -1;
    double s = a->scale ? (double)a->scale[a->one_scale ? 0 : c] : 1;
    return a->invert ? 1 / s : s;
}

static double shift_at(const channel_affine *a, int64_t c)
{
    double t = a->shift ? (double)a->shift[a->one_shift ? 0 : c] : 0;
    return a->negate ? -t : t;
}

static bool is_finite(const channel_affine *a)
{
    for (int64_t c = 0; c < a->channels; c++)
        if (!isfinite(scale_at(a, c)) || !isfinite(shift_at(a, c)))
            return false;
    return true;
}

/* A constant that holds one number, or one for each of `channels` along axis 1 of `rank`. */
static const float *channel_vector(const ufi_pass *p, uint32_t v, uint32_t rank, int64_t channels,
                                   bool *one)
{
    int64_t count;
    const float *f = ufi_pass_floats(p, v, &count);
    if (!f)
        return NULL;
    const ufi_shape *s = &ufi_pass_value(p, v)->shape;
    *one = count == 1;
    if (s->rank > rank)
        return NULL;
    if (count == 1)
        return f;
    if (count != channels || s->rank + 1 < rank || s->dims[s->rank + 1 - rank] != channels)
        return NULL;
    return f;
}

/* A constant of rank 1 with one number per channel. */
static const float *plain_vector(const ufi_pass *p, uint32_t v, int64_t channels)
{
    int64_t count;
    const float *f = ufi_pass_floats(p, v, &count);
    return f && count == channels ? f : NULL;
}

static bool read_data(const ufi_pass *p, uint32_t v, channel_affine *a, uint32_t *rank)
{
    const ufi_value *x = ufi_pass_value(p, v);
    if (x->data || x->dtype != UF_F32 || !x->has_shape || x->shape.rank < 2 || x->shape.dims[1] < 1)
        return false;
    a->data = v;
    a->channels = x->shape.dims[1];
    *rank = x->shape.rank;
    return true;
}

static bool read_binary(const ufi_pass *p, const ufi_node *n, channel_affine *a)
{
    uint32_t rank;
    bool one;
    for (int i = 0; i < 2; i++) {
        if (!read_data(p, n->in[i], a, &rank))
            continue;
        const float *c = channel_vector(p, n->in[1 - i], rank, a->channels, &one);
        if (!c)
            continue;
        bool is_scale = n->op == UFI_OP_MUL || n->op == UFI_OP_DIV;
        if (n->op == UFI_OP_DIV && i == 1)
            return false;
        a->scale = is_scale ? c : NULL;
        a->shift = is_scale ? NULL : c;
        a->one_scale = a->one_shift = one;
        a->invert = n->op == UFI_OP_DIV;
        a->negate = n->op == UFI_OP_SUB && i == 0;
        a->flip = n->op == UFI_OP_SUB && i == 1;
        return is_finite(a);
    }
    return false;
}

static bool read_affine(const ufi_pass *p, const ufi_node *n, channel_affine *a)
{
    uint32_t rank;
    *a = (channel_affine){0};
    switch (n->op) {
    case UFI_OP_AFFINE:
        if (!read_data(p, n->in[0], a, &rank))
            return false;
        a->scale = plain_vector(p, n->in[1], a->channels);
        a->shift = plain_vector(p, n->in[2], a->channels);
        return a->scale && a->shift && is_finite(a);
    case UFI_OP_ADD:
    case UFI_OP_SUB:
    case UFI_OP_MUL:
    case UFI_OP_DIV:
        return read_binary(p, n, a);
    default:
        return false;
    }
}

static bool only_shifts(const channel_affine *a)
{
    return !a->scale && !a->flip;
}

/* ---- into the weights before ---- */

/* The bias of `n` (input 2) as one float per output, or none. False when it has another form. */
static bool read_bias(const ufi_pass *p, const ufi_node *n, int64_t outputs, const float **bias,
                      bool *one)
{
    int64_t count;
    *bias = NULL;
    *one = false;
    if (!ufi_node_has(n, 2))
        return true;
    *bias = ufi_pass_floats(p, n->in[2], &count);
    *one = count == 1;
    return *bias && (count == outputs || count == 1);
}

static uf_status scaled_bias(ufi_pass *p, const ufi_node *n, const channel_affine *a,
                             const float *bias, bool one, uint32_t *id)
{
    float *b;
    ufi_shape shape = {.rank = 1, .dims = {a->channels}};
    uf_status st = ufi_pass_constant(p, n->name, &shape, NULL, id, &b);
    for (int64_t c = 0; !st && c < a->channels; c++)
        b[c] = (float)((bias ? (double)bias[one ? 0 : c] : 0) * scale_at(a, c) + shift_at(a, c));
    return st;
}

/* Weights [outputs][rest], or [rest][outputs] when `outputs_last`, times scale[output]. */
static uf_status scaled_weights(ufi_pass *p, uint32_t w, const channel_affine *a, bool outputs_last,
                                uint32_t *id)
{
    int64_t count;
    const float *from = ufi_pass_floats(p, w, &count);
    float *to;
    ufi_shape shape = ufi_pass_value(p, w)->shape;
    *id = w;
    if (only_shifts(a))
        return UF_OK;
    uf_status st = ufi_pass_constant(p, ufi_pass_value(p, w)->name, &shape, NULL, id, &to);
    int64_t rest = count / a->channels;
    for (int64_t i = 0; !st && i < count; i++)
        to[i] = (float)((double)from[i] * scale_at(a, outputs_last ? i % a->channels : i / rest));
    return st;
}

/* Whether `n` is a layer with constant weights and `a->channels` outputs, without activation. */
static bool is_open_layer(const ufi_pass *p, const ufi_node *n, const channel_affine *a,
                          bool *outputs_last)
{
    int64_t count;
    if (!n || ufi_node_int(n, UFI_ATTR_ACT, 0) || ufi_node_has(n, 3) || ufi_node_has(n, 4) ||
        (n->op != UFI_OP_CONV && n->op != UFI_OP_GEMM && n->op != UFI_OP_MATMUL) ||
        !ufi_pass_floats(p, n->in[1], &count))
        return false;
    const ufi_shape *w = &ufi_pass_value(p, n->in[1])->shape;
    if (n->op == UFI_OP_CONV) {
        *outputs_last = false;
        return w->dims[0] == a->channels;
    }
    const ufi_value *x = ufi_pass_value(p, n->in[0]);
    if (w->rank != 2 || !x->has_shape || x->shape.rank != 2 ||
        ufi_node_float(n, UFI_ATTR_BETA, 1.0f) != 1.0f)
        return false;
    *outputs_last = n->op == UFI_OP_MATMUL || !ufi_node_int(n, UFI_ATTR_TRANS_B, 0);
    return w->dims[*outputs_last ? 1 : 0] == a->channels;
}

static uf_status fold_into_producer(ufi_pass *p, ufi_node *n, const channel_affine *a, bool *done)
{
    ufi_node *layer = ufi_pass_sole_producer(p, a->data, UFI_OP_COUNT);
    bool outputs_last, one;
    const float *bias;
    if (!is_open_layer(p, layer, a, &outputs_last) ||
        !read_bias(p, layer, a->channels, &bias, &one))
        return UF_OK;
    uint32_t in[3] = {layer->in[0], 0, 0};
    uf_status st = scaled_weights(p, layer->in[1], a, outputs_last, &in[1]);
    if (!st)
        st = scaled_bias(p, layer, a, bias, one, &in[2]);
    if (!st)
        st = ufi_pass_merge(p, n, layer);
    if (st)
        return st;
    if (n->op == UFI_OP_MATMUL)
        n->op = UFI_OP_GEMM;
    *done = true;
    return ufi_pass_set_inputs(p, n, in, 3);
}

/* ---- into the weights behind ---- */

/* Zero padding is not affected by a shift only if there is no padding or no shift. */
static bool padding_allows(const ufi_node *conv, const channel_affine *a)
{
    bool shifts = false, padded = ufi_node_attr(conv, UFI_ATTR_AUTO_PAD) != NULL;
    for (int64_t c = 0; c < a->channels; c++)
        shifts |= shift_at(a, c) != 0;
    const ufi_attr *pads = ufi_node_attr(conv, UFI_ATTR_PADS);
    for (uint32_t i = 0; pads && pads->type == UFI_ATTR_INTS && i < pads->count; i++)
        padded |= pads->u.ints[i] != 0;
    return !shifts || !padded;
}

static uf_status weights_behind(ufi_pass *p, const ufi_node *conv, const channel_affine *a,
                                const float *bias, bool one, uint32_t ids[2])
{
    const ufi_value *wv = ufi_pass_value(p, conv->in[1]);
    const float *w = wv->data;
    ufi_shape shape = wv->shape, bias_shape = {.rank = 1, .dims = {shape.dims[0]}};
    float *to, *b;
    uf_status st = ufi_pass_constant(p, wv->name, &shape, NULL, &ids[0], &to);
    if (!st)
        st = ufi_pass_constant(p, conv->name, &bias_shape, NULL, &ids[1], &b);
    if (st)
        return st;
    int64_t outputs = shape.dims[0], inputs = shape.dims[1];
    int64_t taps = ufi_product(shape.dims, 2, shape.rank);
    int64_t per_group = outputs / ufi_node_int(conv, UFI_ATTR_GROUP, 1);
    for (int64_t o = 0; o < outputs; o++) {
        double sum = bias ? (double)bias[one ? 0 : o] : 0;
        for (int64_t i = 0; i < inputs; i++) {
            int64_t c = o / per_group * inputs + i;
            for (int64_t t = 0; t < taps; t++) {
                int64_t at = (o * inputs + i) * taps + t;
                to[at] = (float)((double)w[at] * scale_at(a, c));
                sum += (double)w[at] * shift_at(a, c);
            }
        }
        b[o] = (float)sum;
    }
    return UF_OK;
}

static uf_status fold_into_consumer(ufi_pass *p, ufi_node *conv)
{
    ufi_node *n = ufi_pass_sole_producer(p, conv->in[0], UFI_OP_COUNT);
    channel_affine a;
    bool one;
    const float *bias;
    int64_t count;
    if (!n || !read_affine(p, n, &a) || !ufi_pass_floats(p, conv->in[1], &count) ||
        !padding_allows(conv, &a))
        return UF_OK;
    const ufi_shape *w = &ufi_pass_value(p, conv->in[1])->shape;
    int64_t group = ufi_node_int(conv, UFI_ATTR_GROUP, 1);
    if (group < 1 || w->dims[1] * group != a.channels || w->dims[0] % group ||
        !read_bias(p, conv, w->dims[0], &bias, &one))
        return UF_OK;
    uint32_t ids[2], in[5];
    uf_status st = weights_behind(p, conv, &a, bias, one, ids);
    if (st)
        return st;
    uint32_t in_count = conv->in_count < 3 ? 3 : conv->in_count;
    memcpy(in, conv->in, conv->in_count * sizeof *in);
    in[0] = a.data;
    in[1] = ids[0];
    in[2] = ids[1];
    st = ufi_pass_set_inputs(p, conv, in, in_count);
    if (!st)
        st = ufi_pass_set_inputs(p, n, NULL, 0);
    p->producer[n->out[0]] = UFI_NONE;
    n->out[0] = UFI_NONE;
    return st;
}

/* ---- into one another ---- */

static uf_status fold_pair(ufi_pass *p, ufi_node *n, const channel_affine *a)
{
    ufi_node *before = ufi_pass_sole_producer(p, a->data, UFI_OP_COUNT);
    channel_affine b;
    if (!before || !read_affine(p, before, &b) || b.channels != a->channels)
        return UF_OK;
    ufi_shape shape = {.rank = 1, .dims = {a->channels}};
    uint32_t in[3] = {b.data, 0, 0};
    float *scale, *shift;
    uf_status st = ufi_pass_constant(p, n->name, &shape, NULL, &in[1], &scale);
    if (!st)
        st = ufi_pass_constant(p, n->name, &shape, NULL, &in[2], &shift);
    if (st)
        return st;
    for (int64_t c = 0; c < a->channels; c++) {
        scale[c] = (float)(scale_at(&b, c) * scale_at(a, c));
        shift[c] = (float)(shift_at(&b, c) * scale_at(a, c) + shift_at(a, c));
    }
    st = ufi_pass_merge(p, n, before);
    n->op = UFI_OP_AFFINE;
    n->attr_count = 0;
    return st ? st : ufi_pass_set_inputs(p, n, in, 3);
}

uf_status ufi_pass_affine(ufi_pass *p)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < p->g->node_count; i++) {
        ufi_node *n = &p->g->nodes[i];
        channel_affine a;
        bool done = false;
        if (n->out_count != 1 || n->out[0] == UFI_NONE)
            continue;
        if (n->op == UFI_OP_CONV) {
            st = fold_into_consumer(p, n);
        } else if (read_affine(p, n, &a)) {
            st = fold_into_producer(p, n, &a, &done);
            if (!st && !done)
                st = fold_pair(p, n, &a);
        }
    }
    return st;
}
