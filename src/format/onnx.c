/*
 * ONNX: ModelProto and GraphProto. Constants first, then inputs, then nodes in the file's order,
 * then sorting, checking, shapes and passes. Field numbers are those of onnx.proto3.
 */
#include "format/onnx.h"
#include "format/ufm.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define OLDEST_OPSET 7

/* ---- names ---- */

static uint64_t name_hash(const uint8_t *p, size_t n)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001B3u;
    return h;
}

static uf_status grow_names(onnx_import *m)
{
    uint32_t count = m->slot_count ? m->slot_count * 2 : 1024;
    uint32_t *slots = ufi_calloc(count, sizeof *slots);
    if (!slots)
        return ufi_fail(m->err, UF_E_NOMEM, "no memory for names");
    for (uint32_t i = 0; i < m->slot_count; i++) {
        if (!m->slots[i])
            continue;
        const char *name = m->g->values[m->slots[i] - 1].name;
        uint32_t at = (uint32_t)name_hash((const uint8_t *)name, strlen(name)) & (count - 1);
        while (slots[at])
            at = (at + 1) & (count - 1);
        slots[at] = m->slots[i];
    }
    ufi_free(m->slots);
    m->slots = slots;
    m->slot_count = count;
    return UF_OK;
}

uf_status onnx_value(onnx_import *m, const ufi_proto *name, uint32_t *id)
{
    char text[UFI_MAX_NAME_BYTES + 1];
    *id = UFI_NONE;
    size_t n = ufi_proto_left(name);
    if (n == 0)
        return UF_OK;
    if (n > UFI_MAX_NAME_BYTES || memchr(name->at, 0, n))
        return ufi_fail(m->err, UF_E_FORMAT, "a name of %zu bytes, or one with a NUL, at byte %zu",
                        n, (size_t)(name->at - name->file));
    if (m->g->value_count * 2 >= m->slot_count) {
        uf_status st = grow_names(m);
        if (st)
            return st;
    }
    ufi_proto_text(name, text, sizeof text);
    uint32_t at = (uint32_t)name_hash(name->at, n) & (m->slot_count - 1);
    for (; m->slots[at]; at = (at + 1) & (m->slot_count - 1))
        if (!strcmp(m->g->values[m->slots[at] - 1].name, text)) {
            *id = m->slots[at] - 1;
            return UF_OK;
        }
    uf_status st = ufi_graph_add_value(m->g, text, UF_DTYPE_NONE, NULL, id, m->err);
    if (!st)
        m->slots[at] = *id + 1;
    return st;
}

/* ---- inputs and outputs ---- */

static uf_status read_dim(onnx_import *m, ufi_proto p, ufi_shape *s)
{
    ufi_proto_field f;
    uf_status st;
    int64_t dim = -1;
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number)
        if (f.number == 1 && f.wire == UFI_WIRE_VARINT && (int64_t)f.value > 0)
            dim = (int64_t)f.value;
    if (st)
        return st;
    if (s->rank == UF_MAX_DIMS || dim > INT32_MAX)
        return ufi_fail(m->err, UF_E_LIMIT, "an input of rank over %d or of dimension %lld",
                        UF_MAX_DIMS, (long long)dim);
    s->dims[s->rank++] = dim;
    return UF_OK;
}

static uf_status read_shape(onnx_import *m, ufi_proto p, ufi_shape *s)
{
    ufi_proto_field f;
    uf_status st;
    s->rank = 0;
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number)
        if (f.number == 1 && f.wire == UFI_WIRE_BYTES && (st = read_dim(m, f.bytes, s)))
            return st;
    return st;
}

typedef struct value_info {
    ufi_proto name;
    uf_dtype dtype;
    ufi_shape shape;
    bool has_shape;
} value_info;

