/*
 * What `uniface models` keeps where. In the store: NAME.ufm, and beside it NAME.origin, the record
 * of where it came from. In the cache: public files as they were fetched, files/NAME/FILE.
 */
#ifndef UF_CLI_MODELS_STORE_H
#define UF_CLI_MODELS_STORE_H

#include "cli.h"
#include "models_manifest.h"

enum { STORE_PATH_MAX = 4096 };

/* $UNIFACE_CACHE_DIR, else $XDG_CACHE_HOME/uniface, else ~/.cache/uniface; then /files/NAME/FILE
 * when these are given. Ends the program when the path is too long. */
void store_cache_path(char out[STORE_PATH_MAX], const char *name, const char *file);

/* The manifest of --manifest, else that of the program. False: it was said what is wrong. */
bool store_manifest(model_manifest *m, const cli_args *a);

/* Store and cache are for one program that changes them at a time: waits for others, and says so.
 * False when they cannot be locked; it was said why. */
typedef struct store_lock {
    int fds[2];
} store_lock;
bool store_enter(store_lock *l);
void store_leave(store_lock *l);

/* ---- records ---- */

typedef struct store_record {
    model_manifest manifest; /* of one row */
    const model_row *row;    /* NULL: there is no record */
    char model_sha256[65];
    char time[32];      /* when it came into the store, UTC */
    char agreement[16]; /* the licence was "shown", "accepted", or is one's "own" */
} store_record;

/* False with the reason when there is a record that is damaged. */
bool store_record_read(store_record *r, const char *name, char why[256]);
void store_record_free(store_record *r);

bool store_has(const char *name);
/* Whether the store has this model, or another one by its name. */
typedef enum store_presence { STORE_ABSENT, STORE_SAME, STORE_OTHER } store_presence;
store_presence store_look(const model_row *row);
/* Names of the models in the store, sorted; give them to cli_files_free. */
void store_names(cli_files *f);

/* Writes a model and its record. `row` NULL: a model of one's own. */
uf_status store_put(const char *name, const uf_model *m, const model_row *row,
                    const char *agreement, uf_error *err);
/* A row for a model of the store that no manifest knows. False with the reason. */
bool store_own_row(model_manifest *m, const char *name, const uf_model *model, char why[256]);
/* Makes it the default of its task too; only detectors and embedders have defaults. */
uf_status store_put_default(const uf_model *m, uf_error *err);

/* Model, record and public files. False when something could not be removed; it was said what. */
bool store_remove(const char *name);

/* Whether the cache has this file, whole. */
bool store_cached(const model_row *row, const model_file *f);
/* Imports the public files in the cache (or, of one's own, the model) into the store. */
uf_status store_install(const model_row *row, const char *agreement, bool make_default,
                        uf_error *err);

/* Says what the licence is; false when it wants to be accepted and was not, which was said. */
bool store_licence(const model_row *row, bool accepted);

#endif
