/* Who may be an answer: filters, purposes, expiry. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/impl.h"
#include "gallery/json.h"

uf_status ufi_numbers_push(ufi_numbers *n, uint64_t number, uf_error *err)
{
    if (n->count == n->room) {
        size_t room = n->room ? n->room * 2 : 64;
        uint64_t *grown = ufi_realloc(n->list, room, sizeof *grown);
        if (!grown)
            return ufi_fail(err, UF_E_NOMEM, "no memory for %zu numbers", room);
        n->list = grown;
        n->room = room;
    }
    n->list[n->count++] = number;
    return UF_OK;
}

uf_status ufi_filter_check(const uf_gallery_filter *filter, uf_error *err)
{
    const char *equals = filter && filter->metadata ? strchr(filter->metadata, '=') : NULL;
    if (filter && filter->metadata && (!equals || equals == filter->metadata))
        return ufi_fail(err, UF_E_ARG, "filter \"%s\" is not key=value", filter->metadata);
    for (size_t i = 0; filter && filter->ids && i < filter->id_count; i++)
        if (!filter->ids[i])
            return ufi_fail(err, UF_E_ARG, "filter: id %zu is NULL", i);
    return UF_OK;
}

static bool metadata_fits(const char *filter, const char *metadata)
{
    const char *equals = filter ? strchr(filter, '=') : NULL;
    if (!filter)
        return true;
    return metadata && ufi_json_has(metadata, filter, (size_t)(equals - filter), equals + 1);
}

bool ufi_filter_takes(const uf_gallery_filter *filter, const ufi_person_row *p)
{
    if (!filter)
        return true;
    bool listed = filter->ids == NULL;
    for (size_t i = 0; !listed && i < filter->id_count; i++)
        listed = strcmp(filter->ids[i], p->id) == 0;
    return listed && metadata_fits(filter->metadata, p->metadata);
}

bool ufi_person_answers(const ufi_person_row *p, const char *purpose, int64_t now)
{
    if (p->expires != 0 && p->expires <= now)
        return false;
    return !purpose || !p->purpose || strcmp(purpose, p->purpose) == 0;
}

typedef struct chooser {
    const char *metadata, *purpose;
    int64_t now;
    ufi_numbers *out;
} chooser;

static uf_status choose_row(void *user, const ufi_value *columns, size_t count, uf_error *err)
{
    chooser *c = user;
    ufi_person_row p;
    uf_status st = ufi_person_read(columns, count, &p, err);
    if (st || !ufi_person_answers(&p, c->purpose, c->now) ||
        !metadata_fits(c->metadata, p.metadata))
        return st;
    return ufi_numbers_push(c->out, (uint64_t)p.number, err);
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uf_status ufi_filter_people(uf_gallery *g, int64_t collection, const uf_gallery_filter *filter,
                            const char *purpose, ufi_numbers *out, uf_error *err)
{
    chooser c = {filter ? filter->metadata : NULL, purpose, ufi_now(), out};
    const ufi_value in = ufi_integer(collection);
    uf_status st = UF_OK;
    *out = (ufi_numbers){0};
    if (!filter || !filter->ids)
        st = ufi_sql_rows(g->sql,
                          "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES
                          " WHERE p.collection = ?1",
                          &in, 1, choose_row, &c, err);
    for (size_t i = 0; !st && filter && filter->ids && i < filter->id_count; i++) {
        const ufi_value args[] = {in, ufi_text(filter->ids[i])};
        st = ufi_sql_rows(g->sql,
                          "SELECT " UFI_PERSON_COLUMNS " FROM " UFI_PERSON_TABLES
                          " WHERE p.collection = ?1 AND p.id = ?2",
                          args, 2, choose_row, &c, err);
    }
    if (st || out->count == 0)
        return st;
    qsort(out->list, out->count, sizeof out->list[0], by_number);
    size_t kept = 1; /* an id may be listed twice */
    for (size_t i = 1; i < out->count; i++)
        if (out->list[i] != out->list[kept - 1])
            out->list[kept++] = out->list[i];
    out->count = kept;
    return UF_OK;
}
