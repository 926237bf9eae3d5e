/*
 * uniface/gallery.h - people and their templates: enrol, identify, verify, delete; usable without
 * models (templates are vectors of floats).
 *
 * A gallery is a file (SQLite, with an index beside it) or a PostgreSQL database
 * ("postgresql://..."). It holds collections, those hold people, those hold templates. What was
 * acknowledged is durable. Templates and crops are encrypted unless UF_GALLERY_PLAIN was asked for
 * when it was made: XChaCha20-Poly1305 under a key of each person, which is sealed by the master
 * key, which is sealed by a passphrase (Argon2id) or a key file; deleting a person destroys the
 * person's key. Ids, metadata and times are not encrypted (docs/formats/gallery.md).
 *
 * uf_gallery is *locked*: any thread may use it at any time. Text is UTF-8; ids and names of
 * collections have 1..256 bytes without control characters. Times are seconds since 1970, UTC.
 * Collections given as NULL mean "default". Since 0.3.
 */
#ifndef UNIFACE_GALLERY_H
#define UNIFACE_GALLERY_H

#include <math.h>

#include "uniface/face.h"
#include "uniface/index.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uf_gallery uf_gallery;

enum {
    UF_GALLERY_CREATE = 1,   /* make it when there is none */
    UF_GALLERY_PLAIN = 2,    /* when it is made: without encryption */
    UF_GALLERY_READ_ONLY = 4 /* searches are still written to the audit log, where it can be */
};

typedef struct uf_gallery_options {
    uint32_t flags;
    /* What opens the master key: a passphrase, or a file of at least 32 bytes. With neither, the
     * environment: UNIFACE_GALLERY_PASSPHRASE, then UNIFACE_GALLERY_KEY_FILE, then the systemd
     * credential "uniface-gallery-key". */
    const char *passphrase, *key_file;
    uf_index_detail detail; /* what is kept in memory for searches; default UF_INDEX_INT8 */
    uint32_t threads;       /* of one search; 0: all cores; default 1 */
    const char *actor;      /* who acts, for the audit log; NULL: the name of the user */
    uint32_t keep_crops;    /* 1: keep aligned crops given at enrolment (encrypted), so that the
                               gallery can change models without the people */
} uf_gallery_options;
#define UF_GALLERY_OPTIONS_INIT                  \
    {                                            \
        0, NULL, NULL, UF_INDEX_INT8, 1, NULL, 0 \
    }

/* Errors begin with the gallery's name: UF_E_NOT_FOUND, UF_E_IO, UF_E_FORMAT (damaged, or of a
 * newer version), UF_E_MISMATCH (wrong passphrase or key), UF_E_ARG (encrypted, and no key given;
 * not encrypted, and `options` give one), UF_E_STATE (in use by another process that locks it).
 * `options` may be NULL. */
UF_API uf_status uf_gallery_open(uf_gallery **out, const char *name,
                                 const uf_gallery_options *options, uf_error *err);
/* Who acts in the calling thread, in the audit log of any gallery, until it is called again: for
 * programs that act for many people. At most 255 bytes of UTF-8 without control characters, copied;
 * NULL: the gallery's own actor again. UF_E_ARG: it is neither, and nothing changes. Since 0.1. */
UF_API uf_status uf_gallery_act_for(const char *actor, uf_error *err);
/* The name for messages: an address without its password. Valid as long as the gallery. */
UF_API const char *uf_gallery_name(const uf_gallery *g);
/* Saves the index beside the gallery, when it changed. NULL is accepted. */
UF_API void uf_gallery_close(uf_gallery *g);

/* ---- enrol ---- */

typedef struct uf_person {
    const char *id;         /* unique in its collection */
    const char *collection; /* NULL: "default" */
    const char *metadata;   /* a JSON object of at most 64 KiB, or NULL */
    const char *consent;    /* reference to the consent given, or NULL */
    const char *purpose;    /* what the templates may be used for, or NULL */
    int64_t expires;        /* from then on the person is not found any more; 0: never */
} uf_person;

