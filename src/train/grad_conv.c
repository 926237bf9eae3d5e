/*
 * Convolutions: oneDNN's, forward, and back to the input and to the weights. Activations are nhwc;
 * weights are copied from the variable to the arrangement that each primitive likes best (and to
 * BF16 where that is kept), the weights' gradient back from its one in FP32.
 */
#include "train/net_impl.h"

enum { X, W, BIAS, INPUTS };

typedef struct conv_state {
    ufi_prim forward, back_data, back_weights;
    ufi_prim to_forward, to_back, from_grad; /* weights; empty where the arrangement is plain */
    uint32_t w_forward, w_back, w_grad, dx;  /* temporary memory of the step */
    uint32_t scratch[3], part[INPUTS];
    ufi_depthwise *depthwise; /* in place of back_weights; NULL for other convolutions */
} conv_state;

typedef struct conv_shape {
    dnnl_memory_desc_t x, y, w, b; /* as the primitives may choose */
    dnnl_memory_desc_t plain_w;    /* the variable's */
    dnnl_dims_t stride, dilation, pad, pad_end;
    bool bias;
} conv_shape;

static void destroy(ufi_step *s)
{
    conv_state *q = s->state;
    ufi_prim_destroy(&q->forward);
    ufi_prim_destroy(&q->back_data);
    ufi_prim_destroy(&q->back_weights);
    ufi_prim_destroy(&q->to_forward);
    ufi_prim_destroy(&q->to_back);
    ufi_prim_destroy(&q->from_grad);
    ufi_free(q);
}

/* A matrix product is a convolution of one pixel: rows of x are the rows of a picture. */
typedef struct product_plan {
    int64_t x[4], y[4], w[4];
    bool transposed; /* the variable is [in][out] */
} product_plan;

static uf_status read_window(const ufi_step *s, const ufi_blob *x, const ufi_blob *y,
                             const int64_t *kernel, conv_shape *c, uf_error *err)
{
    ufi_net_window win;
    uf_status st = ufi_net_read_window(s->node, &x->shape, &y->shape, kernel, &win, err);
    for (int d = 0; !st && d < 2; d++) {
        c->stride[d] = win.stride[d];
        c->dilation[d] = win.dilation[d] - 1;
        c->pad[d] = win.pad[d];
        c->pad_end[d] = win.pad_end[d];
    }
    return st;
}

static uf_status describe(const ufi_net *net, const ufi_step *s, conv_shape *c, uf_error *err)
{
    const ufi_blob *x = ufi_blob_in(net, s, X), *w = ufi_blob_in(net, s, W);
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    const product_plan *p = s->plan;
    const int64_t group = p ? 1 : ufi_node_int(s->node, UFI_ATTR_GROUP, 1);
    const int64_t *o = p ? p->w : w->shape.dims;
    const dnnl_data_type_t type = net->options.bf16 ? dnnl_bf16 : dnnl_f32;
    const int64_t grouped[5] = {group, o[0] / group, o[1], o[2], o[3]};
    const int skip = group == 1;
    uf_status st = UF_OK;
    c->bias = ufi_blob_in(net, s, BIAS) != NULL;
    c->stride[0] = c->stride[1] = 1;
    if (!p)
        st = read_window(s, x, y, o + 2, c, err);
    if (!st)
        st = ufi_dnnl_desc(&c->x, 4, p ? p->x : x->shape.dims, type, dnnl_nhwc, err);
    if (!st)
        st = ufi_dnnl_desc(&c->y, 4, p ? p->y : y->shape.dims, type, dnnl_nhwc, err);
    if (!st)
        st = ufi_dnnl_desc(&c->w, 5 - skip, grouped + skip, type, dnnl_format_tag_any, err);
    if (!st)
        st = ufi_dnnl_desc(&c->plain_w, 5 - skip, grouped + skip, dnnl_f32,
                           p && p->transposed ? dnnl_ihwo
                           : skip             ? dnnl_oihw
                                              : dnnl_goihw,
                           err);
    if (!st && c->bias)
        st = ufi_dnnl_desc(&c->b, 1, o, dnnl_f32, dnnl_x, err);
    return st;
}

