/* Paired tests. */
#include "evaluate/paired.h"

#include <math.h>

/* Under the hypothesis each discordant trial falls to either side with probability 1/2. */
double ufi_mcnemar(uint64_t only_first, uint64_t only_second)
{
    const uint64_t n = only_first + only_second;
    const uint64_t less = only_first < only_second ? only_first : only_second;
    double tail = 0;
    for (uint64_t i = 0; i <= less; i++)
        tail += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                    (double)n * log(2));
    return fmin(1, 2 * tail);
}