typedef struct uf_template {
    const float *vector; /* brought to unit length */
    uint32_t dimension;
    const char *model_id; /* uf_model_id; templates of different models are never compared */
    const char *source;   /* where it came from (a file's name), or NULL */
    float quality;        /* 0..1; < 0: not known */
    const uint8_t *crop;  /* aligned crop [size][size][3] RGB8, kept when keep_crops; or NULL */
    uint32_t crop_size;
} uf_template;

typedef struct uf_enrolment {
    uf_person person;
    const uf_template *templates; /* added to those that the person has */
    size_t count;
    const char *once; /* letters, digits, blanks: UF_E_EXISTS when a source of the person's
                         templates begins so, whichever process wrote it; NULL: always */
} uf_enrolment;

/* Enrols people in one durable transaction: all or none. A person who is there keeps metadata,
 * consent, purpose and expiry where the new ones are NULL or 0. ids (may be NULL) gets the
 * templates' numbers, one after the other. Errors: UF_E_ARG with the number of the enrolment,
 * UF_E_MISMATCH (dimension differs from that of the model's other templates). */
UF_API uf_status uf_gallery_enroll(uf_gallery *g, const uf_enrolment *people, size_t count,
                                   uint64_t *ids, uf_error *err);

/* ---- ask ---- */

typedef struct uf_gallery_filter {
    const char *const *ids; /* only these people, when not NULL */
    size_t id_count;
    const char *metadata; /* "key=value": only people whose metadata has it (text, number or bool
                             at the top level); NULL: all */
} uf_gallery_filter;

typedef struct uf_identify_options {
    const char *collection;
    uint32_t top_k; /* people; default 5 */
    /* Wanted false positive identification rate: share of searches for strangers that may name
     * somebody; default 0.01. The threshold follows from it (uf_gallery_threshold). */
    double fpir;
    float threshold; /* overrides; NAN (default): from fpir */
    const uf_gallery_filter *filter;
    const char *purpose; /* for the audit log; people whose purpose is given and another are not
                            found; NULL: any */
    float min_score; /* people below are left out; default -1: nobody is. A bound near the threshold
                        makes searches for strangers among millions several times as fast */
} uf_identify_options;
#define UF_IDENTIFY_OPTIONS_INIT                     \
    {                                                \
        NULL, 5, 0.01, (float)NAN, NULL, NULL, -1.0f \
    }

typedef struct uf_candidate {
    char id[257];
    float score;
    uint64_t template_id; /* the one that fits best */
    int32_t passes;       /* score >= threshold */
} uf_candidate;

/* How the threshold came about. */
typedef struct uf_gallery_threshold_info {
    float threshold;
    double fpir;              /* asked for */
    uint64_t people;          /* searched */
    uint64_t impostor_scores; /* measured on the gallery itself: best scores of searches for people
                                 who were left out; 0: the threshold was given */
    int32_t extrapolated;     /* fewer than 30 of the scores lie above it (rule of 30): the tail was
                                 fitted (generalised Pareto, Pickands 1975) */
} uf_gallery_threshold_info;

/* Searches a collection: people by their best template, best first; *count of `out[top_k]` are
 * filled. Nobody passes: unknown. Errors: UF_E_NOT_FOUND (no such collection), UF_E_MISMATCH
 * (collection has templates, none of this model: says of which), UF_E_UNCALIBRATED (fewer than 30
 * people: no threshold can be measured; give one). */
UF_API uf_status uf_gallery_identify(uf_gallery *g, const float *vector, uint32_t dimension,
                                     const char *model_id, const uf_identify_options *options,
                                     uf_candidate *out, size_t *count,
                                     uf_gallery_threshold_info *threshold, uf_error *err);
/* The threshold for searches with options->fpir among as many people as there are. */
UF_API uf_status uf_gallery_threshold(uf_gallery *g, const char *model_id,
                                      const uf_identify_options *options,
                                      uf_gallery_threshold_info *out, uf_error *err);
