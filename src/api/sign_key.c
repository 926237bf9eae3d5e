/*
 * Files of keys: a line that says what it is, a line of base64. A secret key may be encrypted; then
 * the first line says how the passphrase becomes a key, and is authenticated with it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "api/sign_impl.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/seal.h"
#include "base/status.h"

#define SECRET_LINE "uniface secret key 1"
#define PUBLIC_LINE "uniface public key 1"
#define SEALED_FORMAT SECRET_LINE " argon2id %" PRIu64 " %" PRIu64

enum {
    SEALED_BYTES = UFI_SALT_BYTES + UFI_SIGN_SEED_BYTES + UFI_SEAL_EXTRA,
    LINE_MAX_BYTES = 200,
    FILE_MAX_BYTES = 2 * LINE_MAX_BYTES
};

/* ---- two lines ---- */

typedef struct key_text {
    char line[LINE_MAX_BYTES]; /* the first */
    uint8_t data[SEALED_BYTES];
    size_t size;
} key_text;

/* One line without its end; false when it is too long. */
static bool take_line(const char **p, const char *end, char out[LINE_MAX_BYTES])
{
    const char *stop = memchr(*p, '\n', (size_t)(end - *p));
    size_t n = (size_t)((stop ? stop : end) - *p);
    if (n >= LINE_MAX_BYTES)
        return false;
    memcpy(out, *p, n);
    n -= n > 0 && out[n - 1] == '\r';
    out[n] = '\0';
    *p = stop ? stop + 1 : end;
    return strlen(out) == n;
}

/* UF_E_FORMAT without a text: the caller knows what it should have been. */
static uf_status read_text(const char *path, key_text *t, uf_error *err)
{
    uint8_t *data;
    size_t size;
    char line[LINE_MAX_BYTES] = "";
    uf_status st = ufi_file_read(&data, &size, path, FILE_MAX_BYTES, err);
    if (st)
        return st == UF_E_LIMIT ? UF_E_FORMAT : st;
    const char *p = (const char *)data, *end = p + size;
    if (!take_line(&p, end, t->line) || !take_line(&p, end, line) || p != end ||
        !ufi_base64_read(line, strlen(line), t->data, sizeof t->data, &t->size))
        st = UF_E_FORMAT;
    ufi_wipe(line, sizeof line);
    ufi_wipe(data, size);
    ufi_free(data);
    return st;
}

static uf_status write_text(const char *path, bool secret, const char *line, const uint8_t *data,
                            size_t size, uf_error *err)
{
    char text[FILE_MAX_BYTES];
    const int n = snprintf(text, sizeof text, "%s\n", line);
    ufi_file_writer w;
    ufi_base64(data, size, text + n);
    strcat(text, "\n");
    uf_status st = ufi_file_writer_open(&w, path, secret, err);
    if (!st)
        st = ufi_file_writer_put(&w, text, strlen(text), err);
    st = ufi_file_writer_close(&w, st, err);
    ufi_wipe(text, sizeof text);
    return st;
}

/* ---- public keys ---- */

uf_status ufi_public_key_read(const char *path, uint8_t out[UFI_SIGN_PUBLIC_BYTES], uf_error *err)
{
    key_text t;
    uf_status st = read_text(path, &t, err);
    if (st && st != UF_E_FORMAT)
        return st;
    if (!st && !strncmp(t.line, SECRET_LINE, strlen(SECRET_LINE)))
        st = ufi_fail(err, UF_E_FORMAT,
                      "%s: this is a secret key, which belongs to the signer alone: take the file "
                      "of the public key (FILE.pub)",
                      path);
    else if (st || strcmp(t.line, PUBLIC_LINE) != 0 || t.size != UFI_SIGN_PUBLIC_BYTES)
        st = ufi_fail(err, UF_E_FORMAT,
                      "%s: this is no public key (it begins with \"" PUBLIC_LINE "\")", path);
    else
        memcpy(out, t.data, UFI_SIGN_PUBLIC_BYTES);
    ufi_wipe(&t, sizeof t);
    return st;
}

void uf_sign_key_text(const uint8_t key[UF_SIGN_KEY_BYTES], char out[UF_SIGN_KEY_TEXT])
{
    ufi_base64(key, UF_SIGN_KEY_BYTES, out);
}

const uint8_t *uf_sign_key_public(const uf_sign_key *k)
{
    return k->key;
}

uf_status uf_sign_key_save_public(const uf_sign_key *k, const char *path, uf_error *err)
{
    if (!k || !path)
        return ufi_fail(err, UF_E_ARG, "uf_sign_key_save_public: key and path must be given");
    return write_text(path, false, PUBLIC_LINE, k->key, sizeof k->key, err);
}

/* ---- secret keys ---- */

static uf_status new_key(uf_sign_key **out, uf_error *err)
{
    uf_status st = ufi_sign_ready(err);
    if (st)
        return st;
    *out = ufi_secret_alloc(sizeof **out, NULL);
    return *out ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a key");
}

