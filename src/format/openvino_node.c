/* From the layers of OpenVINO IR to our operators. FP16 becomes FP32 throughout. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/openvino.h"

const char *ov_attr_text(const ov_layer *l, const char *key, const char *fallback)
{
    for (uint32_t i = 0; i < l->attr_count; i++)
        if (!strcmp(l->attrs[i].key, key))
            return l->attrs[i].value;
    return fallback;
}

int ov_attr_ints(const ov_layer *l, const char *key, int64_t *out, int cap)
{
    const char *s = ov_attr_text(l, key, "");
    int n = 0;
    while (*s) {
        char *end;
        const long long v = strtoll(s, &end, 10);
        if (end == s || n == cap)
            return -1;
        if (*end == '.') /* "1.0", as some writers have it */
            end += strspn(end, ".0123456789");
        out[n++] = v;
        end += strspn(end, " ");
        if (*end == ',')
            end++;
        else if (*end)
            return -1;
        s = end + strspn(end, " ");
    }
    return n;
}

uf_status ov_fail(const ov_job *j, uf_status st, const char *what)
{
    return ufi_fail(j->k->err, st, "layer \"%.80s\" (%.40s): %s", j->layer->name, j->layer->type,
                    what);
}

/* ---- nodes and constants ---- */

uf_status ov_new_node(ov_job *j, ufi_op op, const uint32_t *in, uint32_t count, uint32_t out,
                      ufi_node **node)
{
    uint32_t index;
    uf_status st =
        ufi_graph_add_node(j->k->g, op, j->layer->name, in, count, &out, 1, &index, j->k->err);
    if (node)
        *node = st ? NULL : &j->k->g->nodes[index];
    return st;
}

uf_status ov_new_value(ov_job *j, uint32_t *id)
{
    return ufi_graph_add_value(j->k->g, j->layer->name, UF_DTYPE_NONE, NULL, id, j->k->err);
}

uf_status ov_new_ints(ov_job *j, const int64_t *v, int64_t count, uint32_t *id)
{
    const ufi_tensor t = {UF_I64, UFI_PLAIN, {1, {count}}, (void *)(uintptr_t)v};
    return ufi_graph_add_constant(j->k->g, j->layer->name, &t, true, id, j->k->err);
}

uf_status ov_new_float(ov_job *j, float v, uint32_t *id)
{
    const ufi_tensor t = {UF_F32, UFI_PLAIN, {0, {0}}, &v};
    return ufi_graph_add_constant(j->k->g, j->layer->name, &t, true, id, j->k->err);
}

const ufi_value *ov_constant(const ov_job *j, uint32_t i)
{
    const ufi_value *v = i < j->in_count ? &j->k->g->values[j->in[i]] : NULL;
    return v && v->data ? v : NULL;
}

static const ufi_shape *port_shape(const ov_job *j, uint32_t input)
{
    return &j->layer->ports[input].shape;
}

static bool element_type(const char *text, uf_dtype *stored, uf_dtype *used)
{
    static const struct {
        const char *name;
        uf_dtype stored, used;
    } types[] = {{"f32", UF_F32, UF_F32}, {"f16", UF_F16, UF_F32}, {"i8", UF_I8, UF_I8},
                 {"u8", UF_U8, UF_U8},    {"i32", UF_I32, UF_I32}, {"i64", UF_I64, UF_I64}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(text, types[i].name)) {
            *stored = types[i].stored;
            *used = types[i].used;
            return true;
        }
    return false;
}

static uf_status make_parameter(ov_job *j)
{
    ufi_value *v = &j->k->g->values[j->out];
    uf_dtype stored, used;
    int64_t dims[UF_MAX_DIMS];
    const int n = ov_attr_ints(j->layer, "shape", dims, UF_MAX_DIMS);
    if (n < 0 || !element_type(ov_attr_text(j->layer, "element_type", ""), &stored, &used))
        return ov_fail(j, UF_E_UNSUPPORTED, "its shape or element type is not supported");
    if (j->k->input_count == UFI_MAX_NODE_IO)
        return ov_fail(j, UF_E_LIMIT, "too many inputs");
    v->dtype = used;
    v->shape = ufi_shape_make((uint32_t)n, dims);
    v->has_shape = true;
    j->k->inputs[j->k->input_count++] = j->out;
    return UF_OK;
}

