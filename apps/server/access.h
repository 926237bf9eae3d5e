/* Who asks: ids of requests, addresses, keys, limits; and the line of the log about it. */
#ifndef UF_SERVER_ACCESS_H
#define UF_SERVER_ACCESS_H

#include "server/server.h"

/* Fills id, trace and client. */
void srv_identify_request(srv_request *q);
/* The key, what it may do, and whether it may do it now. False: refused. */
bool srv_authenticate(srv_request *q, srv_answer *a);
void srv_log_request(const srv_request *q, const srv_answer *a, const char *method, double seconds);

#endif
