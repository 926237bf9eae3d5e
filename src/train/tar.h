/*
 * Names and places of the files in a tar archive: ustar, GNU long names and large sizes, pax paths
 * and sizes. Nothing is unpacked. Archives are input of unknown origin. Floor 5. Thread: any.
 */
#ifndef UFI_TRAIN_TAR_H
#define UFI_TRAIN_TAR_H

#include "base/status.h"

/* `size` bytes from `offset` on, which lie inside the archive. */
typedef uf_status ufi_tar_read_fn(const void *source, size_t offset, void *to, size_t size,
                                  uf_error *err);

typedef struct ufi_tar_entry {
    const char *name; /* without a leading "./"; valid during the visit */
    size_t offset;    /* of its bytes in the archive; offset + size lies inside */
    size_t size;
} ufi_tar_entry;

typedef uf_status ufi_tar_visit_fn(void *arg, const ufi_tar_entry *entry, uf_error *err);

/* Visits every regular file of an archive of `size` bytes in its order; folders and links are left
 * out. Errors: UF_E_FORMAT with the byte (no archive, cut short, a size or name that cannot be: an
 * absolute one, one with ".."), UF_E_UNSUPPORTED (sparse files), UF_E_NOMEM; what `read` and
 * `visit` return. */
uf_status ufi_tar_walk(ufi_tar_read_fn *read, const void *source, size_t size,
                       ufi_tar_visit_fn *visit, void *arg, uf_error *err);

#endif
