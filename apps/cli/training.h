/* Training commands: their tables are part of `uniface`, their work of `uniface-train`. */
#ifndef UF_CLI_TRAINING_H
#define UF_CLI_TRAINING_H

#include "cli.h"

/* Whether this program is uniface-train. */
bool cli_can_train(void);
/* In uniface-train (training.c) does the work; in uniface (training_exec.c) becomes uniface-train,
 * which stands beside it: oneDNN is not loaded where nobody trains. */
int cli_run_training(const cli_args *a);

/* Options of commands whose result can learn again from the model it was made of. */
#define RECOVERY_OPTIONS                                                         \
    {"batch", 'b', "N", "of that training: pictures a step (32)"},               \
    {                                                                            \
        "rate", 0, "X", "of that training: learning rate (0.0005; INT8: 0.0001)" \
    }

/* `*made` (pruned, or in INT8) learns from `source` for as many epochs as option `epochs` says, on
 * the pictures of --calibration, and is replaced by what it has become. In uniface-train only.
 * Returns the exit status. */
int cli_recover(const cli_args *a, const char *epochs, uf_model *source, uf_model **made);

#endif
