/*
 * The weights' gradient of depthwise convolutions: oneDNN's for BF16 takes longer than all the rest
 * of such a layer. Pictures are dealt out to threads; sums of a picture are FP32, those over
 * pictures double.
 */
#include "train/net_impl.h"

struct ufi_depthwise {
    ufi_net_window win;
    size_t channels, taps;
    float *picture; /* taps * channels for each thread */
    double *sums;
};

uf_status ufi_depthwise_create(ufi_net *net, const ufi_step *s, ufi_depthwise **out, uf_error *err)
{
    const ufi_blob *x = ufi_blob_in(net, s, 0), *w = ufi_blob_in(net, s, 1);
    ufi_depthwise *q = ufi_net_alloc(net, 1, sizeof *q, err);
    const int64_t *kernel = w->shape.dims + 2;
    if (!q)
        return UF_E_NOMEM;
    q->channels = (size_t)x->shape.dims[1];
    q->taps = (size_t)(kernel[0] * kernel[1]);
    const size_t n = q->taps * q->channels * net->options.threads;
    q->picture = ufi_net_alloc(net, n, sizeof *q->picture, err);
    q->sums = ufi_net_alloc(net, n, sizeof *q->sums, err);
    if (!q->picture || !q->sums)
        return UF_E_NOMEM;
    *out = q;
    return ufi_net_read_window(s->node, &x->shape, &ufi_blob_out(net, s, 0)->shape, kernel, &q->win,
                               err);
}

typedef struct depthwise_job {
    const ufi_net *net;
    const ufi_step *s;
    ufi_depthwise *q;
} depthwise_job;

static void one_picture(const depthwise_job *j, size_t i, float *acc)
{
    const ufi_blob *x = ufi_blob_in(j->net, j->s, 0), *y = ufi_blob_out(j->net, j->s, 0);
    const ufi_net_window *w = &j->q->win;
    const int64_t *in = x->shape.dims + 2, *out = y->shape.dims + 2;
    const bool bf16 = ufi_blob_bf16(j->net, x);
    const size_t size = bf16 ? 2 : 4, c = j->q->channels;
    const int rows = w->kernel[0] == UFI_TAP_ROWS ? UFI_TAP_ROWS : 1;
    const size_t x_row = (size_t)in[1] * c * size, y_row = (size_t)out[1] * c * size;
    ufi_tap_rows t = {.rows = rows,
                      .in = in[1],
                      .out = out[1],
                      .taps = w->kernel[1],
                      .stride = w->stride[1],
                      .dilation = w->dilation[1],
                      .pad = w->pad[1],
                      .channels = c};
    for (int64_t h = 0; h < out[0]; h++)
        for (int64_t k = 0; k < w->kernel[0]; k += rows) {
            for (int r = 0; r < rows; r++) {
                const int64_t from = h * w->stride[0] + (k + r) * w->dilation[0] - w->pad[0];
                const bool inside = from >= 0 && from < in[0];
                const size_t at = inside ? i * (size_t)in[0] + (size_t)from : 0;
                t.x[r] = inside ? (const uint8_t *)x->data + at * x_row : NULL;
            }
            t.dy = (const uint8_t *)y->grad + (i * (size_t)out[0] + (size_t)h) * y_row;
            t.acc = acc + (size_t)(k * w->kernel[1]) * c;
            j->net->rows->taps(bf16, &t);
        }
}

static void depthwise_part(void *arg, size_t from, size_t to, unsigned part)
{
    const depthwise_job *j = arg;
    const size_t n = j->q->taps * j->q->channels;
    float *picture = j->q->picture + n * part;
    double *sums = j->q->sums + n * part;
    for (size_t i = from; i < to; i++) {
        memset(picture, 0, n * sizeof *picture);
        one_picture(j, i, picture);
        for (size_t k = 0; k < n; k++)
            sums[k] += (double)picture[k];
    }
}

void ufi_depthwise_run(const ufi_net *net, const ufi_step *s, ufi_depthwise *q)
{
    const ufi_variable *v = ufi_step_variable(net, s, 1);
    float *grads = ufi_step_weights_grad(net, s);
    const bool add = v && ufi_variable_shared(net, v);
    const size_t n = q->taps * q->channels;
    depthwise_job j = {net, s, q};
    memset(q->sums, 0, n * net->options.threads * sizeof *q->sums);
    ufi_net_parallel(net, depthwise_part, &j, (size_t)net->options.batch);
    for (size_t c = 0; c < q->channels; c++)
        for (size_t k = 0; k < q->taps; k++) {
            double sum = 0;
            for (unsigned part = 0; part < net->options.threads; part++)
                sum += q->sums[part * n + k * q->channels + c];
            float *grad = &grads[c * q->taps + k];
            *grad = (float)sum + (add ? *grad : 0);
        }
}
