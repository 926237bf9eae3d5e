/* uniface gallery verify, stats, compact, ...: looking after a gallery. */
#include <stdlib.h>
#include <string.h>

#include "gallery.h"

const cli_command cli_gallery = {
    .name = "gallery",
    .summary = "Look after a gallery: check, copy, rotate keys, change models",
    .operands = "COMMAND",
    .min_operands = 1,
    .max_operands = -1,
    .examples = "  uniface gallery stats -g staff.ufg\n"
                "  uniface gallery verify -g staff.ufg\n",
    .run = cli_no_command,
};

/* ---- what the commands share ---- */

/* What progress bars say. */
static char checking[] = "checking", indexing[] = "indexing", rotating[] = "rotating",
            copying[] = "copying";

static int show_progress(void *user, size_t done, size_t total)
{
    cli_progress(user, done, total);
    return 0;
}

/* {"gallery": ..., then what the caller adds. */
static cli_json begin_json(const gallery_session *g)
{
    cli_json j = {.f = stdout};
    json_open(&j, NULL, '{');
    json_text(&j, "gallery", g->name);
    return j;
}

static void finish_json(cli_json *j)
{
    json_close(j, '}');
    json_end(j);
}

/* ---- stats ---- */

static void print_stats(const gallery_session *g, const uf_gallery_stats *s)
{
    printf("%s: %s, %s\n", g->name, s->backend, s->encrypted ? "encrypted" : "NOT encrypted");
    printf("%llu people, %llu templates of %llu model%s, %llu crops, in %llu collection%s\n",
           (unsigned long long)s->people, (unsigned long long)s->templates,
           (unsigned long long)s->models, s->models == 1 ? "" : "s", (unsigned long long)s->crops,
           (unsigned long long)s->collections, s->collections == 1 ? "" : "s");
    printf("model searched: %s\n", s->model_id[0] ? s->model_id : "none yet");
    if (s->encrypted)
        printf("master key %lld, %llu people under an older one\n", (long long)s->key_id,
               (unsigned long long)s->people_to_rotate);
    printf("%llu audit entries; database %llu bytes, index file %llu, memory %llu (%.0f a "
           "template)\n",
           (unsigned long long)s->audit_entries, (unsigned long long)s->database_bytes,
           (unsigned long long)s->index_file_bytes, (unsigned long long)s->memory_bytes,
           s->templates ? (double)s->memory_bytes / (double)s->templates : 0);
    if (s->warning[0])
        printf("warning: %s\n", s->warning);
}

static void stats_json(const gallery_session *g, const uf_gallery_stats *s)
{
    cli_json j = begin_json(g);
    json_text(&j, "backend", s->backend);
    json_bool(&j, "encrypted", s->encrypted);
    json_integer(&j, "people", (long long)s->people);
    json_integer(&j, "templates", (long long)s->templates);
    json_integer(&j, "collections", (long long)s->collections);
    json_integer(&j, "models", (long long)s->models);
    json_integer(&j, "crops", (long long)s->crops);
    json_integer(&j, "audit_entries", (long long)s->audit_entries);
    json_integer(&j, "database_bytes", (long long)s->database_bytes);
    json_integer(&j, "index_file_bytes", (long long)s->index_file_bytes);
    json_integer(&j, "memory_bytes", (long long)s->memory_bytes);
    json_integer(&j, "key_id", (long long)s->key_id);
    json_integer(&j, "people_to_rotate", (long long)s->people_to_rotate);
    json_text(&j, "model_id", s->model_id[0] ? s->model_id : NULL);
    json_text(&j, "warning", s->warning[0] ? s->warning : NULL);
    finish_json(&j);
}

static int run_stats(const cli_args *a)
{
    uf_error err;
    uf_gallery_stats s;
    gallery_session g = {0};
    int status = cli_gallery_open(&g, a, 0);
    if (!status && uf_gallery_describe(g.g, &s, &err))
        status = cli_fail(&err);
    if (!status && a->json)
        stats_json(&g, &s);
    else if (!status)
        print_stats(&g, &s);
    cli_gallery_close(&g);
    return status;
}

const cli_command cli_gallery_stats = {
    .name = "gallery stats",
    .summary = "Count what is in a gallery and what it takes",
    .operands = "",
    .options = {GALLERY_OPTIONS},
    .details = GALLERY_DETAILS,
    .examples = "  uniface gallery stats -g staff.ufg --json\n",
    .run = run_stats,
};

/* ---- verify ---- */

