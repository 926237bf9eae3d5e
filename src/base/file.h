/* Files: whole-file reads with a limit, read-only maps, atomic replacement. Floor 1. Confined. */
#ifndef UFI_BASE_FILE_H
#define UFI_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uniface/base.h"

/* An open regular file. Reading it is safe whatever others do to it meanwhile; touching a map of a
 * file that was cut short kills the process (SIGBUS). */
typedef struct ufi_file {
    int fd;
    size_t size;      /* when it was opened */
    const char *path; /* borrowed, for messages */
} ufi_file;

/* Directories, FIFOs and devices are refused: UF_E_IO. More than max_bytes is UF_E_LIMIT. */
uf_status ufi_file_open(ufi_file *out, const char *path, size_t max_bytes, uf_error *err);
void ufi_file_close(ufi_file *f);
/* `size` bytes from `offset` on; UF_E_IO when the file has become shorter. */
uf_status ufi_file_read_at(const ufi_file *f, size_t offset, void *to, size_t size, uf_error *err);

typedef struct ufi_file_map {
    const uint8_t *data;
    size_t size;
    struct ufi_file_watch *watch; /* NULL: nobody looks after the file; copies share it */
} ufi_file_map;

/* The whole file, read-only; it stays when the file is closed, and watches it. */
uf_status ufi_file_map_whole(ufi_file_map *out, const ufi_file *f, uf_error *err);
/* The SHA-256 of what counts in a watched map: with it, a new time alone is no change. */
void ufi_file_map_expect(const ufi_file_map *map, size_t offset, size_t size,
                         const uint8_t digest[32]);
/* UF_E_IO when the file of a watched map is no longer what it was when it was mapped: programs that
 * write into a file in place, as `cp` does, instead of replacing it. Call it before touching a map
 * that has been there for a while. Who writes between that and the touch is not noticed. Reads the
 * file when its time of writing is another than the last time. */
uf_status ufi_file_map_check(const ufi_file_map *map, uf_error *err);
/* Maps a regular file read-only (directories, FIFOs and devices are refused: UF_E_IO). An empty
 * file gives size 0 and data NULL. Errors name the path. */
uf_status ufi_file_map_open(ufi_file_map *out, const char *path, size_t max_bytes, uf_error *err);
/* The same, but the pages may be written (casting const away): the file stays as it is. */
uf_status ufi_file_map_open_copy(ufi_file_map *out, const char *path, size_t max_bytes,
                                 uf_error *err);
void ufi_file_map_close(ufi_file_map *map);
/* Drops the pages of a part of the map from memory; they come back when touched. */
void ufi_file_map_release(const ufi_file_map *map, const void *start, size_t size);

/* Reads a whole regular file into memory of ufi_malloc (also when it grows or shrinks meanwhile);
 * path "-" reads standard input. More than max_bytes is UF_E_LIMIT. */
uf_status ufi_file_read(uint8_t **data, size_t *size, const char *path, size_t max_bytes,
                        uf_error *err);
/* A file that is written piece by piece: through a temporary file in the same folder, fsync,
 * rename, so whole or not at all. Links are followed; devices, FIFOs and folders are refused
 * (UF_E_IO). `secret`: only the owner may read it. `path` must outlive it. */
typedef struct ufi_file_writer {
    int fd; /* -1: closed */
    const char *path;
    char target[4096]; /* what is replaced */
    char temporary[4096 + 8];
} ufi_file_writer;
uf_status ufi_file_writer_open(ufi_file_writer *w, const char *path, bool secret, uf_error *err);
uf_status ufi_file_writer_put(ufi_file_writer *w, const void *data, size_t size, uf_error *err);
uf_status ufi_file_writer_seek(ufi_file_writer *w, uint64_t offset, uf_error *err);
/* Ends it: the file is there, or, when `st` is an error or the end fails, nothing is. Returns `st`
 * or the new error. */
uf_status ufi_file_writer_close(ufi_file_writer *w, uf_status st, uf_error *err);

/* A whole file at once, the same way. */
uf_status ufi_file_write(const char *path, const void *data, size_t size, uf_error *err);

#endif
