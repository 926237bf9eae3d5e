/* Rates of k in n: intervals and tests. Floor 5. */
#ifndef UFI_EVALUATE_BINOMIAL_H
#define UFI_EVALUATE_BINOMIAL_H

#include <stdint.h>

/* 95 % interval of a rate of k in n (Clopper & Pearson 1934). */
void ufi_clopper_pearson(uint64_t k, uint64_t n, double *low, double *high);

#endif
