/* A progress bar on standard error, only when that is a terminal. One at a time. */
#ifndef UNIFACE_CLI_PROGRESS_H
#define UNIFACE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

void progress_begin(const char *label, size_t total, bool quiet);
void progress_update(size_t done);
void progress_clear(void); /* wipes the line; the next update draws it again */
void progress_end(void);
/* The bar as text: "label [####....] 12/34 35% 0:07 left". Shown for tests. */
void progress_format(char *out, size_t size, const char *label, size_t done, size_t total,
                     double elapsed_s);

#endif