/* 1:1: the best similarity with the person's templates of this model. `purpose` (may be NULL: any)
 * goes to the audit log, and a person who was enrolled for another is not found. Errors:
 * UF_E_NOT_FOUND, UF_E_MISMATCH (no template of this model). */
UF_API uf_status uf_gallery_verify(uf_gallery *g, const char *collection, const char *id,
                                   const float *vector, uint32_t dimension, const char *model_id,
                                   const char *purpose, float *score, uf_error *err);

/* ---- people ---- */

typedef struct uf_person_info {
    const char *id, *collection, *metadata, *consent, *purpose; /* NULL: not given */
    int64_t expires, created, updated;
    uint64_t templates;
} uf_person_info;
/* Return nonzero to stop (UF_E_CANCELLED). Pointers are valid during the call. These functions may
 * not be given a callback that calls the gallery. */
typedef int uf_person_fn(void *user, const uf_person_info *person);
/* People in the order of collection and id; collection NULL: of all. */
UF_API uf_status uf_gallery_list(uf_gallery *g, const char *collection,
                                 const uf_gallery_filter *filter, uf_person_fn *fn, void *user,
                                 uf_error *err);

typedef struct uf_template_info {
    const char *id, *collection, *model_id, *source;
    uint64_t template_id;
    float quality;
    int64_t created;
    uint32_t dimension;
    const float *vector;
    const uint8_t *crop; /* NULL: not kept */
    uint32_t crop_size;
} uf_template_info;
typedef int uf_template_fn(void *user, const uf_template_info *t);
/* Templates, decrypted, person after person as above; model_id NULL: of all models. */
UF_API uf_status uf_gallery_templates(uf_gallery *g, const char *collection, const char *id,
                                      const char *model_id, uf_template_fn *fn, void *user,
                                      uf_error *err);

/* One of them, by its number; UF_E_NOT_FOUND: the collection has none of this number, or that
 * person's time has come. */
UF_API uf_status uf_gallery_template(uf_gallery *g, const char *collection, uint64_t template_id,
                                     uf_template_fn *fn, void *user, uf_error *err);

typedef struct uf_receipt {
    char id[257];
    uint64_t templates, crops;
    int64_t time;
    uint64_t audit_entry;
    char audit_digest[65]; /* of that entry: proof against the log */
} uf_receipt;
/* Deletes a person: key, templates, crops, index entries, snapshot entries; nothing is left in
 * files, log or free pages. Errors: UF_E_NOT_FOUND; UF_E_STATE or UF_E_IO with "done, but traces
 * are left": the person is gone and the receipt is filled, the next opening removes the traces. */
UF_API uf_status uf_gallery_delete(uf_gallery *g, const char *collection, const char *id,
                                   uf_receipt *receipt, uf_error *err);
/* Deletes one template and its crop just as thoroughly; the person stays, even without templates,
 * and gets a new key. `id` NULL: whosever it is; receipt->id says. */
UF_API uf_status uf_gallery_delete_template(uf_gallery *g, const char *collection, const char *id,
                                            uint64_t template_id, uf_receipt *receipt,
                                            uf_error *err);
/* Gives a person another id; templates keep their numbers. UF_E_STATE: somebody has it already;
 * with `merge` that person gets the templates, under new numbers, and the other is deleted. */
UF_API uf_status uf_gallery_rename(uf_gallery *g, const char *collection, const char *id,
                                   const char *new_id, int32_t merge, uf_error *err);
/* Deletes all whose time has come; *count (may be NULL) people. */
UF_API uf_status uf_gallery_expire(uf_gallery *g, uint64_t *count, uf_error *err);

/* ---- upkeep ---- */

