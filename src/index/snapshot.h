/*
 * Snapshots (docs/formats/ufx.md): what the writer, the reader and the eraser share. Floor 5.
 *
 *   head      4096 bytes: numbers, digest of head and table, proof of the secret
 *   table     40 bytes a chunk: nonce and tag (sealed), or digest (plain); padded to 4096
 *   segments  each from a multiple of 4096, cut in chunks of 256 KiB from its start; then the
 *             centres of the lists, cut likewise
 */
#ifndef UFI_INDEX_SNAPSHOT_H
#define UFI_INDEX_SNAPSHOT_H

#include "base/seal.h"
#include "index/index.h"

enum {
    UFX_PAGE = 4096,
    UFX_CHUNK = 256 * 1024,
    UFX_ENTRY = UFI_SEAL_EXTRA,
    UFX_VERSION = 1,
    UFX_ID_BYTES = 16,
    UFX_MAX_SEGMENTS = 131071
};

/* A segment, or the centres, in the file. */
typedef struct ufx_extent {
    uint64_t offset, bytes;
    uint32_t capacity, used, list;
    uint32_t first_chunk;
} ufx_extent;

typedef struct ufx_file {
    bool sealed;
    uint8_t id[UFX_ID_BYTES];
    uint32_t dimension, detail, lists; /* lists: that exist */
    uint64_t count, mark, size;
    uint32_t segment_count, chunk_count;
    ufx_extent *extents; /* [segment_count + 1]: the last is that of the centres */
    uint8_t *table;      /* [chunk_count][UFX_ENTRY] */
} ufx_file;

/* Offsets, sizes and numbers of chunks from capacities. `x` gives the layout. Fails when the sizes
 * overflow. */
bool ufx_plan(const uf_index *x, ufx_file *f);
size_t ufx_chunks_of(uint64_t bytes);
/* Bytes of head, extents and table, padded. */
uint64_t ufx_front_bytes(const ufx_file *f);
/* Writes them; `out` has ufx_front_bytes. */
uf_status ufx_put_front(const ufx_file *f, uint8_t *out, const uint8_t *secret, uf_error *err);
/* Reads and checks them. `x` (may be NULL) gets what it must be. The caller frees with ufx_free. */
uf_status ufx_get_front(ufx_file *f, const uint8_t *data, size_t size, const uint8_t *secret,
                        uf_error *err);
void ufx_free(ufx_file *f);

/* Seals (in place) or digests a chunk: fills its entry of the table. */
uf_status ufx_close_chunk(ufx_file *f, uint32_t chunk, uint8_t *data, size_t size,
                          const uint8_t *secret, uf_error *err);
/* Opens a chunk into `out` (NULL: plain, only checked). UF_E_FORMAT when it is damaged. */
uf_status ufx_open_chunk(const ufx_file *f, uint32_t chunk, const uint8_t *data, size_t size,
                         uint8_t *out, const uint8_t *secret, uf_error *err);

#endif
