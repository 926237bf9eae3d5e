/*
 * The command line: a table of commands, each with a table of options, from which parsing, --help,
 * completion and manual pages are made. Uses the public headers only. Floor 8.
 */
#ifndef UF_CLI_H
#define UF_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "uniface/uniface.h"

/* Exit statuses, documented in every --help. */
enum { EXIT_DIFFERENT = 1, EXIT_USAGE = 2, EXIT_INPUT = 3, EXIT_INTERNAL = 4 };

enum { CLI_MAX_OPTIONS = 48 };

typedef struct cli_option {
    const char *name;
    char letter;         /* 0: none */
    const char *metavar; /* NULL: a flag; N and PIXELS stand for whole numbers */
    const char *help;
} cli_option;

typedef struct cli_args cli_args;

typedef struct cli_command {
    const char *name, *summary;     /* "gallery stats": a command of the command "gallery" */
    const char *operands;           /* "IMG..." */
    int min_operands, max_operands; /* max -1: any number */
    cli_option options[CLI_MAX_OPTIONS];
    const char *details;  /* a paragraph, or NULL */
    const char *examples; /* lines */
    int (*run)(const cli_args *a);
} cli_command;

struct cli_args {
    const cli_command *command;
    const char
        *values[CLI_MAX_OPTIONS]; /* of options; "" for a flag that was given; NULL: absent */
    char **operands;
    int count;
    bool json;
    char **argv; /* as the program was given it, ends with NULL */
};

extern const cli_command cli_import, cli_inspect, cli_run, cli_bench, cli_devices, cli_detect,
    cli_embed, cli_verify, cli_calibrate, cli_quantize, cli_optimize, cli_compare, cli_evaluate,
    cli_prune, cli_profile, cli_completion, cli_man, cli_enroll, cli_identify, cli_delete, cli_list,
    cli_export, cli_cluster, cli_bench_gallery, cli_bench_search, cli_gallery, cli_gallery_verify,
    cli_gallery_stats, cli_gallery_compact, cli_gallery_reindex, cli_gallery_expire,
    cli_gallery_audit, cli_gallery_rotate_key, cli_gallery_passphrase, cli_gallery_migrate,
    cli_gallery_copy, cli_gallery_export, cli_gallery_import, cli_health, cli_serve, cli_serve_keys,
    cli_top, cli_distill, cli_train, cli_finetune, cli_retrain, cli_models, cli_models_list,
    cli_models_pull, cli_models_add, cli_models_verify, cli_models_remove, cli_models_pack,
    cli_models_unpack, cli_sign, cli_sign_keygen, cli_sign_verify, cli_meta;
extern const cli_command *const cli_commands[]; /* ends with NULL */

/* ---- options ---- */

/* Fills `a`; prints help or the error itself. Returns -1 to go on, else the exit status. */
int cli_parse(cli_args *a, const cli_command *c, int argc, char **argv);
void cli_help(FILE *f, const cli_command *c);
/* The rest of c's name when it is a command of `group`, else NULL. */
const char *cli_name_within(const cli_command *c, const char *group);
/* What a command runs that is nothing without a second word. */
int cli_no_command(const cli_args *a);
const char *cli_value(const cli_args *a, const char *option); /* NULL when absent */
bool cli_flag(const cli_args *a, const char *option);
/* A number in min..max, a whole one where the option's metavar is N or PIXELS; false after having
 * printed what is wrong. `fallback` when absent. */
bool cli_number(const cli_args *a, const char *option, double min, double max, double fallback,
                double *out);

/* ---- what commands share ---- */

