/* The files of the pages at /ui and /docs, which are part of the program (tools/embed.py makes
 * their table).
 */
#ifndef UF_SERVER_UI_H
#define UF_SERVER_UI_H

#include <stddef.h>

typedef struct srv_ui_file {
    const char *path; /* "/ui/app.js"; "/ui/" is the page itself */
    const char *type; /* for Content-Type */
    const char *etag; /* a digest of the bytes, in quotes */
    const unsigned char *bytes;
    size_t size;
} srv_ui_file;

extern const srv_ui_file srv_ui_files[];
extern const size_t srv_ui_file_count;

/* What the page may do, for Content-Security-Policy: nothing comes from elsewhere. */
#define SRV_UI_POLICY                                                                             \
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; " \
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

#endif
