/*
 * The allocator that all of the library uses.
 *
 * It adds to the C library's no header and no lists, so that ufi_free is free and every tool that
 * knows malloc (ASan, heaptrack) still works: only a counter, which proves that a run allocates
 * nothing, and a number at which allocations begin to fail, which tests every way out.
 */
#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Blocks of activations and weights come in huge pages, where the system has any to give: the
 * first touch of 4 MiB takes 0.2 ms instead of 2, and a walk through them misses no translations.
 * What is short of a whole page by this much or less takes a whole one. */
#define HUGE_BYTES ((size_t)2 << 20)
#define HUGE_WASTE ((size_t)512 << 10)

static atomic_uint_fast64_t allocation_count;
static atomic_uint_fast64_t fail_at; /* number of the allocation that fails; 0: none */
static atomic_bool fail_later_too;

bool ufi_mul_ok(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool ufi_add_ok(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* Counts one allocation; false when a test wants it to fail. */
static bool count_allocation(void)
{
    uint64_t n = atomic_fetch_add_explicit(&allocation_count, 1, memory_order_relaxed) + 1;
    uint64_t at = atomic_load_explicit(&fail_at, memory_order_relaxed);
    if (at == 0 || n < at)
        return true;
    return n > at && !atomic_load_explicit(&fail_later_too, memory_order_relaxed);
}

/* count * size, at least 1 so that NULL always means failure, into *bytes. Sizes past PTRDIFF_MAX
 * are refused: pointer differences inside such a block would overflow. */
static bool bytes_of(size_t count, size_t size, size_t *bytes)
{
    if (!ufi_mul_ok(count, size, bytes) || *bytes > PTRDIFF_MAX)
        return false;
    if (*bytes == 0)
        *bytes = 1;
    return true;
}

void *ufi_malloc(size_t count, size_t size)
{
    size_t bytes;
    if (!count_allocation() || !bytes_of(count, size, &bytes))
        return NULL;
    return malloc(bytes);
}

void *ufi_calloc(size_t count, size_t size)
{
    size_t bytes;
    if (!count_allocation() || !bytes_of(count, size, &bytes))
        return NULL;
    return calloc(1, bytes);
}

void *ufi_realloc(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (!count_allocation() || !bytes_of(count, size, &bytes))
        return NULL;
    return realloc(p, bytes);
}

static void *huge_malloc(size_t bytes)
{
    const size_t huge = (bytes + HUGE_WASTE) / HUGE_BYTES * HUGE_BYTES;
    void *p = NULL; /* not aligned_alloc, to which sizes must be multiples of the alignment */
    if (posix_memalign(&p, HUGE_BYTES, bytes < huge ? huge : bytes))
        return NULL;
    madvise(p, huge, MADV_HUGEPAGE); /* a wish: without it pages are small */
    return p;
}

void *ufi_aligned_malloc(size_t size)
{
    if (!count_allocation() || size > PTRDIFF_MAX - HUGE_BYTES)
        return NULL;
    size_t bytes = (size + UFI_ALIGN - 1) / UFI_ALIGN * UFI_ALIGN;
    if (bytes >= HUGE_BYTES - HUGE_WASTE)
        return huge_malloc(bytes);
    return aligned_alloc(UFI_ALIGN, bytes ? bytes : UFI_ALIGN);
}

void *ufi_aligned_calloc(size_t size)
{
    void *p = ufi_aligned_malloc(size);
    if (p)
        memset(p, 0, (size + UFI_ALIGN - 1) / UFI_ALIGN * UFI_ALIGN);
    return p;
}

char *ufi_strdup(const char *s)
{
    return ufi_strndup(s, strlen(s));
}

char *ufi_strndup(const char *s, size_t n)
{
    size_t length = strnlen(s, n), bytes;
    char *copy = ufi_add_ok(length, 1, &bytes) ? ufi_malloc(bytes, 1) : NULL;
    if (copy) {
        memcpy(copy, s, length);
        copy[length] = '\0';
    }
    return copy;
}

void ufi_free(void *p)
{
    free(p);
}

void ufi_wipe(void *p, size_t size)
{
    if (size == 0)
        return;
    memset(p, 0, size);
    /* Tells the compiler that someone may look at the zeros, so that they are really written. */
    __asm__ volatile("" : : "r"(p) : "memory");
}

uint64_t ufi_mem_allocation_count(void)
{
    return atomic_load_explicit(&allocation_count, memory_order_relaxed);
}

void ufi_mem_fail_after(uint64_t k, bool for_ever)
{
    atomic_store_explicit(&fail_later_too, for_ever, memory_order_relaxed);
    atomic_store_explicit(&fail_at, k ? ufi_mem_allocation_count() + k : 0, memory_order_relaxed);
}
