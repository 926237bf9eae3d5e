/*
 * A run that stopped goes on: its numbers in a file. The file is written whole or not at all, and
 * read only by a run of the same key (what the run depends on: options, data, networks). Floor 5.
 * Confined.
 *
 * Little-endian: "UFCKPT1\0", the key, the number of parts, their sizes (u64 each), the parts, and
 * SHA-256 of all that.
 */
#ifndef UFI_TRAIN_CHECKPOINT_H
#define UFI_TRAIN_CHECKPOINT_H

#include "base/hash.h"
#include "base/status.h"

typedef struct ufi_checkpoint_part {
    void *data;
    size_t size_bytes;
} ufi_checkpoint_part;

#define UFI_CHECKPOINT_MAX_PARTS 65536u

uf_status ufi_checkpoint_save(const char *path, const uint8_t key[UFI_SHA256_BYTES],
                              const ufi_checkpoint_part *parts, size_t count, uf_error *err);
/* Fills the parts, whose sizes must be those of the file; on an error they are as they were.
 * UF_E_MISMATCH: of a run with another key; UF_E_FORMAT: damaged; UF_E_IO. */
uf_status ufi_checkpoint_load(const char *path, const uint8_t key[UFI_SHA256_BYTES],
                              const ufi_checkpoint_part *parts, size_t count, uf_error *err);

#endif
