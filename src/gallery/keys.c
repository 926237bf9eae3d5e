/*
 * Keys, from the outside in: a passphrase (Argon2id) or the bytes of a file give the outer key,
 * which seals the master keys, which seal the keys of people and the gallery's own small secrets.
 * So another passphrase seals a few bytes again, another master key as many as there are people,
 * and nobody's templates are touched by either.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/status.h"
#include "gallery/keys.h"

#define KEY_FILE_BYTES_MAX ((size_t)1 << 20)

static const char how_to[] = "give a passphrase or key file, or set UNIFACE_GALLERY_PASSPHRASE or "
                             "UNIFACE_GALLERY_KEY_FILE";

/* How the outer key is made, as it is stored. */
typedef struct unlock_record {
    uint8_t salt[UFI_SALT_BYTES];
    uint64_t passes, memory_bytes;
} unlock_record;

static uf_status key_of_file(const char *path, uint8_t out[UFI_SECRET_BYTES], uf_error *err)
{
    uint8_t *data, digest[UFI_SHA256_BYTES];
    size_t size;
    uf_status st = ufi_file_read(&data, &size, path, KEY_FILE_BYTES_MAX, err);
    if (st)
        return ufi_wrap(err, st, "key file");
    if (size < UFI_SECRET_BYTES) {
        st = ufi_fail(err, UF_E_ARG, "key file %s: %zu bytes; it takes at least %d random ones",
                      path, size, UFI_SECRET_BYTES);
    } else {
        ufi_sha256_of(data, size, digest);
        st = ufi_secret_derive(out, digest, "uniface gallery key file", err);
    }
    ufi_wipe(data, size);
    ufi_wipe(digest, sizeof digest);
    ufi_free(data);
    return st;
}

/* Where the key comes from: options, then the environment. */
typedef struct key_source {
    const char *passphrase, *file;
    char credential[4096];
} key_source;

static bool find_source(key_source *s, const uf_gallery_options *options)
{
    *s = (key_source){.passphrase = options->passphrase, .file = options->key_file};
    if (s->passphrase || s->file)
        return true;
    s->passphrase = getenv("UNIFACE_GALLERY_PASSPHRASE");
    if (!s->passphrase)
        s->file = getenv("UNIFACE_GALLERY_KEY_FILE");
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    if (s->passphrase || s->file || !folder)
        return s->passphrase || s->file;
    int n = snprintf(s->credential, sizeof s->credential, "%s/uniface-gallery-key", folder);
    FILE *f = n > 0 && (size_t)n < sizeof s->credential ? fopen(s->credential, "rb") : NULL;
    if (!f)
        return false;
    fclose(f);
    s->file = s->credential;
    return true;
}

static uf_status outer_key(const key_source *s, const unlock_record *r,
                           uint8_t out[UFI_SECRET_BYTES], uf_error *err)
{
    if (!s->passphrase)
        return key_of_file(s->file, out, err);
    if (s->passphrase[0] == '\0')
        return ufi_fail(err, UF_E_ARG, "the passphrase is empty");
    return ufi_secret_from_passphrase(out, s->passphrase, r->salt, r->passes, r->memory_bytes, err);
}

/* A new outer key and how to make it again. */
static uf_status new_outer_key(ufi_sql *sql, const key_source *s, uint8_t out[UFI_SECRET_BYTES],
                               uf_error *err)
{
    unlock_record r = {.passes = UFI_PASSPHRASE_PASSES,
                       .memory_bytes = UFI_PASSPHRASE_MEMORY_BYTES};
    uf_status st = ufi_random(r.salt, sizeof r.salt, err);
    if (!st)
        st = outer_key(s, &r, out, err);
    if (!st)
        st = ufi_setting_put(sql, "unlock", s->passphrase ? UFI_UNLOCK_PASSPHRASE : UFI_UNLOCK_FILE,
                             &r, sizeof r, err);
    return st;
}

/* ---- small secrets and master keys ---- */

static void secret_bound(const uf_gallery *g, const char *what, int64_t number,
                         uint8_t bound[UFI_BOUND_BYTES])
{
    ufi_sha256 h;
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, "uniface secret 1", 16);
    ufi_sha256_update(&h, g->store, sizeof g->store);
    ufi_sha256_update(&h, &number, sizeof number);
    ufi_sha256_update(&h, what, strlen(what));
    ufi_sha256_final(&h, bound);
}

