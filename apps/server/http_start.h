/* Making the daemon: address, limits, TLS. */
#ifndef UF_SERVER_HTTP_START_H
#define UF_SERVER_HTTP_START_H

#include "late_microhttpd.h" /* microhttpd.h */

#include "server/state.h"

typedef struct srv_http_callbacks {
    MHD_AccessHandlerCallback request;
    void *(*begin)(void *user, const char *uri, struct MHD_Connection *connection);
    MHD_RequestCompletedCallback end;
    MHD_NotifyConnectionCallback connection;
} srv_http_callbacks;

struct MHD_Daemon *srv_http_daemon(srv_server *s, const srv_http_callbacks *calls, char why[512]);
/* True without mutual TLS. */
bool srv_client_certificate_ok(const srv_request *q);

#endif
