/*
 * Where each buffer lives in one block of memory. Optimal placement is NP-hard; taking buffers
 * largest first and putting each at the lowest gap that is free over its whole life is what
 * inference runtimes do, and comes within a few per cent of the bound on networks.
 */
#include <stdlib.h>

#include "base/mem.h"
#include "graph/graph.h"

static size_t round_up(size_t n)
{
    return (n + (UFI_ALIGN - 1)) & ~(size_t)(UFI_ALIGN - 1);
}

/* Follows same_as to the buffer that owns the place; UFI_NONE for a reference that leads nowhere.
 */
static uint32_t root_of(const ufi_buffer *b, uint32_t count, uint32_t i)
{
    for (uint32_t hops = 0; hops <= count; hops++) {
        if (b[i].same_as < 0)
            return i;
        if ((uint32_t)b[i].same_as >= count)
            return UFI_NONE;
        i = (uint32_t)b[i].same_as;
    }
    return UFI_NONE;
}

static int larger_first(const void *pa, const void *pb)
{
    const ufi_buffer *a = *(ufi_buffer *const *)pa, *b = *(ufi_buffer *const *)pb;
    if (a->size_bytes != b->size_bytes)
        return a->size_bytes > b->size_bytes ? -1 : 1;
    return a < b ? -1 : a > b; /* ties by position: the same plan every time */
}

static bool alive_together(const ufi_buffer *a, const ufi_buffer *b)
{
    return a->first_step <= b->last_step && b->first_step <= a->last_step;
}

/* Puts `b` at the lowest offset where none of the `placed` ones (sorted by offset) is in the way.
 */
static void place(ufi_buffer **by_offset, uint32_t placed, ufi_buffer *b)
{
    size_t at = 0, size = round_up(b->size_bytes);
    for (uint32_t i = 0; i < placed; i++) {
        const ufi_buffer *o = by_offset[i];
        if (!alive_together(o, b))
            continue;
        if (at + size <= o->offset_bytes)
            break;
        size_t end = o->offset_bytes + round_up(o->size_bytes);
        at = end > at ? end : at;
    }
    b->offset_bytes = at;
    uint32_t i = placed;
    for (; i > 0 && by_offset[i - 1]->offset_bytes > at; i--)
        by_offset[i] = by_offset[i - 1];
    by_offset[i] = b;
}

static uf_status join_aliases(ufi_buffer *buffers, uint32_t count, uf_error *err)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t root = root_of(buffers, count, i);
        if (root == UFI_NONE)
            return ufi_fail(err, UF_E_FORMAT, "buffer %u shares the place of no buffer", i);
        if (root == i)
            continue;
        ufi_buffer *r = &buffers[root], *b = &buffers[i];
        r->first_step = b->first_step < r->first_step ? b->first_step : r->first_step;
        r->last_step = b->last_step > r->last_step ? b->last_step : r->last_step;
        r->size_bytes = b->size_bytes > r->size_bytes ? b->size_bytes : r->size_bytes;
    }
    return UF_OK;
}

uf_status ufi_memory_plan(ufi_buffer *buffers, uint32_t count, size_t *total_bytes, uf_error *err)
{
    *total_bytes = 0;
    uf_status st = join_aliases(buffers, count, err);
    if (st || count == 0)
        return st;
    ufi_buffer **by_size = ufi_malloc(count, 2 * sizeof *by_size);
    if (!by_size)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a memory plan");
    ufi_buffer **by_offset = by_size + count;
    uint32_t roots = 0;
    size_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (buffers[i].same_as >= 0)
            continue;
        by_size[roots++] = &buffers[i];
        if (!ufi_add_ok(sum, buffers[i].size_bytes, &sum) || sum > SIZE_MAX / 4)
            st = ufi_fail(err, UF_E_LIMIT, "the activations pass the address space");
    }
    qsort(by_size, roots, sizeof *by_size, larger_first);
    for (uint32_t i = 0; !st && i < roots; i++) {
        place(by_offset, i, by_size[i]);
        size_t end = by_size[i]->offset_bytes + round_up(by_size[i]->size_bytes);
        *total_bytes = end > *total_bytes ? end : *total_bytes;
    }
    for (uint32_t i = 0; !st && i < count; i++)
        buffers[i].offset_bytes = buffers[root_of(buffers, count, i)].offset_bytes;
    ufi_free(by_size);
    return st;
}
