/* uniface models pull, pack, unpack: models from the network, and to machines without one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models_fetch.h"
#include "models_pack.h"
#include "models_store.h"

/* What became of the models of a command, for --json. */
typedef struct outcomes {
    cli_json j;
    bool json;
} outcomes;

static void say(outcomes *o, const model_row *r, const char *state, uint64_t bytes)
{
    char path[STORE_PATH_MAX];
    cli_store_path(path, sizeof path, r->name);
    if (!o->json) {
        printf("%s: %s: %s\n", r->name, state, path);
        return;
    }
    json_open(&o->j, NULL, '{');
    json_text(&o->j, "name", r->name);
    json_text(&o->j, "state", state);
    json_text(&o->j, "model", path);
    json_text(&o->j, "licence", r->licence);
    json_integer(&o->j, "bytes", (long long)bytes);
    json_close(&o->j, '}');
}

static void begin(outcomes *o, const cli_args *a)
{
    *o = (outcomes){.j = {.f = stdout}, .json = a->json};
    if (o->json)
        json_open(&o->j, NULL, '[');
}

static void end(outcomes *o)
{
    if (!o->json)
        return;
    json_close(&o->j, ']');
    json_end(&o->j);
}

static int refuse_other(const model_row *r)
{
    return cli_complain(EXIT_INPUT,
                        "%s: the store has another model of this name: `uniface models remove %s` "
                        "first",
                        r->name, r->name);
}

/* From the cache into the store. */
static int install(outcomes *o, const model_row *r, const cli_args *a, const char *state,
                   uint64_t bytes)
{
    uf_error err;
    const char *agreement = cli_flag(a, "accept-licence") ? "accepted" : "shown";
    if (store_install(r, agreement, cli_flag(a, "default"), &err))
        return cli_fail(&err);
    say(o, r, state, bytes);
    return 0;
}

/* What is in the store already stays as it is, but may become the default. */
static int already_there(outcomes *o, const model_row *r, const cli_args *a)
{
    uf_error err;
    uf_model *m = NULL;
    char path[STORE_PATH_MAX];
    uf_status st = UF_OK;
    if (cli_flag(a, "default")) {
        cli_store_path(path, sizeof path, r->name);
        st = uf_model_open(&m, path, &err);
        if (!st)
            st = store_put_default(m, &err);
        uf_model_close(m);
    }
    if (st)
        return cli_fail(&err);
    say(o, r, "already there", 0);
    return 0;
}

/* The model's folder in the cache, when nothing came into it. */
static void drop_empty_folder(const model_row *r)
{
    char folder[STORE_PATH_MAX];
    store_cache_path(folder, r->name, NULL);
    rmdir(folder);
}

/* ---- pull ---- */

static int pull(outcomes *o, const model_row *r, const cli_args *a, const fetch_options *f)
{
    char path[STORE_PATH_MAX], why[512];
    uint64_t bytes = 0;
    const store_presence there = store_look(r);
    if (there == STORE_OTHER)
        return refuse_other(r);
    if (there == STORE_SAME)
        return already_there(o, r, a);
    if (!store_licence(r, cli_flag(a, "accept-licence")))
        return EXIT_USAGE;
    for (int i = 0; i < r->file_count; i++) {
        if (store_cached(r, &r->files[i]))
            continue;
        store_cache_path(path, r->name, r->files[i].name);
        if (!cli_make_folders(path))
            return cli_complain(EXIT_INPUT, "the folder of %s cannot be made: %s", path,
                                strerror(errno));
        if (!fetch_file(&r->files[i], path, f, &bytes, why)) {
            drop_empty_folder(r);
            return cli_complain(EXIT_INPUT, "%s: %s", r->name, why);
        }
    }
    return install(o, r, a, bytes ? "pulled" : "from the cache", bytes);
}

static int pull_all(const cli_args *a, const model_manifest *m, const fetch_options *f)
{
    outcomes o;
    int status = 0;
    begin(&o, a);
    for (int i = 0; !status && i < a->count; i++)
        status = pull(&o, manifest_find(m, a->operands[i]), a, f);
    end(&o);
    return status;
}

static int run_pull(const cli_args *a)
{
    model_manifest m;
    store_lock lock;
    fetch_options f = {.ca_file = cli_value(a, "ca-file"), .allow_http = cli_flag(a, "allow-http")};
    if (!cli_number(a, "timeout", 1, 3600, 30, &f.stall_s))
        return EXIT_USAGE;
    if (!store_manifest(&m, a))
        return EXIT_INPUT;
    int status = 0;
    for (int i = 0; !status && i < a->count; i++) {
        const model_row *r = manifest_find(&m, a->operands[i]);
        if (!r || !strcmp(r->url, "-"))
            status = cli_complain(EXIT_INPUT,
                                  "%s: no public model has this name; `uniface models list` shows "
                                  "those that have",
                                  a->operands[i]);
    }
    if (!status && !store_enter(&lock))
        status = EXIT_INPUT;
    else if (!status) {
        status = pull_all(a, &m, &f);
        store_leave(&lock);
    }
    manifest_free(&m);
    return status;
}

