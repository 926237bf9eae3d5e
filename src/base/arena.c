/*
 * A growing arena: a list of chunks, filled front to back.
 *
 * Chunks double from 4 KiB to 256 KiB, so that a small model costs a page and a large one few
 * calls. An object larger than the next chunk gets a chunk of its own, put behind the head so that
 * the room left in the head is not lost. Chunks come zeroed, so an object costs no memset.
 */
#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

#define ARENA_ALIGN 16
#define CHUNK_FIRST_BYTES 4096
#define CHUNK_MAX_BYTES ((size_t)256 * 1024)

struct ufi_arena_chunk {
    struct ufi_arena_chunk *next;
    size_t size_bytes, used_bytes; /* of data */
    _Alignas(ARENA_ALIGN) uint8_t data[];
};

void ufi_arena_init(ufi_arena *a, size_t max_bytes)
{
    *a = (ufi_arena){.head = NULL, .used_bytes = 0, .max_bytes = max_bytes};
}

void ufi_arena_free(ufi_arena *a)
{
    struct ufi_arena_chunk *c = a->head;
    while (c) {
        struct ufi_arena_chunk *next = c->next;
        ufi_free(c);
        c = next;
    }
    a->head = NULL;
    a->used_bytes = 0;
}

/* A new chunk with room for `bytes`, linked into the list; NULL when memory is short. */
static struct ufi_arena_chunk *add_chunk(ufi_arena *a, size_t bytes)
{
    size_t size = a->head ? a->head->size_bytes * 2 : CHUNK_FIRST_BYTES, total;
    if (size > CHUNK_MAX_BYTES)
        size = CHUNK_MAX_BYTES;
    bool own = bytes > size;
    if (own)
        size = bytes;
    if (!ufi_add_ok(size, sizeof(struct ufi_arena_chunk), &total))
        return NULL;
    struct ufi_arena_chunk *c = ufi_calloc(total, 1);
    if (!c)
        return NULL;
    c->size_bytes = size;
    if (own && a->head) {
        c->next = a->head->next;
        a->head->next = c;
    } else {
        c->next = a->head;
        a->head = c;
    }
    return c;
}

void *ufi_arena_alloc(ufi_arena *a, size_t count, size_t size)
{
    size_t bytes, used;
    if (!ufi_mul_ok(count, size, &bytes) || !ufi_add_ok(bytes, ARENA_ALIGN - 1, &bytes))
        return NULL;
    bytes = bytes / ARENA_ALIGN * ARENA_ALIGN;
    if (bytes == 0)
        bytes = ARENA_ALIGN;
    if (!ufi_add_ok(a->used_bytes, bytes, &used) || (a->max_bytes && used > a->max_bytes))
        return NULL;
    struct ufi_arena_chunk *c = a->head;
    if (!c || c->size_bytes - c->used_bytes < bytes)
        c = add_chunk(a, bytes);
    if (!c)
        return NULL;
    void *p = c->data + c->used_bytes;
    c->used_bytes += bytes;
    a->used_bytes = used;
    return p;
}

char *ufi_arena_strndup(ufi_arena *a, const char *s, size_t n)
{
    size_t length = n ? strnlen(s, n) : 0, bytes;
    char *copy = ufi_add_ok(length, 1, &bytes) ? ufi_arena_alloc(a, bytes, 1) : NULL;
    if (copy && length)
        memcpy(copy, s, length);
    return copy;
}
