/* Writing snapshots, and erasing vectors in them. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"
#include "index/snapshot.h"

/* ---- writing: vectors are packed anew, list by list, so that no hole is saved ---- */

/* Where in the index the next vectors come from. */
typedef struct source {
    const uf_index *x;
    size_t segment;
    uint32_t place;
} source;

/* The next vector of a list; false at the end of the list. */
static bool next_of_list(source *from, uint32_t list, const ufi_segment **s, uint32_t *place)
{
    for (; from->segment < from->x->segment_count; from->segment++, from->place = 0) {
        const ufi_segment *g = &from->x->segments[from->segment];
        while (g->list == list && from->place < g->used) {
            const uint32_t at = from->place++;
            if (ufi_segment_holds(g, at)) {
                *s = g;
                *place = at;
                return true;
            }
        }
    }
    return false;
}

static uf_status plan_segments(const uf_index *x, ufx_file *f, uf_error *err)
{
    const uint32_t lists = x->lists ? x->lists : 1;
    uint64_t *live = ufi_calloc(lists, sizeof *live), segments = 0;
    if (!live)
        return ufi_fail(err, UF_E_NOMEM, "no memory to plan a snapshot");
    for (size_t i = 0; i < x->segment_count; i++)
        live[x->segments[i].list] += x->segments[i].live;
    for (uint32_t l = 0; l < lists; l++)
        segments += (live[l] + UFI_SEGMENT_SLOTS - 1) / UFI_SEGMENT_SLOTS;
    f->extents = ufi_calloc((size_t)segments + 1, sizeof *f->extents);
    uf_status st = f->extents ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory to plan a snapshot");
    for (uint32_t l = 0; !st && l < lists; l++) {
        for (uint64_t left = live[l]; left;) {
            const uint32_t used = left < UFI_SEGMENT_SLOTS ? (uint32_t)left : UFI_SEGMENT_SLOTS;
            f->extents[f->segment_count++] =
                (ufx_extent){.capacity = (used + 31) / 32 * 32, .used = used, .list = l};
            left -= used;
        }
    }
    ufi_free(live);
    if (!st && !ufx_plan(x, f))
        st = ufi_fail(err, UF_E_LIMIT, "the index is too large for a snapshot");
    if (!st) {
        f->table = ufi_calloc((size_t)f->chunk_count + 1, UFX_ENTRY);
        if (!f->table)
            st = ufi_fail(err, UF_E_NOMEM, "no memory for the table of a snapshot");
    }
    return st;
}

/* Closes and writes an extent; `data` has its bytes and is changed. */
static uf_status write_extent(ufx_file *f, uint32_t extent, uint8_t *data, const uint8_t *secret,
                              ufi_file_writer *w, uf_error *err)
{
    const ufx_extent *e = &f->extents[extent];
    uf_status st = ufi_file_writer_seek(w, e->offset, err);
    for (uint64_t at = 0; !st && at < e->bytes; at += UFX_CHUNK) {
        const size_t size = e->bytes - at < UFX_CHUNK ? (size_t)(e->bytes - at) : UFX_CHUNK;
        st = ufx_close_chunk(f, e->first_chunk + (uint32_t)(at / UFX_CHUNK), data + at, size,
                             secret, err);
        if (!st)
            st = ufi_file_writer_put(w, data + at, size, err);
    }
    return st;
}

static uf_status write_segments(const uf_index *x, ufx_file *f, const uint8_t *secret,
                                ufi_file_writer *w, uf_error *err)
{
    uf_status st = UF_OK;
    uint64_t largest = f->extents[f->segment_count].bytes;
    source from = {.x = x};
    for (uint32_t i = 0; i < f->segment_count; i++)
        largest = f->extents[i].bytes > largest ? f->extents[i].bytes : largest;
    uint8_t *memory = ufi_secret_alloc((size_t)largest + 64, NULL);
    if (!memory)
        return ufi_fail(err, UF_E_NOMEM, "no memory to write a snapshot");
    for (uint32_t i = 0; !st && i < f->segment_count; i++) {
        const ufx_extent *e = &f->extents[i];
        ufi_segment image = {.capacity = e->capacity};
        const ufi_segment *s = NULL;
        uint32_t place = 0;
        if (i && f->extents[i - 1].list != e->list)
            from = (source){.x = x};
        memset(memory, 0, (size_t)e->bytes);
        ufi_segment_layout(x, &image, memory);
        for (uint32_t k = 0; k < e->used && next_of_list(&from, e->list, &s, &place); k++)
            ufi_segment_copy(x, &image, k, s, place);
        st = write_extent(f, i, memory, secret, w, err);
    }
    if (!st && x->lists) {
        memcpy(memory, x->centre, (size_t)f->extents[f->segment_count].bytes);
        st = write_extent(f, f->segment_count, memory, secret, w, err);
    }
    ufi_secret_free(memory, (size_t)largest + 64);
    return st;
}

