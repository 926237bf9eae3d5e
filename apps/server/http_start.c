/* Options of libmicrohttpd, and what of TLS is ours. */
#include "server/http_start.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "late_gnutls.h"
#include "server/http.h"
#include "server/log.h"
#include "server/metrics.h"

enum {
    STACK_BYTES = 512 * 1024, /* decoders, TLS and SQLite take less than half of it */
    HEAD_BYTES = 96 * 1024,   /* a head of 32 KiB, decoded and kept with its list of fields */
    OPTIONS_MAX = 24
};

/* MHD's own messages, such as those on clients that hang up; at level debug. */
static void log_line(void *user, const char *format, va_list ap)
{
    char text[400];
    (void)user;
    vsnprintf(text, sizeof text, format, ap);
    text[strcspn(text, "\n")] = '\0';
    srv_log_message(SRV_LOG_DEBUG, "http", "%s", text);
}

/* Paths are decoded by us, after they were split. */
static size_t keep_escapes(void *user, struct MHD_Connection *connection, char *text)
{
    (void)user;
    (void)connection;
    return MHD_http_unescape(text);
}

static char *read_file(const char *path, char why[512])
{
    struct stat s;
    FILE *f = fopen(path, "re");
    char *text =
        f && !fstat(fileno(f), &s) && s.st_size < 1 << 20 ? calloc(1, (size_t)s.st_size + 1) : NULL;
    if (!f)
        snprintf(why, 512, "%.400s: %s", path, strerror(errno));
    else if (!text)
        snprintf(why, 512, "%.400s: this is no file of at most 1 MiB", path);
    else if (fread(text, 1, (size_t)s.st_size, f) != (size_t)s.st_size) {
        snprintf(why, 512, "%.400s: %s", path, strerror(errno));
        free(text);
        text = NULL;
    }
    if (f)
        fclose(f);
    return text;
}

/* A socket of our own: its queue is long enough for a burst, and it is refused with a reason. */
static int listen_at(const srv_config *c, char why[512])
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(c->port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(c->port)};
    const bool is_six = strchr(c->host, ':') != NULL;
    const int on = 1, s = socket(is_six ? AF_INET6 : AF_INET,
                                 SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    inet_pton(is_six ? AF_INET6 : AF_INET, c->host,
              is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr);
    if (s >= 0)
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (s >= 0 &&
        !bind(s, is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four,
              is_six ? sizeof six : sizeof four) &&
        !listen(s, 4096))
        return s;
    snprintf(why, 512, "cannot listen on %.200s: %s", c->listen, strerror(errno));
    if (s >= 0)
        close(s);
    return -1;
}

typedef struct tls_texts {
    char *certificate, *key, *authority;
} tls_texts;

static bool read_tls(const srv_config *c, tls_texts *t, char why[512])
{
    if (!c->tls)
        return true;
    t->certificate = read_file(c->tls_cert, why);
    t->key = t->certificate ? read_file(c->tls_key, why) : NULL;
    if (t->key && *c->tls_client_ca)
        t->authority = read_file(c->tls_client_ca, why);
    return t->key && (t->authority || !*c->tls_client_ca);
}

static void free_tls(tls_texts *t)
{
    if (t->key)
        explicit_bzero(t->key, strlen(t->key));
    free(t->certificate);
    free(t->key);
    free(t->authority);
}

static gnutls_datum_t datum(const char *text)
{
    return (gnutls_datum_t){(unsigned char *)(uintptr_t)text, (unsigned)strlen(text)};
}

/* Whether the texts are what they should be. */
static bool check_tls(const srv_config *c, const tls_texts *tls, char why[512])
{
    gnutls_certificate_credentials_t own = NULL;
    int authorities = 1, st = gnutls_certificate_allocate_credentials(&own);
    const gnutls_datum_t certificate = datum(tls->certificate), key = datum(tls->key);
    if (st >= 0)
        st = gnutls_certificate_set_x509_key_mem(own, &certificate, &key, GNUTLS_X509_FMT_PEM);
    if (st < 0)
        snprintf(why, 512, "%.150s and %.150s: are both PEM, and do they belong together? (%.100s)",
                 c->tls_cert, c->tls_key, gnutls_strerror(st));
    if (st >= 0 && tls->authority) {
        const gnutls_datum_t authority = datum(tls->authority);
        authorities = gnutls_certificate_set_x509_trust_mem(own, &authority, GNUTLS_X509_FMT_PEM);
        if (authorities < 1)
            snprintf(why, 512, "%.200s: it holds no certificate of an authority", c->tls_client_ca);
    }
    if (own)
        gnutls_certificate_free_credentials(own);
    return st >= 0 && authorities > 0;
}