/* TypeProto.Tensor */
static uf_status read_tensor_type(onnx_import *m, ufi_proto p, value_info *v)
{
    ufi_proto_field f;
    uf_status st;
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        if (f.number == 1 && f.wire == UFI_WIRE_VARINT) {
            v->dtype = ufi_onnx_dtype(f.value);
        } else if (f.number == 2 && f.wire == UFI_WIRE_BYTES) {
            v->has_shape = true;
            if ((st = read_shape(m, f.bytes, &v->shape)))
                return st;
        }
    }
    return st;
}

static uf_status read_value_info(onnx_import *m, ufi_proto p, value_info *v)
{
    ufi_proto_field f, t;
    uf_status st;
    *v = (value_info){0};
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        if (f.wire != UFI_WIRE_BYTES)
            continue;
        if (f.number == 1)
            v->name = f.bytes;
        if (f.number != 2)
            continue;
        ufi_proto type = f.bytes;
        while (!(st = ufi_proto_next(&type, &t, m->err)) && t.number)
            if (t.number == 1 && t.wire == UFI_WIRE_BYTES && (st = read_tensor_type(m, t.bytes, v)))
                return st;
        if (st)
            return st;
    }
    return st;
}

typedef struct io_list {
    uint32_t ids[UFI_MAX_NODE_IO];
    uint32_t count;
} io_list;

static uf_status add_graph_io(onnx_import *m, ufi_proto p, io_list *list, bool is_input)
{
    value_info v;
    uint32_t id;
    char name[80];
    uf_status st = read_value_info(m, p, &v);
    if (!st)
        st = onnx_value(m, &v.name, &id);
    if (st)
        return st;
    if (id == UFI_NONE)
        return ufi_fail(m->err, UF_E_FORMAT, "a graph input or output has no name");
    ufi_proto_text(&v.name, name, sizeof name);
    if (is_input && m->g->values[id].data)
        return UF_OK; /* initialisers were inputs as well until IR version 3 */
    if (list->count == UFI_MAX_NODE_IO)
        return ufi_fail(m->err, UF_E_LIMIT, "more than %u graph inputs or outputs",
                        UFI_MAX_NODE_IO);
    list->ids[list->count++] = id;
    if (!is_input)
        return UF_OK;
    if (v.dtype == UF_DTYPE_NONE || !v.has_shape)
        return ufi_fail(m->err, UF_E_UNSUPPORTED,
                        "graph input \"%s\" has no tensor type and rank that are supported", name);
    m->g->values[id].dtype = v.dtype;
    m->g->values[id].shape = v.shape;
    m->g->values[id].has_shape = true;
    return UF_OK;
}

/* ---- the graph ---- */

enum {
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    GRAPH_SPARSE_INITIALIZER = 15
};

static uf_status add_initializer(onnx_import *m, ufi_proto p)
{
    ufi_tensor t;
    ufi_proto name = {p.at, p.at, p.file};
    uint32_t id;
    uf_status st = onnx_tensor(m, p, &t, &name);
    if (!st)
        st = onnx_value(m, &name, &id);
    if (!st && id == UFI_NONE)
        st = ufi_fail(m->err, UF_E_FORMAT, "an initializer has no name");
    return st ? st : onnx_set_constant(m, id, &t);
}

typedef struct graph_walk {
    io_list inputs, outputs;
    onnx_node *node;
} graph_walk;

/* The part of the graph that this pass over its fields is about. */
static uf_status take_field(onnx_import *m, const ufi_proto_field *f, uint32_t wanted,
                            graph_walk *w)
{
    if (f->wire != UFI_WIRE_BYTES)
        return UF_OK;
    if (f->number == GRAPH_SPARSE_INITIALIZER)
        return ufi_fail(m->err, UF_E_UNSUPPORTED, "sparse initializers are not supported");
    if (f->number != wanted)
        return UF_OK;
    if (wanted == GRAPH_INITIALIZER)
        return add_initializer(m, f->bytes);
    if (wanted == GRAPH_INPUT || wanted == GRAPH_OUTPUT)
        return add_graph_io(m, f->bytes, wanted == GRAPH_INPUT ? &w->inputs : &w->outputs,
                            wanted == GRAPH_INPUT);
    uf_status st = onnx_node_read(m, f->bytes, w->node);
    return st ? st : onnx_node_add(m, w->node);
}

