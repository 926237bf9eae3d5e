/* Softmax and LogSoftmax along one axis, or in the form before opset 13: over all axes from one on.
 */
#include "graph/op.h"

static uf_status read_axis(const ufi_op_call *c, uint32_t *axis, uf_error *err)
{
    bool coerce = ufi_node_int(c->node, UFI_ATTR_COERCE_2D, 0) != 0;
    int64_t value = ufi_node_int(c->node, UFI_ATTR_AXIS, coerce ? 1 : -1);
    uint32_t rank = c->in[0].shape.rank;
    if (coerce && value == (int64_t)rank) {
        *axis = rank;
        return UF_OK;
    }
    if (rank == 0 && (value == 0 || value == -1)) {
        *axis = 0;
        return UF_OK;
    }
    return ufi_op_axis(c, value, rank, axis, err);
}

uf_status ufi_infer_softmax(const ufi_op_call *c, uf_error *err)
{
    uint32_t axis;
    uf_status st = ufi_op_need_float(c, 0, err);
    if (!st)
        st = read_axis(c, &axis, err);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &c->in[0].shape, err);
}

/* n elements from `at`, `step` apart: exp(x - max) / sum, or its logarithm. */
static void softmax_row(const ufi_op_call *c, int64_t at, int64_t step, int64_t n, bool log_form)
{
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = fmax(max, ufi_get(&c->in[0], at + i * step));
    for (int64_t i = 0; i < n; i++)
        sum += exp(ufi_get(&c->in[0], at + i * step) - max);
    for (int64_t i = 0; i < n; i++) {
        double x = ufi_get(&c->in[0], at + i * step) - max;
        ufi_put(&c->out[0], at + i * step, log_form ? x - log(sum) : exp(x) / sum);
    }
}

uf_status ufi_eval_softmax(const ufi_op_call *c, uf_error *err)
{
    const ufi_shape *s = &c->in[0].shape;
    uint32_t axis;
    uf_status st = read_axis(c, &axis, err);
    if (st || ufi_shape_count(s) == 0)
        return st;
    bool coerce = ufi_node_int(c->node, UFI_ATTR_COERCE_2D, 0) != 0;
    int64_t n = coerce ? ufi_product(s->dims, axis, s->rank) : s->rank ? s->dims[axis] : 1;
    int64_t step = coerce || !s->rank ? 1 : ufi_product(s->dims, axis + 1, s->rank);
    int64_t outer = ufi_shape_count(s) / (n * step);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < step; i++)
            softmax_row(c, o * n * step + i, step, n, c->node->op == UFI_OP_LOG_SOFTMAX);
    return UF_OK;
}
