#include "train/schedule.h"

#include <math.h>

double ufi_schedule_rate(const ufi_schedule *s, int64_t step)
{
    if (step < s->warmup)
        return s->peak * (double)(step + 1) / (double)(s->warmup + 1);
    int64_t length = s->total - s->warmup;
    double share = length > 0 ? (double)(step - s->warmup) / (double)length : 1;
    if (share > 1)
        share = 1;
    switch (s->kind) {
    case UFI_SCHEDULE_COSINE:
        return s->last + (s->peak - s->last) * 0.5 * (1 + cos(3.14159265358979323846 * share));
    case UFI_SCHEDULE_STEP: {
        double rate = s->peak;
        for (uint32_t i = 0; i < s->at_count; i++)
            if ((double)step >= s->at[i] * (double)s->total)
                rate *= s->factor;
        return rate;
    }
    case UFI_SCHEDULE_CONSTANT:
        break;
    }
    return s->peak;
}