static uf_status read_graph(onnx_import *m, ufi_proto p)
{
    /* Old forms look at constants, so these come first; Constant nodes come as they stand. */
    static const uint32_t order[] = {GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_NODE, GRAPH_OUTPUT};
    uf_status st = UF_OK;
    graph_walk *w = ufi_calloc(1, sizeof *w);
    onnx_node *node = ufi_calloc(1, sizeof *node);
    if (!w || !node)
        st = ufi_fail(m->err, UF_E_NOMEM, "no memory for a graph");
    if (w)
        w->node = node;
    for (size_t i = 0; !st && i < sizeof order / sizeof *order; i++) {
        ufi_proto fields = p;
        ufi_proto_field f;
        while (!st && !(st = ufi_proto_next(&fields, &f, m->err)) && f.number)
            st = take_field(m, &f, order[i], w);
    }
    if (!st)
        st = ufi_graph_set_io(m->g, w->inputs.ids, w->inputs.count, w->outputs.ids,
                              w->outputs.count, m->err);
    ufi_free(node);
    ufi_free(w);
    return st;
}

/* ---- the model ---- */

typedef struct model_fields {
    ufi_proto graph, producer, producer_version, graph_name;
    bool has_graph;
} model_fields;

static uf_status read_opset(onnx_import *m, ufi_proto p)
{
    ufi_proto_field f;
    uf_status st;
    ufi_proto domain = {p.at, p.at, p.file};
    int64_t version = 0;
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        if (f.number == 1 && f.wire == UFI_WIRE_BYTES)
            domain = f.bytes;
        else if (f.number == 2 && f.wire == UFI_WIRE_VARINT)
            version = (int64_t)f.value;
    }
    if (st)
        return st;
    if (ufi_proto_is(&domain, "") || ufi_proto_is(&domain, "ai.onnx"))
        m->opset = version;
    else if (ufi_proto_is(&domain, "com.microsoft"))
        m->ms_opset = version;
    return UF_OK;
}

static uf_status read_model(onnx_import *m, ufi_proto p, model_fields *fields)
{
    ufi_proto_field f;
    uf_status st;
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        if (f.wire != UFI_WIRE_BYTES)
            continue;
        if (f.number == 2)
            fields->producer = f.bytes;
        else if (f.number == 3)
            fields->producer_version = f.bytes;
        else if (f.number == 7)
            fields->graph = f.bytes, fields->has_graph = true;
        else if (f.number == 8 && (st = read_opset(m, f.bytes)))
            return st;
        else if (f.number == 25)
            return ufi_fail(m->err, UF_E_UNSUPPORTED, "model-local functions are not supported");
    }
    if (st)
        return st;
    if (!fields->has_graph || !m->opset)
        return ufi_fail(m->err, UF_E_FORMAT, "this is no ONNX model (no graph or no opset)");
    if (m->opset < OLDEST_OPSET)
        return ufi_fail(m->err, UF_E_UNSUPPORTED,
                        "opset %lld; %d is the oldest supported: export the model again",
                        (long long)m->opset, OLDEST_OPSET);
    return UF_OK;
}

static uf_status set_source(ufi_model_file *out, const onnx_import *m, const model_fields *f,
                            const void *data, size_t size, uf_error *err)
{
    char producer[128] = "", version[64] = "", text[256];
    uint8_t digest[UFI_SHA256_BYTES];
    char hex[2 * UFI_SHA256_BYTES + 1];
    if (f->producer.at)
        ufi_proto_text(&f->producer, producer, sizeof producer);
    if (f->producer_version.at)
        ufi_proto_text(&f->producer_version, version, sizeof version);
    snprintf(text, sizeof text, "%s%s%s", producer[0] ? producer : "unknown", version[0] ? " " : "",
             version);
    uf_status st = ufi_meta_set(&out->meta, "source.format", "onnx", err);
    if (!st)
        st = ufi_meta_set(&out->meta, "source.producer", text, err);
    snprintf(text, sizeof text, "%lld", (long long)m->opset);
    if (!st)
        st = ufi_meta_set(&out->meta, "source.opset", text, err);
    ufi_sha256_of(data, size, digest);
    ufi_file_map_expect(&out->map, 0, size, digest);
    ufi_hex(digest, sizeof digest, hex);
    return st ? st : ufi_meta_set(&out->meta, "source.digest", hex, err);
}

