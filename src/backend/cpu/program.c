/*
 * Packed weights. Each constant is packed once per program, under a lock, when the first plan asks
 * for it; later plans and other contexts find it by the address of its data. Packing is most of the
 * start-up time, so nothing is packed that no plan uses.
 */
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/cpu.h"
#include "base/mem.h"

enum {
    MORE_BYTES = 1 << 20,      /* a block behind the first */
    RELEASED_BYTES = 64 << 10, /* weights that leave memory when their form is made */
};

typedef struct packed {
    const void *data;
    ufi_shape shape; /* constants of several shapes may share their bytes */
    cpu_pack_kind kind;
    uint32_t n;
    void *form;
    size_t bytes;
} packed;

/* Forms lie one after the other in few blocks, so that these can be of huge pages: touching memory
 * in pages of 4 KiB costs more than packing. */
typedef struct block {
    uint8_t *data;
    size_t used, size;
} block;

struct cpu_program {
    const ufi_graph *graph; /* the caller's, or `widened` */
    ufi_graph widened;
    bool exact; /* FP32 is computed by FP32 instructions */
    ufi_mutex *mutex;
    packed *entries; /* everything below: under the mutex */
    size_t count, cap;
    block *blocks;
    size_t block_count;
    size_t bytes;
};

const ufi_graph *cpu_program_graph(const cpu_program *p)
{
    return p->graph;
}

/* ---- weights stored in half precision: widened once for all plans ---- */

static bool is_half_constant(const ufi_graph *g, const ufi_node *n)
{
    if (n->op != UFI_OP_CAST || n->out[0] == UFI_NONE)
        return false;
    const ufi_value *v = &g->values[n->in[0]];
    return v->data && (v->dtype == UF_F16 || v->dtype == UF_BF16) &&
           ufi_node_int(n, UFI_ATTR_TO, 0) == UF_F32;
}

static uf_status widen_constant(ufi_graph *g, const ufi_node *n, uf_error *err)
{
    const ufi_value *from = &g->values[n->in[0]];
    ufi_value *to = &g->values[n->out[0]];
    const size_t count = (size_t)ufi_shape_count(&from->shape);
    const uint16_t *half = from->data;
    float *wide = ufi_arena_alloc(&g->arena, count + 1, sizeof *wide);
    if (!wide)
        return ufi_fail(err, UF_E_NOMEM, "no memory for widened weights");
    for (size_t i = 0; i < count; i++)
        wide[i] = from->dtype == UF_F16 ? ufi_f16_to_f32(half[i]) : ufi_bf16_to_f32(half[i]);
    to->data = wide;
    to->dtype = UF_F32;
    to->shape = from->shape;
    to->has_shape = true;
    return UF_OK;
}

static uf_status widen_constants(cpu_program *p, uf_error *err)
{
    bool any = false;
    for (uint32_t i = 0; !any && i < p->graph->node_count; i++)
        any = is_half_constant(p->graph, &p->graph->nodes[i]);
    if (!any)
        return UF_OK;
    uf_status st = ufi_graph_clone(&p->widened, p->graph, err);
    p->widened.map = p->graph->map; /* the program ends before it */
    for (uint32_t i = 0; !st && i < p->widened.node_count; i++)
        if (is_half_constant(&p->widened, &p->widened.nodes[i]))
            st = widen_constant(&p->widened, &p->widened.nodes[i], err);
    p->graph = &p->widened;
    return st;
}

bool cpu_program_is_exact(const cpu_program *p)
{
    return p->exact;
}

void cpu_program_set_exact(void *program)
{
    ((cpu_program *)program)->exact = true;
}

uf_dtype cpu_program_stored_as(const cpu_program *p, const void *data)
{
    for (uint32_t i = 0; p->graph == &p->widened && i < p->widened.node_count; i++) {
        const ufi_node *n = &p->widened.nodes[i];
        if (is_half_constant(&p->widened, n) && p->widened.values[n->out[0]].data == data)
            return p->widened.values[n->in[0]].dtype;
    }
    return UF_F32;
}

uf_status cpu_program_create(void **out, const ufi_graph *graph, uint32_t index, uf_error *err)
{
    if (ufi_cpu_mask_error())
        return ufi_fail(err, UF_E_ARG, "%s", ufi_cpu_mask_error());
    cpu_program *p = ufi_calloc(1, sizeof *p);
    if (!p)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a program");
    p->graph = graph;
    ufi_graph_init(&p->widened);
    uf_status st = ufi_mutex_create(&p->mutex, err);
    if (!st)
        st = widen_constants(p, err);
    /* The layers of an INT8 graph that are not in INT8 were left out because they need to be exact,
     * and a search that weighed them must find the same on every machine: there only storage has 16
     * bits. */
    for (uint32_t i = 0; i < graph->node_count; i++)
        p->exact = p->exact || graph->nodes[i].op == UFI_OP_QCONV;
    if (st) {
        cpu_program_destroy(p);
        return st;
    }
    *out = p;
    return UF_OK;
}

