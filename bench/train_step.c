/*
 * How fast a network is trained: pictures a second of forward and backward passes, and where the
 * time goes. Usage: train_step MODEL.onnx [batch=64] [threads=1] [bf16=0] [norm=1] [steps=5]
 * [table=0]. With norm=1 a batch normalisation is put behind every convolution, as the network had
 * when it was trained.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "format/model_file.h"
#include "train/net.h"

typedef struct options {
    ufi_net_options net;
    int norm, steps, table;
} options;

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uf_status add_norm(ufi_graph *g, uint32_t from, int64_t channels, uint32_t to, uf_error *err)
{
    uint32_t in[3] = {from, 0, 0}, index;
    const ufi_shape shape = {1, {channels}};
    const float epsilon = 1e-5f;
    float *scale, *shift;
    uf_status st = ufi_graph_add_floats(g, "scale", &shape, &scale, &in[1], err);
    if (!st)
        st = ufi_graph_add_floats(g, "shift", &shape, &shift, &in[2], err);
    for (int64_t c = 0; !st && c < channels; c++)
        scale[c] = 1;
    if (!st)
        st = ufi_graph_add_node(g, UFI_OP_AFFINE, "norm", in, 3, &to, 1, &index, err);
    return st ? st : ufi_node_set_floats(g, &g->nodes[index], UFI_ATTR_EPSILON, &epsilon, 1, err);
}

/* The node that alone reads value `v`, when it is a scale per channel. */
static ufi_node *scale_behind(ufi_graph *g, uint32_t v)
{
    for (uint32_t i = 0; i < g->node_count; i++)
        if (g->nodes[i].op == UFI_OP_AFFINE && g->nodes[i].in[0] == v)
            return &g->nodes[i];
    return NULL;
}

/* The graph as it was when it was trained: with a batch normalisation behind each convolution, in
 * place of the scale that it has become, or of the bias. */
static uf_status with_norms(ufi_graph *g, uf_error *err)
{
    uf_status st = UF_OK;
    const uint32_t nodes = g->node_count;
    const float epsilon = 1e-5f;
    for (uint32_t i = 0; !st && i < nodes; i++) {
        ufi_node *n = &g->nodes[i];
        if (n->op != UFI_OP_CONV)
            continue;
        const uint32_t old = n->out[0];
        ufi_node *scale = scale_behind(g, old);
        if (scale) {
            st = ufi_node_set_floats(g, scale, UFI_ATTR_EPSILON, &epsilon, 1, err);
            continue;
        }
        uint32_t fresh;
        st = ufi_graph_add_value(g, "", UF_F32, &g->values[old].shape, &fresh, err);
        g->nodes[i].out[0] = fresh;
        if (g->nodes[i].in_count > 2)
            g->nodes[i].in[2] = UFI_NONE;
        if (!st)
            st = add_norm(g, fresh, g->values[old].shape.dims[1], old, err);
    }
    return st ? st : ufi_graph_sort(g, err);
}

static void print_table(const ufi_net *net, int steps)
{
    for (uint32_t i = 0; i < ufi_net_step_count(net); i++) {
        const ufi_net_step_time t = ufi_net_step_seconds(net, i);
        char shape[100] = "";
        if (t.shape)
            ufi_shape_text(t.shape, shape, sizeof shape);
        printf("%-8s %-24s %9.2f %9.2f ms  %s\n", t.kind, shape, 1e3 * t.forward / steps,
               1e3 * t.backward / steps, t.node);
    }
    for (uint32_t i = 0; i < ufi_net_step_count(net); i++) {
        const ufi_net_step_time t = ufi_net_step_seconds(net, i);
        double forward = 0, backward = 0;
        bool first = true;
        for (uint32_t k = 0; k < ufi_net_step_count(net); k++) {
            const ufi_net_step_time u = ufi_net_step_seconds(net, k);
            if (strcmp(u.kind, t.kind) != 0)
                continue;
            first &= k >= i;
            forward += u.forward;
            backward += u.backward;
        }
        if (first)
            printf("all %-8s %9.2f %9.2f ms\n", t.kind, 1e3 * forward / steps,
                   1e3 * backward / steps);
    }
}

static uf_status run(ufi_net *net, const options *o, uf_error *err)
{
    uf_status st = UF_OK;
    double best = 1e30, total = 0, work = 0;
    ufi_shape out;
    for (int i = 0; !st && i <= o->steps; i++) {
        ufi_net_output(net, 0, &out);
        float *grad = ufi_net_output_grad(net, 0);
        for (int64_t k = 0; k < ufi_shape_count(&out); k++)
            grad[k] = (float)((k * 7919) % 17 - 8) * 1e-3f;
        ufi_net_time_steps(net, i > 0);
        double start = now(CLOCK_MONOTONIC), busy = now(CLOCK_PROCESS_CPUTIME_ID);
        st = ufi_net_forward(net, err);
        if (!st)
            st = ufi_net_backward(net, err);
        double took = now(CLOCK_MONOTONIC) - start;
        if (i > 0) {
            total += took;
            work += now(CLOCK_PROCESS_CPUTIME_ID) - busy;
            best = took < best ? took : best;
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%s, batch %lld, %u threads: %.1f pictures/s (best step %.1f, %.1f for a "
           "second of one core), %.0f MiB planned, %.0f MiB at most\n",
           o->net.bf16 ? "bf16" : "fp32", (long long)o->net.batch, o->net.threads,
           (double)o->net.batch * o->steps / total, (double)o->net.batch / best,
           (double)o->net.batch * o->steps / work, (double)ufi_net_bytes(net) / 1048576,
           (double)usage.ru_maxrss / 1024);
    if (o->table)
        print_table(net, o->steps);
    return st;
}

static int number(int argc, char **argv, const char *name, int fallback)
{
    const size_t n = strlen(name);
    for (int i = 2; i < argc; i++)
        if (!strncmp(argv[i], name, n) && argv[i][n] == '=')
            return atoi(argv[i] + n + 1);
    return fallback;
}

int main(int argc, char **argv)
{
    ufi_model_file m = {0};
    uf_error err = {0};
    ufi_net *net = NULL;
    options o = {.net = UFI_NET_OPTIONS_INIT};
    if (argc < 2) {
        fprintf(stderr, "usage: train_step MODEL.onnx [batch=64] [threads=1] [bf16=0] [norm=1] "
                        "[steps=5] [table=0]\n");
        return 2;
    }
    o.net.batch = number(argc, argv, "batch", 64);
    o.net.threads = (unsigned)number(argc, argv, "threads", 1);
    o.net.bf16 = number(argc, argv, "bf16", 0);
    o.norm = number(argc, argv, "norm", 1);
    o.steps = number(argc, argv, "steps", 5);
    o.table = number(argc, argv, "table", 0);
    uf_status st = ufi_onnx_import(&m, argv[1], !o.norm, &err);
    if (!st && o.norm)
        st = with_norms(&m.graph, &err);
    if (!st)
        st = ufi_net_create(&net, &m.graph, &o.net, &err);
    if (!st) {
        float *x = ufi_net_input(net);
        const ufi_shape *s = &m.graph.values[m.graph.inputs[0]].shape;
        size_t n = (size_t)(o.net.batch * s->dims[1] * s->dims[2] * s->dims[3]);
        for (size_t i = 0; i < n; i++)
            x[i] = (float)(i * 2654435761u % 1000) * 2e-3f - 1;
        st = run(net, &o, &err);
    }
    if (st)
        fprintf(stderr, "%s\n", err.message);
    ufi_net_destroy(net);
    ufi_model_file_free(&m);
    return st != UF_OK;
}
