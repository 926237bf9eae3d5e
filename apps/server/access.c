/* The log's line has no query (it may hold ids of people) and nothing of bodies; the path is that
 * of the route. */
#include "server/access.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "late_microhttpd.h" /* microhttpd.h */
#include <sodium.h>

#include "server/log.h"
#include "server/state.h"

static void random_hex(char *out, size_t digits)
{
    uint8_t bytes[16];
    randombytes_buf(bytes, digits / 2);
    sodium_bin2hex(out, digits + 1, bytes, digits / 2);
}

static bool is_request_id(const char *s)
{
    const size_t n = s ? strlen(s) : 0;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr("._-", s[i]))
            return false;
    return n >= 1 && n <= SRV_REQUEST_ID_MAX;
}

static bool is_hex(const char *s, size_t n)
{
    bool zero = true;
    for (size_t i = 0; i < n; i++) {
        if (!strchr("0123456789abcdef", s[i]) || !s[i])
            return false;
        zero = zero && s[i] == '0';
    }
    return !zero;
}

/* W3C Trace Context: version 00, or what is longer and of a later one. */
static bool is_trace(const char *s)
{
    return s && strlen(s) >= 55 && !strncmp(s, "00-", 3) && s[55] == '\0' && s[35] == '-' &&
           s[52] == '-' && is_hex(s + 3, 32) && is_hex(s + 36, 16) &&
           isxdigit((unsigned char)s[53]) && isxdigit((unsigned char)s[54]);
}

static void take_address(srv_request *q)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(q->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *from = info ? info->client_addr : NULL;
    if (from && from->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)from)->sin_addr, q->client,
                  sizeof q->client);
    else if (from && from->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr,
                  q->client, sizeof q->client);
}

void srv_identify_request(srv_request *q)
{
    const char *id = srv_header(q, "X-Request-Id"), *trace = srv_header(q, "traceparent");
    if (is_request_id(id))
        snprintf(q->id, sizeof q->id, "%s", id);
    else
        random_hex(q->id, 32);
    if (is_trace(trace)) {
        char span[17];
        random_hex(span, 16);
        snprintf(q->trace, sizeof q->trace, "%.36s%s%.3s", trace, span, trace + 52);
    }
    take_address(q);
}

static const char *key_of(const srv_request *q)
{
    const char *bearer = srv_header(q, "Authorization");
    if (bearer && !strncasecmp(bearer, "Bearer ", 7))
        return bearer + 7;
    return srv_header(q, "x-api-key");
}

static bool check_key(srv_request *q, srv_answer *a)
{
    srv_server *s = q->server;
    const char *key = key_of(q);
    a->retry_after = srv_guard_locked(s->guard, SRV_GUARD_KEYS, q->client);
    if (a->retry_after)
        return srv_refuse(q, a, 429, "too many wrong keys from this address");
    if (!key)
        return srv_refuse(q, a, 401, "a key is needed: Authorization: Bearer KEY, or x-api-key");
    if (!srv_keyring_find(s->keyring, key, &q->who)) {
        srv_guard_failed(s->guard, SRV_GUARD_KEYS, q->client);
        return srv_refuse(q, a, 401, "the key is not known");
    }
    snprintf(q->client, sizeof q->client, "key %s", q->who.key_id);
    if (!srv_may(q, NULL, q->route->role))
        return srv_refuse(q, a, 403, "the key may not do this");
    return true;
}

bool srv_authenticate(srv_request *q, srv_answer *a)
{
    if (q->server->keyring && q->route->role != SRV_PUBLIC && !check_key(q, a))
        return false;
    if (q->route->flags & SRV_PROBE)
        return true;
    a->retry_after = srv_guard_take(q->server->guard, q->client);
    if (a->retry_after)
        return srv_refuse(q, a, 429, "this client asks too often");
    return true;
}

void srv_log_request(const srv_request *q, const srv_answer *a, const char *method, double seconds)
{
    static const char *const stages[SRV_STAGE_COUNT] = {"queue_ms", "decode_ms", "detect_ms",
                                                        "align_ms", "embed_ms",  "search_ms"};
    srv_text t = {0};
    const bool probe = q->route && q->route->flags & SRV_PROBE;
    const srv_log_level level = probe              ? SRV_LOG_DEBUG
                                : a->status >= 500 ? SRV_LOG_WARN
                                                   : SRV_LOG_INFO;
    const bool too_much = a->status == 503 || a->status == 429;
    unsigned left_out = 0;
    /* What is refused because there is too much of it must not cost a line each. */
    if (!srv_log_writes(level) || (too_much && !srv_log_sparingly(srv_now(), &left_out)) ||
        !srv_log_begin(&t, level, "request"))
        return;
    const char *const texts[][2] = {{"request_id", q->id},
                                    {"method", method ? method : ""},
                                    {"route", q->route ? q->route->pattern : ""},
                                    {"client", q->client},
                                    {"trace", q->trace}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (*texts[i][1]) {
            srv_json_key(&t, texts[i][0]);
            srv_json_string(&t, texts[i][1]);
        }
    srv_json_key(&t, "status");
    srv_json_integer(&t, a->status);
    srv_json_key(&t, "ms");
    srv_json_number(&t, (double)(int64_t)(seconds * 1e5) / 100);
    for (int i = 0; i < SRV_STAGE_COUNT; i++)
        if (q->stages[i] > 0) {
            srv_json_key(&t, stages[i]);
            srv_json_number(&t, (double)(int64_t)(q->stages[i] * 1e5) / 100);
        }
    if (left_out) {
        srv_json_key(&t, "not_logged");
        srv_json_integer(&t, left_out);
    }
    srv_log_end(&t);
}