void cpu_program_destroy(void *program)
{
    cpu_program *p = program;
    if (!p)
        return;
    for (size_t i = 0; i < p->block_count; i++)
        ufi_free(p->blocks[i].data);
    ufi_free(p->blocks);
    ufi_free(p->entries);
    ufi_mutex_destroy(p->mutex);
    ufi_graph_free(&p->widened);
    ufi_free(p);
}

size_t cpu_program_packed_bytes(const void *program)
{
    const cpu_program *p = program;
    ufi_mutex_lock(p->mutex);
    size_t bytes = p->bytes;
    ufi_mutex_unlock(p->mutex);
    return bytes;
}

/* ---- the forms ---- */

/* [O][I][kh][kw] of one group -> matrix [(kh, kw, I)][O]. */
static void make_matrix(float *matrix, const float *from, size_t o, size_t in, size_t taps)
{
    for (size_t j = 0; j < o; j++)
        for (size_t i = 0; i < in; i++)
            for (size_t t = 0; t < taps; t++)
                matrix[(t * in + i) * o + j] = from[(j * in + i) * taps + t];
}

/* The matrix of each group, then panels. */
static void pack_conv(const ufk_table *k, float *out, const ufi_tensor *w, uint32_t groups,
                      float *matrix)
{
    const int64_t *d = w->shape.dims;
    size_t o = (size_t)d[0] / groups, in = (size_t)d[1], taps = (size_t)(d[2] * d[3]);
    const float *src = w->data;
    size_t group_floats = ufk_conv_packed_floats(k, in * taps, o);
    for (uint32_t g = 0; g < groups; g++) {
        if (taps == 1) {
            ufk_conv_pack_transposed(k, out + g * group_floats, src + g * o * in, in, o);
            continue;
        }
        make_matrix(matrix, src + g * o * in * taps, o, in, taps);
        ufk_conv_pack(k, out + g * group_floats, matrix, o, in * taps, o);
    }
}

static void pack_depthwise(float *out, const ufi_tensor *w)
{
    size_t c = (size_t)w->shape.dims[0], taps = (size_t)(w->shape.dims[2] * w->shape.dims[3]);
    const float *src = w->data;
    for (size_t t = 0; t < taps; t++)
        for (size_t i = 0; i < c; i++)
            out[t * c + i] = src[i * taps + t];
}

/* One packed I x O matrix per position of the transformed filter. */
static void pack_winograd(const ufk_table *k, float *out, const ufi_tensor *w, int positions,
                          float *matrices)
{
    size_t o = (size_t)w->shape.dims[0], in = (size_t)w->shape.dims[1];
    const float *src = w->data;
    float u[36];
    for (size_t j = 0; j < o; j++)
        for (size_t i = 0; i < in; i++) {
            if (positions == 36)
                ufk_wino4_weight(u, src + (j * in + i) * 9);
            else
                ufk_wino2_weight(u, src + (j * in + i) * 9);
            for (int p = 0; p < positions; p++)
                matrices[((size_t)p * in + i) * o + j] = u[p];
        }
    size_t floats = ufk_conv_packed_floats(k, in, o);
    for (int p = 0; p < positions; p++)
        ufk_conv_pack(k, out + (size_t)p * floats, matrices + (size_t)p * in * o, o, in, o);
}

static void pack_vector(float *out, const ufi_tensor *w, uint32_t n)
{
    const float *src = w->data;
    size_t count = (size_t)ufi_shape_count(&w->shape);
    for (uint32_t i = 0; i < n; i++)
        out[i] = src[count == 1 ? 0 : i];
}

/* ---- INT8 ---- */

/* The channels of one group, [O][I][kh][kw] -> matrix [(kh, kw, I)][O], then panels. */
static void pack_qconv(const ufk_table *t, int8_t *out, const ufi_tensor *w, uint32_t groups,
                       bool rows, int8_t *matrix)
{
    const int64_t *d = w->shape.dims;
    size_t o = (size_t)d[0] / groups, in = (size_t)d[1], taps = (size_t)(d[2] * d[3]);
    size_t runs = rows ? (size_t)d[2] : 1, length = in * taps / runs;
    size_t group_bytes = ufk_qconv_packed_bytes(t, runs, length, o);
    const int8_t *src = w->data;
    for (uint32_t g = 0; g < groups; g++) {
        for (size_t j = 0; j < o; j++)
            for (size_t i = 0; i < in; i++)
                for (size_t k = 0; k < taps; k++)
                    matrix[(k * in + i) * o + j] = src[((g * o + j) * in + i) * taps + k];
        ufk_qconv_pack(t, out + g * group_bytes, matrix, runs, length, o);
    }
}

