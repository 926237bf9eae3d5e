/* uniface/evaluate.h */
#include "uniface/evaluate.h"

#include "base/status.h"
#include "evaluate/paired.h"
#include "evaluate/roc.h"

uf_status uf_rates_at_far(float *genuine, size_t genuine_count, float *impostor,
                          size_t impostor_count, double far, uf_threshold *out, uf_error *err)
{
    ufi_operating_point p;
    if (!out || (!genuine && genuine_count) || (!impostor && impostor_count))
        return ufi_fail(err, UF_E_ARG, "uf_rates_at_far: an argument is NULL");
    uf_status st = ufi_roc_point(genuine, genuine_count, impostor, impostor_count, far, &p, err);
    if (st)
        return st;
    *out = (uf_threshold){.far = (float)far,
                          .threshold = (float)p.threshold,
                          .far_low = (float)p.far_low,
                          .far_high = (float)p.far_high,
                          .tar = (float)p.tar,
                          .impostor_trials = p.impostors,
                          .genuine_trials = p.genuines};
    return UF_OK;
}

double uf_mcnemar(uint64_t only_first, uint64_t only_second)
{
    return ufi_mcnemar(only_first, only_second);
}
