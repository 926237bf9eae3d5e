/*
 * Files. Only regular files are taken: a FIFO would block, /dev/zero would never end. A size is
 * read from the open descriptor, never from the path, so that what is checked is what is used.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/status.h"

#define READ_CHUNK_BYTES ((size_t)64 << 10)

static uf_status open_regular(const char *path, int *fd, size_t *size, uf_error *err)
{
    struct stat s;
    /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0)
        return ufi_fail(err, UF_E_IO, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(*fd, &s) == 0 && S_ISREG(s.st_mode) && s.st_size >= 0) {
        *size = (size_t)s.st_size;
        return UF_OK;
    }
    close(*fd);
    return ufi_fail(err, UF_E_IO, "%s: not a regular file", path);
}

uf_status ufi_file_open(ufi_file *out, const char *path, size_t max_bytes, uf_error *err)
{
    *out = (ufi_file){.fd = -1, .path = path};
    uf_status st = open_regular(path, &out->fd, &out->size, err);
    if (!st && out->size > max_bytes) {
        st = ufi_fail(err, UF_E_LIMIT, "%s: %zu bytes, the limit is %zu", path, out->size,
                      max_bytes);
        ufi_file_close(out);
    }
    return st;
}

void ufi_file_close(ufi_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

uf_status ufi_file_read_at(const ufi_file *f, size_t offset, void *to, size_t size, uf_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = pread(f->fd, (uint8_t *)to + done, size - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ufi_fail(err, UF_E_IO, "%s: cannot read: %s", f->path, strerror(errno));
        if (n == 0)
            return ufi_fail(err, UF_E_IO,
                            "%s: the file became shorter while it was read: it ended at byte %zu",
                            f->path, offset + done);
        done += (size_t)n;
    }
    return UF_OK;
}

static int64_t modified_at(const struct stat *s)
{
    return (int64_t)s->st_mtim.tv_sec * 1000000000 + s->st_mtim.tv_nsec;
}

static uf_status map_file(ufi_file_map *out, const ufi_file *f, int protection, uf_error *err)
{
    struct stat s;
    *out = (ufi_file_map){0};
    if (f->size == 0)
        return UF_OK;
    if (fstat(f->fd, &s) != 0 || (size_t)s.st_size < f->size)
        return ufi_fail(err, UF_E_IO, "%s: the file became shorter while it was read", f->path);
    void *data = mmap(NULL, f->size, protection, MAP_PRIVATE, f->fd, 0);
    if (data == MAP_FAILED)
        return ufi_fail(err, UF_E_IO, "%s: cannot map: %s", f->path, strerror(errno));
    *out = (ufi_file_map){.data = data, .size = f->size};
    return UF_OK;
}

/* ---- maps that watch their file ---- */

typedef struct ufi_file_watch {
    int fd;
    _Atomic int64_t modified; /* when the content was last known to be what it was, in ns */
    bool has_digest;
    size_t offset, size; /* what the digest is of */
    uint8_t digest[UFI_SHA256_BYTES];
} ufi_file_watch;

