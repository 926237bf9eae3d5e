/*
 * Start: folder, gallery and its key, API keys, models, HTTP. A model that is not there is no
 * reason not to start: /readyz says so, and one can be loaded. The main thread then waits for
 * signals and looks after deadlines.
 */
#include "server/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "server/http.h"
#include "server/item.h"
#include "server/json_parse.h"
#include "server/log.h"
#include "server/notify.h"
#include "server/sandbox.h"
#include "server/state.h"

enum { EXIT_SETTING = 2, EXIT_FILE = 3, EXIT_MEMORY = 4 };

static int complain(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int complain(int status, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    fputs("uniface: ", stderr);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

/* ---- the folder of data ---- */

static bool make_folder(const char *path)
{
    char part[SRV_PATH_MAX];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; *p; p++)
        if (*p == '/') {
            *p = '\0';
            if (mkdir(part, 0777) && errno != EEXIST)
                return false;
            *p = '/';
        }
    return !mkdir(part, 0700) || errno == EEXIST;
}

static int make_key_file(const char *path)
{
    uint8_t key[32];
    const int f = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    randombytes_buf(key, sizeof key);
    bool ok = f >= 0 && write(f, key, sizeof key) == sizeof key && !fsync(f);
    sodium_memzero(key, sizeof key);
    if (f >= 0 && close(f))
        ok = false;
    return ok ? 0 : complain(EXIT_FILE, "%s cannot be made: %s", path, strerror(errno));
}

/* ---- the gallery ---- */

static bool key_in_environment(void)
{
    return getenv("UNIFACE_GALLERY_PASSPHRASE") || getenv("UNIFACE_GALLERY_KEY_FILE") ||
           getenv("CREDENTIALS_DIRECTORY");
}

/* The key file of the settings, else that of the folder when it is there; "" for the environment.
 */
static void choose_key_file(srv_config *c)
{
    char path[SRV_PATH_MAX];
    snprintf(path, sizeof path, "%.1000s/gallery.key", c->data);
    if (!*c->key_file && access(path, R_OK) == 0)
        snprintf(c->key_file, sizeof c->key_file, "%s", path);
}

static uf_status make_gallery(srv_server *s, uf_gallery_options *o, uf_error *err)
{
    srv_config *c = &s->config;
    o->flags = UF_GALLERY_CREATE | (c->plain ? UF_GALLERY_PLAIN : 0);
    if (!c->plain && !*c->key_file && !key_in_environment()) {
        snprintf(c->key_file, sizeof c->key_file, "%.1000s/gallery.key", c->data);
        if (make_key_file(c->key_file)) {
            *err = (uf_error){UF_E_IO, "there is no key for the gallery"};
            return UF_E_IO;
        }
        o->key_file = c->key_file;
    }
    return uf_gallery_open(&s->gallery, c->gallery, o, err);
}

static int open_gallery(srv_server *s)
{
    srv_config *c = &s->config;
    uf_gallery_options o = UF_GALLERY_OPTIONS_INIT;
    uf_error err;
    choose_key_file(c);
    o.key_file = *c->key_file && !c->plain ? c->key_file : NULL;
    o.keep_crops = c->keep_crops;
    o.actor = "uniface serve";
    uf_status st = uf_gallery_open(&s->gallery, c->gallery, &o, &err);
    if (st == UF_E_NOT_FOUND)
        st = make_gallery(s, &o, &err);
    return st ? complain(st == UF_E_ARG ? EXIT_SETTING : EXIT_FILE, "%s", err.message) : 0;
}

/* ---- keys, models ---- */

/* The first key is shown once: not by a check, whose output nobody may read. */
static int open_keys(srv_server *s, bool check_only)
{
    char why[512], key[SRV_KEY_TEXT_SIZE], id[SRV_KEY_ID_SIZE];
    srv_principal all;
    if (s->config.auth_off)
        return 0;
    s->keyring = srv_keyring_open(s->config.data, why);
    if (!s->keyring)
        return complain(EXIT_FILE, "%s", why);
    if (check_only || srv_keyring_count(s->keyring))
        return 0;
    if (!srv_grants_parse("*:admin", &all, why) ||
        !srv_keyring_add(s->keyring, "first", &all, key, id, why))
        return complain(EXIT_FILE, "%s", why);
    printf("API key (it is shown this once, and kept nowhere): %s\n", key);
    fflush(stdout);
    sodium_memzero(key, sizeof key);
    return 0;
}

/* A file that was named must open; a default may be absent. */
static int load_model(srv_server *s, srv_lane_name lane, const char *path)
{
    uf_error err;
    char name[65];
    const char *slash = strrchr(path, '/');
    snprintf(name, sizeof name, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(name, '.');
    if (dot)
        *dot = '\0';
    if (!*path) {
        srv_log_message(SRV_LOG_WARN, "model",
                        "no %s is loaded: none was given, and the model "
                        "store has none",
                        lane == SRV_LANE_DETECT ? "detector" : "embedder");
        return 0;
    }
    if (!srv_engine_load(s->engine, lane, name, path, &err))
        return 0;
    if (err.status == UF_E_UNTRUSTED)
        return complain(EXIT_FILE, "%s: %s", path, err.message);
    return complain(err.status == UF_E_NOMEM ? EXIT_MEMORY : EXIT_FILE, "%s", err.message);
}

static void count_batch(void *user, srv_lane_name lane, size_t size, double seconds)
{
    srv_telemetry_batch(user, lane, size, seconds);
}

static int open_trust(srv_server *s)
{
    const srv_config *c = &s->config;
    uf_error err;
    if (*c->trusted_keys && (uf_trust_create(&s->trust, c->releases, &err) ||
                             uf_trust_add(s->trust, c->trusted_keys, &err)))
        return complain(EXIT_FILE, "trusted-keys: %s", err.message);
    return 0;
}

static int open_engine(srv_server *s)
{
    const srv_config *c = &s->config;
    uf_error err;
    const srv_engine_options o = {.workers = (unsigned)c->threads,
                                  .batch = (unsigned)c->batch,
                                  .wait_us = (unsigned)c->batch_wait_us,
                                  .queue = (unsigned)c->queue,
                                  .detector_size = (int)c->size,
                                  .trust = s->trust};
    if (srv_engine_create(&s->engine, &o, count_batch, s->telemetry, &err))
        return complain(EXIT_MEMORY, "%s", err.message);
    int status = load_model(s, SRV_LANE_DETECT, c->detector);
    if (!status)
        status = load_model(s, SRV_LANE_EMBED, c->embedder);
    return status;
}

static int open_all(srv_server *s, bool check_only)
{
    const srv_config *c = &s->config;
    srv_log_level level = SRV_LOG_INFO;
    const char *why;
    srv_log_level_parse(c->log_level, &level);
    if (sodium_init() < 0)
        return complain(EXIT_MEMORY, "libsodium cannot be used");
    if (!srv_log_open(c->log_file, level, !strcmp(c->log_format, "text"), &why))
        return complain(EXIT_FILE, "%s: %s", c->log_file, why);
    if (!make_folder(c->data))
        return complain(EXIT_FILE, "%s cannot be made: %s", c->data, strerror(errno));
    s->telemetry = srv_telemetry_create();
    s->connections = srv_connections_create(c->tls);
    s->guard = srv_guard_create(c->rate, (unsigned)c->verify_failures, c->verify_lock_seconds);
    s->once = srv_once_create();
    if (!s->telemetry || !s->connections || !s->guard || !s->once)
        return complain(EXIT_MEMORY, "out of memory");
    int status = open_gallery(s);
    if (!status)
        status = open_trust(s);
    if (!status)
        status = open_engine(s);
    return status ? status : open_keys(s, check_only);
}

static void close_all(srv_server *s)
{
    srv_engine_destroy(s->engine);
    uf_trust_destroy(s->trust);
    uf_gallery_close(s->gallery);
    srv_keyring_close(s->keyring);
    srv_guard_destroy(s->guard);
    srv_once_destroy(s->once);
    srv_connections_destroy(s->connections);
    srv_telemetry_destroy(s->telemetry);
}

/* ---- running ---- */

static void reload(srv_server *s)
{
    char why[512];
    const char *reason;
    srv_log_level level = SRV_LOG_INFO;
    srv_notify_reloading();
    srv_log_level_parse(s->config.log_level, &level);
    /* The file may have been moved away by logrotate. */
    if (!srv_log_open(s->config.log_file, level, !strcmp(s->config.log_format, "text"), &reason))
        srv_log_message(SRV_LOG_ERROR, "reload", "the log cannot be opened again: %s", reason);
    if (s->keyring && !srv_keyring_reload(s->keyring, why))
        srv_log_message(SRV_LOG_ERROR, "reload", "keys stay as they were: %s", why);
    else
        srv_log_message(SRV_LOG_INFO, "reload", "keys and log were read again");
    srv_notify("READY=1");
}

static int wait_for_signal(const sigset_t *set, double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)};
    return sigtimedwait(set, NULL, &t);
}

