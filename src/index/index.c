/* An index: vectors in and out, keys to slots, what it holds. */
#include "index/index.h"

#include <string.h>

#include "base/mem.h"
#include "base/status.h"

enum { FIRST_SEGMENT_SLOTS = 256, MAX_LISTS = 65536, MIN_LISTS = 16, MAX_SEGMENTS = 131071 };
static const uint32_t grave = UINT32_MAX; /* in the table: a key that went */

/* ---- keys to slots ---- */

static size_t home_of(const uf_index *x, uint64_t key)
{
    key ^= key >> 32;
    key *= 0x9E3779B97F4A7C15u;
    return (size_t)(key >> 20) & (x->table_size - 1);
}

static uint64_t key_at(const uf_index *x, uint32_t slot)
{
    return x->segments[slot / UFI_SEGMENT_SLOTS].key[slot % UFI_SEGMENT_SLOTS];
}

static uint32_t *entry_of(const uf_index *x, uint64_t key)
{
    if (!x->table_size)
        return NULL;
    for (size_t i = home_of(x, key);; i = (i + 1) & (x->table_size - 1)) {
        if (!x->table[i])
            return NULL;
        if (x->table[i] != grave && key_at(x, x->table[i] - 1) == key)
            return &x->table[i];
    }
}

bool ufi_index_find(const uf_index *x, uint64_t key, uint32_t *slot)
{
    const uint32_t *entry = entry_of(x, key);
    if (entry)
        *slot = *entry - 1;
    return entry != NULL;
}

static void enter(uf_index *x, uint64_t key, uint32_t slot)
{
    size_t i = home_of(x, key);
    while (x->table[i] && x->table[i] != grave)
        i = (i + 1) & (x->table_size - 1);
    x->table_used += !x->table[i];
    x->table[i] = slot + 1;
}

/* A table for `count` keys with room to grow. */
static uf_status make_table(uf_index *x, uint64_t count, uf_error *err)
{
    size_t size = 64;
    while (size * 2 / 3 < count + count / 8 + 1)
        size *= 2;
    if (size <= x->table_size) { /* never fails: slots that moved are found again */
        memset(x->table, 0, x->table_size * sizeof *x->table);
    } else {
        uint32_t *table = ufi_calloc(size, sizeof *table);
        if (!table)
            return ufi_fail(err, UF_E_NOMEM, "no memory for %zu keys of the index", size);
        ufi_free(x->table);
        x->table = table;
        x->table_size = size;
    }
    x->table_used = 0;
    for (size_t s = 0; s < x->segment_count; s++)
        for (uint32_t i = 0; i < x->segments[s].used; i++)
            if (ufi_segment_holds(&x->segments[s], i))
                enter(x, x->segments[s].key[i], (uint32_t)(s * UFI_SEGMENT_SLOTS + i));
    return UF_OK;
}

uf_status ufi_index_rehash(uf_index *x, uf_error *err)
{
    return make_table(x, x->count, err);
}

/* ---- making ---- */

static uf_status check_options(const uf_index_options *o, uf_error *err)
{
    if (o->dimension < UF_INDEX_MIN_DIMENSION || o->dimension > UF_INDEX_MAX_DIMENSION)
        return ufi_fail(err, UF_E_ARG, "dimension %u of the index: it must be %d to %d",
                        o->dimension, UF_INDEX_MIN_DIMENSION, UF_INDEX_MAX_DIMENSION);
    if ((unsigned)o->detail > UF_INDEX_FLOAT)
        return ufi_fail(err, UF_E_ARG, "detail %d of the index is none of uf_index_detail",
                        (int)o->detail);
    if (o->lists && (o->lists < MIN_LISTS || o->lists > MAX_LISTS))
        return ufi_fail(err, UF_E_ARG, "%u lists: an index has none or %d to %d", o->lists,
                        MIN_LISTS, MAX_LISTS);
    return UF_OK;
}

uf_status ufi_index_new(uf_index **out, const uf_index_options *options, uf_error *err)
{
    if (options->detail == UF_INDEX_SKETCH && !options->fetch)
        return ufi_fail(err, UF_E_ARG,
                        "an index of sketches only needs a function that fetches the vectors "
                        "(uf_index_options.fetch)");
    return ufi_index_new_any(out, options, err);
}

