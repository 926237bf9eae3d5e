/*
 * Matrix products: Gemm, MatMul and their quantised forms share one loop over strided operands with
 * sums in double.
 */
#include "graph/op.h"

#define STRIP 128

uf_status ufi_op_matmul_job(const ufi_op_call *c, uint32_t ai, uint32_t bi, ufi_matmul_job *job,
                            ufi_shape *out, uf_error *err)
{
    ufi_shape a = c->in[ai].shape, b = c->in[bi].shape;
    memset(job, 0, sizeof *job);
    if (a.rank < 1 || b.rank < 1)
        return ufi_op_fail(c, err, UF_E_FORMAT, "a scalar operand");
    bool a_vector = a.rank == 1, b_vector = b.rank == 1;
    if (a_vector)
        a = (ufi_shape){.rank = 2, .dims = {1, a.dims[0]}};
    if (b_vector)
        b = (ufi_shape){.rank = 2, .dims = {b.dims[0], 1}};
    int64_t ka = a.dims[a.rank - 1], kb = b.dims[b.rank - 2];
    if (ka >= 0 && kb >= 0 && ka != kb)
        return ufi_op_fail(c, err, UF_E_FORMAT, "inner dimensions %lld and %lld differ",
                           (long long)ka, (long long)kb);
    ufi_shape batch = a, b_batch = b;
    batch.rank -= 2;
    b_batch.rank -= 2;
    if (!ufi_broadcast(&batch, &b_batch))
        return ufi_op_fail(c, err, UF_E_FORMAT, "batch dimensions do not broadcast");
    ufi_shape a_batch = {.rank = a.rank - 2};
    memcpy(a_batch.dims, a.dims, sizeof a.dims);
    job->a = &c->in[ai];
    job->b = &c->in[bi];
    job->m = a.dims[a.rank - 2];
    job->k = ka;
    job->n = b.dims[b.rank - 1];
    job->a_row = ka;
    job->b_row = job->n;
    job->a_col = job->b_col = 1;
    job->batch_rank = batch.rank;
    memcpy(job->batch_dims, batch.dims, sizeof batch.dims);
    *out = batch;
    if (out->rank + 2 > UF_MAX_DIMS)
        return ufi_op_fail(c, err, UF_E_LIMIT, "rank over %d", UF_MAX_DIMS);
    if (!a_vector)
        out->dims[out->rank++] = job->m;
    if (!b_vector)
        out->dims[out->rank++] = job->n;
    if (!ufi_shape_known(&a) || !ufi_shape_known(&b))
        return UF_OK;
    ufi_broadcast_strides(&a_batch, &batch, job->a_batch);
    ufi_broadcast_strides(&b_batch, &batch, job->b_batch);
    for (uint32_t d = 0; d < batch.rank; d++) {
        job->a_batch[d] *= job->m * job->k;
        job->b_batch[d] *= job->k * job->n;
    }
    return UF_OK;
}

/* One batch entry; *index runs over the output. */
static void run_matrix(const ufi_matmul_job *j, int64_t a_at, int64_t b_at, int64_t *index,
                       ufi_matmul_emit *emit, void *arg)
{
    bool a_many = j->a_zero && ufi_shape_count(&j->a_zero->shape) > 1;
    bool b_many = j->b_zero && ufi_shape_count(&j->b_zero->shape) > 1;
    double acc[STRIP], row[STRIP], zero[STRIP];
    for (int64_t r = 0; r < j->m; r++) {
        double a_zero = j->a_zero ? ufi_get(j->a_zero, a_many ? r : 0) : 0;
        for (int64_t col = 0; col < j->n; col += STRIP) {
            int64_t n = ufi_min64(STRIP, j->n - col);
            memset(acc, 0, sizeof acc);
            for (int64_t i = 0; i < n; i++)
                zero[i] = j->b_zero ? ufi_get(j->b_zero, b_many ? col + i : 0) : 0;
            for (int64_t k = 0; k < j->k; k++) {
                double a = ufi_get(j->a, a_at + r * j->a_row + k * j->a_col) - a_zero;
                ufi_get_row(j->b, b_at + k * j->b_row + col * j->b_col, j->b_col, n, row);
                for (int64_t i = 0; i < n; i++)
                    acc[i] += a * (row[i] - zero[i]);
            }
            for (int64_t i = 0; i < n; i++)
                emit(arg, r, col + i, *index + col + i, acc[i]);
        }
        *index += j->n;
    }
}

void ufi_matmul_run(const ufi_matmul_job *j, ufi_matmul_emit *emit, void *arg)
{
    ufi_walk w;
    int64_t index = 0;
    const int64_t *const strides[2] = {j->a_batch, j->b_batch};
    for (bool more = ufi_walk_init(&w, j->batch_rank, j->batch_dims, 2, strides); more;
         more = ufi_walk_next(&w))
        for (int64_t i = 0; i < w.length; i++)
            run_matrix(j, w.at[0] + i * w.step[0], w.at[1] + i * w.step[1], &index, emit, arg);
}