/* Prints "uniface: message" and returns the exit status that goes with the error. */
int cli_fail(const uf_error *err);
int cli_complain(int status, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *cli_last_complaint(void); /* of the two; "" before the first */
/* `p`, or the end of the program when it is NULL. */
void *cli_need(void *p);
double cli_now_ms(void);
long cli_file_size(const char *path); /* -1 when it cannot be read */
/* Opens a model; where $UNIFACE_TRUSTED_KEYS is set, only one that is signed by these keys and no
 * older than before. */
uf_status cli_model_open(uf_model **m, const char *path, uf_error *err);
/* Saves a model that was made from `from` (may be the same, or NULL); says on stderr when that was
 * signed and this is not. */
uf_status cli_model_save(const uf_model *m, const uf_model *from, const char *path, uf_error *err);
/* The model named by `option`, or the default of the model store ("detector", "embedder"). */
uf_status cli_open_model(uf_model **m, const cli_args *a, const char *option, uf_error *err);
/* The model of a file, or of a name of the model store. */
uf_status cli_open_model_at(uf_model **m, const char *name, uf_error *err);
/* The same, which must be for this task. */
uf_status cli_open_model_for(uf_model **m, const char *name, const char *task, uf_error *err);
/* Path of the model `name` in the model store; the default of a task has the task's name. */
void cli_store_path(char *out, size_t size, const char *name);
bool cli_make_folders(const char *path); /* of the file `path` */
/* Whether the file `path` (NULL: none) can be written: asked before work that takes long. Returns
 * the exit status, having said why not. Where it is written in place devices, FIFOs and links to
 * anything will do; else a file, behind links too, is replaced by a new one. */
int cli_check_output(const char *path, bool in_place);

/* A list of files: operands, folders replaced by the pictures in them, sorted. */
typedef struct cli_files {
    char **paths;
    size_t count;
} cli_files;
bool cli_files_collect(cli_files *f, char **operands, int count);
/* The same of the operands, each of which must have one. Returns the exit status. */
int cli_files_need(cli_files *f, const cli_args *a);
void cli_files_free(cli_files *f);

/* A bar on stderr when that is a terminal. */
void cli_progress(const char *what, size_t done, size_t total);

/* ---- JSON, written ---- */

enum { CLI_JSON_DEPTH = 32 }; /* far more than any document of ours has */

typedef struct cli_json {
    FILE *f;
    int depth;
    bool wrote[CLI_JSON_DEPTH]; /* something at this depth */
    bool one_line;
} cli_json;

void json_open(cli_json *j, const char *key, char bracket);      /* '{' or '['; key NULL in lists */
void json_close(cli_json *j, char bracket);                      /* '}' or ']' */
void json_text(cli_json *j, const char *key, const char *value); /* NULL writes null */
void json_number(cli_json *j, const char *key, double value);    /* not finite: null */
int cli_utf8_length(const unsigned char *s); /* of the sequence at s; 0: it is none */
/* The server links a library that exports the short name too. */
#define json_integer cli_json_integer
void json_integer(cli_json *j, const char *key, long long value);
void json_bool(cli_json *j, const char *key, bool value);
void json_raw(cli_json *j, const char *key, const char *json); /* NULL writes null */
void json_end(cli_json *j);                                    /* newline */
/* What standard output still needs after a failure: the brackets that are open, or, where nothing
 * was written, an object with `error` and `status`. */
void json_fail(int status, const char *why);

/* ---- JSON, read ---- */

typedef enum json_type {
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
} json_type;

typedef struct json_value json_value;
struct json_value {
    json_type type;
    char *key;  /* within an object */
    char *text; /* of a string, UTF-8; escapes are resolved, \u0000 is refused */
    double number;
    const char *begin, *end;  /* where it stands in the source */
    json_value *first, *next; /* of an array or object; the following in it */
};

/* Reads one document (RFC 8259, depth at most 32, no key twice). NULL with the place and the reason
 * in `why`. `source` must outlive it. */
json_value *json_read(const char *source, char why[96]);
void json_free(json_value *v);
const json_value *json_member(const json_value *object, const char *key); /* NULL: absent */
/* The text of a string member; NULL when it is absent or null. False when it is something else. */
bool json_member_text(const json_value *object, const char *key, const char **out);
bool json_member_number(const json_value *object, const char *key, double fallback, double *out);

/* ---- NumPy files ---- */

/* Writes an array (version 1.0, little-endian, C order). */
bool npy_write(const char *path, const uf_tensor_info *info, const void *data);
/* The header alone, of `length` bytes (at most 256; 0: as many as it takes): the rows follow. */
bool npy_write_header(FILE *f, const uf_tensor_info *info, size_t length);
/* Reads one; *data by malloc. Prints what is wrong. */
bool npy_read(const char *path, uf_tensor_info *info, void **data);
size_t npy_bytes(const uf_tensor_info *info);

/* ---- drawing ---- */

void draw_face(uf_picture *p, const uf_face *f, const char *label);

/* The face of a crop that was aligned to ArcFace's template: its points are known. */
uf_face cli_face_of_crop(const uf_image *view);

#endif