uf_status ufi_keys_seal(uf_gallery *g, const char *what, const uint8_t secret[UFI_SECRET_BYTES],
                        uint8_t out[UFI_SEALED_KEY_MAX], uf_error *err)
{
    uint8_t bound[UFI_BOUND_BYTES], master[UFI_SECRET_BYTES];
    int64_t number = ufi_keys_newest(g);
    uf_status st = ufi_keys_find(g, number, master, err);
    secret_bound(g, what, number, bound);
    if (!st)
        st = ufi_seal(out, secret, UFI_SECRET_BYTES, bound, sizeof bound, master, err);
    ufi_wipe(master, sizeof master);
    return st;
}

uf_status ufi_keys_unseal(uf_gallery *g, int64_t number, const char *what, const uint8_t *sealed,
                          size_t size, uint8_t out[UFI_SECRET_BYTES], uf_error *err)
{
    uint8_t bound[UFI_BOUND_BYTES], master[UFI_SECRET_BYTES];
    uf_status st = ufi_keys_find(g, number, master, err);
    secret_bound(g, what, number, bound);
    if (!st && size != UFI_SEALED_KEY_MAX)
        st = ufi_fail(err, UF_E_FORMAT, "damaged: the gallery's %s key", what);
    if (!st && ufi_unseal(out, sealed, size, bound, sizeof bound, master, NULL))
        st = ufi_fail(err, UF_E_FORMAT, "damaged: the gallery's %s key does not open", what);
    ufi_wipe(master, sizeof master);
    return st;
}

uf_status ufi_keys_find(uf_gallery *g, int64_t number, uint8_t out[UFI_SECRET_BYTES], uf_error *err)
{
    bool found = false;
    ufi_mutex_lock(g->ring_lock);
    for (size_t i = 0; i < g->ring->count && !found; i++)
        if (g->ring->numbers[i] == number) {
            memcpy(out, g->ring->masters[i], UFI_SECRET_BYTES);
            found = true;
        }
    ufi_mutex_unlock(g->ring_lock);
    if (found)
        return UF_OK;
    memset(out, 0, UFI_SECRET_BYTES);
    return ufi_fail(err, UF_E_STATE, "sealed by master key %lld, which is not known: try again",
                    (long long)number);
}

int64_t ufi_keys_newest(uf_gallery *g)
{
    int64_t newest = 0;
    ufi_mutex_lock(g->ring_lock);
    for (size_t i = 0; i < g->ring->count; i++)
        if (g->ring->numbers[i] > newest)
            newest = g->ring->numbers[i];
    ufi_mutex_unlock(g->ring_lock);
    return newest;
}

/* Puts a key into the ring; when that is full, the oldest gives way. */
static void ring_put(uf_gallery *g, int64_t number, const uint8_t secret[UFI_SECRET_BYTES])
{
    ufi_key_ring *r = g->ring;
    ufi_mutex_lock(g->ring_lock);
    size_t at = 0;
    while (at < r->count && r->numbers[at] != number)
        at++;
    if (at == UFI_MASTERS_MAX) {
        at--;
        memmove(r->numbers, r->numbers + 1, at * sizeof r->numbers[0]);
        memmove(r->masters, r->masters + 1, at * sizeof r->masters[0]);
    }
    r->numbers[at] = number;
    memcpy(r->masters[at], secret, UFI_SECRET_BYTES);
    r->count = at < r->count ? r->count : at + 1;
    ufi_mutex_unlock(g->ring_lock);
}

uf_status ufi_keys_add_master(uf_gallery *g, uf_error *err)
{
    uint8_t secret[UFI_SECRET_BYTES], sealed[UFI_SEALED_KEY_MAX], bound[UFI_BOUND_BYTES];
    int64_t number;
    uf_status st = ufi_numbers_take(g->sql, "master_key", 1, &number, err);
    if (!st)
        st = ufi_random(secret, sizeof secret, err);
    secret_bound(g, "master", number, bound);
    if (!st)
        st = ufi_seal(sealed, secret, sizeof secret, bound, sizeof bound, g->ring->outer, err);
    const ufi_value args[] = {ufi_integer(number), ufi_bytes(sealed, sizeof sealed),
                              ufi_integer(ufi_now())};
    if (!st)
        st = ufi_sql_run(g->sql,
                         "INSERT INTO master_key (number, sealed, created) VALUES (?1, ?2, ?3)",
                         args, 3, NULL, err);
    if (!st)
        ring_put(g, number, secret);
    ufi_wipe(secret, sizeof secret);
    return st;
}

