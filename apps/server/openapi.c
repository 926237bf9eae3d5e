/* Paths with several methods stand next to each other in the table or not; each path is written at
 * its first row, with all of its methods. */
#include "server/openapi.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/openapi_fields.h"
#include "server/server.h"

static const char *const methods[SRV_METHOD_COUNT] = {"get", "post", "put", "patch", "delete"};

static void member(srv_text *t, const char *key, const char *value)
{
    srv_json_key(t, key);
    srv_json_string(t, value);
}

/* ---- values ---- */

static void type_members(srv_text *t, const char *type, const char *items)
{
    member(t, "type", type);
    if (items) {
        srv_json_key(t, "items");
        srv_json_open(t, '{');
        member(t, "type", items);
        srv_json_close(t, '}');
    }
}

static void picture_schema(srv_text *t, bool form)
{
    member(t, "type", "string");
    member(t, form ? "format" : "contentEncoding", form ? "binary" : "base64");
}

static void list_schema(srv_text *t, srv_field_kind kind, bool form)
{
    member(t, "type", "array");
    srv_json_key(t, "items");
    srv_json_open(t, '{');
    if (kind == SRV_FIELD_PICTURES)
        picture_schema(t, form);
    else
        type_members(t, "array", "number");
    srv_json_close(t, '}');
}

/* An object in a form or query is its text. */
static void schema_members(srv_text *t, srv_field_kind kind, bool json)
{
    switch (kind) {
    case SRV_FIELD_NUMBER:
        type_members(t, "number", NULL);
        break;
    case SRV_FIELD_INTEGER:
        type_members(t, "integer", NULL);
        break;
    case SRV_FIELD_SWITCH:
        type_members(t, "boolean", NULL);
        break;
    case SRV_FIELD_OBJECT:
        type_members(t, json ? "object" : "string", NULL);
        break;
    case SRV_FIELD_VECTOR:
        type_members(t, "array", "number");
        break;
    case SRV_FIELD_PICTURE:
        picture_schema(t, !json);
        break;
    case SRV_FIELD_VECTORS:
    case SRV_FIELD_PICTURES:
        list_schema(t, kind, !json);
        break;
    default:
        type_members(t, "string", NULL);
    }
}

static void parameter(srv_text *t, const char *name, size_t size, const char *in,
                      srv_field_kind kind, const char *description)
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
    schema_members(t, kind, false);
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static const srv_described *fields_of(const srv_route *r, int list)
{
    const srv_operation *o = srv_operation_of(r);
    return o && list < SRV_FIELD_LISTS ? o->fields[list] : NULL;
}

/* Where a body is JSON alone its members are what is given; elsewhere each value may stand in the
 * query, a form or JSON. */
static void query_parameters(srv_text *t, const srv_route *r)
{
    if (r->body == SRV_BODY_JSON)
        return;
    for (int i = 0; i < SRV_FIELD_LISTS; i++)
        for (const srv_described *f = fields_of(r, i); f && f->kind; f++)
            if (f->kind <= SRV_FIELD_OBJECT)
                parameter(t, f->name, strlen(f->name), "query", f->kind, f->what);
}

static void parameters(srv_text *t, const srv_route *r)
{
    static const char key[] = "Idempotency-Key", shape[] = "shape", pixels[] = "pixels";
    srv_json_key(t, "parameters");
    srv_json_open(t, '[');
    for (const char *p = strchr(r->pattern, '{'); p; p = strchr(p + 1, '{'))
        parameter(t, p + 1, strcspn(p + 1, "}"), "path", SRV_FIELD_TEXT, NULL);
    query_parameters(t, r);
    if (r->flags & SRV_IDEMPOTENT)
        parameter(t, key, strlen(key), "header", SRV_FIELD_TEXT,
                  "1 to 255 visible ASCII characters: the same request with the same key enrols "
                  "once");
    if (r->body & SRV_BODY_IMAGE) {
        parameter(t, shape, strlen(shape), "query", SRV_FIELD_TEXT,
                  "of bare pixels (application/octet-stream): height,width,channels, or with "
                  "several pictures count,height,width,channels");
        parameter(t, pixels, strlen(pixels), "query", SRV_FIELD_TEXT,
                  "of bare pixels: rgb, bgr or gray");
    }
    srv_json_close(t, ']');
}

/* ---- bodies ---- */

static void properties(srv_text *t, const srv_route *r, bool json)
{
    srv_json_key(t, "properties");
    srv_json_open(t, '{');
    for (int i = 0; i < SRV_FIELD_LISTS; i++)
        for (const srv_described *f = fields_of(r, i); f && f->kind; f++) {
            srv_json_key(t, f->name);
            srv_json_open(t, '{');
            schema_members(t, f->kind, json);
            member(t, "description", f->what);
            srv_json_close(t, '}');
        }
    srv_json_close(t, '}');
}