const cli_command cli_models_pull = {
    .name = "models pull",
    .summary = "Fetch public models and import them into the store",
    .operands = "NAME...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {{"accept-licence", 0, NULL, "accept licences that limit use (see models list)"},
                {"default", 0, NULL, "make each the default of its task too"},
                {"manifest", 'm', "FILE", "another manifest than that of the program"},
                {"ca-file", 0, "FILE", "PEM file of who may sign the server's certificate"},
                {"timeout", 0, "SECONDS", "given up after so long without a byte (30)"},
                {"allow-http", 0, NULL,
                 "let http:// of this machine through (for a mirror on it)"}},
    .details =
        "Files are fetched over HTTPS from where their authors publish them, never more bytes\n"
        "than the manifest says, and taken only with the SHA-256 that it says. What broke off\n"
        "goes on where it was when the command is given again. Proxies: $https_proxy,\n"
        "$no_proxy. The licence of each is shown, and recorded in the store.",
    .examples = "  uniface models pull yunet-n\n"
                "  uniface models pull scrfd-2.5g --accept-licence\n",
    .run = run_pull,
};

/* ---- pack ---- */

typedef struct packing {
    char *text; /* of the manifest, in memory */
    size_t size;
    FILE *out;
    cli_files paths; /* of the files, in the manifest's order */
} packing;

static void add_path(packing *p, const char *path)
{
    p->paths.paths =
        cli_need(realloc(p->paths.paths, (p->paths.count + 1) * sizeof *p->paths.paths));
    p->paths.paths[p->paths.count++] = cli_need(strdup(path));
}

/* A model of one's own is packed as it stands in the store. */
static int pack_own(packing *p, const char *name)
{
    char path[STORE_PATH_MAX], why[256];
    model_manifest own;
    uf_model *m = NULL;
    uf_error err;
    cli_store_path(path, sizeof path, name);
    if (uf_model_open(&m, path, &err))
        return cli_fail(&err);
    const bool ok = store_own_row(&own, name, m, why);
    uf_model_close(m);
    if (!ok)
        return cli_complain(EXIT_INPUT, "%s: %s", name, why);
    manifest_write(p->out, own.rows);
    manifest_free(&own);
    fputc('\n', p->out);
    add_path(p, path);
    return 0;
}

/* A public model is packed as it was fetched, so that who unpacks it can tell that it is that. */
static int pack_public(packing *p, const model_row *r)
{
    char path[STORE_PATH_MAX];
    for (int i = 0; i < r->file_count; i++) {
        store_cache_path(path, r->name, r->files[i].name);
        if (!store_cached(r, &r->files[i]))
            return cli_complain(
                EXIT_INPUT,
                "%s: its public file is not in the cache (%s): remove the model and "
                "pull it again",
                r->name, path);
        add_path(p, path);
    }
    manifest_write(p->out, r);
    fputc('\n', p->out);
    return 0;
}

static int pack_one(packing *p, const char *name)
{
    store_record r;
    char why[256];
    if (!model_name_ok(name) || !store_has(name))
        return cli_complain(EXIT_INPUT, "%s: the store has no model of this name", name);
    if (!store_record_read(&r, name, why))
        return cli_complain(EXIT_INPUT, "%s: its record is damaged: %s", name, why);
    const bool is_public = r.row && strcmp(r.row->url, "-") != 0;
    const int status = is_public ? pack_public(p, r.row) : pack_own(p, name);
    store_record_free(&r);
    return status;
}

static int write_pack(const packing *p, const char *to, bool json)
{
    model_manifest m;
    char why[512], reason[256];
    if (!manifest_read(&m, p->text, reason))
        return cli_complain(EXIT_INPUT, "models pack: %s", reason);
    int status =
        pack_write(to, &m, p->paths.paths, why) ? 0 : cli_complain(EXIT_INPUT, "%s: %s", to, why);
    if (!status && json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "pack", to);
        json_integer(&j, "bytes", cli_file_size(to));
        json_open(&j, "models", '[');
        for (size_t i = 0; i < m.count; i++)
            json_text(&j, NULL, m.rows[i].name);
        json_close(&j, ']');
        json_close(&j, '}');
        json_end(&j);
    } else if (!status) {
        printf("%s: %zu models, %.2f MB\n", to, m.count, (double)cli_file_size(to) / 1e6);
    }
    manifest_free(&m);
    return status;
}

