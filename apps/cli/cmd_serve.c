/* uniface serve: the face service (apps/server); and its keys. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"
#include "server/keyring.h"
#include "server/serve.h"

static const char *flag_of(void *user, const char *name)
{
    return cli_value(user, name);
}

/* A name of the model store becomes its file, "none" nothing. A default that is not there is left
 * out: the server starts without it. Where only signed models are trusted, those that come with
 * the program are left out too, for nobody signed them. */
static int find_model(char *path, size_t size, const char *task, bool signed_only)
{
    uf_error err;
    char name[4096];
    if (!strcmp(path, "none")) {
        *path = '\0';
        return 0;
    }
    if (*path) {
        snprintf(name, sizeof name, "%s", path);
        return uf_store_find(path, size, name, &err) ? cli_fail(&err) : 0;
    }
    if (signed_only)
        cli_store_path(path, size, task);
    if (signed_only ? access(path, R_OK) != 0 : uf_store_default(path, size, task, NULL) != UF_OK)
        *path = '\0';
    return 0;
}

static int read_config(srv_config *c, const cli_args *a)
{
    char why[512];
    cli_args copy = *a;
    if (!srv_config_read(c, cli_value(a, "config"), flag_of, &copy, why))
        return cli_complain(EXIT_USAGE, "serve: %s", why);
    const bool signed_only = *c->trusted_keys != '\0';
    if (find_model(c->detector, sizeof c->detector, "detector", signed_only) ||
        find_model(c->embedder, sizeof c->embedder, "embedder", signed_only))
        return EXIT_INPUT;
    if (!*c->models) {
        cli_store_path(c->models, sizeof c->models, "x");
        char *slash = strrchr(c->models, '/');
        if (slash)
            *slash = '\0';
    }
    return 0;
}

static int run_serve(const cli_args *a)
{
    srv_config c;
    const int status = read_config(&c, a);
    return status ? status : srv_serve(&c, cli_flag(a, "check-config"));
}

#define TEXT(name, field, fallback, metavar, help) {name, 0, metavar, help},
#define NUMBER(name, field, min, max, fallback, help) {name, 0, "X", help},
#define WHOLE(name, field, min, max, fallback, help) {name, 0, "N", help},
#define SWITCH(name, field, help) {name, 0, NULL, help},

const cli_command cli_serve = {
    .name = "serve",
    .summary = "Serve faces over HTTP",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .options = {{"config", 0, "FILE", "settings as a JSON object (default: $UNIFACE_CONFIG)"},
                {"check-config", 0, NULL, "say whether it would start, and end"},
                SRV_SETTING_LIST(TEXT, NUMBER, WHOLE, SWITCH)},
    .details = "Every option can be given as an environment variable (--batch-wait-us:\n"
               "UNIFACE_BATCH_WAIT_US) and in the file (\"batch_wait_us\"); options win over the\n"
               "environment, that over the file. The first start prints an API key, once. A new\n"
               "gallery is encrypted by a key file in the folder of data. SIGTERM: what was\n"
               "accepted is answered, then it ends. SIGHUP: keys are read again.",
    .examples = "  uniface serve\n"
                "  uniface serve --auth off --detector yunet.ufm --embedder mobileface.ufm\n"
                "  uniface serve --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem\n"
                "  uniface serve --config server.json --check-config\n",
    .run = run_serve,
};

/* ---- keys ---- */

typedef struct key_list {
    cli_json *j;
} key_list;

