/*
 * All memory of the library passes through here, so that tests can count it and make it fail.
 * Sizes are products of counts that may come from files: both allocators check for overflow.
 * Floor 1. Thread: any.
 */
#ifndef UFI_BASE_MEM_H
#define UFI_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UFI_ALIGN 64

/* count * size bytes, uninitialised / zeroed; NULL when that overflows or memory is short. */
void *ufi_malloc(size_t count, size_t size);
void *ufi_calloc(size_t count, size_t size);
/* Like reallocarray; on failure `p` stays valid. */
void *ufi_realloc(void *p, size_t count, size_t size);
/* 64-byte aligned, size rounded up to 64; zeroed or not. Freed by ufi_free as all others. */
void *ufi_aligned_malloc(size_t size);
void *ufi_aligned_calloc(size_t size);
char *ufi_strdup(const char *s);
char *ufi_strndup(const char *s, size_t n);
void ufi_free(void *p);
/* Overwrites with zeros in a way the compiler may not remove. */
void ufi_wipe(void *p, size_t size);

/* Number of allocations made since the process started (all functions above). */
uint64_t ufi_mem_allocation_count(void);
/* Test hook: the k-th allocation from now fails (k >= 1), and all later ones when `for_ever`;
 * k = 0 switches it off. */
void ufi_mem_fail_after(uint64_t k, bool for_ever);

/* a * b and a + b into *out; false on overflow. */
bool ufi_mul_ok(size_t a, size_t b, size_t *out);
bool ufi_add_ok(size_t a, size_t b, size_t *out);

#endif