static int run_pack(const cli_args *a)
{
    packing p = {0};
    const char *to = cli_value(a, "output");
    int status = 0;
    if (!to)
        return cli_complain(EXIT_USAGE, "models pack: say where to: -o PACK.tar");
    p.out = cli_need(open_memstream(&p.text, &p.size));
    fprintf(p.out, "%s\n", model_columns);
    for (int i = 0; !status && i < a->count; i++)
        status = pack_one(&p, a->operands[i]);
    if (fclose(p.out) != 0)
        exit(cli_complain(EXIT_INTERNAL, "out of memory"));
    if (!status)
        status = write_pack(&p, to, a->json);
    cli_files_free(&p.paths);
    free(p.text);
    return status;
}

const cli_command cli_models_pack = {
    .name = "models pack",
    .summary = "Write models of the store into a file for machines without a network",
    .operands = "NAME...",
    .min_operands = 1,
    .max_operands = -1,
    .options = {{"output", 'o', "PACK.tar", "where to write the pack"}},
    .details =
        "A pack is a plain tar: a manifest with digests, and the files. Public models go in as\n"
        "they were fetched, models of one's own as they stand in the store.",
    .examples = "  uniface models pack yunet-n face-reid-retail-0095 -o models.tar\n",
    .run = run_pack,
};

/* ---- unpack ---- */

/* A name of the program's manifest means the files of that manifest, and a licence too. */
static int check_row(const model_row *r, const model_manifest *known, const cli_args *a)
{
    const model_row *k = manifest_find(known, r->name);
    if (k && !manifest_same_files(k, r))
        return cli_complain(EXIT_INPUT,
                            "%s: the pack has other files than those that this program knows by "
                            "this name",
                            r->name);
    switch (store_look(r)) {
    case STORE_OTHER:
        return refuse_other(r);
    case STORE_SAME:
        return 0;
    default:
        return store_licence(k ? k : r, cli_flag(a, "accept-licence")) ? 0 : EXIT_USAGE;
    }
}

static int unpack_one(outcomes *o, pack *p, size_t first, const model_row *r,
                      const model_manifest *known, const cli_args *a)
{
    char path[STORE_PATH_MAX], why[512];
    const model_row *k = manifest_find(known, r->name);
    const bool own = !strcmp(r->url, "-");
    if (store_look(r) == STORE_SAME)
        return already_there(o, r, a);
    for (int i = 0; i < r->file_count; i++) {
        /* What the program knows may have the same files at another address, by another name. */
        store_cache_path(path, r->name, (k ? k : r)->files[i].name);
        if (!pack_extract(p, first + (size_t)i, &r->files[i], path, why))
            return cli_complain(EXIT_INPUT, "%s: %s", r->name, why);
    }
    const int status = install(o, k ? k : r, a, "unpacked", r->bytes);
    for (int i = 0; (own || status) && i < r->file_count; i++) {
        store_cache_path(path, r->name, (k ? k : r)->files[i].name);
        unlink(path);
    }
    drop_empty_folder(r);
    return status;
}

static int unpack_all(pack *p, const model_manifest *known, const cli_args *a)
{
    outcomes o;
    int status = 0;
    /* Nothing is written before all of it may be. */
    for (size_t i = 0; !status && i < p->manifest.count; i++)
        status = check_row(&p->manifest.rows[i], known, a);
    if (status)
        return status;
    begin(&o, a);
    for (size_t i = 0, k = 0; !status && i < p->manifest.count; i++) {
        const model_row *r = &p->manifest.rows[i];
        status = unpack_one(&o, p, k, r, known, a);
        k += (size_t)r->file_count;
    }
    end(&o);
    return status;
}

static int run_unpack(const cli_args *a)
{
    pack p;
    model_manifest known;
    store_lock lock;
    char why[512];
    if (!store_manifest(&known, a))
        return EXIT_INPUT;
    int status = pack_open(&p, a->operands[0], why)
                     ? 0
                     : cli_complain(EXIT_INPUT, "%s: %s", a->operands[0], why);
    if (!status) {
        if (store_enter(&lock)) {
            status = unpack_all(&p, &known, a);
            store_leave(&lock);
        } else {
            status = EXIT_INPUT;
        }
        pack_close(&p);
    }
    manifest_free(&known);
    return status;
}

const cli_command cli_models_unpack = {
    .name = "models unpack",
    .summary = "Take the models of a pack into the store",
    .operands = "PACK.tar",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"accept-licence", 0, NULL, "accept licences that limit use"},
                {"default", 0, NULL, "make each the default of its task too"},
                {"manifest", 'm', "FILE", "another manifest than that of the program"}},
    .details =
        "Every digest is checked before anything is written. A public model must be the one\n"
        "that this program knows by its name; other names are taken as the pack has them.",
    .examples = "  uniface models unpack models.tar\n",
    .run = run_unpack,
};