void ufi_keys_forget(uf_gallery *g, int64_t number)
{
    ufi_key_ring *r = g->ring;
    ufi_mutex_lock(g->ring_lock);
    for (size_t i = 0; i < r->count; i++)
        if (r->numbers[i] == number) {
            r->count--;
            memmove(r->numbers + i, r->numbers + i + 1, (r->count - i) * sizeof r->numbers[0]);
            memmove(r->masters + i, r->masters + i + 1, (r->count - i) * sizeof r->masters[0]);
            ufi_wipe(r->masters[r->count], UFI_SECRET_BYTES);
            break;
        }
    ufi_mutex_unlock(g->ring_lock);
}

static uf_status master_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    uf_gallery *g = user;
    uint8_t secret[UFI_SECRET_BYTES], outer[UFI_SECRET_BYTES], bound[UFI_BOUND_BYTES];
    if (columns[1].type != UFI_VALUE_BYTES || columns[1].size != UFI_SEALED_KEY_MAX)
        return ufi_fail(err, UF_E_FORMAT, "damaged: master key %lld",
                        (long long)columns[0].integer);
    secret_bound(g, "master", columns[0].integer, bound);
    ufi_mutex_lock(g->ring_lock);
    memcpy(outer, g->ring->outer, sizeof outer);
    ufi_mutex_unlock(g->ring_lock);
    uf_status st =
        ufi_unseal(secret, columns[1].data, columns[1].size, bound, sizeof bound, outer, NULL);
    ufi_wipe(outer, sizeof outer);
    if (st)
        return ufi_fail(err, UF_E_MISMATCH, "wrong passphrase or key");
    ring_put(g, columns[0].integer, secret);
    ufi_wipe(secret, sizeof secret);
    return UF_OK;
}

uf_status ufi_keys_reload(uf_gallery *g, ufi_sql *sql, uf_error *err)
{
    if (!g->encrypted)
        return UF_OK;
    uf_status st = ufi_sql_one(sql, "SELECT number, sealed FROM master_key ORDER BY number", NULL,
                               0, master_row, g, err);
    return st == UF_E_NOT_FOUND ? ufi_fail(err, UF_E_FORMAT, "damaged: no master key") : st;
}

/* ---- making and opening ---- */

uf_status ufi_keys_make(uf_gallery *g, const uf_gallery_options *options, uf_error *err)
{
    key_source source;
    uint8_t sealed[UFI_SEALED_KEY_MAX];
    bool keyed = find_source(&source, options);
    g->encrypted = !(options->flags & UF_GALLERY_PLAIN);
    if (g->encrypted && !keyed)
        return ufi_fail(err, UF_E_ARG, "galleries are encrypted, and no key was given: %s", how_to);
    uf_status st = ufi_random(g->store, sizeof g->store, err);
    if (!st)
        st = ufi_setting_put(g->sql, "store", g->encrypted, g->store, sizeof g->store, err);
    if (!st)
        st = ufi_random(g->ring->audit, UFI_SECRET_BYTES, err);
    if (!st && !g->encrypted)
        return ufi_setting_put(g->sql, "audit", 0, g->ring->audit, UFI_SECRET_BYTES, err);
    if (!st)
        st = ufi_seal_ready(err);
    if (!st)
        st = new_outer_key(g->sql, &source, g->ring->outer, err);
    if (!st)
        st = ufi_keys_add_master(g, err);
    if (!st)
        st = ufi_keys_seal(g, "audit", g->ring->audit, sealed, err);
    if (!st)
        st = ufi_setting_put(g->sql, "audit", ufi_keys_newest(g), sealed, sizeof sealed, err);
    return st;
}

static uf_status unlock(uf_gallery *g, const key_source *source, uf_error *err)
{
    unlock_record r;
    uint8_t sealed[UFI_SEALED_KEY_MAX];
    int64_t kind, master;
    uf_status st = ufi_setting_get(g->sql, "unlock", &kind, &r, sizeof r, err);
    if (!st && (kind == UFI_UNLOCK_PASSPHRASE) != (source->passphrase != NULL))
        return ufi_fail(err, UF_E_MISMATCH, "wrong passphrase or key: it takes a %s",
                        kind == UFI_UNLOCK_PASSPHRASE ? "passphrase" : "key file");
    if (!st &&
        (r.passes > UFI_PASSPHRASE_PASSES_MAX || r.memory_bytes > UFI_PASSPHRASE_MEMORY_BYTES_MAX))
        return ufi_fail(err, UF_E_FORMAT, "damaged: its passphrase would take %llu MiB",
                        (unsigned long long)(r.memory_bytes >> 20));
    if (!st)
        st = outer_key(source, &r, g->ring->outer, err);
    if (!st)
        st = ufi_keys_reload(g, g->sql, err);
    if (!st)
        st = ufi_setting_get(g->sql, "audit", &master, sealed, sizeof sealed, err);
    if (!st)
        st = ufi_keys_unseal(g, master, "audit", sealed, sizeof sealed, g->ring->audit, err);
    return st;
}

