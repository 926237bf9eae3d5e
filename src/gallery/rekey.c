/*
 * A new master key, while the gallery is in use: the key is made in one transaction, people's keys
 * are sealed by it some thousands a transaction, and when nobody is left under an older one that
 * is taken out. Each person's row says under which it is, so the work can stop anywhere.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/keys.h"

enum { PEOPLE_AT_ONCE = 2000 };

typedef struct resealer {
    uf_gallery *g;
    int64_t master;
    uint8_t sealed[UFI_SEALED_KEY_MAX];
    size_t size;
} resealer;

static uf_status reseal_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    resealer *r = user;
    ufi_person_row p;
    uint8_t key[UFI_SECRET_BYTES];
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (!st)
        st = ufi_person_open(r->g, &p, key, err);
    p.master = r->master;
    if (!st)
        st = ufi_person_seal(r->g, &p, key, r->sealed, &r->size, err);
    ufi_wipe(key, sizeof key);
    return st;
}

static uf_status reseal_person(resealer *r, int64_t number, uf_error *err)
{
    const ufi_value find[] = {ufi_integer(number)};
    uf_status st = ufi_sql_one(
        r->g->sql, "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES " WHERE p.number = ?1",
        find, 1, reseal_row, r, err);
    const ufi_value put[] = {ufi_integer(number), ufi_integer(r->master),
                             ufi_bytes(r->sealed, r->size)};
    return st ? st
              : ufi_sql_run(r->g->sql,
                            "UPDATE person SET master = ?2, sealed = ?3 WHERE number = ?1", put, 3,
                            NULL, err);
}

static uf_status number_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    return ufi_numbers_push(user, (uint64_t)columns[0].integer, err);
}

/* One transaction; *done people were sealed again, 0 when there are no more. */
static uf_status reseal_some(uf_gallery *g, size_t *done, uf_error *err)
{
    ufi_numbers people = {0};
    resealer r = {.g = g};
    *done = 0;
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        return st;
    r.master = ufi_keys_newest(g);
    const ufi_value args[] = {ufi_integer(r.master), ufi_integer(PEOPLE_AT_ONCE)};
    st = ufi_sql_rows(g->sql, "SELECT number FROM person WHERE master < ?1 LIMIT ?2", args, 2,
                      number_row, &people, err);
    for (size_t i = 0; !st && i < people.count; i++)
        st = reseal_person(&r, (int64_t)people.list[i], err);
    st = ufi_gallery_end(g, st, err);
    *done = st ? 0 : people.count;
    ufi_free(people.list);
    return st;
}

/* ---- beginning and end ---- */

static uf_status older_masters(uf_gallery *g, ufi_numbers *out, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(ufi_keys_newest(g))};
    *out = (ufi_numbers){0};
    return ufi_sql_rows(g->sql, "SELECT number FROM master_key WHERE number < ?1", args, 1,
                        number_row, out, err);
}

/* Unless a rotation has begun that did not end. */
static uf_status begin_rotation(uf_gallery *g, uf_error *err)
{
    ufi_numbers older;
    int64_t before = 0;
    bool made = false;
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        return st;
    st = older_masters(g, &older, err);
    if (!st && older.count == 0) {
        before = ufi_keys_newest(g);
        st = ufi_keys_add_master(g, err);
        made = ufi_keys_newest(g) != before;
        if (!st)
            st = ufi_audit_in(g, "rotate_key", "", "begun", err);
    }
    st = ufi_gallery_end(g, st, err);
    if (st && made)
        ufi_keys_forget(g, ufi_keys_newest(g)); /* the database does not have it */
    ufi_free(older.list);
    return st;
}

/* Small secrets under the newest key. Snapshots lose theirs, and are made again. */
static uf_status reseal_secrets(uf_gallery *g, uf_error *err)
{
    uint8_t sealed[UFI_SEALED_KEY_MAX];
    uf_status st = ufi_keys_seal(g, "audit", g->ring->audit, sealed, err);
    if (!st)
        st = ufi_setting_put(g->sql, "audit", ufi_keys_newest(g), sealed, sizeof sealed, err);
    return st ? st : ufi_snapshot_drop_all(g, err);
}

static uf_status end_rotation(uf_gallery *g, uf_error *err)
{
    ufi_numbers older = {0};
    int64_t left, erasure = 0;
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        return st;
    const ufi_value args[] = {ufi_integer(ufi_keys_newest(g))};
    st = ufi_sql_integer(g->sql, "SELECT count(*) FROM person WHERE master < ?1", args, 1, 0, &left,
                         err);
    if (!st && left)
        st = ufi_fail(err, UF_E_STATE, "people were enrolled meanwhile: rotate once more");
    if (!st)
        st = older_masters(g, &older, err);
    if (!st)
        st = reseal_secrets(g, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM master_key WHERE number < ?1", args, 1, NULL, err);
    if (!st)
        st = ufi_audit_in(g, "rotate_key", "", "ended", err);
    if (!st)
        st = ufi_erase_begin(g, &erasure, err);
    st = ufi_gallery_end(g, st, err);
    for (size_t i = 0; !st && i < older.count; i++)
        ufi_keys_forget(g, (int64_t)older.list[i]);
    ufi_free(older.list);
    return st ? st : ufi_erase_traces(g, erasure, NULL, err);
}

static uf_status count_left(uf_gallery *g, size_t *out, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(ufi_keys_newest(g))};
    int64_t left;
    uf_status st = ufi_sql_integer(g->sql, "SELECT count(*) FROM person WHERE master < ?1", args, 1,
                                   0, &left, err);
    *out = (size_t)left;
    return st;
}

uf_status uf_gallery_rotate_key(uf_gallery *g, uf_progress_fn *progress, void *user, uf_error *err)
{
    size_t total = 0, done = 0, some = 0;
    uf_status st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    if (!g->encrypted)
        st = ufi_fail(err, UF_E_ARG, "not encrypted: it has no key");
    if (!st)
        st = begin_rotation(g, err);
    if (!st)
        st = count_left(g, &total, err);
    while (!st) {
        st = reseal_some(g, &some, err);
        done += some;
        if (st || some == 0)
            break;
        /* Others may go in between. */
        ufi_mutex_unlock(g->lock);
        bool stop = progress && progress(user, done < total ? done : total, total);
        ufi_mutex_lock(g->lock);
        if (stop)
            st = ufi_fail(err, UF_E_CANCELLED, "stopped by the caller; rotating again goes on");
    }
    if (!st)
        st = end_rotation(g, err);
    return ufi_gallery_leave(g, st, err);
}

uf_status uf_gallery_set_passphrase(uf_gallery *g, const char *passphrase, const char *key_file,
                                    uf_error *err)
{
    if ((passphrase != NULL) == (key_file != NULL))
        return ufi_fail(err, UF_E_ARG, "set_passphrase: give a passphrase or a key file");
    uf_status st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = g->encrypted ? ufi_keys_set_outer(g, passphrase, key_file, err)
                      : ufi_fail(err, UF_E_ARG, "not encrypted: it has no key");
    return ufi_gallery_leave(g, st, err);
}
