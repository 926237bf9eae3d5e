/*
 * Packs: models for machines without a network. A plain tar: manifest.tsv, then NAME/FILE of each
 * of its rows in their order. Reading accepts exactly that, so no name in a pack can be a path to
 * elsewhere. Confined.
 */
#ifndef UF_CLI_MODELS_PACK_H
#define UF_CLI_MODELS_PACK_H

#include "models_manifest.h"

/* Writes `path`, whole or not at all; paths[i] are the files of all rows, one after the other. What
 * goes in is checked by its digest on the way. False with the reason. */
bool pack_write(const char *path, const model_manifest *m, char *const *paths, char why[512]);

typedef struct pack {
    FILE *f;
    model_manifest manifest;
    uint64_t *offsets; /* of the files of all rows, one after the other */
} pack;

/* Reads and checks all of it, digests too; nothing is written. False with the reason. */
bool pack_open(pack *p, const char *path, char why[512]);
void pack_close(pack *p);
/* Copies file number i, which is `f`, to `to`, whole or not at all; it is checked once more. */
bool pack_extract(pack *p, size_t i, const model_file *f, const char *to, char why[512]);

#endif