/* `data` outlives the graph. */
static uf_status import_bytes(ufi_model_file *out, const void *data, size_t size, bool optimize,
                              uf_error *err)
{
    onnx_import m = {.g = &out->graph, .err = err};
    model_fields fields = {.has_graph = false};
    const uint8_t *p = data;
    if (ufm_is(data, size))
        return ufi_fail(err, UF_E_FORMAT,
                        "this is a .ufm model already; ONNX and OpenVINO networks are imported");
    uf_status st = read_model(&m, (ufi_proto){p, p + size, p}, &fields);
    if (st == UF_E_FORMAT)
        ufi_wrap(err, st, "no ONNX network, or a damaged one");
    if (!st)
        st = read_graph(&m, fields.graph);
    ufi_free(m.slots);
    if (!st)
        st = ufi_model_file_settle(out, optimize, err);
    if (!st)
        st = set_source(out, &m, &fields, data, size, err);
    return st ? st : ufi_model_file_seal(out, err);
}

/* Constants that lie in the copy `m->bytes` of the file move to the map of it, and the copy goes:
 * the pages of a map need not stay in memory. */
static void move_to_map(ufi_model_file *m)
{
    uintptr_t from = (uintptr_t)m->bytes;
    for (uint32_t i = 0; i < m->graph.value_count; i++) {
        ufi_value *v = &m->graph.values[i];
        uintptr_t at = (uintptr_t)v->data;
        if (v->data && at >= from && at < from + m->map.size)
            v->data = m->map.data + (at - from);
    }
    ufi_free(m->bytes);
    m->bytes = NULL;
}

/* The file is read, not mapped, for the import: one that is cut short meanwhile is an error. */
uf_status ufi_onnx_import(ufi_model_file *out, const char *path, bool optimize, uf_error *err)
{
    ufi_file f;
    memset(out, 0, sizeof *out);
    ufi_graph_init(&out->graph);
    uf_status st = ufi_file_open(&f, path, UFI_MODEL_MAX_BYTES, err);
    if (st)
        return st;
    st = ufi_file_map_whole(&out->map, &f, err); /* before reading: later writes show */
    out->bytes = st ? NULL : ufi_aligned_malloc(f.size);
    if (!st)
        st = out->bytes ? ufi_file_read_at(&f, 0, out->bytes, f.size, err)
                        : ufi_fail(err, UF_E_NOMEM, "%s: no memory for %zu bytes", path, f.size);
    if (!st) {
        st = import_bytes(out, out->bytes, f.size, optimize, err);
        ufi_wrap(err, st, "%s", path);
    }
    if (!st && out->map.data) {
        move_to_map(out);
        out->graph.map = out->map;
        st = ufi_model_file_hold_small(out, &f, err);
    }
    ufi_file_close(&f);
    if (st)
        ufi_model_file_free(out);
    return st;
}

uf_status ufi_onnx_import_memory(ufi_model_file *out, const void *data, size_t size, bool optimize,
                                 uf_error *err)
{
    memset(out, 0, sizeof *out);
    ufi_graph_init(&out->graph);
    if (size > UFI_MODEL_MAX_BYTES)
        return ufi_fail(err, UF_E_LIMIT, "a model of %zu bytes", size);
    out->bytes = ufi_aligned_malloc(size ? size : 1);
    if (!out->bytes)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a model");
    if (size)
        memcpy(out->bytes, data, size);
    uf_status st = import_bytes(out, out->bytes, size, optimize, err);
    if (st)
        ufi_model_file_free(out);
    return st;
}
