/*
 * uniface/sign.h - signed models: keys, signatures, and who is trusted.
 *
 * A signature (Ed25519) in a `.ufm` covers metadata, graph and tensors, and a release number by
 * which an older model cannot take a newer one's place. A build without libsodium signs nothing,
 * and is an error (UF_E_UNSUPPORTED) wherever trust is asked for. docs/signing.md tells how it is
 * used. Since 0.1.
 */
#ifndef UNIFACE_SIGN_H
#define UNIFACE_SIGN_H

#include "uniface/model.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UF_SIGN_KEY_BYTES 32 /* of a public key */
#define UF_SIGN_KEY_TEXT 45  /* characters of it as text, with the NUL */
#define UF_SIGNER_MAX 64     /* bytes of a signer's name */

/* ---- keys ---- */

/* A secret key and its public one; in locked memory, wiped when it is destroyed. Shareable. */
typedef struct uf_sign_key uf_sign_key;

UF_API uf_status uf_sign_key_generate(uf_sign_key **out, uf_error *err);
/* Writes a new file that only its owner may read; one that is there is not replaced (UF_E_STATE).
 * With a passphrase (else NULL) the key is encrypted by it. */
UF_API uf_status uf_sign_key_save(const uf_sign_key *k, const char *path, const char *passphrase,
                                  uf_error *err);
/* UF_E_ARG: the key is encrypted and `passphrase` is NULL; UF_E_MISMATCH: it is another;
 * UF_E_FORMAT: this is no secret key. */
UF_API uf_status uf_sign_key_load(uf_sign_key **out, const char *path, const char *passphrase,
                                  uf_error *err);
UF_API void uf_sign_key_destroy(uf_sign_key *k); /* NULL is accepted */
/* What others trust: UF_SIGN_KEY_BYTES bytes. */
UF_API const uint8_t *uf_sign_key_public(const uf_sign_key *k);
/* The same as a file, which is replaced when it is there. */
UF_API uf_status uf_sign_key_save_public(const uf_sign_key *k, const char *path, uf_error *err);
/* A public key as the text that its file has in the second line. */
UF_API void uf_sign_key_text(const uint8_t key[UF_SIGN_KEY_BYTES], char out[UF_SIGN_KEY_TEXT]);

/* ---- signatures ---- */

typedef enum uf_signature_state {
    UF_SIGNATURE_NONE = 0,
    UF_SIGNATURE_VALID = 1,     /* made by the owner of `key`, over this very model */
    UF_SIGNATURE_INVALID = 2,   /* there is one, and it is not of this model */
    UF_SIGNATURE_UNCHECKED = 3, /* there is one, and this build has no libsodium */
    UF_SIGNATURE_CHANGED = 4    /* there was one; the model was changed and is saved without */
} uf_signature_state;

typedef struct uf_signature {
    uf_signature_state state; /* but for VALID, what follows is only what the file says */
    uint64_t release;         /* grows from one release of a model to the next */
    uint64_t time;            /* when it was signed: seconds since 1970, by the signer's clock */
    uint8_t key[UF_SIGN_KEY_BYTES];
    char signer[UF_SIGNER_MAX + 1]; /* UTF-8, may be empty */
} uf_signature;

/* The signature as it was when the model was opened, signed or changed last. */
UF_API void uf_model_signature(const uf_model *m, uf_signature *out);
/* "valid", "invalid", "none", "unchecked", "changed"; never NULL. */
UF_API const char *uf_signature_state_name(uf_signature_state state);

typedef struct uf_sign_options {
    uint64_t release; /* at least 1 (default) */
    uint64_t time;    /* seconds since 1970; 0 (default): now */
    const char
        *signer; /* at most UF_SIGNER_MAX bytes of UTF-8 without control characters; or NULL */
} uf_sign_options;
#define UF_SIGN_OPTIONS_INIT \
    {                        \
        1, 0, NULL           \
    }

/* Signs the model as it is now; uf_model_save writes the signature with it. Another that is there
 * is replaced; any later change drops it. Not while others use the model. */
UF_API uf_status uf_model_sign(uf_model *m, const uf_sign_key *k, const uf_sign_options *options,
                               uf_error *err);

/* ---- trust ---- */

/* Whose signatures count, and which releases were seen. Shareable once keys are added. */
typedef struct uf_trust uf_trust;

/* `releases`: a file that remembers the highest release of each model that was recorded, made when
 * it is first needed; NULL: none is remembered. UF_E_UNSUPPORTED: this build has no libsodium. */
UF_API uf_status uf_trust_create(uf_trust **out, const char *releases, uf_error *err);
UF_API void uf_trust_destroy(uf_trust *t); /* NULL is accepted */
/* Adds a file of a public key, or all that end in ".pub" in a folder (none there: UF_E_NOT_FOUND).
 */
UF_API uf_status uf_trust_add(uf_trust *t, const char *path, uf_error *err);
/* UF_E_UNTRUSTED, saying why and what to do: the model is not signed, its signature is not valid,
 * its key is not one of those added, or its release is lower than `min_release` or than one
 * recorded of the same model. "The same": task, family and, where it has one, `name` of its
 * metadata. */
UF_API uf_status uf_trust_check(const uf_trust *t, const uf_model *m, uint64_t min_release,
                                uf_error *err);
/* Remembers the release of a model that passes uf_trust_check: lower ones fail from then on. */
UF_API uf_status uf_trust_record(const uf_trust *t, const uf_model *m, uf_error *err);
/* uf_model_open, uf_trust_check and uf_trust_record. Errors begin with the path. */
UF_API uf_status uf_model_open_trusted(uf_model **out, const char *path, const uf_trust *t,
                                       uint64_t min_release, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
