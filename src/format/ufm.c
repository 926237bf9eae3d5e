/*
 * Reading `.ufm` (docs/formats/ufm.md). Nothing in the file is believed: each number is checked
 * before it is used, and the graph goes through ufi_graph_check before anybody else sees it.
 * Tensors stay where they are, in the mapped file; all that is looked at while loading is read, so
 * that a file that is cut short meanwhile is an error.
 */
#include "format/ufm.h"

#include <string.h>

#include "base/mem.h"
#include "base/reader.h"

enum {
    HEAD_BYTES = UFM_HEADER_BYTES + UFM_MAX_SECTIONS * UFM_SECTION_BYTES,
    HASH_CHUNK_BYTES = 64 << 10
};

typedef struct loader {
    ufi_model_file *m;
    const uint8_t *data;  /* the whole: mapped, and then not to be touched, or in memory */
    const ufi_file *file; /* NULL when it is in memory */
    size_t size;
    uint8_t head[HEAD_BYTES]; /* header and section table */
    struct {
        size_t offset, size;
        uint8_t digest[UFI_SHA256_BYTES];
        bool found;
        uint8_t *data; /* a copy of metadata, graph and signature */
    } sections[UFM_KINDS + 1];
    uint32_t section_count;
    uint16_t version;
    size_t halved; /* bytes of constants stored in half the space so far */
    uf_error *err;
} loader;

static uf_status copy_bytes(const loader *l, size_t offset, void *to, size_t size)
{
    if (l->file)
        return ufi_file_read_at(l->file, offset, to, size, l->err);
    if (size)
        memcpy(to, l->data + offset, size);
    return UF_OK;
}

bool ufm_is(const void *data, size_t size)
{
    return size >= 8 && memcmp(data, UFM_MAGIC, 8) == 0;
}

/* ---- header and sections ---- */

static uf_status take_section(loader *l, ufi_reader *r, uint32_t index)
{
    uint32_t kind = ufi_read_u32(r);
    ufi_reader_skip(r, 4);
    uint64_t offset = ufi_read_u64(r), size = ufi_read_u64(r);
    const uint8_t *digest = ufi_read_bytes(r, UFI_SHA256_BYTES);
    ufi_reader_skip(r, 8);
    if (r->failed)
        return ufi_fail(l->err, UF_E_FORMAT, "the section table is truncated");
    if (offset % UFM_ALIGN || offset > l->size || size > l->size - offset)
        return ufi_fail(l->err, UF_E_FORMAT,
                        "section %u (offset %llu, size %llu) does not lie in the file", index,
                        (unsigned long long)offset, (unsigned long long)size);
    if (kind < UFM_META || kind > UFM_KINDS)
        return UF_OK; /* a later version's, which this one can do without */
    if (l->sections[kind].found)
        return ufi_fail(l->err, UF_E_FORMAT, "section %u is of kind %u, which was there already",
                        index, kind);
    l->sections[kind].found = true;
    l->sections[kind].offset = (size_t)offset;
    l->sections[kind].size = (size_t)size;
    memcpy(l->sections[kind].digest, digest, UFI_SHA256_BYTES);
    return UF_OK;
}

static uf_status check_table(loader *l, const uint8_t *table_digest, uint32_t count)
{
    uint8_t digest[UFI_SHA256_BYTES];
    ufi_sha256_of(l->head + UFM_HEADER_BYTES, (size_t)count * UFM_SECTION_BYTES, digest);
    if (memcmp(digest, table_digest, sizeof digest) != 0)
        return ufi_fail(l->err, UF_E_FORMAT,
                        "the section table does not match its digest: the file "
                        "is damaged");
    return UF_OK;
}

