/* Sums of two blobs of one shape, and the other elementwise operators of two operands. */
#include "train/net_impl.h"

/* ---- sums of one shape ---- */

static uf_status sum_create(ufi_net *net, ufi_step *s, uf_error *err)
{
    (void)net, (void)err;
    s->passes_grad = true;
    s->overwrites = true;
    return UF_OK;
}

static uf_status sum_forward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    (void)err;
    ufi_net_add(net, y, y->data, ufi_blob_in(net, s, 0)->data, ufi_blob_in(net, s, 1)->data);
    return UF_OK;
}

static uf_status sum_backward(ufi_net *net, ufi_step *s, uf_error *err)
{
    const ufi_blob *y = ufi_blob_out(net, s, 0);
    (void)err;
    for (uint32_t k = 0; k < 2; k++) {
        const ufi_blob *x = ufi_blob_in(net, s, k);
        if (x->grad && !s->shares[k])
            ufi_net_add(net, x, x->grad, y->grad, s->adds[k] ? x->grad : NULL);
    }
    return UF_OK;
}

static const ufi_step_kind sum_kind = {"sum", sum_create, NULL, sum_forward, sum_backward, NULL};

uf_status ufi_lower_sum(ufi_net *net, const ufi_node *n, uint32_t a, uint32_t b, uint32_t out,
                        uf_error *err)
{
    const uint32_t in[2] = {a, b};
    ufi_step *s;
    return ufi_net_add_step(net, &sum_kind, n, in, 2, &out, 1, &s, err);
}

uf_status ufi_lower_binary(ufi_net *net, const ufi_node *n, uf_error *err)
{
    return ufi_lower_sum(net, n, n->in[0], n->in[1], n->out[0], err);
}