static void pack_qdepthwise(int8_t *out, const ufi_tensor *w)
{
    size_t c = (size_t)w->shape.dims[0], taps = (size_t)(w->shape.dims[2] * w->shape.dims[3]);
    const int8_t *src = w->data;
    for (size_t t = 0; t < taps; t++)
        for (size_t i = 0; i < c; i++)
            out[t * c + i] = src[i * taps + t];
}

/* ---- INT16 ---- */

/* [O][I][kh][kw] -> matrix [(kh, kw, I)][O], then panels, a run for each row of the kernel. */
static void pack_words(const ufk_table *t, int16_t *out, const ufi_tensor *w, int16_t *matrix)
{
    const int64_t *d = w->shape.dims;
    const size_t o = (size_t)d[0], in = (size_t)d[1], taps = (size_t)(d[2] * d[3]);
    const int16_t *src = w->data;
    for (size_t j = 0; j < o; j++)
        for (size_t i = 0; i < in; i++)
            for (size_t k = 0; k < taps; k++)
                matrix[(k * in + i) * o + j] = src[(j * in + i) * taps + k];
    ufk_words_pack(t, out, matrix, (size_t)d[2], in * (size_t)d[3], o);
}

static void pack_words_depthwise(int16_t *out, const ufi_tensor *w)
{
    const size_t c = (size_t)w->shape.dims[0];
    const size_t taps = (size_t)(w->shape.dims[2] * w->shape.dims[3]);
    const int16_t *src = w->data;
    for (size_t t = 0; t < taps; t++)
        for (size_t i = 0; i < c; i++)
            out[t * c + i] = src[i * taps + t];
}

/* ---- 16 bits ---- */

static void pack_hconv(const ufk_table *k, const ufk_hconv *h, uint16_t *out, const ufi_tensor *w,
                       bool rows, float *matrix)
{
    const int64_t *d = w->shape.dims;
    const size_t o = (size_t)d[0], in = (size_t)d[1], taps = (size_t)(d[2] * d[3]);
    const size_t runs = rows ? (size_t)d[2] : 1;
    make_matrix(matrix, w->data, o, in, taps);
    ufk_hconv_pack(h, out, matrix, runs, in * taps / runs, o);
}

static size_t packed_hconv_bytes(const ufk_hconv *h, const ufi_tensor *w, bool rows)
{
    const int64_t *d = w->shape.dims;
    const size_t runs = rows ? (size_t)d[2] : 1, length = (size_t)(d[1] * d[2] * d[3]) / runs;
    return ufk_hconv_packed_halves(h, runs, length, (size_t)d[0]) * sizeof(uint16_t);
}

static size_t packed_qconv_bytes(const ufk_table *t, const ufi_tensor *w, uint32_t groups,
                                 bool rows)
{
    const int64_t *d = w->shape.dims;
    size_t runs = rows ? (size_t)d[2] : 1, length = (size_t)(d[1] * d[2] * d[3]) / runs;
    return groups * ufk_qconv_packed_bytes(t, runs, length, (size_t)d[0] / groups);
}