static uf_status read_header(loader *l)
{
    ufi_reader r;
    size_t head_size = l->size < HEAD_BYTES ? l->size : HEAD_BYTES;
    uf_status st = copy_bytes(l, 0, l->head, head_size);
    if (st)
        return st;
    ufi_reader_init(&r, l->head, head_size);
    ufi_reader_skip(&r, 8);
    uint16_t major = ufi_read_u16(&r);
    ufi_reader_skip(&r, 2);
    uint32_t count = ufi_read_u32(&r);
    uint64_t file_size = ufi_read_u64(&r);
    ufi_reader_skip(&r, 8);
    const uint8_t *table_digest = ufi_read_bytes(&r, UFI_SHA256_BYTES);
    if (!ufm_is(l->head, head_size))
        return ufi_fail(l->err, UF_E_FORMAT, "this is no .ufm model");
    if (r.failed)
        return ufi_fail(l->err, UF_E_FORMAT, "the header is truncated");
    if (major < 1 || major > UFM_MAJOR)
        return ufi_fail(l->err, UF_E_UNSUPPORTED, "format version %u; this program reads 1 to %d",
                        major, UFM_MAJOR);
    l->version = major;
    l->section_count = count;
    if (file_size != l->size)
        return ufi_fail(l->err, UF_E_FORMAT, "the file has %zu bytes, its header says %llu",
                        l->size, (unsigned long long)file_size);
    if (count > UFM_MAX_SECTIONS || (l->size - UFM_HEADER_BYTES) / UFM_SECTION_BYTES < count)
        return ufi_fail(l->err, UF_E_FORMAT, "%u sections", count);
    st = check_table(l, table_digest, count);
    for (uint32_t i = 0; !st && i < count; i++)
        st = take_section(l, &r, i);
    for (int k = UFM_META; !st && k <= UFM_TENSORS; k++)
        if (!l->sections[k].found)
            st = ufi_fail(l->err, UF_E_FORMAT, "there is no section of kind %d", k);
    return st;
}

static uf_status compare_digest(const loader *l, ufm_section_kind kind, ufi_sha256 *h,
                                const char *name)
{
    uint8_t digest[UFI_SHA256_BYTES];
    ufi_sha256_final(h, digest);
    if (memcmp(digest, l->sections[kind].digest, sizeof digest) != 0)
        return ufi_fail(l->err, UF_E_FORMAT,
                        "the %s do not match their digest: the file is damaged", name);
    return UF_OK;
}

/* Metadata and graph records are small next to the tensors, and copied. */
static uf_status fetch_section(loader *l, ufm_section_kind kind, size_t max_bytes, const char *name)
{
    ufi_sha256 h;
    size_t size = l->sections[kind].size;
    if (size > max_bytes)
        return ufi_fail(l->err, UF_E_LIMIT, "the %s take %zu bytes, the limit is %zu", name, size,
                        max_bytes);
    uint8_t *copy = l->sections[kind].data = ufi_malloc(size, 1);
    if (!copy)
        return ufi_fail(l->err, UF_E_NOMEM, "no memory for the %s", name);
    uf_status st = copy_bytes(l, l->sections[kind].offset, copy, size);
    if (st)
        return st;
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, copy, size);
    return compare_digest(l, kind, &h, name);
}

static uf_status check_tensors(const loader *l)
{
    ufi_sha256 h;
    size_t at = l->sections[UFM_TENSORS].offset, left = l->sections[UFM_TENSORS].size;
    ufi_sha256_init(&h);
    if (!l->file) {
        ufi_sha256_update(&h, l->data + at, left);
        return compare_digest(l, UFM_TENSORS, &h, "tensors");
    }
    uint8_t *chunk = ufi_malloc(HASH_CHUNK_BYTES, 1);
    uf_status st = chunk ? UF_OK : ufi_fail(l->err, UF_E_NOMEM, "no memory for a model");
    while (!st && left) {
        size_t now = left < HASH_CHUNK_BYTES ? left : HASH_CHUNK_BYTES;
        st = ufi_file_read_at(l->file, at, chunk, now, l->err);
        if (!st)
            ufi_sha256_update(&h, chunk, now);
        at += now;
        left -= now;
    }
    ufi_free(chunk);
    return st ? st : compare_digest(l, UFM_TENSORS, &h, "tensors");
}

static ufi_reader section_reader(const loader *l, ufm_section_kind kind)
{
    ufi_reader r;
    ufi_reader_init(&r, l->sections[kind].data, l->sections[kind].size);
    return r;
}

/* ---- signature ---- */

static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i])
            return false;
    return true;
}

