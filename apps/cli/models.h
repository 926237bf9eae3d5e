/* What the files of `uniface models` share. */
#ifndef UF_CLI_MODELS_H
#define UF_CLI_MODELS_H

#include "models_manifest.h"
#include "models_store.h"

/* The manifest of --manifest, else that of the program. False: it was said what is wrong. */
bool models_manifest_of(model_manifest *m, const cli_args *a);
void models_json(cli_json *j, const model_row *row); /* the members that tell of a row */

#endif
