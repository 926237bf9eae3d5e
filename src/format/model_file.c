/* The model in memory: opening by content, freeing, its id. */
#include "format/model_file.h"

#include <string.h>

#include "base/mem.h"
#include "format/ufm.h"

void ufi_model_file_free(ufi_model_file *m)
{
    ufi_graph_free(&m->graph);
    ufi_meta_free(&m->meta);
    ufi_file_map_close(&m->map);
    ufi_free(m->bytes);
    memset(m, 0, sizeof *m);
}

/* Up to this many bytes, or a vector: what steps of a run read where it lies, such as biases. */
#define HELD_BYTES ((size_t)16 << 10)

/* The room that constant `v` takes outside of the map; 0: it stays there, or never was. */
static size_t held_bytes(const ufi_model_file *m, const ufi_value *v)
{
    const ufi_tensor t = {v->dtype, UFI_PLAIN, v->shape, NULL};
    const uintptr_t at = (uintptr_t)v->data, from = (uintptr_t)m->map.data;
    if (!v->data || at < from || at - from >= m->map.size)
        return 0;
    const size_t bytes = ufi_tensor_bytes(&t);
    return bytes <= HELD_BYTES || v->shape.rank <= 1
               ? (bytes + UFI_ALIGN - 1) / UFI_ALIGN * UFI_ALIGN
               : 0;
}

uf_status ufi_model_file_hold_small(ufi_model_file *m, const ufi_file *f, uf_error *err)
{
    ufi_value *values = m->graph.values;
    size_t all = 0, used = 0;
    for (uint32_t i = 0; m->map.data && i < m->graph.value_count; i++)
        all += held_bytes(m, &values[i]);
    /* Constants that share their bytes must not make a small file a large model. */
    if (!all || all > 2 * m->map.size)
        return UF_OK;
    uint8_t *room = ufi_arena_alloc(&m->graph.arena, all + UFI_ALIGN, 1);
    if (!room)
        return ufi_fail(err, UF_E_NOMEM, "no memory for constants");
    room += UFI_ALIGN - (uintptr_t)room % UFI_ALIGN;
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < m->graph.value_count; i++) {
        const size_t bytes = held_bytes(m, &values[i]);
        const ufi_tensor t = {values[i].dtype, UFI_PLAIN, values[i].shape, NULL};
        if (!bytes)
            continue;
        st = ufi_file_read_at(f, (size_t)((const uint8_t *)values[i].data - m->map.data),
                              room + used, ufi_tensor_bytes(&t), err);
        values[i].data = room + used;
        used += bytes;
    }
    return st;
}

#define ONNX_FIRST_TAG 0x08

uf_status ufi_model_file_open(ufi_model_file *out, const char *path, uf_error *err)
{
    memset(out, 0, sizeof *out);
    uint8_t head[512];
    ufi_file f;
    uf_status st = ufi_file_open(&f, path, UFI_MODEL_MAX_BYTES, err);
    if (st)
        return st;
    size_t size = f.size < sizeof head ? f.size : sizeof head;
    st = ufi_file_read_at(&f, 0, head, size, err);
    ufi_file_close(&f);
    if (st)
        return st;
    bool is_ufm = ufm_is(head, size), is_empty = size == 0;
    bool is_openvino = !is_empty && ufi_openvino_is(head, size);
    if (is_empty)
        return ufi_fail(err, UF_E_FORMAT, "%s: the file is empty", path);
    if (is_openvino)
        return ufi_openvino_import(out, path, true, err);
    if (is_ufm)
        return ufi_ufm_load(out, path, true, err);
    st = ufi_onnx_import(out, path, true, err);
    /* ONNX has no mark of its own; what writers put first is the version of its form. */
    return st == UF_E_FORMAT && head[0] != ONNX_FIRST_TAG
               ? ufi_fail(err, UF_E_FORMAT, "%s: no model that is known: .ufm, ONNX or OpenVINO",
                          path)
               : st;
}

uf_status ufi_model_file_settle(ufi_model_file *m, bool optimize, uf_error *err)
{
    uf_status st = ufi_graph_sort(&m->graph, err);
    if (!st)
        st = ufi_graph_check(&m->graph, err);
    if (!st)
        st = ufi_graph_infer(&m->graph, UFI_MODEL_MAX_FOLD_BYTES, err);
    if (!st && optimize)
        st = ufi_graph_optimize(&m->graph, err);
    return st;
}

/* What changes the numbers that come out, or their meaning. */
static bool belongs_to_id(const char *key)
{
    static const char *const prefixes[] = {"input.", "align.", "precision", "output."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (!strncmp(key, prefixes[i], strlen(prefixes[i])))
            return true;
    return false;
}

/* Entries in the order of their keys, so that the order of setting does not matter. */
void ufi_model_id(const ufi_model_file *m, char out[65])
{
    ufi_sha256 h;
    uint8_t digest[UFI_SHA256_BYTES];
    const char *last = "";
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, m->digest, sizeof m->digest);
    for (;;) {
        uint32_t next = m->meta.count;
        for (uint32_t i = 0; i < m->meta.count; i++)
            if (belongs_to_id(m->meta.keys[i]) && strcmp(m->meta.keys[i], last) > 0 &&
                (next == m->meta.count || strcmp(m->meta.keys[i], m->meta.keys[next]) < 0))
                next = i;
        if (next == m->meta.count)
            break;
        last = m->meta.keys[next];
        ufi_sha256_update(&h, last, strlen(last) + 1);
        ufi_sha256_update(&h, m->meta.values[next], strlen(m->meta.values[next]) + 1);
    }
    ufi_sha256_final(&h, digest);
    ufi_hex(digest, sizeof digest, out);
}
