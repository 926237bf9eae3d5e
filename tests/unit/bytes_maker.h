/* Files in memory, written byte by byte by tests. */
#ifndef UF_TESTS_BYTES_MAKER_H
#define UF_TESTS_BYTES_MAKER_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct bytes {
    uint8_t *data;
    size_t size, cap;
} bytes;

static inline void put_fill(bytes *b, uint8_t value, size_t n)
{
    if (b->size + n > b->cap) {
        b->cap = (b->size + n) * 2;
        b->data = realloc(b->data, b->cap);
        if (!b->data)
            abort();
    }
    if (n)
        memset(b->data + b->size, value, n);
    b->size += n;
}

static inline void put_data(bytes *b, const void *data, size_t n)
{
    size_t at = b->size;
    put_fill(b, 0, n);
    if (n)
        memcpy(b->data + at, data, n);
}

/* The low `n` bytes of v, the highest first. */
static inline void put_uint(bytes *b, uint64_t v, size_t n)
{
    for (size_t i = n; i-- > 0;)
        put_fill(b, (uint8_t)(v >> 8 * i), 1);
}

/* The same, the lowest first. */
static inline void put_le(bytes *b, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        put_fill(b, (uint8_t)(v >> 8 * i), 1);
}

static inline void bytes_free(bytes *b)
{
    free(b->data);
    *b = (bytes){0};
}

#endif