static uf_status write_front(const ufx_file *f, const uint8_t *secret, ufi_file_writer *w,
                             uf_error *err)
{
    const size_t size = (size_t)ufx_front_bytes(f);
    uint8_t *front = ufi_malloc(size, 1);
    if (!front)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the head of a snapshot");
    uf_status st = ufx_put_front(f, front, secret, err);
    if (!st)
        st = ufi_file_writer_seek(w, 0, err);
    if (!st)
        st = ufi_file_writer_put(w, front, size, err);
    ufi_free(front);
    return st;
}

/* The last page is filled up, so that the file has the size it declares. */
static uf_status write_end(const ufx_file *f, ufi_file_writer *w, uf_error *err)
{
    const ufx_extent *last = &f->extents[f->segment_count];
    const uint8_t zero = 0;
    if (!last->bytes && f->segment_count)
        last--;
    if (f->size == last->offset + last->bytes)
        return UF_OK;
    uf_status st = ufi_file_writer_seek(w, f->size - 1, err);
    return st ? st : ufi_file_writer_put(w, &zero, 1, err);
}

uf_status uf_index_save(uf_index *x, const char *path, const uint8_t *secret, uf_error *err)
{
    ufx_file f = {.sealed = secret != NULL};
    ufi_file_writer w = {.fd = -1};
    if (!x || !path)
        return ufi_fail(err, UF_E_ARG, "uf_index_save: no index or no path");
    ufi_rwlock_read(x->lock);
    f.dimension = x->dimension;
    f.detail = (uint32_t)x->options.detail;
    f.lists = x->lists;
    f.count = x->count;
    f.mark = x->mark;
    uf_status st = secret ? ufi_random(f.id, sizeof f.id, err) : UF_OK;
    if (!st)
        st = plan_segments(x, &f, err);
    if (!st)
        st = ufi_file_writer_open(&w, path, true, err);
    if (!st)
        st = write_segments(x, &f, secret, &w, err);
    if (!st)
        st = write_end(&f, &w, err);
    if (!st)
        st = write_front(&f, secret, &w, err);
    st = ufi_file_writer_close(&w, st, err);
    ufi_rwlock_unlock(x->lock);
    ufx_free(&f);
    return st;
}

/* ---- erasing ---- */

typedef struct eraser {
    const char *path;
    int fd;
    const uint8_t *secret;
    ufi_file_map map;
    ufx_file f;
    uf_index *x; /* empty: for the layout */
    const uint64_t *keys;
    size_t count, removed;
    uint8_t *front; /* made room for before anything is written */
} eraser;

