/*
 * Addresses of galleries: what may be shown of them, and what of a postgresql:// address is ours.
 * Floor 6. Thread: any.
 */
#ifndef UFI_GALLERY_ADDRESS_H
#define UFI_GALLERY_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

#include "uniface/base.h"

enum {
    UFI_SCHEMA_NAME = 64, /* an identifier of PostgreSQL and its NUL */
    UFI_PARTITIONS_MAX = 256
};

/* The address without its password, for messages; cut where it does not fit. Other names of
 * galleries, which have no "://", come out as they are. */
void ufi_address_show(char *out, size_t size, const char *address);

/* Who looks for the nearest faces. */
typedef enum ufi_search_kind {
    UFI_SEARCH_UNSET = 0, /* not said in the address, or no gallery yet */
    UFI_SEARCH_MEMORY,    /* we do, with an index in memory */
    UFI_SEARCH_HALFVEC,   /* pgvector: HNSW over halves */
    UFI_SEARCH_BIT        /* pgvector: HNSW over their signs */
} ufi_search_kind;

/* "memory", "halfvec", "bit"; UFI_SEARCH_UNSET for any other text. */
const char *ufi_search_name(ufi_search_kind kind);
ufi_search_kind ufi_search_of(const char *name, size_t length);

/* Our own parameters of an address. */
typedef struct ufi_address_choice {
    char schema[UFI_SCHEMA_NAME]; /* gallery=, default "uniface" */
    ufi_search_kind search;       /* search= */
    int partitions;               /* partitions=, of tables of vectors; 0: not said */
} ufi_address_choice;

/* Takes them out: `rest` (of ufi_malloc, wipe it) is what libpq understands. Errors: UF_E_ARG,
 * UF_E_NOMEM. */
uf_status ufi_address_split(const char *address, char **rest, ufi_address_choice *choice,
                            uf_error *err);

#endif
