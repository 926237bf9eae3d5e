/*
 * Enrolments that a client asks for again because it did not see the answer (Idempotency-Key).
 *
 * What was done is remembered where it was done: the source of each template names the request that
 * made it, by a hash. So a repetition is recognised after a crash, and by another server on the
 * same gallery, as long as the face is there. Requests that are under way are known to this server
 * only; of two servers that have the same one at once, the gallery lets the first enrol.
 */
#ifndef UF_SERVER_ONCE_H
#define UF_SERVER_ONCE_H

#include "server/server.h"

enum { SRV_ONCE_SOURCE = 80 };

typedef struct srv_once srv_once;

srv_once *srv_once_create(void); /* NULL: no memory */
void srv_once_destroy(srv_once *o);

/* An enrolment with a key; without one all of it does nothing. */
typedef struct srv_attempt {
    char source[SRV_ONCE_SOURCE]; /* for the templates */
    char key[SRV_ONCE_SOURCE];    /* how the source begins; "": there is no key */
    bool under_way;               /* to be ended */
    bool done;                    /* it was made before: nothing is left to do */
} srv_attempt;

/* False: refused (400: the key is malformed; 409: one with this key is under way; 422: the key was
 * used with another body or query). */
bool srv_once_begin(srv_request *q, srv_answer *a, const char *collection, const char *id,
                    srv_attempt *out);
void srv_once_end(srv_server *s, srv_attempt *attempt);

#endif