/* What a burst of requests leaves behind goes back once nothing was asked for a while:
 * not sooner, since the next request would have to fetch its pages again. */
static void give_back_memory(srv_server *s, double now, double *busy)
{
    const double a_while = 2;
    if (srv_engine_depth(s->engine) || atomic_load(&s->body_bytes))
        *busy = now;
    if (*busy > 0 && now - *busy > a_while) {
        *busy = 0;
        srv_item_trim();
        malloc_trim(0);
    }
}

static void run(srv_server *s, const sigset_t *set)
{
    const double watchdog = srv_notify_watchdog();
    double sign = 0, busy = 0;
    for (;;) {
        const int signal = wait_for_signal(set, 0.2);
        const double now = srv_now();
        if (signal == SIGTERM || signal == SIGINT)
            return;
        if (signal == SIGHUP)
            reload(s);
        srv_connections_sweep(s->connections, now, false);
        give_back_memory(s, now, &busy);
        if (watchdog > 0 && now - sign >= watchdog) {
            srv_notify("WATCHDOG=1");
            sign = now;
        }
    }
}

/* What was accepted is answered. A connection that was just opened gets a moment for its request;
 * after that, those on which nothing is asked are closed. */
static void drain(srv_server *s)
{
    const double began = srv_now(), moment = 0.25;
    srv_notify("STOPPING=1");
    srv_log_message(SRV_LOG_INFO, "drain", "no new connections; %zu requests are under way",
                    srv_connections_busy(s->connections));
    atomic_store(&s->draining, true);
    srv_http_quiesce(s);
    while (srv_connections_count(s->connections) && srv_now() - began < s->config.drain_timeout) {
        srv_connections_sweep(s->connections, srv_now(), srv_now() - began > moment);
        usleep(10000);
    }
    const size_t left = srv_connections_busy(s->connections);
    srv_log_message(left ? SRV_LOG_WARN : SRV_LOG_INFO, "drain", "%zu requests were not answered",
                    left);
}

