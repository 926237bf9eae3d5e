/*
 * The audit log: each entry's digest covers the one before, so that nothing can be changed or
 * taken out without changing all that follows; a receipt holds a digest from outside of the log.
 * Who an entry is about is a keyed digest: the log may outlive the person's data.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

/* HMAC (RFC 2104) with SHA-256: also in builds without libsodium. */
static void keyed_digest(const uint8_t key[UFI_SECRET_BYTES], const char *a, const char *b,
                         uint8_t out[UFI_SHA256_BYTES])
{
    uint8_t pad[64], inner[UFI_SHA256_BYTES];
    ufi_sha256 h;
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] = (uint8_t)((i < UFI_SECRET_BYTES ? key[i] : 0) ^ 0x36);
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, pad, sizeof pad);
    ufi_sha256_update(&h, a, strlen(a) + 1);
    ufi_sha256_update(&h, b, strlen(b) + 1);
    ufi_sha256_final(&h, inner);
    for (size_t i = 0; i < sizeof pad; i++)
        pad[i] ^= 0x36 ^ 0x5C;
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, pad, sizeof pad);
    ufi_sha256_update(&h, inner, sizeof inner);
    ufi_sha256_final(&h, out);
    ufi_wipe(pad, sizeof pad);
}

void ufi_audit_subject(uf_gallery *g, const char *collection, const char *id, char out[65])
{
    uint8_t digest[UFI_SHA256_BYTES];
    keyed_digest(g->ring->audit, collection, id, digest);
    ufi_hex(digest, sizeof digest, out);
}

/* An entry's digest from the one before and its fields, each with its length. */
static void entry_digest(const uf_gallery *g, const uint8_t before[UFI_SHA256_BYTES],
                         int64_t number, int64_t moment, const char *const fields[4],
                         uint8_t out[UFI_SHA256_BYTES])
{
    ufi_sha256 h;
    ufi_sha256_init(&h);
    ufi_sha256_update(&h, before, UFI_SHA256_BYTES);
    ufi_sha256_update(&h, g->store, sizeof g->store);
    ufi_sha256_update(&h, &number, sizeof number);
    ufi_sha256_update(&h, &moment, sizeof moment);
    for (size_t i = 0; i < 4; i++) {
        uint64_t size = strlen(fields[i]);
        ufi_sha256_update(&h, &size, sizeof size);
        ufi_sha256_update(&h, fields[i], size);
    }
    ufi_sha256_final(&h, out);
}

static uf_status tail_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    ufi_audit_tail *t = user;
    if (columns[1].type != UFI_VALUE_BYTES || columns[1].size != sizeof t->digest)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the digest of an audit entry");
    t->number = columns[0].integer;
    memcpy(t->digest, columns[1].data, sizeof t->digest);
    return UF_OK;
}

uf_status ufi_audit_last(uf_gallery *g, ufi_audit_tail *tail, uf_error *err)
{
    *tail = (ufi_audit_tail){0};
    return ufi_sql_rows(g->sql, "SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1",
                        NULL, 0, tail_row, tail, err);
}

/* A gallery is shared by threads that act for different people at the same time. */
static _Thread_local char acting_for[256];

uf_status uf_gallery_act_for(const char *actor, uf_error *err)
{
    const uf_status st =
        actor ? ufi_text_check(actor, sizeof acting_for - 1, "the actor", err) : UF_OK;
    if (!st)
        snprintf(acting_for, sizeof acting_for, "%s", actor ? actor : "");
    return st;
}

