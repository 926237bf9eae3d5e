/* Layers of a described network, one node or two each. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/arch_impl.h"

/* Adds a node whose one output becomes the end of the chain. */
static uf_status put_node(ufi_arch *a, ufi_op op, const char *kind, const uint32_t *in,
                          uint32_t in_count, ufi_node **node)
{
    char name[64];
    ufi_graph *g = &a->out->graph;
    uint32_t out = 0, index = 0;
    if (a->layers == UFI_ARCH_MAX_LAYERS)
        return ufi_arch_fail(a, "more than %d layers", UFI_ARCH_MAX_LAYERS);
    snprintf(name, sizeof name, "%s_%u", kind, a->layers);
    uf_status st = ufi_graph_add_value(g, name, UF_DTYPE_NONE, NULL, &out, a->err);
    if (!st)
        st = ufi_graph_add_node(g, op, name, in, in_count, &out, 1, &index, a->err);
    if (st)
        return st;
    a->layers++;
    a->at.value = out;
    if (node)
        *node = &g->nodes[index];
    return UF_OK;
}

/* A new constant "<kind>_<layer>.<part>". */
static uf_status put_floats(ufi_arch *a, const char *kind, const char *part, const ufi_shape *shape,
                            float **floats, uint32_t *id)
{
    char name[64];
    const int64_t count = ufi_shape_count(shape);
    if (count < 0 || count > UFI_ARCH_MAX_WEIGHTS - a->weights)
        return ufi_arch_fail(a, "%s: a network has at most %d weights in all", kind,
                             UFI_ARCH_MAX_WEIGHTS);
    a->weights += count;
    snprintf(name, sizeof name, "%s_%u.%s", kind, a->layers, part);
    return ufi_graph_add_floats(&a->out->graph, name, shape, floats, id, a->err);
}

static uf_status put_filled(ufi_arch *a, const char *kind, const char *part, const ufi_shape *shape,
                            float value, uint32_t *id)
{
    float *floats = NULL;
    uf_status st = put_floats(a, kind, part, shape, &floats, id);
    for (int64_t i = 0; !st && i < ufi_shape_count(shape); i++)
        floats[i] = value;
    return st;
}

/* Normally distributed with variance gain / fan_in (He et al. 2015). */
static uf_status put_weights(ufi_arch *a, const char *kind, const ufi_shape *shape, double gain,
                             uint32_t *id)
{
    float *floats = NULL;
    uf_status st = put_floats(a, kind, "weight", shape, &floats, id);
    if (st)
        return st;
    const int64_t count = ufi_shape_count(shape);
    const double deviation = sqrt(gain / ((double)count / (double)shape->dims[0]));
    for (int64_t i = 0; i < count; i++)
        floats[i] = (float)(deviation * ufi_random_normal(&a->random));
    return UF_OK;
}

static uf_status put_window(ufi_arch *a, ufi_node *n, int64_t kh, int64_t kw, int64_t stride,
                            int64_t pad)
{
    ufi_graph *g = &a->out->graph;
    const int64_t kernel[2] = {kh, kw}, strides[2] = {stride, stride};
    const int64_t pads[4] = {pad, pad, pad, pad};
    uf_status st = ufi_node_set_ints(g, n, UFI_ATTR_KERNEL_SHAPE, kernel, 2, a->err);
    if (!st)
        st = ufi_node_set_ints(g, n, UFI_ATTR_STRIDES, strides, 2, a->err);
    if (!st)
        st = ufi_node_set_ints(g, n, UFI_ATTR_PADS, pads, 4, a->err);
    a->at.h = (a->at.h + 2 * pad - kh) / stride + 1;
    a->at.w = (a->at.w + 2 * pad - kw) / stride + 1;
    return st;
}