/* Bytes of the packed form, and of the scratch that packing needs. */
static size_t packed_size(const ufk_table *k, cpu_pack_kind kind, const ufi_tensor *w, uint32_t n,
                          size_t *scratch)
{
    const int64_t *d = w->shape.dims;
    size_t count = (size_t)ufi_shape_count(&w->shape), floats = count;
    *scratch = 0;
    switch (kind) {
    case CPU_PACK_CONV:
        *scratch = d[2] * d[3] == 1 ? 0 : count / n * sizeof(float);
        floats = n * ufk_conv_packed_floats(k, (size_t)(d[1] * d[2] * d[3]), (size_t)d[0] / n);
        break;
    case CPU_PACK_DEPTHWISE:
        break;
    case CPU_PACK_WINO4:
        *scratch = count * 4 * sizeof(float);
        floats = 36 * ufk_conv_packed_floats(k, (size_t)d[1], (size_t)d[0]);
        break;
    case CPU_PACK_WINO2:
        *scratch = (count * 16 / 9 + 16) * sizeof(float);
        floats = 16 * ufk_conv_packed_floats(k, (size_t)d[1], (size_t)d[0]);
        break;
    case CPU_PACK_GEMM:
        floats = ufk_conv_packed_floats(k, (size_t)d[0], (size_t)d[1]);
        break;
    case CPU_PACK_GEMM_T:
        floats = ufk_conv_packed_floats(k, (size_t)d[1], (size_t)d[0]);
        break;
    case CPU_PACK_VECTOR:
        floats = n;
        break;
    case CPU_PACK_QCONV_ROWS:
    case CPU_PACK_QCONV_FLAT:
        *scratch = count / n;
        return packed_qconv_bytes(k, w, n, kind == CPU_PACK_QCONV_ROWS);
    case CPU_PACK_QDEPTHWISE:
        return count;
    case CPU_PACK_BF16_ROWS:
    case CPU_PACK_BF16_FLAT:
        *scratch = count * sizeof(float);
        return packed_hconv_bytes(&k->bf16, w, kind == CPU_PACK_BF16_ROWS);
    case CPU_PACK_F16_ROWS:
    case CPU_PACK_F16_FLAT:
        *scratch = count * sizeof(float);
        return packed_hconv_bytes(&k->f16, w, kind == CPU_PACK_F16_ROWS);
    case CPU_PACK_BF16X3_ROWS:
    case CPU_PACK_BF16X3_FLAT:
        *scratch = count * sizeof(float);
        return packed_hconv_bytes(&k->bf16x3, w, kind == CPU_PACK_BF16X3_ROWS);
    case CPU_PACK_WORDS:
        *scratch = count * sizeof(int16_t);
        return ufk_words_packed(k, (size_t)d[2], (size_t)(d[1] * d[3]), (size_t)d[0]) *
               sizeof(int16_t);
    case CPU_PACK_WORDS_DEPTHWISE:
        return count * sizeof(int16_t);
    }
    return floats * sizeof(float);
}

static void pack_into(const ufk_table *k, void *out, cpu_pack_kind kind, const ufi_tensor *w,
                      uint32_t n, void *scratch)
{
    switch (kind) {
    case CPU_PACK_CONV:
        pack_conv(k, out, w, n, scratch);
        break;
    case CPU_PACK_DEPTHWISE:
        pack_depthwise(out, w);
        break;
    case CPU_PACK_WINO4:
        pack_winograd(k, out, w, 36, scratch);
        break;
    case CPU_PACK_WINO2:
        pack_winograd(k, out, w, 16, scratch);
        break;
    case CPU_PACK_GEMM:
        ufk_conv_pack(k, out, w->data, (size_t)w->shape.dims[1], (size_t)w->shape.dims[0],
                      (size_t)w->shape.dims[1]);
        break;
    case CPU_PACK_GEMM_T:
        ufk_conv_pack_transposed(k, out, w->data, (size_t)w->shape.dims[1],
                                 (size_t)w->shape.dims[0]);
        break;
    case CPU_PACK_VECTOR:
        pack_vector(out, w, n);
        break;
    case CPU_PACK_QCONV_ROWS:
    case CPU_PACK_QCONV_FLAT:
        pack_qconv(k, out, w, n, kind == CPU_PACK_QCONV_ROWS, scratch);
        break;
    case CPU_PACK_QDEPTHWISE:
        pack_qdepthwise(out, w);
        break;
    case CPU_PACK_BF16_ROWS:
    case CPU_PACK_BF16_FLAT:
        pack_hconv(k, &k->bf16, out, w, kind == CPU_PACK_BF16_ROWS, scratch);
        break;
    case CPU_PACK_F16_ROWS:
    case CPU_PACK_F16_FLAT:
        pack_hconv(k, &k->f16, out, w, kind == CPU_PACK_F16_ROWS, scratch);
        break;
    case CPU_PACK_BF16X3_ROWS:
    case CPU_PACK_BF16X3_FLAT:
        pack_hconv(k, &k->bf16x3, out, w, kind == CPU_PACK_BF16X3_ROWS, scratch);
        break;
    case CPU_PACK_WORDS:
        pack_words(k, out, w, scratch);
        break;
    case CPU_PACK_WORDS_DEPTHWISE:
        pack_words_depthwise(out, w);
        break;
    }
}

/* ---- the cache ---- */

/* Constants that have no packed form are small. */
static size_t constant_bytes(const ufi_graph *g)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < g->value_count; i++) {
        const ufi_value *v = &g->values[i];
        const ufi_tensor t = {v->dtype, UFI_PLAIN, v->shape, NULL};
        bytes += v->data ? ufi_tensor_bytes(&t) : 0;
    }
    return bytes;
}

