/*
 * Text that grows, and JSON written into it. The first allocation that fails sets `failed`; later
 * calls then do nothing, so that a writer asks once, at its end. Confined. Floor 8.
 */
#ifndef UF_SERVER_TEXT_H
#define UF_SERVER_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct srv_text {
    char *data; /* NUL-terminated when anything was added; of malloc */
    size_t size, room;
    bool failed; /* no memory */
    bool comma;  /* the next JSON value is not the first of its object or array */
} srv_text;

void srv_text_free(srv_text *t); /* wipes it, and makes it empty again */
void srv_text_add(srv_text *t, const void *bytes, size_t size);
void srv_text_puts(srv_text *t, const char *s);
void srv_text_printf(srv_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- JSON: commas and escapes are put in here (RFC 8259) ---- */

void srv_json_open(srv_text *t, char bracket);  /* '{' or '[' */
void srv_json_close(srv_text *t, char bracket); /* '}' or ']' */
void srv_json_key(srv_text *t, const char *key);
/* NULL is written as null; bytes that are not UTF-8 become U+FFFD. */
void srv_json_string(srv_text *t, const char *s);
void srv_json_bytes(srv_text *t, const void *bytes,
                    size_t size); /* a string that is not terminated */
void srv_json_integer(srv_text *t, int64_t v);
/* Shortest of 6, 9 and 17 digits that reads back the same; not finite: null. */
void srv_json_number(srv_text *t, double v);
void srv_json_bool(srv_text *t, bool v);
void srv_json_null(srv_text *t);
/* [v, v, ...]; every float reads back bit for bit. The hot path: 512 of them a face. */
void srv_json_floats(srv_text *t, const float *v, size_t count);

#endif
