/*
 * Bounds-checked reading. All reads go through ufi_read_bytes, the only place that moves forward,
 * and integers are put together byte by byte: right on any alignment and byte order, and compiled
 * to a single load where the machine allows it.
 */
#include "base/reader.h"

#include <string.h>

void ufi_reader_init(ufi_reader *r, const void *data, size_t size)
{
    *r = (ufi_reader){.data = data, .size = size, .pos = 0, .failed = false};
}

size_t ufi_reader_left(const ufi_reader *r)
{
    return r->failed ? 0 : r->size - r->pos;
}

const uint8_t *ufi_read_bytes(ufi_reader *r, size_t size)
{
    static const uint8_t nothing[1]; /* an empty run of bytes is not a failure, so not NULL */
    if (r->failed || size > r->size - r->pos) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->data ? r->data + r->pos : nothing;
    r->pos += size;
    return p;
}

uint8_t ufi_read_u8(ufi_reader *r)
{
    const uint8_t *p = ufi_read_bytes(r, 1);
    return p ? p[0] : 0;
}

uint16_t ufi_read_u16(ufi_reader *r)
{
    const uint8_t *p = ufi_read_bytes(r, 2);
    return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

uint32_t ufi_read_u32(ufi_reader *r)
{
    const uint8_t *p = ufi_read_bytes(r, 4);
    return p ? p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24 : 0;
}

uint64_t ufi_read_u64(ufi_reader *r)
{
    const uint8_t *p = ufi_read_bytes(r, 8);
    uint64_t v = 0;
    for (int i = 0; p && i < 8; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

float ufi_read_f32(ufi_reader *r)
{
    uint32_t bits = ufi_read_u32(r);
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

uint64_t ufi_read_varint(ufi_reader *r)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        uint8_t b = ufi_read_u8(r);
        if (r->failed)
            return 0;
        if (shift == 63 && b > 1)
            break; /* more than 64 bits, or an eleventh byte */
        v |= (uint64_t)(b & 0x7F) << shift;
        if (b < 0x80)
            return v;
    }
    r->failed = true;
    return 0;
}

bool ufi_reader_skip(ufi_reader *r, size_t size)
{
    return ufi_read_bytes(r, size) != NULL;
}

bool ufi_reader_seek(ufi_reader *r, size_t pos)
{
    if (r->failed || pos > r->size) {
        r->failed = true;
        return false;
    }
    r->pos = pos;
    return true;
}

ufi_reader ufi_reader_sub(ufi_reader *r, size_t size)
{
    const uint8_t *p = ufi_read_bytes(r, size);
    return (ufi_reader){.data = p, .size = p ? size : 0, .pos = 0, .failed = !p};
}