uf_status ufi_keys_open(uf_gallery *g, const uf_gallery_options *options, uf_error *err)
{
    key_source source;
    int64_t encrypted;
    uf_status st = ufi_setting_get(g->sql, "store", &encrypted, g->store, sizeof g->store, err);
    if (st)
        return st;
    g->encrypted = encrypted != 0;
    if (!g->encrypted) {
        if (options->passphrase || options->key_file)
            return ufi_fail(err, UF_E_ARG, "not encrypted: it takes no passphrase and no key");
        return ufi_setting_get(g->sql, "audit", NULL, g->ring->audit, UFI_SECRET_BYTES, err);
    }
    st = ufi_seal_ready(err);
    if (st)
        return st;
    if (!find_source(&source, options))
        return ufi_fail(err, UF_E_ARG, "encrypted, and no key was given: %s", how_to);
    return unlock(g, &source, err);
}

/* ---- another passphrase ---- */

typedef struct master_list {
    size_t count;
    int64_t numbers[UFI_MASTERS_MAX];
} master_list;

static uf_status number_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    master_list *m = user;
    if (m->count == UFI_MASTERS_MAX)
        return ufi_fail(err, UF_E_LIMIT, "more than %d master keys: end the rotation first",
                        UFI_MASTERS_MAX);
    m->numbers[m->count++] = columns[0].integer;
    return UF_OK;
}

/* Seals all master keys by another outer key. In a transaction. */
static uf_status seal_masters(uf_gallery *g, const uint8_t outer[UFI_SECRET_BYTES], uf_error *err)
{
    master_list list = {0};
    uint8_t secret[UFI_SECRET_BYTES], sealed[UFI_SEALED_KEY_MAX], bound[UFI_BOUND_BYTES];
    uf_status st =
        ufi_sql_rows(g->sql, "SELECT number FROM master_key", NULL, 0, number_row, &list, err);
    for (size_t i = 0; !st && i < list.count; i++) {
        const ufi_value args[] = {ufi_integer(list.numbers[i]), ufi_bytes(sealed, sizeof sealed)};
        st = ufi_keys_find(g, list.numbers[i], secret, err);
        secret_bound(g, "master", list.numbers[i], bound);
        if (!st)
            st = ufi_seal(sealed, secret, sizeof secret, bound, sizeof bound, outer, err);
        if (!st)
            st = ufi_sql_run(g->sql, "UPDATE master_key SET sealed = ?2 WHERE number = ?1", args, 2,
                             NULL, err);
    }
    ufi_wipe(secret, sizeof secret);
    return st;
}

uf_status ufi_keys_set_outer(uf_gallery *g, const char *passphrase, const char *key_file,
                             uf_error *err)
{
    key_source source = {.passphrase = passphrase, .file = key_file};
    uint8_t *outer = ufi_secret_alloc(UFI_SECRET_BYTES, NULL);
    int64_t erasure;
    if (!outer)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a key");
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        goto cleanup;
    /* Under the lock of the transaction: another process may have made a master key. */
    st = ufi_keys_reload(g, g->sql, err);
    if (!st)
        st = new_outer_key(g->sql, &source, outer, err);
    if (!st)
        st = seal_masters(g, outer, err);
    if (!st)
        st = ufi_erase_begin(g, &erasure, err);
    if (!st)
        st = ufi_audit_in(g, "set_passphrase", "", passphrase ? "passphrase" : "key file", err);
    st = ufi_gallery_end(g, st, err);
    if (!st) {
        ufi_mutex_lock(g->ring_lock);
        memcpy(g->ring->outer, outer, UFI_SECRET_BYTES);
        ufi_mutex_unlock(g->ring_lock);
        st = ufi_erase_traces(g, erasure, NULL, err);
    }
cleanup:
    ufi_secret_free(outer, UFI_SECRET_BYTES);
    return st;
}
