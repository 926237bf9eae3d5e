/* Training commands: their tables are part of `uniface`, their work of `uniface-train`. */
#ifndef UF_CLI_TRAINING_H
#define UF_CLI_TRAINING_H

#include "cli.h"

/* In uniface-train (training.c) does the work; in uniface (training_exec.c) becomes uniface-train,
 * which stands beside it: oneDNN is not loaded where nobody trains. */
int cli_run_training(const cli_args *a);

#endif
