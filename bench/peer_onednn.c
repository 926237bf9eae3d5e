/*
 * The convolutions of a network, one after the other, by oneDNN 2: what its kernels alone could
 * reach. There is nothing between layers (no residual adds, poolings, conversions), so a network
 * would be slower. A peer to measure, never a part of the product.
 *
 * usage: peer_onednn LAYERS f32|bf16|int8 SECONDS
 *
 * LAYERS has a line for each: batch, input channels, height, width, output channels, height, width,
 * kernel, stride and dilation as height and width, pads top left bottom right, groups, and the
 * slope of the activation for negative numbers (1: none, 0: ReLU). Threads: OMP_NUM_THREADS. Prints
 * the version and the median time of all layers in ms.
 *
 * cc -O2 -o peer_onednn peer_onednn.c -ldnnl
 */
#define _POSIX_C_SOURCE 200809L
#include <dnnl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIELDS = 18, MAX_LAYERS = 1024, MAX_RUNS = 100000 };
enum { BATCH, IN_C, IN_H, IN_W, OUT_C, OUT_H, OUT_W, KERNEL_H, KERNEL_W, STRIDE_H, STRIDE_W };
enum { DILATION_H = 11, DILATION_W, TOP, LEFT, BOTTOM, RIGHT, GROUPS };

typedef struct types {
    const char *name;
    dnnl_data_type_t in, weights, bias, out;
} types;

static const types known[] = {
    {"f32", dnnl_f32, dnnl_f32, dnnl_f32, dnnl_f32},
    {"bf16", dnnl_bf16, dnnl_bf16, dnnl_f32, dnnl_bf16},
    {"int8", dnnl_u8, dnnl_s8, dnnl_s32, dnnl_u8},
};

typedef struct layer {
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t args[4];
} layer;

static layer layers[MAX_LAYERS];
static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void require(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success)
        return;
    fprintf(stderr, "oneDNN: %s failed (%d)\n", what, (int)status);
    exit(1);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Memory of the form that the primitive chose, all numbers 1 (0.0078125 where they are BF16). */
static dnnl_memory_t make_memory(const_dnnl_primitive_desc_t pd, dnnl_query_t which)
{
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, which, 0);
    const size_t size = dnnl_memory_desc_get_size(md);
    dnnl_memory_t memory;
    void *data;
    require(dnnl_memory_create(&memory, md, engine, DNNL_MEMORY_ALLOCATE), "memory");
    require(dnnl_memory_get_data_handle(memory, &data), "memory");
    const float one = 1;
    const uint16_t half = 0x3C00;
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)data)[i] = md->data_type == dnnl_f32    ? ((const uint8_t *)&one)[i % 4]
                               : md->data_type == dnnl_bf16 ? ((const uint8_t *)&half)[i % 2]
                                                            : 1;
    return memory;
}

static dnnl_primitive_attr_t make_attributes(float slope, const types *t)
{
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t ops;
    const float scale = 0.01f;
    require(dnnl_primitive_attr_create(&attr), "attributes");
    require(dnnl_post_ops_create(&ops), "attributes");
    if (slope < 1)
        require(dnnl_post_ops_append_eltwise(ops, 1, dnnl_eltwise_relu, slope, 0), "activation");
    require(dnnl_primitive_attr_set_post_ops(attr, ops), "activation");
    if (t->in == dnnl_u8)
        require(dnnl_primitive_attr_set_output_scales(attr, 1, 0, &scale), "scale");
    return attr;
}

