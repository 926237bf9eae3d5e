/*
 * In what order the samples of a loader come. A place is a function of (seed, epoch, position)
 * alone, found without memory of what came before: a run may go on from anywhere at no cost.
 * Floor 5.
 */
#ifndef UFI_TRAIN_ORDER_H
#define UFI_TRAIN_ORDER_H

#include "train/data.h"

typedef struct ufi_order {
    uint64_t seed;
    size_t count;      /* samples */
    size_t batch;      /* samples */
    size_t per_person; /* samples of each person in a batch; 0 and 1: whoever comes */
    uint32_t *starts;  /* [persons + 1], per_person > 1: place of each person's first sample */
    size_t persons;
} ufi_order;

/* Everything but `starts` and `persons` is set by the caller. Where a batch is to hold so many
 * samples of each person, `samples` (numbers of the dataset) are sorted by person, and those of
 * nobody leave it: `count` tells how many stay. Errors: UF_E_ARG (a batch that is not of two
 * persons or more, or of more than there are), UF_E_NOMEM. */
uf_status ufi_order_open(ufi_order *o, const ufi_dataset *d, uint32_t *samples, uf_error *err);
void ufi_order_close(ufi_order *o);
/* Place, 0..count-1, of the sample at `position` of an epoch. */
size_t ufi_order_place(const ufi_order *o, uint32_t epoch, size_t position);

#endif
