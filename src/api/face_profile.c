/* uniface/face.h: where the time of detectors and embedders goes. */
#include "api/model_impl.h"
#include "model/detector.h"
#include "model/embedder.h"

void uf_detector_times(const uf_detector *d, uf_run_times *out)
{
    *out = ufi_detector_network(d)->times;
}

void uf_detector_set_profiling(uf_detector *d, int on)
{
    ufi_context_set_profiling(ufi_detector_network(d)->context, on != 0);
}

size_t uf_detector_step_count(const uf_detector *d)
{
    return ufi_context_step_count(ufi_detector_network(d)->context);
}

uf_status uf_detector_step(const uf_detector *d, size_t i, uf_step_profile *out, uf_error *err)
{
    return d ? ufi_step_profile(ufi_detector_network(d)->context, i, out, err)
             : ufi_fail(err, UF_E_ARG, "uf_detector_step: a detector must be given");
}

void uf_embedder_times(const uf_embedder *e, uf_run_times *out)
{
    *out = ufi_embedder_network(e)->times;
}

void uf_embedder_set_profiling(uf_embedder *e, int on)
{
    ufi_context_set_profiling(ufi_embedder_network(e)->context, on != 0);
}

size_t uf_embedder_step_count(const uf_embedder *e)
{
    return ufi_context_step_count(ufi_embedder_network(e)->context);
}

uf_status uf_embedder_step(const uf_embedder *e, size_t i, uf_step_profile *out, uf_error *err)
{
    return e ? ufi_step_profile(ufi_embedder_network(e)->context, i, out, err)
             : ufi_fail(err, UF_E_ARG, "uf_embedder_step: an embedder must be given");
}
