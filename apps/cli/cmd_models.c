/* uniface models list, add, verify, remove: the model store. */
#include <stdlib.h>
#include <string.h>

#include "models_store.h"

const cli_command cli_models = {
    .name = "models",
    .summary = "Public models by name: list, pull, check, pack; and models of one's own",
    .operands = "COMMAND",
    .min_operands = 1,
    .max_operands = -1,
    .details =
        "Models stand in the model store: $UNIFACE_MODELS, else $UNIFACE_CACHE_DIR/models, else\n"
        "$XDG_DATA_HOME/uniface/models, else ~/.local/share/uniface/models. Their names can be\n"
        "given wherever a command takes a model. Public files are kept as they were fetched\n"
        "in $UNIFACE_CACHE_DIR, else $XDG_CACHE_HOME/uniface, else ~/.cache/uniface.\n"
        "Nothing is fetched but by `uniface models pull`.",
    .examples = "  uniface models list\n"
                "  uniface models pull yunet-n face-reid-retail-0095 --default\n"
                "  uniface detect --detector yunet-n photo.jpg\n",
    .run = cli_no_command,
};

/* ---- list ---- */

/* The members that tell of a row. */
static void row_json(cli_json *j, const model_row *r)
{
    json_text(j, "name", r->name);
    json_text(j, "task", r->task);
    json_text(j, "preset", strcmp(r->preset, "-") != 0 ? r->preset : NULL);
    json_text(j, "licence", r->licence);
    json_text(j, "commercial", r->commercial);
    json_open(j, "files", '[');
    for (int i = 0; i < r->file_count; i++) {
        const model_file *f = &r->files[i];
        json_open(j, NULL, '{');
        json_text(j, "name", f->name);
        json_text(j, "url", strcmp(f->url, "-") != 0 ? f->url : NULL);
        json_integer(j, "bytes", (long long)f->size);
        json_text(j, "sha256", f->sha256);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_text(j, "accuracy", strcmp(r->accuracy, "-") != 0 ? r->accuracy : NULL);
    json_text(j, "accuracy_source",
              strcmp(r->accuracy_source, "-") != 0 ? r->accuracy_source : NULL);
    json_text(j, "notes", strcmp(r->notes, "-") != 0 ? r->notes : NULL);
}

typedef struct listing {
    bool json, names, installed_only;
    cli_json j;
} listing;

static void list_head(const listing *l)
{
    if (!l->json && !l->names)
        printf("%-32s %-9s %-9s %7s  %-12s %-10s %s\n", "NAME", "TASK", "STORE", "MB", "LICENCE",
               "COMMERCIAL", "ACCURACY, AS PUBLISHED");
}

static void list_row(listing *l, const model_row *r, bool there)
{
    char path[STORE_PATH_MAX];
    if (l->installed_only && !there)
        return;
    if (l->names) {
        puts(r->name);
    } else if (l->json) {
        cli_store_path(path, sizeof path, r->name);
        json_open(&l->j, NULL, '{');
        row_json(&l->j, r);
        json_bool(&l->j, "installed", there);
        json_text(&l->j, "model", there ? path : NULL);
        json_close(&l->j, '}');
    } else {
        const int licence = (int)strcspn(r->licence, ":"); /* what follows is in --json */
        printf("%-32s %-9s %-9s %7.2f  %-12.*s %-10s %s\n", r->name, r->task,
               there ? "installed" : "-", (double)r->bytes / 1e6, licence, r->licence,
               r->commercial, r->accuracy);
    }
}

/* A model of the store that the manifest does not know, or knows otherwise. */
static void list_own(listing *l, const char *name)
{
    char path[STORE_PATH_MAX], why[256];
    store_record r;
    model_manifest own = {0};
    uf_model *m = NULL;
    uf_error err;
    cli_store_path(path, sizeof path, name);
    if (l->names) {
        puts(name);
    } else if (store_record_read(&r, name, why) && r.row) {
        list_row(l, r.row, true);
        store_record_free(&r);
    } else if (!uf_model_open(&m, path, &err) && store_own_row(&own, name, m, why)) {
        list_row(l, own.rows, true);
    } else {
        cli_complain(0, "%s", m ? why : err.message);
    }
    manifest_free(&own);
    uf_model_close(m);
}

static int run_list(const cli_args *a)
{
    model_manifest m;
    cli_files there;
    listing l = {.json = a->json,
                 .names = cli_flag(a, "names"),
                 .installed_only = cli_flag(a, "installed"),
                 .j = {.f = stdout}};
    if (l.json && l.names)
        return cli_complain(EXIT_USAGE, "models list: --names and --json exclude each other");
    if (!store_manifest(&m, a))
        return EXIT_INPUT;
    store_names(&there);
    list_head(&l);
    if (l.json)
        json_open(&l.j, NULL, '[');
    for (size_t i = 0; i < m.count; i++) {
        const store_presence p = store_look(&m.rows[i]);
        if (p == STORE_OTHER)
            list_own(&l, m.rows[i].name);
        else
            list_row(&l, &m.rows[i], p == STORE_SAME);
    }
    for (size_t i = 0; i < there.count; i++)
        if (!manifest_find(&m, there.paths[i]))
            list_own(&l, there.paths[i]);
    if (l.json) {
        json_close(&l.j, ']');
        json_end(&l.j);
    }
    cli_files_free(&there);
    manifest_free(&m);
    return 0;
}

const cli_command cli_models_list = {
    .name = "models list",
    .summary = "List public models and those in the store",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .options = {{"installed", 'i', NULL, "only those in the store"},
                {"names", 0, NULL, "only names, one a line"},
                {"manifest", 'm', "FILE", "another manifest than that of the program"}},
    .details =
        "Sizes are of the files that are fetched. Accuracies are those that were published,\n"
        "each by its own protocol; `uniface evaluate` measures on your data. --json has the\n"
        "addresses, digests, sources of accuracies and notes too.",
    .examples = "  uniface models list\n"
                "  uniface models list --installed --json\n",
    .run = run_list,
};

/* ---- add ---- */

static int add(const cli_args *a, const char *name)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_import_options o = UF_IMPORT_OPTIONS_INIT;
    const char *path = a->operands[0], *end = strrchr(path, '.');
    o.preset = cli_value(a, "preset");
    o.licence = cli_value(a, "licence");
    const bool network = end && (!strcmp(end, ".onnx") || !strcmp(end, ".xml"));
    if (!network && o.preset)
        return cli_complain(EXIT_USAGE, "models add: --preset is for networks, not for a .ufm");
    uf_status st = network ? uf_model_import(&m, path, &o, &err) : uf_model_open(&m, path, &err);
    if (!st && !network && o.licence)
        st = uf_model_set_meta(m, "licence", o.licence, &err);
    if (!st)
        st = store_put(name, m, NULL, "own", &err);
    if (!st && cli_flag(a, "default"))
        st = store_put_default(m, &err);
    if (!st && a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "name", name);
        json_text(&j, "id", uf_model_id(m));
        json_text(&j, "task", uf_model_meta(m, "task"));
        json_close(&j, '}');
        json_end(&j);
    } else if (!st) {
        printf("%s: %s, licence: %s\n", name, uf_model_meta(m, "task"),
               uf_model_meta(m, "licence"));
    }
    uf_model_close(m);
    return st ? cli_fail(&err) : 0;
}

