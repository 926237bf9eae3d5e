/* SHA-256 (FIPS 180-4). Floor 1. Confined. */
#ifndef UFI_BASE_HASH_H
#define UFI_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define UFI_SHA256_BYTES 32

typedef struct ufi_sha256 {
    uint32_t state[8];
    uint64_t length_bytes;
    uint8_t block[64];
    size_t block_used;
} ufi_sha256;

void ufi_sha256_init(ufi_sha256 *h);
void ufi_sha256_update(ufi_sha256 *h, const void *data, size_t size);
void ufi_sha256_final(ufi_sha256 *h, uint8_t out[UFI_SHA256_BYTES]);
void ufi_sha256_of(const void *data, size_t size, uint8_t out[UFI_SHA256_BYTES]);
/* 64 lower-case hexadecimal digits and a NUL. */
void ufi_hex(const uint8_t *bytes, size_t count, char *out);

#endif
