/*
 * libmicrohttpd calls `access_request` at a request's head, with each piece of its body, and at its
 * end. What is wrong with the head is answered before the body is read (and the connection then
 * closed, since a body may follow that nobody reads). Its post-processor is not used, nor its
 * suspension of connections, which skips ready ones below 1.0.3.
 */
#include "server/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "late_microhttpd.h" /* microhttpd.h */
#include <sodium.h>

#include "server/access.h"
#include "server/body.h"
#include "server/http_start.h"
#include "server/log.h"
#include "server/request_check.h"

enum { DRAIN_BYTES_MAX = 256 << 10 };
static const char queue_is_full[] = "the queue is full: try again";

typedef struct exchange {
    srv_request q;
    srv_answer a;
    srv_body body;
    char *target; /* as sent */
    const char *method;
    srv_slot *slot;
    double asked;  /* when all of the request was there */
    bool begun;    /* the head was seen */
    bool admitted; /* counts in the engine */
    bool answered;
} exchange;

/* ---- the answer ---- */

static void add_header(struct MHD_Response *r, const char *name, const char *value)
{
    MHD_add_response_header(r, name, value);
}

static void add_headers(struct MHD_Response *r, const exchange *x)
{
    char seconds[16], size[24];
    const srv_answer *a = &x->a;
    if (a->body.size)
        add_header(r, "Content-Type", a->content_type ? a->content_type : "application/json");
    if (a->json_size) {
        snprintf(size, sizeof size, "%zu", a->json_size);
        add_header(r, "Inference-Header-Content-Length", size);
    }
    add_header(r, "X-Request-Id", x->q.id);
    if (*x->q.trace)
        add_header(r, "traceparent", x->q.trace);
    if (a->allow)
        add_header(r, "Allow", a->allow);
    if (a->status == 401)
        add_header(r, "WWW-Authenticate", "Bearer realm=\"uniface\"");
    add_header(r, "X-Content-Type-Options", "nosniff");
    if (a->policy)
        add_header(r, "Content-Security-Policy", a->policy);
    if (a->etag)
        add_header(r, "ETag", a->etag);
    if (a->replayed)
        add_header(r, "Idempotency-Replayed", "true");
    add_header(r, "Cache-Control", a->etag ? "no-cache" : "no-store");
    if (a->retry_after) {
        snprintf(seconds, sizeof seconds, "%d", a->retry_after);
        add_header(r, "Retry-After", seconds);
    }
    if (a->close || atomic_load(&x->q.server->draining))
        add_header(r, "Connection", "close");
}

