/* Whether two models that judged the same trials differ. Floor 5. */
#ifndef UFI_EVALUATE_PAIRED_H
#define UFI_EVALUATE_PAIRED_H

#include <stdint.h>

/* McNemar's exact test, two-sided (uniface/evaluate.h). */
double ufi_mcnemar(uint64_t only_first, uint64_t only_second);

#endif
