/* A gallery's keys (keys.c, rotate.c). Floor 6. g->lock is held, but for what says otherwise. */
#ifndef UFI_GALLERY_KEYS_H
#define UFI_GALLERY_KEYS_H

#include "gallery/impl.h"

enum { UFI_UNLOCK_PASSPHRASE = 1, UFI_UNLOCK_FILE = 2 };

/* In the transaction that makes the tables. */
uf_status ufi_keys_make(uf_gallery *g, const uf_gallery_options *options, uf_error *err);
uf_status ufi_keys_open(uf_gallery *g, const uf_gallery_options *options, uf_error *err);
/* Reads master keys that are new (another process rotates). */
uf_status ufi_keys_reload(uf_gallery *g, ufi_sql *sql, uf_error *err);
/* UF_E_STATE: a master key of this number is not known (yet). Takes the ring's lock only. */
uf_status ufi_keys_find(uf_gallery *g, int64_t number, uint8_t out[UFI_SECRET_BYTES],
                        uf_error *err);
/* The number of the master key for new records; 0: not encrypted. */
int64_t ufi_keys_newest(uf_gallery *g);
/* Small secrets of the gallery's own, under the newest master key. */
uf_status ufi_keys_seal(uf_gallery *g, const char *what, const uint8_t secret[UFI_SECRET_BYTES],
                        uint8_t out[UFI_SEALED_KEY_MAX], uf_error *err);
uf_status ufi_keys_unseal(uf_gallery *g, int64_t master, const char *what, const uint8_t *sealed,
                          size_t size, uint8_t out[UFI_SECRET_BYTES], uf_error *err);

/* A new master key, the newest from now on. In a transaction. */
uf_status ufi_keys_add_master(uf_gallery *g, uf_error *err);
/* Takes one out of the ring. */
void ufi_keys_forget(uf_gallery *g, int64_t number);
/* Exactly one of passphrase and key_file is not NULL. */
uf_status ufi_keys_set_outer(uf_gallery *g, const char *passphrase, const char *key_file,
                             uf_error *err);

#endif