static uf_status make_const(ov_job *j)
{
    int64_t dims[UF_MAX_DIMS], offset, size;
    uf_dtype stored, used;
    const int n = ov_attr_ints(j->layer, "shape", dims, UF_MAX_DIMS);
    if (n < 0 || ov_attr_ints(j->layer, "offset", &offset, 1) != 1 ||
        ov_attr_ints(j->layer, "size", &size, 1) != 1 ||
        !element_type(ov_attr_text(j->layer, "element_type", ""), &stored, &used))
        return ov_fail(j, UF_E_UNSUPPORTED, "its shape, place or element type is not supported");
    for (int i = 0; i < n; i++)
        if (dims[i] < 0 || dims[i] > INT32_MAX)
            return ov_fail(j, UF_E_FORMAT, "a dimension is out of range");
    ufi_tensor t = {stored, UFI_PLAIN, ufi_shape_make((uint32_t)n, dims), NULL};
    const int64_t count = ufi_shape_count(&t.shape);
    const size_t bytes = ufi_tensor_bytes(&t);
    if (count < 0 || offset < 0 || size < 0 || (uint64_t)size != bytes ||
        (uint64_t)offset > j->k->m->bin_size || bytes > j->k->m->bin_size - (uint64_t)offset)
        return ov_fail(j, UF_E_FORMAT, "its data does not lie within the .bin file");
    ufi_value *v = &j->k->g->values[j->out];
    t.dtype = used;
    uint8_t *to = ufi_arena_alloc(&j->k->g->arena, ufi_tensor_bytes(&t) + 8, 1);
    if (!to)
        return ov_fail(j, UF_E_NOMEM, "no memory for its data");
    to = (uint8_t *)(((uintptr_t)to + 7) & ~(uintptr_t)7);
    const uint8_t *from = j->k->m->bin + offset;
    for (int64_t i = 0; stored == UF_F16 && i < count; i++) {
        const float f = ufi_f16_to_f32((uint16_t)(from[2 * i] | from[2 * i + 1] << 8));
        memcpy(to + 4 * i, &f, 4);
    }
    if (stored != UF_F16 && bytes)
        memcpy(to, from, bytes);
    v->dtype = used;
    v->shape = t.shape;
    v->has_shape = true;
    v->data = to;
    return UF_OK;
}

static uf_status make_result(ov_job *j)
{
    if (j->in_count != 1 || j->k->output_count == UFI_MAX_NODE_IO)
        return ov_fail(j, UF_E_FORMAT, "it must have one input");
    j->k->outputs[j->k->output_count++] = j->in[0];
    return UF_OK;
}

/* ---- convolution and pooling ---- */

static uf_status set_list(ov_job *j, ufi_node *n, const char *from, ufi_attr_key key)
{
    int64_t v[4];
    const int count = ov_attr_ints(j->layer, from, v, 4);
    if (count < 0)
        return ov_fail(j, UF_E_FORMAT, "a list of numbers is malformed");
    return count ? ufi_node_set_ints(j->k->g, n, key, v, (uint32_t)count, j->k->err) : UF_OK;
}