static uf_status write_at(const eraser *z, const uint8_t *data, size_t size, uint64_t offset,
                          uf_error *err)
{
    while (size) {
        const ssize_t n = pwrite(z->fd, data, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ufi_fail(err, UF_E_IO, "cannot write: %s", strerror(errno));
        data += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return UF_OK;
}

static bool wanted(const eraser *z, uint64_t key)
{
    for (size_t i = 0; i < z->count; i++)
        if (z->keys[i] == key)
            return true;
    return false;
}

/* Opens a segment's chunks into `memory`. */
static uf_status open_extent(const eraser *z, const ufx_extent *e, uint8_t *memory, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint64_t at = 0; !st && at < e->bytes; at += UFX_CHUNK) {
        const size_t size = e->bytes - at < UFX_CHUNK ? (size_t)(e->bytes - at) : UFX_CHUNK;
        st = ufx_open_chunk(&z->f, e->first_chunk + (uint32_t)(at / UFX_CHUNK),
                            z->map.data + e->offset + at, size, memory + at, z->secret, err);
    }
    return st;
}

static uf_status erase_in(eraser *z, const ufx_extent *e, uint8_t *memory, uf_error *err)
{
    ufi_segment image = {.capacity = e->capacity};
    size_t found = 0;
    uf_status st = open_extent(z, e, memory, err);
    if (st)
        return st;
    ufi_segment_layout(z->x, &image, memory);
    for (uint32_t i = 0; i < e->used; i++) {
        if (ufi_segment_holds(&image, i) && wanted(z, image.key[i])) {
            ufi_segment_erase(z->x, &image, i);
            found++;
        }
    }
    z->removed += found;
    for (uint64_t at = 0; found && !st && at < e->bytes; at += UFX_CHUNK) {
        const size_t size = e->bytes - at < UFX_CHUNK ? (size_t)(e->bytes - at) : UFX_CHUNK;
        st = ufx_close_chunk(&z->f, e->first_chunk + (uint32_t)(at / UFX_CHUNK), memory + at, size,
                             z->secret, err);
        if (!st)
            st = write_at(z, memory + at, size, e->offset + at, err);
    }
    return st;
}

static uf_status erase_all(eraser *z, uf_error *err)
{
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    uint64_t largest = 0;
    o.dimension = z->f.dimension;
    o.detail = (uf_index_detail)z->f.detail;
    uf_status st = ufi_index_new_any(&z->x, &o, err);
    if (st)
        return st;
    const uint32_t chunks = z->f.chunk_count;
    const uint64_t size = z->f.size;
    if (!ufx_plan(z->x, &z->f) || z->f.chunk_count != chunks || z->f.size != size)
        return ufi_fail(err, UF_E_FORMAT, "sizes of the snapshot do not fit together");
    for (uint32_t i = 0; i < z->f.segment_count; i++)
        largest = z->f.extents[i].bytes > largest ? z->f.extents[i].bytes : largest;
    uint8_t *memory = ufi_secret_alloc((size_t)largest + 64, NULL);
    z->front = ufi_malloc((size_t)ufx_front_bytes(&z->f), 1);
    if (!memory || !z->front)
        st = ufi_fail(err, UF_E_NOMEM, "no memory to change a snapshot");
    for (uint32_t i = 0; !st && i < z->f.segment_count && z->removed < z->count; i++)
        st = erase_in(z, &z->f.extents[i], memory, err);
    ufi_secret_free(memory, (size_t)largest + 64);
    return st;
}

static uf_status finish_erasing(eraser *z, uf_error *err)
{
    const size_t size = (size_t)ufx_front_bytes(&z->f);
    z->f.count -= z->f.count < z->removed ? z->f.count : z->removed;
    uf_status st = ufx_put_front(&z->f, z->front, z->secret, err);
    if (!st)
        st = write_at(z, z->front, size, 0, err);
    if (!st && fsync(z->fd) != 0)
        st = ufi_fail(err, UF_E_IO, "cannot sync: %s", strerror(errno));
    return st;
}

uf_status uf_index_file_remove(const char *path, const uint8_t *secret, const uint64_t *keys,
                               size_t count, size_t *removed, uf_error *err)
{
    eraser z = {.path = path, .fd = -1, .secret = secret, .keys = keys, .count = count};
    if (removed)
        *removed = 0;
    if (!path || (count && !keys))
        return ufi_fail(err, UF_E_ARG, "uf_index_file_remove: no path or no keys");
    uf_status st = ufi_file_map_open(&z.map, path, SIZE_MAX, err);
    if (st)
        return st;
    z.fd = open(path, O_RDWR | O_CLOEXEC);
    if (z.fd < 0)
        st = ufi_fail(err, UF_E_IO, "cannot open: %s", strerror(errno));
    if (!st)
        st = ufx_get_front(&z.f, z.map.data, z.map.size, secret, err);
    if (!st)
        st = erase_all(&z, err);
    if (!st && z.removed)
        st = finish_erasing(&z, err);
    if (removed)
        *removed = z.removed;
    if (z.fd >= 0)
        close(z.fd);
    ufi_file_map_close(&z.map);
    ufx_free(&z.f);
    ufi_free(z.front);
    uf_index_destroy(z.x);
    return ufi_wrap(err, st, "%s", path);
}
