/* Opening and closing; the lock that every call takes. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/address.h"
#include "gallery/impl.h"
#include "gallery/keys.h"

/* ---- entering and leaving ---- */

/* Keys that another process made since the last look. */
static uf_status refresh_keys(uf_gallery *g, uf_error *err)
{
    int64_t version;
    uf_status st = g->sql->ops->version(g->sql, &version, err);
    if (st || version == g->version)
        return st;
    st = ufi_keys_reload(g, g->sql, err);
    if (st == UF_E_MISMATCH)
        return ufi_fail(err, UF_E_STATE,
                        "its passphrase was changed by another process: open it again");
    if (!st)
        g->version = version;
    return st;
}

uf_status ufi_gallery_enter(uf_gallery *g, uf_error *err)
{
    if (!g)
        return ufi_fail(err, UF_E_ARG, "the gallery is NULL");
    ufi_mutex_lock(g->lock);
    uf_status st = refresh_keys(g, err);
    return st ? ufi_gallery_leave(g, st, err) : UF_OK;
}

/* In a transaction that has just begun: keys as they are in it. */
static uf_status begin_with_keys(uf_gallery *g, uf_error *err)
{
    uf_status st = refresh_keys(g, err);
    if (st)
        g->sql->ops->rollback(g->sql);
    g->depth = !st;
    return st;
}

/* Nobody else writes until its end: what is sealed in it is not sealed by a key that another
 * process has taken out meanwhile. */
uf_status ufi_gallery_begin(uf_gallery *g, uf_error *err)
{
    uf_status st = g->sql->ops->begin(g->sql, err);
    return st ? st : begin_with_keys(g, err);
}

uf_status ufi_gallery_end(uf_gallery *g, uf_status st, uf_error *err)
{
    g->depth = 0;
    if (g->encrypted)
        ufi_wipe(&g->ring->random, sizeof g->ring->random);
    if (!st)
        return g->sql->ops->commit(g->sql, err);
    g->sql->ops->rollback(g->sql);
    return st;
}

uf_status ufi_gallery_begin_read(uf_gallery *g, uf_error *err)
{
    if (!g->encrypted || g->depth > 0) {
        g->depth++;
        return UF_OK;
    }
    uf_status st = g->sql->ops->begin_read(g->sql, err);
    return st ? st : begin_with_keys(g, err);
}

void ufi_gallery_end_read(uf_gallery *g)
{
    if (--g->depth == 0 && g->encrypted)
        g->sql->ops->rollback(g->sql);
}

uf_status ufi_sealed_rows(uf_gallery *g, const char *sql, const ufi_value *args, size_t count,
                          ufi_row_fn *row, void *user, uf_error *err)
{
    uf_status st = ufi_gallery_begin_read(g, err);
    if (st)
        return st;
    st = ufi_sql_rows(g->sql, sql, args, count, row, user, err);
    ufi_gallery_end_read(g);
    return st;
}

uf_status ufi_gallery_enter_to_write(uf_gallery *g, uf_error *err)
{
    if (g && g->read_only)
        return ufi_fail(err, UF_E_STATE, "%s: opened to be read only", g->name);
    return ufi_gallery_enter(g, err);
}

uf_status ufi_gallery_leave(uf_gallery *g, uf_status st, uf_error *err)
{
    ufi_mutex_unlock(g->lock);
    return ufi_wrap(err, st, "%s", g->name);
}

/* ---- opening ---- */

/* The name for messages: without what may be a password in an address. */
static char *shown_name(const char *name)
{
    size_t size = strlen(name) + 16; /* "***" may be longer than what it hides */
    char *out = ufi_malloc(size, 1);
    if (out)
        ufi_address_show(out, size, name);
    return out;
}

static char *user_name(const char *actor)
{
    struct passwd entry, *found = NULL;
    char buffer[4096], number[32];
    if (actor)
        return ufi_strdup(actor);
    if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found)
        return ufi_strdup(entry.pw_name);
    snprintf(number, sizeof number, "uid %u", (unsigned)getuid());
    return ufi_strdup(number);
}

