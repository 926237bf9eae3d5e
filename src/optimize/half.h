/* Half-precision storage of weights. Floor 5. */
#ifndef UFI_OPTIMIZE_HALF_H
#define UFI_OPTIMIZE_HALF_H

#include "graph/graph.h"

/* `out` is `g` with every FP32 constant of 64 elements or more stored as `dtype` (UF_F16, UF_BF16)
 * and widened by a Cast; it owns all its data. The sum of a filter's weights stays but for one
 * rounding. UF_E_UNSUPPORTED when a weight leaves FP16's range
 * (65504), naming it. */
uf_status ufi_store_half(ufi_graph *out, const ufi_graph *g, uf_dtype dtype, uf_error *err);

/* The FP32 weights of convolutions and fully connected layers in `g`, a graph that was quantised,
 * become FP16 in the same way, unless they leave its range. */
uf_status ufi_store_weights_half(ufi_graph *g, uf_error *err);

#endif