uf_status ufi_audit_add(uf_gallery *g, ufi_audit_tail *tail, const char *action,
                        const char *subject, const char *detail, uf_error *err)
{
    const char *const actor = *acting_for ? acting_for : g->actor;
    const char *const fields[4] = {actor, action, subject, detail};
    int64_t number = tail->number + 1, moment = ufi_now();
    uint8_t digest[UFI_SHA256_BYTES];
    entry_digest(g, tail->digest, number, moment, fields, digest);
    const ufi_value args[] = {ufi_integer(number),
                              ufi_integer(moment),
                              ufi_text(actor),
                              ufi_text(action),
                              ufi_text(subject),
                              ufi_text(detail),
                              ufi_bytes(digest, sizeof digest)};
    uf_status st = ufi_sql_run(g->sql,
                               "INSERT INTO audit (number, moment, actor, action, subject, detail,"
                               " digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                               args, 7, NULL, err);
    if (!st) {
        tail->number = number;
        memcpy(tail->digest, digest, sizeof digest);
    }
    return st;
}

uf_status ufi_audit_in(uf_gallery *g, const char *action, const char *subject, const char *detail,
                       uf_error *err)
{
    ufi_audit_tail tail;
    uf_status st = ufi_audit_last(g, &tail, err);
    return st ? st : ufi_audit_add(g, &tail, action, subject, detail, err);
}

uf_status ufi_audit_note(uf_gallery *g, const char *action, const char *subject, const char *detail,
                         uf_error *err)
{
    uf_status st = ufi_gallery_begin(g, err);
    if (st)
        return st;
    return ufi_gallery_end(g, ufi_audit_in(g, action, subject, detail, err), err);
}

void ufi_audit_search(uf_gallery *g, const char *action, const char *subject, const char *detail)
{
    const ufi_sql_ops *ops = g->sql->ops;
    ufi_audit_tail tail;
    char lost[64];
    if (g->unwritable)
        return;
    uf_status st = ops->begin_light ? ops->begin_light(g->sql, NULL) : ops->begin(g->sql, NULL);
    if (!st) {
        st = ufi_audit_last(g, &tail, NULL);
        snprintf(lost, sizeof lost, "%llu searches could not be written",
                 (unsigned long long)g->unlogged);
        if (!st && g->unlogged)
            st = ufi_audit_add(g, &tail, "gap", "", lost, NULL);
        if (!st)
            st = ufi_audit_add(g, &tail, action, subject, detail, NULL);
        st = ufi_gallery_end(g, st, NULL);
    }
    g->unlogged = st ? g->unlogged + 1 : 0;
}

/* ---- reading ---- */

typedef struct audit_reader {
    uf_gallery *g;
    ufi_audit_tail tail;
    uint64_t right;
    uf_audit_fn *fn;
    void *user;
} audit_reader;

static uf_status read_entry(const ufi_value *columns, const char *fields[4], uf_error *err)
{
    for (size_t i = 0; i < 4; i++) {
        fields[i] = columns[2 + i].data;
        if (columns[2 + i].type != UFI_VALUE_TEXT)
            return ufi_fail(err, UF_E_FORMAT, "damaged: audit entry %lld",
                            (long long)columns[0].integer);
    }
    if (columns[6].type != UFI_VALUE_BYTES || columns[6].size != UFI_SHA256_BYTES)
        return ufi_fail(err, UF_E_FORMAT, "damaged: the digest of audit entry %lld",
                        (long long)columns[0].integer);
    return UF_OK;
}

static uf_status check_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    audit_reader *r = user;
    const char *fields[4];
    uint8_t digest[UFI_SHA256_BYTES];
    int64_t number = columns[0].integer;
    uf_status st = read_entry(columns, fields, err);
    if (st)
        return st;
    if (number != r->tail.number + 1)
        return ufi_fail(err, UF_E_FORMAT, "audit log: entry %lld is missing",
                        (long long)r->tail.number + 1);
    entry_digest(r->g, r->tail.digest, number, columns[1].integer, fields, digest);
    if (memcmp(digest, columns[6].data, sizeof digest) != 0)
        return ufi_fail(err, UF_E_FORMAT, "audit log: entry %lld was changed, or the one before it",
                        (long long)number);
    r->tail.number = number;
    memcpy(r->tail.digest, digest, sizeof digest);
    r->right++;
    return UF_OK;
}

static uf_status give_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    audit_reader *r = user;
    const char *fields[4];
    char digest[65];
    uf_status st = read_entry(columns, fields, err);
    if (st)
        return st;
    ufi_hex(columns[6].data, UFI_SHA256_BYTES, digest);
    const uf_audit_entry entry = {.number = (uint64_t)columns[0].integer,
                                  .time = columns[1].integer,
                                  .actor = fields[0],
                                  .action = fields[1],
                                  .subject = fields[2],
                                  .detail = fields[3],
                                  .digest = digest};
    return r->fn(r->user, &entry) ? ufi_fail(err, UF_E_CANCELLED, "stopped by the caller") : UF_OK;
}

static const char entries_from[] = "SELECT number, moment, actor, action, subject, detail, digest"
                                   " FROM audit WHERE number >= ?1 ORDER BY number";

uf_status uf_gallery_audit_check(uf_gallery *g, uint64_t *entries, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(INT64_MIN)};
    audit_reader r = {.g = g};
    uf_status st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    st = ufi_sql_rows(g->sql, entries_from, args, 1, check_row, &r, err);
    /* A gallery's log begins with its making: an empty one was emptied. */
    if (!st && r.right == 0)
        st = ufi_fail(err, UF_E_FORMAT, "audit log: entry 1 is missing");
    if (entries)
        *entries = r.right;
    return ufi_gallery_leave(g, st, err);
}

uf_status uf_gallery_audit(uf_gallery *g, uint64_t first, uf_audit_fn *fn, void *user,
                           uf_error *err)
{
    const ufi_value args[] = {ufi_integer(first > INT64_MAX ? INT64_MAX : (int64_t)first)};
    audit_reader r = {.g = g, .fn = fn, .user = user};
    uf_status st = ufi_gallery_enter(g, err);
    if (st)
        return st;
    st = ufi_sql_rows(g->sql, entries_from, args, 1, give_row, &r, err);
    return ufi_gallery_leave(g, st, err);
}
