/* A form read to its end, written down as text: the same for any split of the same bytes. */
#ifndef UF_TESTS_SERVER_FORM_H
#define UF_TESTS_SERVER_FORM_H

#include <stdlib.h>
#include <string.h>

#include "server/multipart.h"
#include "server/text.h"

static bool form_part(void *user, const srv_part *part, const void *data, size_t size, bool end)
{
    srv_text *t = user;
    if (data)
        srv_text_add(t, data, size);
    else if (end)
        srv_text_puts(t, ">");
    else
        srv_text_printf(t, "<%s|%s|%s|", part->name, part->filename ? part->filename : "-",
                        part->content_type ? part->content_type : "-");
    return true;
}

/* Feeds `step` bytes at a time, each in a block of its own so that reading beyond it is seen; then,
 * from `cut` on, the rest. The status is of the end; *error is constant. */
static srv_multipart_status form_read(const char *type, const void *data, size_t size, size_t cut,
                                      size_t step, srv_text *out, const char **error)
{
    srv_multipart *m = srv_multipart_create(type, form_part, out, error);
    if (!m)
        return SRV_MULTIPART_BAD;
    for (size_t i = 0; i < size;) {
        const size_t left = size - i;
        size_t n = i < cut && cut - i < left ? cut - i : left;
        n = step && step < n ? step : n;
        char *piece = malloc(n);
        memcpy(piece, (const char *)data + i, n);
        (void)srv_multipart_feed(m, piece, n);
        free(piece);
        i += n;
    }
    const srv_multipart_status status = srv_multipart_finish(m);
    *error = srv_multipart_error(m);
    srv_multipart_destroy(m);
    return status;
}

#endif
