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