static void roles_text(unsigned roles, char out[64])
{
    static const struct {
        unsigned role;
        const char *name;
    } names[] = {
#define ROLE_NAME(name, bit, text) {bit, text},
        SRV_ROLE_LIST(ROLE_NAME)
#undef ROLE_NAME
    };
    out[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (roles & names[i].role) {
            strcat(out, *out ? "," : "");
            strcat(out, names[i].name);
        }
}

static void list_key(void *user, const char *name, int64_t created, const srv_principal *key)
{
    const key_list *l = user;
    char roles[64];
    if (l->j) {
        json_open(l->j, NULL, '{');
        json_text(l->j, "id", key->key_id);
        json_text(l->j, "name", name);
        json_integer(l->j, "created", created);
        json_open(l->j, "grants", '{');
    } else {
        printf("%s  %s ", key->key_id, name);
    }
    for (size_t i = 0; i < key->grant_count; i++) {
        roles_text(key->grants[i].roles, roles);
        if (l->j)
            json_text(l->j, key->grants[i].collection, roles);
        else
            printf(" %s:%s", key->grants[i].collection, roles);
    }
    if (l->j) {
        json_close(l->j, '}');
        json_close(l->j, '}');
    } else {
        printf("\n");
    }
}

static int list_keys(srv_keyring *k, const cli_args *a)
{
    cli_json j = {.f = stdout};
    key_list l = {a->json ? &j : NULL};
    if (a->json)
        json_open(&j, NULL, '[');
    srv_keyring_list(k, list_key, &l);
    if (a->json) {
        json_close(&j, ']');
        json_end(&j);
    }
    return 0;
}

static int add_key(srv_keyring *k, const cli_args *a)
{
    char why[512], key[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE];
    srv_principal grants;
    const char *roles = cli_value(a, "roles");
    if (a->count != 2)
        return cli_complain(EXIT_USAGE, "serve keys add wants a name for the key");
    if (!srv_grants_parse(roles ? roles : "", &grants, why))
        return cli_complain(EXIT_USAGE, "serve keys: --roles: %s", why);
    if (!srv_keyring_add(k, a->operands[1], &grants, key, id, why))
        return cli_complain(EXIT_INPUT, "%s", why);
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "id", id);
        json_text(&j, "key", key);
        json_close(&j, '}');
        json_end(&j);
    } else {
        printf("%s  %s\nThe key is shown this once. A running server takes it after SIGHUP.\n", id,
               key);
    }
    return 0;
}

static int remove_key(srv_keyring *k, const cli_args *a)
{
    char why[512];
    if (a->count != 2)
        return cli_complain(EXIT_USAGE, "serve keys remove wants the id of a key");
    if (srv_keyring_remove(k, a->operands[1], why))
        return 0;
    return *why ? cli_complain(EXIT_INPUT, "%s", why)
                : cli_complain(EXIT_INPUT, "there is no key with the id %s", a->operands[1]);
}

static int run_keys(const cli_args *a)
{
    char why[512];
    srv_config c;
    const char *action = a->operands[0];
    int status = read_config(&c, a);
    if (status)
        return status;
    srv_keyring *k = srv_keyring_open(c.data, why);
    if (!k)
        return cli_complain(EXIT_INPUT, "%s", why);
    if (!strcmp(action, "list"))
        status = list_keys(k, a);
    else if (!strcmp(action, "add"))
        status = add_key(k, a);
    else if (!strcmp(action, "remove"))
        status = remove_key(k, a);
    else
        status =
            cli_complain(EXIT_USAGE, "serve keys knows add, list and remove, not \"%s\"", action);
    srv_keyring_close(k);
    return status;
}

const cli_command cli_serve_keys = {
    .name = "serve keys",
    .summary = "Make, list and remove the API keys of a server",
    .operands = "add|list|remove [NAME|ID]",
    .min_operands = 1,
    .max_operands = 2,
    .options = {{"config", 0, "FILE", "settings as for serve"},
                {"data", 0, "DIR", "folder of keys (~/.local/share/uniface)"},
                {"roles", 0, "ROLES", "read, identify, enrol, scores, admin; also by collection"}},
    .details = "Roles are given for all collections (read,identify) or for each\n"
               "(staff:read,identify;visitors:enrol). A key is printed when it is made, and kept\n"
               "as a keyed hash only. A running server takes changes after SIGHUP.",
    .examples = "  uniface serve keys add turnstile --roles door:identify\n"
                "  uniface serve keys list --json\n"
                "  uniface serve keys remove 3f2a90c1d4e5b607\n",
    .run = run_keys,
};
