/* `uniface serve`: from settings to the exit. */
#ifndef UF_SERVER_SERVE_H
#define UF_SERVER_SERVE_H

#include "server/config.h"

/* Runs until SIGTERM or SIGINT. `check_only`: opens everything, and returns without listening.
 * Returns an exit status: 0, 2 (a setting), 3 (a file, an address), 4 (memory); what is wrong is
 * printed as "uniface: ...". */
int srv_serve(srv_config *c, bool check_only);
/* What the default models are, where no flag names them; set by the command line. */
void srv_default_models(srv_config *c, const char *detector, const char *embedder,
                        const char *folder);

#endif
