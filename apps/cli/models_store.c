/* The store and the cache of `uniface models`. */
#include "models_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- places ---- */

static void join(char out[STORE_PATH_MAX], const char *a, const char *b, const char *c)
{
    const int n = snprintf(out, STORE_PATH_MAX, "%s%s%s", a, b, c);
    if (n < 0 || n >= STORE_PATH_MAX)
        exit(cli_complain(EXIT_INPUT, "path too long: %s", a));
}

void store_cache_path(char out[STORE_PATH_MAX], const char *name, const char *file)
{
    const char *cache = getenv("UNIFACE_CACHE_DIR"), *xdg = getenv("XDG_CACHE_HOME");
    const char *home = getenv("HOME");
    char base[STORE_PATH_MAX], folder[STORE_PATH_MAX];
    if (cache && *cache)
        join(base, cache, "", "");
    else if (xdg && *xdg)
        join(base, xdg, "/uniface", "");
    else
        join(base, home ? home : ".", "/.cache/uniface", "");
    /* Not beside the store, which may be $UNIFACE_CACHE_DIR/models: a model may have that name. */
    join(folder, base, name ? "/files/" : "", name ? name : "");
    join(out, folder, file ? "/" : "", file ? file : "");
}

static void store_path(char out[STORE_PATH_MAX], const char *name, const char *ending)
{
    char folder[STORE_PATH_MAX], stem[STORE_PATH_MAX];
    uf_error err;
    if (uf_store_folder(folder, sizeof folder, &err))
        exit(cli_fail(&err));
    join(stem, folder, "/", name);
    join(out, stem, ending, "");
}

static bool open_lock(int *fd, const char *path)
{
    *fd = -1;
    if (cli_make_folders(path))
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (*fd < 0)
        cli_complain(EXIT_INPUT, "%s: cannot be made: %s", path, strerror(errno));
    return *fd >= 0;
}

static bool lock_file(int *fd, const char *path)
{
    if (!open_lock(fd, path))
        return false;
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK) {
        fprintf(stderr, "uniface: waiting for another `uniface models` to end (%s)\n", path);
        while (flock(*fd, LOCK_EX) != 0)
            if (errno != EINTR)
                return false;
        return true;
    }
    cli_complain(EXIT_INPUT, "%s: cannot be locked: %s", path, strerror(errno));
    return false;
}

bool store_enter(store_lock *l)
{
    char path[STORE_PATH_MAX];
    l->fds[1] = -1;
    store_cache_path(path, NULL, ".lock");
    if (!lock_file(&l->fds[0], path))
        return false;
    char other[STORE_PATH_MAX];
    store_path(other, ".lock", "");
    /* One folder may be both; its lock is not to be taken twice. */
    struct stat a, b;
    if (stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return true;
    if (lock_file(&l->fds[1], other))
        return true;
    store_leave(l);
    return false;
}

void store_leave(store_lock *l)
{
    for (int i = 0; i < 2; i++)
        if (l->fds[i] >= 0)
            close(l->fds[i]);
}

/* ---- texts ---- */

/* The text of a file; NULL with the reason. */
static char *read_text(const char *path, char why[256])
{
    FILE *f = fopen(path, "rb");
    char *text = cli_need(calloc(1, MANIFEST_BYTES_MAX + 2));
    const size_t n = f ? fread(text, 1, MANIFEST_BYTES_MAX + 1, f) : 0;
    if (!f || ferror(f))
        snprintf(why, 256, "cannot be read: %s", strerror(errno));
    else if (n > MANIFEST_BYTES_MAX || strlen(text) != n)
        snprintf(why, 256, "no text, or more than 1 MiB of it");
    else
        why[0] = '\0';
    if (f)
        fclose(f);
    if (!why[0])
        return text;
    free(text);
    return NULL;
}

bool store_manifest(model_manifest *m, const cli_args *a)
{
    const char *path = cli_value(a, "manifest");
    char why[256], *text = path ? read_text(path, why) : NULL;
    *m = (model_manifest){0};
    const bool ok = (!path || text) && manifest_read(m, path ? text : models_tsv, why);
    if (!ok)
        cli_complain(EXIT_INPUT, "%s: %s", path ? path : "models.tsv", why);
    free(text);
    return ok;
}

/* ---- records ---- */

/* What follows "# KEY " in a record. */
static bool take_remark(const char *text, const char *key, char *out, size_t size)
{
    char begin[32];
    snprintf(begin, sizeof begin, "\n# %s ", key);
    const char *at = strstr(text, begin);
    if (!at)
        return false;
    at += strlen(begin);
    const size_t n = strcspn(at, "\n");
    if (n >= size)
        return false;
    memcpy(out, at, n);
    out[n] = '\0';
    return true;
}

bool store_record_read(store_record *r, const char *name, char why[256])
{
    char path[STORE_PATH_MAX];
    *r = (store_record){0};
    store_path(path, name, ".origin");
    if (access(path, F_OK) != 0)
        return true;
    char *text = read_text(path, why);
    if (!text)
        return false;
    bool ok = manifest_read(&r->manifest, text, why);
    if (ok && (r->manifest.count != 1 || strcmp(r->manifest.rows[0].name, name) != 0 ||
               !take_remark(text, "model", r->model_sha256, sizeof r->model_sha256) ||
               !take_remark(text, "time", r->time, sizeof r->time) ||
               !take_remark(text, "licence", r->agreement, sizeof r->agreement))) {
        snprintf(why, 256, "not the record of this model");
        ok = false;
    }
    free(text);
    if (ok)
        r->row = &r->manifest.rows[0];
    else
        store_record_free(r);
    return ok;
}

void store_record_free(store_record *r)
{
    manifest_free(&r->manifest);
    *r = (store_record){0};
}

static uf_status record_write(const char *name, const model_row *row, const char *model_sha256,
                              const char *agreement, uf_error *err)
{
    char path[STORE_PATH_MAX], temporary[STORE_PATH_MAX], now[32];
    const time_t t = time(NULL);
    struct tm parts;
    store_path(path, name, ".origin");
    store_path(temporary, name, ".origin~");
    strftime(now, sizeof now, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&t, &parts));
    FILE *f = fopen(temporary, "wb");
    if (f) {
        fprintf(f, "%s\n", model_columns);
        manifest_write(f, row);
        fprintf(f, "\n# model %s\n# time %s\n# licence %s\n", model_sha256, now, agreement);
        const bool ok = !ferror(f) && !fflush(f) && !fsync(fileno(f));
        if (fclose(f) == 0 && ok && rename(temporary, path) == 0)
            return UF_OK;
        unlink(temporary);
    }
    err->status = UF_E_IO;
    snprintf(err->message, sizeof err->message, "%.400s: cannot be written: %s", path,
             strerror(errno));
    return UF_E_IO;
}

