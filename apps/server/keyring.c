/*
 * The file is read and written whole, and replaced atomically. A key is looked for among all
 * hashes without ending early. There are dozens of keys, not millions; a keyed hash of 32 random
 * bytes needs no slow derivation.
 */
#include "server/keyring.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>
#include <sodium.h>

enum { HASH = 32, SECRET = 32, KEYS_MAX = 10000 };

typedef struct entry {
    srv_principal who;
    char name[SRV_NAME_MAX + 1];
    int64_t created;
    uint8_t hash[HASH];
} entry;

struct srv_keyring {
    char path[1100];
    pthread_mutex_t lock; /* protects everything below */
    uint8_t secret[SECRET];
    entry *entries;
    size_t count;
};

typedef struct role_name {
    unsigned role;
    const char *name;
} role_name;

static const role_name role_names[] = {
#define ROLE_NAME(name, bit, text) {bit, text},
    SRV_ROLE_LIST(ROLE_NAME)
#undef ROLE_NAME
};
enum { ROLES = sizeof role_names / sizeof *role_names };

unsigned srv_role_named(const char *name)
{
    for (size_t i = 0; i < ROLES; i++)
        if (!strcmp(role_names[i].name, name))
            return role_names[i].role == SRV_ADMIN ? SRV_ALL_ROLES : role_names[i].role;
    return 0;
}

/* ---- grants ---- */

static bool add_grant(srv_principal *p, const char *collection, unsigned roles, char why[512])
{
    if (p->grant_count == SRV_GRANTS_MAX || strlen(collection) > SRV_NAME_MAX || !*collection) {
        snprintf(why, 512, "a key has at most %d collections, with names of 1 to %d bytes",
                 SRV_GRANTS_MAX, SRV_NAME_MAX);
        return false;
    }
    snprintf(p->grants[p->grant_count].collection, SRV_NAME_MAX + 1, "%s", collection);
    p->grants[p->grant_count++].roles = roles;
    return true;
}

static bool parse_roles(char *text, unsigned *roles, char why[512])
{
    char *rest;
    *roles = 0;
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        const unsigned role = srv_role_named(word);
        if (!role) {
            snprintf(
                why, 512,
                "there is no role \"%.40s\": read, identify, enrol, scores and admin are known",
                word);
            return false;
        }
        *roles |= role;
    }
    if (!*roles)
        snprintf(why, 512, "a key needs a role: read, identify, enrol, scores, admin");
    return *roles != 0;
}

bool srv_grants_parse(const char *text, srv_principal *out, char why[512])
{
    char *rest, *copy = strdup(text);
    bool ok = copy != NULL;
    out->grant_count = 0;
    snprintf(why, 512, "a key needs roles, such as read,identify or staff:enrol;*:read");
    for (char *one = ok ? strtok_r(copy, ";", &rest) : NULL; ok && one;
         one = strtok_r(NULL, ";", &rest)) {
        char *colon = strrchr(one, ':');
        unsigned roles;
        if (colon)
            *colon = '\0';
        ok = parse_roles(colon ? colon + 1 : one, &roles, why) &&
             add_grant(out, colon ? one : "*", roles, why);
    }
    free(copy);
    return ok && out->grant_count > 0;
}

/* ---- the file ---- */

static bool text_member(const json_t *o, const char *name, char *out, size_t room)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s && strlen(s) < room && snprintf(out, room, "%s", s) >= 0;
}

static bool read_grants(const json_t *o, srv_principal *p, char why[512])
{
    const char *collection;
    json_t *list, *grants = json_object_get(o, "grants");
    json_object_foreach(grants, collection, list)
    {
        unsigned roles = 0;
        for (size_t i = 0; i < json_array_size(list); i++) {
            const char *word = json_string_value(json_array_get(list, i));
            roles |= word ? srv_role_named(word) : 0;
        }
        if (!add_grant(p, collection, roles, why))
            return false;
    }
    return true;
}

static bool read_entry(const json_t *o, entry *e, char why[512])
{
    char hash[2 * HASH + 1];
    size_t n;
    snprintf(why, 512, "a key's entry is not whole");
    *e = (entry){.created = json_integer_value(json_object_get(o, "created"))};
    return text_member(o, "id", e->who.key_id, sizeof e->who.key_id) &&
           text_member(o, "name", e->name, sizeof e->name) &&
           text_member(o, "hash", hash, sizeof hash) &&
           !sodium_hex2bin(e->hash, HASH, hash, strlen(hash), NULL, &n, NULL) && n == HASH &&
           read_grants(o, &e->who, why);
}

