/*
 * Inside of a gallery: what its files share. Floor 6.
 *
 * Locks, in the order in which they may be taken together:
 *   g->lock          all below that says nothing else, and the connection g->sql
 *   (an index's own) searches hold it while they fetch exact vectors
 *   g->reader_lock   the connection g->reader, on which searches fetch
 *   g->ring_lock     keys
 * Searches run without g->lock; a change of an index, under g->lock, waits for them.
 * Functions here expect g->lock to be held, but for those that say otherwise.
 */
#ifndef UFI_GALLERY_IMPL_H
#define UFI_GALLERY_IMPL_H

#include <stdbool.h>

#include "base/hash.h"
#include "base/seal.h"
#include "base/threads.h"
#include "gallery/sql.h"
#include "uniface/gallery.h"

enum {
    UFI_SCHEMA_VERSION = 1,
    UFI_NAME_MAX = 256,          /* bytes of an id, of a collection's name */
    UFI_MODEL_ID_MAX = 64,       /* of uf_model_id */
    UFI_NOTE_MAX = 1024,         /* consent, purpose, source, actor */
    UFI_METADATA_MAX = 64 << 10, /* a JSON object */
    UFI_CROP_SIZE_MAX = 1024,
    UFI_STORE_BYTES = 16,
    UFI_MASTERS_MAX = 16,
    UFI_SEARCHERS_KEPT = 16,
    UFI_BOUND_BYTES = UFI_SHA256_BYTES,
    UFI_SEALED_KEY_MAX = UFI_SECRET_BYTES + UFI_SEAL_EXTRA
};

/* Keys, in locked memory. */
typedef struct ufi_key_ring {
    uint8_t outer[UFI_SECRET_BYTES]; /* from passphrase or file: seals the master keys */
    uint8_t audit[UFI_SECRET_BYTES]; /* hides who it is about */
    int64_t numbers[UFI_MASTERS_MAX];
    uint8_t masters[UFI_MASTERS_MAX][UFI_SECRET_BYTES];
    size_t count;
    ufi_random_pool random; /* of the transaction that writes */
} ufi_key_ring;

/* The index of one model's templates in one collection. */
typedef struct ufi_live_index {
    struct ufi_live_index *next;
    uf_gallery *gallery;
    int64_t collection, model;
    uint32_t dimension;
    uf_index *x; /* NULL: the database searches, and knows the model by its id */
    char model_id[UFI_MODEL_ID_MAX + 1];
    uint32_t users;   /* searches that run */
    bool retired;     /* out of the list; the last user destroys it */
    uint64_t unsaved; /* changes since the snapshot; UINT64_MAX: there is none */
    uf_searcher *searchers[UFI_SEARCHERS_KEPT]; /* idle ones */
    size_t searcher_count;
    float *scores; /* of impostors, ascending (threshold.c) */
    size_t score_count;
    int64_t scored_people; /* how many there were */
} ufi_live_index;

struct uf_gallery {
    char *name, *actor, *folder; /* folder of snapshots; NULL: none are kept */
    uf_index_detail detail;
    uint32_t threads;
    bool keep_crops, read_only, encrypted;
    bool unwritable; /* the medium: nothing is logged */
    uint8_t store[UFI_STORE_BYTES];
    ufi_mutex *lock, *reader_lock, *ring_lock;
    ufi_sql *sql, *reader;
    ufi_key_ring *ring;
    int64_t version; /* of the database, when keys were looked at last */
    unsigned depth;  /* of transactions on `sql`: only the outermost begins and ends */
    ufi_live_index *indexes;
    uint64_t unlogged; /* searches that could not be written to the audit log */
};

/* A person's row, with text that is borrowed from it. */
typedef struct ufi_person_row {
    int64_t number, collection;
    const char *collection_name, *id, *metadata, *consent, *purpose;
    int64_t expires, created, updated, master;
    const uint8_t *sealed;
    size_t sealed_size;
} ufi_person_row;

typedef struct ufi_template_row {
    int64_t number, model, created;
    const char *model_id, *source;
    uint32_t dimension;
    float quality; /* < 0: not known */
    const uint8_t *sealed;
    size_t sealed_size;
} ufi_template_row;

#define UFI_PERSON_COLUMNS                                                                \
    "p.number, p.collection, c.name, p.id, p.metadata, p.consent, p.purpose, p.expires, " \
    "p.created, p.updated, p.master, p.sealed"