static uf_status set_window(ov_job *j, ufi_node *n)
{
    int64_t pads[8];
    const int begin = ov_attr_ints(j->layer, "pads_begin", pads, 4);
    const int end = begin >= 0 ? ov_attr_ints(j->layer, "pads_end", pads + begin, 4) : -1;
    const char *how = ov_attr_text(j->layer, "auto_pad", "explicit");
    if (begin < 0 || end != begin)
        return ov_fail(j, UF_E_FORMAT, "pads_begin and pads_end do not agree");
    uf_status st = set_list(j, n, "strides", UFI_ATTR_STRIDES);
    if (!st)
        st = set_list(j, n, "dilations", UFI_ATTR_DILATIONS);
    if (st)
        return st;
    if (!strcmp(how, "same_upper") || !strcmp(how, "same_lower")) {
        const char *name = !strcmp(how, "same_upper") ? "SAME_UPPER" : "SAME_LOWER";
        return ufi_node_set_string(j->k->g, n, UFI_ATTR_AUTO_PAD, name, 10, j->k->err);
    }
    if (!begin || !strcmp(how, "valid"))
        return UF_OK;
    return ufi_node_set_ints(j->k->g, n, UFI_ATTR_PADS, pads, (uint32_t)(2 * begin), j->k->err);
}

static uf_status make_convolution(ov_job *j)
{
    ufi_node *n;
    if (j->in_count != 2)
        return ov_fail(j, UF_E_FORMAT, "it must have two inputs");
    uf_status st = ov_new_node(j, UFI_OP_CONV, j->in, 2, j->out, &n);
    return st ? st : set_window(j, n);
}

/* Weights [G, O, I, h, w] become [G * O, I, h, w]. */
static uf_status make_group_convolution(ov_job *j)
{
    ufi_node *n;
    uint32_t in[2], target, weights = UFI_NONE;
    if (j->in_count != 2 || port_shape(j, 1)->rank != 5 || port_shape(j, 1)->dims[0] < 1)
        return ov_fail(j, UF_E_UNSUPPORTED, "weights of a rank other than 5");
    const int64_t *d = port_shape(j, 1)->dims, group = d[0];
    const int64_t dims[4] = {d[0] * d[1], d[2], d[3], d[4]};
    uf_status st = ov_new_ints(j, dims, 4, &target);
    if (!st)
        st = ov_new_value(j, &weights);
    in[0] = j->in[1], in[1] = target;
    if (!st)
        st = ov_new_node(j, UFI_OP_RESHAPE, in, 2, weights, NULL);
    in[0] = j->in[0], in[1] = weights;
    if (!st)
        st = ov_new_node(j, UFI_OP_CONV, in, 2, j->out, &n);
    if (!st)
        st = set_window(j, n);
    return st ? st : ufi_node_set_ints(j->k->g, n, UFI_ATTR_GROUP, &group, 1, j->k->err);
}

static uf_status make_pool(ov_job *j)
{
    ufi_node *n;
    const bool maximum = !strcmp(j->layer->type, "MaxPool");
    const int64_t one = 1;
    if (j->in_count != 1)
        return ov_fail(j, UF_E_FORMAT, "it must have one input");
    uf_status st =
        ov_new_node(j, maximum ? UFI_OP_MAX_POOL : UFI_OP_AVERAGE_POOL, j->in, 1, j->out, &n);
    if (!st)
        st = set_window(j, n);
    if (!st)
        st = set_list(j, n, "kernel", UFI_ATTR_KERNEL_SHAPE);
    if (!st && !strncmp(ov_attr_text(j->layer, "rounding_type", "floor"), "ceil", 4))
        st = ufi_node_set_ints(j->k->g, n, UFI_ATTR_CEIL_MODE, &one, 1, j->k->err);
    if (!st && !maximum && !strcmp(ov_attr_text(j->layer, "exclude-pad", "true"), "false"))
        st = ufi_node_set_ints(j->k->g, n, UFI_ATTR_COUNT_INCLUDE_PAD, &one, 1, j->k->err);
    return st;
}

/* ---- products, activations ---- */

bool ov_is_true(const ov_job *j, const char *key)
{
    const char *v = ov_attr_text(j->layer, key, "false");
    return !strcmp(v, "true") || !strcmp(v, "True") || !strcmp(v, "1");
}

