/* The pages at /ui and /docs, from the table that is part of the program. */
#include "server/ui.h"

#include <string.h>

#include "server/handlers.h"

/* Whether If-None-Match names this tag, any or a weak one of it (RFC 9110, section 13.1.2). Our
 * tags have no commas. */
static bool is_known(const char *list, const char *etag)
{
    const size_t size = strlen(etag);
    if (!strcmp(list, "*"))
        return true;
    while (*list) {
        list += strspn(list, ", \t");
        if (!strncmp(list, "W/", 2))
            list += 2;
        if (!strncmp(list, etag, size) && strspn(list + size, ", \t") + !list[size])
            return true;
        list += strcspn(list, ",");
    }
    return false;
}

bool ui_file(srv_request *q, srv_answer *a)
{
    const char *path = !strcmp(q->path, "/ui")      ? "/ui/"
                       : !strcmp(q->path, "/docs/") ? "/docs"
                                                    : q->path;
    for (size_t i = 0; i < srv_ui_file_count; i++) {
        const srv_ui_file *f = &srv_ui_files[i];
        if (strcmp(f->path, path) != 0)
            continue;
        const char *known = srv_header(q, "If-None-Match");
        a->etag = f->etag;
        a->policy = SRV_UI_POLICY;
        a->content_type = f->type;
        if (known && is_known(known, f->etag))
            a->status = 304;
        else
            srv_text_add(&a->body, f->bytes, f->size);
        return true;
    }
    return srv_refuse(q, a, 404, "there is nothing of this name");
}
