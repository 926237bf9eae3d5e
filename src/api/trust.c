/* Whose signatures count. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/model_impl.h"
#include "api/sign_impl.h"
#include "base/mem.h"

enum { MAX_KEYS = 1024 };

struct uf_trust {
    char *releases; /* NULL: none are remembered */
    uint8_t (*keys)[UFI_SIGN_PUBLIC_BYTES];
    size_t count;
};

/* ---- keys ---- */

uf_status uf_trust_create(uf_trust **out, const char *releases, uf_error *err)
{
    if (!out)
        return ufi_fail(err, UF_E_ARG, "uf_trust_create: out must be given");
    *out = NULL;
    uf_status st = ufi_sign_ready(err);
    if (st)
        return st;
    uf_trust *t = ufi_calloc(1, sizeof *t);
    if (t && releases)
        t->releases = ufi_strdup(releases);
    if (!t || (releases && !t->releases)) {
        uf_trust_destroy(t);
        return ufi_fail(err, UF_E_NOMEM, "no memory for trusted keys");
    }
    *out = t;
    return UF_OK;
}

void uf_trust_destroy(uf_trust *t)
{
    if (!t)
        return;
    ufi_free(t->releases);
    ufi_free(t->keys);
    ufi_free(t);
}

static uf_status add_file(uf_trust *t, const char *path, uf_error *err)
{
    uint8_t key[UFI_SIGN_PUBLIC_BYTES];
    uf_status st = ufi_public_key_read(path, key, err);
    if (st)
        return st;
    if (t->count == MAX_KEYS)
        return ufi_fail(err, UF_E_LIMIT, "%s: more than %d trusted keys", path, MAX_KEYS);
    void *more = ufi_realloc(t->keys, t->count + 1, sizeof *t->keys);
    if (!more)
        return ufi_fail(err, UF_E_NOMEM, "no memory for trusted keys");
    t->keys = more;
    memcpy(t->keys[t->count++], key, sizeof key);
    return UF_OK;
}

static uf_status add_folder(uf_trust *t, const char *path, uf_error *err)
{
    char file[4096];
    size_t found = 0;
    uf_status st = UF_OK;
    DIR *d = opendir(path);
    if (!d)
        return ufi_fail(err, UF_E_IO, "%s: cannot open: %s", path, strerror(errno));
    for (struct dirent *e; !st && (e = readdir(d));) {
        const size_t n = strlen(e->d_name);
        if (n < 5 || strcmp(e->d_name + n - 4, ".pub") != 0)
            continue;
        const int length = snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        st = length < 0 || (size_t)length >= sizeof file
                 ? ufi_fail(err, UF_E_ARG, "%.64s...: the path is too long", path)
                 : add_file(t, file, err);
        found++;
    }
    closedir(d);
    if (!st && !found)
        st = ufi_fail(err, UF_E_NOT_FOUND,
                      "%s: there is no public key (a file that ends in .pub) in this folder", path);
    return st;
}

uf_status uf_trust_add(uf_trust *t, const char *path, uf_error *err)
{
    struct stat s;
    if (!t || !path)
        return ufi_fail(err, UF_E_ARG, "uf_trust_add: trust and path must be given");
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode) ? add_folder(t, path, err)
                                                     : add_file(t, path, err);
}

/* ---- models ---- */

/* What a model goes by in the list of releases; all of it is signed. */
static uf_status name_of(const uf_model *m, char out[UFI_RELEASE_NAME_MAX], uf_error *err)
{
    const char *task = ufi_meta_get(&m->file.meta, "task");
    const char *family = ufi_meta_get(&m->file.meta, "family");
    const char *name = ufi_meta_get(&m->file.meta, "name");
    const int n = snprintf(out, UFI_RELEASE_NAME_MAX, "%s/%s%s%s", task ? task : "",
                           family ? family : "", name ? "/" : "", name ? name : "");
    bool ok = n > 0 && n < UFI_RELEASE_NAME_MAX;
    for (const char *c = out; ok && *c; c++)
        ok = (uint8_t)*c >= 0x20;
    return ok ? UF_OK
              : ufi_fail(err, UF_E_UNTRUSTED,
                         "task, family and name of the model are too long or have control "
                         "characters, so that its release cannot be remembered");
}

