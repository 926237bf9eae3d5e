/*
 * NodeProto to a node of ours. A table says for each ONNX operator which of ours it is and how it
 * gets there: as it stands, or through a form of onnx_normalise.c. Attributes go over by name; one
 * that we do not know is an error, because ignoring it would compute something else.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "format/onnx.h"

/* ---- reading ---- */

/* Room for one more item in a list that doubles; what it grew out of stays in the arena. */
static void *grow_list(onnx_import *m, const onnx_attr *a, void *list, uint32_t count, size_t size)
{
    if (count == UFI_MAX_ATTR_ITEMS) {
        ufi_fail(m->err, UF_E_LIMIT, "attribute %s has more than %u items", a->name,
                 UFI_MAX_ATTR_ITEMS);
        return NULL;
    }
    if (count && (count < 8 || (count & (count - 1))))
        return list;
    void *more = ufi_arena_alloc(&m->g->arena, count ? 2 * (size_t)count : 8, size);
    if (!more)
        ufi_fail(m->err, UF_E_NOMEM, "no memory for attributes");
    else if (count)
        memcpy(more, list, count * size);
    return more;
}

static uf_status append_int(onnx_import *m, onnx_attr *a, uint64_t v)
{
    int64_t *ints = grow_list(m, a, a->ints, a->int_count, sizeof *ints);
    if (!ints)
        return UF_E_LIMIT;
    a->ints = ints;
    ints[a->int_count++] = (int64_t)v;
    return UF_OK;
}

static uf_status append_float(onnx_import *m, onnx_attr *a, uint32_t bits)
{
    float *floats = grow_list(m, a, a->floats, a->float_count, sizeof *floats);
    if (!floats)
        return UF_E_LIMIT;
    a->floats = floats;
    memcpy(&floats[a->float_count++], &bits, sizeof bits);
    return UF_OK;
}

static uf_status read_list(onnx_import *m, onnx_attr *a, const ufi_proto_field *f, bool is_float)
{
    if (f->wire != UFI_WIRE_BYTES)
        return is_float ? append_float(m, a, (uint32_t)f->value) : append_int(m, a, f->value);
    ufi_proto p = f->bytes;
    uf_status st = UF_OK;
    while (!st && p.at < p.end) {
        uint64_t v = 0;
        if (!is_float) {
            st = ufi_proto_varint(&p, &v, m->err);
            if (!st)
                st = append_int(m, a, v);
        } else if (ufi_proto_left(&p) < 4) {
            st = ufi_fail(m->err, UF_E_FORMAT, "attribute %s ends within a number", a->name);
        } else {
            uint32_t bits;
            memcpy(&bits, p.at, 4);
            p.at += 4;
            st = append_float(m, a, bits);
        }
    }
    return st;
}

static uf_status read_attr(onnx_import *m, ufi_proto p, onnx_attr *a)
{
    ufi_proto_field f;
    uf_status st;
    *a = (onnx_attr){0};
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        int guess = 0;
        if (f.number == 1 && f.wire == UFI_WIRE_BYTES)
            ufi_proto_text(&f.bytes, a->name, sizeof a->name);
        else if (f.number == 2)
            memcpy(&a->f, &f.value, sizeof a->f), guess = ONNX_FLOAT;
        else if (f.number == 3)
            a->i = (int64_t)f.value, guess = ONNX_INT;
        else if (f.number == 4 && f.wire == UFI_WIRE_BYTES)
            a->s = f.bytes, guess = ONNX_STRING;
        else if (f.number == 5 && f.wire == UFI_WIRE_BYTES)
            a->t = f.bytes, guess = ONNX_TENSOR;
        else if (f.number == 6)
            guess = ONNX_GRAPH;
        else if (f.number == 7)
            st = read_list(m, a, &f, true), guess = ONNX_FLOATS;
        else if (f.number == 8)
            st = read_list(m, a, &f, false), guess = ONNX_INTS;
        else if (f.number == 9)
            guess = ONNX_STRINGS;
        else if (f.number == 20 && f.wire == UFI_WIRE_VARINT)
            a->type = (int)(f.value & 0xFF);
        if (guess && !a->type)
            a->type = guess;
        if (st)
            return st;
    }
    return st;
}

static uf_status add_io(onnx_import *m, const onnx_node *n, uint32_t *list, uint32_t *count,
                        const ufi_proto *name)
{
    if (*count == ONNX_MAX_IO)
        return ufi_fail(m->err, UF_E_LIMIT, "node \"%s\" has more than %d inputs or outputs",
                        n->name, ONNX_MAX_IO);
    return onnx_value(m, name, &list[(*count)++]);
}

