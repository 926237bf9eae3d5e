/* What is known of public models: rows of tab-separated text (models.tsv, which is a part of the
 * program; the manifest of a pack; the record beside a stored model). Reentrant. */
#ifndef UF_CLI_MODELS_MANIFEST_H
#define UF_CLI_MODELS_MANIFEST_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { MODEL_FILES = 2, MODEL_NAME_MAX = 64, MANIFEST_BYTES_MAX = 1 << 20 };
/* No file of a manifest is larger. */
#define MODEL_BYTES_MAX ((uint64_t)4 << 30)

typedef struct model_file {
    const char *url; /* "-": of no address, a model of one's own */
    uint64_t size;
    const char *sha256;            /* 64 lower-case hexadecimal digits */
    char name[MODEL_NAME_MAX + 8]; /* the last part of the address, or NAME.ufm */
} model_file;

/* Texts are never NULL; "-" stands for what is not known. */
typedef struct model_row {
    const char *name, *task, *preset, *licence;
    const char *commercial; /* whether the licence allows commercial use: yes, no, unknown */
    const char *url, *size, *sha256; /* of each file, with a space between */
    const char *accuracy, *accuracy_source, *notes;
    model_file files[MODEL_FILES]; /* an OpenVINO graph and its weights; else one */
    int file_count;
    uint64_t bytes; /* of all files */
} model_row;

typedef struct model_manifest {
    char *text; /* the rows point into it */
    model_row *rows;
    size_t count;
} model_manifest;

/* models.tsv */
extern const char models_tsv[];

/* The columns, without the end of the line. */
extern const char model_columns[];

/* A name that may stand in a path: letters, digits, ".", "_", "-", no dot at the front, not with
 * the ending of a file of a model. */
bool model_name_ok(const char *name);

/* Checks all that a row says. False with the line and the reason in `why`; m is then empty. */
bool manifest_read(model_manifest *m, const char *text, char why[256]);
void manifest_free(model_manifest *m);
const model_row *manifest_find(const model_manifest *m, const char *name); /* NULL: none */
/* One line, without its end. */
void manifest_write(FILE *f, const model_row *r);
/* The same files: what one pull brings the other would. */
bool manifest_same_files(const model_row *a, const model_row *b);

#endif
