/*
 * Batches of people whose records are sealed together, by a thread of their own while the gallery's
 * writes the batch before (sealer.c). Floor 6. g->lock is held by the thread that fills and writes.
 */
#ifndef UFI_GALLERY_SEALER_H
#define UFI_GALLERY_SEALER_H

#include "gallery/impl.h"

enum { UFI_SEAL_PEOPLE = 32, UFI_SEAL_TEMPLATES = 64 };

typedef struct ufi_seal_template {
    const uf_template *given;
    ufi_template_row row;
    size_t at, size; /* of what is sealed, in the batch's `sealed` */
} ufi_seal_template;

typedef struct ufi_seal_person {
    const uf_enrolment *given;
    uint32_t mark; /* of collection and id: equal for equal ones */
    bool is_new;   /* gets a key when it is sealed */
    ufi_person_row row;
    char *kept[3];                   /* metadata, consent, purpose of one who is there */
    size_t first;                    /* of the templates, in the batch */
    uint8_t key[UFI_SEALED_KEY_MAX]; /* sealed */
    size_t key_size;
} ufi_seal_person;

/* In locked memory. */
typedef struct ufi_seal_secrets {
    float vector[UF_INDEX_MAX_DIMENSION];
    uint8_t keys[UFI_SEAL_PEOPLE][UFI_SECRET_BYTES];
} ufi_seal_secrets;

/* All zero is an empty one. */
typedef struct ufi_seal_batch {
    ufi_seal_secrets *secrets;
    ufi_seal_person people[UFI_SEAL_PEOPLE];
    ufi_seal_template *templates;
    uint8_t *sealed;
    size_t count, template_count, template_room, sealed_size, sealed_room;
    uf_status status; /* of the sealing */
    size_t failed;    /* whose, and why */
    uf_error error;
} ufi_seal_batch;

uint32_t ufi_seal_mark(const uf_enrolment *given);
/* Before people are added to an empty one. */
uf_status ufi_seal_batch_ready(ufi_seal_batch *b, uf_error *err);
/* No person is to be added any more. One person's templates are never too many. */
bool ufi_seal_batch_full(const ufi_seal_batch *b);
bool ufi_seal_batch_has(const ufi_seal_batch *b, uint32_t mark);
/* The next person, and the person's templates one after the other. */
ufi_seal_person *ufi_seal_batch_person(ufi_seal_batch *b, const uf_enrolment *given);
uf_status ufi_seal_batch_add(const uf_gallery *g, ufi_seal_batch *b, const uf_template *given,
                             const ufi_template_row *row, uf_error *err);
static inline uint8_t *ufi_seal_batch_key(const ufi_seal_batch *b, const ufi_seal_person *p)
{
    return b->secrets->keys[p - b->people];
}
void ufi_seal_batch_clear(ufi_seal_batch *b);
void ufi_seal_batch_free(ufi_seal_batch *b);

typedef struct ufi_sealer ufi_sealer;
/* NULL, which all others take too, where a thread would not pay or is not to be had. */
ufi_sealer *ufi_sealer_make(size_t templates);
void ufi_sealer_free(ufi_sealer *s);
/* Seals the records of a batch; without a thread, before it returns. */
void ufi_sealer_start(ufi_sealer *s, uf_gallery *g, ufi_seal_batch *b);
/* Until the batch that was started last is sealed: how that went. */
uf_status ufi_sealer_wait(ufi_sealer *s, const ufi_seal_batch *b, uf_error *err);

#endif
