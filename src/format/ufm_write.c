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
    bool compact; /* numbers of records are varints: since version 2 */
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

/* A number of a graph record: `bytes` wide in version 1. */
static void put_number(buffer *b, uint64_t v, size_t bytes)
{
    if (!b->compact) {
        put_int(b, v, bytes);
        return;
    }
    for (; v >= 0x80; v >>= 7)
        put_int(b, (v & 0x7F) | 0x80, 1);
    put_int(b, v, 1);
}

/* Value ids: an absent one is 0 in version 2. */
static void put_id(buffer *b, uint32_t id)
{
    put_number(b, b->compact ? (uint32_t)(id + 1) : id, 4);
}

/* Signed numbers: 0, -1, 1, -2, ... are 0, 1, 2, 3, ... in version 2. */
static void put_signed(buffer *b, int64_t v)
{
    put_number(b, b->compact ? (uint64_t)v << 1 ^ (uint64_t)(v >> 63) : (uint64_t)v, 8);
}

static size_t align_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

static size_t tensor_align(uint16_t version)
{
    return version < 2 ? UFM_ALIGN : UFM_TENSOR_ALIGN;
}

static uint16_t version_of(const ufi_model_file *m)
{
    return m->version ? m->version : UFM_MAJOR;
}

/* ---- vectors in half the space ---- */

static uint16_t to_half(uf_dtype type, float x)
{
    return type == UF_F16 ? ufi_f32_to_f16(x) : ufi_f32_to_bf16(x);
}

static bool all_survive(const ufi_value *v, uf_dtype type)
{
    const float *x = v->data;
    const int64_t count = ufi_shape_count(&v->shape);
    for (int64_t i = 0; i < count; i++) {
        const uint16_t half = to_half(type, x[i]);
        const float back = type == UF_F16 ? ufi_f16_to_f32(half) : ufi_bf16_to_f32(half);
        if (memcmp(&back, &x[i], sizeof back) != 0)
            return false;
    }
    return true;
}

/* At most one dimension is not 1. */
static bool is_vector(const ufi_shape *s)
{
    int64_t most = 1;
    for (uint32_t d = 0; d < s->rank; d++)
        most = s->dims[d] > most ? s->dims[d] : most;
    return most == ufi_shape_count(s) && most <= UFM_MAX_HALVED;
}

/* How constant `v` is stored: FP32 vectors whose numbers all are FP16 or BF16 numbers as such.
 * Weights are not, they are used in the file. */
static uf_dtype stored_type(const ufi_value *v, uint16_t version)
{
    if (version < 2 || v->dtype != UF_F32 || !is_vector(&v->shape))
        return v->dtype;
    if (all_survive(v, UF_F16))
        return UF_F16;
    return all_survive(v, UF_BF16) ? UF_BF16 : UF_F32;
}

/* ---- sections ---- */

static void write_meta(buffer *b, const ufi_meta *m)
{
    put_int(b, m->count, 4);
    for (uint32_t i = 0; i < m->count; i++) {
        put_int(b, strlen(m->keys[i]), 2);
        put(b, m->keys[i], strlen(m->keys[i]));
        put_int(b, strlen(m->values[i]), 4);
        put(b, m->values[i], strlen(m->values[i]));
    }
}

static size_t stored_bytes(const ufi_value *v, uf_dtype type)
{
    ufi_tensor t = {type, UFI_PLAIN, v->shape, NULL};
    return ufi_tensor_bytes(&t);
}

static void put_name(buffer *b, const char *name)
{
    put_number(b, strlen(name), 2);
    put(b, name, strlen(name));
}

static void write_value(buffer *b, const ufi_value *v, uint16_t version, size_t *tensor_at)
{
    const uf_dtype stored = v->data ? stored_type(v, version) : v->dtype;
    put_int(b, v->dtype, 1);
    put_int(b, (v->has_shape ? UFM_VALUE_HAS_SHAPE : 0) | (v->data ? UFM_VALUE_IS_CONSTANT : 0), 1);
    put_int(b, v->has_shape ? v->shape.rank : 0, 1);
    put_int(b, stored == v->dtype ? 0 : stored, 1);
    put_name(b, v->name);
    for (uint32_t d = 0; v->has_shape && d < v->shape.rank; d++)
        put_signed(b, v->shape.dims[d]);
    if (v->data) {
        put_number(b, *tensor_at, 8);
        *tensor_at = align_up(*tensor_at + stored_bytes(v, stored), tensor_align(version));
    }
}

