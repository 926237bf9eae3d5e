/*
 * Snapshots of indexes, beside the gallery: a cache, so that a million faces can be searched at
 * once after opening. Each is sealed by a random key of its own, which lies in the database under
 * the master key: a snapshot fits a database only while that has its key, so one of another time
 * (a gallery restored from a copy) is never taken; and it can be dropped by dropping the key.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/keys.h"

enum {
    WORTH_SAVING = 2000 /* templates; fewer are read from the records as quickly */
};

static char *path_of(const uf_gallery *g, int64_t collection, int64_t model)
{
    size_t size = g->folder ? strlen(g->folder) + 64 : 0;
    char *out = g->folder ? ufi_malloc(size, 1) : NULL;
    if (out)
        snprintf(out, size, "%s/%lld-%lld.ufx", g->folder, (long long)collection, (long long)model);
    return out;
}

/* ---- the row about a snapshot ---- */

typedef struct snapshot_row {
    uf_gallery *g;
    int64_t mark;
    bool found;
    uint8_t secret[UFI_SECRET_BYTES];
} snapshot_row;

static uf_status read_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    snapshot_row *r = user;
    r->mark = columns[1].integer;
    r->found = true;
    if (!r->g->encrypted)
        return UF_OK;
    if (columns[2].type != UFI_VALUE_BYTES)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the key of a snapshot");
    return ufi_keys_unseal(r->g, columns[0].integer, "snapshot", columns[2].data, columns[2].size,
                           r->secret, err);
}

static uf_status find_row(uf_gallery *g, int64_t collection, int64_t model, snapshot_row *r,
                          uf_error *err)
{
    const ufi_value args[] = {ufi_integer(collection), ufi_integer(model)};
    *r = (snapshot_row){.g = g};
    return ufi_sql_one(g->sql,
                       "SELECT master, mark, secret FROM snapshot WHERE collection = ?1 AND"
                       " model = ?2",
                       args, 2, read_row, r, err);
}

static uf_status put_row(uf_gallery *g, int64_t collection, int64_t model, int64_t mark,
                         const uint8_t secret[UFI_SECRET_BYTES], uf_error *err)
{
    uint8_t sealed[UFI_SEALED_KEY_MAX] = {0};
    uf_status st = g->encrypted ? ufi_keys_seal(g, "snapshot", secret, sealed, err) : UF_OK;
    const ufi_value args[] = {ufi_integer(collection), ufi_integer(model),
                              ufi_integer(ufi_keys_newest(g)), ufi_integer(mark),
                              ufi_bytes(sealed, g->encrypted ? sizeof sealed : 0)};
    return st ? st
              : ufi_sql_run(g->sql,
                            "INSERT INTO snapshot (collection, model, master, mark, secret) VALUES"
                            " (?1, ?2, ?3, ?4, ?5) ON CONFLICT (collection, model) DO UPDATE SET"
                            " master = ?3, mark = ?4, secret = ?5",
                            args, 5, NULL, err);
}

/* ---- loading and saving ---- */

uf_status ufi_snapshot_load(ufi_live_index *l, uf_error *err)
{
    uf_gallery *g = l->gallery;
    snapshot_row r;
    uf_index_options o = UF_INDEX_OPTIONS_INIT;
    char *path = path_of(g, l->collection, l->model);
    if (!path)
        return ufi_fail(err, UF_E_NOT_FOUND, "no snapshots are kept");
    o.dimension = l->dimension;
    o.detail = g->detail;
    o.fetch = ufi_live_fetch;
    o.fetch_user = l;
    uf_status st = find_row(g, l->collection, l->model, &r, err);
    if (!st)
        st = uf_index_open(&l->x, path, g->encrypted ? r.secret : NULL, &o, err);
    if (!st) {
        uf_index_info info = uf_index_describe(l->x);
        if (info.detail != g->detail || (int64_t)info.mark != r.mark)
            st = ufi_fail(err, UF_E_NOT_FOUND, "a snapshot of another time, or with less in it");
    }
    ufi_wipe(r.secret, sizeof r.secret);
    ufi_free(path);
    return st;
}

/* The file first, then the row: in between the row's key does not open the file, and the index is
 * made from the records. */