/* The key comes out, or is wiped when `st` is an error. */
static uf_status finish_key(uf_sign_key **out, uf_sign_key *k, uf_status st, uf_error *err)
{
    if (!st)
        st = ufi_sign_public(k->key, k->seed, err);
    if (st)
        uf_sign_key_destroy(k);
    else
        *out = k;
    return st;
}

uf_status uf_sign_key_generate(uf_sign_key **out, uf_error *err)
{
    uf_sign_key *k = NULL;
    if (!out)
        return ufi_fail(err, UF_E_ARG, "uf_sign_key_generate: out must be given");
    *out = NULL;
    uf_status st = new_key(&k, err);
    if (st)
        return st;
    return finish_key(out, k, ufi_random(k->seed, sizeof k->seed, err), err);
}

void uf_sign_key_destroy(uf_sign_key *k)
{
    ufi_secret_free(k, sizeof *k);
}

static uf_status save_sealed(const uf_sign_key *k, const char *path, const char *passphrase,
                             uf_error *err)
{
    char line[LINE_MAX_BYTES];
    uint8_t outer[UFI_SECRET_BYTES], data[SEALED_BYTES];
    snprintf(line, sizeof line, SEALED_FORMAT, (uint64_t)UFI_PASSPHRASE_PASSES,
             UFI_PASSPHRASE_MEMORY_BYTES);
    uf_status st = ufi_random(data, UFI_SALT_BYTES, err);
    if (!st)
        st = ufi_secret_from_passphrase(outer, passphrase, data, UFI_PASSPHRASE_PASSES,
                                        UFI_PASSPHRASE_MEMORY_BYTES, err);
    if (!st)
        st = ufi_seal(data + UFI_SALT_BYTES, k->seed, sizeof k->seed, line, strlen(line), outer,
                      err);
    ufi_wipe(outer, sizeof outer);
    return st ? st : write_text(path, true, line, data, sizeof data, err);
}

uf_status uf_sign_key_save(const uf_sign_key *k, const char *path, const char *passphrase,
                           uf_error *err)
{
    struct stat s;
    if (!k || !path)
        return ufi_fail(err, UF_E_ARG, "uf_sign_key_save: key and path must be given");
    if (passphrase && !*passphrase)
        return ufi_fail(err, UF_E_ARG, "the passphrase is empty");
    if (lstat(path, &s) == 0)
        return ufi_fail(err, UF_E_STATE,
                        "%s: the file is there already; a key that signed models cannot be made "
                        "again: choose another name, or remove it first",
                        path);
    return passphrase ? save_sealed(k, path, passphrase, err)
                      : write_text(path, true, SECRET_LINE, k->seed, sizeof k->seed, err);
}

static uf_status open_sealed(uf_sign_key *k, const key_text *t, const char *path,
                             const char *passphrase, uf_error *err)
{
    uint64_t passes = 0, memory = 0;
    uint8_t outer[UFI_SECRET_BYTES];
    if (sscanf(t->line, SEALED_FORMAT, &passes, &memory) != 2 || t->size != SEALED_BYTES ||
        passes > UFI_PASSPHRASE_PASSES_MAX || memory > UFI_PASSPHRASE_MEMORY_BYTES_MAX)
        return ufi_fail(err, UF_E_FORMAT, "%s: the encrypted key is malformed", path);
    if (!passphrase || !*passphrase)
        return ufi_fail(err, UF_E_ARG, "%s: the key is encrypted: give its passphrase", path);
    uf_status st = ufi_secret_from_passphrase(outer, passphrase, t->data, passes, memory, err);
    if (!st && ufi_unseal(k->seed, t->data + UFI_SALT_BYTES, t->size - UFI_SALT_BYTES, t->line,
                          strlen(t->line), outer, NULL))
        st = ufi_fail(err, UF_E_MISMATCH,
                      "%s: the key does not open: the passphrase is another, or the file was "
                      "changed",
                      path);
    ufi_wipe(outer, sizeof outer);
    return st;
}

uf_status uf_sign_key_load(uf_sign_key **out, const char *path, const char *passphrase,
                           uf_error *err)
{
    uf_sign_key *k = NULL;
    key_text t;
    if (!out || !path)
        return ufi_fail(err, UF_E_ARG, "uf_sign_key_load: out and path must be given");
    *out = NULL;
    uf_status st = new_key(&k, err);
    if (st)
        return st;
    st = read_text(path, &t, err);
    if (!st && !strncmp(t.line, SECRET_LINE " ", sizeof SECRET_LINE))
        st = open_sealed(k, &t, path, passphrase, err);
    else if (!st && !strcmp(t.line, SECRET_LINE) && t.size == sizeof k->seed)
        memcpy(k->seed, t.data, sizeof k->seed);
    else if (!st || st == UF_E_FORMAT)
        st = ufi_fail(err, UF_E_FORMAT,
                      "%s: this is no secret key (`uniface sign keygen` makes one)", path);
    ufi_wipe(&t, sizeof t);
    return finish_key(out, k, st, err);
}