static uf_status create_forward(ufi_net *net, conv_state *q, const conv_shape *c,
                                dnnl_primitive_desc_t *hint, uf_error *err)
{
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t r = dnnl_dilated_convolution_forward_desc_init(
        &desc, dnnl_forward_training, dnnl_convolution_direct, &c->x, &c->w, c->bias ? &c->b : NULL,
        &c->y, c->stride, c->dilation, c->pad, c->pad_end);
    if (!r)
        r = dnnl_primitive_desc_create(hint, &desc, net->dnnl.attr, net->dnnl.engine, NULL);
    if (!r)
        r = dnnl_primitive_desc_clone(&pd, *hint);
    uf_status st = ufi_dnnl_check(r, "a convolution", err);
    if (st)
        return st;
    const dnnl_memory_desc_t *w = dnnl_primitive_desc_query_md(*hint, dnnl_query_weights_md, 0);
    st = ufi_prim_create(&net->dnnl, &q->forward, pd, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->forward, DNNL_ARG_SRC, &c->x, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->forward, DNNL_ARG_WEIGHTS, w, err);
    if (!st && c->bias)
        st = ufi_prim_arg(&net->dnnl, &q->forward, DNNL_ARG_BIAS, &c->b, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->forward, DNNL_ARG_DST, &c->y, err);
    return st ? st : ufi_prim_reorder(&net->dnnl, &q->to_forward, &c->plain_w, w, err);
}

static uf_status create_back_data(ufi_net *net, conv_state *q, const conv_shape *c,
                                  dnnl_primitive_desc_t hint, uf_error *err)
{
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t r = dnnl_dilated_convolution_backward_data_desc_init(
        &desc, dnnl_convolution_direct, &c->x, &c->w, &c->y, c->stride, c->dilation, c->pad,
        c->pad_end);
    if (!r)
        r = dnnl_primitive_desc_create(&pd, &desc, net->dnnl.attr, net->dnnl.engine, hint);
    uf_status st = ufi_dnnl_check(r, "the way back of a convolution", err);
    if (st)
        return st;
    const dnnl_memory_desc_t w = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    st = ufi_prim_create(&net->dnnl, &q->back_data, pd, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->back_data, DNNL_ARG_DIFF_DST, &c->y, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->back_data, DNNL_ARG_WEIGHTS, &w, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->back_data, DNNL_ARG_DIFF_SRC, &c->x, err);
    return st ? st : ufi_prim_reorder(&net->dnnl, &q->to_back, &c->plain_w, &w, err);
}

static uf_status create_back_weights(ufi_net *net, conv_state *q, const conv_shape *c,
                                     dnnl_primitive_desc_t hint, uf_error *err)
{
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_desc_t any = c->w;
    any.data_type = dnnl_f32; /* sums over the batch stay FP32 */
    dnnl_status_t r = dnnl_dilated_convolution_backward_weights_desc_init(
        &desc, dnnl_convolution_direct, &c->x, &any, c->bias ? &c->b : NULL, &c->y, c->stride,
        c->dilation, c->pad, c->pad_end);
    if (!r)
        r = dnnl_primitive_desc_create(&pd, &desc, net->dnnl.attr, net->dnnl.engine, hint);
    uf_status st = ufi_dnnl_check(r, "the weights' gradient of a convolution", err);
    if (st)
        return st;
    const dnnl_memory_desc_t w = *dnnl_primitive_desc_query_md(pd, dnnl_query_diff_weights_md, 0);
    st = ufi_prim_create(&net->dnnl, &q->back_weights, pd, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->back_weights, DNNL_ARG_SRC, &c->x, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->back_weights, DNNL_ARG_DIFF_DST, &c->y, err);
    if (!st)
        st = ufi_prim_arg(&net->dnnl, &q->back_weights, DNNL_ARG_DIFF_WEIGHTS, &w, err);
    if (!st && c->bias)
        st = ufi_prim_arg(&net->dnnl, &q->back_weights, DNNL_ARG_DIFF_BIAS, &c->b, err);
    return st ? st : ufi_prim_reorder(&net->dnnl, &q->from_grad, &w, &c->plain_w, err);
}

/* Temporary memory: weights as the primitives like them, what they work in, and what is added to
 * gradients that somebody else has begun. */