uf_status ufi_index_new_any(uf_index **out, const uf_index_options *options, uf_error *err)
{
    uf_status st = check_options(options, err);
    *out = NULL;
    if (st)
        return st;
    uf_index *x = ufi_calloc(1, sizeof *x);
    if (!x)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an index");
    x->options = *options;
    x->kernels = ufk_default_table();
    x->dimension = options->dimension;
    x->width = ufi_index_width(options->dimension);
    /* Plane 0 is what every search reads: half of the sketch, but not less than 256 bits. */
    const uint32_t first = x->width <= 256 ? x->width : (x->width / 2 + 63) / 64 * 64;
    x->rows[0] = first / 8;
    x->rows[1] = (x->width - first) / 8;
    x->tail = ufi_calloc(options->lists ? options->lists : 1, sizeof *x->tail);
    st = x->tail ? ufi_rwlock_create(&x->lock, err)
                 : ufi_fail(err, UF_E_NOMEM, "no memory for the lists of an index");
    if (st) {
        uf_index_destroy(x);
        return st;
    }
    *out = x;
    return UF_OK;
}

uf_status uf_index_create(uf_index **out, const uf_index_options *options, uf_error *err)
{
    if (!out || !options)
        return ufi_fail(err, UF_E_ARG, "uf_index_create: no options or nowhere to put the index");
    return ufi_index_new(out, options, err);
}

void uf_index_destroy(uf_index *x)
{
    if (!x)
        return;
    for (size_t s = 0; s < x->segment_count; s++)
        ufi_segment_release(&x->segments[s]);
    ufi_file_map_close(&x->map);
    ufi_free(x->segments);
    ufi_free(x->table);
    ufi_free(x->centre);
    ufi_free(x->tail);
    ufi_rwlock_destroy(x->lock);
    ufi_free(x);
}

/* ---- slots ---- */

/* A free slot below `used` in a segment of the list. */
static bool find_hole(uf_index *x, uint32_t list, uint32_t *slot)
{
    for (size_t s = 0; s < x->segment_count; s++) {
        ufi_segment *g = &x->segments[s];
        if (g->list != list || g->live == g->used)
            continue;
        uint32_t i = 0;
        while (ufi_segment_holds(g, i))
            i++;
        *slot = (uint32_t)(s * UFI_SEGMENT_SLOTS + i);
        return true;
    }
    return false;
}

/* Segments grow with the index, so that a small gallery stays small. */
static uint32_t next_capacity(const uf_index *x)
{
    const uint64_t per_list = x->count / (x->lists ? x->lists : 1);
    uint32_t capacity = FIRST_SEGMENT_SLOTS;
    while (capacity < UFI_SEGMENT_SLOTS && capacity < per_list / 4)
        capacity *= 2;
    return capacity;
}

uf_status ufi_index_slot(uf_index *x, uint32_t list, uint32_t *slot, uf_error *err)
{
    if (x->holes && find_hole(x, list, slot)) {
        x->holes--;
        return UF_OK;
    }
    ufi_segment *g = x->tail[list] ? &x->segments[x->tail[list] - 1] : NULL;
    if (!g || g->used == g->capacity) {
        if (x->segment_count >= MAX_SEGMENTS)
            return ufi_fail(err, UF_E_LIMIT, "the index is full: %llu vectors",
                            (unsigned long long)x->count);
        uf_status st = ufi_segment_append(x, next_capacity(x), list, err);
        if (st)
            return st;
        g = &x->segments[x->segment_count - 1];
    }
    *slot = (uint32_t)((size_t)(g - x->segments) * UFI_SEGMENT_SLOTS + g->used++);
    return UF_OK;
}

/* ---- adding and removing ---- */

static uf_status put_one(uf_index *x, uint64_t key, uint64_t group, const float *v, float *scratch,
                         uf_error *err)
{
    float *rotated = scratch, *unit = scratch + x->width;
    const float scale = ufi_inverse_length(v, x->dimension);
    uint32_t slot = 0;
    ufi_rotate(x, rotated, v, scale);
    for (uint32_t i = 0; i < x->dimension; i++)
        unit[i] = v[i] * scale;
    uf_status st = ufi_index_slot(x, ufi_index_nearest_list(x, rotated), &slot, err);
    if (st)
        return st;
    ufi_segment *s = &x->segments[slot / UFI_SEGMENT_SLOTS];
    const uint32_t place = slot % UFI_SEGMENT_SLOTS;
    ufi_segment_put(x, s, place, rotated, unit);
    s->key[place] = key;
    s->group[place] = group;
    s->mask[place / 32] |= 1u << (place % 32);
    s->live++;
    x->count++;
    enter(x, key, slot);
    return UF_OK;
}

