/*
 * Deletion, in an order in which a crash at any point brings nobody back:
 *
 *   1. one transaction removes the rows, tells of it in `change` and the audit log, and leaves a
 *      note in `erasure`; from its commit on the person is gone, since every snapshot is brought up
 *      to date by `change` before it is searched;
 *   2. indexes in memory forget, snapshots are overwritten in place (or dropped with their keys);
 *   3. the log is merged into the database, whose freed cells and pages are zeros, and cut off;
 *   4. the note goes. Who finds one at opening repeats 2 and 3.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"

/* ---- traces ---- */

uf_status ufi_erase_begin(uf_gallery *g, int64_t *number, uf_error *err)
{
    uf_status st = ufi_numbers_take(g->sql, "erasure", 1, number, err);
    const ufi_value args[] = {ufi_integer(*number)};
    return st ? st
              : ufi_sql_run(g->sql, "INSERT INTO erasure (number) VALUES (?1)", args, 1, NULL, err);
}

static uf_status erase_snapshots(uf_gallery *g, const ufi_erased *e, uf_error *err)
{
    uf_status st = UF_OK;
    size_t from = 0;
    for (size_t i = 1; !st && i <= e->templates.count; i++) {
        if (i < e->templates.count && e->models.list[i] == e->models.list[from] &&
            e->collections.list[i] == e->collections.list[from])
            continue;
        st =
            ufi_snapshot_erase(g, (int64_t)e->collections.list[from], (int64_t)e->models.list[from],
                               e->templates.list + from, i - from, err);
        from = i;
    }
    return st;
}

uf_status ufi_erase_traces(uf_gallery *g, int64_t number, const ufi_erased *erased, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(number)};
    uf_status st = ufi_live_catch_up(g, err);
    if (!st && erased)
        st = erase_snapshots(g, erased, err);
    if (!st)
        st = g->sql->ops->scrub(g->sql, false, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM erasure WHERE number = ?1", args, 1, NULL, err);
    return ufi_wrap(err, st, "done, but traces are left, which the next opening removes");
}

uf_status ufi_erase_pending(uf_gallery *g, uf_error *err)
{
    int64_t last;
    uf_status st =
        ufi_sql_integer(g->sql, "SELECT max(number) FROM erasure", NULL, 0, 0, &last, err);
    if (st || last == 0)
        return st;
    const ufi_value args[] = {ufi_integer(last)};
    st = ufi_snapshot_drop_all(g, err);
    if (!st)
        st = g->sql->ops->scrub(g->sql, false, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM erasure WHERE number <= ?1", args, 1, NULL, err);
    return st;
}

/* ---- one person ---- */

typedef struct template_list {
    ufi_erased *erased;
    int64_t collection;
} template_list;

uf_status ufi_erased_add(ufi_erased *e, int64_t collection, int64_t model, int64_t number,
                         uf_error *err)
{
    uf_status st = ufi_numbers_push(&e->collections, (uint64_t)collection, err);
    if (!st)
        st = ufi_numbers_push(&e->models, (uint64_t)model, err);
    if (!st)
        st = ufi_numbers_push(&e->templates, (uint64_t)number, err);
    return st;
}

static uf_status template_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    const template_list *l = user;
    return ufi_erased_add(l->erased, l->collection, columns[1].integer, columns[0].integer, err);
}

uf_status ufi_erased_tell(uf_gallery *g, const ufi_erased *e, size_t from, bool person,
                          uf_error *err)
{
    int64_t change;
    size_t count = e->templates.count - from, run = from;
    uf_status st = ufi_numbers_take(g->sql, "change", (int64_t)count, &change, err);
    for (size_t i = from; !st && i < e->templates.count; i++) {
        const ufi_value args[] = {
            ufi_integer(change++), ufi_integer((int64_t)e->collections.list[i]),
            ufi_integer((int64_t)e->models.list[i]), ufi_integer((int64_t)e->templates.list[i]),
            ufi_integer(UFI_CHANGE_REMOVED)};
        st = ufi_sql_run(g->sql,
                         "INSERT INTO change (number, collection, model, template, kind)"
                         " VALUES (?1, ?2, ?3, ?4, ?5)",
                         args, 5, NULL, err);
        bool ends = i + 1 == e->templates.count || e->models.list[i + 1] != e->models.list[i];
        if (!st && ends) {
            st = ufi_census_add(g, (int64_t)e->collections.list[i], (int64_t)e->models.list[i],
                                person ? -1 : 0, -(int64_t)(i + 1 - run), err);
            run = i + 1;
        }
    }
    return st;
}

/* Rows of a person, children first. */
static uf_status remove_rows(uf_gallery *g, int64_t person, int64_t *crops, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(person)};
    uf_status st = ufi_sql_run(g->sql,
                               "DELETE FROM crop WHERE template IN"
                               " (SELECT number FROM template WHERE person = ?1)",
                               args, 1, crops, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM template WHERE person = ?1", args, 1, NULL, err);
    if (!st)
        st = ufi_sql_run(g->sql, "DELETE FROM person WHERE number = ?1", args, 1, NULL, err);
    return st;
}