static int run_add(const cli_args *a)
{
    const char *name = cli_value(a, "name");
    store_lock lock;
    if (!name)
        return cli_complain(EXIT_USAGE, "models add: say under which --name");
    if (!model_name_ok(name))
        return cli_complain(
            EXIT_USAGE,
            "models add: \"%s\" is no name: letters, digits, \".\", \"_\" and \"-\", at "
            "most 64, not with the ending of a file",
            name);
    if (!store_enter(&lock))
        return EXIT_INPUT;
    const int status =
        store_has(name)
            ? cli_complain(
                  EXIT_INPUT,
                  "%s: the store has a model of this name: `uniface models remove %s` first", name,
                  name)
            : add(a, name);
    store_leave(&lock);
    return status;
}

const cli_command cli_models_add = {
    .name = "models add",
    .summary = "Put a model of one's own into the store",
    .operands = "NETWORK.onnx|NETWORK.xml|MODEL.ufm",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"name", 'n', "NAME", "the name it gets"},
                {"preset", 'p', "NAME", "what a network is (default: recognised)"},
                {"licence", 'l', "TEXT", "licence of the weights, kept in the model"},
                {"default", 0, NULL, "make it the default of its task too"}},
    .examples =
        "  uniface models add ours.onnx --name ours --preset arcface --licence \"our own\"\n",
    .run = run_add,
};