/* ---- MatMul ---- */

uf_status ufi_infer_matmul(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    uf_status st = ufi_op_same_dtype(c, 1, 0, err);
    if (!st && c->in[0].dtype == UF_BOOL)
        return ufi_op_fail(c, err, UF_E_UNSUPPORTED, "bool operands");
    if (!st)
        st = ufi_op_matmul_job(c, 0, 1, &job, &out, err);
    return st ? st : ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

static void emit_plain(void *arg, int64_t row, int64_t col, int64_t index, double acc)
{
    (void)row, (void)col;
    ufi_put(arg, index, acc);
}

uf_status ufi_eval_matmul(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    uf_status st = ufi_op_matmul_job(c, 0, 1, &job, &out, err);
    if (!st)
        ufi_matmul_run(&job, emit_plain, &c->out[0]);
    return st;
}

/* ---- Gemm ---- */

uf_status ufi_op_gemm_job(const ufi_op_call *c, uint32_t ai, uint32_t bi, ufi_matmul_job *job,
                          ufi_shape *out, uf_error *err)
{
    const ufi_shape *a = &c->in[ai].shape, *b = &c->in[bi].shape;
    bool ta = ufi_node_int(c->node, UFI_ATTR_TRANS_A, 0) != 0;
    bool tb = ufi_node_int(c->node, UFI_ATTR_TRANS_B, 0) != 0;
    uf_status st = ufi_op_need_rank(c, ai, 2, 2, err);
    if (!st)
        st = ufi_op_need_rank(c, bi, 2, 2, err);
    if (st)
        return st;
    memset(job, 0, sizeof *job);
    job->a = &c->in[ai];
    job->b = &c->in[bi];
    job->m = a->dims[ta];
    job->k = a->dims[!ta];
    job->n = b->dims[!tb];
    if (job->k >= 0 && b->dims[tb] >= 0 && job->k != b->dims[tb])
        return ufi_op_fail(c, err, UF_E_FORMAT, "inner dimensions %lld and %lld differ",
                           (long long)job->k, (long long)b->dims[tb]);
    job->a_row = ta ? 1 : job->k;
    job->a_col = ta ? job->m : 1;
    job->b_row = tb ? 1 : job->n;
    job->b_col = tb ? job->k : 1;
    *out = (ufi_shape){.rank = 2, .dims = {job->m, job->n}};
    return UF_OK;
}

uf_status ufi_infer_gemm(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out, with_c;
    ufi_activation act;
    uf_status st = ufi_op_need_float(c, 0, err);
    if (!st)
        st = ufi_op_same_dtype(c, 1, 0, err);
    if (!st)
        st = ufi_op_same_dtype(c, 2, 0, err);
    if (!st)
        st = ufi_op_gemm_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = ufi_op_activation(c, &act, err);
    if (st)
        return st;
    if (act.act == UFI_ACT_PRELU)
        return ufi_op_fail(c, err, UF_E_FORMAT, "a PReLU activation without slopes");
    with_c = out;
    if (ufi_op_has(c, 2) &&
        (c->in[2].shape.rank > 2 || !ufi_broadcast(&with_c, &c->in[2].shape) ||
         (ufi_shape_known(&out) && ufi_shape_known(&with_c) && !ufi_shape_equal(&out, &with_c))))
        return ufi_op_fail(c, err, UF_E_FORMAT, "c does not broadcast to the product");
    return ufi_op_set_out(c, 0, c->in[0].dtype, &out, err);
}

typedef struct gemm_sink {
    const ufi_tensor *out, *c;
    int64_t c_strides[UF_MAX_DIMS];
    double alpha, beta;
    ufi_activation act;
} gemm_sink;

static void emit_gemm(void *arg, int64_t row, int64_t col, int64_t index, double acc)
{
    const gemm_sink *s = arg;
    acc *= s->alpha;
    if (s->c)
        acc += s->beta * ufi_get(s->c, row * s->c_strides[0] + col * s->c_strides[1]);
    ufi_put(s->out, index, ufi_activate(&s->act, acc, 0));
}

uf_status ufi_eval_gemm(const ufi_op_call *c, uf_error *err)
{
    ufi_matmul_job job;
    ufi_shape out;
    gemm_sink sink = {.out = &c->out[0]};
    uf_status st = ufi_op_gemm_job(c, 0, 1, &job, &out, err);
    if (!st)
        st = ufi_op_activation(c, &sink.act, err);
    if (st)
        return st;
    sink.alpha = (double)ufi_node_float(c->node, UFI_ATTR_ALPHA, 1);
    sink.beta = (double)ufi_node_float(c->node, UFI_ATTR_BETA, 1);
    if (ufi_op_has(c, 2)) {
        sink.c = &c->in[2];
        ufi_broadcast_strides(&c->in[2].shape, &out, sink.c_strides);
    }
    ufi_matmul_run(&job, emit_gemm, &sink);
    return UF_OK;
}
