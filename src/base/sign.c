/* Ed25519 over libsodium. A build without it compiles the same functions as errors that say so. */
#include "base/sign.h"

#include "base/seal.h"
#include "base/status.h"

/* ---- base64 ---- */

size_t ufi_base64_size(size_t size)
{
    return (size + 2) / 3 * 4 + 1;
}

/* 0xFF when a <= x <= b, else 0; without a branch or a look-up that depends on x. */
static unsigned within(unsigned x, unsigned a, unsigned b)
{
    return ~((x - a) | (b - x)) >> 8 & 0xFF;
}

static char digit(unsigned v)
{
    return (char)((within(v, 0, 25) & (v + 'A')) | (within(v, 26, 51) & (v - 26 + 'a')) |
                  (within(v, 52, 61) & (v - 52 + '0')) | (within(v, 62, 62) & '+') |
                  (within(v, 63, 63) & '/'));
}

/* The value of a digit, or 0xFF. */
static unsigned value(unsigned c)
{
    const unsigned upper = within(c, 'A', 'Z'), lower = within(c, 'a', 'z');
    const unsigned number = within(c, '0', '9'), plus = within(c, '+', '+');
    const unsigned slash = within(c, '/', '/');
    const unsigned v = (upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (number & (c - '0' + 52)) |
                       (plus & 62) | (slash & 63);
    return v | (~(upper | lower | number | plus | slash) & 0xFF);
}

void ufi_base64(const void *data, size_t size, char *out)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const unsigned v =
            (unsigned)p[i] << 16 | (left > 1 ? p[i + 1] : 0u) << 8 | (left > 2 ? p[i + 2] : 0u);
        *out++ = digit(v >> 18);
        *out++ = digit(v >> 12 & 63);
        *out++ = left > 1 ? digit(v >> 6 & 63) : '=';
        *out++ = left > 2 ? digit(v & 63) : '=';
    }
    *out = '\0';
}

bool ufi_base64_read(const char *text, size_t length, uint8_t *out, size_t cap, size_t *size)
{
    size_t n = 0;
    unsigned wrong = length % 4 != 0;
    for (size_t i = 0; !wrong && i < length; i += 4) {
        const size_t pads =
            i + 4 < length ? 0 : (text[i + 3] == '=') + (size_t)(text[i + 2] == '=');
        unsigned v = 0;
        for (size_t k = 0; k < 4; k++) {
            const unsigned d = k < 4 - pads ? value((uint8_t)text[i + k]) : 0;
            wrong |= d >> 7 | (k >= 4 - pads && text[i + k] != '=');
            v = v << 6 | (d & 63);
        }
        wrong |= v & ((1u << 8 * pads) - 1); /* bits that no byte takes */
        for (size_t k = 0; !wrong && k < 3 - pads; k++, n++) {
            if (n == cap)
                return false;
            out[n] = (uint8_t)(v >> (16 - 8 * k));
        }
    }
    *size = n;
    return !wrong;
}

/* ---- signatures ---- */

#ifdef UFI_WITH_SODIUM

#include <sodium.h>

_Static_assert(UFI_SIGN_SEED_BYTES == crypto_sign_SEEDBYTES, "seed");
_Static_assert(UFI_SIGN_PUBLIC_BYTES == crypto_sign_PUBLICKEYBYTES, "public key");
_Static_assert(UFI_SIGN_BYTES == crypto_sign_BYTES, "signature");

uf_status ufi_sign_ready(uf_error *err)
{
    return ufi_seal_ready(err);
}

uf_status ufi_sign_public(uint8_t out[UFI_SIGN_PUBLIC_BYTES],
                          const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err)
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    uf_status st = ufi_sign_ready(err);
    if (!st)
        crypto_sign_seed_keypair(out, secret, seed);
    sodium_memzero(secret, sizeof secret);
    return st;
}

uf_status ufi_sign(uint8_t out[UFI_SIGN_BYTES], const void *message, size_t size,
                   const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err)
{
    uint8_t key[UFI_SIGN_PUBLIC_BYTES], secret[crypto_sign_SECRETKEYBYTES];
    uf_status st = ufi_sign_ready(err);
    if (!st) {
        crypto_sign_seed_keypair(key, secret, seed);
        crypto_sign_detached(out, NULL, message, size, secret);
    }
    sodium_memzero(secret, sizeof secret);
    return st;
}

uf_status ufi_sign_check(const uint8_t signature[UFI_SIGN_BYTES], const void *message, size_t size,
                         const uint8_t key[UFI_SIGN_PUBLIC_BYTES], uf_error *err)
{
    uf_status st = ufi_sign_ready(err);
    if (!st && crypto_sign_verify_detached(signature, message, size, key) != 0)
        st = ufi_fail(err, UF_E_UNTRUSTED, "the signature does not fit");
    return st;
}

#else

uf_status ufi_sign_ready(uf_error *err)
{
    return ufi_fail(err, UF_E_UNSUPPORTED,
                    "this build can neither sign nor check signatures: build it with libsodium "
                    "(-Dsodium=enabled)");
}

uf_status ufi_sign_public(uint8_t out[UFI_SIGN_PUBLIC_BYTES],
                          const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err)
{
    return ufi_sign_ready(err);
}

uf_status ufi_sign(uint8_t out[UFI_SIGN_BYTES], const void *message, size_t size,
                   const uint8_t seed[UFI_SIGN_SEED_BYTES], uf_error *err)
{
    return ufi_sign_ready(err);
}

uf_status ufi_sign_check(const uint8_t signature[UFI_SIGN_BYTES], const void *message, size_t size,
                         const uint8_t key[UFI_SIGN_PUBLIC_BYTES], uf_error *err)
{
    return ufi_sign_ready(err);
}

#endif
