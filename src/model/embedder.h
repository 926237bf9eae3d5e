/* Embedders: from aligned crops to templates. Floor 5. Confined. */
#ifndef UFI_MODEL_EMBEDDER_H
#define UFI_MODEL_EMBEDDER_H

#include "model/network.h"
#include "uniface/face.h"

uf_status ufi_embedder_create(uf_embedder **out, const ufi_model_file *file, ufi_program *program,
                              const uf_embedder_options *options, uf_error *err);
/* Its network, for the times and steps of the last run. */
const ufi_network *ufi_embedder_network(const uf_embedder *e);

#endif
