/*
 * Writing `.ufm` (docs/formats/ufm.md). The bytes are a function of the model alone: no times, no
 * padding that is not zero.
 */
#include <string.h>

#include "base/mem.h"
#include "format/ufm.h"

/* ---- a growing buffer; a failure sticks ---- */

typedef struct buffer {
    uint8_t *data;
    size_t size, cap;
    bool failed;
} buffer;

static void put(buffer *b, const void *p, size_t n)
{
    if (b->failed || n == 0)
        return;
    if (b->size + n > b->cap) {
        size_t cap = b->cap ? b->cap * 2 : 4096;
        while (cap < b->size + n)
            cap *= 2;
        uint8_t *data = ufi_realloc(b->data, cap, 1);
        if (!data) {
            b->failed = true;
            return;
        }
        b->data = data;
        b->cap = cap;
    }
    memcpy(b->data + b->size, p, n);
    b->size += n;
}

static void put_int(buffer *b, uint64_t v, size_t bytes)
{
    uint8_t le[8];
    for (size_t i = 0; i < bytes; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    put(b, le, bytes);
}

static void put_text(buffer *b, const char *s, size_t length_bytes)
{
    put_int(b, strlen(s), length_bytes);
    put(b, s, strlen(s));
}

static size_t align_up(size_t n)
{
    return (n + UFM_ALIGN - 1) / UFM_ALIGN * UFM_ALIGN;
}

/* ---- sections ---- */

static void write_meta(buffer *b, const ufi_meta *m)
{
    put_int(b, m->count, 4);
    for (uint32_t i = 0; i < m->count; i++) {
        put_text(b, m->keys[i], 2);
        put_text(b, m->values[i], 4);
    }
}

static size_t constant_bytes(const ufi_value *v)
{
    ufi_tensor t = {v->dtype, UFI_PLAIN, v->shape, NULL};
    return ufi_tensor_bytes(&t);
}

static void write_value(buffer *b, const ufi_value *v, size_t *tensor_at)
{
    put_int(b, v->dtype, 1);
    put_int(b, (v->has_shape ? UFM_VALUE_HAS_SHAPE : 0) | (v->data ? UFM_VALUE_IS_CONSTANT : 0), 1);
    put_int(b, v->has_shape ? v->shape.rank : 0, 1);
    put_int(b, 0, 1);
    put_text(b, v->name, 2);
    for (uint32_t d = 0; v->has_shape && d < v->shape.rank; d++)
        put_int(b, (uint64_t)v->shape.dims[d], 8);
    if (v->data) {
        put_int(b, *tensor_at, 8);
        *tensor_at = align_up(*tensor_at + constant_bytes(v));
    }
}

static void write_attr(buffer *b, const ufi_attr *a)
{
    put_int(b, a->key, 2);
    put_int(b, a->type, 2);
    put_int(b, a->count, 4);
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t bits = 0;
        if (a->type == UFI_ATTR_INTS) {
            put_int(b, (uint64_t)a->u.ints[i], 8);
        } else if (a->type == UFI_ATTR_FLOATS) {
            memcpy(&bits, &a->u.floats[i], sizeof bits);
            put_int(b, bits, 4);
        } else {
            put(b, &a->u.string[i], 1);
        }
    }
}

static void write_node(buffer *b, const ufi_node *n)
{
    put_int(b, n->op, 2);
    put_int(b, n->in_count, 2);
    put_int(b, n->out_count, 2);
    put_int(b, n->attr_count, 2);
    put_text(b, n->name, 2);
    for (uint32_t i = 0; i < n->in_count; i++)
        put_int(b, n->in[i], 4);
    for (uint32_t i = 0; i < n->out_count; i++)
        put_int(b, n->out[i], 4);
    for (uint32_t i = 0; i < n->attr_count; i++)
        write_attr(b, &n->attrs[i]);
}

/* *tensor_bytes is the size of the tensors' section. */
static void write_graph(buffer *b, const ufi_graph *g, size_t *tensor_bytes)
{
    *tensor_bytes = 0;
    put_int(b, g->value_count, 4);
    put_int(b, g->node_count, 4);
    put_int(b, g->input_count, 4);
    put_int(b, g->output_count, 4);
    for (uint32_t i = 0; i < g->value_count; i++)
        write_value(b, &g->values[i], tensor_bytes);
    for (uint32_t i = 0; i < g->node_count; i++)
        write_node(b, &g->nodes[i]);
    for (uint32_t i = 0; i < g->input_count; i++)
        put_int(b, g->inputs[i], 4);
    for (uint32_t i = 0; i < g->output_count; i++)
        put_int(b, g->outputs[i], 4);
}

/* Calls take(arg, bytes, size) for the whole tensors' section, padding included. */
typedef void take_fn(void *arg, const void *bytes, size_t size);

static void each_tensor(const ufi_graph *g, take_fn *take, void *arg)
{
    static const uint8_t zeros[UFM_ALIGN];
    for (uint32_t i = 0; i < g->value_count; i++) {
        const ufi_value *v = &g->values[i];
        if (!v->data)
            continue;
        size_t bytes = constant_bytes(v);
        take(arg, v->data, bytes);
        take(arg, zeros, align_up(bytes) - bytes);
    }
}