static void make_layer(layer *l, const long *f, float slope, const types *t)
{
    const dnnl_dims_t in = {f[BATCH], f[IN_C], f[IN_H], f[IN_W]}, bias = {f[OUT_C]};
    const dnnl_dims_t out = {f[BATCH], f[OUT_C], f[OUT_H], f[OUT_W]};
    const dnnl_dims_t one = {f[OUT_C], f[IN_C], f[KERNEL_H], f[KERNEL_W]};
    const dnnl_dims_t grouped = {f[GROUPS], f[OUT_C] / f[GROUPS], f[IN_C] / f[GROUPS], f[KERNEL_H],
                                 f[KERNEL_W]};
    const dnnl_dims_t strides = {f[STRIDE_H], f[STRIDE_W]};
    const dnnl_dims_t dilations = {f[DILATION_H] - 1, f[DILATION_W] - 1};
    const dnnl_dims_t before = {f[TOP], f[LEFT]}, after = {f[BOTTOM], f[RIGHT]};
    const dnnl_format_tag_t any = dnnl_format_tag_any;
    const int groups = f[GROUPS] > 1;
    dnnl_memory_desc_t x, w, b, y;
    dnnl_convolution_desc_t description;
    dnnl_primitive_desc_t pd;
    require(dnnl_memory_desc_init_by_tag(&x, 4, in, t->in, any), "input");
    require(dnnl_memory_desc_init_by_tag(&w, 4 + groups, groups ? grouped : one, t->weights, any),
            "weights");
    require(dnnl_memory_desc_init_by_tag(&b, 1, bias, t->bias, any), "bias");
    require(dnnl_memory_desc_init_by_tag(&y, 4, out, t->out, any), "output");
    require(dnnl_dilated_convolution_forward_desc_init(&description, dnnl_forward_inference,
                                                       dnnl_convolution_direct, &x, &w, &b, &y,
                                                       strides, dilations, before, after),
            "convolution");
    require(dnnl_primitive_desc_create(&pd, &description, make_attributes(slope, t), engine, NULL),
            "convolution");
    require(dnnl_primitive_create(&l->primitive, pd), "convolution");
    l->args[0] = (dnnl_exec_arg_t){DNNL_ARG_SRC, make_memory(pd, dnnl_query_src_md)};
    l->args[1] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, make_memory(pd, dnnl_query_weights_md)};
    l->args[2] = (dnnl_exec_arg_t){DNNL_ARG_DST, make_memory(pd, dnnl_query_dst_md)};
    const dnnl_memory_desc_t *bias_md = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 1);
    l->args[3].arg = DNNL_ARG_BIAS;
    require(dnnl_memory_create(&l->args[3].memory, bias_md, engine, DNNL_MEMORY_ALLOCATE), "bias");
    void *zeros;
    require(dnnl_memory_get_data_handle(l->args[3].memory, &zeros), "bias");
    memset(zeros, 0, dnnl_memory_desc_get_size(bias_md));
}

static size_t read_layers(const char *path, const types *t)
{
    FILE *f = fopen(path, "r");
    long numbers[FIELDS];
    float slope;
    size_t count = 0;
    if (!f) {
        fprintf(stderr, "%s: cannot be opened\n", path);
        exit(1);
    }
    for (;; count++) {
        for (int i = 0; i < FIELDS; i++)
            if (fscanf(f, "%ld", &numbers[i]) != 1) {
                fclose(f);
                return count;
            }
        if (fscanf(f, "%f", &slope) != 1 || count == MAX_LAYERS) {
            fprintf(stderr, "%s: line %zu has no activation, or is one too many\n", path,
                    count + 1);
            exit(1);
        }
        make_layer(&layers[count], numbers, slope, t);
    }
}

static double run_all(size_t count)
{
    const double start = seconds_now();
    for (size_t i = 0; i < count; i++)
        require(dnnl_primitive_execute(layers[i].primitive, stream, 4, layers[i].args), "a layer");
    require(dnnl_stream_wait(stream), "a layer");
    return seconds_now() - start;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static double times[MAX_RUNS];
    const types *t = NULL;
    for (size_t i = 0; argc == 4 && i < sizeof known / sizeof *known; i++)
        if (!strcmp(argv[2], known[i].name))
            t = &known[i];
    if (!t) {
        fprintf(stderr, "usage: peer_onednn LAYERS f32|bf16|int8 SECONDS\n");
        return 2;
    }
    require(dnnl_engine_create(&engine, dnnl_cpu, 0), "engine");
    require(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "stream");
    const size_t count = read_layers(argv[1], t);
    const double until = seconds_now() + atof(argv[3]);
    size_t runs = 0;
    run_all(count);
    while (runs < MAX_RUNS && (seconds_now() < until || runs < 5))
        times[runs++] = run_all(count);
    qsort(times, runs, sizeof *times, compare_doubles);
    const dnnl_version_t *v = dnnl_version();
    printf("%d.%d.%d %.6f\n", v->major, v->minor, v->patch, times[runs / 2] * 1e3);
    return 0;
}
