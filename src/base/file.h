/* Files: whole-file reads with a limit, read-only maps, atomic replacement. Floor 1. Confined. */
#ifndef UFI_BASE_FILE_H
#define UFI_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "uniface/base.h"

typedef struct ufi_file_map {
    const uint8_t *data;
    size_t size;
} ufi_file_map;

/* Maps a regular file read-only (directories, FIFOs and devices are refused: UF_E_IO). An empty
 * file gives size 0 and data NULL. Errors name the path. */
uf_status ufi_file_map_open(ufi_file_map *out, const char *path, size_t max_bytes, uf_error *err);
void ufi_file_map_close(ufi_file_map *map);
/* Drops the pages of a part of the map from memory; they come back when touched. */
void ufi_file_map_release(const ufi_file_map *map, const void *start, size_t size);

/* Reads a whole regular file into memory of ufi_malloc (also when it grows or shrinks meanwhile);
 * path "-" reads standard input. More than max_bytes is UF_E_LIMIT. */
uf_status ufi_file_read(uint8_t **data, size_t *size, const char *path, size_t max_bytes,
                        uf_error *err);
/* Writes through a temporary file in the same folder, fsync, rename: whole or not at all. */
uf_status ufi_file_write(const char *path, const void *data, size_t size, uf_error *err);

#endif
