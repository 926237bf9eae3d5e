/*
 * Bounds-checked little-endian reader over untrusted bytes. Once a read fails, every later one
 * fails too and yields zero, so a caller may read a whole record and check `failed` once.
 * Floor 1. Confined.
 */
#ifndef UFI_BASE_READER_H
#define UFI_BASE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ufi_reader {
    const uint8_t *data;
    size_t size;
    size_t pos;
    bool failed;
} ufi_reader;

void ufi_reader_init(ufi_reader *r, const void *data, size_t size);
size_t ufi_reader_left(const ufi_reader *r);
uint8_t ufi_read_u8(ufi_reader *r);
uint16_t ufi_read_u16(ufi_reader *r);
uint32_t ufi_read_u32(ufi_reader *r);
uint64_t ufi_read_u64(ufi_reader *r);
float ufi_read_f32(ufi_reader *r);
/* Protobuf base-128 varint, at most 10 bytes. */
uint64_t ufi_read_varint(ufi_reader *r);
/* `size` bytes in place, or NULL. */
const uint8_t *ufi_read_bytes(ufi_reader *r, size_t size);
bool ufi_reader_skip(ufi_reader *r, size_t size);
bool ufi_reader_seek(ufi_reader *r, size_t pos);
/* A reader over the next `size` bytes, which are consumed from `r`; failed when short. */
ufi_reader ufi_reader_sub(ufi_reader *r, size_t size);

#endif