/* ---- models ---- */

bool store_has(const char *name)
{
    char path[STORE_PATH_MAX];
    store_path(path, name, ".ufm");
    return access(path, F_OK) == 0;
}

store_presence store_look(const model_row *row)
{
    store_record r;
    char why[256];
    if (!store_has(row->name))
        return STORE_ABSENT;
    const bool same =
        store_record_read(&r, row->name, why) && r.row && manifest_same_files(r.row, row);
    store_record_free(&r);
    return same ? STORE_SAME : STORE_OTHER;
}

void store_names(cli_files *f)
{
    char folder[STORE_PATH_MAX];
    struct dirent **entries;
    uf_error err;
    *f = (cli_files){0};
    if (uf_store_folder(folder, sizeof folder, &err))
        exit(cli_fail(&err));
    const int n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0)
        return;
    f->paths = cli_need(calloc((size_t)n + 1, sizeof *f->paths));
    for (int i = 0; i < n; i++) {
        char *name = entries[i]->d_name, *dot = strrchr(name, '.');
        if (dot && !strcmp(dot, ".ufm")) {
            *dot = '\0';
            if (model_name_ok(name))
                f->paths[f->count++] = cli_need(strdup(name));
        }
        free(entries[i]);
    }
    free(entries);
}

static const char *meta_text(const uf_model *m, const char *key)
{
    const char *value = uf_model_meta(m, key);
    return value && *value && !strpbrk(value, "\t\n\r") ? value : "not stated";
}

bool store_own_row(model_manifest *m, const char *name, const uf_model *model, char why[256])
{
    char path[STORE_PATH_MAX], hex[65], *text = NULL;
    uint64_t size = 0;
    size_t length = 0;
    uf_error err;
    store_path(path, name, ".ufm");
    if (uf_digest_file(path, hex, &size, &err)) {
        snprintf(why, 256, "%.250s", err.message);
        return false;
    }
    FILE *f = cli_need(open_memstream(&text, &length));
    fprintf(f, "%s\n%s\t%s\t-\t%s\tunknown\t-\t%llu\t%s\t-\t-\t-\n", model_columns, name,
            meta_text(model, "task"), meta_text(model, "licence"), (unsigned long long)size, hex);
    if (fclose(f) != 0)
        exit(cli_complain(EXIT_INTERNAL, "out of memory"));
    const bool ok = manifest_read(m, text, why);
    free(text);
    return ok;
}