uf_status ufi_file_map_whole(ufi_file_map *out, const ufi_file *f, uf_error *err)
{
    struct stat s;
    uf_status st = map_file(out, f, PROT_READ, err);
    if (st || !out->data)
        return st;
    ufi_file_watch *watch = ufi_calloc(1, sizeof *watch);
    const int fd = watch ? fcntl(f->fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (fd >= 0 && fstat(fd, &s) == 0) {
        watch->fd = fd;
        atomic_init(&watch->modified, modified_at(&s));
        out->watch = watch;
        return UF_OK;
    }
    st = watch ? ufi_fail(err, UF_E_IO, "%s: cannot keep it open: %s", f->path, strerror(errno))
               : ufi_fail(err, UF_E_NOMEM, "%s: no memory to map it", f->path);
    if (fd >= 0)
        close(fd);
    ufi_free(watch);
    ufi_file_map_close(out);
    return st;
}

void ufi_file_map_expect(const ufi_file_map *map, size_t offset, size_t size,
                         const uint8_t digest[UFI_SHA256_BYTES])
{
    ufi_file_watch *watch = map->watch;
    if (!watch)
        return;
    watch->has_digest = true;
    watch->offset = offset;
    watch->size = size;
    memcpy(watch->digest, digest, sizeof watch->digest);
}

/* Read, not touched where it is mapped: the file may still be written. */
static uf_status content_digest(const ufi_file_watch *watch, uint8_t digest[UFI_SHA256_BYTES],
                                uf_error *err)
{
    const ufi_file f = {.fd = watch->fd, .path = "a file"};
    size_t at = watch->offset, left = watch->size;
    uf_status st = UF_OK;
    ufi_sha256 h;
    uint8_t *chunk = ufi_malloc(READ_CHUNK_BYTES, 1);
    if (!chunk)
        return ufi_fail(err, UF_E_NOMEM, "no memory to read a file");
    ufi_sha256_init(&h);
    while (!st && left) {
        const size_t now = left < READ_CHUNK_BYTES ? left : READ_CHUNK_BYTES;
        st = ufi_file_read_at(&f, at, chunk, now, err);
        if (!st)
            ufi_sha256_update(&h, chunk, now);
        at += now;
        left -= now;
    }
    ufi_sha256_final(&h, digest);
    ufi_free(chunk);
    return st;
}

uf_status ufi_file_map_check(const ufi_file_map *map, uf_error *err)
{
    struct stat s;
    char link[32], path[256];
    uint8_t digest[UFI_SHA256_BYTES];
    ufi_file_watch *watch = map->watch;
    if (!watch)
        return UF_OK;
    if (fstat(watch->fd, &s) == 0 && (size_t)s.st_size == map->size) {
        if (modified_at(&s) == atomic_load(&watch->modified))
            return UF_OK;
        /* `touch`, or the same bytes written again. */
        const uf_status st = watch->has_digest ? content_digest(watch, digest, err) : UF_E_IO;
        if (st && st != UF_E_IO)
            return st;
        if (!st && memcmp(digest, watch->digest, sizeof digest) == 0) {
            atomic_store(&watch->modified, modified_at(&s));
            return UF_OK;
        }
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", watch->fd);
    const ssize_t n = readlink(link, path, sizeof path - 1);
    path[n < 0 ? 0 : n] = '\0';
    return ufi_fail(err, UF_E_IO,
                    "%s: the file was written to after it was opened: open it again, and replace "
                    "files (mv) instead of writing into them (cp)",
                    n < 0 ? "a file" : path);
}

static uf_status open_and_map(ufi_file_map *out, const char *path, size_t max_bytes, int protection,
                              uf_error *err)
{
    ufi_file f;
    *out = (ufi_file_map){0};
    uf_status st = ufi_file_open(&f, path, max_bytes, err);
    if (!st)
        st = map_file(out, &f, protection, err);
    ufi_file_close(&f);
    return st;
}

uf_status ufi_file_map_open(ufi_file_map *out, const char *path, size_t max_bytes, uf_error *err)
{
    return open_and_map(out, path, max_bytes, PROT_READ, err);
}

uf_status ufi_file_map_open_copy(ufi_file_map *out, const char *path, size_t max_bytes,
                                 uf_error *err)
{
    return open_and_map(out, path, max_bytes, PROT_READ | PROT_WRITE, err);
}

void ufi_file_map_close(ufi_file_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    if (map->watch)
        close(map->watch->fd);
    ufi_free(map->watch);
    *map = (ufi_file_map){0};
}

void ufi_file_map_release(const ufi_file_map *map, const void *start, size_t size)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), base = (uintptr_t)map->data;
    uintptr_t from = ((uintptr_t)start + page - 1) / page * page;
    uintptr_t to = ((uintptr_t)start + size) / page * page;
    if (map->data && from >= base && to > from && to <= base + map->size)
        madvise((void *)from, to - from, MADV_DONTNEED);
}