static void write_attr(buffer *b, const ufi_attr *a)
{
    put_number(b, a->key, 2);
    put_number(b, a->type, 2);
    put_number(b, a->count, 4);
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t bits = 0;
        if (a->type == UFI_ATTR_INTS) {
            put_signed(b, a->u.ints[i]);
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
    put_number(b, n->op, 2);
    put_number(b, n->in_count, 2);
    put_number(b, n->out_count, 2);
    put_number(b, n->attr_count, 2);
    put_name(b, n->name);
    for (uint32_t i = 0; i < n->in_count; i++)
        put_id(b, n->in[i]);
    for (uint32_t i = 0; i < n->out_count; i++)
        put_id(b, n->out[i]);
    for (uint32_t i = 0; i < n->attr_count; i++)
        write_attr(b, &n->attrs[i]);
}

static void write_graph(buffer *b, const ufi_graph *g, uint16_t version)
{
    size_t tensor_at = 0;
    b->compact = version >= 2;
    put_number(b, g->value_count, 4);
    put_number(b, g->node_count, 4);
    put_number(b, g->input_count, 4);
    put_number(b, g->output_count, 4);
    for (uint32_t i = 0; i < g->value_count; i++)
        write_value(b, &g->values[i], version, &tensor_at);
    for (uint32_t i = 0; i < g->node_count; i++)
        write_node(b, &g->nodes[i]);
    for (uint32_t i = 0; i < g->input_count; i++)
        put_id(b, g->inputs[i]);
    for (uint32_t i = 0; i < g->output_count; i++)
        put_id(b, g->outputs[i]);
    b->compact = false;
}

/* Calls take(arg, bytes, size) for the whole tensors' section, padding included. */
typedef void take_fn(void *arg, const void *bytes, size_t size);

static void each_tensor(const ufi_graph *g, uint16_t version, take_fn *take, void *arg)
{
    static const uint8_t zeros[UFM_ALIGN];
    uint16_t halves[UFM_MAX_HALVED];
    for (uint32_t i = 0; i < g->value_count; i++) {
        const ufi_value *v = &g->values[i];
        if (!v->data)
            continue;
        const uf_dtype stored = stored_type(v, version);
        const size_t bytes = stored_bytes(v, stored);
        for (size_t k = 0; stored != v->dtype && k < bytes / sizeof *halves; k++)
            halves[k] = to_half(stored, ((const float *)v->data)[k]);
        take(arg, stored == v->dtype ? v->data : halves, bytes);
        take(arg, zeros, align_up(bytes, tensor_align(version)) - bytes);
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

static void hash_tensors(const ufi_graph *g, uint16_t version, uint8_t out[UFI_SHA256_BYTES])
{
    ufi_sha256 h;
    ufi_sha256_init(&h);
    each_tensor(g, version, take_hash, &h);
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

/* Digests of the sections that would be written. */
static uf_status digests_of(const ufi_model_file *m, ufi_digests out, uf_error *err)
{
    buffer meta = {0}, graph = {0};
    write_meta(&meta, &m->meta);
    write_graph(&graph, &m->graph, version_of(m));
    const bool failed = meta.failed || graph.failed;
    if (!failed) {
        ufi_sha256_of(meta.data, meta.size, out[UFM_META - 1]);
        ufi_sha256_of(graph.data, graph.size, out[UFM_GRAPH - 1]);
        hash_tensors(&m->graph, version_of(m), out[UFM_TENSORS - 1]);
    }
    ufi_free(meta.data);
    ufi_free(graph.data);
    return failed ? no_memory(err) : UF_OK;
}

uf_status ufi_model_file_seal(ufi_model_file *m, uf_error *err)
{
    ufi_digests d;
    uf_status st = digests_of(m, d, err);
    if (!st)
        ufm_model_digest(d[UFM_GRAPH - 1], d[UFM_TENSORS - 1], m->digest);
    return st;
}

/* ---- the file ---- */

static void pad(buffer *b)
{
    static const uint8_t zeros[UFM_ALIGN];
    put(b, zeros, align_up(b->size, UFM_ALIGN) - b->size);
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

static void put_signature(buffer *b, const ufi_signature *s)
{
    uint8_t record[UFI_SIGNATURE_BYTES + UFI_SIGNER_MAX];
    put(b, record, ufi_signature_write(s, record));
}

/* Everything behind the section table; offsets count from the start of the file. */
static void write_body(buffer *b, const ufi_model_file *m, section *sections, int count)
{
    for (int i = 0; i < count; i++) {
        section *s = &sections[i];
        *s = (section){.kind = (ufm_section_kind)(UFM_META + i), .offset = b->size};
        if (s->kind == UFM_META)
            write_meta(b, &m->meta);
        else if (s->kind == UFM_GRAPH)
            write_graph(b, &m->graph, version_of(m));
        else if (s->kind == UFM_TENSORS)
            each_tensor(&m->graph, version_of(m), take_buffer, b);
        else
            put_signature(b, &m->signature);
        s->size = b->size - s->offset;
        if (!b->failed)
            ufi_sha256_of(b->data + s->offset, s->size, s->digest);
        pad(b);
    }
}

static void write_header(buffer *b, const buffer *table, uint16_t version, size_t file_size)
{
    uint8_t digest[UFI_SHA256_BYTES];
    put(b, UFM_MAGIC, 8);
    put_int(b, version, 2);
    put_int(b, UFM_MINOR, 2);
    put_int(b, table->size / UFM_SECTION_BYTES, 4);
    put_int(b, file_size, 8);
    put_int(b, 0, 8);
    ufi_sha256_of(table->data, table->size, digest);
    put(b, digest, sizeof digest);
}

/* Whether the model's signature is of what is written. */
static bool keeps_signature(const ufi_model_file *m)
{
    const ufi_signature *s = &m->signature;
    ufi_digests now;
    return (s->state == UFI_SIGNED || s->state == UFI_SIGNED_UNCHECKED) &&
           s->version == version_of(m) && !digests_of(m, now, NULL) &&
           !memcmp(now, s->digests, sizeof now);
}

static uf_status join(buffer *file, const ufi_model_file *m, int count, uf_error *err)
{
    section sections[UFM_KINDS];
    static const uint8_t zeros[UFM_HEADER_BYTES + UFM_KINDS * UFM_SECTION_BYTES];
    buffer head = {0}, table = {0};
    const size_t head_size = UFM_HEADER_BYTES + (size_t)count * UFM_SECTION_BYTES;
    put(file, zeros, head_size); /* header and table are written over it at the end */
    write_body(file, m, sections, count);
    for (int i = 0; i < count; i++)
        put_section(&table, &sections[i]);
    if (!table.failed)
        write_header(&head, &table, version_of(m), file->size);
    const bool failed = file->failed || table.failed || head.failed;
    if (!failed) {
        memcpy(file->data, head.data, head.size);
        memcpy(file->data + head.size, table.data, table.size);
    }
    ufi_free(head.data);
    ufi_free(table.data);
    return failed ? no_memory(err) : UF_OK;
}

uf_status ufi_ufm_save(const ufi_model_file *m, const char *path, uf_error *err)
{
    buffer file = {0};
    uf_status st = join(&file, m, keeps_signature(m) ? UFM_SIGNATURE : UFM_TENSORS, err);
    if (!st && file.size > UFI_MODEL_MAX_BYTES)
        st = ufi_fail(err, UF_E_LIMIT, "%s: a model of more than %zu bytes", path,
                      UFI_MODEL_MAX_BYTES);
    if (!st)
        st = ufi_file_write(path, file.data, file.size, err);
    ufi_free(file.data);
    return st;
}

uf_status ufi_ufm_sign(ufi_model_file *m, const ufi_signature *what,
                       const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err)
{
    ufi_signature s = *what;
    s.version = version_of(m);
    uf_status st = digests_of(m, s.digests, err);
    if (!st)
        st = ufi_signature_make(&s, seed, err);
    if (!st)
        m->signature = s;
    return st;
}
