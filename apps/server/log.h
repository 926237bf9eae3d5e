/*
 * The log: one line of JSON an event, to standard error (or a file), written whole. Never holds
 * pixels, templates, keys or bodies. Shareable.
 */
#ifndef UF_SERVER_LOG_H
#define UF_SERVER_LOG_H

#include <stdbool.h>

#include "server/text.h"

typedef enum srv_log_level {
    SRV_LOG_DEBUG,
    SRV_LOG_INFO,
    SRV_LOG_WARN,
    SRV_LOG_ERROR
} srv_log_level;

/* NULL or "-": standard error. `human`: lines to read instead of JSON. False: *why has the reason
 * (static text of strerror). */
bool srv_log_open(const char *path, srv_log_level least, bool human, const char **why);
/* "debug", "info", "warn", "error"; false for others. */
bool srv_log_level_parse(const char *name, srv_log_level *out);
/* Whether lines of this level are written. */
bool srv_log_writes(srv_log_level level);

/* Begins a line {"ts": "2026-11-26T10:00:00.123Z", "level": ..., "event": ...}; false: below the
 * level, and nothing is to be added. Members are added by srv_json_key and values; srv_log_end
 * writes the line and frees it. */
bool srv_log_begin(srv_text *line, srv_log_level level, const char *event);
void srv_log_end(srv_text *line);
/* For lines that may come by the thousand: the first 20 of a second are to be written, and
 * *left_out is how many were not since the last that was. False: leave this one out. One rate for
 * all. */
bool srv_log_sparingly(double now, unsigned *left_out);
/* A line with one member "message". */
void srv_log_message(srv_log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
