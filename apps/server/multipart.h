/*
 * multipart/form-data (RFC 7578), as it arrives: the same bytes give the same parts however they
 * are split. Nothing is kept but the part's head; data goes to the caller in pieces. Confined.
 */
#ifndef UF_SERVER_MULTIPART_H
#define UF_SERVER_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

enum {
    SRV_BOUNDARY_MAX = 70, /* RFC 2046 */
    SRV_PART_HEAD_MAX = 4096,
    SRV_PARTS_MAX = 256
};

typedef enum srv_multipart_status {
    SRV_MULTIPART_OK = 0,
    SRV_MULTIPART_BAD,    /* not what RFC 7578 says: 400 */
    SRV_MULTIPART_LIMIT,  /* too many parts, or too long a head: 413 */
    SRV_MULTIPART_STOPPED /* by the caller's function */
} srv_multipart_status;

/* Strings are valid during the call. */
typedef struct srv_part {
    const char *name;         /* never NULL */
    const char *filename;     /* as sent, without a path; NULL: none (filename* is not read) */
    const char *content_type; /* NULL: none */
} srv_part;

/* Called with `part` at a part's beginning (data NULL), with its bytes (never none), and at its end
 * (data NULL, end true). Returns false to stop. */
typedef bool srv_part_fn(void *user, const srv_part *part, const void *data, size_t size, bool end);

typedef struct srv_multipart srv_multipart;

/* `content_type` is the request's header; NULL: no memory, or *why says what is wrong with it
 * ("" for memory). */
srv_multipart *srv_multipart_create(const char *content_type, srv_part_fn *fn, void *user,
                                    const char **why);
void srv_multipart_destroy(srv_multipart *m);
srv_multipart_status srv_multipart_feed(srv_multipart *m, const void *data, size_t size);
/* At the end of the body: the last boundary must have come. */
srv_multipart_status srv_multipart_finish(srv_multipart *m);
/* What was wrong, for the answer. */
const char *srv_multipart_error(const srv_multipart *m);

#endif