/* The bytes between the end of a section and the next one. */
static bool gap_is_zero(const loader *l, size_t from, size_t to)
{
    uint8_t gap[UFM_ALIGN];
    return to >= from && to - from < sizeof gap && !copy_bytes(l, from, gap, to - from) &&
           all_zero(gap, to - from);
}

/* A signed file holds nothing that the signature does not cover: its four sections in their order,
 * one after the other, and zeros wherever readers do not look. */
static bool holds_nothing_else(const loader *l)
{
    size_t end = UFM_HEADER_BYTES + UFM_KINDS * UFM_SECTION_BYTES;
    bool ok =
        l->section_count == UFM_KINDS && all_zero(l->head + 10, 2) && all_zero(l->head + 24, 8);
    for (size_t k = UFM_META; ok && k <= UFM_KINDS; k++) {
        const uint8_t *row = l->head + UFM_HEADER_BYTES + (k - 1) * UFM_SECTION_BYTES;
        ok = row[0] == k && all_zero(row + 4, 4) && all_zero(row + 56, 8) &&
             gap_is_zero(l, end, l->sections[k].offset);
        end = l->sections[k].offset + l->sections[k].size;
    }
    return ok && l->size % UFM_ALIGN == 0 && gap_is_zero(l, end, l->size);
}

static uf_status read_signature(loader *l)
{
    ufi_signature *s = &l->m->signature;
    if (!l->sections[UFM_SIGNATURE].found)
        return UF_OK;
    uf_status st = fetch_section(l, UFM_SIGNATURE, UFI_SIGNATURE_BYTES + UFI_SIGNER_MAX,
                                 "bytes of the signature");
    if (st)
        return st;
    s->version = l->version;
    for (int k = UFM_META; k <= UFM_TENSORS; k++)
        memcpy(s->digests[k - 1], l->sections[k].digest, UFI_SHA256_BYTES);
    st = ufi_signature_read(s, l->sections[UFM_SIGNATURE].data, l->sections[UFM_SIGNATURE].size,
                            l->err);
    if (!st && !holds_nothing_else(l))
        s->state = UFI_SIGNED_WRONGLY;
    return st;
}

/* ---- metadata ---- */

static uf_status read_meta(loader *l)
{
    ufi_reader r = section_reader(l, UFM_META);
    uint32_t count = ufi_read_u32(&r);
    if (count > UFI_META_MAX_ENTRIES)
        return ufi_fail(l->err, UF_E_LIMIT, "%u metadata entries", count);
    for (uint32_t i = 0; i < count; i++) {
        size_t key_size = ufi_read_u16(&r);
        const uint8_t *key = ufi_read_bytes(&r, key_size);
        size_t value_size = ufi_read_u32(&r);
        const uint8_t *value = ufi_read_bytes(&r, value_size);
        if (r.failed || key_size > 64 || value_size > UFI_META_MAX_VALUE_BYTES ||
            (value_size && memchr(value, 0, value_size)))
            return ufi_fail(l->err, UF_E_FORMAT, "metadata entry %u is malformed", i);
        char *k = ufi_strndup((const char *)key, key_size);
        char *v = ufi_strndup((const char *)value, value_size);
        uf_status st = !k || !v ? ufi_fail(l->err, UF_E_NOMEM, "no memory for metadata")
                       : ufi_meta_get(&l->m->meta, k)
                           ? ufi_fail(l->err, UF_E_FORMAT, "metadata \"%s\" is there twice", k)
                           : ufi_meta_set(&l->m->meta, k, v, l->err);
        ufi_free(k);
        ufi_free(v);
        if (st)
            return st == UF_E_ARG ? UF_E_FORMAT : st;
    }
    if (r.failed || ufi_reader_left(&r))
        return ufi_fail(l->err, UF_E_FORMAT, "the metadata section has the wrong size");
    return UF_OK;
}

/* ---- graph ---- */

static uf_status malformed(const loader *l, const char *what, uint32_t index)
{
    return ufi_fail(l->err, UF_E_FORMAT, "%s %u is malformed", what, index);
}

