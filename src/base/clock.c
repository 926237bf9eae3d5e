/* Monotonic time. CLOCK_MONOTONIC is read through the vDSO, some 25 ns a call. */
#include "base/clock.h"

#include <time.h>

uint64_t ufi_clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