uf_status onnx_node_read(onnx_import *m, ufi_proto p, onnx_node *n)
{
    ufi_proto_field f;
    uf_status st;
    char name[UFI_MAX_NAME_BYTES / 4] = "";
    n->op[0] = n->domain[0] = '\0';
    n->name = "";
    n->in_count = n->out_count = n->attr_count = 0;
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        if (f.wire != UFI_WIRE_BYTES)
            continue;
        if (f.number == 1)
            st = add_io(m, n, n->in, &n->in_count, &f.bytes);
        else if (f.number == 2)
            st = add_io(m, n, n->out, &n->out_count, &f.bytes);
        else if (f.number == 3)
            ufi_proto_text(&f.bytes, name, sizeof name);
        else if (f.number == 4)
            ufi_proto_text(&f.bytes, n->op, sizeof n->op);
        else if (f.number == 7)
            ufi_proto_text(&f.bytes, n->domain, sizeof n->domain);
        else if (f.number == 5 && n->attr_count == ONNX_MAX_ATTRS)
            st = ufi_fail(m->err, UF_E_LIMIT, "node \"%s\" has more than %d attributes", name,
                          ONNX_MAX_ATTRS);
        else if (f.number == 5)
            st = read_attr(m, f.bytes, &n->attrs[n->attr_count++]);
        if (st)
            return st;
    }
    if (st)
        return st;
    /* Nodes need no name; their first output tells them apart as well. */
    if (!name[0] && n->out_count && n->out[0] != UFI_NONE)
        snprintf(name, sizeof name, "%.200s", m->g->values[n->out[0]].name);
    n->name = ufi_arena_strndup(&m->g->arena, name, strlen(name));
    return n->name ? UF_OK : ufi_fail(m->err, UF_E_NOMEM, "no memory for a node");
}

/* ---- attributes ---- */

onnx_attr *onnx_find(onnx_node *n, const char *name)
{
    for (uint32_t i = 0; i < n->attr_count; i++)
        if (!strcmp(n->attrs[i].name, name)) {
            n->attrs[i].used = true;
            return &n->attrs[i];
        }
    return NULL;
}

int64_t onnx_int(onnx_node *n, const char *name, int64_t fallback)
{
    const onnx_attr *a = onnx_find(n, name);
    return a && a->type == ONNX_INT ? a->i : fallback;
}

float onnx_float(onnx_node *n, const char *name, float fallback)
{
    const onnx_attr *a = onnx_find(n, name);
    return a && a->type == ONNX_FLOAT ? a->f : fallback;
}

uf_status onnx_node_fail(const onnx_import *m, const onnx_node *n, uf_status st, const char *fmt,
                         ...)
{
    char text[256];
    bool ms = !strcmp(n->domain, "com.microsoft");
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return ufi_fail(m->err, st, "operator %s (%s opset %lld), node \"%.100s\": %s", n->op,
                    n->domain[0] ? n->domain : "ai.onnx", (long long)(ms ? m->ms_opset : m->opset),
                    n->name, text);
}

/* Attributes that say nothing about what is computed at inference, or repeat what the node shows.
 */
static bool is_harmless(const char *name)
{
    static const char *const names[] = {
        "momentum", "spatial",       "training_mode", "is_test",         "ratio",
        "seed",     "storage_order", "num_outputs",   "consumed_inputs", "stash_type",
        "saturate", "output_dtype",  "precision"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static uf_status copy_attr(onnx_import *m, const onnx_node *n, const onnx_attr *a, ufi_node *to,
                           ufi_attr_key key)
{
    switch (a->type) {
    case ONNX_INT:
        return ufi_node_set_ints(m->g, to, key, &a->i, 1, m->err);
    case ONNX_FLOAT:
        return ufi_node_set_floats(m->g, to, key, &a->f, 1, m->err);
    case ONNX_INTS:
        return ufi_node_set_ints(m->g, to, key, a->ints, a->int_count, m->err);
    case ONNX_FLOATS:
        return ufi_node_set_floats(m->g, to, key, a->floats, a->float_count, m->err);
    case ONNX_STRING:
        if (ufi_proto_left(&a->s) > 64)
            return onnx_node_fail(m, n, UF_E_FORMAT, "attribute %s is too long", a->name);
        /* "NOTSET" is how exporters say that there is no automatic padding. */
        if (key == UFI_ATTR_AUTO_PAD && ufi_proto_is(&a->s, "NOTSET"))
            return UF_OK;
        return ufi_node_set_string(m->g, to, key, (const char *)a->s.at,
                                   (uint32_t)ufi_proto_left(&a->s), m->err);
    default:
        return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "attribute %s is of type %d", a->name,
                              a->type);
    }
}

static uf_status copy_attrs(onnx_import *m, const onnx_node *n, ufi_node *to)
{
    for (uint32_t i = 0; i < n->attr_count; i++) {
        const onnx_attr *a = &n->attrs[i];
        if (a->used || is_harmless(a->name))
            continue;
        uint32_t key = 0;
        while (key < UFI_ATTR_COUNT && strcmp(a->name, ufi_attr_name((ufi_attr_key)key)) != 0)
            key++;
        /* The fused activations are ours alone: in a file they would be an attack or a mistake. */
        if (key == UFI_ATTR_COUNT || (key >= UFI_ATTR_ACT && key <= UFI_ATTR_ACT_ALPHA))
            return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "attribute %s is not supported", a->name);
        uf_status st = copy_attr(m, n, a, to, (ufi_attr_key)key);
        if (st)
            return st;
    }
    return UF_OK;
}