static uf_status make_matmul(ov_job *j)
{
    ufi_node *n;
    const int64_t a = ov_is_true(j, "transpose_a"), b = ov_is_true(j, "transpose_b");
    if (j->in_count != 2)
        return ov_fail(j, UF_E_FORMAT, "it must have two inputs");
    if (!a && !b)
        return ov_new_node(j, UFI_OP_MATMUL, j->in, 2, j->out, NULL);
    if (port_shape(j, 0)->rank != 2 || port_shape(j, 1)->rank != 2)
        return ov_fail(j, UF_E_UNSUPPORTED, "a transposed product of more than two dimensions");
    uf_status st = ov_new_node(j, UFI_OP_GEMM, j->in, 2, j->out, &n);
    if (!st)
        st = ufi_node_set_ints(j->k->g, n, UFI_ATTR_TRANS_A, &a, 1, j->k->err);
    return st ? st : ufi_node_set_ints(j->k->g, n, UFI_ATTR_TRANS_B, &b, 1, j->k->err);
}

/* A slope for each channel, which is axis 1: [C] becomes [C,1,1]. */
static uf_status make_prelu(ov_job *j)
{
    uint32_t in[2], target, slope = UFI_NONE;
    if (j->in_count != 2)
        return ov_fail(j, UF_E_FORMAT, "it must have two inputs");
    const ufi_shape *x = port_shape(j, 0), *s = port_shape(j, 1);
    if (s->rank != 1 || s->dims[0] <= 1 || x->rank < 3)
        return ov_new_node(j, UFI_OP_PRELU, j->in, 2, j->out, NULL);
    int64_t dims[UF_MAX_DIMS] = {s->dims[0], 1, 1, 1, 1};
    uf_status st = ov_new_ints(j, dims, x->rank - 1, &target);
    if (!st)
        st = ov_new_value(j, &slope);
    in[0] = j->in[1], in[1] = target;
    if (!st)
        st = ov_new_node(j, UFI_OP_RESHAPE, in, 2, slope, NULL);
    in[0] = j->in[0], in[1] = slope;
    return st ? st : ov_new_node(j, UFI_OP_PRELU, in, 2, j->out, NULL);
}