/* Once everything is open and started: what comes from outside meets it. */
static int enter_sandbox(const srv_config *c)
{
    char why[512];
    bool active;
    if (!strcmp(c->seccomp, "off"))
        return 0;
    if (!srv_sandbox_enter(&active, why))
        return complain(EXIT_SETTING,
                        "system calls cannot be restricted: %s; --seccomp off runs "
                        "without",
                        why);
    if (!active)
        srv_log_message(SRV_LOG_WARN, "seccomp",
                        "system calls are not restricted on this processor");
    return 0;
}

static int serve(srv_server *s)
{
    char why[512];
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    srv_json_watch_memory();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on sizes of files is an error like a full disk */
    pthread_sigmask(SIG_BLOCK, &set, NULL); /* before threads are made, which inherit it */
    int status =
        srv_http_check(&s->config, why) ? open_all(s, false) : complain(EXIT_FILE, "%s", why);
    if (!status && !srv_http_start(s, why))
        status = complain(EXIT_FILE, "%s", why);
    if (!status)
        status = enter_sandbox(&s->config);
    if (status) {
        srv_http_stop(s);
        return status;
    }
    const srv_config *c = &s->config;
    printf("listening on %s://%s%s%s:%u\n", c->tls ? "https" : "http",
           strchr(c->host, ':') ? "[" : "", c->host, strchr(c->host, ':') ? "]" : "",
           srv_http_port(s));
    fflush(stdout);
    srv_notify("READY=1");
    run(s, &set);
    drain(s);
    srv_http_stop(s);
    return 0;
}

static int check(srv_server *s)
{
    char why[512];
    if (!srv_http_check(&s->config, why))
        return complain(EXIT_FILE, "%s", why);
    const int status = open_all(s, true);
    if (!status)
        printf("the configuration is good\n");
    return status;
}

int srv_serve(srv_config *c, bool check_only)
{
    srv_server *s = calloc(1, sizeof *s);
    if (!s)
        return complain(EXIT_MEMORY, "out of memory");
    /* A heap for each of hundreds of threads would keep what they free. */
    mallopt(M_ARENA_MAX, 4);
    s->config = *c;
    int status = check_only ? check(s) : serve(s);
    close_all(s);
    free(s);
    return status;
}