static uf_status ask_memory(ufi_net *net, ufi_step *s, conv_state *q, uf_error *err)
{
    const ufi_blob *x = ufi_blob_in(net, s, X);
    const ufi_prim *prims[3] = {&q->forward, &q->back_data, &q->back_weights};
    uf_status st = UF_OK;
    for (int i = 0; !st && i < 3; i++)
        if (prims[i]->scratch_bytes)
            st = ufi_step_temp(s, i > 0, prims[i]->scratch_bytes, &q->scratch[i], err);
    if (!st && q->to_forward.primitive)
        st = ufi_step_temp(s, false, ufi_prim_bytes(&q->forward, DNNL_ARG_WEIGHTS), &q->w_forward,
                           err);
    if (!st && q->to_back.primitive)
        st = ufi_step_temp(s, true, ufi_prim_bytes(&q->back_data, DNNL_ARG_WEIGHTS), &q->w_back,
                           err);
    if (!st && q->from_grad.primitive)
        st = ufi_step_temp(s, true, ufi_prim_bytes(&q->back_weights, DNNL_ARG_DIFF_WEIGHTS),
                           &q->w_grad, err);
    if (!st && x->wants_grad && s->adds[X])
        st = ufi_step_temp(s, true, ufi_blob_bytes(net, x), &q->dx, err);
    for (uint32_t i = W; !st && i <= BIAS; i++) {
        const ufi_variable *v = ufi_step_variable(net, s, i);
        if (v && ufi_variable_shared(net, v) && !q->depthwise)
            st = ufi_step_temp(s, true, v->count * sizeof(float), &q->part[i], err);
    }
    return st;
}

/* One channel to one, without a bias. */
static bool is_depthwise(const ufi_net *net, const ufi_step *s)
{
    const ufi_blob *x = ufi_blob_in(net, s, X), *w = ufi_blob_in(net, s, W);
    return !s->plan && !ufi_blob_in(net, s, BIAS) && w->shape.dims[1] == 1 &&
           w->shape.dims[0] == x->shape.dims[1];
}

static uf_status create(ufi_net *net, ufi_step *s, uf_error *err)
{
    conv_state *q = s->state = ufi_calloc(1, sizeof *q);
    conv_shape c = {.bias = false};
    dnnl_primitive_desc_t hint = NULL;
    if (!q)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a convolution");
    q->w_forward = q->w_back = q->w_grad = q->dx = UFI_NONE;
    q->scratch[0] = q->scratch[1] = q->scratch[2] = q->part[W] = q->part[BIAS] = UFI_NONE;
    uf_status st = describe(net, s, &c, err);
    if (!st)
        st = create_forward(net, q, &c, &hint, err);
    if (!st && ufi_blob_in(net, s, X)->wants_grad)
        st = create_back_data(net, q, &c, hint, err);
    if (!st && is_depthwise(net, s))
        st = ufi_depthwise_create(net, s, &q->depthwise, err);
    else if (!st)
        st = create_back_weights(net, q, &c, hint, err);
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    s->keeps[X] = true;
    s->keeps[W] = true;
    return st ? st : ask_memory(net, s, q, err);
}

static void *temp(const ufi_step *s, uint32_t index, const void *otherwise)
{
    return index == UFI_NONE ? (void *)(uintptr_t)otherwise : s->temps[index].data;
}

static uf_status bind_reorder(ufi_prim *p, const void *from, const void *to, uf_error *err)
{
    uf_status st = ufi_prim_bind(p, DNNL_ARG_FROM, from, err);
    return st ? st : ufi_prim_bind(p, DNNL_ARG_TO, to, err);
}

static uf_status bind(ufi_net *net, ufi_step *s, uf_error *err)
{
    conv_state *q = s->state;
    const ufi_blob *x = ufi_blob_in(net, s, X), *y = ufi_blob_out(net, s, 0);
    const ufi_blob *w = ufi_blob_in(net, s, W), *b = ufi_blob_in(net, s, BIAS);
    const ufi_variable *bv = ufi_step_variable(net, s, BIAS);
    const float *weights = w->constant ? w->constant : w->data;
    void *plain = temp(s, q->part[W], ufi_step_weights_grad(net, s)),
         *dw = temp(s, q->w_grad, plain);
    void *db = bv ? temp(s, q->part[BIAS], bv->grad) : NULL;
    const struct {
        ufi_prim *p;
        int arg;
        const void *data;
    } list[] = {
        {&q->forward, DNNL_ARG_SRC, x->data},
        {&q->forward, DNNL_ARG_WEIGHTS, temp(s, q->w_forward, weights)},
        {&q->forward, DNNL_ARG_BIAS, b ? b->constant : NULL},
        {&q->forward, DNNL_ARG_DST, y->data},
        {&q->forward, DNNL_ARG_SCRATCHPAD, temp(s, q->scratch[0], NULL)},
        {&q->back_data, DNNL_ARG_DIFF_DST, y->grad},
        {&q->back_data, DNNL_ARG_WEIGHTS, temp(s, q->w_back, weights)},
        {&q->back_data, DNNL_ARG_DIFF_SRC, temp(s, q->dx, x->grad)},
        {&q->back_data, DNNL_ARG_SCRATCHPAD, temp(s, q->scratch[1], NULL)},
        {&q->back_weights, DNNL_ARG_SRC, x->data},
        {&q->back_weights, DNNL_ARG_DIFF_DST, y->grad},
        {&q->back_weights, DNNL_ARG_DIFF_WEIGHTS, dw},
        {&q->back_weights, DNNL_ARG_DIFF_BIAS, db},
        {&q->back_weights, DNNL_ARG_SCRATCHPAD, temp(s, q->scratch[2], NULL)},
    };
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < sizeof list / sizeof *list; i++)
        st = ufi_prim_bind(list[i].p, list[i].arg, list[i].data, err);
    if (!st)
        st = bind_reorder(&q->to_forward, weights, temp(s, q->w_forward, NULL), err);
    if (!st)
        st = bind_reorder(&q->to_back, weights, temp(s, q->w_back, NULL), err);
    return st ? st : bind_reorder(&q->from_grad, dw, plain, err);
}

