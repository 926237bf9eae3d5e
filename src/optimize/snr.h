/* How much of each layer's signal a changed graph keeps. Floor 5. */
#ifndef UFI_OPTIMIZE_SNR_H
#define UFI_OPTIMIZE_SNR_H

#include "optimize/judge.h"

/* Of a layer that both graphs have: 10 log10 of the signal's energy over that of the difference,
 * each channel scaled as suits it best (equalisation scales channels); INFINITY when there is none.
 * `bits`: 8 or 16 where the second graph carries it out in INT8 or INT16, 0 elsewhere. */
typedef void ufi_layer_fn(void *arg, const char *layer, int bits, double snr_db);

/* Runs both graphs on the samples and calls `fn` for each convolution and fully connected layer of
 * `g` whose name `changed` has too, in order. Errors: UF_E_MISMATCH when they have none in common.
 */
uf_status ufi_layer_snr(const ufi_graph *g, const ufi_graph *changed, const ufi_samples *samples,
                        unsigned threads, ufi_layer_fn *fn, void *arg, uf_error *err);

#endif
