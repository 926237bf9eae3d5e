/*
 * API keys. DIR/keys.json holds, of each key, its id, name, grants and a keyed hash (BLAKE2b under
 * the secret of DIR/server.key), never the key. Shareable.
 */
#ifndef UF_SERVER_KEYRING_H
#define UF_SERVER_KEYRING_H

#include "server/server.h"

typedef struct srv_keyring srv_keyring;

enum { SRV_KEY_TEXT_SIZE = 80 };

/* Reads, and makes what is missing (mode 0600). `why`: of a failure. */
srv_keyring *srv_keyring_open(const char *folder, char why[512]);
void srv_keyring_close(srv_keyring *k);
/* Reads the file again; on failure the keys stay as they were. */
bool srv_keyring_reload(srv_keyring *k, char why[512]);
size_t srv_keyring_count(srv_keyring *k);

/* Whose key it is; false: nobody's. Takes the same time whichever key fits. */
bool srv_keyring_find(srv_keyring *k, const char *key, srv_principal *out);

/* Makes a key with these grants, and writes the file. `key` gets its text, which is nowhere else.
 */
bool srv_keyring_add(srv_keyring *k, const char *name, const srv_principal *grants,
                     char key[SRV_KEY_TEXT_SIZE], char id[SRV_KEY_ID_SIZE], char why[512]);
/* False with why "": there is no such key. */
bool srv_keyring_remove(srv_keyring *k, const char *id, char why[512]);
typedef void srv_key_fn(void *user, const char *name, int64_t created, const srv_principal *key);
void srv_keyring_list(srv_keyring *k, srv_key_fn *fn, void *user);

/* "*:read,identify;staff:enrol" or "read,identify" (everywhere). False: `why`. */
bool srv_grants_parse(const char *text, srv_principal *out, char why[512]);
/* Roles of a JSON or command line word; 0: none of that name. */
unsigned srv_role_named(const char *name);

#endif
