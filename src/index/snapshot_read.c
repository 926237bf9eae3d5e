/* Opening snapshots: plain ones are searched in the mapped file, sealed ones in memory. */
#include <string.h>

#include "base/cpu.h"
#include "base/mem.h"
#include "base/status.h"
#include "index/snapshot.h"

typedef struct opener {
    const ufx_file *f;
    uf_index *x, *saved; /* saved: for the layout of the file, which may have more detail */
    const uint8_t *data, *secret;
    uf_status *status; /* [segments] */
    uf_error error;
    ufi_mutex *mutex; /* protects error */
} opener;

/* The part of a segment that this index wants is a prefix of what was saved. */
static uf_status open_segment(const opener *o, uint32_t i, ufi_segment *s, uf_error *err)
{
    const ufx_extent *e = &o->f->extents[i];
    uf_status st = UF_OK;
    uint8_t *spill = NULL;
    for (uint64_t at = 0; !st && at < s->memory_bytes; at += UFX_CHUNK) {
        const uint8_t *chunk = o->data + e->offset + at;
        const size_t size = e->bytes - at < UFX_CHUNK ? (size_t)(e->bytes - at) : UFX_CHUNK;
        const size_t room = s->memory_bytes - at;
        uint8_t *out = s->memory ? s->memory + at : NULL;
        if (out && room < size) {
            spill = ufi_secret_alloc(UFX_CHUNK, NULL);
            if (!spill)
                st = ufi_fail(err, UF_E_NOMEM, "no memory to open a snapshot");
            out = spill;
        }
        if (!st)
            st = ufx_open_chunk(o->f, e->first_chunk + (uint32_t)(at / UFX_CHUNK), chunk, size, out,
                                o->secret, err);
        if (!st && spill)
            memcpy(s->memory + at, spill, room);
    }
    ufi_secret_free(spill, UFX_CHUNK);
    return st;
}

/* What follows from the arrays; a mask may not name slots that nothing was put into. */
static uf_status settle_segment(ufi_segment *s, uint32_t i, uf_error *err)
{
    for (uint32_t k = 0; k < s->capacity; k++) {
        if (!ufi_segment_holds(s, k))
            continue;
        if (k >= s->used)
            return ufi_fail(err, UF_E_FORMAT, "segment %u of the snapshot has too many vectors", i);
        s->live++;
        if (s->step && s->step[k] > s->step_max)
            s->step_max = s->step[k];
    }
    return UF_OK;
}

static void open_task(void *arg, size_t task, size_t worker)
{
    opener *o = arg;
    uf_error err = {0};
    ufi_segment *s = &o->x->segments[task];
    uf_status st = open_segment(o, (uint32_t)task, s, &err);
    if (!st)
        st = settle_segment(s, (uint32_t)task, &err);
    o->status[task] = st;
    if (st) {
        ufi_mutex_lock(o->mutex);
        o->error = err;
        ufi_mutex_unlock(o->mutex);
    }
    (void)worker;
}

static uf_status open_all(opener *o, uf_error *err)
{
    const size_t count = o->f->segment_count;
    ufi_pool *pool = NULL;
    o->status = ufi_calloc(count + 1, sizeof *o->status);
    uf_status st = o->status ? ufi_mutex_create(&o->mutex, err)
                             : ufi_fail(err, UF_E_NOMEM, "no memory to open a snapshot");
    if (!st)
        st = ufi_pool_create(&pool, count > 1 ? ufi_cpu_count() : 1, err);
    if (!st) {
        ufi_pool_run(pool, open_task, o, count);
        for (size_t i = 0; !st && i < count; i++)
            if (o->status[i])
                st = ufi_fail(err, o->status[i], "%s", o->error.message);
    }
    ufi_pool_destroy(pool);
    ufi_mutex_destroy(o->mutex);
    ufi_free(o->status);
    return st;
}

/* Segments in place (plain) or in new memory. */
static uf_status place_segments(opener *o, uf_error *err)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < o->f->segment_count; i++) {
        const ufx_extent *e = &o->f->extents[i];
        if (o->f->sealed) {
            st = ufi_segment_append(o->x, e->capacity, e->list, err);
        } else {
            uint8_t *memory = (uint8_t *)(uintptr_t)(o->data + e->offset);
            st = ufi_segment_adopt(o->x, e->capacity, e->list, memory, err);
        }
        if (!st)
            o->x->segments[i].used = e->used;
    }
    return st;
}