uf_status store_put(const char *name, const uf_model *m, const model_row *row,
                    const char *agreement, uf_error *err)
{
    char path[STORE_PATH_MAX], hex[65], why[256];
    model_manifest own = {0};
    store_path(path, name, ".ufm");
    uf_status st = uf_model_save(m, path, err);
    if (!st)
        st = uf_digest_file(path, hex, NULL, err);
    if (!st && !row && !store_own_row(&own, name, m, why)) {
        st = err->status = UF_E_FORMAT;
        snprintf(err->message, sizeof err->message, "%.240s: %s", path, why);
    }
    if (!st)
        st = record_write(name, row ? row : own.rows, hex, agreement, err);
    if (st)
        unlink(path);
    manifest_free(&own);
    return st;
}

uf_status store_put_default(const uf_model *m, uf_error *err)
{
    char path[STORE_PATH_MAX];
    const char *task = uf_model_meta(m, "task");
    if (!task || (strcmp(task, "detector") != 0 && strcmp(task, "embedder") != 0)) {
        err->status = UF_E_ARG;
        snprintf(err->message, sizeof err->message,
                 "only a detector or an embedder can be a default, not a %.100s",
                 task ? task : "network of no known task");
        return UF_E_ARG;
    }
    store_path(path, task, ".ufm");
    return uf_model_save(m, path, err);
}

static bool remove_file(const char *path)
{
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
        return true;
    cli_complain(EXIT_INPUT, "%s: cannot be removed: %s", path, strerror(errno));
    return false;
}

static bool remove_folder(const char *folder)
{
    struct dirent **entries;
    char path[STORE_PATH_MAX];
    const int n = scandir(folder, &entries, NULL, NULL);
    bool ok = true;
    for (int i = 0; i < n; i++) {
        join(path, folder, "/", entries[i]->d_name);
        if (strcmp(entries[i]->d_name, ".") != 0 && strcmp(entries[i]->d_name, "..") != 0)
            ok = remove_file(path) && ok;
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    return ok && (n < 0 || rmdir(folder) == 0);
}

bool store_remove(const char *name)
{
    char path[STORE_PATH_MAX];
    store_path(path, name, ".ufm");
    bool ok = remove_file(path);
    store_path(path, name, ".origin");
    ok = remove_file(path) && ok;
    store_cache_path(path, name, NULL);
    return remove_folder(path) && ok;
}

/* ---- from the cache into the store ---- */

bool store_cached(const model_row *row, const model_file *f)
{
    char path[STORE_PATH_MAX], hex[65];
    uint64_t size;
    store_cache_path(path, row->name, f->name);
    return access(path, F_OK) == 0 && !uf_digest_file(path, hex, &size, NULL) && size == f->size &&
           !strcmp(hex, f->sha256);
}

uf_status store_install(const model_row *row, const char *agreement, bool make_default,
                        uf_error *err)
{
    char path[STORE_PATH_MAX];
    uf_model *m = NULL;
    const bool own = !strcmp(row->files[0].url, "-");
    uf_import_options o = UF_IMPORT_OPTIONS_INIT;
    o.preset = strcmp(row->preset, "-") != 0 ? row->preset : NULL;
    o.licence = row->licence;
    store_cache_path(path, row->name, row->files[0].name);
    uf_status st = own ? uf_model_open(&m, path, err) : uf_model_import(&m, path, &o, err);
    if (!st && strcmp(meta_text(m, "task"), row->task) != 0) {
        st = err->status = UF_E_MISMATCH;
        snprintf(err->message, sizeof err->message, "%s: is a %.100s, the manifest says: %.100s",
                 row->name, meta_text(m, "task"), row->task);
    }
    if (!st)
        st = store_put(row->name, m, own ? NULL : row, own ? "own" : agreement, err);
    if (!st && make_default)
        st = store_put_default(m, err);
    uf_model_close(m);
    return st;
}

bool store_licence(const model_row *row, bool accepted)
{
    const bool is_public = strcmp(row->url, "-") != 0;
    const bool allowed = !strcmp(row->commercial, "yes"), denied = !strcmp(row->commercial, "no");
    fprintf(stderr, "uniface: %s: licence: %s; commercial use: %s%s%s\n", row->name, row->licence,
            allowed  ? "allowed"
            : denied ? "not allowed"
                     : "not stated",
            is_public ? "; from " : "", is_public ? row->url : "");
    if (allowed || accepted || (!is_public && !denied))
        return true;
    cli_complain(EXIT_USAGE,
                 "%s: commercial use is %s (licence: %s): say --accept-licence when your use is "
                 "within its licence",
                 row->name, denied ? "not allowed" : "not known to be allowed", row->licence);
    return false;
}