/* ---- verify ---- */

/* What is wrong with a model of the store, "" when nothing is; *known: whether a record says what
 * it should be. */
static void verify_one(const char *name, bool *known, char why[512])
{
    char path[STORE_PATH_MAX], hex[65], reason[256] = "";
    store_record r;
    uf_model *m = NULL;
    uf_error err = {UF_OK, ""};
    why[0] = '\0';
    *known = false;
    cli_store_path(path, sizeof path, name);
    if (!store_record_read(&r, name, reason)) {
        snprintf(why, 512, "its record is damaged: %s", reason);
        return;
    }
    *known = r.row;
    if (uf_digest_file(path, hex, NULL, &err))
        snprintf(why, 512, "%s", err.message);
    else if (r.row && strcmp(hex, r.model_sha256) != 0)
        snprintf(why, 512, "its SHA-256 is %s, its record says %s", hex, r.model_sha256);
    else if (uf_model_open(&m, path, &err))
        snprintf(why, 512, "%s", err.message);
    uf_model_close(m);
    for (int i = 0; r.row && !why[0] && i < r.row->file_count; i++) {
        const model_file *f = &r.row->files[i];
        store_cache_path(path, name, f->name);
        if (strcmp(f->url, "-") != 0 && cli_file_size(path) >= 0 && !store_cached(r.row, f))
            snprintf(why, 512, "the public file in the cache is not what was fetched: %.400s",
                     path);
    }
    store_record_free(&r);
}

static int run_verify(const cli_args *a)
{
    cli_files all = {0};
    cli_json j = {.f = stdout};
    char why[512];
    int status = 0;
    bool known = false;
    if (!a->count)
        store_names(&all);
    if (a->json)
        json_open(&j, NULL, '[');
    for (size_t i = 0; i < (a->count ? (size_t)a->count : all.count); i++) {
        const char *name = a->count ? a->operands[i] : all.paths[i];
        if (model_name_ok(name))
            verify_one(name, &known, why);
        else
            snprintf(why, sizeof why, "is not a name of a model");
        status = *why ? EXIT_DIFFERENT : status;
        if (a->json) {
            json_open(&j, NULL, '{');
            json_text(&j, "name", name);
            json_bool(&j, "ok", !*why);
            json_bool(&j, "recorded", known);
            json_text(&j, "problem", *why ? why : NULL);
            json_close(&j, '}');
        } else {
            printf("%s: %s\n", name,
                   *why    ? why
                   : known ? "as it was stored"
                           : "readable; it has no record to compare with");
        }
    }
    if (a->json) {
        json_close(&j, ']');
        json_end(&j);
    }
    cli_files_free(&all);
    return status;
}

const cli_command cli_models_verify = {
    .name = "models verify",
    .summary = "Compare models of the store with their digests",
    .operands = "[NAME...]",
    .min_operands = 0,
    .max_operands = -1,
    .details = "Without names: all. The public files in the cache are compared too.",
    .examples = "  uniface models verify\n",
    .run = run_verify,
};

/* ---- remove ---- */

static int run_remove(const cli_args *a)
{
    store_lock lock;
    int status = 0;
    for (int i = 0; i < a->count; i++)
        if (!model_name_ok(a->operands[i]) || !store_has(a->operands[i]))
            return cli_complain(EXIT_INPUT, "%s: the store has no model of this name",
                                a->operands[i]);
    if (!store_enter(&lock))
        return EXIT_INPUT;
    for (int i = 0; i < a->count; i++)
        if (!store_remove(a->operands[i]))
            status = EXIT_INPUT;
    store_leave(&lock);
    if (a->json && !status) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '[');
        for (int i = 0; i < a->count; i++)
            json_text(&j, NULL, a->operands[i]);
        json_close(&j, ']');
        json_end(&j);
    }
    return status;
}

const cli_command cli_models_remove = {
    .name = "models remove",
    .summary = "Take models out of the store, with their public files",
    .operands = "NAME...",
    .min_operands = 1,
    .max_operands = -1,
    .examples = "  uniface models remove yunet-s\n",
    .run = run_remove,
};