/* A number of a record: `bytes` (2, 4 or 8) wide in version 1, a varint that fits since. */
static uint64_t read_number(const loader *l, ufi_reader *r, int bytes)
{
    if (l->version < 2)
        return bytes == 2 ? ufi_read_u16(r) : bytes == 4 ? ufi_read_u32(r) : ufi_read_u64(r);
    const uint64_t v = ufi_read_varint(r);
    if (bytes == 8 || v >> 8 * bytes == 0)
        return v;
    r->failed = true;
    return 0;
}

static int64_t read_signed(const loader *l, ufi_reader *r)
{
    const uint64_t v = read_number(l, r, 8);
    return (int64_t)(l->version < 2 ? v : v >> 1 ^ (0 - (v & 1)));
}

/* A name without NUL, in text[UFI_MAX_NAME_BYTES + 1]. */
static bool read_name(const loader *l, ufi_reader *r, char *text)
{
    size_t n = (size_t)read_number(l, r, 2);
    const uint8_t *p = ufi_read_bytes(r, n);
    if (r->failed || n > UFI_MAX_NAME_BYTES || (n && memchr(p, 0, n)))
        return false;
    if (n)
        memcpy(text, p, n);
    text[n] = '\0';
    return true;
}

/* Constant `v` of FP32, stored as FP16 or BF16 at `at`. */
static uf_status widen_constant(loader *l, ufi_value *v, uf_dtype stored, const uint8_t *at)
{
    const size_t count = (size_t)ufi_shape_count(&v->shape);
    float *out = ufi_arena_alloc(&l->m->graph.arena, count + 1, sizeof *out);
    if (!out)
        return ufi_fail(l->err, UF_E_NOMEM, "no memory for constants");
    for (size_t i = 0; i < count; i++) {
        const uint16_t half = (uint16_t)(at[2 * i] | at[2 * i + 1] << 8);
        out[i] = stored == UF_F16 ? ufi_f16_to_f32(half) : ufi_bf16_to_f32(half);
    }
    v->data = out;
    return UF_OK;
}

static uf_status place_constant(loader *l, ufi_value *v, uf_dtype stored, uint64_t offset,
                                uint32_t index)
{
    const size_t base = l->sections[UFM_TENSORS].offset, room = l->sections[UFM_TENSORS].size;
    const size_t align = l->version < 2 ? UFM_ALIGN : UFM_TENSOR_ALIGN;
    ufi_tensor t = {stored, UFI_PLAIN, v->shape, NULL};
    const size_t bytes = ufi_tensor_bytes(&t);
    if (!v->has_shape || ufi_shape_count(&v->shape) < 0 || ufi_dtype_bytes(v->dtype) == 0)
        return ufi_fail(l->err, UF_E_FORMAT, "constant %u has no size", index);
    if (offset % align || offset > room || bytes > room - offset)
        return ufi_fail(l->err, UF_E_FORMAT,
                        "constant %u (offset %llu, %zu bytes) does not lie in the tensors", index,
                        (unsigned long long)offset, bytes);
    v->data = l->data + base + offset;
    if (stored == v->dtype)
        return UF_OK;
    /* Many constants on the same bytes must not make a small file a large model. */
    l->halved += bytes;
    if (ufi_shape_count(&v->shape) > UFM_MAX_HALVED || l->halved > room)
        return ufi_fail(l->err, UF_E_FORMAT, "constant %u is too large to be stored halved", index);
    return widen_constant(l, v, stored, l->data + base + offset);
}

