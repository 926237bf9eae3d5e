/* Models by name, and digests of files (uniface/store.h). */
#include "uniface/store.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/status.h"

/* ---- names ---- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static uf_status joined(char *out, size_t size, uf_error *err, const char *a, const char *b,
                        const char *c)
{
    const int n = snprintf(out, size, "%s%s%s", a, b, c);
    if (n < 0 || (size_t)n >= size)
        return ufi_fail(err, UF_E_LIMIT, "path too long: %.200s%.100s%s", a, b, c);
    return UF_OK;
}

uf_status uf_store_folder(char *out, size_t size, uf_error *err)
{
    const char *models = variable("UNIFACE_MODELS"), *cache = variable("UNIFACE_CACHE_DIR");
    const char *data = variable("XDG_DATA_HOME"), *home = variable("HOME");
    if (!out || !size)
        return ufi_fail(err, UF_E_ARG, "uf_store_folder: no room for the path");
    if (models)
        return joined(out, size, err, models, "", "");
    if (cache)
        return joined(out, size, err, cache, "/models", "");
    if (data)
        return joined(out, size, err, data, "/uniface/models", "");
    return joined(out, size, err, home ? home : ".", "/.local/share/uniface/models", "");
}

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n > m && !strcmp(text + n - m, end);
}

static bool is_file(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

/* ---- models that come with the library ---- */

/* The folder of the program or library that this code is in. */
static bool own_folder(char *out, size_t size)
{
    Dl_info info;
    union { /* ISO C has no cast from a function to an object */
        bool (*function)(char *, size_t);
        void *object;
    } here = {own_folder};
    if (!dladdr(here.object, &info) || !info.dli_fname)
        return false;
    ssize_t n = snprintf(out, size, "%s", info.dli_fname);
    if (!strchr(info.dli_fname, '/')) /* a program found by PATH names itself so */
        n = readlink("/proc/self/exe", out, size - 1);
    if (n < 1 || (size_t)n >= size)
        return false;
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (slash)
        *slash = 0;
    return slash != NULL;
}

/* `stem` is "/name.ufm". Beside the program, as in a wheel; installed; in a build folder. */
static bool find_builtin(char *out, size_t size, const char *stem)
{
    static const char *const places[] = {"/models", "/../share/uniface/models", "/../models",
                                         "/../../models"};
    char folder[4096];
    if (!own_folder(folder, sizeof folder))
        return false;
    if (!strcmp(stem, "/embedder.ufm")) /* the default one */
        stem = "/large_accuracy_model.ufm";
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (!joined(out, size, NULL, folder, places[i], stem) && is_file(out))
            return true;
    return false;
}

uf_status uf_store_find(char *out, size_t size, const char *name, uf_error *err)
{
    char folder[4096], stem[4096];
    struct stat s;
    if (!out || !size || !name || !*name)
        return ufi_fail(err, UF_E_ARG, "uf_store_find: a model wants a path or a name");
    const bool is_ufm = ends_with(name, ".ufm");
    const bool is_path = is_ufm || ends_with(name, ".onnx") || ends_with(name, ".xml");
    uf_status st = uf_store_folder(folder, sizeof folder, err);
    if (!st)
        st = joined(stem, sizeof stem, err, "/", name, is_ufm ? "" : ".ufm");
    if (!st)
        st = joined(out, size, err, name, "", "");
    if (st || is_file(out))
        return st;
    if (!is_path && (st = joined(out, size, err, name, ".ufm", "")) == UF_OK && is_file(out))
        return UF_OK;
    if (!st && *name != '/')
        st = joined(out, size, err, folder, stem, "");
    if (st || is_file(out))
        return st;
    if (!strchr(name, '/') && find_builtin(out, size, stem))
        return UF_OK;
    if (stat(name, &s) == 0)
        return joined(out, size, err, name, "", "");
    return ufi_fail(
        err, UF_E_NOT_FOUND,
        "no model %.200s: there is no such file, and the model store %.120s has no such "
        "name (`uniface models list` shows names)",
        name, folder);
}

uf_status uf_store_default(char *out, size_t size, const char *task, uf_error *err)
{
    char folder[4096], stem[256];
    if (!out || !size || !task || !*task)
        return ufi_fail(err, UF_E_ARG, "uf_store_default: no task, or no room for the path");
    uf_status st = uf_store_folder(folder, sizeof folder, err);
    if (!st)
        st = joined(stem, sizeof stem, err, "/", task, ".ufm");
    if (!st)
        st = joined(out, size, err, folder, stem, "");
    if (st || is_file(out) || find_builtin(out, size, stem))
        return st;
    return ufi_fail(err, UF_E_NOT_FOUND,
                    "no %s was named, there is no default in the model store %.200s and none came "
                    "with the library: name one, or make one the default with `uniface models pull "
                    "NAME --default` or `uniface import NETWORK.onnx --default`",
                    task, folder);
}

/* ---- digests ---- */

struct uf_digest {
    ufi_sha256 h;
};

uf_status uf_digest_create(uf_digest **out, uf_error *err)
{
    if (!out)
        return ufi_fail(err, UF_E_ARG, "uf_digest_create: no place for the digest");
    *out = ufi_malloc(1, sizeof **out);
    if (!*out)
        return ufi_fail(err, UF_E_NOMEM, "out of memory");
    ufi_sha256_init(&(*out)->h);
    return UF_OK;
}

void uf_digest_add(uf_digest *d, const void *data, size_t size)
{
    ufi_sha256_update(&d->h, data, size);
}

void uf_digest_end(uf_digest *d, char hex[65])
{
    uint8_t bytes[UFI_SHA256_BYTES];
    if (d && hex) {
        ufi_sha256_final(&d->h, bytes);
        ufi_hex(bytes, sizeof bytes, hex);
    }
    ufi_free(d);
}

uf_status uf_digest_file(const char *path, char hex[65], uint64_t *size, uf_error *err)
{
    enum { PIECE = 65536 };
    uint8_t piece[PIECE];
    ufi_file f;
    uf_digest d;
    if (!path || !hex)
        return ufi_fail(err, UF_E_ARG, "uf_digest_file: no path, or no place for the digest");
    uf_status st = ufi_file_open(&f, path, SIZE_MAX, err);
    if (st)
        return st;
    ufi_sha256_init(&d.h);
    for (size_t at = 0; !st && at < f.size; at += PIECE) {
        const size_t n = f.size - at < PIECE ? f.size - at : PIECE;
        st = ufi_file_read_at(&f, at, piece, n, err);
        if (!st)
            ufi_sha256_update(&d.h, piece, n);
    }
    uint8_t bytes[UFI_SHA256_BYTES];
    ufi_sha256_final(&d.h, bytes);
    ufi_hex(bytes, sizeof bytes, hex);
    if (size)
        *size = f.size;
    ufi_file_close(&f);
    return st;
}
