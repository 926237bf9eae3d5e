/* One table of settings, from which flags, environment, file and help are made. */
#include "server/config.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "server/log.h"

typedef enum kind { TEXT, NUMBER, SWITCH } kind;

typedef struct setting {
    const char *name;
    kind kind;
    size_t offset, room; /* room: of a text */
    double min, max, fallback;
    const char *text; /* fallback of a text */
    bool is_whole;    /* a number without a fraction */
} setting;

#define AT(field) offsetof(srv_config, field)
#define ROOM(field) sizeof(((srv_config *)0)->field)
#define T(name, field, fallback, metavar, help) \
    {name, TEXT, AT(field), ROOM(field), 0, 0, 0, fallback, false},
#define N(name, field, min, max, fallback, help) \
    {name, NUMBER, AT(field), 0, min, max, fallback, NULL, false},
#define W(name, field, min, max, fallback, help) \
    {name, NUMBER, AT(field), 0, min, max, fallback, NULL, true},
#define S(name, field, help) {name, SWITCH, AT(field), 0, 0, 0, 0, NULL, false},

static const setting settings[] = {SRV_SETTING_LIST(T, N, W, S)};
enum { SETTINGS = sizeof settings / sizeof *settings };

/* ---- one value ---- */

static bool set_text(srv_config *c, const setting *s, const char *value, const char *where,
                     char why[512])
{
    if (strlen(value) >= s->room) {
        snprintf(why, 512, "%s: %s is longer than %zu bytes", where, s->name, s->room - 1);
        return false;
    }
    memcpy((char *)c + s->offset, value, strlen(value) + 1);
    return true;
}

static bool set_number(srv_config *c, const setting *s, double v, const char *shown,
                       const char *where, char why[512])
{
    if (!(v >= s->min && v <= s->max) || (s->is_whole && v != floor(v))) {
        snprintf(why, 512, "%s: %s must be a %snumber from %.10g to %.10g, not \"%.40s\"", where,
                 s->name, s->is_whole ? "whole " : "", s->min, s->max, shown);
        return false;
    }
    memcpy((char *)c + s->offset, &v, sizeof v);
    return true;
}

static bool set_switch(srv_config *c, const setting *s, const char *value, const char *where,
                       char why[512])
{
    const bool on = !*value || !strcmp(value, "1") || !strcmp(value, "true");
    if (!on && strcmp(value, "0") != 0 && strcmp(value, "false") != 0) {
        snprintf(why, 512, "%s: %s must be true or false, not \"%.40s\"", where, s->name, value);
        return false;
    }
    memcpy((char *)c + s->offset, &on, sizeof on);
    return true;
}

static bool set(srv_config *c, const setting *s, const char *value, const char *where,
                char why[512])
{
    char *end;
    if (s->kind == TEXT)
        return set_text(c, s, value, where, why);
    if (s->kind == SWITCH)
        return set_switch(c, s, value, where, why);
    double v = strtod(value, &end);
    if (end == value || *end)
        v = (double)NAN;
    return set_number(c, s, v, value, where, why);
}

/* ---- sources ---- */

static void fallbacks(srv_config *c)
{
    memset(c, 0, sizeof *c);
    for (size_t i = 0; i < SETTINGS; i++) {
        char none[512];
        if (settings[i].kind == TEXT)
            set_text(c, &settings[i], settings[i].text, "", none);
        else if (settings[i].kind == NUMBER)
            set_number(c, &settings[i], settings[i].fallback, "", "", none);
    }
}

/* "batch-wait-us" and "batch_wait_us" are the same. */
static bool is_named(const char *setting_name, const char *key)
{
    size_t i = 0;
    for (; setting_name[i] && key[i]; i++)
        if (key[i] != (setting_name[i] == '-' ? '_' : setting_name[i]))
            return false;
    return !setting_name[i] && !key[i];
}

static bool take_member(srv_config *c, const char *key, const json_t *v, const char *path,
                        char why[512])
{
    const setting *s = NULL;
    for (size_t i = 0; i < SETTINGS && !s; i++)
        s = is_named(settings[i].name, key) ? &settings[i] : NULL;
    if (!s) {
        snprintf(why, 512, "%.200s: there is no setting \"%.100s\"", path, key);
        return false;
    }
    if (s->kind == TEXT && json_is_string(v))
        return set_text(c, s, json_string_value(v), path, why);
    if (s->kind == NUMBER && json_is_number(v))
        return set_number(c, s, json_number_value(v), "that", path, why);
    if (s->kind == SWITCH && json_is_boolean(v))
        return set_switch(c, s, json_is_true(v) ? "1" : "0", path, why);
    snprintf(why, 512, "%.200s: %s must be %s", path, key,
             s->kind == TEXT     ? "text"
             : s->kind == NUMBER ? "a number"
                                 : "true or false");
    return false;
}

static bool read_file(srv_config *c, const char *path, char why[512])
{
    json_error_t err;
    const char *key;
    json_t *v, *root = json_load_file(path, JSON_REJECT_DUPLICATES, &err);
    bool ok = json_is_object(root);
    if (!root && err.line < 1)
        snprintf(why, 512, "%.200s: %.200s", path, err.text);
    else if (!root)
        snprintf(why, 512, "%.200s, line %d: %.200s", path, err.line, err.text);
    else if (!ok)
        snprintf(why, 512, "%.200s: the file must hold a JSON object", path);
    else
        json_object_foreach(root, key, v) if (ok) ok = take_member(c, key, v, path, why);
    json_decref(root);
    return ok;
}