static uf_status open_centres(opener *o, uf_error *err)
{
    const ufx_file *f = o->f;
    const ufx_extent *e = &f->extents[f->segment_count];
    uf_status st = UF_OK;
    if (!f->lists)
        return UF_OK;
    o->x->centre = ufi_aligned_malloc((size_t)e->bytes);
    if (!o->x->centre)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the lists of a snapshot");
    for (uint64_t at = 0; !st && at < e->bytes; at += UFX_CHUNK)
        st =
            ufx_open_chunk(f, e->first_chunk + (uint32_t)(at / UFX_CHUNK), o->data + e->offset + at,
                           e->bytes - at < UFX_CHUNK ? (size_t)(e->bytes - at) : UFX_CHUNK,
                           (uint8_t *)o->x->centre + at, o->secret, err);
    return st;
}

static uf_status settle(uf_index *x, const ufx_file *f, uf_error *err)
{
    for (size_t i = 0; i < x->segment_count; i++) {
        x->count += x->segments[i].live;
        x->holes += x->segments[i].used - x->segments[i].live;
    }
    x->mark = f->mark;
    x->lists = f->lists;
    uf_status st = ufi_index_rehash(x, err);
    if (st)
        return st;
    for (size_t i = 0; i < x->segment_count; i++)
        for (uint32_t k = 0; k < x->segments[i].used; k++) {
            uint32_t slot = 0;
            if (ufi_segment_holds(&x->segments[i], k) &&
                (!ufi_index_find(x, x->segments[i].key[k], &slot) ||
                 slot != i * UFI_SEGMENT_SLOTS + k))
                return ufi_fail(err, UF_E_FORMAT, "the snapshot has the key %llu twice",
                                (unsigned long long)x->segments[i].key[k]);
        }
    return UF_OK;
}

static uf_status choose_options(const ufx_file *f, const uf_index_options *given,
                                uf_index_options *o, uf_error *err)
{
    if (given)
        *o = *given;
    else
        o->detail = (uf_index_detail)f->detail;
    if (o->dimension && o->dimension != f->dimension)
        return ufi_fail(err, UF_E_MISMATCH, "the snapshot has %u dimensions, not %u", f->dimension,
                        o->dimension);
    if ((uint32_t)o->detail > f->detail)
        return ufi_fail(err, UF_E_MISMATCH,
                        "the snapshot was saved with less detail (%u) than is "
                        "asked for (%d)",
                        f->detail, (int)o->detail);
    o->dimension = f->dimension;
    if (f->lists)
        o->lists = f->lists;
    return UF_OK;
}

uf_status ufi_snapshot_open(uf_index **out, const uint8_t *data, size_t size, const uint8_t *secret,
                            const uf_index_options *options, uf_error *err)
{
    ufx_file f = {0};
    uf_index_options o = UF_INDEX_OPTIONS_INIT, all = UF_INDEX_OPTIONS_INIT;
    opener opening = {.f = &f, .data = data, .secret = secret};
    uf_status st = ufx_get_front(&f, data, size, secret, err);
    if (!st)
        st = choose_options(&f, options, &o, err);
    all.dimension = f.dimension;
    all.detail = (uf_index_detail)f.detail;
    if (!st)
        st = ufi_index_new_any(&opening.saved, &all, err);
    if (!st)
        st = ufi_index_new(&opening.x, &o, err);
    const uint32_t chunks = f.chunk_count;
    const uint64_t declared = f.size;
    if (!st && (!ufx_plan(opening.saved, &f) || f.chunk_count != chunks || f.size != declared))
        st = ufi_fail(err, UF_E_FORMAT, "sizes of the snapshot do not fit together");
    if (!st)
        st = place_segments(&opening, err);
    if (!st)
        st = open_all(&opening, err);
    if (!st)
        st = open_centres(&opening, err);
    if (!st)
        st = settle(opening.x, &f, err);
    if (st)
        uf_index_destroy(opening.x);
    else
        *out = opening.x;
    uf_index_destroy(opening.saved);
    ufx_free(&f);
    return st;
}

uf_status uf_index_open(uf_index **out, const char *path, const uint8_t *secret,
                        const uf_index_options *options, uf_error *err)
{
    ufi_file_map map = {0};
    if (!out || !path)
        return ufi_fail(err, UF_E_ARG, "uf_index_open: no path or nowhere to put the index");
    *out = NULL;
    uf_status st = ufi_file_map_open_copy(&map, path, SIZE_MAX, err);
    if (st)
        return st;
    st = ufi_snapshot_open(out, map.data, map.size, secret, options, err);
    if (st || secret)
        ufi_file_map_close(&map);
    else
        (*out)->map = map;
    return ufi_wrap(err, st, "%s", path);
}