static int run_check(const cli_args *a)
{
    uf_error err;
    uf_gallery_stats s;
    uint64_t entries = 0;
    gallery_session g = {0};
    int status = cli_gallery_open(&g, a, 0);
    if (!status &&
        (uf_gallery_check(g.g, show_progress, checking, &err) ||
         uf_gallery_audit_check(g.g, &entries, &err) || uf_gallery_describe(g.g, &s, &err)))
        status = cli_fail(&err);
    if (!status && a->json) {
        cli_json j = begin_json(&g);
        json_bool(&j, "sound", true);
        json_integer(&j, "people", (long long)s.people);
        json_integer(&j, "templates", (long long)s.templates);
        json_integer(&j, "audit_entries", (long long)entries);
        finish_json(&j);
    } else if (!status) {
        printf("%s is sound: %llu people, %llu templates, %llu audit entries\n", g.name,
               (unsigned long long)s.people, (unsigned long long)s.templates,
               (unsigned long long)entries);
    }
    cli_gallery_close(&g);
    return status;
}

const cli_command cli_gallery_verify = {
    .name = "gallery verify",
    .summary = "Check database, every record, index and audit log",
    .operands = "",
    .options = {GALLERY_OPTIONS},
    .details = "Exit status 3 with the first thing that is wrong.\n" GALLERY_DETAILS,
    .examples = "  uniface gallery verify -g staff.ufg\n",
    .run = run_check,
};

/* ---- compact, reindex, rotate-key, expire ---- */

static int report_sizes(const cli_args *a, const gallery_session *g, const uf_gallery_stats *before)
{
    uf_error err;
    uf_gallery_stats s;
    if (uf_gallery_describe(g->g, &s, &err))
        return cli_fail(&err);
    if (a->json) {
        cli_json j = begin_json(g);
        json_integer(&j, "templates", (long long)s.templates);
        json_integer(&j, "database_bytes_before", (long long)before->database_bytes);
        json_integer(&j, "database_bytes", (long long)s.database_bytes);
        json_integer(&j, "index_file_bytes", (long long)s.index_file_bytes);
        finish_json(&j);
    } else {
        printf("%s: %llu templates, database %llu bytes (%llu before), index file %llu\n", g->name,
               (unsigned long long)s.templates, (unsigned long long)s.database_bytes,
               (unsigned long long)before->database_bytes, (unsigned long long)s.index_file_bytes);
    }
    return 0;
}

static int run_upkeep(const cli_args *a)
{
    uf_error err;
    uf_gallery_stats before;
    gallery_session g = {0};
    const bool compact = a->command == &cli_gallery_compact;
    int status = cli_gallery_open(&g, a, 0);
    if (!status && uf_gallery_describe(g.g, &before, &err))
        status = cli_fail(&err);
    if (!status && (compact ? uf_gallery_compact(g.g, &err)
                            : uf_gallery_reindex(g.g, show_progress, indexing, &err)))
        status = cli_fail(&err);
    if (!status)
        status = report_sizes(a, &g, &before);
    cli_gallery_close(&g);
    return status;
}

const cli_command cli_gallery_compact = {
    .name = "gallery compact",
    .summary = "Give space back: expired people, database, index",
    .operands = "",
    .options = {GALLERY_OPTIONS},
    .details = GALLERY_DETAILS,
    .examples = "  uniface gallery compact -g staff.ufg\n",
    .run = run_upkeep,
};

const cli_command cli_gallery_reindex = {
    .name = "gallery reindex",
    .summary = "Make the index anew from the records",
    .operands = "",
    .options = {GALLERY_OPTIONS},
    .details = GALLERY_DETAILS,
    .examples = "  uniface gallery reindex -g staff.ufg\n",
    .run = run_upkeep,
};

static int run_expire(const cli_args *a)
{
    uf_error err;
    uint64_t count = 0;
    gallery_session g = {0};
    int status = cli_gallery_open(&g, a, 0);
    if (!status && uf_gallery_expire(g.g, &count, &err))
        status = cli_fail(&err);
    if (!status && a->json) {
        cli_json j = begin_json(&g);
        json_integer(&j, "deleted", (long long)count);
        finish_json(&j);
    } else if (!status) {
        printf("%s: %llu people whose time had come were deleted\n", g.name,
               (unsigned long long)count);
    }
    cli_gallery_close(&g);
    return status;
}

