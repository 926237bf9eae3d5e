/* Nothing is reserved for what was only announced: memory grows with the bytes that came. */
#include "server/body.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jansson.h>

#include "server/item.h"
#include "server/json_parse.h"
#include "server/state.h"

static void refuse(srv_body *b, int status, const char *why)
{
    if (b->status)
        return;
    b->status = status;
    snprintf(b->why, sizeof b->why, "%s", why);
}

bool srv_type_is(const char *content_type, const char *type)
{
    const size_t n = strlen(type);
    if (strncasecmp(content_type, type, n) != 0)
        return false;
    return type[n - 1] == '/' || strchr("; \t", content_type[n]) != NULL; /* NUL fits too */
}

/* ---- items ---- */

bool srv_body_memory_hold(srv_server *s, size_t bytes)
{
    if ((double)(atomic_fetch_add(&s->body_bytes, bytes) + bytes) <= s->config.max_body_memory)
        return true;
    srv_body_memory_release(s, bytes);
    return false;
}

void srv_body_memory_release(srv_server *s, size_t bytes)
{
    atomic_fetch_sub(&s->body_bytes, bytes);
}

static bool hold(srv_body *b, size_t more)
{
    if (srv_body_memory_hold(b->request->server, more)) {
        b->held += more;
        return true;
    }
    refuse(b, 503, "the bodies of all requests together take too much memory");
    return false;
}

static bool append(srv_body *b, srv_item *item, const void *data, size_t size)
{
    if (item->size + size + 1 > item->room) {
        size_t room = item->room ? 2 * item->room : 4096;
        while (room < item->size + size + 1)
            room *= 2;
        if (!hold(b, room - item->room))
            return false;
        if (!srv_item_reserve(item, room)) {
            refuse(b, 503, "out of memory");
            return false;
        }
    }
    memcpy(item->data + item->size, data, size);
    item->size += size;
    item->data[item->size] = '\0'; /* a field's text can be read in place */
    return true;
}

static srv_item *add_item(srv_body *b, const char *name, const char *filename, const char *type)
{
    srv_request *q = b->request;
    if (!q->items)
        q->items = calloc(SRV_ITEMS_MAX, sizeof *q->items);
    if (!q->items || q->item_count == SRV_ITEMS_MAX) {
        refuse(b, q->items ? 413 : 503, q->items ? "the form has too many parts" : "out of memory");
        return NULL;
    }
    srv_item *item = &q->items[q->item_count++];
    item->name = strdup(name);
    item->filename = filename ? strdup(filename) : NULL;
    item->content_type = type ? strdup(type) : NULL;
    if (!item->name || (filename && !item->filename) || (type && !item->content_type)) {
        refuse(b, 503, "out of memory");
        return NULL;
    }
    return append(b, item, "", 0) ? item : NULL;
}

/* A srv_part_fn. */
static bool take_part(void *user, const srv_part *part, const void *data, size_t size, bool end)
{
    srv_body *b = user;
    if (end)
        return true;
    if (!data)
        return add_item(b, part->name, part->filename, part->content_type) != NULL;
    return append(b, &b->request->items[b->request->item_count - 1], data, size);
}

/* ---- the whole ---- */

void srv_body_refuse(srv_body *b, srv_request *q, int status, const char *why)
{
    b->request = q;
    refuse(b, status, why);
}

bool srv_body_begin(srv_body *b, srv_request *q)
{
    const unsigned takes = q->route->body;
    const char *type = q->content_type, *why = "";
    b->request = q;
    if (takes & SRV_BODY_RAW)
        return add_item(b, "", NULL, type) != NULL;
    if (srv_type_is(type, "multipart/form-data")) {
        if (takes & SRV_BODY_FORM) {
            b->form = srv_multipart_create(type, take_part, b, &why);
            if (!b->form)
                refuse(b, *why ? 400 : 503, *why ? why : "out of memory");
            return b->form != NULL;
        }
    } else if (srv_type_is(type, "application/json")) {
        if (takes & (SRV_BODY_JSON | SRV_BODY_LIST))
            return add_item(b, "", NULL, type) != NULL;
    } else if (srv_type_is(type, "image/") || srv_type_is(type, "application/octet-stream")) {
        if (takes & SRV_BODY_IMAGE)
            return add_item(b, "", NULL, type) != NULL;
    }
    refuse(b, 415,
           *type ? "this operation does not take this Content-Type" : "Content-Type is missing");
    return false;
}

void srv_body_feed(srv_body *b, const void *data, size_t size)
{
    b->received += size;
    if ((double)b->received > b->request->server->config.max_body)
        refuse(b, 413, "the body is larger than this server takes");
    if (b->status)
        return;
    if (!b->form) {
        append(b, &b->request->items[0], data, size);
        return;
    }
    const srv_multipart_status st = srv_multipart_feed(b->form, data, size);
    if (st == SRV_MULTIPART_BAD)
        refuse(b, 400, srv_multipart_error(b->form));
    else if (st == SRV_MULTIPART_LIMIT)
        refuse(b, 413, srv_multipart_error(b->form));
    else if (st)
        refuse(b, 503, "out of memory");
}

static void parse_json(srv_body *b)
{
    const srv_item *item = &b->request->items[0];
    char why[200];
    int status;
    if (!hold(b, srv_json_weight(item->data, item->size)))
        return;
    json_t *v = srv_json_parse(item->data, item->size, why, &status);
    if (!v) {
        refuse(b, status, why);
    } else if (b->request->route->body & SRV_BODY_LIST ? !json_is_array(v) : !json_is_object(v)) {
        refuse(b, 400,
               b->request->route->body & SRV_BODY_LIST ? "the body must be a JSON list"
                                                       : "the body must be a JSON object");
    }
    if (b->status)
        json_decref(v);
    else
        b->request->json = v;
}

bool srv_body_finish(srv_body *b)
{
    if (b->status)
        return false;
    if (b->form) {
        if (srv_multipart_finish(b->form))
            refuse(b, 400, srv_multipart_error(b->form));
    } else if (!(b->request->route->body & SRV_BODY_RAW) &&
               srv_type_is(b->request->content_type, "application/json")) {
        parse_json(b);
    }
    return !b->status;
}

void srv_body_free(srv_body *b)
{
    srv_request *q = b->request;
    if (!q)
        return;
    srv_multipart_destroy(b->form);
    b->form = NULL;
    for (size_t i = 0; i < q->item_count; i++)
        srv_item_free(&q->items[i]);
    free(q->items);
    json_decref(q->json);
    q->items = NULL;
    q->item_count = 0;
    q->json = NULL;
    srv_body_memory_release(q->server, b->held);
    b->held = 0;
}