#define UFI_PERSON_TABLES "person p JOIN collection c ON c.number = p.collection"
#define UFI_TEMPLATE_COLUMNS                                                             \
    UFI_PERSON_COLUMNS ", t.number, t.model, m.name, m.dimension, t.source, t.quality, " \
                       "t.created, t.sealed"
#define UFI_TEMPLATE_TABLES                                                               \
    "template t JOIN model m ON m.number = t.model JOIN person p ON p.number = t.person " \
    "JOIN collection c ON c.number = p.collection"
enum { UFI_PERSON_COLUMN_COUNT = 12, UFI_TEMPLATE_COLUMN_COUNT = 20 };

typedef struct ufi_numbers {
    uint64_t *list;
    size_t count, room;
} ufi_numbers;

/* ---- text.c ---- */

/* 1..max bytes of UTF-8 without control characters. UF_E_ARG names `what`. */
uf_status ufi_text_check(const char *text, size_t max, const char *what, uf_error *err);
int64_t ufi_now(void);
static inline const char *ufi_collection_or_default(const char *name)
{
    return name ? name : "default";
}

/* ---- schema.c ---- */

/* The version of the tables; 0: there are none. UF_E_FORMAT: one that is too new. */
uf_status ufi_schema_version(ufi_sql *sql, int64_t *version, uf_error *err);
/* Makes the tables, or brings them from that version to this one's. In a transaction. */
uf_status ufi_schema_forward(ufi_sql *sql, int64_t version, uf_error *err);
/* A note of the gallery about itself: a number and bytes. UF_E_NOT_FOUND; size is exact. */
uf_status ufi_setting_get(ufi_sql *sql, const char *name, int64_t *number, void *bytes, size_t size,
                          uf_error *err);
uf_status ufi_setting_put(ufi_sql *sql, const char *name, int64_t number, const void *bytes,
                          size_t size, uf_error *err);
/* Reserves `count` numbers, which never come back: the first of them. In a transaction. */
uf_status ufi_numbers_take(ufi_sql *sql, const char *name, int64_t count, int64_t *first,
                           uf_error *err);
uf_status ufi_database_bytes(ufi_sql *sql, uint64_t *out, uf_error *err);

/* ---- record.c: what is sealed, and to what it is bound ---- */

/* In a gallery without encryption, "sealed" is the data and a digest of it and what it is bound
 * to, so that damage and confusion are noticed all the same. */
size_t ufi_record_size(const uf_gallery *g, size_t plain_size);
/* Takes the ring's lock only. */
uf_status ufi_gallery_random(const uf_gallery *g, void *out, size_t size, uf_error *err);
uf_status ufi_record_seal(const uf_gallery *g, const uint8_t key[UFI_SECRET_BYTES],
                          const uint8_t bound[UFI_BOUND_BYTES], const void *plain, size_t size,
                          uint8_t *out, uf_error *err);
uf_status ufi_record_open(const uf_gallery *g, const uint8_t key[UFI_SECRET_BYTES],
                          const uint8_t bound[UFI_BOUND_BYTES], const uint8_t *sealed,
                          size_t sealed_size, void *plain, size_t size, uf_error *err);

/* From columns in the order of UFI_PERSON_COLUMNS, UFI_TEMPLATE_COLUMNS. */
uf_status ufi_person_read(const ufi_value *columns, size_t count, ufi_person_row *p, uf_error *err);
uf_status ufi_template_read(const ufi_value *columns, size_t count, ufi_person_row *p,
                            ufi_template_row *t, uf_error *err);
/* The person's key. UF_E_FORMAT: the record was changed or belongs elsewhere. */
uf_status ufi_person_open(uf_gallery *g, const ufi_person_row *p, uint8_t key[UFI_SECRET_BYTES],
                          uf_error *err);
/* Seals the key for the row as it is (p->master too): into out[UFI_SEALED_KEY_MAX]. */
uf_status ufi_person_seal(uf_gallery *g, const ufi_person_row *p,
                          const uint8_t key[UFI_SECRET_BYTES], uint8_t *out, size_t *out_size,
                          uf_error *err);
void ufi_template_bound(const uf_gallery *g, const ufi_person_row *p, const ufi_template_row *t,
                        uint8_t bound[UFI_BOUND_BYTES]);
/* The vector [dimension]. */
uf_status ufi_template_open(uf_gallery *g, const ufi_person_row *p, const ufi_template_row *t,
                            float *vector, uf_error *err);