uf_status ufi_snapshot_write(ufi_live_index *l, uf_error *err)
{
    uf_gallery *g = l->gallery;
    uint8_t secret[UFI_SECRET_BYTES];
    char *path = path_of(g, l->collection, l->model);
    if (!path)
        return UF_OK;
    uf_status st = ufi_random(secret, sizeof secret, err);
    if (!st && mkdir(g->folder, 0700) != 0 && errno != EEXIST)
        st = ufi_fail(err, UF_E_IO, "%s: cannot make the folder: %s", g->folder, strerror(errno));
    if (!st)
        st = uf_index_save(l->x, path, g->encrypted ? secret : NULL, err);
    if (!st)
        st = ufi_gallery_begin(g, err);
    if (!st) {
        int64_t mark = (int64_t)uf_index_describe(l->x).mark;
        st = put_row(g, l->collection, l->model, mark, secret, err);
        st = ufi_gallery_end(g, st, err);
    }
    if (!st)
        l->unsaved = 0;
    else
        unlink(path);
    ufi_wipe(secret, sizeof secret);
    ufi_free(path);
    return st;
}

void ufi_snapshot_save(ufi_live_index *l)
{
    if (!l->x)
        return;
    uint64_t count = uf_index_describe(l->x).count;
    uint64_t enough = l->unsaved == UINT64_MAX ? WORTH_SAVING : 1000;
    bool changed = l->unsaved == UINT64_MAX || (l->unsaved >= enough && l->unsaved >= count / 50);
    /* An index that cannot be saved is made anew; nobody is kept waiting or told. */
    if (count >= WORTH_SAVING && changed && !l->gallery->read_only)
        ufi_snapshot_write(l, NULL);
}

/* ---- dropping ---- */

static uf_status remove_file(const char *path, uf_error *err)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return ufi_fail(err, UF_E_IO, "%s: cannot remove: %s", path, strerror(errno));
    return UF_OK;
}

uf_status ufi_snapshot_drop(uf_gallery *g, int64_t collection, int64_t model, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(collection), ufi_integer(model)};
    char *path = path_of(g, collection, model);
    uf_status st = ufi_sql_run(g->sql, "DELETE FROM snapshot WHERE collection = ?1 AND model = ?2",
                               args, 2, NULL, err);
    if (!st && path)
        st = remove_file(path, err);
    ufi_free(path);
    for (ufi_live_index *l = g->indexes; l; l = l->next)
        if (l->collection == collection && l->model == model)
            l->unsaved = UINT64_MAX;
    return st;
}

/* In place where it is sealed. A plain one may be mapped by another process, which would search
 * among bytes that change: it is dropped. */
uf_status ufi_snapshot_erase(uf_gallery *g, int64_t collection, int64_t model,
                             const uint64_t *templates, size_t count, uf_error *err)
{
    snapshot_row r;
    char *path = path_of(g, collection, model);
    if (!path)
        return UF_OK;
    uf_status st = find_row(g, collection, model, &r, NULL);
    if (!st && g->encrypted)
        st = uf_index_file_remove(path, r.secret, templates, count, NULL, NULL);
    else if (!st)
        st = UF_E_STATE;
    ufi_wipe(r.secret, sizeof r.secret);
    ufi_free(path);
    return st ? ufi_snapshot_drop(g, collection, model, err) : UF_OK;
}

typedef struct pair_list {
    ufi_numbers collections, models;
} pair_list;

static uf_status pair_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    pair_list *p = user;
    uf_status st = ufi_numbers_push(&p->collections, (uint64_t)columns[0].integer, err);
    return st ? st : ufi_numbers_push(&p->models, (uint64_t)columns[1].integer, err);
}

/* Of all that may ever have been saved: also files whose row is gone. */
uf_status ufi_snapshot_drop_all(uf_gallery *g, uf_error *err)
{
    pair_list p = {{0}, {0}};
    uf_status st = ufi_sql_rows(g->sql,
                                "SELECT collection, model FROM census UNION"
                                " SELECT collection, model FROM snapshot",
                                NULL, 0, pair_row, &p, err);
    for (size_t i = 0; !st && i < p.collections.count; i++)
        st = ufi_snapshot_drop(g, (int64_t)p.collections.list[i], (int64_t)p.models.list[i], err);
    ufi_free(p.collections.list);
    ufi_free(p.models.list);
    return st;
}

uint64_t ufi_snapshot_bytes(uf_gallery *g)
{
    pair_list p = {{0}, {0}};
    uint64_t total = 0;
    ufi_sql_rows(g->sql, "SELECT collection, model FROM snapshot", NULL, 0, pair_row, &p, NULL);
    for (size_t i = 0; i < p.models.count; i++) {
        struct stat info;
        char *path = path_of(g, (int64_t)p.collections.list[i], (int64_t)p.models.list[i]);
        if (path && stat(path, &info) == 0)
            total += (uint64_t)info.st_size;
        ufi_free(path);
    }
    ufi_free(p.collections.list);
    ufi_free(p.models.list);
    return total;
}