static uf_status make_simple(ov_job *j)
{
    static const struct {
        const char *type;
        ufi_op op;
        uint32_t inputs;
    } ops[] = {{"Add", UFI_OP_ADD, 2},         {"Multiply", UFI_OP_MUL, 2},
               {"Subtract", UFI_OP_SUB, 2},    {"Divide", UFI_OP_DIV, 2},
               {"ReLU", UFI_OP_RELU, 1},       {"Sigmoid", UFI_OP_SIGMOID, 1},
               {"Tanh", UFI_OP_TANH, 1},       {"Exp", UFI_OP_EXP, 1},
               {"Reshape", UFI_OP_RESHAPE, 2}, {"Unsqueeze", UFI_OP_UNSQUEEZE, 2},
               {"Squeeze", UFI_OP_SQUEEZE, 2}, {"ShapeOf", UFI_OP_SHAPE, 1}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (!strcmp(j->layer->type, ops[i].type))
            return j->in_count == ops[i].inputs
                       ? ov_new_node(j, ops[i].op, j->in, ops[i].inputs, j->out, NULL)
                       : ov_fail(j, UF_E_FORMAT, "it has the wrong number of inputs");
    return ov_fail(j, UF_E_UNSUPPORTED, "this operator is not supported");
}

/* Between floating point types nothing happens: all is FP32 here. */
static uf_status make_convert(ov_job *j)
{
    uf_dtype stored, used;
    ufi_node *n;
    if (j->in_count != 1 ||
        !element_type(ov_attr_text(j->layer, "destination_type", ""), &stored, &used))
        return ov_fail(j, UF_E_UNSUPPORTED, "the type to convert to is not supported");
    const int64_t to = used;
    uf_status st = ov_new_node(j, UFI_OP_CAST, j->in, 1, j->out, &n);
    return st ? st : ufi_node_set_ints(j->k->g, n, UFI_ATTR_TO, &to, 1, j->k->err);
}

/* ---- moves with a constant list ---- */

static uf_status make_transpose(ov_job *j)
{
    ufi_node *n;
    const ufi_value *order = ov_constant(j, 1);
    if (j->in_count != 2 || !order || order->dtype != UF_I64)
        return ov_fail(j, UF_E_UNSUPPORTED, "an order that is not constant");
    uf_status st = ov_new_node(j, UFI_OP_TRANSPOSE, j->in, 1, j->out, &n);
    return st ? st
              : ufi_node_set_ints(j->k->g, n, UFI_ATTR_PERM, order->data,
                                  (uint32_t)ufi_shape_count(&order->shape), j->k->err);
}

static uf_status set_axis(ov_job *j, ufi_node *n, int64_t axis)
{
    return ufi_node_set_ints(j->k->g, n, UFI_ATTR_AXIS, &axis, 1, j->k->err);
}

static uf_status make_gather(ov_job *j)
{
    ufi_node *n;
    const ufi_value *axis = ov_constant(j, 2);
    if (j->in_count != 3 || !axis || ufi_shape_count(&axis->shape) != 1 ||
        (axis->dtype != UF_I64 && axis->dtype != UF_I32))
        return ov_fail(j, UF_E_UNSUPPORTED, "an axis that is not constant");
    const int64_t at =
        axis->dtype == UF_I64 ? *(const int64_t *)axis->data : *(const int32_t *)axis->data;
    uf_status st = ov_new_node(j, UFI_OP_GATHER, j->in, 2, j->out, &n);
    return st ? st : set_axis(j, n, at);
}

static uf_status make_with_axis(ov_job *j)
{
    ufi_node *n;
    int64_t axis = 1;
    const bool concat = !strcmp(j->layer->type, "Concat");
    if (ov_attr_ints(j->layer, "axis", &axis, 1) < 0 || !j->in_count)
        return ov_fail(j, UF_E_FORMAT, "its axis is malformed");
    uf_status st = ov_new_node(j, concat ? UFI_OP_CONCAT : UFI_OP_SOFTMAX, j->in,
                               concat ? j->in_count : 1, j->out, &n);
    return st ? st : set_axis(j, n, axis);
}

/* ---- all layers ---- */

static const struct {
    const char *type;
    uf_status (*make)(ov_job *j);
} makers[] = {{"Parameter", make_parameter},
              {"Const", make_const},
              {"Result", make_result},
              {"Convolution", make_convolution},
              {"GroupConvolution", make_group_convolution},
              {"MaxPool", make_pool},
              {"AvgPool", make_pool},
              {"MatMul", make_matmul},
              {"PReLU", make_prelu},
              {"Convert", make_convert},
              {"Transpose", make_transpose},
              {"Gather", make_gather},
              {"Concat", make_with_axis},
              {"SoftMax", make_with_axis},
              {"Softmax", make_with_axis},
              {"FakeQuantize", ov_make_fake_quantize},
              {"StridedSlice", ov_make_strided_slice},
              {"PriorBoxClustered", ov_make_prior_box_clustered},
              {"DetectionOutput", ov_make_detection_output}};

static uf_status make_outputs(ov_maker *k)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < k->m->layer_count; i++) {
        const ov_layer *l = &k->m->layers[i];
        for (uint32_t p = 0; !st && p < l->port_count; p++)
            if (l->ports[p].is_output)
                st = ufi_graph_add_value(k->g, l->name, UF_DTYPE_NONE, NULL, &l->ports[p].value,
                                         k->err);
    }
    return st;
}

/* ---- edges ---- */

static int compare_numbers(uint32_t a, uint32_t b)
{
    return (a > b) - (a < b);
}

static int by_target(const void *pa, const void *pb)
{
    const ov_edge *a = pa, *b = pb;
    const int layer = compare_numbers(a->to_layer, b->to_layer);
    return layer ? layer : compare_numbers(a->to_port, b->to_port);
}