void ufi_crop_bound(const uf_gallery *g, const ufi_person_row *p, int64_t template_number,
                    uint32_t crop_size, uint8_t bound[UFI_BOUND_BYTES]);

/* The crop of columns `size` and `sealed` into locked memory *crop of *room bytes, which grows. */
uf_status ufi_crop_open(uf_gallery *g, const ufi_person_row *p, int64_t template_number,
                        const ufi_value *size, const ufi_value *sealed, uint8_t **crop,
                        size_t *room, uf_error *err);

/* ---- audit.c ---- */

typedef struct ufi_audit_tail {
    int64_t number;
    uint8_t digest[UFI_SHA256_BYTES];
} ufi_audit_tail;

/* The last entry; in a transaction, before entries are added to it. */
uf_status ufi_audit_last(uf_gallery *g, ufi_audit_tail *tail, uf_error *err);
/* The keyed digest that stands for a person: 64 digits. */
void ufi_audit_subject(uf_gallery *g, const char *collection, const char *id, char out[65]);
/* In a transaction. `subject` may be "". */
uf_status ufi_audit_add(uf_gallery *g, ufi_audit_tail *tail, const char *action,
                        const char *subject, const char *detail, uf_error *err);
/* ufi_audit_last and ufi_audit_add. */
uf_status ufi_audit_in(uf_gallery *g, const char *action, const char *subject, const char *detail,
                       uf_error *err);
/* A transaction of its own for one entry. */
uf_status ufi_audit_note(uf_gallery *g, const char *action, const char *subject, const char *detail,
                         uf_error *err);
/* A search: when the log cannot be written, that is counted, and the search is answered. */
void ufi_audit_search(uf_gallery *g, const char *action, const char *subject, const char *detail);

/* ---- names.c: collections, models, how many there are ---- */

/* UF_E_NOT_FOUND says which. */
uf_status ufi_collection_find(uf_gallery *g, const char *name, int64_t *number, uf_error *err);
uf_status ufi_model_find(uf_gallery *g, const char *model_id, int64_t *number, uint32_t *dimension,
                         uf_error *err);
/* In a transaction; what is not there is made. UF_E_MISMATCH: another dimension. */
uf_status ufi_collection_take(uf_gallery *g, const char *name, int64_t *number, uf_error *err);
uf_status ufi_model_take(uf_gallery *g, const char *model_id, uint32_t dimension, int64_t *number,
                         uf_error *err);
typedef struct ufi_census {
    int64_t people, templates;
} ufi_census;
/* Templates of a model in a collection, and people who have them; zeros when there are none. */
uf_status ufi_census_get(uf_gallery *g, int64_t collection, int64_t model, ufi_census *out,
                         uf_error *err);
uf_status ufi_census_add(uf_gallery *g, int64_t collection, int64_t model, int64_t people,
                         int64_t templates, uf_error *err);
/* UF_E_MISMATCH: "has templates of model X, none of Y"; UF_OK when it has some, or none at all. */
uf_status ufi_census_expect(uf_gallery *g, int64_t collection, const char *collection_name,
                            const char *model_id, uint32_t dimension, int64_t *model,
                            ufi_census *out, uf_error *err);

/* ---- enroll.c ---- */

/* uf_gallery_enroll in a transaction that is open; `times` (may be NULL): created and updated of
 * each person, then created of each template. */
uf_status ufi_enroll(uf_gallery *g, const uf_enrolment *people, size_t count, const int64_t *times,
                     bool keep_crops, uint64_t *ids, uf_error *err);

/* ---- people.c ---- */

/* UF_E_NOT_FOUND names collection or id. `number` may be NULL. */
uf_status ufi_person_find(uf_gallery *g, const char *collection, const char *id, int64_t *number,
                          uf_error *err);

/* ---- erase.c ---- */

enum { UFI_CHANGE_ADDED = 1, UFI_CHANGE_REMOVED = 2 };
/* Templates that are gone. */
typedef struct ufi_erased {
    ufi_numbers collections, models, templates; /* of equal count */
} ufi_erased;
uf_status ufi_erased_add(ufi_erased *e, int64_t collection, int64_t model, int64_t number,
                         uf_error *err);
void ufi_erased_free(ufi_erased *e);
/* Tells of those from `from` on, of one person: whose others of these models are gone as well when
 * `person`. In a transaction. */