static bool read_environment(srv_config *c, char why[512])
{
    for (size_t i = 0; i < SETTINGS; i++) {
        char name[80] = "UNIFACE_";
        size_t n = strlen(name);
        for (const char *p = settings[i].name; *p && n + 1 < sizeof name; p++)
            name[n++] = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
        name[n] = '\0';
        const char *value = getenv(name);
        if (value && *value && !set(c, &settings[i], value, name, why))
            return false;
    }
    return true;
}

static bool read_flags(srv_config *c, srv_flag_fn *flag, void *user, char why[512])
{
    for (size_t i = 0; i < SETTINGS; i++) {
        const char *value = flag(user, settings[i].name);
        if (value && !set(c, &settings[i], value, "command line", why))
            return false;
    }
    return true;
}

/* ---- what follows from them ---- */

static bool split_address(srv_config *c, char why[512])
{
    const char *colon = strrchr(c->listen, ':');
    char *end = NULL;
    const long port = colon ? strtol(colon + 1, &end, 10) : -1;
    size_t n = colon ? (size_t)(colon - c->listen) : 0;
    const char *host = c->listen;
    if (n > 1 && host[0] == '[' && host[n - 1] == ']') {
        host++;
        n -= 2;
    }
    struct in6_addr six;
    struct in_addr four;
    if (colon && n < sizeof c->host) {
        memcpy(c->host, host, n);
        c->host[n] = '\0';
        if (!strcmp(c->host, "localhost"))
            strcpy(c->host, "127.0.0.1");
    }
    const bool is_four = inet_pton(AF_INET, c->host, &four) == 1;
    const bool is_six = !is_four && inet_pton(AF_INET6, c->host, &six) == 1;
    if (!colon || end == colon + 1 || *end || port < 0 || port > 65535 || (!is_four && !is_six)) {
        snprintf(why, 512,
                 "listen wants an address with a port, such as 127.0.0.1:8000 or [::]:8000, not "
                 "\"%.200s\"",
                 c->listen);
        return false;
    }
    c->port = (uint16_t)port;
    c->loopback = is_four ? ntohl(four.s_addr) >> 24 == 127 : IN6_IS_ADDR_LOOPBACK(&six);
    return true;
}

static void default_data(srv_config *c)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    if (*c->data)
        return;
    if (data && *data)
        snprintf(c->data, sizeof c->data, "%.900s/uniface", data);
    else
        snprintf(c->data, sizeof c->data, "%.900s/.local/share/uniface", home ? home : ".");
}

static bool check_exposure(const srv_config *c, char why[512])
{
    if (!c->loopback && c->auth_off && !c->allow_remote_without_auth) {
        snprintf(why, 512,
                 "listening on %.100s with auth off would let anybody in: leave auth on, listen on "
                 "127.0.0.1, or say --allow-remote-without-auth too",
                 c->listen);
        return false;
    }
    if (!c->loopback && !c->tls && !c->allow_remote_without_tls) {
        snprintf(why, 512,
                 "listening on %.100s without TLS would send faces in the clear: give --tls-cert "
                 "and --tls-key, listen on 127.0.0.1, or say --allow-remote-without-tls when "
                 "something in front has TLS",
                 c->listen);
        return false;
    }
    return true;
}

static bool check(srv_config *c, char why[512])
{
    srv_log_level level;
    why[0] = '\0';
    if (!split_address(c, why))
        return false;
    c->auth_off = !strcmp(c->auth, "off");
    c->tls = *c->tls_cert != '\0';
    if (!c->auth_off && strcmp(c->auth, "on") != 0)
        snprintf(why, 512, "auth must be on or off, not \"%s\"", c->auth);
    else if (strcmp(c->seccomp, "on") != 0 && strcmp(c->seccomp, "off") != 0)
        snprintf(why, 512, "seccomp must be on or off, not \"%s\"", c->seccomp);
    else if (c->tls != (*c->tls_key != '\0'))
        snprintf(why, 512, "tls-cert and tls-key belong together");
    else if (*c->tls_client_ca && !c->tls)
        snprintf(why, 512, "tls-client-ca wants tls-cert and tls-key");
    else if (!srv_log_level_parse(c->log_level, &level))
        snprintf(why, 512, "log-level must be debug, info, warn or error, not \"%s\"",
                 c->log_level);
    else if (strcmp(c->log_format, "json") != 0 && strcmp(c->log_format, "text") != 0)
        snprintf(why, 512, "log-format must be json or text, not \"%s\"", c->log_format);
    return !*why && check_exposure(c, why);
}

bool srv_config_read(srv_config *c, const char *file, srv_flag_fn *flag, void *user, char why[512])
{
    fallbacks(c);
    if (!file)
        file = getenv("UNIFACE_CONFIG");
    if (file && *file && !read_file(c, file, why))
        return false;
    if (!read_environment(c, why) || !read_flags(c, flag, user, why))
        return false;
    default_data(c);
    if (!*c->gallery)
        snprintf(c->gallery, sizeof c->gallery, "%.1000s/gallery.ufg", c->data);
    if (!*c->releases)
        snprintf(c->releases, sizeof c->releases, "%.1000s/releases", c->data);
    return check(c, why);
}
