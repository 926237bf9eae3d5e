/* What a running server consists of; for the server's own files, not for handlers of APIs. */
#ifndef UF_SERVER_STATE_H
#define UF_SERVER_STATE_H

#include <pthread.h>

#include "server/config.h"
#include "server/connections.h"
#include "server/engine.h"
#include "server/guard.h"
#include "server/keyring.h"
#include "server/once.h"
#include "server/server.h"
#include "server/telemetry.h"

struct MHD_Daemon;

struct srv_server {
    srv_config config;
    srv_engine *engine;
    uf_trust *trust;      /* by whom models must be signed; NULL: by nobody */
    uf_gallery *gallery;  /* NULL: none could be opened, the reason is in the log */
    srv_keyring *keyring; /* NULL: auth is off */
    srv_guard *guard;
    srv_once *once;
    srv_telemetry *telemetry;
    srv_connections *connections;
    struct MHD_Daemon *daemon;
    _Atomic bool draining;       /* SIGTERM came */
    _Atomic uint64_t body_bytes; /* of all bodies that are held */
};

#endif
