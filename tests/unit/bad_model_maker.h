/*
 * Writes `.ufm` files record by record (docs/formats/ufm.md), whole or wrong in one chosen way,
 * with digests that fit: nothing but the reader's own checks stands in the way. The good file is
 * y = x + w, of four numbers each.
 */
#ifndef UF_TESTS_BAD_MODEL_MAKER_H
#define UF_TESTS_BAD_MODEL_MAKER_H

#include <stdbool.h>

#include "base/hash.h"
#include "bytes_maker.h"
#include "graph/graph.h"

/* Where a number stands, counted from the start of its section (or of the file). */
typedef enum ufm_mark {
    /* file */
    AT_MAJOR,
    AT_SECTIONS,
    AT_FILE_SIZE,
    AT_KIND, /* of the second section */
    AT_OFFSET,
    AT_SIZE,
    /* metadata */
    AT_META_COUNT,
    AT_KEY_SIZE,
    AT_TEXT_SIZE,
    /* graph */
    AT_VALUES,
    AT_NODES,
    AT_INPUTS,
    AT_OUTPUTS,
    AT_DTYPE, /* these five of the constant w, value 1 */
    AT_FLAGS,
    AT_RANK,
    AT_NAME_SIZE,
    AT_DIM,
    AT_DATA,
    AT_OP,
    AT_NODE_INPUTS,
    AT_NODE_OUTPUTS,
    AT_NODE_ATTRS,
    AT_NODE_NAME_SIZE,
    AT_INPUT_ID,
    AT_OUTPUT_ID,
    AT_ATTR_KEY,
    AT_ATTR_TYPE,
    AT_ATTR_COUNT,
    AT_GRAPH_INPUT,
    AT_GRAPH_OUTPUT,
    MARKS
} ufm_mark;

typedef struct ufm_file {
    bytes meta, graph, tensors, whole;
    size_t at[MARKS];
    uint32_t entries, values, nodes, inputs, outputs; /* counts as they will be written */
} ufm_file;

static inline void ufm_free(ufm_file *f)
{
    bytes_free(&f->meta);
    bytes_free(&f->graph);
    bytes_free(&f->tensors);
    bytes_free(&f->whole);
}

/* ---- records ---- */

static inline void ufm_entry(ufm_file *f, const char *key, const void *text, size_t size)
{
    if (f->meta.size == 0)
        put_le(&f->meta, 0, 4); /* the count, when all are there */
    f->at[AT_KEY_SIZE] = f->meta.size;
    put_le(&f->meta, strlen(key), 2);
    put_data(&f->meta, key, strlen(key));
    f->at[AT_TEXT_SIZE] = f->meta.size;
    put_le(&f->meta, size, 4);
    put_data(&f->meta, text, size);
    f->entries++;
}

/* A value with a name of `name_size` bytes; `offset` < 0: no constant. Returns its id. */
static inline uint32_t ufm_value(ufm_file *f, const void *name, size_t name_size, uf_dtype dtype,
                                 uint8_t rank, const int64_t *dims, int64_t offset)
{
    bytes *g = &f->graph;
    if (g->size == 0)
        put_fill(g, 0, 16); /* the four counts */
    bool marked = offset >= 0 && !f->at[AT_DTYPE];
    f->at[AT_DTYPE] = marked ? g->size : f->at[AT_DTYPE];
    put_le(g, dtype, 1);
    f->at[AT_FLAGS] = marked ? g->size : f->at[AT_FLAGS];
    put_le(g, offset >= 0 ? 3 : 1, 1);
    f->at[AT_RANK] = marked ? g->size : f->at[AT_RANK];
    put_le(g, rank, 2);
    f->at[AT_NAME_SIZE] = marked ? g->size : f->at[AT_NAME_SIZE];
    put_le(g, name_size, 2);
    put_data(g, name, name_size);
    f->at[AT_DIM] = marked ? g->size : f->at[AT_DIM];
    for (uint8_t d = 0; d < rank; d++)
        put_le(g, (uint64_t)dims[d], 8);
    f->at[AT_DATA] = marked ? g->size : f->at[AT_DATA];
    if (offset >= 0)
        put_le(g, (uint64_t)offset, 8);
    return f->values++;
}

