/*
 * The highest release seen of each model (docs/signing.md): a line of what the file is, then a line
 * a model, "RELEASE NAME". It is replaced as a whole. A file that is not like this is an error:
 * taking it for an empty one would let old releases in.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "api/sign_impl.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"

#define FIRST_LINE "uniface releases 1\n"
#define FILE_BYTES_MAX ((size_t)1 << 20)

enum { LINE_EXTRA = 32 }; /* of a line, beside the name */

static uf_status damaged(const char *path, uf_error *err)
{
    return ufi_fail(err, UF_E_FORMAT,
                    "%s: this is no list of releases, or it is damaged: bring it back from a "
                    "backup, or remove it to begin a new one",
                    path);
}

/* The whole file as text that ends with NUL; "" when there is none. */
static uf_status read_list(const char *path, char **out, uf_error *err)
{
    uint8_t *data = NULL;
    size_t size = 0;
    uf_status st = UF_OK;
    if (access(path, F_OK) == 0 || errno != ENOENT)
        st = ufi_file_read(&data, &size, path, FILE_BYTES_MAX, err);
    char *text = st ? NULL : ufi_malloc(size + 1, 1);
    if (text) {
        if (size)
            memcpy(text, data, size);
        text[size] = '\0';
    } else if (!st) {
        st = ufi_fail(err, UF_E_NOMEM, "no memory for the list of releases");
    }
    if (!st && size &&
        (strlen(text) != size || strncmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0 ||
         text[size - 1] != '\n'))
        st = damaged(path, err);
    ufi_free(data);
    *out = text;
    if (st)
        ufi_free(text);
    return st;
}

/* One line, "RELEASE NAME\n"; false when it is something else. */
static bool take_line(const char **p, uint64_t *release, const char **name, size_t *length)
{
    char *end;
    if (**p < '1' || **p > '9')
        return false;
    errno = 0;
    *release = strtoull(*p, &end, 10);
    if (errno || *end != ' ')
        return false;
    *name = end + 1;
    *length = strcspn(*name, "\n");
    *p = *name + *length + 1;
    return *length > 0;
}

/* The release of `name` in the list; where its line is, or NULL. */
static uf_status look_up(const char *path, const char *text, const char *name, uint64_t *release,
                         const char **at, size_t *size, uf_error *err)
{
    const char *p = *text ? text + strlen(FIRST_LINE) : text;
    *release = 0;
    *at = NULL;
    *size = 0;
    while (*p) {
        const char *line = p, *found;
        uint64_t r;
        size_t n;
        if (!take_line(&p, &r, &found, &n))
            return damaged(path, err);
        if (n != strlen(name) || strncmp(found, name, n) != 0)
            continue;
        if (*at)
            return damaged(path, err);
        *release = r;
        *at = line;
        *size = (size_t)(p - line);
    }
    return UF_OK;
}

uf_status ufi_releases_find(const char *path, const char *name, uint64_t *release, uf_error *err)
{
    char *text;
    const char *at;
    size_t size;
    *release = 0;
    uf_status st = read_list(path, &text, err);
    if (st)
        return st;
    st = look_up(path, text, name, release, &at, &size, err);
    ufi_free(text);
    return st;
}

/* The list with `name` at `release`. */
static uf_status write_list(const char *path, const char *text, const char *at, size_t size,
                            const char *name, uint64_t release, uf_error *err)
{
    const size_t cap = strlen(text) + strlen(FIRST_LINE) + strlen(name) + LINE_EXTRA;
    char *out = ufi_malloc(cap, 1);
    if (!out)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the list of releases");
    const char *begin = *text ? text : FIRST_LINE, *end = begin + strlen(begin);
    at = at ? at : end;
    const int n = snprintf(out, cap, "%.*s%" PRIu64 " %s\n%s", (int)(at - begin), begin, release,
                           name, at + size);
    uf_status st = (size_t)n > FILE_BYTES_MAX
                       ? ufi_fail(err, UF_E_LIMIT, "%s: more than %zu bytes", path, FILE_BYTES_MAX)
                       : ufi_file_write(path, out, (size_t)n, err);
    ufi_free(out);
    return st;
}

static uf_status raise_locked(const char *path, const char *name, uint64_t release, uf_error *err)
{
    char *text;
    const char *at;
    size_t size;
    uint64_t now;
    uf_status st = read_list(path, &text, err);
    if (st)
        return st;
    st = look_up(path, text, name, &now, &at, &size, err);
    if (!st && now < release)
        st = write_list(path, text, at, size, name, release, err);
    ufi_free(text);
    return st;
}

uf_status ufi_releases_raise(const char *path, const char *name, uint64_t release, uf_error *err)
{
    char lock[4096];
    uint64_t now;
    uf_status st = ufi_releases_find(path, name, &now, err);
    if (st || now >= release)
        return st; /* the usual case writes nothing */
    const int n = snprintf(lock, sizeof lock, "%s.lock", path);
    if (n < 0 || (size_t)n >= sizeof lock)
        return ufi_fail(err, UF_E_ARG, "%.64s...: the path is too long", path);
    /* Beside the list, which is replaced and so cannot carry the lock itself. */
    const int fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return ufi_fail(err, UF_E_IO, "%s: cannot create: %s", lock, strerror(errno));
    int got;
    while ((got = flock(fd, LOCK_EX)) != 0 && errno == EINTR)
        ;
    st = got ? ufi_fail(err, UF_E_IO, "%s: cannot lock: %s", lock, strerror(errno))
             : raise_locked(path, name, release, err);
    close(fd);
    return st;
}
