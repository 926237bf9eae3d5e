/* Limits that remember: requests a second of a client, failed keys of an address, and failed 1:1
 * tries against a person. Of a bounded number of names; the oldest are forgotten. Shareable. */
#ifndef UF_SERVER_GUARD_H
#define UF_SERVER_GUARD_H

#include <stdbool.h>

typedef struct srv_guard srv_guard;

typedef enum srv_guarded { SRV_GUARD_RATE, SRV_GUARD_KEYS, SRV_GUARD_VERIFY } srv_guarded;

/* `rate` requests a second (0: any), bursts of twice as many; after `failures` failed tries a
 * name is locked for `seconds`. NULL: no memory. */
srv_guard *srv_guard_create(double rate, unsigned failures, double seconds);
void srv_guard_destroy(srv_guard *g);
/* Takes one request; 0, or the seconds to wait. */
int srv_guard_take(srv_guard *g, const char *client);
/* 0, or how many seconds the name is still locked. */
int srv_guard_locked(srv_guard *g, srv_guarded what, const char *name);
void srv_guard_failed(srv_guard *g, srv_guarded what, const char *name);
void srv_guard_passed(srv_guard *g, srv_guarded what, const char *name);

#endif
