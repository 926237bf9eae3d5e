/* What the files about signatures share. Floor 7. */
#ifndef UFI_API_SIGN_IMPL_H
#define UFI_API_SIGN_IMPL_H

#include "base/sign.h"
#include "uniface/sign.h"

struct uf_sign_key {
    uint8_t seed[UFI_SIGN_SEED_BYTES], key[UFI_SIGN_PUBLIC_BYTES];
};

/* Reads the file of a public key. */
uf_status ufi_public_key_read(const char *path, uint8_t out[UFI_SIGN_PUBLIC_BYTES], uf_error *err);

/* The file that remembers releases (docs/signing.md). Name and number of a line. */
enum { UFI_RELEASE_NAME_MAX = 400 };
/* The highest release recorded of `name`; 0: none. */
uf_status ufi_releases_find(const char *path, const char *name, uint64_t *release, uf_error *err);
/* Raises it to `release`; never lowers it. Several processes may. */
uf_status ufi_releases_raise(const char *path, const char *name, uint64_t release, uf_error *err);

#endif
