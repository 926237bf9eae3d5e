/* The handlers that the table of routes.c names, by file. */
#ifndef UF_SERVER_HANDLERS_H
#define UF_SERVER_HANDLERS_H

#include "server/server.h"

/* known.c: the two operations that users of UniFace's first server know */
srv_handler known_root, known_embed_face;
/* ops.c: operation */
srv_handler ops_healthz, ops_readyz, ops_metrics, ops_openapi;

#endif