static enum MHD_Result send_answer(exchange *x)
{
    srv_text *t = &x->a.body;
    srv_server *s = x->q.server;
    if (t->failed) {
        srv_text_free(t);
        srv_refuse(&x->q, &x->a, 503, "out of memory");
    }
    /* The text's memory becomes the answer's. */
    struct MHD_Response *r = MHD_create_response_from_buffer(
        t->size, t->data, t->data ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    add_headers(r, x);
    *t = (srv_text){0};
    if (x->admitted)
        srv_engine_leave(s->engine);
    x->admitted = false;
    srv_body_free(&x->body); /* before the answer goes out, which may take its time */
    srv_slot_phase(s->connections, x->slot, SRV_PHASE_ANSWER, srv_now() + s->config.body_timeout);
    x->answered = true;
    const enum MHD_Result ok = MHD_queue_response(x->q.connection, (unsigned)x->a.status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result refuse(exchange *x, int status, const char *why)
{
    srv_refuse(&x->q, &x->a, status, "%s", why);
    return send_answer(x);
}

static enum MHD_Result refuse_and_close(exchange *x, int status, const char *why)
{
    x->a.close = true;
    return refuse(x, status, why);
}

/* ---- the head ---- */

/* The fields of a head, as the check wants them. */
typedef struct field_list {
    srv_field fields[SRV_HEADERS_MAX + 1]; /* one more: the check sees that they are too many */
    size_t count;
} field_list;

static enum MHD_Result take_field(void *user, enum MHD_ValueKind kind, const char *name,
                                  size_t name_size, const char *value, size_t value_size)
{
    field_list *l = user;
    (void)kind;
    if (l->count <= SRV_HEADERS_MAX)
        l->fields[l->count++] = (srv_field){name, value ? value : "", name_size, value_size};
    return MHD_YES;
}

static int check_head(const exchange *x, const char *version, const char **why)
{
    field_list l = {.count = 0};
    MHD_get_connection_values_n(x->q.connection, MHD_HEADER_KIND, take_field, &l);
    const srv_head head = {x->method, x->target, version, l.fields, l.count};
    return srv_request_check(&head, why);
}

static bool method_of(const char *name, srv_method *out)
{
    static const char *const names[SRV_METHOD_COUNT] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    for (int i = 0; i < SRV_METHOD_COUNT; i++)
        if (!strcmp(name, names[i])) {
            *out = (srv_method)i;
            return true;
        }
    *out = SRV_GET;
    return !strcmp(name, "HEAD");
}

/* "http://host/path?query" and "/path?query" to "/path", in place. */
static void take_path(exchange *x)
{
    char *path = x->target;
    if (*path != '/') {
        char *slashes = strstr(path, "//");
        char *slash = slashes ? strchr(slashes + 2, '/') : NULL;
        path = slash ? slash : strcpy(path, "/");
    }
    path[strcspn(path, "?")] = '\0';
    x->q.path = path;
}

static enum MHD_Result answer_options(exchange *x, const char *allow)
{
    x->a.status = 204;
    x->a.allow =
        strcmp(x->q.path, "*") == 0 ? "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" : allow;
    return send_answer(x);
}

static bool has_body(const exchange *x, double *length)
{
    const char *text = srv_header(&x->q, "Content-Length");
    *length = text ? strtod(text, NULL) : 0;
    return *length > 0 || srv_header(&x->q, "Transfer-Encoding");
}

/* A body that is small enough is read and thrown away, which costs less than another connection. */
static enum MHD_Result refuse_full(exchange *x, bool body, double length)
{
    const bool announced = length > 0 && length <= DRAIN_BYTES_MAX;
    if (!body || !announced || srv_header(&x->q, "Expect"))
        return refuse(x, 503, queue_is_full);
    x->a.close = false;
    srv_body_refuse(&x->body, &x->q, 503, queue_is_full);
    return MHD_YES;
}

/* What the route asks of head and key. MHD_YES with x->answered: it was refused. */
static enum MHD_Result check_request(exchange *x)
{
    srv_request *q = &x->q;
    double length;
    const bool body = has_body(x, &length);
    x->a.close = body;
    if (!srv_authenticate(q, &x->a))
        return send_answer(x);
    if (body && length > q->server->config.max_body)
        return refuse_and_close(x, 413, "the body is larger than this server takes");
    if (body && !q->route->body)
        return refuse_and_close(x, 400, "this operation takes no body");
    if (!(q->route->flags & SRV_UNQUEUED) && srv_engine_is_full(q->server->engine))
        return refuse_full(x, body, length);
    if (q->route->body && !srv_body_begin(&x->body, q))
        return refuse(x, x->body.status, x->body.why);
    x->a.close = false;
    return MHD_YES;
}

static enum MHD_Result begin_request(exchange *x, const char *version)
{
    static _Thread_local char allow[64];
    const char *why = "";
    srv_method method;
    srv_request *q = &x->q;
    srv_server *s = q->server;
    q->content_type = srv_header(q, "Content-Type");
    if (!q->content_type)
        q->content_type = "";
    srv_identify_request(q);
    const int status = check_head(x, version, &why);
    take_path(x);
    if (status)
        return refuse_and_close(x, status, why);
    if (!srv_client_certificate_ok(q))
        return refuse_and_close(x, 403, "a client certificate is needed, by the right authority");
    srv_slot_phase(s->connections, x->slot, SRV_PHASE_BODY, q->started + s->config.body_timeout);
    const bool known = method_of(x->method, &method);
    /* OPTIONS is no route's method, so that *allow gets all that the path knows. */
    q->route = srv_route_find(known ? method : SRV_METHOD_COUNT, q->path, q, allow);
    if (!known && (*allow || !strcmp(q->path, "*")))
        return answer_options(x, allow);
    if (!q->route) {
        x->a.allow = *allow ? allow : NULL;
        double length;
        x->a.close = has_body(x, &length);
        return refuse(x, *allow ? 405 : 404,
                      *allow ? "this path does not know the method"
                             : "there is nothing of this name");
    }
    return check_request(x);
}

/* ---- the work ---- */

/* The audit log names the key. A connection's thread may serve several. */
static void act_for_key(const srv_request *q)
{
    char actor[sizeof q->who.key_id + 32];
    snprintf(actor, sizeof actor, "uniface serve, key %s", q->who.key_id);
    uf_gallery_act_for(*q->who.key_id ? actor : NULL, NULL);
}

static void handle(void *user)
{
    exchange *x = user;
    srv_request *q = &x->q;
    q->stages[SRV_STAGE_QUEUE] = srv_now() - x->asked;
    act_for_key(q);
    q->route->handler(q, &x->a);
}

/* What may have pictures to work at goes to the engine's threads; all else need not wait for them.
 */
static void handle_in_turn(exchange *x)
{
    srv_request *q = &x->q;
    srv_engine *e = q->server->engine;
    uf_error err;
    if (q->route->method != SRV_POST || q->route->flags & SRV_UNQUEUED) {
        handle(x);
        srv_engine_rest(e, &q->work);
    } else if (srv_engine_do(e, &q->work, handle, x, &err)) {
        srv_refuse_error(q, &x->a, &err);
    }
}

static enum MHD_Result do_work(exchange *x)
{
    srv_request *q = &x->q;
    srv_server *s = q->server;
    if (x->body.request && !srv_body_finish(&x->body)) {
        x->a.close = x->body.status == 413;
        return refuse(x, x->body.status, x->body.why);
    }
    x->asked = srv_now();
    q->work = (srv_work){.client = q->client, .deadline = x->asked + s->config.request_timeout};
    srv_slot_phase(s->connections, x->slot, SRV_PHASE_WORK, 0);
    if (!(q->route->flags & SRV_UNQUEUED)) {
        x->admitted = srv_engine_enter(s->engine);
        if (!x->admitted)
            return refuse(x, 503, queue_is_full);
    }
    x->a.status = 200;
    handle_in_turn(x);
    return send_answer(x);
}

static enum MHD_Result access_request(void *user, struct MHD_Connection *connection,
                                      const char *url, const char *method, const char *version,
                                      const char *data, size_t *size, void **state)
{
    exchange *x = *state;
    (void)user;
    (void)url;
    if (!x)
        return MHD_NO; /* no memory */
    if (!x->begun) {
        x->begun = true;
        x->method = method;
        return begin_request(x, version);
    }
    if (x->answered)
        return MHD_YES;
    if (*size) {
        if (x->body.request)
            srv_body_feed(&x->body, data, *size);
        *size = 0;
        /* What is refused already is read a little further, so that the client sees the answer; not
         * for ever. */
        const double most = 4 * x->q.server->config.max_body;
        return (double)x->body.received > most ? MHD_NO : MHD_YES;
    }
    return do_work(x);
}

/* ---- begin and end ---- */

/* The request line has come. */
static void *begin_exchange(void *user, const char *uri, struct MHD_Connection *connection)
{
    srv_server *s = user;
    exchange *x = calloc(1, sizeof *x);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    if (!x)
        return NULL;
    x->target = strdup(uri);
    if (!x->target) {
        free(x);
        return NULL;
    }
    x->q.server = s;
    x->q.connection = connection;
    x->q.started = srv_now();
    x->slot = info ? info->socket_context : NULL;
    srv_slot_phase(s->connections, x->slot, SRV_PHASE_HEAD,
                   x->q.started + s->config.header_timeout);
    return x;
}

static void end_exchange(void *user, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode how)
{
    srv_server *s = user;
    exchange *x = *state;
    (void)connection;
    *state = NULL;
    if (!x)
        return;
    srv_slot_phase(s->connections, x->slot, SRV_PHASE_IDLE, srv_now() + s->config.idle_timeout);
    if (x->admitted)
        srv_engine_leave(s->engine);
    if (!x->answered || how != MHD_REQUEST_TERMINATED_COMPLETED_OK)
        srv_telemetry_error(s->telemetry, "connection");
    if (x->answered) {
        const double seconds = srv_now() - x->q.started;
        srv_telemetry_request(s->telemetry, &x->q, &x->a, seconds);
        srv_log_request(&x->q, &x->a, x->method, seconds);
    }
    srv_body_free(&x->body);
    srv_text_free(&x->a.body);
    for (int i = 0; i < SRV_PARAMS_MAX; i++)
        free(x->q.params[i]);
    free(x->target);
    free(x);
}

static void on_connection(void *user, struct MHD_Connection *connection, void **state,
                          enum MHD_ConnectionNotificationCode what)
{
    srv_server *s = user;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        srv_slot_close(s->connections, *state);
        *state = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info)
        *state =
            srv_slot_open(s->connections, info->connect_fd, srv_now() + s->config.header_timeout);
}

bool srv_http_start(srv_server *s, char why[512])
{
    const srv_http_callbacks calls = {access_request, begin_exchange, end_exchange, on_connection};
    s->daemon = srv_http_daemon(s, &calls, why);
    return s->daemon != NULL;
}

uint16_t srv_http_port(const srv_server *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void srv_http_quiesce(srv_server *s)
{
    const int listener = MHD_quiesce_daemon(s->daemon);
    struct sockaddr_storage from;
    if (listener < 0)
        return;
    /* Those whom the kernel has accepted already count as accepted. */
    fcntl(listener, F_SETFL, fcntl(listener, F_GETFL) | O_NONBLOCK);
    for (;;) {
        socklen_t n = sizeof from;
        const int c = accept4(listener, (struct sockaddr *)&from, &n, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (c < 0)
            break;
        MHD_add_connection(s->daemon, c, (struct sockaddr *)&from, n);
    }
    close(listener);
}

void srv_http_stop(srv_server *s)
{
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    s->daemon = NULL;
}
