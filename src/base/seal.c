/*
 * Secrets over libsodium. A build without it compiles the same functions as errors that say so, so
 * that callers need no conditions of their own. Random bytes and locked memory are the system's.
 *
 * Locked memory is whole pages of the allocator's, not pages of mmap: so it is counted and can be
 * made to fail like all other memory. A header of 64 bytes before the data remembers the block.
 */
#include "base/seal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"

uf_status ufi_random(void *out, size_t size, uf_error *err)
{
    uint8_t *p = out;
    while (size > 0) {
        ssize_t n = getrandom(p, size, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ufi_fail(err, UF_E_IO, "no random bytes from the system: %s", strerror(errno));
        p += n;
        size -= (size_t)n;
    }
    return UF_OK;
}

/* ---- locked memory ---- */

typedef struct secret_header {
    void *block;
    bool locked;
} secret_header;

_Static_assert(sizeof(secret_header) <= UFI_ALIGN, "the header stands before aligned data");

/* Large blocks start at a huge page, which the system is asked for: searches jump about in them,
 * and each page of 4 KiB would cost a walk through the page tables. */
enum { HUGE_PAGE = 2 << 20 };

static bool secret_extent(size_t size, size_t *page, size_t *bytes)
{
    *page = (size_t)sysconf(_SC_PAGESIZE);
    if (!ufi_add_ok(size, UFI_ALIGN + *page - 1, bytes))
        return false;
    *bytes = *bytes / *page * *page;
    return true;
}

void *ufi_secret_alloc(size_t size, bool *locked)
{
    size_t page, bytes, total;
    if (!secret_extent(size, &page, &bytes))
        return NULL;
    const size_t align = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : page;
    if (!ufi_add_ok(bytes, align, &total))
        return NULL;
    void *block = ufi_malloc(total, 1);
    if (!block)
        return NULL;
    uint8_t *start = (uint8_t *)(((uintptr_t)block + align - 1) / align * align);
    if (align > page)
        madvise(start, bytes, MADV_HUGEPAGE);
    secret_header *h = (secret_header *)start;
    bool kept = mlock(start, bytes) == 0;
    madvise(start, bytes, MADV_DONTDUMP);
    memset(start, 0, bytes);
    *h = (secret_header){block, kept};
    if (locked)
        *locked = kept;
    return start + UFI_ALIGN;
}

void ufi_secret_free(void *p, size_t size)
{
    size_t page, bytes;
    if (!p || !secret_extent(size, &page, &bytes))
        return;
    uint8_t *start = (uint8_t *)p - UFI_ALIGN;
    secret_header h = *(secret_header *)start;
    ufi_wipe(start, bytes);
    madvise(start, bytes, MADV_DODUMP);
    if (h.locked)
        munlock(start, bytes);
    ufi_free(h.block);
}

#ifdef UFI_WITH_SODIUM

#include <sodium.h>

_Static_assert(UFI_SECRET_BYTES == randombytes_SEEDBYTES, "seed");
_Static_assert(UFI_SECRET_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
_Static_assert(UFI_SEAL_NONCE_BYTES == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
_Static_assert(UFI_SEAL_TAG_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(UFI_SALT_BYTES == crypto_pwhash_argon2id_SALTBYTES, "salt");

uf_status ufi_seal_ready(uf_error *err)
{
    if (sodium_init() < 0)
        return ufi_fail(err, UF_E_UNSUPPORTED, "libsodium does not start on this machine");
    return UF_OK;
}

/* What ChaCha20 makes of a new seed of the system's, which takes 20 times as long for so many bytes
 * of its own. */
static uf_status refill(ufi_random_pool *pool, uf_error *err)
{
    uint8_t seed[UFI_SECRET_BYTES];
    uf_status st = ufi_seal_ready(err);
    if (!st)
        st = ufi_random(seed, sizeof seed, err);
    if (!st)
        randombytes_buf_deterministic(pool->bytes, sizeof pool->bytes, seed);
    ufi_wipe(seed, sizeof seed);
    return st;
}

static uf_status encrypt(uint8_t *data, size_t size, const uint8_t nonce[UFI_SEAL_NONCE_BYTES],
                         uint8_t tag[UFI_SEAL_TAG_BYTES], const void *bound, size_t bound_size,
                         const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    uint8_t nothing;
    const uf_status st = ufi_seal_ready(err);
    data = data ? data : &nothing; /* libsodium wants a place also for no bytes */
    if (!st)
        crypto_aead_xchacha20poly1305_ietf_encrypt_detached(data, tag, NULL, data, size, bound,
                                                            bound_size, NULL, nonce, secret);
    return st;
}

uf_status ufi_unseal_apart(uint8_t *plain, const uint8_t *data, size_t size,
                           const uint8_t nonce[UFI_SEAL_NONCE_BYTES],
                           const uint8_t tag[UFI_SEAL_TAG_BYTES], const void *bound,
                           size_t bound_size, const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    uint8_t nothing;
    uf_status st = ufi_seal_ready(err);
    if (st)
        return st;
    plain = plain ? plain : &nothing;
    data = data ? data : &nothing;
    if (crypto_aead_xchacha20poly1305_ietf_decrypt_detached(plain, NULL, data, size, tag, bound,
                                                            bound_size, nonce, secret) != 0) {
        if (size > 0)
            memset(plain, 0, size);
        return ufi_fail(err, UF_E_MISMATCH,
                        "does not open: another key, moved from elsewhere, or changed");
    }
    return UF_OK;
}

uf_status ufi_secret_from_passphrase(uint8_t out[UFI_SECRET_BYTES], const char *passphrase,
                                     const uint8_t salt[UFI_SALT_BYTES], uint64_t passes,
                                     uint64_t memory_bytes, uf_error *err)
{
    uf_status st = ufi_seal_ready(err);
    if (st)
        return st;
    if (passes < crypto_pwhash_argon2id_OPSLIMIT_MIN || passes > UINT32_MAX ||
        memory_bytes < crypto_pwhash_argon2id_MEMLIMIT_MIN || memory_bytes > UINT32_MAX * 1024ull)
        return ufi_fail(err, UF_E_ARG, "Argon2id cannot take %llu passes over %llu bytes",
                        (unsigned long long)passes, (unsigned long long)memory_bytes);
    if (crypto_pwhash_argon2id(out, UFI_SECRET_BYTES, passphrase, strlen(passphrase), salt, passes,
                               (size_t)memory_bytes, crypto_pwhash_argon2id_ALG_ARGON2ID13) != 0)
        return ufi_fail(err, UF_E_NOMEM, "no memory for Argon2id: it takes %llu MiB",
                        (unsigned long long)(memory_bytes >> 20));
    return UF_OK;
}

uf_status ufi_secret_derive(uint8_t out[UFI_SECRET_BYTES], const uint8_t secret[UFI_SECRET_BYTES],
                            const char *purpose, uf_error *err)
{
    uf_status st = ufi_seal_ready(err);
    if (!st)
        crypto_generichash(out, UFI_SECRET_BYTES, (const unsigned char *)purpose, strlen(purpose),
                           secret, UFI_SECRET_BYTES);
    return st;
}

#else

uf_status ufi_seal_ready(uf_error *err)
{
    return ufi_fail(err, UF_E_UNSUPPORTED,
                    "this build has no encryption: build it with libsodium (-Dsodium=enabled)");
}

static uf_status refill(ufi_random_pool *pool, uf_error *err)
{
    return ufi_random(pool->bytes, sizeof pool->bytes, err);
}

static uf_status encrypt(uint8_t *data, size_t size, const uint8_t nonce[UFI_SEAL_NONCE_BYTES],
                         uint8_t tag[UFI_SEAL_TAG_BYTES], const void *bound, size_t bound_size,
                         const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    return ufi_seal_ready(err);
}

uf_status ufi_unseal_apart(uint8_t *plain, const uint8_t *data, size_t size,
                           const uint8_t nonce[UFI_SEAL_NONCE_BYTES],
                           const uint8_t tag[UFI_SEAL_TAG_BYTES], const void *bound,
                           size_t bound_size, const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    return ufi_seal_ready(err);
}

uf_status ufi_secret_from_passphrase(uint8_t out[UFI_SECRET_BYTES], const char *passphrase,
                                     const uint8_t salt[UFI_SALT_BYTES], uint64_t passes,
                                     uint64_t memory_bytes, uf_error *err)
{
    return ufi_seal_ready(err);
}

uf_status ufi_secret_derive(uint8_t out[UFI_SECRET_BYTES], const uint8_t secret[UFI_SECRET_BYTES],
                            const char *purpose, uf_error *err)
{
    return ufi_seal_ready(err);
}

#endif

uf_status ufi_random_draw(ufi_random_pool *pool, void *out, size_t size, uf_error *err)
{
    if (size > sizeof pool->bytes)
        return ufi_random(out, size, err);
    if (pool->left < size) {
        const uf_status st = refill(pool, err);
        if (st)
            return st;
        pool->left = sizeof pool->bytes;
    }
    uint8_t *drawn = pool->bytes + sizeof pool->bytes - pool->left;
    memcpy(out, drawn, size);
    ufi_wipe(drawn, size);
    pool->left -= size;
    return UF_OK;
}

uf_status ufi_seal_apart(uint8_t *data, size_t size, uint8_t nonce[UFI_SEAL_NONCE_BYTES],
                         uint8_t tag[UFI_SEAL_TAG_BYTES], const void *bound, size_t bound_size,
                         const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    const uf_status st = ufi_random(nonce, UFI_SEAL_NONCE_BYTES, err);
    return st ? st : encrypt(data, size, nonce, tag, bound, bound_size, secret, err);
}

uf_status ufi_seal_with(uint8_t *out, const uint8_t nonce[UFI_SEAL_NONCE_BYTES], const void *plain,
                        size_t size, const void *bound, size_t bound_size,
                        const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    uint8_t *body = out + UFI_SEAL_NONCE_BYTES;
    memcpy(out, nonce, UFI_SEAL_NONCE_BYTES);
    if (size > 0)
        memmove(body, plain, size);
    const uf_status st = encrypt(body, size, nonce, body + size, bound, bound_size, secret, err);
    if (st)
        ufi_wipe(body, size);
    return st;
}

uf_status ufi_seal(uint8_t *out, const void *plain, size_t size, const void *bound,
                   size_t bound_size, const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    uint8_t nonce[UFI_SEAL_NONCE_BYTES];
    const uf_status st = ufi_random(nonce, sizeof nonce, err);
    return st ? st : ufi_seal_with(out, nonce, plain, size, bound, bound_size, secret, err);
}

uf_status ufi_unseal(void *plain, const uint8_t *sealed, size_t size, const void *bound,
                     size_t bound_size, const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    if (size < UFI_SEAL_EXTRA)
        return ufi_fail(err, UF_E_MISMATCH, "does not open: %zu bytes are too few", size);
    const uint8_t *body = sealed + UFI_SEAL_NONCE_BYTES;
    size_t inner = size - UFI_SEAL_EXTRA;
    return ufi_unseal_apart(plain, body, inner, sealed, body + inner, bound, bound_size, secret,
                            err);
}
