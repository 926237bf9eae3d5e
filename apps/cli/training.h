/* Training commands: their tables are part of `uniface`, their work of `uniface-train`. */
#ifndef UF_CLI_TRAINING_H
#define UF_CLI_TRAINING_H

#include "cli.h"

/* Whether this program is uniface-train. */
bool cli_can_train(void);
/* In uniface-train (training.c) does the work; in uniface (training_exec.c) becomes uniface-train,
 * which stands beside it: oneDNN is not loaded where nobody trains. */
int cli_run_training(const cli_args *a);

/* `*pruned` learns from `source` on the pictures of prune's options, and is replaced by what it has
 * become. In uniface-train only. Returns the exit status. */
int cli_finetune_pruned(const cli_args *a, uf_model *source, uf_model **pruned);

#endif
