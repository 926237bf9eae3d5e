/* Signatures of models: the record, and the text that is signed. */
#include "format/signature.h"

#include <string.h>

#include "base/reader.h"
#include "base/status.h"
#include "base/utf8.h"

/* Nothing else that a key may sign begins so. */
static const char domain[] = "uniface model signature 1";

enum {
    RECORD_VERSION = 1,
    MESSAGE_MAX =
        sizeof domain + 2 + sizeof(ufi_digests) + 8 + 8 + UFI_SIGN_PUBLIC_BYTES + UFI_SIGNER_MAX
};

static uint8_t *put_int(uint8_t *to, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        *to++ = (uint8_t)(v >> 8 * i);
    return to;
}

static uint8_t *put_bytes(uint8_t *to, const void *from, size_t size)
{
    if (size)
        memcpy(to, from, size);
    return to + size;
}

/* All parts but the last have one size, so that two models never give the same text. */
static size_t message_of(const ufi_signature *s, uint8_t out[MESSAGE_MAX])
{
    uint8_t *p = put_bytes(out, domain, sizeof domain); /* with its NUL */
    p = put_int(p, s->version, 2);
    p = put_bytes(p, s->digests, sizeof s->digests);
    p = put_int(p, s->release, 8);
    p = put_int(p, s->time, 8);
    p = put_bytes(p, s->key, sizeof s->key);
    p = put_bytes(p, s->signer, strlen(s->signer));
    return (size_t)(p - out);
}

bool ufi_signer_ok(const char *name)
{
    const uint8_t *c = (const uint8_t *)name;
    for (size_t n; *c; c += n) {
        n = ufi_utf8_length(c);
        /* U+0080 to U+009F are control characters too, for some terminals. */
        if (!n || *c < 0x20 || *c == 0x7F || (*c == 0xC2 && c[1] < 0xA0))
            return false;
    }
    return c - (const uint8_t *)name <= UFI_SIGNER_MAX;
}

uf_status ufi_signature_make(ufi_signature *s, const uint8_t seed[UFI_SIGN_SEED_BYTES],
                             uf_error *err)
{
    uint8_t message[MESSAGE_MAX];
    uf_status st = ufi_sign_public(s->key, seed, err);
    if (!st)
        st = ufi_sign(s->bytes, message, message_of(s, message), seed, err);
    s->state = st ? UFI_UNSIGNED : UFI_SIGNED;
    return st;
}

size_t ufi_signature_write(const ufi_signature *s,
                           uint8_t out[UFI_SIGNATURE_BYTES + UFI_SIGNER_MAX])
{
    const size_t name = strlen(s->signer);
    uint8_t *p = put_int(out, RECORD_VERSION, 4);
    p = put_int(p, name, 4);
    p = put_int(p, s->release, 8);
    p = put_int(p, s->time, 8);
    p = put_bytes(p, s->key, sizeof s->key);
    p = put_bytes(p, s->bytes, sizeof s->bytes);
    p = put_bytes(p, s->signer, name);
    return (size_t)(p - out);
}

uf_status ufi_signature_read(ufi_signature *s, const uint8_t *data, size_t size, uf_error *err)
{
    ufi_reader r;
    uint8_t message[MESSAGE_MAX];
    ufi_reader_init(&r, data, size);
    const uint32_t version = ufi_read_u32(&r), name_size = ufi_read_u32(&r);
    s->release = ufi_read_u64(&r);
    s->time = ufi_read_u64(&r);
    const uint8_t *key = ufi_read_bytes(&r, sizeof s->key);
    const uint8_t *bytes = ufi_read_bytes(&r, sizeof s->bytes);
    const uint8_t *name = ufi_read_bytes(&r, name_size);
    if (r.failed || ufi_reader_left(&r))
        return ufi_fail(err, UF_E_FORMAT, "the signature section has the wrong size");
    if (version != RECORD_VERSION)
        return ufi_fail(err, UF_E_UNSUPPORTED, "a signature of kind %u; this program knows kind %d",
                        version, RECORD_VERSION);
    memcpy(s->key, key, sizeof s->key);
    memcpy(s->bytes, bytes, sizeof s->bytes);
    if (name_size <= UFI_SIGNER_MAX)
        *put_bytes((uint8_t *)s->signer, name, name_size) = '\0';
    if (name_size > UFI_SIGNER_MAX || strlen(s->signer) != name_size || !ufi_signer_ok(s->signer))
        return ufi_fail(err, UF_E_FORMAT, "the signer's name is malformed");
    const uf_status st = ufi_sign_check(s->bytes, message, message_of(s, message), s->key, NULL);
    s->state = !st ? UFI_SIGNED : st == UF_E_UNTRUSTED ? UFI_SIGNED_WRONGLY : UFI_SIGNED_UNCHECKED;
    return UF_OK;
}

void ufi_signature_spoil(ufi_signature *s)
{
    if (s->state != UFI_UNSIGNED)
        s->state = UFI_SIGNED_BEFORE;
}
