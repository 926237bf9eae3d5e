/* A growing arena: many small objects of one lifetime, freed at once. Floor 1. Confined. */
#ifndef UFI_BASE_ARENA_H
#define UFI_BASE_ARENA_H

#include <stddef.h>

typedef struct ufi_arena {
    struct ufi_arena_chunk *head; /* chunk that is being filled */
    size_t used_bytes;            /* handed out in all, with padding */
    size_t max_bytes;             /* alloc fails beyond; 0 = no limit */
} ufi_arena;

void ufi_arena_init(ufi_arena *a, size_t max_bytes);
void ufi_arena_free(ufi_arena *a); /* accepts an arena of zeros */
/* 16-byte aligned, zeroed; NULL when the maximum or memory is reached, or on overflow. */
void *ufi_arena_alloc(ufi_arena *a, size_t count, size_t size);
char *ufi_arena_strndup(ufi_arena *a, const char *s, size_t n);

#endif
