/* Models that must be signed, and signing what is written. */
#ifndef UF_CLI_TRUST_H
#define UF_CLI_TRUST_H

#include "cli.h"

/* Where releases are remembered: $UNIFACE_RELEASES, else beside the trusted keys: "releases" in
 * their folder, FILE.releases for a file. */
void cli_releases_path(char *out, size_t size, const char *keys);

/* The secret key in a file. An encrypted one's passphrase is that of $UNIFACE_SIGN_PASSPHRASE, or
 * is asked for. Prints what is wrong and returns the exit status. */
int cli_sign_key_open(uf_sign_key **k, const char *path);
/* The release after that of `from` (may be NULL), 1 when it is not signed. UF_E_UNTRUSTED: what its
 * signature says cannot be believed. */
uf_status cli_next_release(const uf_model *from, uint64_t *release, uf_error *err);

/* A signature in words, and as the member "signature" of a JSON object. */
void cli_signature_print(const uf_model *m);
void cli_signature_json(cli_json *j, const uf_model *m);

#endif
