/* uniface list, delete: the people of a gallery. */
#include <stdlib.h>
#include <string.h>

#include "gallery.h"

/* ---- list ---- */

typedef struct listing {
    cli_json *j; /* NULL: text */
    size_t count;
} listing;

static void json_time(cli_json *j, const char *key, int64_t t)
{
    char text[32];
    if (t)
        cli_time_text(text, t);
    json_text(j, key, t ? text : NULL);
}

static int print_person(void *user, const uf_person_info *p)
{
    listing *l = user;
    char created[32], expires[32] = "";
    l->count++;
    if (l->j) {
        json_open(l->j, NULL, '{');
        json_text(l->j, "id", p->id);
        json_text(l->j, "collection", p->collection);
        json_integer(l->j, "templates", (long long)p->templates);
        json_raw(l->j, "metadata", p->metadata);
        json_text(l->j, "consent", p->consent);
        json_text(l->j, "purpose", p->purpose);
        json_time(l->j, "expires", p->expires);
        json_time(l->j, "created", p->created);
        json_time(l->j, "updated", p->updated);
        json_close(l->j, '}');
        return 0;
    }
    cli_time_text(created, p->created);
    if (p->expires)
        cli_time_text(expires, p->expires);
    printf("%-24s %-12s %3llu template%s  enrolled %s%s%s%s%s%s%s%s%s\n", p->id, p->collection,
           (unsigned long long)p->templates, p->templates == 1 ? " " : "s", created,
           p->expires ? ", expires " : "", expires, p->consent ? ", consent " : "",
           p->consent ? p->consent : "", p->purpose ? ", for " : "", p->purpose ? p->purpose : "",
           p->metadata ? "  " : "", p->metadata ? p->metadata : "");
    return 0;
}

static int run_list(const cli_args *a)
{
    uf_error err;
    gallery_session gallery = {0};
    cli_filter filter = {0};
    cli_json j = {.f = stdout};
    listing l = {.j = a->json ? &j : NULL};
    int status = cli_filter_open(&filter, a);
    if (!status)
        status = cli_gallery_open(&gallery, a, 0);
    if (!status) {
        if (a->json)
            json_open(&j, NULL, '[');
        if (uf_gallery_list(gallery.g, cli_value(a, "collection"), cli_filter_get(&filter),
                            print_person, &l, &err))
            status = cli_fail(&err);
        if (a->json) {
            json_close(&j, ']');
            json_end(&j);
        } else if (!status) {
            printf("%zu %s\n", l.count, l.count == 1 ? "person" : "people");
        }
    }
    if (!status && !l.count)
        status = EXIT_DIFFERENT;
    cli_filter_close(&filter);
    cli_gallery_close(&gallery);
    return status;
}

const cli_command cli_list = {
    .name = "list",
    .summary = "List the people of a gallery",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .options = {GALLERY_OPTIONS,
                {"collection", 0, "NAME", "only of this collection (default: all)"},
                FILTER_OPTIONS},
    .details = "Exit status 1: there is nobody.\n" GALLERY_DETAILS,
    .examples = "  uniface list -g staff.ufg\n"
                "  uniface list -g staff.ufg --filter site=berlin --json\n",
    .run = run_list,
};

/* ---- delete ---- */

static void print_receipt(const cli_args *a, const char *gallery, const uf_receipt *r)
{
    char time[32];
    cli_time_text(time, r->time);
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "gallery", gallery);
        json_text(&j, "id", r->id);
        json_integer(&j, "templates", (long long)r->templates);
        json_integer(&j, "crops", (long long)r->crops);
        json_text(&j, "time", time);
        json_integer(&j, "audit_entry", (long long)r->audit_entry);
        json_text(&j, "audit_digest", r->audit_digest);
        json_close(&j, '}');
        json_end(&j);
    } else {
        printf("deleted %s from %s at %s: key, %llu template%s, %llu crop%s\n"
               "receipt: audit entry %llu, digest %s\n",
               r->id, gallery, time, (unsigned long long)r->templates, r->templates == 1 ? "" : "s",
               (unsigned long long)r->crops, r->crops == 1 ? "" : "s",
               (unsigned long long)r->audit_entry, r->audit_digest);
    }
}

static int run_delete(const cli_args *a)
{
    uf_error err;
    uf_receipt receipt;
    gallery_session gallery = {0};
    const char *id = cli_value(a, "id");
    if (!id)
        return cli_complain(EXIT_USAGE, "delete: whom? Name the person with --id");
    int status = cli_gallery_open(&gallery, a, 0);
    if (!status && uf_gallery_delete(gallery.g, cli_value(a, "collection"), id, &receipt, &err))
        status = cli_fail(&err);
    if (!status)
        print_receipt(a, gallery.name, &receipt);
    cli_gallery_close(&gallery);
    return status;
}

const cli_command cli_delete = {
    .name = "delete",
    .summary = "Delete a person from a gallery, without a trace, and print the receipt",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .options = {GALLERY_OPTIONS, COLLECTION_OPTION, {"id", 0, "ID", "whom"}},
    .details = "The person's key, templates and crops are gone from records, index, log and free\n"
               "pages afterwards. The receipt names the entry of the audit log that proves "
               "it.\n" GALLERY_DETAILS,
    .examples = "  uniface delete -g staff.ufg --id alice\n",
    .run = run_delete,
};
