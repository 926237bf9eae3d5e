/* A client of some 200 lines, so that a container's health check needs no other program. */
#include "http_get.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "cli.h"

#ifdef UFI_WITH_GNUTLS
#include "late_gnutls.h" /* gnutls/gnutls.h */
#endif

typedef struct client {
    const http_options *o;
    http_answer *a;
    double deadline_ms;
    int fd;
    bool secure;
    char host[256], port[8], path[1024];
#ifdef UFI_WITH_GNUTLS
    gnutls_session_t session;
    gnutls_certificate_credentials_t credentials;
#endif
} client;

static bool fail(client *c, const char *what, const char *reason)
{
    snprintf(c->a->why, sizeof c->a->why, "%.60s: %.180s", what, reason);
    return false;
}

static bool read_url(client *c, const char *url, const char *path)
{
    c->secure = !strncmp(url, "https://", 8);
    if (!c->secure && strncmp(url, "http://", 7))
        return fail(c, url, "a URL begins with http:// or https://");
    const char *host = url + (c->secure ? 8 : 7);
    const size_t size = strcspn(host, "/?#");
    const char *rest = host[size] && strcmp(host + size, "/") ? host + size : path;
    if (!size || size >= sizeof c->host || strlen(rest) >= sizeof c->path || rest[0] != '/' ||
        strpbrk(rest, " \r\n#"))
        return fail(c, url, "not of the form http://HOST[:PORT][/PATH]");
    memcpy(c->host, host, size);
    memcpy(c->path, rest, strlen(rest) + 1);
    return true;
}

/* ---- the connection ---- */

/* What is left of the deadline bounds the next call on the socket. */
static bool set_timeouts(client *c)
{
    const double left = c->deadline_ms - cli_now_ms();
    if (left <= 0)
        return fail(c, c->host, "no answer in time");
    const struct timeval t = {(time_t)(left / 1e3),
                              (suseconds_t)((left - 1e3 * (double)(time_t)(left / 1e3)) * 1e3) + 1};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    return true;
}

/* Name and port of c->host, "[::1]:80" and "localhost" among them. */
static void split_host(const client *c, char name[256], char port[8])
{
    const char *end = c->host[0] == '[' ? strchr(c->host, ']') : NULL;
    const char *colon = strchr(end ? end : c->host, ':');
    const char *begin = c->host + (end != NULL);
    snprintf(name, 256, "%.*s",
             (int)((end     ? end
                    : colon ? colon
                            : c->host + strlen(c->host)) -
                   begin),
             begin);
    snprintf(port, 8, "%.7s", colon ? colon + 1 : c->secure ? "443" : "80");
}

static bool connect_to(client *c)
{
    char name[256], port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    split_host(c, name, port);
    const int wrong = getaddrinfo(name, port, &hints, &found);
    if (wrong)
        return fail(c, c->host, gai_strerror(wrong));
    int error = 0;
    for (const struct addrinfo *i = found; i && c->fd < 0; i = i->ai_next) {
        c->fd = socket(i->ai_family, i->ai_socktype | SOCK_CLOEXEC, i->ai_protocol);
        if (c->fd < 0 || (set_timeouts(c) && !connect(c->fd, i->ai_addr, i->ai_addrlen)))
            continue;
        error = errno == EINPROGRESS ? ETIMEDOUT : errno;
        close(c->fd);
        c->fd = -1;
    }
    freeaddrinfo(found);
    return c->fd >= 0 || fail(c, c->host, strerror(error));
}

#ifdef UFI_WITH_GNUTLS
static bool start_tls(client *c)
{
    char name[256], port[8], why[180];
    int n = GNUTLS_E_AGAIN;
    if (!late_gnutls_load(why, sizeof why))
        return fail(c, "TLS", why);
    split_host(c, name, port);
    if (gnutls_certificate_allocate_credentials(&c->credentials) ||
        gnutls_init(&c->session, GNUTLS_CLIENT) || gnutls_set_default_priority(c->session))
        return fail(c, c->host, "TLS cannot be set up");
    if (c->o->ca ? gnutls_certificate_set_x509_trust_file(c->credentials, c->o->ca,
                                                          GNUTLS_X509_FMT_PEM) <= 0
                 : gnutls_certificate_set_x509_system_trust(c->credentials) < 0 && !c->o->insecure)
        return fail(c, c->o->ca ? c->o->ca : c->host, "no certificates of authorities are there");
    gnutls_credentials_set(c->session, GNUTLS_CRD_CERTIFICATE, c->credentials);
    gnutls_server_name_set(c->session, GNUTLS_NAME_DNS, name, strlen(name));
    if (!c->o->insecure)
        gnutls_session_set_verify_cert(c->session, name, 0);
    gnutls_transport_set_int2(c->session, c->fd, c->fd);
    while (n < 0 && !gnutls_error_is_fatal(n) && set_timeouts(c))
        n = gnutls_handshake(c->session);
    return n >= 0 || fail(c, c->host, gnutls_strerror(n));
}
#else
static bool start_tls(client *c)
{
    return fail(c, c->host, "this build has no TLS");
}
#endif

