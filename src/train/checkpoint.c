#include "train/checkpoint.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"

static const char magic[8] = "UFCKPT1";

enum { HEAD_BYTES = sizeof magic + UFI_SHA256_BYTES + 8 };

static void put_u64(uint8_t *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

/* Magic, key, count and sizes: what the head of the file of these parts is. */
static uint8_t *make_head(const uint8_t key[UFI_SHA256_BYTES], const ufi_checkpoint_part *parts,
                          size_t count, size_t *size)
{
    *size = HEAD_BYTES + count * 8;
    uint8_t *head = count <= UFI_CHECKPOINT_MAX_PARTS ? ufi_malloc(*size, 1) : NULL;
    if (!head)
        return NULL;
    memcpy(head, magic, sizeof magic);
    memcpy(head + sizeof magic, key, UFI_SHA256_BYTES);
    put_u64(head + sizeof magic + UFI_SHA256_BYTES, count);
    for (size_t i = 0; i < count; i++)
        put_u64(head + HEAD_BYTES + i * 8, parts[i].size_bytes);
    return head;
}

static uf_status put(ufi_file_writer *w, ufi_sha256 *h, const void *data, size_t size,
                     uf_error *err)
{
    ufi_sha256_update(h, data, size);
    return ufi_file_writer_put(w, data, size, err);
}

uf_status ufi_checkpoint_save(const char *path, const uint8_t key[UFI_SHA256_BYTES],
                              const ufi_checkpoint_part *parts, size_t count, uf_error *err)
{
    ufi_file_writer w;
    ufi_sha256 h;
    uint8_t digest[UFI_SHA256_BYTES];
    size_t size = 0;
    uint8_t *head = make_head(key, parts, count, &size);
    if (!head)
        return ufi_fail(err, UF_E_NOMEM, "%s: no memory for %zu parts", path, count);
    uf_status st = ufi_file_writer_open(&w, path, false, err);
    if (!st) {
        ufi_sha256_init(&h);
        st = put(&w, &h, head, size, err);
        for (size_t i = 0; !st && i < count; i++)
            st = put(&w, &h, parts[i].data, parts[i].size_bytes, err);
        ufi_sha256_final(&h, digest);
        if (!st)
            st = ufi_file_writer_put(&w, digest, sizeof digest, err);
        st = ufi_file_writer_close(&w, st, err);
    }
    ufi_free(head);
    return st;
}

static uf_status check(const char *path, const ufi_file_map *map, const uint8_t *head,
                       size_t head_size, size_t total, uf_error *err)
{
    uint8_t digest[UFI_SHA256_BYTES];
    if (map->size < HEAD_BYTES || memcmp(map->data, magic, sizeof magic) != 0)
        return ufi_fail(err, UF_E_FORMAT, "%s: no checkpoint of this version", path);
    if (memcmp(map->data + sizeof magic, head + sizeof magic, UFI_SHA256_BYTES) != 0)
        return ufi_fail(err, UF_E_MISMATCH,
                        "%s: the checkpoint of a run with other options, pictures or networks; "
                        "name another file, or delete it to begin anew",
                        path);
    if (map->size != total || memcmp(map->data, head, head_size) != 0)
        return ufi_fail(err, UF_E_FORMAT, "%s: %zu bytes where %zu were expected: damaged", path,
                        map->size, total);
    ufi_sha256_of(map->data, total - sizeof digest, digest);
    if (memcmp(digest, map->data + total - sizeof digest, sizeof digest) != 0)
        return ufi_fail(err, UF_E_FORMAT, "%s: its digest is wrong: damaged", path);
    return UF_OK;
}

uf_status ufi_checkpoint_load(const char *path, const uint8_t key[UFI_SHA256_BYTES],
                              const ufi_checkpoint_part *parts, size_t count, uf_error *err)
{
    ufi_file_map map;
    size_t size = 0;
    uf_status st = ufi_file_map_open(&map, path, SIZE_MAX, err);
    if (st)
        return st;
    uint8_t *head = make_head(key, parts, count, &size);
    size_t total = size + UFI_SHA256_BYTES;
    for (size_t i = 0; i < count; i++)
        total += parts[i].size_bytes;
    st = head ? check(path, &map, head, size, total, err)
              : ufi_fail(err, UF_E_NOMEM, "%s: no memory for %zu parts", path, count);
    const uint8_t *from = st ? NULL : map.data + size;
    for (size_t i = 0; !st && i < count; i++) {
        if (parts[i].size_bytes)
            memcpy(parts[i].data, from, parts[i].size_bytes);
        from += parts[i].size_bytes;
    }
    ufi_free(head);
    ufi_file_map_close(&map);
    return st;
}