static void media(srv_text *t, const char *type, const char *schema, const char *format,
                  const srv_route *fields)
{
    srv_json_key(t, type);
    srv_json_open(t, '{');
    srv_json_key(t, "schema");
    srv_json_open(t, '{');
    type_members(t, schema, strcmp(schema, "array") ? NULL : "string");
    if (format)
        member(t, "format", format);
    if (fields)
        properties(t, fields, !strcmp(type, "application/json"));
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static void request_body(srv_text *t, const srv_route *r)
{
    const unsigned body = r->body;
    const srv_route *fields = fields_of(r, 0) ? r : NULL;
    srv_json_key(t, "requestBody");
    srv_json_open(t, '{');
    srv_json_key(t, "content");
    srv_json_open(t, '{');
    if (body & SRV_BODY_FORM)
        media(t, "multipart/form-data", "object", NULL, fields);
    if (body & (SRV_BODY_JSON | SRV_BODY_RAW))
        media(t, "application/json", "object", NULL, fields);
    if (body & SRV_BODY_LIST)
        media(t, "application/json", "array", NULL, NULL);
    if (body & SRV_BODY_RAW)
        media(t, "application/octet-stream", "string", "binary", NULL);
    if (body & SRV_BODY_IMAGE) {
        media(t, "image/*", "string", "binary", NULL);
        media(t, "application/octet-stream", "string", "binary", NULL);
    }
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

/* ---- answers ---- */

static void content(srv_text *t, const char *type, const char *reference)
{
    srv_json_key(t, "content");
    srv_json_open(t, '{');
    srv_json_key(t, type);
    srv_json_open(t, '{');
    srv_json_key(t, "schema");
    srv_json_open(t, '{');
    if (reference)
        member(t, "$ref", reference);
    srv_json_close(t, '}');
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static void answers(srv_text *t, const srv_route *r)
{
    const srv_operation *o = srv_operation_of(r);
    char status[12];
    snprintf(status, sizeof status, "%d", o ? o->status : 200);
    srv_json_key(t, "responses");
    srv_json_open(t, '{');
    srv_json_key(t, status);
    srv_json_open(t, '{');
    member(t, "description", o ? o->answer : "Success");
    if (o && o->status != 204)
        content(t, "application/json", NULL);
    srv_json_close(t, '}');
    srv_json_key(t, "default");
    srv_json_open(t, '{');
    if (r->flags & (SRV_DETAIL_ERRORS | SRV_COMPREFACE_ERRORS | SRV_KSERVE_ERRORS)) {
        member(t, "description", "An error: application/json");
        content(t, "application/json", NULL);
    } else {
        member(t, "description", "An error: application/problem+json");
        content(t, "application/problem+json", "#/components/schemas/Problem");
    }
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

/* "get_v1_people_id" */
static void operation_id(srv_text *t, const srv_route *r)
{
    char id[128];
    size_t n = (size_t)snprintf(id, sizeof id, "%s", methods[r->method]);
    for (const char *p = r->pattern; *p && n + 1 < sizeof id; p++)
        if (isalnum((unsigned char)*p))
            id[n++] = *p;
        else if (id[n - 1] != '_')
            id[n++] = '_';
    while (id[n - 1] == '_')
        n--;
    id[n] = '\0';
    member(t, "operationId", id);
}

static void operation(srv_text *t, const srv_route *r)
{
    srv_json_key(t, methods[r->method]);
    srv_json_open(t, '{');
    operation_id(t, r);
    member(t, "summary", r->summary);
    parameters(t, r);
    if (r->body)
        request_body(t, r);
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
    answers(t, r);
    srv_json_close(t, '}');
}

static bool is_first_of_path(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (!strcmp(srv_routes[k].pattern, srv_routes[i].pattern))
            return false;
    return true;
}

/* RFC 9457, with the request's id. */
static void problem_schema(srv_text *t)
{
    static const struct {
        const char *name, *type;
    } members[] = {{"type", "string"},
                   {"title", "string"},
                   {"status", "integer"},
                   {"detail", "string"},
                   {"request_id", "string"}};
    srv_json_key(t, "Problem");
    srv_json_open(t, '{');
    member(t, "type", "object");
    srv_json_key(t, "properties");
    srv_json_open(t, '{');
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        srv_json_key(t, members[i].name);
        srv_json_open(t, '{');
        member(t, "type", members[i].type);
        srv_json_close(t, '}');
    }
    srv_json_close(t, '}');
    srv_json_close(t, '}');
}

static void components(srv_text *t)
{
    srv_json_key(t, "components");
    srv_json_open(t, '{');
    srv_json_key(t, "schemas");
    srv_json_open(t, '{');
    problem_schema(t);
    srv_json_close(t, '}');
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
    components(t);
    srv_json_close(t, '}');
}
