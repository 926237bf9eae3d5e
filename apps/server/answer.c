/* Errors, in the words of RFC 9457, or of the API that the route belongs to. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/log.h"
#include "server/state.h"

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {{400, "Bad Request"},
                   {401, "Unauthorized"},
                   {403, "Forbidden"},
                   {404, "Not Found"},
                   {405, "Method Not Allowed"},
                   {409, "Conflict"},
                   {413, "Content Too Large"},
                   {414, "URI Too Long"},
                   {415, "Unsupported Media Type"},
                   {422, "Unprocessable Content"},
                   {429, "Too Many Requests"},
                   {431, "Request Header Fields Too Large"},
                   {500, "Internal Server Error"},
                   {501, "Not Implemented"},
                   {503, "Service Unavailable"},
                   {505, "HTTP Version Not Supported"},
                   {507, "Insufficient Storage"}};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].text;
    return "Error";
}

/* For the metrics: few words, so that an alert can name them. */
static const char *class_of(int status)
{
    switch (status) {
    case 401:
    case 403:
        return "access";
    case 413:
    case 414:
    case 431:
        return "size";
    case 429:
        return "rate";
    case 503:
        return "overload";
    default:
        return status >= 500 ? "server" : "request";
    }
}

/* CompreFace has fewer statuses, and numbers for what went wrong: handlers give them in a->code
 * where the status does not say all. */
static int compreface_code(const srv_request *q, const srv_answer *a, int *status)
{
    switch (*status) {
    case 400:
        return a->code ? a->code : 36; /* an argument is wrong */
    case 401:
        *status = srv_header(q, "x-api-key") ? 404 : 400;
        return *status == 404 ? 10 : 20; /* no service of this key; no header */
    case 403:
        return 1;
    case 404:
        return a->code;
    case 409:
    case 500:
    case 507:
        return 41;
    case 415:
        *status = 400;
        return 21;
    case 422:
        *status = 400;
        return 28; /* no face */
    default:
        return 0;
    }
}

static void compreface_error(const srv_request *q, srv_answer *a, int status, const char *message)
{
    const int code = compreface_code(q, a, &status);
    a->status = status;
    a->content_type = "application/json";
    srv_json_open(&a->body, '{');
    srv_json_key(&a->body, "message");
    srv_json_string(&a->body, message);
    srv_json_key(&a->body, "code");
    srv_json_integer(&a->body, code);
    srv_json_close(&a->body, '}');
}

bool srv_refuse(const srv_request *q, srv_answer *a, int status, const char *format, ...)
{
    char detail[600];
    va_list ap;
    va_start(ap, format);
    vsnprintf(detail, sizeof detail, format, ap);
    va_end(ap);
    const unsigned flags = q->route ? q->route->flags : 0;
    const bool detail_only = flags & (SRV_DETAIL_ERRORS | SRV_KSERVE_ERRORS);
    a->status = status;
    a->error = class_of(status);
    a->content_type = detail_only ? "application/json" : "application/problem+json";
    if ((status == 503 || status == 429) && !a->retry_after)
        a->retry_after = 1;
    a->body.size = 0;
    a->body.comma = false;
    a->json_size = 0;
    if (flags & SRV_COMPREFACE_ERRORS) {
        compreface_error(q, a, status, detail);
        return false;
    }
    srv_text *t = &a->body;
    srv_json_open(t, '{');
    if (!detail_only) {
        srv_json_key(t, "type");
        srv_json_string(t, "about:blank");
        srv_json_key(t, "title");
        srv_json_string(t, reason(status));
        srv_json_key(t, "status");
        srv_json_integer(t, status);
    }
    srv_json_key(t, flags & SRV_KSERVE_ERRORS ? "error" : "detail");
    srv_json_string(t, detail);
    if (!detail_only) {
        srv_json_key(t, "request_id");
        srv_json_string(t, q->id);
    }
    srv_json_close(t, '}');
    return false;
}

int srv_status_of(uf_status st)
{
    switch (st) {
    case UF_OK:
        return 200;
    case UF_E_ARG:
    case UF_E_FORMAT:
        return 400;
    case UF_E_UNSUPPORTED:
        return 415;
    case UF_E_LIMIT:
        return 413;
    case UF_E_NOT_FOUND:
        return 404;
    case UF_E_NO_FACE:
    case UF_E_QUALITY:
        return 422;
    case UF_E_MISMATCH:
    case UF_E_UNCALIBRATED:
        return 409;
    case UF_E_CANCELLED:
    case UF_E_STATE:
    case UF_E_NOMEM:
        return 503;
    default:
        return 500;
    }
}

/* The library begins errors with the gallery's name, which is a path or an address. */
static const char *without_name(const srv_request *q, const char *message)
{
    const char *name = q->server->gallery ? uf_gallery_name(q->server->gallery) : "";
    const size_t n = strlen(name);
    if (n && !strncmp(message, name, n) && !strncmp(message + n, ": ", 2))
        return message + n + 2;
    return message;
}

bool srv_refuse_error(const srv_request *q, srv_answer *a, const uf_error *err)
{
    int status = srv_status_of(err->status);
    if (err->status == UF_E_IO && strcasestr(err->message, "no space left"))
        status = 507;
    if (status >= 500)
        srv_log_message(SRV_LOG_ERROR, "error", "request %s: %s: %s", q->id,
                        uf_status_name(err->status), err->message);
    if (status == 500)
        return srv_refuse(q, a, 500, "an internal error, which is in the server's log");
    if (status == 507)
        return srv_refuse(q, a, 507, "there is no space left to store this");
    return srv_refuse(q, a, status, "%s", without_name(q, err->message));
}
