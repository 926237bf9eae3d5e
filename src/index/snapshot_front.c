/* Head, extents and table of a snapshot, and the protection of its chunks. */
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/reader.h"
#include "base/status.h"
#include "index/snapshot.h"

/* Of the head. */
enum {
    AT_DIGEST = 128, /* of all of the front with these 32 bytes zero */
    AT_PROOF = 160,  /* nonce and tag of nothing, bound to id and digest: tells a wrong secret */
    EXTENT_BYTES = 12
};
static const char magic[8] = {'U', 'F', 'X', '1', '\r', '\n', 0x1A, 0};

size_t ufx_chunks_of(uint64_t bytes)
{
    return (size_t)((bytes + UFX_CHUNK - 1) / UFX_CHUNK);
}

static uint64_t pad(uint64_t n)
{
    return (n + UFX_PAGE - 1) / UFX_PAGE * UFX_PAGE;
}

uint64_t ufx_front_bytes(const ufx_file *f)
{
    return UFX_PAGE +
           pad((uint64_t)f->segment_count * EXTENT_BYTES + (uint64_t)f->chunk_count * UFX_ENTRY);
}

bool ufx_plan(const uf_index *x, ufx_file *f)
{
    uint64_t chunks = 0;
    for (uint32_t i = 0; i <= f->segment_count; i++) {
        ufx_extent *e = &f->extents[i];
        ufi_segment shape = {.capacity = e->capacity};
        e->bytes = i < f->segment_count ? ufi_segment_layout(x, &shape, NULL)
                                        : (uint64_t)f->lists * x->width * sizeof(float);
        e->first_chunk = (uint32_t)chunks;
        chunks += ufx_chunks_of(e->bytes);
    }
    if (chunks > UINT32_MAX / UFX_ENTRY)
        return false;
    f->chunk_count = (uint32_t)chunks;
    f->size = ufx_front_bytes(f);
    for (uint32_t i = 0; i <= f->segment_count; i++) {
        f->extents[i].offset = f->size;
        f->size += pad(f->extents[i].bytes);
    }
    return true;
}

void ufx_free(ufx_file *f)
{
    ufi_free(f->extents);
    ufi_free(f->table);
    *f = (ufx_file){0};
}

/* ---- writing the front ---- */

static void put(uint8_t **p, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *(*p)++ = (uint8_t)(v >> (8 * i));
}

static void digest_of(const uint8_t *front, size_t size, uint8_t out[UFI_SHA256_BYTES])
{
    static const uint8_t zeros[UFI_SHA256_BYTES + UFX_ENTRY] = {0};
    ufi_sha256 h;
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, front, AT_DIGEST);
    ufi_sha256_update(&h, zeros, sizeof zeros);
    ufi_sha256_update(&h, front + AT_DIGEST + sizeof zeros, size - AT_DIGEST - sizeof zeros);
    ufi_sha256_final(&h, out);
}

uf_status ufx_put_front(const ufx_file *f, uint8_t *out, const uint8_t *secret, uf_error *err)
{
    const size_t size = (size_t)ufx_front_bytes(f);
    uint8_t *p = out;
    memset(out, 0, size);
    memcpy(p, magic, sizeof magic);
    p += sizeof magic;
    put(&p, UFX_VERSION, 4);
    put(&p, f->sealed, 4);
    memcpy(p, f->id, UFX_ID_BYTES);
    p += UFX_ID_BYTES;
    put(&p, f->dimension, 4);
    put(&p, f->detail, 4);
    put(&p, f->lists, 4);
    put(&p, f->segment_count, 4);
    put(&p, f->chunk_count, 4);
    put(&p, UFI_SEGMENT_SLOTS, 4);
    put(&p, f->count, 8);
    put(&p, f->mark, 8);
    put(&p, f->size, 8);
    p = out + UFX_PAGE;
    for (uint32_t i = 0; i < f->segment_count; i++) {
        put(&p, f->extents[i].capacity, 4);
        put(&p, f->extents[i].used, 4);
        put(&p, f->extents[i].list, 4);
    }
    memcpy(p, f->table, (size_t)f->chunk_count * UFX_ENTRY);
    digest_of(out, size, out + AT_DIGEST);
    if (!f->sealed)
        return UF_OK;
    uint8_t *nonce = out + AT_PROOF, *tag = nonce + UFI_SEAL_NONCE_BYTES;
    return ufi_seal_apart(NULL, 0, nonce, tag, out + AT_DIGEST, UFI_SHA256_BYTES, secret, err);
}

/* ---- reading the front ---- */

static uf_status read_head(ufx_file *f, ufi_reader *r, uf_error *err)
{
    const uint8_t *mark = ufi_read_bytes(r, sizeof magic);
    if (!mark || memcmp(mark, magic, sizeof magic))
        return ufi_fail(err, UF_E_FORMAT, "no snapshot of an index (.ufx)");
    const uint32_t version = ufi_read_u32(r);
    if (version != UFX_VERSION)
        return ufi_fail(err, UF_E_UNSUPPORTED, "snapshot of version %u, this program reads %d",
                        version, UFX_VERSION);
    f->sealed = ufi_read_u32(r) != 0;
    const uint8_t *id = ufi_read_bytes(r, UFX_ID_BYTES);
    if (id)
        memcpy(f->id, id, UFX_ID_BYTES);
    f->dimension = ufi_read_u32(r);
    f->detail = ufi_read_u32(r);
    f->lists = ufi_read_u32(r);
    f->segment_count = ufi_read_u32(r);
    f->chunk_count = ufi_read_u32(r);
    const uint32_t slots = ufi_read_u32(r);
    f->count = ufi_read_u64(r);
    f->mark = ufi_read_u64(r);
    f->size = ufi_read_u64(r);
    if (r->failed || f->dimension < UF_INDEX_MIN_DIMENSION ||
        f->dimension > UF_INDEX_MAX_DIMENSION || f->detail > UF_INDEX_FLOAT || f->lists > 65536 ||
        f->segment_count > UFX_MAX_SEGMENTS || slots != UFI_SEGMENT_SLOTS ||
        f->chunk_count > UINT32_MAX / UFX_ENTRY || f->size != r->size)
        return ufi_fail(err, UF_E_FORMAT,
                        "the head of the snapshot is damaged or the file cut "
                        "short: %zu bytes",
                        r->size);
    return UF_OK;
}

