/* HTTP by libmicrohttpd: a thread for each connection, which handlers may block. */
#ifndef UF_SERVER_HTTP_H
#define UF_SERVER_HTTP_H

#include "server/state.h"

/* Listens by the configuration. False: `why`. */
bool srv_http_start(srv_server *s, char why[512]);
/* Whether files of TLS are there and belong together; true without TLS. False: `why`. */
bool srv_http_check(const srv_config *c, char why[512]);
uint16_t srv_http_port(const srv_server *s); /* the one that was chosen when 0 was asked for */
/* No new connections, and those that wait in the kernel are taken in; what runs goes on. */
void srv_http_quiesce(srv_server *s);
/* Ends all connections. */
void srv_http_stop(srv_server *s);

#endif