typedef struct uf_gallery_stats {
    uint64_t people, templates, collections, models, crops;
    uint64_t audit_entries;
    uint64_t database_bytes, index_file_bytes, memory_bytes;
    int32_t encrypted;
    int64_t key_id;            /* of the master key in use; 0: not encrypted */
    uint64_t people_to_rotate; /* still under an older master key */
    char backend[16];          /* "sqlite", "postgresql" */
    char warning[256];         /* what the operator of the database should change; "": nothing */
    char model_id[65];         /* searched by default: that of the newest templates, or after
                                  uf_gallery_set_model; "" when empty */
} uf_gallery_stats;
UF_API uf_status uf_gallery_describe(uf_gallery *g, uf_gallery_stats *out, uf_error *err);

/* Checks all: the database's structure, that every record opens with its key and belongs where it
 * is, that the index has the same templates. UF_E_FORMAT names the first that is wrong. */
UF_API uf_status uf_gallery_check(uf_gallery *g, uf_progress_fn *progress, void *user,
                                  uf_error *err);
/* Checks the chain of the audit log; *entries (may be NULL) were right. */
UF_API uf_status uf_gallery_audit_check(uf_gallery *g, uint64_t *entries, uf_error *err);
typedef struct uf_audit_entry {
    uint64_t number;
    int64_t time;
    const char *actor, *action, *subject, *detail; /* subject: keyed digest of collection and id */
    const char *digest;
} uf_audit_entry;
typedef int uf_audit_fn(void *user, const uf_audit_entry *entry);
UF_API uf_status uf_gallery_audit(uf_gallery *g, uint64_t first, uf_audit_fn *fn, void *user,
                                  uf_error *err);
/* Gives space back: expired people, database, index. */
UF_API uf_status uf_gallery_compact(uf_gallery *g, uf_error *err);
/* Makes all indexes anew from the records. */
UF_API uf_status uf_gallery_reindex(uf_gallery *g, uf_progress_fn *progress, void *user,
                                    uf_error *err);
/* A new master key: people's keys are sealed again, some thousands a transaction, while the gallery
 * is in use; can be interrupted and called again. */
UF_API uf_status uf_gallery_rotate_key(uf_gallery *g, uf_progress_fn *progress, void *user,
                                       uf_error *err);
/* Another passphrase or key file for the same master key; exactly one of them is not NULL. Other
 * processes that have the gallery open must open it again (UF_E_STATE says so). */
UF_API uf_status uf_gallery_set_passphrase(uf_gallery *g, const char *passphrase,
                                           const char *key_file, uf_error *err);

/* ---- change of model ---- */

/* Makes templates of another model from kept crops: `embed` turns a crop into a vector. Old and new
 * templates stay side by side; searches take the model that the probe names, and by default the old
 * one until uf_gallery_set_model. *made and *missing
 * (people without crops; told to `without`, which may be NULL) may be NULL. Can be interrupted and
 * called again. */
typedef uf_status uf_embed_fn(void *user, const uint8_t *crop, uint32_t crop_size, float *vector,
                              uf_error *err);
UF_API uf_status uf_gallery_migrate(uf_gallery *g, const char *model_id, uint32_t dimension,
                                    uf_embed_fn *embed, void *embed_user, uf_person_fn *without,
                                    void *without_user, uint64_t *made, uint64_t *missing,
                                    uf_error *err);
/* The model that searches take by default (cut-over, and back). */
UF_API uf_status uf_gallery_set_model(uf_gallery *g, const char *model_id, uf_error *err);
/* Ends the old: deletes all templates of a model that is not the default. UF_E_STATE for the
 * default, and for a newer one that never was: it waits for uf_gallery_set_model. */
UF_API uf_status uf_gallery_drop_model(uf_gallery *g, const char *model_id, uint64_t *templates,
                                       uf_error *err);
/* Copies all collections, people, templates and crops into another gallery (SQLite to PostgreSQL
 * and back), and which model is the default, which were, and which is to follow; people who are
 * there are an error unless they are the same. */
UF_API uf_status uf_gallery_copy(uf_gallery *from, uf_gallery *to, uf_progress_fn *progress,
                                 void *user, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
