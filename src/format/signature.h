/*
 * The signature of a model (section 4 of docs/formats/ufm.md): who signed which release of it and
 * when. What is signed are the digests of the other sections. Floor 4. Confined.
 */
#ifndef UFI_FORMAT_SIGNATURE_H
#define UFI_FORMAT_SIGNATURE_H

#include "base/hash.h"
#include "base/sign.h"

enum {
    UFI_SIGNER_MAX = 64,       /* bytes of a signer's name */
    UFI_SIGNATURE_BYTES = 120, /* of the record, before the name */
    UFI_SIGNED_SECTIONS = 3    /* metadata, graph, tensors */
};

typedef enum ufi_signature_state {
    UFI_UNSIGNED,
    UFI_SIGNED,           /* the owner of `key` signed this very model */
    UFI_SIGNED_WRONGLY,   /* there is a signature, and it is not of this model */
    UFI_SIGNED_UNCHECKED, /* this build has no libsodium */
    UFI_SIGNED_BEFORE     /* the model was signed, and has been changed since */
} ufi_signature_state;

typedef uint8_t ufi_digests[UFI_SIGNED_SECTIONS][UFI_SHA256_BYTES];

typedef struct ufi_signature {
    ufi_signature_state state;
    uint64_t release, time; /* seconds since 1970, UTC */
    uint8_t key[UFI_SIGN_PUBLIC_BYTES], bytes[UFI_SIGN_BYTES];
    char signer[UFI_SIGNER_MAX + 1]; /* UTF-8 */
    /* what it was made over */
    uint16_t version; /* of the format */
    ufi_digests digests;
} ufi_signature;

/* Signs; `s` has everything but key, bytes and state. */
uf_status ufi_signature_make(ufi_signature *s, const uint8_t seed[UFI_SIGN_SEED_BYTES],
                             uf_error *err);
/* The section's bytes. Returns their number. */
size_t ufi_signature_write(const ufi_signature *s,
                           uint8_t out[UFI_SIGNATURE_BYTES + UFI_SIGNER_MAX]);
/* Reads a section and checks it against `s->version` and `s->digests`, which are there already.
 * UF_E_FORMAT, UF_E_UNSUPPORTED: that is no such record. A signature that does not fit is no error
 * but a state. */
uf_status ufi_signature_read(ufi_signature *s, const uint8_t *data, size_t size, uf_error *err);
/* The model was changed. */
void ufi_signature_spoil(ufi_signature *s);
/* A name of 0 to 64 bytes of UTF-8 without control characters. */
bool ufi_signer_ok(const char *name);

#endif
