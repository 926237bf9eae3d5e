/* Making the channels of a tensor equally large before it gets one scale. Floor 5. */
#ifndef UFI_OPTIMIZE_EQUALIZE_H
#define UFI_OPTIMIZE_EQUALIZE_H

#include "optimize/observer.h"

/* Scales channels of activations between convolutions, and the weights on both sides so that the
 * function stays the same (Nagel et al., ICCV 2019; Xiao et al., ICML 2023): where only depthwise
 * layers read a tensor its channels become equally large, elsewhere the difference is shared
 * between activation and weights. Layers tied by additions and pooling are scaled together. `g`
 * gets new weights of its own; `o` observed it before. *groups is how many tensors were changed. */
uf_status ufi_equalize_graph(ufi_graph *g, const ufi_observer *o, uint32_t *groups, uf_error *err);

#endif