/* Numbers at the next multiple of 64. Returns their offset. */
static inline int64_t ufm_numbers(ufm_file *f, const void *data, size_t size)
{
    put_fill(&f->tensors, 0, (64 - f->tensors.size % 64) % 64);
    size_t at = f->tensors.size;
    put_data(&f->tensors, data, size);
    return (int64_t)at;
}

/* `attrs` are ready records, or NULL. */
static inline void ufm_node(ufm_file *f, unsigned op, const char *name, const uint32_t *in,
                            uint16_t in_count, const uint32_t *out, uint16_t out_count,
                            const bytes *attrs, uint16_t attr_count)
{
    bytes *g = &f->graph;
    f->at[AT_OP] = g->size;
    put_le(g, op, 2);
    f->at[AT_NODE_INPUTS] = g->size;
    put_le(g, in_count, 2);
    f->at[AT_NODE_OUTPUTS] = g->size;
    put_le(g, out_count, 2);
    f->at[AT_NODE_ATTRS] = g->size;
    put_le(g, attr_count, 2);
    f->at[AT_NODE_NAME_SIZE] = g->size;
    put_le(g, strlen(name), 2);
    put_data(g, name, strlen(name));
    f->at[AT_INPUT_ID] = g->size;
    for (uint16_t i = 0; i < in_count; i++)
        put_le(g, in[i], 4);
    f->at[AT_OUTPUT_ID] = g->size;
    for (uint16_t i = 0; i < out_count; i++)
        put_le(g, out[i], 4);
    f->at[AT_ATTR_KEY] = g->size;
    f->at[AT_ATTR_TYPE] = g->size + 2;
    f->at[AT_ATTR_COUNT] = g->size + 4;
    if (attrs)
        put_data(g, attrs->data, attrs->size);
    f->nodes++;
}

static inline void ufm_attr_ints(bytes *b, ufi_attr_key key, const int64_t *v, uint32_t count)
{
    put_le(b, key, 2);
    put_le(b, UFI_ATTR_INTS, 2);
    put_le(b, count, 4);
    for (uint32_t i = 0; i < count; i++)
        put_le(b, (uint64_t)v[i], 8);
}

static inline void ufm_attr_text(bytes *b, ufi_attr_key key, const void *text, uint32_t size)
{
    put_le(b, key, 2);
    put_le(b, UFI_ATTR_STRING, 2);
    put_le(b, size, 4);
    put_data(b, text, size);
}

static inline void ufm_io(ufm_file *f, uint32_t input, uint32_t output)
{
    f->at[AT_GRAPH_INPUT] = f->graph.size;
    put_le(&f->graph, input, 4);
    f->at[AT_GRAPH_OUTPUT] = f->graph.size;
    put_le(&f->graph, output, 4);
    f->inputs = f->outputs = 1;
}

/* ---- the file ---- */

