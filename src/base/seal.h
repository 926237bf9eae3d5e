/*
 * Secrets: authenticated encryption, keys from passphrases, locked memory; over libsodium, or
 * errors that say that this build has none. Floor 1. Thread: any.
 */
#ifndef UFI_BASE_SEAL_H
#define UFI_BASE_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uniface/base.h"

enum {
    UFI_SECRET_BYTES = 32,
    UFI_SALT_BYTES = 16,
    UFI_SEAL_NONCE_BYTES = 24,
    UFI_SEAL_TAG_BYTES = 16,
    UFI_SEAL_EXTRA = UFI_SEAL_NONCE_BYTES + UFI_SEAL_TAG_BYTES
};

/* UF_OK when this build and machine can encrypt; UF_E_UNSUPPORTED says what is missing. */
uf_status ufi_seal_ready(uf_error *err);
/* Random bytes for keys. Errors: UF_E_IO. */
uf_status ufi_random(void *out, size_t size, uf_error *err);
/* Random bytes made of the system's many at a time, since a call costs as much as sealing hundreds
 * of bytes. All zero is empty. To be wiped when the work is done: a child of this process would
 * draw the same. Thread: confined. */
typedef struct ufi_random_pool {
    size_t left;
    uint8_t bytes[1024];
} ufi_random_pool;
uf_status ufi_random_draw(ufi_random_pool *pool, void *out, size_t size, uf_error *err);

/* XChaCha20-Poly1305 (IETF draft) with a random nonce: out gets nonce, ciphertext, tag: size +
 * UFI_SEAL_EXTRA bytes. `bound` (associated data) is authenticated, not stored. */
uf_status ufi_seal(uint8_t *out, const void *plain, size_t size, const void *bound,
                   size_t bound_size, const uint8_t secret[UFI_SECRET_BYTES], uf_error *err);
/* The same with a nonce that was drawn before, and is used for nothing else. */
uf_status ufi_seal_with(uint8_t *out, const uint8_t nonce[UFI_SEAL_NONCE_BYTES], const void *plain,
                        size_t size, const void *bound, size_t bound_size,
                        const uint8_t secret[UFI_SECRET_BYTES], uf_error *err);
/* The reverse: `size` is that of the sealed bytes; `plain` gets size - UFI_SEAL_EXTRA of them.
 * UF_E_MISMATCH: wrong secret, other bound data, or changed bytes; `plain` is zeroed then. */
uf_status ufi_unseal(void *plain, const uint8_t *sealed, size_t size, const void *bound,
                     size_t bound_size, const uint8_t secret[UFI_SECRET_BYTES], uf_error *err);
/* The same with nonce and tag kept apart and `data` changed in place (large snapshots). */
uf_status ufi_seal_apart(uint8_t *data, size_t size, uint8_t nonce[UFI_SEAL_NONCE_BYTES],
                         uint8_t tag[UFI_SEAL_TAG_BYTES], const void *bound, size_t bound_size,
                         const uint8_t secret[UFI_SECRET_BYTES], uf_error *err);
uf_status ufi_unseal_apart(uint8_t *plain, const uint8_t *data, size_t size,
                           const uint8_t nonce[UFI_SEAL_NONCE_BYTES],
                           const uint8_t tag[UFI_SEAL_TAG_BYTES], const void *bound,
                           size_t bound_size, const uint8_t secret[UFI_SECRET_BYTES],
                           uf_error *err);

/* How a new key is made from a passphrase: RFC 9106, second recommended choice. It is stored with
 * what the key opens; the maxima are what a damaged or foreign file may ask of this machine. */
#define UFI_PASSPHRASE_PASSES 3u
#define UFI_PASSPHRASE_PASSES_MAX 64u
#define UFI_PASSPHRASE_MEMORY_BYTES ((uint64_t)64 << 20)
#define UFI_PASSPHRASE_MEMORY_BYTES_MAX ((uint64_t)2 << 30)
/* A key from a passphrase: Argon2id (RFC 9106) with `passes` and `memory_bytes`. Takes time on
 * purpose. */
uf_status ufi_secret_from_passphrase(uint8_t out[UFI_SECRET_BYTES], const char *passphrase,
                                     const uint8_t salt[UFI_SALT_BYTES], uint64_t passes,
                                     uint64_t memory_bytes, uf_error *err);
/* A key for one purpose from another key and a text (keyed BLAKE2b). */
uf_status ufi_secret_derive(uint8_t out[UFI_SECRET_BYTES], const uint8_t secret[UFI_SECRET_BYTES],
                            const char *purpose, uf_error *err);

/* Pages for secrets and decrypted templates: zeroed, kept out of swap and core dumps where the
 * system allows (*locked, may be NULL, tells), overwritten when freed. 64-byte aligned. */
void *ufi_secret_alloc(size_t size, bool *locked);
void ufi_secret_free(void *p, size_t size); /* NULL is accepted */

#endif