uf_status ufi_arch_conv(ufi_arch *a, int64_t out_c, int64_t k, int64_t stride, int64_t group,
                        bool bias)
{
    const int64_t kh = k ? k : a->at.h, kw = k ? k : a->at.w, pad = k / 2;
    const char *kind = group > 1 ? "depthwise" : "conv";
    if (out_c > UFI_ARCH_MAX_CHANNELS || a->at.c % group || out_c % group)
        return ufi_arch_fail(a, "%lld channels of %lld in %lld groups", (long long)out_c,
                             (long long)a->at.c, (long long)group);
    if (kh > a->at.h + 2 * pad || kw > a->at.w + 2 * pad)
        return ufi_arch_fail(a, "a kernel of %lld on a map of %lld x %lld", (long long)kh,
                             (long long)a->at.h, (long long)a->at.w);
    const ufi_shape shape = {4, {out_c, a->at.c / group, kh, kw}}, vector = {1, {out_c}};
    uint32_t in[3] = {a->at.value, UFI_NONE, UFI_NONE};
    ufi_node *n = NULL;
    uf_status st = put_weights(a, kind, &shape, 2, &in[1]);
    if (!st && bias)
        st = put_filled(a, kind, "bias", &vector, 0, &in[2]);
    if (!st)
        st = put_node(a, UFI_OP_CONV, kind, in, bias ? 3 : 2, &n);
    if (!st)
        st = put_window(a, n, kh, kw, stride, pad);
    a->at.c = out_c;
    return st ? st : ufi_node_set_ints(&a->out->graph, n, UFI_ATTR_GROUP, &group, 1, a->err);
}

uf_status ufi_arch_norm(ufi_arch *a)
{
    static const float epsilon = 1e-5f;
    const ufi_shape vector = {1, {a->at.c}};
    uint32_t in[3] = {a->at.value, 0, 0};
    ufi_node *n = NULL;
    uf_status st = put_filled(a, "norm", "scale", &vector, 1, &in[1]);
    if (!st)
        st = put_filled(a, "norm", "shift", &vector, 0, &in[2]);
    if (!st)
        st = put_node(a, UFI_OP_AFFINE, "norm", in, 3, &n);
    return st ? st : ufi_node_set_floats(&a->out->graph, n, UFI_ATTR_EPSILON, &epsilon, 1, a->err);
}

