/* Monotonic time. Floor 1. */
#ifndef UFI_BASE_CLOCK_H
#define UFI_BASE_CLOCK_H

#include <stdint.h>

uint64_t ufi_clock_ns(void);

#endif