/* Reads to the end, growing as needed: the file may grow or shrink meanwhile. */
static uf_status read_all(int fd, const char *name, size_t hint, size_t max_bytes, uint8_t **data,
                          size_t *size, uf_error *err)
{
    size_t cap = hint < max_bytes ? hint + 1 : max_bytes, used = 0;
    uint8_t *buffer = NULL;
    uf_status st = UF_OK;
    for (;;) {
        if (!buffer || used == cap) {
            if (buffer)
                cap = cap > max_bytes / 2 ? max_bytes + 1 : cap * 2 + READ_CHUNK_BYTES;
            uint8_t *grown = ufi_realloc(buffer, cap ? cap : 1, 1);
            if (!grown) {
                st = ufi_fail(err, UF_E_NOMEM, "%s: no memory for %zu bytes", name, cap);
                break;
            }
            buffer = grown;
        }
        ssize_t n = read(fd, buffer + used, cap - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            st = ufi_fail(err, UF_E_IO, "%s: cannot read: %s", name, strerror(errno));
        if (n <= 0)
            break;
        used += (size_t)n;
        if (used > max_bytes) {
            st = ufi_fail(err, UF_E_LIMIT, "%s: more than %zu bytes", name, max_bytes);
            break;
        }
    }
    if (st) {
        ufi_free(buffer);
        return st;
    }
    *data = buffer;
    *size = used;
    return UF_OK;
}

uf_status ufi_file_read(uint8_t **data, size_t *size, const char *path, size_t max_bytes,
                        uf_error *err)
{
    int fd;
    size_t hint;
    *data = NULL;
    *size = 0;
    if (strcmp(path, "-") == 0)
        return read_all(STDIN_FILENO, "standard input", READ_CHUNK_BYTES, max_bytes, data, size,
                        err);
    uf_status st = open_regular(path, &fd, &hint, err);
    if (st)
        return st;
    st = read_all(fd, path, hint, max_bytes, data, size, err);
    close(fd);
    return st;
}

static uf_status write_all(int fd, const char *path, const uint8_t *data, size_t size,
                           uf_error *err)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ufi_fail(err, UF_E_IO, "%s: cannot write: %s", path, strerror(errno));
        data += n;
        size -= (size_t)n;
    }
    return UF_OK;
}

/* Makes the rename itself durable. */
static void sync_folder(const char *path)
{
    char folder[4096];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 1;
    if (n >= sizeof folder)
        return;
    memcpy(folder, slash ? path : ".", n);
    folder[n] = 0;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    fsync(fd);
    close(fd);
}

/* The file to replace, behind links. What is there and no file is refused: a device would be gone,
 * and whoever listens at a FIFO or socket would hear nothing. */
static uf_status find_target(ufi_file_writer *w, uf_error *err)
{
    struct stat s;
    if (stat(w->path, &s) == 0 && !S_ISREG(s.st_mode))
        return ufi_fail(err, UF_E_IO, "%s: not a regular file: it would be replaced", w->path);
    if (!realpath(w->path, w->target)) /* there is none yet */
        snprintf(w->target, sizeof w->target, "%s", w->path);
    const int n = snprintf(w->temporary, sizeof w->temporary, "%s.XXXXXX", w->target);
    if (strlen(w->path) >= sizeof w->target || n < 0 || (size_t)n >= sizeof w->temporary)
        return ufi_fail(err, UF_E_ARG, "%.64s...: the path is too long", w->path);
    return UF_OK;
}

uf_status ufi_file_writer_open(ufi_file_writer *w, const char *path, bool secret, uf_error *err)
{
    *w = (ufi_file_writer){.fd = -1, .path = path};
    const uf_status st = find_target(w, err);
    if (st)
        return st;
    w->fd = mkostemp(w->temporary, O_CLOEXEC);
    if (w->fd < 0)
        return ufi_fail(err, UF_E_IO, "%s: cannot create: %s", path, strerror(errno));
    if (!secret) {
        const mode_t mask = umask(0);
        umask(mask);
        fchmod(w->fd, 0666 & ~mask);
    }
    return UF_OK;
}

uf_status ufi_file_writer_put(ufi_file_writer *w, const void *data, size_t size, uf_error *err)
{
    return write_all(w->fd, w->path, data, size, err);
}

uf_status ufi_file_writer_seek(ufi_file_writer *w, uint64_t offset, uf_error *err)
{
    if (lseek(w->fd, (off_t)offset, SEEK_SET) < 0)
        return ufi_fail(err, UF_E_IO, "%s: cannot seek: %s", w->path, strerror(errno));
    return UF_OK;
}

uf_status ufi_file_writer_close(ufi_file_writer *w, uf_status st, uf_error *err)
{
    if (w->fd < 0)
        return st;
    if (!st && fsync(w->fd) != 0)
        st = ufi_fail(err, UF_E_IO, "%s: cannot sync: %s", w->path, strerror(errno));
    close(w->fd);
    if (!st && rename(w->temporary, w->target) != 0)
        st = ufi_fail(err, UF_E_IO, "%s: cannot rename: %s", w->path, strerror(errno));
    if (st)
        unlink(w->temporary);
    else
        sync_folder(w->target);
    w->fd = -1;
    return st;
}

uf_status ufi_file_write(const char *path, const void *data, size_t size, uf_error *err)
{
    ufi_file_writer w;
    uf_status st = ufi_file_writer_open(&w, path, false, err);
    if (!st)
        st = ufi_file_writer_put(&w, data, size, err);
    return ufi_file_writer_close(&w, st, err);
}
