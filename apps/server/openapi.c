/* Paths with several methods stand next to each other in the table or not; each path is written at
 * its first row, with all of its methods. */
#include "server/openapi.h"

#include <string.h>

#include "server/server.h"

static const char *const methods[SRV_METHOD_COUNT] = {"get", "post", "put", "patch", "delete"};

static void member(srv_text *t, const char *key, const char *value)
{
    srv_json_key(t, key);
    srv_json_string(t, value);
}

static void parameter(srv_text *t, const char *name, size_t size, const char *in,
                      const char *description)
{
    srv_json_open(t, '{');
    srv_json_key(t, "name");
    srv_json_bytes(t, name, size);
    member(t, "in", in);
    srv_json_key(t, "required");
    srv_json_bool(t, !strcmp(in, "path"));
    if (description)
        member(t, "description", description);
    srv_json_key(t, "schema");
    srv_json_open(t, '{');
    member(t, "type", "string");
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static void parameters(srv_text *t, const srv_route *r)
{
    static const char key[] = "Idempotency-Key", shape[] = "shape", pixels[] = "pixels";
    srv_json_key(t, "parameters");
    srv_json_open(t, '[');
    for (const char *p = strchr(r->pattern, '{'); p; p = strchr(p + 1, '{'))
        parameter(t, p + 1, strcspn(p + 1, "}"), "path", NULL);
    if (r->flags & SRV_IDEMPOTENT)
        parameter(t, key, strlen(key), "header",
                  "1 to 255 visible ASCII characters: the same request with the same key enrols "
                  "once");
    if (r->body & SRV_BODY_IMAGE) {
        parameter(t, shape, strlen(shape), "query",
                  "of bare pixels (application/octet-stream): height,width,channels, or with "
                  "several pictures count,height,width,channels");
        parameter(t, pixels, strlen(pixels), "query", "of bare pixels: rgb, bgr or gray");
    }
    srv_json_close(t, ']');
}

static void media(srv_text *t, const char *type, const char *schema, const char *format)
{
    srv_json_key(t, type);
    srv_json_open(t, '{');
    srv_json_key(t, "schema");
    srv_json_open(t, '{');
    member(t, "type", schema);
    if (format)
        member(t, "format", format);
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static void request_body(srv_text *t, unsigned body)
{
    srv_json_key(t, "requestBody");
    srv_json_open(t, '{');
    srv_json_key(t, "content");
    srv_json_open(t, '{');
    if (body & SRV_BODY_FORM)
        media(t, "multipart/form-data", "object", NULL);
    if (body & (SRV_BODY_JSON | SRV_BODY_RAW))
        media(t, "application/json", "object", NULL);
    if (body & SRV_BODY_LIST)
        media(t, "application/json", "array", NULL);
    if (body & SRV_BODY_RAW)
        media(t, "application/octet-stream", "string", "binary");
    if (body & SRV_BODY_IMAGE) {
        media(t, "image/*", "string", "binary");
        media(t, "application/octet-stream", "string", "binary");
    }
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static void answer(srv_text *t, const char *status, const char *description)
{
    srv_json_key(t, status);
    srv_json_open(t, '{');
    member(t, "description", description);
    srv_json_close(t, '}');
}

static void operation(srv_text *t, const srv_route *r)
{
    srv_json_key(t, methods[r->method]);
    srv_json_open(t, '{');
    member(t, "summary", r->summary);
    parameters(t, r);
    if (r->body)
        request_body(t, r->body);
    srv_json_key(t, "security");
    srv_json_open(t, '[');
    if (r->role) {
        srv_json_open(t, '{');
        srv_json_key(t, "key");
        srv_json_open(t, '[');
        srv_json_close(t, ']');
        srv_json_close(t, '}');
    }
    srv_json_close(t, ']');
    srv_json_key(t, "responses");
    srv_json_open(t, '{');
    answer(t, "200", "Success");
    answer(t, "default",
           r->flags & (SRV_DETAIL_ERRORS | SRV_COMPREFACE_ERRORS | SRV_KSERVE_ERRORS)
               ? "An error: application/json"
               : "An error: application/problem+json");
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static bool is_first_of_path(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!strcmp(srv_routes[k].pattern, srv_routes[i].pattern))
            return false;
    return true;
}

static void security_schemes(srv_text *t)
{
    srv_json_key(t, "components");
    srv_json_open(t, '{');
    srv_json_key(t, "securitySchemes");
    srv_json_open(t, '{');
    srv_json_key(t, "key");
    srv_json_open(t, '{');
    member(t, "type", "apiKey");
    member(t, "in", "header");
    member(t, "name", "x-api-key");
    srv_json_close(t, '}');
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

void srv_openapi_write(srv_text *t)
{
    srv_json_open(t, '{');
    member(t, "openapi", "3.1.0");
    srv_json_key(t, "info");
    srv_json_open(t, '{');
    member(t, "title", "UniFace");
    member(t, "version", uf_version());
    srv_json_close(t, '}');
    srv_json_key(t, "paths");
    srv_json_open(t, '{');
    for (size_t i = 0; i < srv_route_count; i++) {
        if (!is_first_of_path(i))
            continue;
        srv_json_key(t, srv_routes[i].pattern);
        srv_json_open(t, '{');
        for (size_t k = i; k < srv_route_count; k++)
            if (!strcmp(srv_routes[k].pattern, srv_routes[i].pattern))
                operation(t, &srv_routes[k]);
        srv_json_close(t, '}');
    }
    srv_json_close(t, '}');
    security_schemes(t);
    srv_json_close(t, '}');
}
