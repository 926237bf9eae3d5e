/*
 * One training step of a small MobileFaceNet, for train_step_test.py to compare: forward, softmax
 * cross-entropy, backward, SGD. Usage: train_step FOLDER. Into the folder go raw FP32 numbers:
 * input (NCHW), labels, loss, and each variable before and after (<index>.before, <index>.after),
 * with its shape in "variables.txt".
 */
#include "../unit/graph_maker.h"
#include "train/net.h"

enum { BATCH = 8, SIDE = 24, CLASSES = 5 };
static const float rate = 0.1f;

static void write_file(const char *folder, const char *name, const float *data, size_t count)
{
    char path[700];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, sizeof *data, count, f) != count || fclose(f)) {
        perror(path);
        exit(1);
    }
}

/* Convolution, batch normalisation, and a PReLU when `act`. */
static uint32_t add_unit(maker *m, uint32_t x, const conv_case *c, bool act)
{
    ufi_node *n;
    uint32_t y = add_conv(m, x, c, UFI_NONE);
    const uint32_t in[3] = {y, add_weights(m, shape_of(1, c->out_c, 0, 0, 0), 1),
                            add_weights(m, shape_of(1, c->out_c, 0, 0, 0), 1)};
    y = add_node(m, UFI_OP_AFFINE, in, 3, &n);
    set_float(m, n, UFI_ATTR_EPSILON, 1e-5f);
    if (!act)
        return y;
    const uint32_t slope[2] = {y, add_weights(m, shape_of(3, c->out_c, 1, 1, 0), 0.5f)};
    return add_node(m, UFI_OP_PRELU, slope, 2, NULL);
}

static uint32_t add_bottleneck(maker *m, uint32_t x, int in, int wide, int out, int stride)
{
    const conv_case grow = {BATCH, in, 0, 0, wide, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false};
    const conv_case deep = {BATCH,  wide, 0, 0,    wide,         3,     3,
                            stride, 1,    1, wide, UFI_ACT_NONE, false, false};
    const conv_case shrink = {BATCH, wide, 0, 0, out, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false};
    uint32_t y = add_unit(m, add_unit(m, x, &grow, true), &deep, true);
    const uint32_t sum[2] = {x, add_unit(m, y, &shrink, false)};
    return stride == 1 && in == out ? add_node(m, UFI_OP_ADD, sum, 2, NULL) : sum[1];
}

static void make(maker *m)
{
    const conv_case stem = {BATCH, 3, 0, 0, 16, 3, 3, 2, 1, 1, 1, UFI_ACT_NONE, false, false};
    const conv_case deep = {BATCH, 16, 0, 0, 16, 3, 3, 1, 1, 1, 16, UFI_ACT_NONE, false, false};
    const conv_case wide = {BATCH, 24, 0, 0, 32, 1, 1, 1, 1, 0, 1, UFI_ACT_NONE, false, false};
    const conv_case whole = {BATCH, 32, 0, 0, 32, 6, 6, 1, 1, 0, 32, UFI_ACT_NONE, false, false};
    maker_init(m, 4);
    uint32_t x = add_input(m, shape_of(4, BATCH, 3, SIDE, SIDE));
    x = add_unit(m, add_unit(m, x, &stem, true), &deep, true);
    x = add_bottleneck(m, x, 16, 32, 24, 2);
    x = add_bottleneck(m, x, 24, 48, 24, 1);
    x = add_bottleneck(m, x, 24, 48, 24, 1);
    x = add_unit(m, add_unit(m, x, &wide, true), &whole, false);
    uint32_t in[3] = {add_node(m, UFI_OP_FLATTEN, &x, 1, NULL), 0, 0};
    in[1] = add_weights(m, shape_of(2, 32, CLASSES, 0, 0), 0.3f);
    in[2] = add_weights(m, shape_of(1, CLASSES, 0, 0, 0), 0.3f);
    uint32_t y = add_node(m, UFI_OP_GEMM, in, 3, NULL);
    if (!m->st)
        m->st = ufi_graph_set_io(&m->g, m->inputs, 1, &y, 1, &m->err);
    if (!m->st)
        m->st = ufi_graph_infer(&m->g, 0, &m->err);
}

static void fill(ufi_net *net, const char *folder)
{
    static float plain[BATCH * 3 * SIDE * SIDE];
    uint64_t seed = 11;
    for (size_t b = 0; b < BATCH; b++)
        for (size_t c = 0; c < 3; c++)
            for (size_t p = 0; p < (size_t)SIDE * SIDE; p++) {
                float v = test_random_float(&seed);
                plain[(b * 3 + c) * SIDE * SIDE + p] = v;
                ufi_net_input(net)[(b * SIDE * SIDE + p) * 3 + c] = v;
            }
    write_file(folder, "input", plain, sizeof plain / sizeof *plain);
}

/* The mean cross-entropy of label b % CLASSES, and its gradient. */
static double cross_entropy(const float *y, float *grad)
{
    double loss = 0;
    for (int b = 0; b < BATCH; b++, y += CLASSES, grad += CLASSES) {
        double sum = 0;
        for (int k = 0; k < CLASSES; k++)
            sum += exp((double)y[k]);
        for (int k = 0; k < CLASSES; k++)
            grad[k] = (float)((exp((double)y[k]) / sum - (k == b % CLASSES)) / BATCH);
        loss += (log(sum) - (double)y[b % CLASSES]) / BATCH;
    }
    return loss;
}

static void write_variables(ufi_net *net, const char *folder, const char *when)
{
    char path[700], name[40];
    snprintf(path, sizeof path, "%s/variables.txt", folder);
    FILE *f = fopen(path, "w");
    for (size_t i = 0; f && i < ufi_net_variable_count(net); i++) {
        const ufi_variable *v = &ufi_net_variables(net)[i];
        snprintf(name, sizeof name, "%zu.%s", i, when);
        write_file(folder, name, v->data, v->count);
        for (uint32_t d = 0; d < v->shape.rank; d++)
            fprintf(f, "%lld ", (long long)v->shape.dims[d]);
        fprintf(f, "\n");
    }
    if (!f || fclose(f))
        exit(1);
}

int main(int argc, char **argv)
{
    maker m;
    ufi_net *net = NULL;
    const ufi_net_options o = {BATCH, 2, false, 0.1f};
    (void)test_last; /* of the harness: there are no tests in here */
    if (argc != 2)
        return 2;
    make(&m);
    if (!m.st)
        m.st = ufi_net_create(&net, &m.g, &o, &m.err);
    if (!m.st) {
        fill(net, argv[1]);
        write_variables(net, argv[1], "before");
        m.st = ufi_net_forward(net, &m.err);
    }
    if (!m.st) {
        float loss =
            (float)cross_entropy(ufi_net_output(net, 0, NULL), ufi_net_output_grad(net, 0));
        write_file(argv[1], "loss", &loss, 1);
        m.st = ufi_net_backward(net, &m.err);
    }
    for (size_t i = 0; !m.st && i < ufi_net_variable_count(net); i++) {
        ufi_variable *v = &ufi_net_variables(net)[i];
        for (size_t k = 0; v->grad && k < v->count; k++)
            v->data[k] -= rate * v->grad[k];
    }
    if (m.st)
        fprintf(stderr, "%s\n", m.err.message);
    else
        write_variables(net, argv[1], "after");
    ufi_net_destroy(net);
    ufi_graph_free(&m.g);
    return m.st != UF_OK;
}
