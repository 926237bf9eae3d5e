/* uniface sign: signatures of models, and keys for them. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gallery.h"
#include "trust.h"

#define RELEASE_MAX 9007199254740991.0 /* what a double counts up to */

/* ---- sign ---- */

static bool is_ufm(const char *path)
{
    const size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".ufm");
}

static void report(const cli_args *a, const uf_model *m, const char *path)
{
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "model", path);
        json_text(&j, "id", uf_model_id(m));
        cli_signature_json(&j, m);
        json_close(&j, '}');
        json_end(&j);
    } else {
        printf("%-22s %s\n", "model", path);
        cli_signature_print(m);
    }
}

static int sign(uf_model *m, const cli_args *a, const char *output)
{
    uf_error err;
    uf_sign_key *k = NULL;
    uf_sign_options o = UF_SIGN_OPTIONS_INIT;
    double release;
    const char *name = cli_value(a, "name");
    o.signer = cli_value(a, "signer");
    if (!cli_number(a, "release", 1, RELEASE_MAX, 1, &release))
        return EXIT_USAGE;
    o.release = (uint64_t)release;
    if (!cli_value(a, "release") && cli_next_release(m, &o.release, &err))
        return cli_complain(EXIT_INPUT, "%s: %s", a->operands[0], err.message);
    int status = cli_sign_key_open(&k, cli_value(a, "key"));
    if (!status && ((name && uf_model_set_meta(m, "name", name, &err)) ||
                    uf_model_sign(m, k, &o, &err) || uf_model_save(m, output, &err)))
        status = cli_fail(&err);
    uf_sign_key_destroy(k);
    if (!status)
        report(a, m, output);
    return status;
}

static int run_sign(const cli_args *a)
{
    uf_error err;
    uf_model *m;
    const char *path = a->operands[0], *output = cli_value(a, "output");
    if (!cli_value(a, "key"))
        return cli_complain(EXIT_USAGE, "sign: --key FILE is needed (`uniface sign keygen` makes "
                                        "one)");
    if (!output && !is_ufm(path))
        return cli_complain(EXIT_USAGE, "sign: -o OUT.ufm is needed: %s is no .ufm", path);
    /* Not under the trusted keys: whoever has a key may sign what nobody has signed yet. */
    if (uf_model_open(&m, path, &err))
        return cli_fail(&err);
    const int status = sign(m, a, output ? output : path);
    uf_model_close(m);
    return status;
}

const cli_command cli_sign = {
    .name = "sign",
    .summary = "Sign a model, so that others can tell that it is yours and how new it is",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"key", 'k', "FILE", "the secret key (`uniface sign keygen` makes one)"},
                {"release", 'r', "N",
                 "number of this release (default: one after the signature's)"},
                {"signer", 0, "NAME", "who signs: text in the signature, at most 64 bytes"},
                {"name", 0, "NAME", "what models of the same task and family are told apart by"},
                {"output", 'o', "OUT.ufm", "write there instead of into MODEL"}},
    .details =
        "The signature covers all of the model. Whatever changes it later (calibrate, say) leaves\n"
        "the signature out, and says so. Where models must be signed ($UNIFACE_TRUSTED_KEYS: a\n"
        "file or folder of public keys), a release that is lower than one used before of the\n"
        "same task, family and name is refused. A key's passphrase is that of\n"
        "$UNIFACE_SIGN_PASSPHRASE, or asked for on the terminal. docs/signing.md tells more.",
    .examples = "  uniface sign keygen -o release.key\n"
                "  uniface sign face.ufm --key release.key --release 3 --signer 'Example Ltd'\n"
                "  uniface sign verify face.ufm --trusted release.key.pub\n"
                "  UNIFACE_TRUSTED_KEYS=release.key.pub uniface detect photo.jpg\n",
    .run = run_sign,
};

/* ---- sign keygen ---- */

/* The passphrase that is to encrypt the key; *out NULL: none. */
static int choose_passphrase(const cli_args *a, char asked[CLI_MAX_PASSPHRASE], const char **out)
{
    *out = getenv("UNIFACE_SIGN_PASSPHRASE");
    if (*out || !cli_flag(a, "encrypt"))
        return 0;
    if (!cli_ask_passphrase(asked, "new passphrase", true))
        return cli_complain(EXIT_USAGE,
                            "sign keygen: no passphrase was given: set UNIFACE_SIGN_PASSPHRASE, or "
                            "call this on a terminal");
    *out = asked;
    return 0;
}