const cli_command cli_gallery_expire = {
    .name = "gallery expire",
    .summary = "Delete the people whose time has come",
    .operands = "",
    .options = {GALLERY_OPTIONS},
    .details = GALLERY_DETAILS,
    .examples = "  uniface gallery expire -g visitors.ufg\n",
    .run = run_expire,
};

static int run_rotate_key(const cli_args *a)
{
    uf_error err;
    uf_gallery_stats s;
    gallery_session g = {0};
    int status = cli_gallery_open(&g, a, 0);
    if (!status && (uf_gallery_rotate_key(g.g, show_progress, rotating, &err) ||
                    uf_gallery_describe(g.g, &s, &err)))
        status = cli_fail(&err);
    if (!status && a->json) {
        cli_json j = begin_json(&g);
        json_integer(&j, "key_id", (long long)s.key_id);
        json_integer(&j, "people", (long long)s.people);
        json_integer(&j, "people_to_rotate", (long long)s.people_to_rotate);
        finish_json(&j);
    } else if (!status) {
        printf("%s: master key %lld is in use; the keys of %llu people are sealed by it\n", g.name,
               (long long)s.key_id, (unsigned long long)(s.people - s.people_to_rotate));
    }
    cli_gallery_close(&g);
    return status;
}

const cli_command cli_gallery_rotate_key = {
    .name = "gallery rotate-key",
    .summary = "Put a new master key in place while the gallery is in use",
    .operands = "",
    .options = {GALLERY_OPTIONS},
    .details = "It can be interrupted and called again. The passphrase or key file that opens the\n"
               "gallery stays the same: see gallery passphrase.\n" GALLERY_DETAILS,
    .examples = "  uniface gallery rotate-key -g staff.ufg\n",
    .run = run_rotate_key,
};

/* ---- passphrase ---- */

static int run_passphrase(const cli_args *a)
{
    uf_error err;
    gallery_session g = {0};
    char passphrase[CLI_MAX_PASSPHRASE] = "";
    const char *file = cli_value(a, "new-key-file");
    const char *given = getenv("UNIFACE_GALLERY_NEW_PASSPHRASE");
    int status = cli_gallery_open(&g, a, 0);
    if (!status && !file && given)
        snprintf(passphrase, sizeof passphrase, "%s", given);
    else if (!status && !file && !cli_ask_passphrase(passphrase, "new passphrase", true))
        status = cli_complain(EXIT_USAGE,
                              "gallery passphrase: no new passphrase was given: name a file with "
                              "--new-key-file, set UNIFACE_GALLERY_NEW_PASSPHRASE, or answer on a "
                              "terminal");
    if (!status && uf_gallery_set_passphrase(g.g, file ? NULL : passphrase, file, &err))
        status = cli_fail(&err);
    explicit_bzero(passphrase, sizeof passphrase);
    if (!status && a->json) {
        cli_json j = begin_json(&g);
        json_text(&j, "opened_by", file ? "key file" : "passphrase");
        finish_json(&j);
    } else if (!status) {
        printf("%s is opened by the new %s from now on\n", g.name,
               file ? "key file" : "passphrase");
    }
    cli_gallery_close(&g);
    return status;
}

const cli_command cli_gallery_passphrase = {
    .name = "gallery passphrase",
    .summary = "Change what opens a gallery: passphrase or key file",
    .operands = "",
    .options = {GALLERY_OPTIONS,
                {"new-key-file", 0, "FILE", "a file of at least 32 bytes instead of a passphrase"}},
    .details = "The new passphrase is asked for on the terminal, or taken from\n"
               "$UNIFACE_GALLERY_NEW_PASSPHRASE.\n" GALLERY_DETAILS,
    .examples = "  uniface gallery passphrase -g staff.ufg\n"
                "  head -c 32 /dev/urandom >new.key\n"
                "  uniface gallery passphrase -g staff.ufg --new-key-file new.key\n",
    .run = run_passphrase,
};

/* ---- audit ---- */

static int print_entry(void *user, const uf_audit_entry *e)
{
    cli_json *j = user;
    char time[32];
    cli_time_text(time, e->time);
    if (!j) {
        printf("%6llu  %s  %-12s %-12s %.16s  %s\n", (unsigned long long)e->number, time, e->actor,
               e->action, e->subject ? e->subject : "", e->detail ? e->detail : "");
        return 0;
    }
    json_open(j, NULL, '{');
    json_integer(j, "number", (long long)e->number);
    json_text(j, "time", time);
    json_text(j, "actor", e->actor);
    json_text(j, "action", e->action);
    json_text(j, "subject", e->subject);
    json_text(j, "detail", e->detail);
    json_text(j, "digest", e->digest);
    json_close(j, '}');
    return 0;
}