static uf_status forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    conv_state *q = s->state;
    uf_status st = ufi_prim_run(&net->dnnl, &q->to_forward, err);
    return st ? st : ufi_prim_run(&net->dnnl, &q->forward, err);
}

static uf_status backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    conv_state *q = s->state;
    const ufi_blob *x = ufi_blob_in(net, s, X);
    if (q->depthwise)
        ufi_depthwise_run(net, s, q->depthwise);
    uf_status st = ufi_prim_run(&net->dnnl, &q->back_weights, err);
    if (!st)
        st = ufi_prim_run(&net->dnnl, &q->from_grad, err);
    for (uint32_t i = W; !st && i <= BIAS; i++)
        if (q->part[i] != UFI_NONE) {
            ufi_variable *v = ufi_step_variable(net, s, i);
            net->rows->add(false, v->grad, v->grad, s->temps[q->part[i]].data, v->count);
        }
    if (!st)
        st = ufi_prim_run(&net->dnnl, &q->to_back, err);
    if (!st)
        st = ufi_prim_run(&net->dnnl, &q->back_data, err);
    if (!st && q->dx != UFI_NONE)
        ufi_net_add(net, x, x->grad, x->grad, s->temps[q->dx].data);
    return st;
}

static const ufi_step_kind conv_kind = {"conv", create, bind, forward, backward, destroy};
static const ufi_step_kind product_kind = {"product", create, bind, forward, backward, destroy};

/* ---- lowering ---- */

uf_status ufi_lower_conv(ufi_net *net, const ufi_node *n, uf_error *err)
{
    uint32_t bias = ufi_node_has(n, 2) ? n->in[2] : UFI_NONE;
    uint32_t slope = ufi_node_has(n, 3) ? n->in[3] : UFI_NONE;
    uint32_t residual = ufi_node_has(n, 4) ? n->in[4] : UFI_NONE;
    ufi_curve curve;
    ufi_step *s;
    if (net->blobs[n->in[0]].shape.rank != 4)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "an input of rank %u; 4 is known",
                             net->blobs[n->in[0]].shape.rank);
    if (residual != UFI_NONE && net->blobs[residual].constant)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "its residual is a constant");
    uf_status st = ufi_net_fused(n, &curve, err);
    for (uint32_t i = 1; !st && i < 4; i++)
        st = ufi_net_learn(net, n, i, i == 1, err);
    uint32_t sum = n->out[0], product;
    if (!st && curve.kind != UFI_CURVE_NONE)
        st = ufi_net_add_like(net, n->out[0], &sum, err);
    product = sum;
    if (!st && residual != UFI_NONE)
        st = ufi_net_add_like(net, n->out[0], &product, err);
    const uint32_t in[INPUTS] = {n->in[0], n->in[1], bias};
    if (!st)
        st = ufi_net_add_step(net, &conv_kind, n, in, INPUTS, &product, 1, &s, err);
    if (!st && residual != UFI_NONE)
        st = ufi_lower_sum(net, n, product, residual, sum, err);
    if (!st && curve.kind != UFI_CURVE_NONE)
        st = ufi_lower_curve(net, n, curve, curve.kind == UFI_CURVE_PRELU ? slope : UFI_NONE, sum,
                             n->out[0], err);
    return st;
}

