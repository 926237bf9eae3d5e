/* Numbers drawn by lot that depend on a seed alone (splitmix64, Steele et al. 2014). Floor 5. */
#ifndef UFI_TRAIN_RANDOM_H
#define UFI_TRAIN_RANDOM_H

#include <math.h>
#include <stdint.h>

typedef struct ufi_random {
    uint64_t state;
} ufi_random;

static inline uint64_t ufi_random_next(ufi_random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* A generator that depends on both numbers. */
static inline ufi_random ufi_random_make(uint64_t seed, uint64_t stream)
{
    ufi_random r = {seed};
    r.state = ufi_random_next(&r) ^ (stream * 0xd1342543de82ef95u);
    ufi_random_next(&r);
    return r;
}

/* 0 <= x < 1 */
static inline double ufi_random_unit(ufi_random *r)
{
    return (double)(ufi_random_next(r) >> 11) * 0x1p-53;
}

/* Mean 0, deviation 1 (Box & Muller 1958). */
static inline double ufi_random_normal(ufi_random *r)
{
    const double u = 1 - ufi_random_unit(r), v = ufi_random_unit(r);
    return sqrt(-2 * log(u)) * cos(6.28318530717958647692 * v);
}

#endif
