/*
 * A JSON writer: output only. Numbers do not depend on the locale, text is made valid UTF-8, commas
 * and nesting are kept right by the writer, so that even a command that fails half-way prints one
 * valid object (json_close_to closes what is open).
 */
#ifndef UNIFACE_CLI_JSON_H
#define UNIFACE_CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_MAX_DEPTH 16

typedef struct json {
    FILE *file; /* NULL: nothing is written (text mode) */
    int depth;
    char close[JSON_MAX_DEPTH];
    bool any[JSON_MAX_DEPTH]; /* the level has an element */
} json;

/* `key` is NULL inside arrays. */
void json_object(json *j, const char *key);
void json_array(json *j, const char *key);
void json_end(json *j);
void json_text(json *j, const char *key, const char *value); /* NULL: null */
void json_int(json *j, const char *key, int64_t value);
void json_float(json *j, const char *key, float value);   /* not finite: null */
void json_double(json *j, const char *key, double value); /* not finite: null */
void json_bool(json *j, const char *key, bool value);
/* Closes what is open down to `depth` levels. */
void json_close_to(json *j, int depth);

#endif