bool srv_keyring_reload(srv_keyring *k, char why[512])
{
    json_error_t err;
    char what[400];
    if (access(k->path, F_OK) != 0 && errno == ENOENT)
        return true; /* no key was made yet */
    json_t *root = json_load_file(k->path, JSON_REJECT_DUPLICATES, &err);
    const json_t *keys = json_object_get(root, "keys");
    const size_t n = json_array_size(keys);
    entry *entries = n <= KEYS_MAX ? calloc(n + 1, sizeof *entries) : NULL;
    bool ok = entries && json_is_array(keys);
    snprintf(what, sizeof what, "%s", root ? "it must hold {\"keys\": [...]}" : err.text);
    for (size_t i = 0; ok && i < n; i++) {
        ok = read_entry(json_array_get(keys, i), &entries[i], why);
        if (!ok)
            snprintf(what, sizeof what, "key %zu: %.300s", i + 1, why);
    }
    json_decref(root);
    if (!ok) {
        snprintf(why, 512, "%.250s: %.250s", k->path, what);
        free(entries);
        return false;
    }
    pthread_mutex_lock(&k->lock);
    entry *old = k->entries;
    k->entries = entries;
    k->count = n;
    pthread_mutex_unlock(&k->lock);
    free(old);
    return true;
}

static json_t *roles_json(unsigned roles)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ROLES; i++)
        if (roles & role_names[i].role)
            json_array_append_new(list, json_string(role_names[i].name));
    return list;
}

static json_t *entry_json(const entry *e)
{
    char hash[2 * HASH + 1];
    json_t *grants = json_object();
    for (size_t i = 0; i < e->who.grant_count; i++)
        json_object_set_new(grants, e->who.grants[i].collection,
                            roles_json(e->who.grants[i].roles));
    sodium_bin2hex(hash, sizeof hash, e->hash, HASH);
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", e->who.key_id, "name", e->name, "created",
                     (json_int_t)e->created, "hash", hash, "grants", grants);
}

/* A new file beside the old, made durable, then put in its place. */
static bool replace_file(const char *path, const void *data, size_t size, char why[512])
{
    char beside[1120];
    snprintf(beside, sizeof beside, "%s.new", path);
    const int f = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok = f >= 0 && write(f, data, size) == (ssize_t)size && fsync(f) == 0;
    if (f >= 0 && close(f) != 0)
        ok = false;
    ok = ok && rename(beside, path) == 0;
    if (!ok)
        snprintf(why, 512, "%.400s cannot be written: %s", path, strerror(errno));
    return ok;
}

static bool save(const srv_keyring *k, const entry *entries, size_t count, char why[512])
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, entry_json(&entries[i]));
    json_t *root = json_pack("{s:i, s:o}", "version", 1, "keys", list);
    char *text = json_dumps(root, JSON_INDENT(1));
    json_decref(root);
    const bool ok = text && replace_file(k->path, text, strlen(text), why);
    if (!text)
        snprintf(why, 512, "out of memory");
    free(text);
    return ok;
}

static bool read_secret(srv_keyring *k, const char *path, char why[512])
{
    int f = open(path, O_RDONLY | O_CLOEXEC);
    if (f < 0 && errno == ENOENT) {
        randombytes_buf(k->secret, SECRET);
        return replace_file(path, k->secret, SECRET, why);
    }
    const bool ok = f >= 0 && read(f, k->secret, SECRET) == SECRET;
    if (!ok)
        snprintf(why, 512, "%.400s: the server's secret of %d bytes cannot be read", path, SECRET);
    if (f >= 0)
        close(f);
    return ok;
}

