/* Values out of a request: query, JSON members, form fields, in this order. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "late_microhttpd.h" /* microhttpd.h */
#include <jansson.h>

#include "server/state.h"

const char *srv_query(const srv_request *q, const char *name)
{
    return MHD_lookup_connection_value(q->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *srv_header(const srv_request *q, const char *name)
{
    return MHD_lookup_connection_value(q->connection, MHD_HEADER_KIND, name);
}

const srv_item *srv_item_named(const srv_request *q, const char *name)
{
    for (size_t i = 0; i < q->item_count; i++)
        if (!strcmp(q->items[i].name, name))
            return &q->items[i];
    return NULL;
}

const char *srv_text_value(const srv_request *q, const char *name, bool *wrong)
{
    const char *text = srv_query(q, name);
    const json_t *v = text || !q->json ? NULL : json_object_get(q->json, name);
    if (wrong)
        *wrong = v && !json_is_string(v) && !json_is_null(v);
    if (text || q->json)
        return text ? text : json_string_value(v);
    const srv_item *item = srv_item_named(q, name);
    return item && *item->name && strlen((char *)item->data) == item->size ? (char *)item->data
                                                                           : NULL;
}

bool srv_number(const srv_request *q, srv_answer *a, const char *name, double min, double max,
                double fallback, double *out)
{
    bool wrong;
    char *end;
    const char *text = srv_text_value(q, name, &wrong);
    const json_t *v = q->json ? json_object_get(q->json, name) : NULL;
    *out = fallback;
    if (!text && !wrong)
        return true;
    if (text) {
        *out = strtod(text, &end);
        wrong = end == text || *end || strspn(text, "+-.0123456789eE") != strlen(text);
    } else if (json_is_number(v)) {
        *out = json_number_value(v);
        wrong = false;
    }
    if (!wrong && isfinite(*out) && *out >= min && *out <= max)
        return true;
    return srv_refuse(q, a, 400, "%s must be a number from %.10g to %.10g", name, min, max);
}

bool srv_string(const srv_request *q, srv_answer *a, const char *name, size_t max, const char **out)
{
    bool wrong;
    *out = srv_text_value(q, name, &wrong);
    if (wrong)
        return srv_refuse(q, a, 400, "%s must be text", name);
    if (*out && strlen(*out) > max)
        return srv_refuse(q, a, 400, "%s is longer than %zu bytes", name, max);
    for (const char *p = *out; p && *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F)
            return srv_refuse(q, a, 400, "%s holds a control character", name);
    return true;
}

bool srv_boolean(const srv_request *q, srv_answer *a, const char *name, bool fallback, bool *out)
{
    const char *text = srv_text_value(q, name, NULL);
    const json_t *v = q->json ? json_object_get(q->json, name) : NULL;
    *out = fallback;
    if (text)
        *out = !strcasecmp(text, "true") || !strcmp(text, "1");
    else if (v && !json_is_null(v))
        *out = json_is_true(v);
    if (text ? *out || !strcasecmp(text, "false") || !strcmp(text, "0")
             : !v || json_is_null(v) || json_is_boolean(v))
        return true;
    return srv_refuse(q, a, 400, "%s must be true or false", name);
}

/* ---- rights ---- */

bool srv_may(const srv_request *q, const char *collection, unsigned role)
{
    unsigned roles = 0;
    if (!q->server->keyring)
        return true; /* auth is off */
    for (size_t i = 0; i < q->who.grant_count; i++)
        if (!collection || !strcmp(q->who.grants[i].collection, "*") ||
            !strcmp(q->who.grants[i].collection, collection))
            roles |= q->who.grants[i].roles;
    return (roles & role) == role;
}

bool srv_collection(const srv_request *q, srv_answer *a, unsigned role, const char **out)
{
    if (!srv_string(q, a, "collection", SRV_NAME_MAX, out))
        return false;
    if (!*out)
        *out = "default";
    if (!**out)
        return srv_refuse(q, a, 400, "collection is empty");
    if (!srv_may(q, *out, role))
        return srv_refuse(q, a, 403, "the key may not do this in this collection");
    return true;
}