static bool take_one(uf_index *x, uint64_t key)
{
    uint32_t *entry = entry_of(x, key);
    if (!entry)
        return false;
    const uint32_t slot = *entry - 1;
    ufi_segment *s = &x->segments[slot / UFI_SEGMENT_SLOTS];
    *entry = grave;
    ufi_segment_erase(x, s, slot % UFI_SEGMENT_SLOTS);
    s->live--;
    x->count--;
    x->holes++;
    return true;
}

static uf_status add_all(uf_index *x, const uint64_t *keys, const uint64_t *groups,
                         const float *vectors, size_t count, float *scratch, uf_error *err)
{
    uf_status st = UF_OK;
    size_t done = 0;
    if ((x->table_used + count) * 3 / 2 >= x->table_size)
        st = make_table(x, x->count + count, err);
    for (; !st && done < count; done++) {
        if (entry_of(x, keys[done]))
            st = ufi_fail(err, UF_E_ARG, "vector %zu: the key %llu is in the index already", done,
                          (unsigned long long)keys[done]);
        else
            st = put_one(x, keys[done], groups[done], vectors + done * x->dimension, scratch, err);
        if (st)
            break;
    }
    if (st)
        while (done-- > 0)
            take_one(x, keys[done]);
    return st;
}

uf_status uf_index_add(uf_index *x, const uint64_t *keys, const uint64_t *groups,
                       const float *vectors, size_t count, uf_error *err)
{
    if (!x || (count && (!keys || !groups || !vectors)))
        return ufi_fail(err, UF_E_ARG, "uf_index_add: no index, keys, groups or vectors");
    for (size_t i = 0; i < count; i++)
        if (ufi_inverse_length(vectors + i * x->dimension, x->dimension) == 0)
            return ufi_fail(err, UF_E_ARG, "vector %zu has no direction: it is zero or not finite",
                            i);
    float *scratch = ufi_aligned_malloc((x->width + x->dimension) * sizeof *scratch);
    if (!scratch)
        return ufi_fail(err, UF_E_NOMEM, "no memory to add vectors");
    ufi_rwlock_write(x->lock);
    const uf_status st = add_all(x, keys, groups, vectors, count, scratch, err);
    ufi_rwlock_unlock(x->lock);
    ufi_wipe(scratch, (x->width + x->dimension) * sizeof *scratch);
    ufi_free(scratch);
    return st;
}

uf_status uf_index_remove(uf_index *x, const uint64_t *keys, size_t count, size_t *removed,
                          uf_error *err)
{
    if (!x || (count && !keys))
        return ufi_fail(err, UF_E_ARG, "uf_index_remove: no index or no keys");
    size_t found = 0;
    ufi_rwlock_write(x->lock);
    for (size_t i = 0; i < count; i++)
        found += take_one(x, keys[i]);
    ufi_rwlock_unlock(x->lock);
    if (removed)
        *removed = found;
    return UF_OK;
}

/* ---- telling ---- */

uf_index_info uf_index_describe(uf_index *x)
{
    uf_index_info info = {.dimension = x->dimension, .detail = x->options.detail};
    ufi_rwlock_read(x->lock);
    info.lists = x->lists;
    info.count = x->count;
    info.mark = x->mark;
    info.memory_bytes = sizeof *x + x->table_size * sizeof *x->table +
                        x->segment_room * sizeof *x->segments +
                        (size_t)x->lists * x->width * sizeof *x->centre;
    for (size_t s = 0; s < x->segment_count; s++)
        info.memory_bytes += x->segments[s].memory_bytes;
    ufi_rwlock_unlock(x->lock);
    return info;
}

void uf_index_set_mark(uf_index *x, uint64_t mark)
{
    ufi_rwlock_write(x->lock);
    x->mark = mark;
    ufi_rwlock_unlock(x->lock);
}

int32_t uf_index_contains(uf_index *x, uint64_t key)
{
    uint32_t slot;
    ufi_rwlock_read(x->lock);
    const bool found = ufi_index_find(x, key, &slot);
    ufi_rwlock_unlock(x->lock);
    return found;
}
