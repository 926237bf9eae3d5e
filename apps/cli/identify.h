/* 1:1 verification against a gallery, for `uniface verify --id`. */
#ifndef UF_CLI_IDENTIFY_H
#define UF_CLI_IDENTIFY_H

#include "cli.h"

/* The best similarity of `vector` with the templates of the person that the options name. Prints
 * what is wrong and returns the exit status. */
int cli_score_in_gallery(const cli_args *a, const uf_model *embedder, const float *vector,
                         size_t dimension, float *score);

#endif
