/* A request's body as it arrives: forms into parts, everything else into one item. Confined to the
 * request's thread; what is held counts against the memory of all bodies. */
#ifndef UF_SERVER_BODY_H
#define UF_SERVER_BODY_H

#include "server/multipart.h"
#include "server/server.h"

typedef struct srv_body {
    srv_request *request;
    srv_multipart *form; /* NULL: no form */
    size_t received, held;
    int status; /* 0, or the status of the refusal */
    char why[200];
} srv_body;

/* The body is read and thrown away; srv_body_finish then says this. */
void srv_body_refuse(srv_body *b, srv_request *q, int status, const char *why);
/* By the request's content type. False: status and why are set. */
bool srv_body_begin(srv_body *b, srv_request *q);
void srv_body_feed(srv_body *b, const void *data, size_t size);
/* At the body's end; parses JSON. False: status and why are set. */
bool srv_body_finish(srv_body *b);
void srv_body_free(srv_body *b); /* items and JSON of the request too */

/* Counts bytes as held by bodies, until they are released; false: there are too many (nothing is
 * counted then). */
bool srv_body_memory_hold(srv_server *s, size_t bytes);
void srv_body_memory_release(srv_server *s, size_t bytes);

/* The type without its parameters equals `type`; "image/" fits all that begin with it. */
bool srv_type_is(const char *content_type, const char *type);

#endif
