/* Segments: where the arrays lie, and a slot's way in and out. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/seal.h"
#include "base/status.h"
#include "index/index.h"

size_t ufi_segment_layout(const uf_index *x, ufi_segment *s, uint8_t *memory)
{
    const size_t n = s->capacity;
    const uf_index_detail detail = x->options.detail;
    size_t at = 0;
    for (int p = 0; p < UFI_PLANES; p++)
        s->plane[p] = ufi_carve(memory, &at, n * x->rows[p]);
    s->mask = ufi_carve(memory, &at, n / 8);
    s->factor = ufi_carve(memory, &at, n * sizeof *s->factor);
    s->key = ufi_carve(memory, &at, n * sizeof *s->key);
    s->group = ufi_carve(memory, &at, n * sizeof *s->group);
    if (detail >= UF_INDEX_INT8) {
        s->step = ufi_carve(memory, &at, n * sizeof *s->step);
        s->code = ufi_carve(memory, &at, n * x->width);
        s->level = ufi_carve(memory, &at, n * x->width / 8);
    }
    if (detail >= UF_INDEX_FLOAT)
        s->vector = ufi_carve(memory, &at, n * x->dimension * sizeof *s->vector);
    return at;
}

/* Room for one more segment. */
static uf_status make_room(uf_index *x, uf_error *err)
{
    if (x->segment_count < x->segment_room)
        return UF_OK;
    const size_t room = x->segment_room ? 2 * x->segment_room : 16;
    ufi_segment *more = ufi_realloc(x->segments, room, sizeof *more);
    if (!more)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %zu segments of the index", room);
    x->segments = more;
    x->segment_room = room;
    return UF_OK;
}

uf_status ufi_segment_adopt(uf_index *x, uint32_t capacity, uint32_t list, uint8_t *memory,
                            uf_error *err)
{
    uf_status st = make_room(x, err);
    if (st)
        return st;
    ufi_segment s = {.capacity = capacity, .list = list, .memory = memory, .borrowed = true};
    s.memory_bytes = ufi_segment_layout(x, &s, memory);
    x->segments[x->segment_count++] = s;
    x->tail[list] = (uint32_t)x->segment_count;
    return UF_OK;
}

uf_status ufi_segment_append(uf_index *x, uint32_t capacity, uint32_t list, uf_error *err)
{
    ufi_segment shape = {.capacity = capacity};
    const size_t bytes = ufi_segment_layout(x, &shape, NULL);
    uint8_t *memory = ufi_secret_alloc(bytes, NULL);
    if (!memory)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %u more vectors of the index (%zu bytes)",
                        capacity, bytes);
    uf_status st = ufi_segment_adopt(x, capacity, list, memory, err);
    if (st)
        ufi_secret_free(memory, bytes);
    else
        x->segments[x->segment_count - 1].borrowed = false;
    return st;
}

void ufi_segment_release(ufi_segment *s)
{
    if (!s->borrowed)
        ufi_secret_free(s->memory, s->memory_bytes);
    *s = (ufi_segment){0};
}

static uint8_t four_bits(const float *v)
{
    return (uint8_t)((v[0] >= 0) | (v[1] >= 0) << 1 | (v[2] >= 0) << 2 | (v[3] >= 0) << 3);
}

static void put_sketch(const uf_index *x, ufi_segment *s, uint32_t place, const float *rotated)
{
    const size_t block = place / UFK_SKETCH_BLOCK, byte = place % UFK_SKETCH_BLOCK;
    for (int p = 0; p < UFI_PLANES; p++) {
        uint8_t *rows = s->plane[p] + block * x->rows[p] * UFK_SKETCH_BLOCK + byte;
        for (size_t r = 0; r < x->rows[p]; r++, rotated += 8)
            rows[r * UFK_SKETCH_BLOCK] =
                (uint8_t)(four_bits(rotated) | four_bits(rotated + 4) << 4);
    }
}

/* Two bits a coordinate are its sign and whether it lies beyond 0.98 standard deviations (the best
 * four levels for a Gaussian: Max 1960). Kept is the sign times the second bit, because that can be
 * added up as the signs are (level_weight in scan.c). */