static int by_layer_id(const void *pa, const void *pb)
{
    const ov_layer *const *a = pa, *const *b = pb;
    return compare_numbers((*a)->id, (*b)->id);
}

static uf_status sort_tables(ov_model *m, uf_error *err)
{
    m->by_id = ufi_arena_alloc(&m->arena, m->layer_count + 1, sizeof *m->by_id);
    if (!m->by_id)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a model");
    for (uint32_t i = 0; i < m->layer_count; i++)
        m->by_id[i] = &m->layers[i];
    if (m->layer_count)
        qsort(m->by_id, m->layer_count, sizeof(ov_layer *), by_layer_id);
    if (m->edge_count)
        qsort(m->edges, m->edge_count, sizeof *m->edges, by_target);
    return UF_OK;
}

/* The output port that is connected to a port, and its layer, or NULL. */
static const ov_port *source_port(const ov_model *m, uint32_t layer, uint32_t port,
                                  const ov_layer **source)
{
    const ov_edge wanted = {.to_layer = layer, .to_port = port};
    const ov_edge *edge =
        m->edge_count ? bsearch(&wanted, m->edges, m->edge_count, sizeof wanted, by_target) : NULL;
    if (!edge)
        return NULL;
    const ov_layer key = {.id = edge->from_layer}, *key_at = &key;
    ov_layer *const *from =
        bsearch(&key_at, m->by_id, m->layer_count, sizeof(ov_layer *), by_layer_id);
    for (uint32_t p = 0; from && p < (*from)->port_count; p++)
        if ((*from)->ports[p].is_output && (*from)->ports[p].id == edge->from_port) {
            *source = *from;
            return &(*from)->ports[p];
        }
    return NULL;
}

const ov_layer *ov_source(const ov_model *m, const ov_layer *l, uint32_t input)
{
    const ov_layer *from = NULL;
    return input < l->port_count && source_port(m, l->id, l->ports[input].id, &from) ? from : NULL;
}

/* The value that arrives at a port, or UFI_NONE. */
static uint32_t source_of(const ov_model *m, uint32_t layer, uint32_t port)
{
    const ov_layer *from;
    const ov_port *p = source_port(m, layer, port, &from);
    return p ? p->value : UFI_NONE;
}

static uf_status make_layer(ov_maker *k, const ov_layer *l)
{
    ov_job j = {.k = k, .layer = l, .out = UFI_NONE};
    for (uint32_t p = 0; p < l->port_count; p++) {
        if (l->ports[p].is_output) {
            if (j.out == UFI_NONE)
                j.out = l->ports[p].value;
            continue;
        }
        j.in[j.in_count] = source_of(k->m, l->id, l->ports[p].id);
        if (j.in[j.in_count++] == UFI_NONE)
            return ov_fail(&j, UF_E_FORMAT, "nothing is connected to one of its inputs");
    }
    if (j.out == UFI_NONE && strcmp(l->type, "Result") != 0)
        return ov_fail(&j, UF_E_FORMAT, "it has no output");
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++)
        if (!strcmp(l->type, makers[i].type))
            return makers[i].make(&j);
    return make_simple(&j);
}

uf_status ov_make_graph(ufi_graph *g, ov_model *m, uf_error *err)
{
    ov_maker k = {.m = m, .g = g, .err = err};
    uf_status st = sort_tables(m, err);
    if (!st)
        st = make_outputs(&k);
    /* Constants first: some layers look at them. */
    for (int pass = 0; !st && pass < 2; pass++)
        for (uint32_t i = 0; !st && i < m->layer_count; i++)
            if ((strcmp(m->layers[i].type, "Const") == 0) == (pass == 0))
                st = make_layer(&k, &m->layers[i]);
    if (!st && (!k.input_count || !k.output_count))
        st = ufi_fail(err, UF_E_FORMAT, "the network has no input or no output");
    return st ? st : ufi_graph_set_io(g, k.inputs, k.input_count, k.outputs, k.output_count, err);
}
