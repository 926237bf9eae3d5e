/* The description of all operations (OpenAPI 3.1), made from the table of routes. */
#ifndef UF_SERVER_OPENAPI_H
#define UF_SERVER_OPENAPI_H

#include "server/text.h"

void srv_openapi_write(srv_text *out);

#endif