static uf_status check_front(const ufx_file *f, const uint8_t *data, size_t front,
                             const uint8_t *secret, uf_error *err)
{
    uint8_t digest[UFI_SHA256_BYTES];
    digest_of(data, front, digest);
    if (memcmp(digest, data + AT_DIGEST, sizeof digest))
        return ufi_fail(err, UF_E_FORMAT, "the head or table of the snapshot is damaged");
    if (f->sealed != (secret != NULL))
        return ufi_fail(err, UF_E_MISMATCH,
                        f->sealed ? "the snapshot is sealed: a secret is needed"
                                  : "the snapshot is not sealed: a secret was "
                                    "given");
    if (!f->sealed)
        return UF_OK;
    const uint8_t *nonce = data + AT_PROOF, *tag = nonce + UFI_SEAL_NONCE_BYTES;
    uf_status st = ufi_seal_ready(err);
    if (!st && ufi_unseal_apart(NULL, NULL, 0, nonce, tag, digest, sizeof digest, secret, NULL))
        st = ufi_fail(err, UF_E_MISMATCH, "the secret is not that of the snapshot");
    return st;
}

uf_status ufx_get_front(ufx_file *f, const uint8_t *data, size_t size, const uint8_t *secret,
                        uf_error *err)
{
    ufi_reader r;
    ufi_reader_init(&r, data, size);
    *f = (ufx_file){0};
    uf_status st = read_head(f, &r, err);
    if (st)
        return st;
    const uint64_t front = ufx_front_bytes(f);
    if (front > size)
        return ufi_fail(err, UF_E_FORMAT, "the snapshot is cut short: %zu bytes", size);
    st = check_front(f, data, (size_t)front, secret, err);
    if (st)
        return st;
    f->extents = ufi_calloc((size_t)f->segment_count + 1, sizeof *f->extents);
    f->table = ufi_malloc((size_t)f->chunk_count + 1, UFX_ENTRY);
    if (!f->extents || !f->table)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the table of a snapshot");
    ufi_reader_seek(&r, UFX_PAGE);
    for (uint32_t i = 0; i < f->segment_count; i++) {
        ufx_extent *e = &f->extents[i];
        e->capacity = ufi_read_u32(&r);
        e->used = ufi_read_u32(&r);
        e->list = ufi_read_u32(&r);
        if (!e->capacity || e->capacity % UFK_SKETCH_BLOCK || e->capacity > UFI_SEGMENT_SLOTS ||
            e->used > e->capacity || e->list >= (f->lists ? f->lists : 1))
            return ufi_fail(err, UF_E_FORMAT, "segment %u of the snapshot is impossible", i);
    }
    const uint8_t *table = ufi_read_bytes(&r, (size_t)f->chunk_count * UFX_ENTRY);
    if (!table)
        return ufi_fail(err, UF_E_FORMAT, "the table of the snapshot is cut short");
    memcpy(f->table, table, (size_t)f->chunk_count * UFX_ENTRY);
    return UF_OK;
}

/* ---- chunks ---- */

/* What a chunk is bound to: it may not be moved within the file nor into another. */
static void bind_chunk(const ufx_file *f, uint32_t chunk, uint8_t out[UFX_ID_BYTES + 4])
{
    uint8_t *p = out + UFX_ID_BYTES;
    memcpy(out, f->id, UFX_ID_BYTES);
    put(&p, chunk, 4);
}

uf_status ufx_close_chunk(ufx_file *f, uint32_t chunk, uint8_t *data, size_t size,
                          const uint8_t *secret, uf_error *err)
{
    uint8_t *entry = f->table + (size_t)chunk * UFX_ENTRY, bound[UFX_ID_BYTES + 4];
    memset(entry, 0, UFX_ENTRY);
    if (!f->sealed) {
        ufi_sha256_of(data, size, entry);
        return UF_OK;
    }
    bind_chunk(f, chunk, bound);
    return ufi_seal_apart(data, size, entry, entry + UFI_SEAL_NONCE_BYTES, bound, sizeof bound,
                          secret, err);
}

uf_status ufx_open_chunk(const ufx_file *f, uint32_t chunk, const uint8_t *data, size_t size,
                         uint8_t *out, const uint8_t *secret, uf_error *err)
{
    const uint8_t *entry = f->table + (size_t)chunk * UFX_ENTRY;
    uint8_t digest[UFI_SHA256_BYTES], bound[UFX_ID_BYTES + 4];
    if (f->sealed) {
        bind_chunk(f, chunk, bound);
        if (!ufi_unseal_apart(out, data, size, entry, entry + UFI_SEAL_NONCE_BYTES, bound,
                              sizeof bound, secret, NULL))
            return UF_OK;
    } else {
        ufi_sha256_of(data, size, digest);
        if (!memcmp(digest, entry, sizeof digest)) {
            if (out)
                memcpy(out, data, size);
            return UF_OK;
        }
    }
    return ufi_fail(err, UF_E_FORMAT, "chunk %u of %u of the snapshot is damaged", chunk,
                    f->chunk_count);
}