uf_status onnx_emit(onnx_import *m, onnx_node *n, ufi_op op, ufi_node **added)
{
    uint32_t index;
    uf_status st = ufi_graph_add_node(m->g, op, n->name, n->in, n->in_count, n->out, n->out_count,
                                      &index, m->err);
    if (st)
        return st;
    if (added)
        *added = &m->g->nodes[index];
    return copy_attrs(m, n, &m->g->nodes[index]);
}

/* ---- the table ---- */

typedef struct onnx_row {
    const char *op;
    onnx_handler *handler;
    ufi_op target;
} onnx_row;

/* Operators whose ONNX name is ours and whose form has not changed since opset 7 have no row. */
static const onnx_row rows[] = {
    {"Constant", onnx_constant, UFI_OP_COUNT},
    {"ConstantOfShape", onnx_constant_of_shape, UFI_OP_CONSTANT_OF_SHAPE},
    {"BatchNormalization", onnx_batch_norm, UFI_OP_AFFINE},
    {"Dropout", onnx_first_output, UFI_OP_IDENTITY},
    {"LayerNormalization", onnx_first_output, UFI_OP_LAYER_NORM},
    {"MaxPool", onnx_max_pool, UFI_OP_MAX_POOL},
    {"Clip", onnx_clip, UFI_OP_CLIP},
    {"Slice", onnx_slice, UFI_OP_SLICE},
    {"Pad", onnx_pad, UFI_OP_PAD},
    {"Squeeze", onnx_axes, UFI_OP_SQUEEZE},
    {"Unsqueeze", onnx_axes, UFI_OP_UNSQUEEZE},
    {"ReduceSum", onnx_axes, UFI_OP_REDUCE_SUM},
    {"ReduceMean", onnx_axes, UFI_OP_REDUCE_MEAN},
    {"ReduceMax", onnx_axes, UFI_OP_REDUCE_MAX},
    {"ReduceMin", onnx_axes, UFI_OP_REDUCE_MIN},
    {"ReduceProd", onnx_axes, UFI_OP_REDUCE_PROD},
    {"ReduceL1", onnx_axes, UFI_OP_REDUCE_L1},
    {"ReduceL2", onnx_axes, UFI_OP_REDUCE_L2},
    {"ReduceSumSquare", onnx_axes, UFI_OP_REDUCE_SUM_SQUARE},
    {"ReduceLogSum", onnx_axes, UFI_OP_REDUCE_LOG_SUM},
    {"ReduceLogSumExp", onnx_axes, UFI_OP_REDUCE_LOG_SUM_EXP},
    {"Split", onnx_split, UFI_OP_SPLIT},
    {"TopK", onnx_top_k, UFI_OP_TOP_K},
    {"Softmax", onnx_softmax, UFI_OP_SOFTMAX},
    {"LogSoftmax", onnx_softmax, UFI_OP_LOG_SOFTMAX},
    {"Cast", onnx_cast, UFI_OP_CAST},
    {"Upsample", onnx_upsample, UFI_OP_RESIZE},
    {"Resize", onnx_resize, UFI_OP_RESIZE},
};

static bool is_ours_alone(const char *name)
{
    return !strcmp(name, "Affine");
}

/* ONNX Runtime's own operators that have the name and meaning of ours. */
static bool is_microsoft_op(const char *name)
{
    return !strncmp(name, "QLinear", 7) || !strcmp(name, "QGemm") || !strcmp(name, "Gelu");
}

uf_status onnx_node_add(onnx_import *m, onnx_node *n)
{
    bool standard = !n->domain[0] || !strcmp(n->domain, "ai.onnx");
    bool microsoft = !strcmp(n->domain, "com.microsoft") && is_microsoft_op(n->op);
    for (uint32_t i = 0; i < n->attr_count; i++)
        if (n->attrs[i].type == ONNX_GRAPH)
            return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "graphs within graphs are not supported");
    for (size_t i = 0; standard && i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].op, n->op))
            return rows[i].handler(m, n, rows[i].target);
    for (int op = 0; (standard || microsoft) && op < UFI_OP_COUNT; op++)
        if (!strcmp(ufi_op_name((ufi_op)op), n->op) && !is_ours_alone(n->op))
            return onnx_plain(m, n, (ufi_op)op);
    return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "this operator is not supported");
}
