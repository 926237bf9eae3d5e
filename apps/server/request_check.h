/*
 * What must be refused before a request is looked at, because two readers of the same bytes could
 * see different requests (RFC 9112, sections 3.2, 5.1, 5.2, 6.1 to 6.3; RFC 9110, section 5.6.2).
 * Reentrant; a pure function of the head.
 */
#ifndef UF_SERVER_REQUEST_CHECK_H
#define UF_SERVER_REQUEST_CHECK_H

#include <stddef.h>

enum { SRV_HEADERS_MAX = 100, SRV_HEADER_BYTES_MAX = 32768, SRV_URI_MAX = 8192 };

typedef struct srv_field {
    const char *name, *value;
    size_t name_size, value_size;
} srv_field;

typedef struct srv_head {
    const char *method, *target, *version; /* "POST", "/v1/detect", "HTTP/1.1" */
    const srv_field *fields;
    size_t count;
} srv_head;

/* 0, or the status to answer before the connection is closed: 400 (framing, syntax), 405 or 501
 * (a method that nobody serves), 414, 417, 431, 505. *why: a constant text. `target` is as it was
 * sent, before %XX is resolved; values may have blanks around them. */
int srv_request_check(const srv_head *head, const char **why);

#endif
