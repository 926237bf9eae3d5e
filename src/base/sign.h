/*
 * Signatures: Ed25519 (RFC 8032) over libsodium, or errors that say that this build has none; and
 * base64, in which keys are written. Floor 1. Thread: any.
 */
#ifndef UFI_BASE_SIGN_H
#define UFI_BASE_SIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uniface/base.h"

enum {
    UFI_SIGN_SEED_BYTES = 32, /* what a secret key is made of */
    UFI_SIGN_PUBLIC_BYTES = 32,
    UFI_SIGN_BYTES = 64
};

/* UF_OK when this build and machine can sign; UF_E_UNSUPPORTED says what is missing. */
uf_status ufi_sign_ready(uf_error *err);
/* The public key of a seed. */
uf_status ufi_sign_public(uint8_t out[UFI_SIGN_PUBLIC_BYTES],
                          const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err);
uf_status ufi_sign(uint8_t out[UFI_SIGN_BYTES], const void *message, size_t size,
                   const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err);
/* UF_OK: made by the key's owner over these bytes. UF_E_UNTRUSTED: not; keys of small order, that
 * of zeros among them, fit nothing. UF_E_UNSUPPORTED: cannot be told here. */
uf_status ufi_sign_check(const uint8_t signature[UFI_SIGN_BYTES], const void *message, size_t size,
                         const uint8_t key[UFI_SIGN_PUBLIC_BYTES], uf_error *err);

/* Base64 (RFC 4648, with padding). Takes the same time for all bytes of a size, as secrets want.
 * `out` has room for ufi_base64_size(size). */
size_t ufi_base64_size(size_t size); /* with the NUL */
void ufi_base64(const void *data, size_t size, char *out);
/* The bytes of `length` characters into out[cap]; false when they are no base64 or more bytes. */
bool ufi_base64_read(const char *text, size_t length, uint8_t *out, size_t cap, size_t *size);

#endif
