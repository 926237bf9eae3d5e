/* The mixer of splitmix64 (Steele, Lea & Flood 2014): behind a counter it makes random numbers that
 * are a function of the counter alone. Floor 1. */
#ifndef UFI_BASE_MIX_H
#define UFI_BASE_MIX_H

#include <stdint.h>

#define UFI_MIX_STEP 0x9E3779B97F4A7C15u /* between counters: the golden ratio */

static inline uint64_t ufi_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

#endif