static int check_audit(const cli_args *a, const gallery_session *g)
{
    uf_error err;
    uint64_t entries = 0;
    if (uf_gallery_audit_check(g->g, &entries, &err))
        return cli_fail(&err);
    if (a->json) {
        cli_json j = begin_json(g);
        json_bool(&j, "sound", true);
        json_integer(&j, "audit_entries", (long long)entries);
        finish_json(&j);
    } else {
        printf("%s: the chain of %llu audit entries is unbroken\n", g->name,
               (unsigned long long)entries);
    }
    return 0;
}

static int run_audit(const cli_args *a)
{
    uf_error err;
    double first;
    gallery_session g = {0};
    cli_json j = {.f = stdout};
    if (!cli_number(a, "from", 0, 1e15, 0, &first))
        return EXIT_USAGE;
    int status = cli_gallery_open(&g, a, 0);
    if (!status && cli_flag(a, "verify")) {
        status = check_audit(a, &g);
    } else if (!status) {
        if (a->json)
            json_open(&j, NULL, '[');
        if (uf_gallery_audit(g.g, (uint64_t)first, print_entry, a->json ? &j : NULL, &err))
            status = cli_fail(&err);
        if (a->json) {
            json_close(&j, ']');
            json_end(&j);
        }
    }
    cli_gallery_close(&g);
    return status;
}

const cli_command cli_gallery_audit = {
    .name = "gallery audit",
    .summary = "Print the audit log, or check its chain",
    .operands = "",
    .options = {GALLERY_OPTIONS,
                {"verify", 0, NULL, "check the chain of digests instead of printing"},
                {"from", 0, "N", "print from this entry on (0)"}},
    .details = GALLERY_DETAILS,
    .examples = "  uniface gallery audit -g staff.ufg --from 1000\n"
                "  uniface gallery audit -g staff.ufg --verify\n",
    .run = run_audit,
};

/* ---- copy ---- */

static int report_copy(const cli_args *a, const gallery_session *from, const gallery_session *to)
{
    uf_error err;
    uf_gallery_stats s;
    if (uf_gallery_describe(to->g, &s, &err))
        return cli_fail(&err);
    if (a->json) {
        cli_json j = begin_json(from);
        json_text(&j, "to", to->name);
        json_integer(&j, "people", (long long)s.people);
        json_integer(&j, "templates", (long long)s.templates);
        json_integer(&j, "crops", (long long)s.crops);
        finish_json(&j);
    } else {
        printf("%s was copied; %s has %llu people and %llu templates now\n", from->name, to->name,
               (unsigned long long)s.people, (unsigned long long)s.templates);
    }
    return 0;
}

static int run_copy(const cli_args *a)
{
    uf_error err;
    gallery_session from = {0}, to = {0};
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    const uint32_t flags = UF_GALLERY_CREATE | (cli_flag(a, "to-plain") ? UF_GALLERY_PLAIN : 0u);
    const char *file = cli_value(a, "to-key-file");
    o.keep_crops = 1;
    int status = cli_gallery_open(&from, a, 0);
    if (!status)
        status = cli_gallery_open_named(
            &to, a->operands[0], file || cli_flag(a, "to-plain") ? file : cli_value(a, "key-file"),
            flags, o);
    if (!status && uf_gallery_copy(from.g, to.g, show_progress, copying, &err))
        status = cli_fail(&err);
    if (!status)
        status = report_copy(a, &from, &to);
    cli_gallery_close(&to);
    cli_gallery_close(&from);
    return status;
}

const cli_command cli_gallery_copy = {
    .name = "gallery copy",
    .summary = "Copy all people into another gallery, say from SQLite to PostgreSQL",
    .operands = "TO",
    .min_operands = 1,
    .max_operands = 1,
    .options = {GALLERY_OPTIONS,
                {"to-key-file", 0, "FILE", "what opens the other gallery (default: --key-file)"},
                {"to-plain", 0, NULL, "where the other gallery is made: without encryption"}},
    .details = "The other gallery is made when there is none. People who are there already are an\n"
               "error unless they are the same.\n" GALLERY_DETAILS,
    .examples = "  uniface gallery copy -g staff.ufg postgresql://localhost/staff --to-plain\n"
                "  uniface gallery copy -g postgresql://localhost/staff staff.ufg\n",
    .run = run_copy,
};