uf_status ufi_erased_tell(uf_gallery *g, const ufi_erased *e, size_t from, bool person,
                          uf_error *err);
/* Rows, changes and the entry `action` of the audit log, after `tail`. In a transaction. */
uf_status ufi_erase_person(uf_gallery *g, const char *collection, const char *id,
                           const char *action, ufi_erased *erased, uf_receipt *receipt,
                           ufi_audit_tail *tail, uf_error *err);
/* In the transaction that removes: a note that traces are left, whose number ends it. */
uf_status ufi_erase_begin(uf_gallery *g, int64_t *number, uf_error *err);
/* After its commit: removes traces from indexes, snapshots (templates of `erased`, may be NULL),
 * log and free pages. UF_E_STATE: readers are in the way, the note stays. */
uf_status ufi_erase_traces(uf_gallery *g, int64_t number, const ufi_erased *erased, uf_error *err);
/* Deletes people whose time has come, in transactions of its own. */
uf_status ufi_expire(uf_gallery *g, uint64_t *people, uf_error *err);
/* Ends what a process that died, or a reader in the way, left undone. */
uf_status ufi_erase_pending(uf_gallery *g, uf_error *err);

/* ---- live.c: indexes in memory ---- */

/* Finds or loads the index and brings it up to date. The caller releases it. */
uf_status ufi_live_acquire(uf_gallery *g, int64_t collection, int64_t model, uint32_t dimension,
                           ufi_live_index **out, uf_error *err);
void ufi_live_release(ufi_live_index *l);
uf_status ufi_live_searcher(ufi_live_index *l, uf_searcher **out, uf_error *err);
void ufi_live_searcher_back(ufi_live_index *l, uf_searcher *s);
/* All that are loaded. */
uf_status ufi_live_catch_up(uf_gallery *g, uf_error *err);
/* Makes one anew from the records and puts it in the place of the loaded one. */
uf_status ufi_live_rebuild(uf_gallery *g, int64_t collection, int64_t model, uint32_t dimension,
                           uf_error *err);
void ufi_live_retire_all(uf_gallery *g);
/* Templates to be found. */
uf_status ufi_live_count(ufi_live_index *l, uint64_t *count, uf_error *err);
/* uf_searcher_run, or the database's own search; without g->lock. */
uf_status ufi_live_run(ufi_live_index *l, uf_searcher *s, const float *probes, size_t count,
                       const uf_search_options *o, uf_hit *hits, uint32_t *counts, uf_error *err);
/* Exact vectors by number; on the reader's connection, without g->lock. */
uf_status ufi_live_fetch(void *gallery_index, const uint64_t *keys, size_t count, float *vectors,
                         uf_error *err);

/* ---- nearby.c: searches by the database (ufi_sql_vectors) ---- */

/* UF_E_ARG for an encrypted gallery whose database shall search. */
uf_status ufi_nearby_allowed(const uf_gallery *g, uf_error *err);
/* As uf_searcher_run; on the reader's connection, without g->lock. */
uf_status ufi_nearby_run(ufi_live_index *l, const float *probes, size_t count,
                         const uf_search_options *o, uf_hit *hits, uint32_t *counts, uf_error *err);
/* A template that was enrolled, in its transaction; nothing where the database does not search. */
uf_status ufi_nearby_add(uf_gallery *g, const char *model_id, uint32_t dimension,
                         int64_t collection, int64_t number, int64_t person, const float *vector,
                         uf_error *err);
/* Vectors of the database anew from the records. */
uf_status ufi_nearby_rebuild(ufi_live_index *l, uf_error *err);

/* ---- snapshot.c ---- */

/* UF_E_NOT_FOUND: none that fits; for any reason, since they can be made again. */
uf_status ufi_snapshot_load(ufi_live_index *l, uf_error *err);
/* When enough has changed. */
void ufi_snapshot_save(ufi_live_index *l);
uf_status ufi_snapshot_write(ufi_live_index *l, uf_error *err);
/* Overwrites templates in one; when that fails, it is dropped with its key. */
uf_status ufi_snapshot_erase(uf_gallery *g, int64_t collection, int64_t model,
                             const uint64_t *templates, size_t count, uf_error *err);
uf_status ufi_snapshot_drop(uf_gallery *g, int64_t collection, int64_t model, uf_error *err);
uf_status ufi_snapshot_drop_all(uf_gallery *g, uf_error *err);
uint64_t ufi_snapshot_bytes(uf_gallery *g);