uf_status ufi_arch_act(ufi_arch *a, const char *act)
{
    uint32_t in[3] = {a->at.value, 0, 0};
    if (!strcmp(act, "none"))
        return UF_OK;
    if (!strcmp(act, "prelu")) {
        const ufi_shape slopes = {3, {a->at.c, 1, 1}};
        uf_status st = put_filled(a, "prelu", "slope", &slopes, 0.25f, &in[1]);
        return st ? st : put_node(a, UFI_OP_PRELU, act, in, 2, NULL);
    }
    if (!strcmp(act, "relu6")) {
        const ufi_shape scalar = {0, {0}};
        uf_status st = put_filled(a, "relu6", "low", &scalar, 0, &in[1]);
        if (!st)
            st = put_filled(a, "relu6", "high", &scalar, 6, &in[2]);
        return st ? st : put_node(a, UFI_OP_CLIP, act, in, 3, NULL);
    }
    static const struct {
        const char *name;
        ufi_op op;
    } plain[] = {{"relu", UFI_OP_RELU},
                 {"hswish", UFI_OP_HARD_SWISH},
                 {"silu", UFI_OP_SILU},
                 {"sigmoid", UFI_OP_SIGMOID},
                 {"hsigmoid", UFI_OP_HARD_SIGMOID}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (!strcmp(act, plain[i].name))
            return put_node(a, plain[i].op, act, in, 1, NULL);
    return ufi_arch_fail(a,
                         "act=%.40s: there are none, relu, relu6, prelu, hswish, silu, sigmoid, "
                         "hsigmoid",
                         act);
}

uf_status ufi_arch_add_place(ufi_arch *a, const ufi_arch_place *p)
{
    const uint32_t in[2] = {a->at.value, p->value};
    if (p->c != a->at.c || p->h != a->at.h || p->w != a->at.w)
        return ufi_arch_fail(a, "add: %lldx%lldx%lld and %lldx%lldx%lld", (long long)a->at.c,
                             (long long)a->at.h, (long long)a->at.w, (long long)p->c,
                             (long long)p->h, (long long)p->w);
    return put_node(a, UFI_OP_ADD, "add", in, 2, NULL);
}

uf_status ufi_arch_gate_place(ufi_arch *a, const ufi_arch_place *p)
{
    const uint32_t in[2] = {p->value, a->at.value};
    uf_status st = put_node(a, UFI_OP_MUL, "gate", in, 2, NULL);
    a->at = (ufi_arch_place){a->at.value, p->c, p->h, p->w};
    return st;
}

uf_status ufi_arch_concat_place(ufi_arch *a, const ufi_arch_place *p)
{
    static const int64_t axis = 1;
    const uint32_t in[2] = {a->at.value, p->value};
    ufi_node *n = NULL;
    if (p->h != a->at.h || p->w != a->at.w)
        return ufi_arch_fail(a, "concat: maps of %lldx%lld and %lldx%lld", (long long)a->at.h,
                             (long long)a->at.w, (long long)p->h, (long long)p->w);
    if (a->at.c + p->c > UFI_ARCH_MAX_CHANNELS)
        return ufi_arch_fail(a, "concat: %lld channels; at most %d are possible",
                             (long long)(a->at.c + p->c), UFI_ARCH_MAX_CHANNELS);
    uf_status st = put_node(a, UFI_OP_CONCAT, "concat", in, 2, &n);
    a->at.c += p->c;
    return st ? st : ufi_node_set_ints(&a->out->graph, n, UFI_ATTR_AXIS, &axis, 1, a->err);
}

static uf_status put_shape(ufi_arch *a, const int64_t *dims, int64_t count, uint32_t *id)
{
    const ufi_tensor t = {UF_I64, UFI_PLAIN, {1, {count}}, (void *)(uintptr_t)dims};
    return ufi_graph_add_constant(&a->out->graph, "shape", &t, true, id, a->err);
}

uf_status ufi_arch_rows(ufi_arch *a)
{
    static const int64_t order[4] = {0, 2, 3, 1};
    const int64_t dims[3] = {0, -1, a->at.c};
    uint32_t in[2] = {a->at.value, 0};
    ufi_node *n = NULL;
    uf_status st = put_node(a, UFI_OP_TRANSPOSE, "transpose", in, 1, &n);
    if (!st)
        st = ufi_node_set_ints(&a->out->graph, n, UFI_ATTR_PERM, order, 4, a->err);
    in[0] = a->at.value;
    if (!st)
        st = put_shape(a, dims, 3, &in[1]);
    return st ? st : put_node(a, UFI_OP_RESHAPE, "rows", in, 2, NULL);
}

uf_status ufi_arch_mean(ufi_arch *a)
{
    const uint32_t in = a->at.value;
    a->at.h = a->at.w = 1;
    return put_node(a, UFI_OP_GLOBAL_AVERAGE_POOL, "pool", &in, 1, NULL);
}

/* ---- words of one layer ---- */

uf_status ufi_arch_do_norm(ufi_arch *a, ufi_arch_line *l)
{
    (void)l;
    return ufi_arch_norm(a);
}

uf_status ufi_arch_do_pool(ufi_arch *a, ufi_arch_line *l)
{
    const uint32_t in = a->at.value;
    int64_t k = 2, s = 2;
    ufi_node *n = NULL;
    if (l->operand_count == 1 && !strcmp(l->operands[0], "mean"))
        return ufi_arch_mean(a);
    if (l->operand_count != 1 || strcmp(l->operands[0], "max") != 0)
        return ufi_arch_fail(a, "pool max [k=2] [s=2], or pool mean");
    uf_status st = ufi_arch_number_of(a, l, "k", 2, 16, &k);
    if (!st)
        st = ufi_arch_number_of(a, l, "s", k, 16, &s);
    if (!st && (k > a->at.h || k > a->at.w))
        st = ufi_arch_fail(a, "pool: a map of %lldx%lld is too small", (long long)a->at.h,
                           (long long)a->at.w);
    if (!st)
        st = put_node(a, UFI_OP_MAX_POOL, "pool", &in, 1, &n);
    return st ? st : put_window(a, n, k, k, s, k % 2 ? k / 2 : 0);
}

uf_status ufi_arch_do_upsample(ufi_arch *a, ufi_arch_line *l)
{
    int64_t by = 0;
    uf_status st = ufi_arch_operand(a, l, 0, 8, &by);
    if (!st && (a->at.h * by > UFI_ARCH_MAX_SIDE || a->at.w * by > UFI_ARCH_MAX_SIDE))
        st = ufi_arch_fail(a, "upsample: a map of %lldx%lld; sides of at most %d are possible",
                           (long long)(a->at.h * by), (long long)(a->at.w * by), UFI_ARCH_MAX_SIDE);
    if (st)
        return st;
    const float scales[4] = {1, 1, (float)by, (float)by};
    const ufi_tensor t = {UF_F32, UFI_PLAIN, {1, {4}}, (void *)(uintptr_t)scales};
    uint32_t in[3] = {a->at.value, UFI_NONE, 0};
    ufi_node *n = NULL;
    ufi_graph *g = &a->out->graph;
    st = ufi_graph_add_constant(g, "scales", &t, true, &in[2], a->err);
    if (!st)
        st = put_node(a, UFI_OP_RESIZE, "upsample", in, 3, &n);
    if (!st)
        st = ufi_node_set_string(g, n, UFI_ATTR_MODE, "nearest", 7, a->err);
    if (!st)
        st = ufi_node_set_string(g, n, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "asymmetric", 10,
                                 a->err);
    if (!st)
        st = ufi_node_set_string(g, n, UFI_ATTR_NEAREST_MODE, "floor", 5, a->err);
    a->at.h *= by;
    a->at.w *= by;
    return st;
}

/* linear NUMBERS [bn=yes|no]: the whole map times a matrix. */
uf_status ufi_arch_do_linear(ufi_arch *a, ufi_arch_line *l)
{
    static const int64_t one = 1;
    int64_t n_out = 0;
    const char *norm = ufi_arch_text_of(l, "bn", "yes");
    uf_status st = ufi_arch_operand(a, l, 0, UFI_ARCH_MAX_CHANNELS, &n_out);
    uint32_t in[3] = {a->at.value, 0, 0};
    const int64_t length = a->at.c * a->at.h * a->at.w;
    const ufi_shape matrix = {2, {n_out, length}}, vector = {1, {n_out}};
    ufi_node *n = NULL;
    if (!st && n_out * length > UFI_ARCH_MAX_WEIGHTS)
        st = ufi_arch_fail(a, "linear: a matrix of %lld x %lld", (long long)n_out,
                           (long long)length);
    if (!st && strcmp(norm, "yes") != 0 && strcmp(norm, "no") != 0)
        st = ufi_arch_fail(a, "bn=%.40s: yes or no", norm);
    if (!st)
        st = put_node(a, UFI_OP_FLATTEN, "flatten", in, 1, NULL);
    in[0] = a->at.value;
    if (!st)
        st = put_weights(a, "linear", &matrix, 1, &in[1]);
    if (!st)
        st = put_filled(a, "linear", "bias", &vector, 0, &in[2]);
    if (!st)
        st = put_node(a, UFI_OP_GEMM, "linear", in, 3, &n);
    if (!st)
        st = ufi_node_set_ints(&a->out->graph, n, UFI_ATTR_TRANS_B, &one, 1, a->err);
    a->at = (ufi_arch_place){a->at.value, n_out, 1, 1};
    return st || !strcmp(norm, "no") ? st : ufi_arch_norm(a);
}
