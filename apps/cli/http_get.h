/* One GET over HTTP/1.1, for the commands that look at a running server. Reentrant. */
#ifndef UF_CLI_HTTP_GET_H
#define UF_CLI_HTTP_GET_H

#include <stdbool.h>
#include <stddef.h>

#include "cli.h"

enum { HTTP_BODY_MAX = 16 << 20 };

typedef struct http_options {
    const char *key;   /* sent as X-API-Key; NULL: none */
    const char *ca;    /* PEM file of who may sign the server's certificate; NULL: the system's */
    bool insecure;     /* any certificate will do */
    double timeout_ms; /* of the whole call */
} http_options;

typedef struct http_answer {
    int status;
    char *body; /* NUL-terminated; of malloc */
    size_t size;
    char why[256]; /* what went wrong, when there is no answer */
} http_answer;

/* `url` is http://HOST[:PORT][/PATH] or https://...; `path` is used when the URL has none.
 * False with a->why; true whatever the status is. Give a->body to free in both cases. */
bool http_get(const char *url, const char *path, const http_options *o, http_answer *a);

/* What was given for --timeout, --ca and --insecure, and the URL: the operand, else
 * http://127.0.0.1:8000. NULL: it was said what is wrong. */
const char *http_arguments(const cli_args *a, http_options *o);

#endif