/* ---- filter.c ---- */

uf_status ufi_numbers_push(ufi_numbers *n, uint64_t number, uf_error *err);
uf_status ufi_filter_check(const uf_gallery_filter *filter, uf_error *err);
bool ufi_filter_takes(const uf_gallery_filter *filter, const ufi_person_row *p);
/* Numbers of people that a search may name, ascending: not expired, of the purpose, in the filter
 * (may be NULL). The caller frees the list. */
uf_status ufi_filter_people(uf_gallery *g, int64_t collection, const uf_gallery_filter *filter,
                            const char *purpose, ufi_numbers *out, uf_error *err);
/* May a search for this purpose name the person now? */
bool ufi_person_answers(const ufi_person_row *p, const char *purpose, int64_t now);

/* ---- identify.c ---- */

uf_status ufi_identify_check(const char *model_id, const uf_identify_options *options,
                             uf_error *err);
/* A vector of the caller's, brought to unit length. UF_E_ARG: it has no direction. */
uf_status ufi_unit_vector(const float *vector, uint32_t dimension, float *out, uf_error *err);

/* ---- threshold.c ---- */

/* Without g->lock; checks collection and model. Errors bear the gallery's name. */
uf_status ufi_threshold_measure(uf_gallery *g, const char *model_id,
                                const uf_identify_options *options, uf_gallery_threshold_info *out,
                                uf_error *err);
/* The score above which a share `rate` of scores like these lies; *extrapolated as in
 * uf_gallery_threshold_info. `scores` are sorted. At least 2. */
float ufi_threshold_of(const float *scores, size_t count, double rate, bool *extrapolated);

/* ---- upkeep.c ---- */

/* Fills model_id: the model that searches take by default; "" when there are no templates. */
uf_status ufi_default_model(uf_gallery *g, uf_gallery_stats *s, uf_error *err);

/* ---- migrate.c ---- */

/* The newest model that searches took by default, ever; 0 when none was set. */
uf_status ufi_model_newest_used(uf_gallery *g, int64_t *model, uf_error *err);
/* The model that is to follow the one in use; 0: none. */
uf_status ufi_model_incoming(uf_gallery *g, int64_t *model, uf_error *err);

/* ---- load.c: people as callers give them ---- */

typedef struct ufi_loaded {
    uf_enrolment e;   /* all of it owned; vectors and crops in locked memory */
    int64_t *times;   /* created, updated, created of each template */
    uint64_t *models; /* numbers of the templates' models */
    size_t room;
} ufi_loaded;
/* UF_E_NOT_FOUND. */
uf_status ufi_load(uf_gallery *g, int64_t person, ufi_loaded *out, uf_error *err);
void ufi_loaded_free(ufi_loaded *l);
/* Up to `count` numbers of people after `after`, ascending. With `model` > 0: of those only who
 * have no template of it. */
uf_status ufi_load_next(uf_gallery *g, int64_t after, int64_t model, size_t count, ufi_numbers *out,
                        uf_error *err);

/* ---- gallery.c ---- */

/* Takes g->lock, and keys that another process made. Errors release it. */
uf_status ufi_gallery_enter(uf_gallery *g, uf_error *err);
/* The same for what changes the gallery: UF_E_STATE when it was opened to be read only. */
uf_status ufi_gallery_enter_to_write(uf_gallery *g, uf_error *err);
/* A writing transaction, with keys as they are in it; and its end: commit, or rollback after an
 * error, which is given back. */
uf_status ufi_gallery_begin(uf_gallery *g, uf_error *err);
uf_status ufi_gallery_end(uf_gallery *g, uf_status st, uf_error *err);
/* Around reading what is sealed: rows and the keys that open them are of one moment, even when
 * another process makes a new master key. Inside a transaction it changes nothing. */
uf_status ufi_gallery_begin_read(uf_gallery *g, uf_error *err);
void ufi_gallery_end_read(uf_gallery *g);
/* ufi_sql_rows of one statement between the two. */
uf_status ufi_sealed_rows(uf_gallery *g, const char *sql, const ufi_value *args, size_t count,
                          ufi_row_fn *row, void *user, uf_error *err);
/* Releases it; puts the gallery's name before an error. */
uf_status ufi_gallery_leave(uf_gallery *g, uf_status st, uf_error *err);

#endif