static uf_status read_value(loader *l, ufi_reader *r, uint32_t index)
{
    char name[UFI_MAX_NAME_BYTES + 1];
    ufi_shape s = {0};
    uint32_t id;
    uint8_t dtype = ufi_read_u8(r), flags = ufi_read_u8(r);
    s.rank = ufi_read_u8(r);
    uint8_t stored = ufi_read_u8(r);
    if (l->version < 2 || !stored)
        stored = dtype;
    if (!read_name(l, r, name) || dtype > UF_BOOL || s.rank > UF_MAX_DIMS ||
        flags & ~(UFM_VALUE_HAS_SHAPE | UFM_VALUE_IS_CONSTANT) ||
        (stored != dtype && (dtype != UF_F32 || (stored != UF_F16 && stored != UF_BF16))))
        return malformed(l, "value", index);
    for (uint32_t d = 0; d < s.rank; d++) {
        s.dims[d] = read_signed(l, r);
        if (s.dims[d] < -1 || s.dims[d] > INT32_MAX)
            return malformed(l, "value", index);
    }
    uint64_t offset = flags & UFM_VALUE_IS_CONSTANT ? read_number(l, r, 8) : 0;
    if (r->failed)
        return malformed(l, "value", index);
    uf_status st = ufi_graph_add_value(&l->m->graph, name, (uf_dtype)dtype,
                                       flags & UFM_VALUE_HAS_SHAPE ? &s : NULL, &id, l->err);
    if (!st && flags & UFM_VALUE_IS_CONSTANT)
        st = place_constant(l, &l->m->graph.values[id], (uf_dtype)stored, offset, index);
    return st;
}

static uf_status read_attr(loader *l, ufi_reader *r, ufi_node *n, uint32_t index)
{
    uint16_t key = (uint16_t)read_number(l, r, 2), type = (uint16_t)read_number(l, r, 2);
    uint32_t count = (uint32_t)read_number(l, r, 4);
    size_t item = type == UFI_ATTR_INTS && l->version < 2 ? 8 : type == UFI_ATTR_FLOATS ? 4 : 1;
    if (r->failed || key >= UFI_ATTR_COUNT || type < UFI_ATTR_INTS || type > UFI_ATTR_STRING ||
        count > UFI_MAX_ATTR_ITEMS || ufi_reader_left(r) / item < count)
        return malformed(l, "an attribute of node", index);
    if (type == UFI_ATTR_STRING) {
        const char *s = (const char *)ufi_read_bytes(r, count);
        if (s && memchr(s, 0, count))
            return malformed(l, "an attribute of node", index);
        return ufi_node_set_string(&l->m->graph, n, (ufi_attr_key)key, s ? s : "", count, l->err);
    }
    int64_t *ints = ufi_malloc(count ? count : 1, sizeof *ints);
    if (!ints)
        return ufi_fail(l->err, UF_E_NOMEM, "no memory for attributes");
    float *floats = (float *)(void *)ints; /* a float is smaller */
    for (uint32_t i = 0; i < count; i++)
        if (type == UFI_ATTR_INTS)
            ints[i] = read_signed(l, r);
        else
            floats[i] = ufi_read_f32(r);
    uf_status st =
        type == UFI_ATTR_INTS
            ? ufi_node_set_ints(&l->m->graph, n, (ufi_attr_key)key, ints, count, l->err)
            : ufi_node_set_floats(&l->m->graph, n, (ufi_attr_key)key, floats, count, l->err);
    ufi_free(ints);
    return st;
}

static void read_ids(const loader *l, ufi_reader *r, uint32_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t id = (uint32_t)read_number(l, r, 4);
        ids[i] = l->version < 2 ? id : id - 1; /* 0 is none */
    }
}

static uf_status read_node(loader *l, ufi_reader *r, uint32_t index)
{
    char name[UFI_MAX_NAME_BYTES + 1];
    uint32_t in[UFI_MAX_NODE_IO], out[UFI_MAX_NODE_IO], at;
    uint16_t op = (uint16_t)read_number(l, r, 2), in_count = (uint16_t)read_number(l, r, 2);
    uint16_t out_count = (uint16_t)read_number(l, r, 2);
    uint16_t attr_count = (uint16_t)read_number(l, r, 2);
    if (!read_name(l, r, name) || op >= UFI_OP_COUNT || in_count > UFI_MAX_NODE_IO ||
        out_count > UFI_MAX_NODE_IO || attr_count > UFI_ATTR_COUNT)
        return malformed(l, "node", index);
    read_ids(l, r, in, in_count);
    read_ids(l, r, out, out_count);
    if (r->failed)
        return malformed(l, "node", index);
    uf_status st = ufi_graph_add_node(&l->m->graph, (ufi_op)op, name, in, in_count, out, out_count,
                                      &at, l->err);
    for (uint32_t i = 0; !st && i < attr_count; i++)
        st = read_attr(l, r, &l->m->graph.nodes[at], index);
    return st;
}

