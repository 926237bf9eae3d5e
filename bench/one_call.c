/* The time of one call of the C library, for python_bench.py: ns, -1 when it failed. `run` is
 * uf_embedder_run_crops in the loaded extension of the Python package. */
#include <stdint.h>
#include <time.h>

#include "uniface/face.h"

typedef uf_status run_crops(uf_embedder *e, const uint8_t *crops, size_t count, float *out,
                            uf_error *err);

int64_t one_call_ns(run_crops *run, uf_embedder *e, const uint8_t *crops, size_t count, float *out);

int64_t one_call_ns(run_crops *run, uf_embedder *e, const uint8_t *crops, size_t count, float *out)
{
    struct timespec begin, end;
    uf_error err;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    const uf_status st = run(e, crops, count, out, &err);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return st ? -1
              : (end.tv_sec - begin.tv_sec) * INT64_C(1000000000) + end.tv_nsec - begin.tv_nsec;
}