static bool is_trusted(const uf_trust *t, const uint8_t key[UFI_SIGN_PUBLIC_BYTES])
{
    for (size_t i = 0; i < t->count; i++)
        if (!memcmp(t->keys[i], key, UFI_SIGN_PUBLIC_BYTES))
            return true;
    return false;
}

static uf_status check_signer(const uf_trust *t, const ufi_signature *s, uf_error *err)
{
    char key[UF_SIGN_KEY_TEXT];
    if (s->state == UFI_SIGNED && is_trusted(t, s->key))
        return UF_OK;
    uf_sign_key_text(s->key, key);
    switch (s->state) {
    case UFI_UNSIGNED:
        return ufi_fail(err, UF_E_UNTRUSTED,
                        "the model is not signed, and only signed ones are trusted here: ask for a "
                        "signed one, or sign it (`uniface sign`)");
    case UFI_SIGNED_BEFORE:
        return ufi_fail(
            err, UF_E_UNTRUSTED,
            "the model was changed after it was signed: sign it again (`uniface sign`)");
    case UFI_SIGNED:
        return ufi_fail(err, UF_E_UNTRUSTED,
                        "the model is signed by the key %s%s%s%s, which is not among the %zu "
                        "trusted: add that public key if its owner is to be trusted",
                        key, *s->signer ? " (it calls itself \"" : "", s->signer,
                        *s->signer ? "\")" : "", t->count);
    default:
        return ufi_fail(err, UF_E_UNTRUSTED,
                        "the signature is not valid: the model was changed after it was signed, or "
                        "the signature is another's; fetch the model again from who signed it");
    }
}

static uf_status check_release(const uf_trust *t, const uf_model *m, uint64_t min_release,
                               uf_error *err)
{
    char name[UFI_RELEASE_NAME_MAX];
    uint64_t seen = 0;
    const uint64_t release = m->file.signature.release;
    if (release < min_release)
        return ufi_fail(err, UF_E_UNTRUSTED,
                        "release %" PRIu64 ", and at least %" PRIu64 " is asked for: take a newer "
                        "one",
                        release, min_release);
    if (!t->releases)
        return UF_OK;
    uf_status st = name_of(m, name, err);
    if (!st)
        st = ufi_releases_find(t->releases, name, &seen, err);
    if (!st && release < seen)
        st = ufi_fail(err, UF_E_UNTRUSTED,
                      "release %" PRIu64 " of %.200s, of which release %" PRIu64 " was in use "
                      "already: take a newer one; to go back on purpose, sign it as a new release",
                      release, name, seen);
    return st;
}

uf_status uf_trust_check(const uf_trust *t, const uf_model *m, uint64_t min_release, uf_error *err)
{
    if (!t || !m)
        return ufi_fail(err, UF_E_ARG, "uf_trust_check: trust and model must be given");
    uf_status st = check_signer(t, &m->file.signature, err);
    return st ? st : check_release(t, m, min_release, err);
}

uf_status uf_trust_record(const uf_trust *t, const uf_model *m, uf_error *err)
{
    char name[UFI_RELEASE_NAME_MAX];
    uf_status st = uf_trust_check(t, m, 0, err);
    if (st || !t->releases)
        return st;
    st = name_of(m, name, err);
    if (st)
        return st;
    st = ufi_releases_raise(t->releases, name, m->file.signature.release, err);
    return st ? ufi_wrap(err, st, "the release cannot be remembered") : UF_OK;
}

uf_status uf_model_open_trusted(uf_model **out, const char *path, const uf_trust *t,
                                uint64_t min_release, uf_error *err)
{
    uf_model *m = NULL;
    if (!out || !path || !t)
        return ufi_fail(err, UF_E_ARG, "uf_model_open_trusted: out, path and trust must be given");
    *out = NULL;
    uf_status st = uf_model_open(&m, path, err);
    if (st)
        return st;
    st = uf_trust_check(t, m, min_release, err);
    if (!st)
        st = uf_trust_record(t, m, err);
    if (st) {
        uf_model_close(m);
        return ufi_wrap(err, st, "%s", path);
    }
    *out = m;
    return UF_OK;
}