srv_keyring *srv_keyring_open(const char *folder, char why[512])
{
    char secret[1100];
    srv_keyring *k = sodium_init() < 0 ? NULL : calloc(1, sizeof *k);
    if (!k) {
        snprintf(why, 512, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&k->lock, NULL);
    snprintf(k->path, sizeof k->path, "%.1000s/keys.json", folder);
    snprintf(secret, sizeof secret, "%.1000s/server.key", folder);
    if (read_secret(k, secret, why) && srv_keyring_reload(k, why))
        return k;
    srv_keyring_close(k);
    return NULL;
}

void srv_keyring_close(srv_keyring *k)
{
    if (!k)
        return;
    sodium_memzero(k->secret, SECRET);
    pthread_mutex_destroy(&k->lock);
    free(k->entries);
    free(k);
}

size_t srv_keyring_count(srv_keyring *k)
{
    pthread_mutex_lock(&k->lock);
    const size_t n = k->count;
    pthread_mutex_unlock(&k->lock);
    return n;
}

/* ---- keys ---- */

static void hash_key(const srv_keyring *k, const char *key, uint8_t out[HASH])
{
    crypto_generichash(out, HASH, (const uint8_t *)key, strlen(key), k->secret, SECRET);
}

bool srv_keyring_find(srv_keyring *k, const char *key, srv_principal *out)
{
    uint8_t hash[HASH];
    size_t found = SIZE_MAX;
    hash_key(k, key, hash);
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->count; i++)
        if (!sodium_memcmp(hash, k->entries[i].hash, HASH))
            found = i;
    if (found != SIZE_MAX)
        *out = k->entries[found].who;
    pthread_mutex_unlock(&k->lock);
    return found != SIZE_MAX;
}

bool srv_keyring_add(srv_keyring *k, const char *name, const srv_principal *grants,
                     char key[SRV_KEY_TEXT_SIZE], char id[SRV_KEY_ID_SIZE], char why[512])
{
    uint8_t bytes[SECRET], id_bytes[8];
    char text[sodium_base64_ENCODED_LEN(SECRET, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    entry e = {.who = *grants, .created = (int64_t)time(NULL)};
    if (strlen(name) > SRV_NAME_MAX || !*name) {
        snprintf(why, 512, "a key's name has 1 to %d bytes", SRV_NAME_MAX);
        return false;
    }
    snprintf(e.name, sizeof e.name, "%s", name);
    randombytes_buf(bytes, sizeof bytes);
    randombytes_buf(id_bytes, sizeof id_bytes);
    sodium_bin2hex(id, SRV_KEY_ID_SIZE, id_bytes, sizeof id_bytes);
    memcpy(e.who.key_id, id, SRV_KEY_ID_SIZE);
    sodium_bin2base64(text, sizeof text, bytes, sizeof bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    snprintf(key, SRV_KEY_TEXT_SIZE, "uf_%s", text);
    hash_key(k, key, e.hash);
    sodium_memzero(bytes, sizeof bytes);
    sodium_memzero(text, sizeof text);
    pthread_mutex_lock(&k->lock);
    entry *more = k->count < KEYS_MAX ? realloc(k->entries, (k->count + 1) * sizeof *more) : NULL;
    bool ok = more != NULL;
    if (ok) {
        k->entries = more;
        more[k->count] = e;
        ok = save(k, more, k->count + 1, why);
        k->count += ok;
    } else {
        snprintf(why, 512, "there is no room for another key");
    }
    pthread_mutex_unlock(&k->lock);
    return ok;
}

bool srv_keyring_remove(srv_keyring *k, const char *id, char why[512])
{
    size_t left = 0;
    bool ok = false;
    why[0] = '\0';
    pthread_mutex_lock(&k->lock);
    entry *kept = calloc(k->count + 1, sizeof *kept);
    for (size_t i = 0; kept && i < k->count; i++)
        if (strcmp(k->entries[i].who.key_id, id) != 0)
            kept[left++] = k->entries[i];
    if (!kept)
        snprintf(why, 512, "out of memory");
    ok = kept && left < k->count && save(k, kept, left, why);
    if (ok) {
        entry *old = k->entries;
        k->entries = kept;
        k->count = left;
        kept = old;
    }
    pthread_mutex_unlock(&k->lock);
    free(kept);
    return ok;
}

void srv_keyring_list(srv_keyring *k, srv_key_fn *fn, void *user)
{
    pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < k->count; i++)
        fn(user, k->entries[i].name, k->entries[i].created, &k->entries[i].who);
    pthread_mutex_unlock(&k->lock);
}