bool srv_http_check(const srv_config *c, char why[512])
{
    tls_texts tls = {0};
    char reason[256];
    if (!c->tls)
        return true;
    if (!late_gnutls_load(reason, sizeof reason)) {
        snprintf(why, 512, "the TLS library cannot be loaded: %s", reason);
        return false;
    }
    const bool ok = read_tls(c, &tls, why) && check_tls(c, &tls, why);
    free_tls(&tls);
    return ok;
}

/* libmicrohttpd tries again and again to accept a connection for which no descriptor is left, which
 * takes a whole core: so many are not let in. The rest is for models, the gallery and the log. */
static unsigned connection_limit(const srv_config *c)
{
    const double wanted = c->max_connections, reserve = 64, used = srv_open_files();
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return (unsigned)wanted;
    const rlim_t need = (rlim_t)(wanted + used + reserve);
    if (limit.rlim_cur < need) {
        const rlim_t before = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
        if (setrlimit(RLIMIT_NOFILE, &limit))
            limit.rlim_cur = before;
    }
    const double spare = (double)limit.rlim_cur - used;
    const double most = spare - (spare / 2 < reserve ? spare / 2 : reserve);
    if (most >= wanted)
        return (unsigned)wanted;
    srv_log_message(SRV_LOG_WARN, "http",
                    "%.0f connections at once instead of %.0f: this process may open %.0f files "
                    "(ulimit -n, LimitNOFILE)",
                    most < 1 ? 1 : most, wanted, (double)limit.rlim_cur);
    return most < 1 ? 1 : (unsigned)most;
}

struct MHD_Daemon *srv_http_daemon(srv_server *s, const srv_http_callbacks *calls, char why[512])
{
    const srv_config *c = &s->config;
    tls_texts tls = {0};
    struct MHD_OptionItem o[OPTIONS_MAX] = {{MHD_OPTION_END, 0, NULL}};
    int n = 0;
    char reason[256];
    if (!late_microhttpd_load(reason, sizeof reason) || !late_gnutls_load(reason, sizeof reason)) {
        snprintf(why, 512, "the HTTP library cannot be loaded: %s", reason);
        return NULL;
    }
    const int listener = read_tls(c, &tls, why) ? listen_at(c, why) : -1;
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                     MHD_USE_POLL | MHD_USE_ERROR_LOG | MHD_USE_ITC;
    if (listener < 0) {
        free_tls(&tls);
        return NULL;
    }
#define OPTION(name, number, pointer) o[n++] = (struct MHD_OptionItem){name, number, pointer}
    OPTION(MHD_OPTION_CONNECTION_LIMIT, (intptr_t)connection_limit(c), NULL);
    if (c->max_connections_per_address > 0)
        OPTION(MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)c->max_connections_per_address, NULL);
    OPTION(MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, NULL);
    OPTION(MHD_OPTION_CONNECTION_MEMORY_LIMIT, HEAD_BYTES, NULL);
    OPTION(MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL);
    OPTION(MHD_OPTION_LISTEN_SOCKET, listener, NULL);
    OPTION(MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL);
    if (c->tls) {
        flags |= MHD_USE_TLS;
        OPTION(MHD_OPTION_HTTPS_MEM_CERT, 0, tls.certificate);
        OPTION(MHD_OPTION_HTTPS_MEM_KEY, 0, tls.key);
        static char versions[] =
            "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:%SAFE_RENEGOTIATION";
        OPTION(MHD_OPTION_HTTPS_PRIORITIES, 0, versions);
    }
    if (tls.authority)
        OPTION(MHD_OPTION_HTTPS_MEM_TRUST, 0, tls.authority);
#undef OPTION
    o[n] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    struct MHD_Daemon *d = MHD_start_daemon(
        flags, 0, NULL, NULL, calls->request, s, MHD_OPTION_EXTERNAL_LOGGER, log_line, NULL,
        MHD_OPTION_URI_LOG_CALLBACK, calls->begin, s, MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes,
        NULL, MHD_OPTION_NOTIFY_COMPLETED, calls->end, s, MHD_OPTION_NOTIFY_CONNECTION,
        calls->connection, s, MHD_OPTION_ARRAY, o, MHD_OPTION_END);
    free_tls(&tls);
    if (!d) {
        snprintf(why, 512, "the HTTP server cannot be started on %.200s%s", c->listen,
                 c->tls ? ": are certificate and key PEM, and do they belong together?" : "");
        close(listener);
    }
    return d;
}

bool srv_client_certificate_ok(const srv_request *q)
{
    unsigned status = 0;
    if (!*q->server->config.tls_client_ca)
        return true;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(q->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    return info && !gnutls_certificate_verify_peers2(info->tls_session, &status) && !status;
}