static ssize_t receive(client *c, char *out, size_t room)
{
#ifdef UFI_WITH_GNUTLS
    if (c->secure) {
        ssize_t n = GNUTLS_E_AGAIN;
        while ((n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED) && set_timeouts(c))
            n = gnutls_record_recv(c->session, out, room);
        return n == GNUTLS_E_PREMATURE_TERMINATION ? 0 : n;
    }
#endif
    return set_timeouts(c) ? recv(c->fd, out, room, 0) : -1;
}

static bool send_all(client *c, const char *data, size_t size)
{
    while (size) {
        ssize_t n = -1;
        if (!set_timeouts(c))
            return false;
#ifdef UFI_WITH_GNUTLS
        if (c->secure)
            n = gnutls_record_send(c->session, data, size);
        else
#endif
            n = send(c->fd, data, size, MSG_NOSIGNAL);
        if (n <= 0)
            return fail(c, c->host, "the connection was closed");
        data += n;
        size -= (size_t)n;
    }
    return true;
}

static void end_connection(client *c)
{
#ifdef UFI_WITH_GNUTLS
    if (c->session)
        gnutls_deinit(c->session);
    if (c->credentials)
        gnutls_certificate_free_credentials(c->credentials);
#endif
    if (c->fd >= 0)
        close(c->fd);
}

/* ---- the answer ---- */

static bool send_request(client *c)
{
    char text[2048];
    const bool has_key = c->o->key && *c->o->key;
    const int n = snprintf(text, sizeof text,
                           "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: uniface/%s\r\n"
                           "Connection: close\r\n%s%s%s\r\n",
                           c->path, c->host, uf_version(), has_key ? "X-API-Key: " : "",
                           has_key ? c->o->key : "", has_key ? "\r\n" : "");
    if (n < 0 || (size_t)n >= sizeof text || (has_key && strpbrk(c->o->key, "\r\n")))
        return fail(c, c->host, "the key cannot be sent");
    return send_all(c, text, (size_t)n);
}

/* All that comes up to the end of the connection. */
static bool receive_all(client *c)
{
    http_answer *a = c->a;
    size_t room = 0;
    for (;;) {
        if (room - a->size < 65536) {
            room = room ? 2 * room : 131072;
            a->body = room <= 2 * HTTP_BODY_MAX ? cli_need(realloc(a->body, room)) : a->body;
            if (room > 2 * HTTP_BODY_MAX)
                return fail(c, c->host, "the answer is larger than 16 MiB");
        }
        const ssize_t n = receive(c, a->body + a->size, room - a->size - 1);
        if (n < 0)
            return c->a->why[0]
                       ? false
                       : fail(c, c->host,
                              errno == EAGAIN ? "no answer in time" : "the connection broke");
        a->size += (size_t)n;
        a->body[a->size] = '\0';
        if (n == 0)
            return true;
    }
}

/* Takes the chunks at `body` together in place; false when they do not end. */
static bool join_chunks(http_answer *a, char *body)
{
    char *out = body, *at = body;
    for (;;) {
        char *end = NULL;
        const unsigned long long size = strtoull(at, &end, 16);
        char *data = end != at ? strstr(end, "\r\n") : NULL;
        if (!data || size > HTTP_BODY_MAX)
            return false;
        data += 2;
        if (!size)
            break;
        if (size + 2 > (size_t)(a->body + a->size - data))
            return false;
        memmove(out, data, size);
        out += size;
        at = data + size + 2;
    }
    *out = '\0';
    a->size = (size_t)(out - a->body);
    return true;
}

static const char *find_field(const char *head, const char *end, const char *name)
{
    for (const char *line = head; (line = strstr(line, "\r\n")) && line < end;) {
        line += 2;
        if (!strncasecmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            return line + strlen(name) + 1 + strspn(line + strlen(name) + 1, " \t");
    }
    return NULL;
}

/* Head and chunk sizes are taken away, so that a->body is the body. */
static bool read_answer(client *c)
{
    http_answer *a = c->a;
    char *end = a->body ? strstr(a->body, "\r\n\r\n") : NULL;
    if (!end || sscanf(a->body, "HTTP/1.%*d %d", &a->status) != 1)
        return fail(c, c->host, "what answers does not speak HTTP");
    char *body = end + 4;
    const char *coding = find_field(a->body, end, "Transfer-Encoding");
    const char *length = find_field(a->body, end, "Content-Length");
    if (coding ? !join_chunks(a, body)
               : length && strtoull(length, NULL, 10) > (size_t)(a->body + a->size - body))
        return fail(c, c->host, "the answer is cut off");
    a->size -= (size_t)(body - a->body);
    memmove(a->body, body, a->size + 1);
    return true;
}

bool http_get(const char *url, const char *path, const http_options *o, http_answer *a)
{
    client c = {.o = o, .a = a, .fd = -1, .deadline_ms = cli_now_ms() + o->timeout_ms};
    *a = (http_answer){0};
    const bool ok = read_url(&c, url, path) && connect_to(&c) && (!c.secure || start_tls(&c)) &&
                    send_request(&c) && receive_all(&c) && read_answer(&c);
    end_connection(&c);
    return ok;
}

const char *http_arguments(const cli_args *a, http_options *o)
{
    *o = (http_options){.ca = cli_value(a, "ca"), .insecure = cli_flag(a, "insecure")};
    if (!cli_number(a, "timeout", 1, 3600000, 3000, &o->timeout_ms))
        return NULL;
    return a->count ? a->operands[0] : "http://127.0.0.1:8000";
}
