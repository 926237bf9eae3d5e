/* The mixer of splitmix64 (Steele, Lea & Flood 2014): numbers drawn by lot that are the same on
 * every run. */
#ifndef UF_CLI_MIX_H
#define UF_CLI_MIX_H

#include <stdint.h>

#define CLI_MIX_STEP 0x9E3779B97F4A7C15u /* between counters */

static inline uint64_t cli_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

#endif
