/*
 * uniface/store.h - the model store, a folder of models that are known by name; digests of files.
 *
 * Programs that take "a model" take a file or a name of the store, by uf_store_find. Functions are
 * reentrant (they read the environment); a uf_digest is confined. Since 0.1.
 */
#ifndef UNIFACE_STORE_H
#define UNIFACE_STORE_H

#include "uniface/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The folder of the store: $UNIFACE_MODELS, else $UNIFACE_CACHE_DIR/models, else
 * $XDG_DATA_HOME/uniface/models, else ~/.local/share/uniface/models. It need not exist. UF_E_LIMIT
 * when the path is longer than `size` allows. */
UF_API uf_status uf_store_folder(char *out, size_t size, uf_error *err);

/* The file of a model: `name` itself when it is a file, `name`.ufm, or `name`.ufm in the store, or
 * a model that comes with the library: "detector", "embedder" (the default one) and those of
 * models/README.md, in a folder models beside the program or library or in ../share/uniface. A path
 * to something else that exists (a folder, a device) is given back as it is, so that opening it
 * says what is wrong. UF_E_NOT_FOUND says where it was looked for. */
UF_API uf_status uf_store_find(char *out, size_t size, const char *name, uf_error *err);

/* The file of the model that is taken when none is named, `task` is "detector" or "embedder": the
 * store's, else the one that comes with the library. UF_E_NOT_FOUND says where it was looked for.
 */
UF_API uf_status uf_store_default(char *out, size_t size, const char *task, uf_error *err);

/* SHA-256, piece by piece. Digests are 64 lower-case hexadecimal digits and a NUL. */
typedef struct uf_digest uf_digest;
UF_API uf_status uf_digest_create(uf_digest **out, uf_error *err);
UF_API void uf_digest_add(uf_digest *d, const void *data, size_t size);
/* The digest of what was added; `d` is destroyed. Either may be NULL. */
UF_API void uf_digest_end(uf_digest *d, char hex[65]);
/* Digest and size of a regular file; `size` may be NULL. UF_E_IO names the path. */
UF_API uf_status uf_digest_file(const char *path, char hex[65], uint64_t *size, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