uf_status ufi_erase_person(uf_gallery *g, const char *collection, const char *id,
                           const char *action, ufi_erased *erased, uf_receipt *receipt,
                           ufi_audit_tail *tail, uf_error *err)
{
    int64_t person, number, crops = 0;
    size_t from = erased->templates.count;
    char subject[65], detail[96];
    uf_status st = ufi_person_find(g, collection, id, &person, err);
    if (!st)
        st = ufi_collection_find(g, collection, &number, err);
    if (st)
        return st;
    const ufi_value args[] = {ufi_integer(person)};
    template_list l = {erased, number};
    st = ufi_sql_rows(g->sql,
                      "SELECT number, model FROM template WHERE person = ?1 ORDER BY model, number",
                      args, 1, template_row, &l, err);
    if (!st)
        st = remove_rows(g, person, &crops, err);
    if (!st && erased->templates.count > from)
        st = ufi_erased_tell(g, erased, from, true, err);
    *receipt = (uf_receipt){.templates = erased->templates.count - from, .crops = (uint64_t)crops};
    snprintf(receipt->id, sizeof receipt->id, "%s", id);
    snprintf(detail, sizeof detail, "%llu template%s, %llu crop%s",
             (unsigned long long)receipt->templates, receipt->templates == 1 ? "" : "s",
             (unsigned long long)receipt->crops, receipt->crops == 1 ? "" : "s");
    ufi_audit_subject(g, collection, id, subject);
    if (!st)
        st = ufi_audit_add(g, tail, action, subject, detail, err);
    receipt->time = ufi_now();
    receipt->audit_entry = (uint64_t)tail->number;
    ufi_hex(tail->digest, sizeof tail->digest, receipt->audit_digest);
    return st;
}

void ufi_erased_free(ufi_erased *e)
{
    ufi_free(e->collections.list);
    ufi_free(e->models.list);
    ufi_free(e->templates.list);
}

uf_status uf_gallery_delete(uf_gallery *g, const char *collection, const char *id,
                            uf_receipt *receipt, uf_error *err)
{
    ufi_erased erased = {{0}, {0}, {0}};
    ufi_audit_tail tail;
    uf_receipt unwanted;
    int64_t number = 0;
    if (!id)
        return ufi_fail(err, UF_E_ARG, "delete: id is NULL");
    uf_status st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = ufi_gallery_begin(g, err);
    if (!st) {
        st = ufi_audit_last(g, &tail, err);
        if (!st)
            st = ufi_erase_person(g, ufi_collection_or_default(collection), id, "delete", &erased,
                                  receipt ? receipt : &unwanted, &tail, err);
        if (!st)
            st = ufi_erase_begin(g, &number, err);
        st = ufi_gallery_end(g, st, err);
    }
    if (!st)
        st = ufi_erase_traces(g, number, &erased, err);
    ufi_erased_free(&erased);
    return ufi_gallery_leave(g, st, err);
}

/* ---- those whose time has come ---- */

enum { EXPIRED_AT_ONCE = 1000 };

/* Collection and id of each, one after the other. */
typedef struct expired_list {
    char *texts[2 * EXPIRED_AT_ONCE];
    size_t count;
} expired_list;

static uf_status expired_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    expired_list *l = user;
    for (size_t i = 0; i < 2; i++) {
        char *text = columns[i].type == UFI_VALUE_TEXT ? ufi_strdup(columns[i].data) : NULL;
        if (!text)
            return ufi_fail(err, UF_E_NOMEM, "no memory for a list of people");
        l->texts[l->count++] = text;
    }
    return UF_OK;
}

static uf_status expire_some(uf_gallery *g, expired_list *l, ufi_erased *erased, uf_error *err)
{
    const ufi_value args[] = {ufi_integer(ufi_now()), ufi_integer(EXPIRED_AT_ONCE)};
    uf_receipt receipt;
    ufi_audit_tail tail;
    uf_status st = ufi_sql_rows(g->sql,
                                "SELECT c.name, p.id FROM " UFI_PERSON_TABLES
                                " WHERE p.expires > 0 AND p.expires <= ?1"
                                " ORDER BY p.collection, p.number LIMIT ?2",
                                args, 2, expired_row, l, err);
    if (!st)
        st = ufi_audit_last(g, &tail, err);
    for (size_t i = 0; !st && i < l->count; i += 2)
        st = ufi_erase_person(g, l->texts[i], l->texts[i + 1], "expire", erased, &receipt, &tail,
                              err);
    return st;
}

uf_status ufi_expire(uf_gallery *g, uint64_t *people, uf_error *err)
{
    expired_list *l = ufi_calloc(1, sizeof *l);
    uf_status st = l ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a list of people");
    bool more = l != NULL;
    *people = 0;
    while (!st && more) {
        ufi_erased erased = {{0}, {0}, {0}};
        int64_t number = 0;
        st = ufi_gallery_begin(g, err);
        if (!st) {
            st = expire_some(g, l, &erased, err);
            if (!st && l->count)
                st = ufi_erase_begin(g, &number, err);
            st = ufi_gallery_end(g, st, err);
        }
        if (!st && l->count)
            st = ufi_erase_traces(g, number, &erased, err);
        *people += st ? 0 : l->count / 2;
        more = l->count == 2 * EXPIRED_AT_ONCE;
        while (l->count > 0)
            ufi_free(l->texts[--l->count]);
        ufi_erased_free(&erased);
    }
    ufi_free(l);
    return st;
}

uf_status uf_gallery_expire(uf_gallery *g, uint64_t *count, uf_error *err)
{
    uint64_t people = 0;
    uf_status st = ufi_gallery_enter_to_write(g, err);
    if (st)
        return st;
    st = ufi_expire(g, &people, err);
    if (count)
        *count = people;
    return ufi_gallery_leave(g, st, err);
}