static void take_hash(void *arg, const void *bytes, size_t size)
{
    ufi_sha256_update(arg, bytes, size);
}

static void take_buffer(void *arg, const void *bytes, size_t size)
{
    put(arg, bytes, size);
}

static void hash_tensors(const ufi_graph *g, uint8_t out[UFI_SHA256_BYTES])
{
    ufi_sha256 h;
    ufi_sha256_init(&h);
    each_tensor(g, take_hash, &h);
    ufi_sha256_final(&h, out);
}

void ufm_model_digest(const uint8_t graph[UFI_SHA256_BYTES],
                      const uint8_t tensors[UFI_SHA256_BYTES], uint8_t out[UFI_SHA256_BYTES])
{
    ufi_sha256 h;
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, graph, UFI_SHA256_BYTES);
    ufi_sha256_update(&h, tensors, UFI_SHA256_BYTES);
    ufi_sha256_final(&h, out);
}

static uf_status no_memory(uf_error *err)
{
    return ufi_fail(err, UF_E_NOMEM, "no memory to write a model");
}

uf_status ufi_model_file_seal(ufi_model_file *m, uf_error *err)
{
    buffer b = {0};
    size_t tensor_bytes;
    uint8_t graph[UFI_SHA256_BYTES], tensors[UFI_SHA256_BYTES];
    write_graph(&b, &m->graph, &tensor_bytes);
    if (b.failed) {
        ufi_free(b.data);
        return no_memory(err);
    }
    ufi_sha256_of(b.data, b.size, graph);
    ufi_free(b.data);
    hash_tensors(&m->graph, tensors);
    ufm_model_digest(graph, tensors, m->digest);
    return UF_OK;
}

/* ---- the file ---- */

static void pad(buffer *b)
{
    static const uint8_t zeros[UFM_ALIGN];
    put(b, zeros, align_up(b->size) - b->size);
}

typedef struct section {
    ufm_section_kind kind;
    size_t offset, size;
    uint8_t digest[UFI_SHA256_BYTES];
} section;

static void put_section(buffer *table, const section *s)
{
    put_int(table, s->kind, 4);
    put_int(table, 0, 4);
    put_int(table, s->offset, 8);
    put_int(table, s->size, 8);
    put(table, s->digest, sizeof s->digest);
    put_int(table, 0, 8);
}

/* Everything behind the section table; offsets count from the start of the file. */
static void write_body(buffer *b, const ufi_model_file *m, section sections[3])
{
    size_t tensor_bytes;
    for (int i = 0; i < 3; i++) {
        section *s = &sections[i];
        *s = (section){.kind = (ufm_section_kind)(UFM_META + i), .offset = b->size};
        if (s->kind == UFM_META)
            write_meta(b, &m->meta);
        else if (s->kind == UFM_GRAPH)
            write_graph(b, &m->graph, &tensor_bytes);
        else
            each_tensor(&m->graph, take_buffer, b);
        s->size = b->size - s->offset;
        if (!b->failed)
            ufi_sha256_of(b->data + s->offset, s->size, s->digest);
        pad(b);
    }
}

static void write_header(buffer *b, const buffer *table, size_t file_size)
{
    uint8_t digest[UFI_SHA256_BYTES];
    put(b, UFM_MAGIC, 8);
    put_int(b, UFM_MAJOR, 2);
    put_int(b, UFM_MINOR, 2);
    put_int(b, table->size / UFM_SECTION_BYTES, 4);
    put_int(b, file_size, 8);
    put_int(b, 0, 8);
    ufi_sha256_of(table->data, table->size, digest);
    put(b, digest, sizeof digest);
}

uf_status ufi_ufm_save(const ufi_model_file *m, const char *path, uf_error *err)
{
    section sections[3];
    static const uint8_t zeros[UFM_HEADER_BYTES + 3 * UFM_SECTION_BYTES];
    buffer file = {0}, head = {0}, table = {0};
    put(&file, zeros, sizeof zeros); /* header and table are written over it at the end */
    write_body(&file, m, sections);
    for (int i = 0; i < 3; i++)
        put_section(&table, &sections[i]);
    uf_status st = UF_OK;
    if (!table.failed)
        write_header(&head, &table, file.size);
    if (file.failed || table.failed || head.failed)
        st = no_memory(err);
    else if (file.size > UFI_MODEL_MAX_BYTES)
        st = ufi_fail(err, UF_E_LIMIT, "%s: a model of more than %zu bytes", path,
                      UFI_MODEL_MAX_BYTES);
    if (!st) {
        memcpy(file.data, head.data, head.size);
        memcpy(file.data + head.size, table.data, table.size);
        st = ufi_file_write(path, file.data, file.size, err);
    }
    ufi_free(file.data);
    ufi_free(head.data);
    ufi_free(table.data);
    return st;
}