static void put_level(const uf_index *x, uint8_t *level, const float *rotated)
{
    const float bound = 0.9816f / sqrtf((float)x->width);
    for (uint32_t i = 0; i < x->width; i += 8) {
        uint8_t byte = 0;
        for (uint32_t k = 0; k < 8; k++) {
            const bool positive = rotated[i + k] >= 0, large = fabsf(rotated[i + k]) > bound;
            byte |= (uint8_t)((positive == large) << k);
        }
        level[i / 8] = byte;
    }
}

void ufi_segment_put(const uf_index *x, ufi_segment *s, uint32_t place, const float *rotated,
                     const float *vector)
{
    float largest = 0, sum = 0;
    for (uint32_t i = 0; i < x->width; i++) {
        const float size = fabsf(rotated[i]);
        largest = size > largest ? size : largest;
        sum += size;
    }
    put_sketch(x, s, place, rotated);
    s->factor[place] = 1 / sum;
    if (s->code) {
        const float inverse = 127 / largest;
        s->step[place] = largest / 127;
        s->step_max = fmaxf(s->step_max, s->step[place]);
        put_level(x, s->level + (size_t)place * (x->width / 8), rotated);
        for (uint32_t i = 0; i < x->width; i++)
            s->code[(size_t)place * x->width + i] = (int8_t)lrintf(rotated[i] * inverse);
    }
    if (s->vector)
        memcpy(s->vector + (size_t)place * x->dimension, vector, x->dimension * sizeof *s->vector);
}

void ufi_segment_copy(const uf_index *x, ufi_segment *to, uint32_t to_place,
                      const ufi_segment *from, uint32_t from_place)
{
    for (int p = 0; p < UFI_PLANES; p++) {
        const size_t bytes = x->rows[p] * UFK_SKETCH_BLOCK;
        uint8_t *out = to->plane[p] + to_place / 32 * bytes + to_place % 32;
        const uint8_t *in = from->plane[p] + from_place / 32 * bytes + from_place % 32;
        for (size_t r = 0; r < x->rows[p]; r++)
            out[r * UFK_SKETCH_BLOCK] = in[r * UFK_SKETCH_BLOCK];
    }
    to->factor[to_place] = from->factor[from_place];
    to->key[to_place] = from->key[from_place];
    to->group[to_place] = from->group[from_place];
    to->mask[to_place / 32] |= 1u << (to_place % 32);
    if (to->code) {
        to->step[to_place] = from->step[from_place];
        to->step_max = fmaxf(to->step_max, from->step[from_place]);
        memcpy(to->code + (size_t)to_place * x->width, from->code + (size_t)from_place * x->width,
               x->width);
        memcpy(to->level + (size_t)to_place * (x->width / 8),
               from->level + (size_t)from_place * (x->width / 8), x->width / 8);
    }
    if (to->vector)
        memcpy(to->vector + (size_t)to_place * x->dimension,
               from->vector + (size_t)from_place * x->dimension, x->dimension * sizeof *to->vector);
}

void ufi_segment_erase(const uf_index *x, ufi_segment *s, uint32_t place)
{
    for (int p = 0; p < UFI_PLANES; p++) {
        const size_t bytes = x->rows[p] * UFK_SKETCH_BLOCK;
        for (size_t r = 0; r < x->rows[p]; r++)
            s->plane[p][place / 32 * bytes + r * UFK_SKETCH_BLOCK + place % 32] = 0;
    }
    s->mask[place / 32] &= ~(1u << (place % 32));
    s->factor[place] = 0;
    s->key[place] = s->group[place] = 0;
    if (s->code) {
        s->step[place] = 0;
        ufi_wipe(s->code + (size_t)place * x->width, x->width);
        ufi_wipe(s->level + (size_t)place * (x->width / 8), x->width / 8);
    }
    if (s->vector)
        ufi_wipe(s->vector + (size_t)place * x->dimension, x->dimension * sizeof *s->vector);
}