/* Room in the last block, or in a new one: the first is for all constants, later ones for forms
 * that are larger than their constants. */
static void *find_room(cpu_program *p, size_t bytes)
{
    bytes = (bytes + UFI_ALIGN - 1) / UFI_ALIGN * UFI_ALIGN;
    block *last = p->block_count ? &p->blocks[p->block_count - 1] : NULL;
    if (!last || last->size - last->used < bytes) {
        size_t size = last ? MORE_BYTES : constant_bytes(p->graph);
        size = size < bytes ? bytes : size;
        block *blocks = ufi_realloc(p->blocks, p->block_count + 1, sizeof *blocks);
        if (!blocks)
            return NULL;
        p->blocks = blocks;
        last = &blocks[p->block_count];
        *last = (block){ufi_aligned_malloc(size), 0, size};
        if (!last->data)
            return NULL;
        p->block_count++;
    }
    void *room = last->data + last->used;
    last->used += bytes;
    return room;
}

static bool belongs_to_program(const cpu_program *p, const void *data)
{
    const ufi_graph *g = p->graph;
    for (uint32_t i = 0; i < g->value_count; i++)
        if (g->values[i].data == data)
            return true;
    return false;
}

static const void *find_packed(const cpu_program *p, cpu_pack_kind kind, const ufi_tensor *w,
                               uint32_t n)
{
    for (size_t i = 0; i < p->count; i++) {
        const packed *e = &p->entries[i];
        if (e->data == w->data && e->kind == kind && e->n == n &&
            ufi_shape_equal(&e->shape, &w->shape))
            return e->form;
    }
    return NULL;
}

static bool keep_packed(cpu_program *p, packed entry)
{
    if (p->count == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 64;
        packed *entries = ufi_realloc(p->entries, cap, sizeof *entries);
        if (!entries)
            return false;
        p->entries = entries;
        p->cap = cap;
    }
    p->entries[p->count++] = entry;
    p->bytes += entry.bytes;
    return true;
}

static uf_status pack_new(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                          uint32_t n, const void **out, uf_error *err)
{
    const ufk_table *k = ufk_default_table();
    size_t scratch_bytes, bytes = packed_size(k, kind, w, n, &scratch_bytes);
    bool keep = belongs_to_program(p, w->data);
    void *scratch = scratch_bytes ? ufi_aligned_malloc(scratch_bytes) : NULL;
    uint8_t *to = NULL;
    if (!scratch_bytes || scratch) {
        if (keep)
            to = find_room(p, bytes);
        else if ((to = ufi_arena_alloc(arena, bytes + 64, 1)))
            to = (uint8_t *)(((uintptr_t)to + 63) & ~(uintptr_t)63);
    }
    if (to)
        pack_into(k, to, kind, w, n, scratch);
    ufi_free(scratch);
    if (ufi_tensor_bytes(w) >= RELEASED_BYTES)
        ufi_file_map_release(&p->graph->map, w->data, ufi_tensor_bytes(w));
    if (!to || (keep && !keep_packed(p, (packed){w->data, w->shape, kind, n, to, bytes})))
        return ufi_fail(err, UF_E_NOMEM, "no memory to pack %zu bytes of weights", bytes);
    *out = to;
    return UF_OK;
}

static uf_status find_or_pack(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind,
                              const ufi_tensor *w, uint32_t n, const void **out, uf_error *err)
{
    ufi_mutex_lock(p->mutex);
    uf_status st = UF_OK;
    *out = find_packed(p, kind, w, n);
    if (!*out)
        st = pack_new(p, arena, kind, w, n, out, err);
    ufi_mutex_unlock(p->mutex);
    return st;
}

uf_status cpu_pack(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                   uint32_t n, const float **out, uf_error *err)
{
    const void *form = NULL;
    uf_status st = find_or_pack(p, arena, kind, w, n, &form, err);
    *out = form;
    return st;
}

uf_status cpu_pack_bytes(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                         uint32_t n, const int8_t **out, uf_error *err)
{
    const void *form = NULL;
    uf_status st = find_or_pack(p, arena, kind, w, n, &form, err);
    *out = form;
    return st;
}

uf_status cpu_pack_halves(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                          const uint16_t **out, uf_error *err)
{
    const void *form = NULL;
    uf_status st = find_or_pack(p, arena, kind, w, 1, &form, err);
    *out = form;
    return st;
}

uf_status cpu_pack_words(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                         const int16_t **out, uf_error *err)
{
    const void *form = NULL;
    uf_status st = find_or_pack(p, arena, kind, w, 1, &form, err);
    *out = form;
    return st;
}