static uf_status prepare(uf_gallery *g, const char *name, const uf_gallery_options *o,
                         uf_error *err)
{
    if (o->actor) {
        uf_status st = ufi_text_check(o->actor, UFI_NOTE_MAX, "the actor", err);
        if (st)
            return st;
    }
    if (o->passphrase && o->key_file)
        return ufi_fail(err, UF_E_ARG, "a passphrase and a key file: give one of them");
    g->detail = o->detail;
    g->threads = o->threads;
    g->keep_crops = o->keep_crops != 0;
    g->read_only = (o->flags & UF_GALLERY_READ_ONLY) != 0;
    g->actor = user_name(o->actor);
    g->ring = ufi_secret_alloc(sizeof *g->ring, NULL);
    if (!strstr(name, "://")) {
        size_t size = strlen(name) + 8;
        g->folder = ufi_malloc(size, 1);
        if (g->folder)
            snprintf(g->folder, size, "%s-index", name);
    }
    if (!g->actor || !g->ring || (!g->folder && !strstr(name, "://")))
        return ufi_fail(err, UF_E_NOMEM, "no memory to open it");
    uf_status st = ufi_mutex_create(&g->lock, err);
    if (!st)
        st = ufi_mutex_create(&g->reader_lock, err);
    if (!st)
        st = ufi_mutex_create(&g->ring_lock, err);
    return st;
}

static uf_status connect(uf_gallery *g, const char *name, bool create, uf_error *err)
{
    uf_status st = ufi_sql_open(&g->sql, name, create && !g->read_only, false, err);
    /* To be read only, where that is all that can be done. */
    if (st == UF_E_IO && g->read_only) {
        st = ufi_sql_open(&g->sql, name, false, true, err);
        g->unwritable = !st;
    }
    return st;
}

/* The tables, their version, keys. Another process may do the same: the second look is under the
 * lock of the transaction. */
static uf_status settle(uf_gallery *g, const uf_gallery_options *o, uf_error *err)
{
    int64_t version;
    uf_status st = ufi_schema_version(g->sql, &version, err);
    if (!st && version == 0 && !(o->flags & UF_GALLERY_CREATE))
        return ufi_fail(err, UF_E_NOT_FOUND, "no gallery in it yet");
    if (!st && version < UFI_SCHEMA_VERSION && g->read_only)
        return ufi_fail(err, UF_E_STATE, "its tables are of an older version: open it to write");
    if (!st && version < UFI_SCHEMA_VERSION) {
        st = g->sql->ops->begin(g->sql, err);
        if (st)
            return st;
        st = ufi_schema_version(g->sql, &version, err);
        if (!st)
            st = ufi_schema_forward(g->sql, version, err);
        if (!st && version == 0)
            st = ufi_keys_make(g, o, err);
        if (!st && version == 0)
            st = ufi_nearby_allowed(g, err);
        if (!st && version == 0)
            st = ufi_audit_in(g, "create", "", g->encrypted ? "encrypted" : "plain", err);
        st = ufi_gallery_end(g, st, err);
        if (!st && version == 0)
            return UF_OK;
    }
    return st ? st : ufi_keys_open(g, o, err);
}

uf_status uf_gallery_open(uf_gallery **out, const char *name, const uf_gallery_options *options,
                          uf_error *err)
{
    const uf_gallery_options defaults = UF_GALLERY_OPTIONS_INIT, *o = options ? options : &defaults;
    if (!out || !name)
        return ufi_fail(err, UF_E_ARG, "gallery: %s is NULL", out ? "name" : "out");
    *out = NULL;
    uf_gallery *g = ufi_calloc(1, sizeof *g);
    if (g)
        g->name = shown_name(name);
    if (!g || !g->name) {
        ufi_free(g);
        return ufi_fail(err, UF_E_NOMEM, "no memory to open a gallery");
    }
    uf_status st = prepare(g, name, o, err);
    if (!st)
        st = connect(g, name, (o->flags & UF_GALLERY_CREATE) != 0, err);
    if (!st)
        st = settle(g, o, err);
    if (!st)
        st = ufi_sql_open(&g->reader, name, false, g->unwritable, err);
    if (!st)
        st = g->sql->ops->version(g->sql, &g->version, err);
    if (!st && !g->unwritable)
        ufi_erase_pending(g, NULL); /* with somebody in the way, the next opening's */
    if (st) {
        ufi_wrap(err, st, "%s", g->name);
        uf_gallery_close(g);
        return st;
    }
    *out = g;
    return UF_OK;
}

const char *uf_gallery_name(const uf_gallery *g)
{
    return g->name;
}

void uf_gallery_close(uf_gallery *g)
{
    if (!g)
        return;
    for (ufi_live_index *l = g->indexes; l; l = l->next)
        ufi_snapshot_save(l);
    ufi_live_retire_all(g);
    if (g->reader)
        g->reader->ops->close(g->reader);
    if (g->sql)
        g->sql->ops->close(g->sql);
    ufi_mutex_destroy(g->lock);
    ufi_mutex_destroy(g->reader_lock);
    ufi_mutex_destroy(g->ring_lock);
    ufi_secret_free(g->ring, sizeof *g->ring);
    ufi_free(g->folder);
    ufi_free(g->actor);
    ufi_free(g->name);
    ufi_free(g);
}
