/* What operations take beside their path, and what they answer, for /openapi.json. */
#ifndef UF_SERVER_OPENAPI_FIELDS_H
#define UF_SERVER_OPENAPI_FIELDS_H

#include "server/server.h"

typedef enum srv_field_kind {
    SRV_FIELD_END,
    SRV_FIELD_TEXT,
    SRV_FIELD_NUMBER,
    SRV_FIELD_INTEGER,
    SRV_FIELD_SWITCH,
    SRV_FIELD_OBJECT,
    SRV_FIELD_VECTOR,  /* a list of numbers */
    SRV_FIELD_VECTORS, /* a list of these */
    SRV_FIELD_PICTURE, /* a file of a form, or base64 in JSON */
    SRV_FIELD_PICTURES /* several */
} srv_field_kind;

typedef struct srv_described {
    const char *name;
    srv_field_kind kind;
    const char *what;
} srv_described;

enum { SRV_FIELD_LISTS = 4 };

typedef struct srv_operation {
    srv_method method;
    const char *pattern;
    int status;         /* of success */
    const char *answer; /* its members */
    const srv_described *fields[SRV_FIELD_LISTS];
} srv_operation;

/* NULL: of pages and probes, which take nothing. */
const srv_operation *srv_operation_of(const srv_route *r);

#endif