uf_status ufi_net_add_conv(ufi_net *net, const ufi_node *n, uint32_t x, uint32_t w, uint32_t out,
                           uf_error *err)
{
    const uint32_t in[INPUTS] = {x, w, UFI_NONE};
    ufi_step *s;
    return ufi_net_add_step(net, &conv_kind, n, in, INPUTS, &out, 1, &s, err);
}

/* rows x inner by inner x outer. */
static uf_status add_product(ufi_net *net, const ufi_node *n, const int64_t size[3],
                             bool transposed, uint32_t bias, uint32_t out, uf_error *err)
{
    const int64_t rows = size[0], inner = size[1], outer = size[2];
    const uint32_t in[INPUTS] = {n->in[0], n->in[1], bias};
    ufi_step *s;
    product_plan *p = ufi_net_alloc(net, 1, sizeof *p, err);
    if (!p)
        return UF_E_NOMEM;
    *p = (product_plan){{1, inner, rows, 1}, {1, outer, rows, 1}, {outer, inner, 1, 1}, transposed};
    uf_status st = ufi_net_add_step(net, &product_kind, n, in, INPUTS, &out, 1, &s, err);
    if (!st)
        s->plan = p;
    return st;
}

uf_status ufi_lower_matmul(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const ufi_blob *x = &net->blobs[n->in[0]], *w = &net->blobs[n->in[1]];
    const uint32_t rank = x->shape.rank;
    if (!w->constant || w->shape.rank != 2 || x->constant || rank < 2 || rank == 4)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED,
                             "only a matrix of 2, 3 or 5 dimensions by a constant of 2 has a "
                             "gradient");
    const int64_t size[3] = {(int64_t)x->count / w->shape.dims[0], w->shape.dims[0],
                             w->shape.dims[1]};
    uf_status st = ufi_net_learn(net, n, 1, true, err);
    return st ? st : add_product(net, n, size, true, UFI_NONE, n->out[0], err);
}

/* Steps of a Gemm: product, times alpha, plus c, activation. A c of one row is the product's bias.
 */
uf_status ufi_lower_gemm(ufi_net *net, const ufi_node *n, uf_error *err)
{
    const bool by_rows = ufi_node_int(n, UFI_ATTR_TRANS_B, 0) != 0;
    const float alpha = ufi_node_float(n, UFI_ATTR_ALPHA, 1);
    const ufi_shape *x = &net->blobs[n->in[0]].shape, *w = &net->blobs[n->in[1]].shape;
    const int64_t size[3] = {x->dims[0], x->dims[1], w->dims[by_rows ? 0 : 1]};
    ufi_curve curve, linear = {.kind = UFI_CURVE_LINEAR, .alpha = alpha};
    const bool scaled = alpha < 1 || alpha > 1, has_c = ufi_node_has(n, 2);
    const float beta = has_c ? ufi_node_float(n, UFI_ATTR_BETA, 1) : 1;
    uint32_t bias = UFI_NONE, sum = n->out[0], scaled_product, product;
    if (ufi_node_int(n, UFI_ATTR_TRANS_A, 0) || beta < 1 || beta > 1)
        return ufi_step_fail(n, err, UF_E_UNSUPPORTED, "transA, or beta other than 1");
    uf_status st = ufi_net_fused(n, &curve, err);
    if (!st)
        st = ufi_net_learn(net, n, 1, true, err);
    if (!st)
        st = ufi_net_learn(net, n, 2, false, err);
    if (!st && has_c && !scaled && net->blobs[n->in[2]].count == (size_t)size[2])
        bias = n->in[2];
    const bool adds = has_c && bias == UFI_NONE;
    if (!st && curve.kind != UFI_CURVE_NONE)
        st = ufi_net_add_like(net, n->out[0], &sum, err);
    scaled_product = sum;
    if (!st && adds)
        st = ufi_net_add_like(net, n->out[0], &scaled_product, err);
    product = scaled_product;
    if (!st && scaled)
        st = ufi_net_add_like(net, n->out[0], &product, err);
    if (!st)
        st = add_product(net, n, size, !by_rows, bias, product, err);
    if (!st && scaled)
        st = ufi_lower_curve(net, n, linear, UFI_NONE, product, scaled_product, err);
    if (!st && adds)
        st = ufi_lower_pair(net, n, UFI_OP_ADD, scaled_product, n->in[2], sum, err);
    if (!st && curve.kind != UFI_CURVE_NONE)
        st = ufi_lower_curve(net, n, curve, UFI_NONE, sum, n->out[0], err);
    return st;
}
