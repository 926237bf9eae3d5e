/*
 * Random numbers that are a function of a key: a counter behind a good mixer, so that any number of
 * independent rows can be begun anywhere. Floor 5.
 */
#ifndef UFI_TRAIN_RANDOM_H
#define UFI_TRAIN_RANDOM_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/mix.h"

typedef struct ufi_random {
    uint64_t counter;
} ufi_random;

/* A key made of a key and one more number. */
static inline uint64_t ufi_key(uint64_t key, uint64_t with)
{
    return ufi_mix(key + UFI_MIX_STEP * (with + 1));
}

/* The row of numbers for one purpose: each purpose has its own, so that an option that is switched
 * on changes nothing about the others. */
static inline ufi_random ufi_random_of(uint64_t key, uint64_t purpose)
{
    return (ufi_random){ufi_key(key, purpose)};
}

static inline uint64_t ufi_random_next(ufi_random *r)
{
    return ufi_mix(r->counter += UFI_MIX_STEP);
}

/* In 0..1, 1 left out. */
static inline float ufi_random_unit(ufi_random *r)
{
    return (float)(ufi_random_next(r) >> 40) * 0x1p-24f;
}

static inline float ufi_random_between(ufi_random *r, float low, float high)
{
    return low + (high - low) * ufi_random_unit(r);
}

/* Always false for 0, always true for 1. */
static inline bool ufi_random_chance(ufi_random *r, float chance)
{
    return ufi_random_unit(r) < chance;
}

/* In 0..n-1; n is far below 2^32, so that the bias is nothing. */
static inline uint64_t ufi_random_below(ufi_random *r, uint64_t n)
{
    return (ufi_random_next(r) >> 32) * n >> 32;
}

/* Mean 0, deviation 1 (Box & Muller 1958). */
static inline double ufi_random_normal(ufi_random *r)
{
    const double u = 1 - (double)ufi_random_unit(r), v = (double)ufi_random_unit(r);
    return sqrt(-2 * log(u)) * cos(6.28318530717958647692 * v);
}

#endif
