/* Looking at activations of a graph on samples that are not judged. Floor 5. */
#ifndef UFI_OPTIMIZE_WATCH_H
#define UFI_OPTIMIZE_WATCH_H

#include "optimize/judge.h"

/* Told of value `v`, which is `t` on that sample. */
typedef uf_status ufi_watch_fn(void *arg, uint32_t v, const ufi_tensor *t, size_t sample,
                               uf_error *err);

/* Runs the judge's graph and shows `fn` each value v (no constant) with wanted[v]. The samples that
 * are judged are left out, unless they are all there are. */
uf_status ufi_watch(const ufi_judge *judge, const bool *wanted, ufi_watch_fn *fn, void *arg,
                    uf_error *err);

#endif
