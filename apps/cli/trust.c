/* Opening models under $UNIFACE_TRUSTED_KEYS, saving them, and what commands say of signatures. */
#include "trust.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "gallery.h"

/* ---- opening ---- */

void cli_releases_path(char *out, size_t size, const char *keys)
{
    struct stat s;
    const char *given = getenv("UNIFACE_RELEASES");
    if (given && *given)
        snprintf(out, size, "%s", given);
    else if (stat(keys, &s) == 0 && S_ISDIR(s.st_mode))
        snprintf(out, size, "%s/releases", keys);
    else
        snprintf(out, size, "%s.releases", keys);
}

uf_status cli_model_open(uf_model **m, const char *path, uf_error *err)
{
    char releases[4096];
    uf_trust *trust = NULL;
    const char *keys = getenv("UNIFACE_TRUSTED_KEYS");
    if (!keys || !*keys)
        return uf_model_open(m, path, err);
    *m = NULL;
    cli_releases_path(releases, sizeof releases, keys);
    uf_status st = uf_trust_create(&trust, releases, err);
    if (!st)
        st = uf_trust_add(trust, keys, err);
    if (!st)
        st = uf_model_open_trusted(m, path, trust, 0, err);
    uf_trust_destroy(trust);
    return st;
}

uf_status cli_model_save(const uf_model *m, const uf_model *from, const char *path, uf_error *err)
{
    uf_signature was, is;
    const uf_status st = uf_model_save(m, path, err);
    if (st || !from)
        return st;
    uf_model_signature(from, &was);
    uf_model_signature(m, &is);
    if (was.state == UF_SIGNATURE_NONE || is.state == UF_SIGNATURE_VALID)
        return UF_OK;
    if (m == from)
        cli_complain(0,
                     "%s: its signature was left out, because the model was changed: sign it "
                     "again (`uniface sign`)",
                     path);
    else
        cli_complain(0,
                     "%s: not signed, as the model that it was made from is: sign it (`uniface "
                     "sign`)",
                     path);
    return UF_OK;
}

/* ---- signing ---- */

int cli_sign_key_open(uf_sign_key **k, const char *path)
{
    uf_error err;
    char asked[CLI_MAX_PASSPHRASE], what[400];
    const char *passphrase = getenv("UNIFACE_SIGN_PASSPHRASE");
    uf_status st = uf_sign_key_load(k, path, passphrase, &err);
    snprintf(what, sizeof what, "passphrase of %.300s", path);
    if (st == UF_E_ARG && !passphrase && cli_ask_passphrase(asked, what, false)) {
        st = uf_sign_key_load(k, path, asked, &err);
        explicit_bzero(asked, sizeof asked);
    } else if (st == UF_E_ARG && !passphrase) {
        return cli_complain(EXIT_USAGE,
                            "%s: the key is encrypted: set UNIFACE_SIGN_PASSPHRASE, or call this "
                            "on a terminal, where it is asked for",
                            path);
    }
    return st ? cli_fail(&err) : 0;
}

uf_status cli_next_release(const uf_model *from, uint64_t *release, uf_error *err)
{
    uf_signature s = {.state = UF_SIGNATURE_NONE};
    *release = 1;
    if (from)
        uf_model_signature(from, &s);
    if (s.state == UF_SIGNATURE_NONE)
        return UF_OK;
    if (s.state == UF_SIGNATURE_VALID && s.release < UINT64_MAX) {
        *release = s.release + 1;
        return UF_OK;
    }
    err->status = UF_E_UNTRUSTED;
    snprintf(err->message, sizeof err->message,
             "the signature that is there is %s, so that its release does not count: say which "
             "release this is to be (`uniface sign --release N`)",
             uf_signature_state_name(s.state));
    return UF_E_UNTRUSTED;
}

/* ---- telling ---- */

/* A signer's clock may say anything. */
static void time_text(char out[32], uint64_t time)
{
    const uint64_t end_of_9999 = 253402300799u;
    if (time <= end_of_9999)
        cli_time_text(out, (int64_t)time);
    else
        snprintf(out, 32, "%" PRIu64, time);
}

void cli_signature_print(const uf_model *m)
{
    uf_signature s;
    char key[UF_SIGN_KEY_TEXT], when[32];
    uf_model_signature(m, &s);
    printf("%-22s %s", "signature", uf_signature_state_name(s.state));
    if (s.state != UF_SIGNATURE_NONE) {
        uf_sign_key_text(s.key, key);
        time_text(when, s.time);
        printf(": release %" PRIu64 ", %s, by the key %s%s%s%s", s.release, when, key,
               *s.signer ? " (" : "", s.signer, *s.signer ? ")" : "");
    }
    printf("\n");
}

void cli_signature_json(cli_json *j, const uf_model *m)
{
    uf_signature s;
    char key[UF_SIGN_KEY_TEXT], when[32], release[24];
    uf_model_signature(m, &s);
    json_open(j, "signature", '{');
    json_text(j, "state", uf_signature_state_name(s.state));
    if (s.state != UF_SIGNATURE_NONE) {
        uf_sign_key_text(s.key, key);
        time_text(when, s.time);
        json_text(j, "key", key);
        snprintf(release, sizeof release, "%" PRIu64, s.release);
        json_raw(j, "release", release);
        json_text(j, "time", when);
        json_text(j, "signer", s.signer);
    }
    json_close(j, '}');
}