static inline void write_le(uint8_t *to, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

/* The digest of the section table, after a row of it was changed. */
static inline void ufm_sign_table(bytes *w)
{
    ufi_sha256_of(w->data + 64, 3 * 64, w->data + 32);
}

/* Puts the sections together. Counts in meta and graph are written unless already changed. */
static inline void ufm_seal(ufm_file *f)
{
    const bytes *sections[3] = {&f->meta, &f->graph, &f->tensors};
    bytes *w = &f->whole;
    if (f->meta.size == 0)
        put_le(&f->meta, 0, 4);
    w->size = 0;
    put_data(w, "\x89UFM\r\n\x1a\n", 8);
    f->at[AT_MAJOR] = w->size;
    put_le(w, 1, 4);
    f->at[AT_SECTIONS] = w->size;
    put_le(w, 3, 4);
    f->at[AT_FILE_SIZE] = w->size;
    put_fill(w, 0, 64 - w->size + 3 * 64);
    f->at[AT_KIND] = 128;
    f->at[AT_OFFSET] = 128 + 8;
    f->at[AT_SIZE] = 128 + 16;
    for (int i = 0; i < 3; i++) {
        put_fill(w, 0, (64 - w->size % 64) % 64);
        uint8_t *row = w->data + 64 + i * 64;
        write_le(row, (uint64_t)i + 1, 4);
        write_le(row + 8, w->size, 8);
        write_le(row + 16, sections[i]->size, 8);
        if (sections[i]->size)
            ufi_sha256_of(sections[i]->data, sections[i]->size, row + 24);
        else
            ufi_sha256_of("", 0, row + 24);
        put_data(w, sections[i]->data, sections[i]->size);
    }
    write_le(w->data + f->at[AT_FILE_SIZE], w->size, 8);
    ufm_sign_table(w);
}

static inline void ufm_write_counts(ufm_file *f)
{
    static const ufm_mark marks[4] = {AT_VALUES, AT_NODES, AT_INPUTS, AT_OUTPUTS};
    const uint32_t counts[4] = {f->values, f->nodes, f->inputs, f->outputs};
    if (f->meta.size)
        write_le(f->meta.data, f->entries, 4);
    f->at[AT_META_COUNT] = 0;
    for (size_t i = 0; i < 4; i++) {
        f->at[marks[i]] = i * 4;
        write_le(f->graph.data + i * 4, counts[i], 4);
    }
}

/* One operator between x and y: what it is, what stands beside x, and its attributes. */
typedef struct ufm_operand {
    uf_dtype dtype;
    uint8_t rank;
    int64_t dims[8];
    const void *data;
    size_t bytes;
} ufm_operand;

typedef struct ufm_operator {
    ufi_op op;
    ufm_operand x, constants[4]; /* an operand of no type ends the list; x has no data */
    int x_place;                 /* which input x is */
    const bytes *attrs;
    uint16_t attr_count;
} ufm_operator;

static inline void make_operator(ufm_file *f, const ufm_operator *o)
{
    uint32_t in[5], out[1];
    uint16_t count = 0;
    const uint32_t x = ufm_value(f, "x", 1, o->x.dtype, o->x.rank, o->x.dims, -1);
    for (int i = 0; i < 4 && (o->constants[i].dtype || count == o->x_place); i++) {
        const ufm_operand *c = &o->constants[i];
        if (count == o->x_place)
            in[count++] = x;
        if (!c->dtype)
            break;
        in[count++] =
            ufm_value(f, "w", 1, c->dtype, c->rank, c->dims, ufm_numbers(f, c->data, c->bytes));
    }
    if (count == o->x_place)
        in[count++] = x;
    put_le(&f->graph, UF_DTYPE_NONE, 1); /* y: of no known shape */
    put_le(&f->graph, 0, 3);
    put_le(&f->graph, 1, 2);
    put_data(&f->graph, "y", 1);
    out[0] = f->values++;
    ufm_node(f, o->op, "the node", in, count, out, 1, o->attrs, o->attr_count);
    ufm_io(f, x, out[0]);
    ufm_write_counts(f);
    ufm_seal(f);
}

/* y = x + w, w being 1 2 3 4; with an attribute that Add does not look at. */
static inline void make_good(ufm_file *f)
{
    static const float w[4] = {1, 2, 3, 4};
    const int64_t axis[1] = {1};
    bytes attrs = {0};
    ufm_attr_ints(&attrs, UFI_ATTR_AXIS, axis, 1);
    ufm_entry(f, "task", "tensor", 6);
    make_operator(f, &(ufm_operator){.op = UFI_OP_ADD,
                                     .x = {UF_F32, 1, {4}, NULL, 0},
                                     .constants = {{UF_F32, 1, {4}, w, sizeof w}},
                                     .attrs = &attrs,
                                     .attr_count = 1});
    bytes_free(&attrs);
}

#endif