static uf_status read_graph(loader *l)
{
    ufi_reader r = section_reader(l, UFM_GRAPH);
    uint32_t values = (uint32_t)read_number(l, &r, 4), nodes = (uint32_t)read_number(l, &r, 4);
    uint32_t in[UFI_MAX_NODE_IO], out[UFI_MAX_NODE_IO];
    uint32_t in_count = (uint32_t)read_number(l, &r, 4);
    uint32_t out_count = (uint32_t)read_number(l, &r, 4);
    if (r.failed || values > UFI_MAX_VALUES || nodes > UFI_MAX_NODES ||
        in_count > UFI_MAX_NODE_IO || out_count > UFI_MAX_NODE_IO)
        return ufi_fail(l->err, UF_E_LIMIT, "%u values, %u nodes, %u inputs, %u outputs", values,
                        nodes, in_count, out_count);
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < values; i++)
        st = read_value(l, &r, i);
    for (uint32_t i = 0; !st && i < nodes; i++)
        st = read_node(l, &r, i);
    if (st)
        return st;
    read_ids(l, &r, in, in_count);
    read_ids(l, &r, out, out_count);
    if (r.failed || ufi_reader_left(&r))
        return ufi_fail(l->err, UF_E_FORMAT, "the graph section has the wrong size");
    st = ufi_graph_set_io(&l->m->graph, in, in_count, out, out_count, l->err);
    return st ? st : ufi_graph_check(&l->m->graph, l->err);
}

/* ---- the file ---- */

/* The sections of `data`, or, where `file` is given, of the file that is mapped there. */
static uf_status load(ufi_model_file *m, const uint8_t *data, const ufi_file *file, size_t size,
                      bool verify, uf_error *err)
{
    loader *l = ufi_calloc(1, sizeof *l);
    if (!l)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a model");
    l->m = m;
    l->data = data;
    l->file = file;
    l->size = size;
    l->err = err;
    uf_status st = read_header(l);
    if (!st)
        st = fetch_section(l, UFM_META, UFM_MAX_META_BYTES, "metadata");
    if (!st)
        st = fetch_section(l, UFM_GRAPH, UFM_MAX_GRAPH_BYTES, "graph records");
    if (!st && (verify || l->sections[UFM_SIGNATURE].found))
        st = check_tensors(l);
    if (!st)
        st = read_signature(l);
    if (!st)
        st = read_meta(l);
    if (!st)
        st = read_graph(l);
    m->version = l->version;
    if (!st)
        ufm_model_digest(l->sections[UFM_GRAPH].digest, l->sections[UFM_TENSORS].digest, m->digest);
    if (!st)
        ufi_file_map_expect(&m->map, l->sections[UFM_TENSORS].offset, l->sections[UFM_TENSORS].size,
                            l->sections[UFM_TENSORS].digest);
    for (int k = UFM_META; k <= UFM_KINDS; k++)
        ufi_free(l->sections[k].data);
    ufi_free(l);
    return st;
}

uf_status ufi_ufm_load(ufi_model_file *out, const char *path, bool verify_digests, uf_error *err)
{
    ufi_file f;
    memset(out, 0, sizeof *out);
    ufi_graph_init(&out->graph);
    uf_status st = ufi_file_open(&f, path, UFI_MODEL_MAX_BYTES, err);
    if (st)
        return st;
    st = ufi_file_map_whole(&out->map, &f, err);
    if (!st) {
        out->graph.map = out->map;
        st = load(out, out->map.data, &f, f.size, verify_digests, err);
        if (!st)
            st = ufi_model_file_hold_small(out, &f, err);
        if (st && st != UF_E_IO) /* those name the path */
            ufi_wrap(err, st, "%s", path);
    }
    ufi_file_close(&f);
    if (st)
        ufi_model_file_free(out);
    return st;
}

uf_status ufi_ufm_load_memory(ufi_model_file *out, const void *data, size_t size,
                              bool verify_digests, uf_error *err)
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
    uf_status st = load(out, out->bytes, NULL, size, verify_digests, err);
    if (st)
        ufi_model_file_free(out);
    return st;
}
