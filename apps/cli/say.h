/* What every command says and how it ends: errors on standard error, results on standard output. */
#ifndef UNIFACE_CLI_SAY_H
#define UNIFACE_CLI_SAY_H

#include <uniface/base.h>

#include "json.h"
#include "options.h"

/* Fills a nullable error, returns `status`. */
uf_status say_fail(uf_error *err, uf_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The command's result. With --json everything goes into one object that say_end closes. */
typedef struct say {
    json json; /* json.file is NULL without --json */
    bool text; /* print text */
    size_t refused;
} say;

void say_begin(say *s, const cli_args *args);
/* "uniface: MESSAGE" on standard error. */
void say_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends a command that cannot go on: reports, closes the JSON with "error", gives the exit status.
 */
int say_stop(say *s, uf_status status, const uf_error *err);
/* One item of a batch failed: reports and counts; say_end gives CLI_EXIT_DATA. */
void say_refuse(say *s, const uf_error *err);
/* Closes and flushes; `exit_status` unless something was refused or could not be written. */
int say_end(say *s, int exit_status);
int say_exit_of(uf_status status);

double say_seconds(void); /* monotonic */
#endif