static int run_keygen(const cli_args *a)
{
    uf_error err;
    uf_sign_key *k = NULL;
    char asked[CLI_MAX_PASSPHRASE] = "", public_path[4096], text[UF_SIGN_KEY_TEXT];
    const char *path = cli_value(a, "output"), *passphrase;
    if (!path)
        return cli_complain(EXIT_USAGE, "sign keygen: -o FILE is needed, for the secret key; the "
                                        "public one comes to FILE.pub");
    snprintf(public_path, sizeof public_path, "%s.pub", path);
    int status = access(public_path, F_OK) == 0
                     ? cli_complain(EXIT_INPUT, "%s: the file is there already", public_path)
                     : choose_passphrase(a, asked, &passphrase);
    if (!status && (uf_sign_key_generate(&k, &err) || uf_sign_key_save(k, path, passphrase, &err) ||
                    uf_sign_key_save_public(k, public_path, &err)))
        status = cli_fail(&err);
    explicit_bzero(asked, sizeof asked);
    if (!status)
        uf_sign_key_text(uf_sign_key_public(k), text);
    if (!status && a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "secret", path);
        json_text(&j, "public", public_path);
        json_text(&j, "key", text);
        json_bool(&j, "encrypted", passphrase != NULL);
        json_close(&j, '}');
        json_end(&j);
    } else if (!status) {
        printf("%s: the secret key%s: keep it, and keep it to yourself\n"
               "%s: the public key, for those who are to trust it: %s\n",
               path, passphrase ? ", encrypted" : "", public_path, text);
    }
    uf_sign_key_destroy(k);
    return status;
}

const cli_command cli_sign_keygen = {
    .name = "sign keygen",
    .summary = "Make a pair of keys for signing models",
    .operands = "",
    .min_operands = 0,
    .max_operands = 0,
    .options = {{"output", 'o', "FILE", "where to: the secret key; the public one is FILE.pub"},
                {"encrypt", 0, NULL, "encrypt the secret key by a passphrase"}},
    .details = "Only the owner may read the secret key's file. The passphrase is asked for on the\n"
               "terminal, or taken from $UNIFACE_SIGN_PASSPHRASE (which is --encrypt too).",
    .examples = "  uniface sign keygen -o release.key --encrypt\n",
    .run = run_keygen,
};

/* ---- sign verify ---- */

static int add_trusted(uf_trust *t, const cli_args *a)
{
    uf_error err;
    const char *given = cli_value(a, "trusted");
    const char *keys = given ? given : getenv("UNIFACE_TRUSTED_KEYS");
    if (!keys || !*keys)
        return cli_complain(EXIT_USAGE, "sign verify: whom to trust? --trusted FILE or "
                                        "UNIFACE_TRUSTED_KEYS names public keys");
    uf_status st = uf_trust_add(t, keys, &err);
    for (int i = 1; !st && i < a->count; i++)
        st = uf_trust_add(t, a->operands[i], &err);
    return st ? cli_fail(&err) : 0;
}

static int verify(const uf_trust *t, const uf_model *m, const cli_args *a)
{
    uf_error err = {0};
    double least;
    if (!cli_number(a, "min-release", 1, RELEASE_MAX, 1, &least))
        return EXIT_USAGE;
    const uf_status st = uf_trust_check(t, m, (uint64_t)least, &err);
    if (st && st != UF_E_UNTRUSTED)
        return cli_fail(&err);
    if (a->json) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "model", a->operands[0]);
        json_bool(&j, "trusted", !st);
        json_text(&j, "reason", st ? err.message : NULL);
        cli_signature_json(&j, m);
        json_close(&j, '}');
        json_end(&j);
    } else {
        printf("%-22s %s\n", a->operands[0], st ? "not trusted" : "trusted");
        cli_signature_print(m);
        if (st)
            printf("%s\n", err.message);
    }
    return st ? EXIT_DIFFERENT : 0;
}

static int run_verify(const cli_args *a)
{
    uf_error err;
    uf_model *m = NULL;
    uf_trust *t = NULL;
    /* Without the list of releases: looking at a model is not using it. */
    int status = uf_trust_create(&t, NULL, &err) ? cli_fail(&err) : add_trusted(t, a);
    if (!status && uf_model_open(&m, a->operands[0], &err))
        status = cli_fail(&err);
    if (!status)
        status = verify(t, m, a);
    uf_model_close(m);
    uf_trust_destroy(t);
    return status;
}

const cli_command cli_sign_verify = {
    .name = "sign verify",
    .summary = "Tell whether a model is signed by somebody who is trusted",
    .operands = "MODEL [KEYS...]",
    .min_operands = 1,
    .max_operands = -1,
    .options = {{"trusted", 't', "FILE", "public key, or a folder of *.pub; more may follow"},
                {"min-release", 0, "N", "the least release that will do (1)"}},
    .details =
        "Without --trusted, $UNIFACE_TRUSTED_KEYS names the keys. Exit status 1: the model is\n"
        "not signed, not by them, not as it was, or older than it must be.",
    .examples = "  uniface sign verify face.ufm --trusted release.key.pub\n"
                "  uniface sign verify face.ufm --trusted keys/ --min-release 3 --json\n",
    .run = run_verify,
};
