/* Connections and what each may take its time for. MHD's own timeout starts anew with each byte, so
 * that a slow client holds a thread as long as it likes; these deadlines are absolute. Shareable.
 */
#ifndef UF_SERVER_CONNECTIONS_H
#define UF_SERVER_CONNECTIONS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum srv_phase {
    SRV_PHASE_IDLE, /* between requests, or at the begin */
    SRV_PHASE_HEAD,
    SRV_PHASE_BODY,
    SRV_PHASE_WORK,
    SRV_PHASE_ANSWER
} srv_phase;

typedef struct srv_connections srv_connections;
typedef struct srv_slot srv_slot;

srv_connections *srv_connections_create(bool tls);
void srv_connections_destroy(srv_connections *c);

/* NULL: no memory. `socket` stays the caller's, and open until srv_slot_close. */
srv_slot *srv_slot_open(srv_connections *c, int socket, double deadline);
void srv_slot_close(srv_connections *c, srv_slot *s);
/* deadline 0: none. */
void srv_slot_phase(srv_connections *c, srv_slot *s, srv_phase phase, double deadline);

/* Ends connections whose time is over (408 where a head or body was awaited); with `idle_too` those
 * on which nothing is asked. */
void srv_connections_sweep(srv_connections *c, double now, bool idle_too);
size_t srv_connections_count(srv_connections *c);
/* Those on which a request is under way: its head has begun and its answer has not ended. */
size_t srv_connections_busy(srv_connections *c);

#endif
