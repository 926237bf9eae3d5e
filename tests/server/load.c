/* uniface-load: options and the program. See load.h for what it is for. */
#include "load.h"

#include <getopt.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char help[] =
    "usage: uniface-load [OPTION]... http://HOST[:PORT]/PATH\n\n"
    "Sends requests at a rate that does not depend on the answers, and prints what became of them\n"
    "as JSON. Latencies count from when a request was due.\n\n"
    "  --rate R           requests per second (default 10); 0: each connection sends when its\n"
    "                     answer has come\n"
    "  --duration S       seconds that are measured (default 10)\n"
    "  --warm-up S        seconds before that (default 1)\n"
    "  --connections N    at most (default 64)\n"
    "  --timeout S        of a request (default 30)\n"
    "  --method M         default GET, with a body POST\n"
    "  --body FILE        a body; several take turns\n"
    "  --form FIELD       bodies are files of a form with this field\n"
    "  --type T           content type of a body (default image/jpeg)\n"
    "  --header 'K: V'    a header field\n"
    "  --slow KIND        header, body, read or idle: N connections that take their time\n"
    "  --interval S       between two bytes of a slow connection (default 1)\n";

static int fail(const char *what, const char *which)
{
    fprintf(stderr, "uniface-load: %s: %s\n", what, which);
    return 2;
}

static bool read_url(load_options *o, const char *url)
{
    char name[256], port[8] = "80";
    const char *authority = strncmp(url, "http://", 7) ? NULL : url + 7;
    if (!authority)
        return false;
    const size_t size = strcspn(authority, "/?");
    const char *path = authority[size] ? authority + size : "/";
    if (size >= sizeof name || !size || strlen(path) >= sizeof o->path)
        return false;
    memcpy(name, authority, size);
    name[size] = '\0';
    memcpy(o->host, name, size + 1);
    memcpy(o->path, path, strlen(path) + 1);
    char *bracket = strchr(name, ']'), *colon = strrchr(bracket ? bracket : name, ':');
    if (colon) {
        *colon = '\0';
        snprintf(port, sizeof port, "%.7s", colon + 1);
    }
    if (bracket)
        *bracket = '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    if (getaddrinfo(bracket ? name + 1 : name, port, &hints, &found))
        return false;
    memcpy(&o->address, found->ai_addr, found->ai_addrlen);
    o->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool read_slow(load_options *o, const char *kind)
{
    static const char *const kinds[] = {"header", "body", "read", "idle"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(kind, kinds[i])) {
            o->mode = (load_mode)(LOAD_SLOW_HEADER + i);
            return true;
        }
    return false;
}

static bool read_number(const char *text, double least, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && *out >= least && *out < 1e9;
}

static const struct option options[] = {
    {"rate", 1, NULL, 'r'},        {"duration", 1, NULL, 'd'}, {"warm-up", 1, NULL, 'w'},
    {"connections", 1, NULL, 'c'}, {"timeout", 1, NULL, 't'},  {"method", 1, NULL, 'm'},
    {"body", 1, NULL, 'b'},        {"form", 1, NULL, 'f'},     {"type", 1, NULL, 'y'},
    {"header", 1, NULL, 'H'},      {"slow", 1, NULL, 's'},     {"interval", 1, NULL, 'i'},
    {"help", 0, NULL, 'h'},        {NULL, 0, NULL, 0}};

/* False: the value cannot be used. */
static bool take_option(load_options *o, int option, const char *value)
{
    double number;
    switch (option) {
    case 'r':
        return read_number(value, 0, &o->rate);
    case 'd':
        return read_number(value, 0.001, &o->duration);
    case 'w':
        return read_number(value, 0, &o->warm_up);
    case 't':
        return read_number(value, 0.001, &o->timeout);
    case 'i':
        return read_number(value, 0.001, &o->interval);
    case 'c':
        if (!read_number(value, 1, &number))
            return false;
        o->connections = (size_t)number;
        return true;
    case 'm':
        o->method = value;
        return true;
    case 'f':
        o->field = value;
        return true;
    case 'y':
        o->type = value;
        return true;
    case 's':
        return read_slow(o, value);
    case 'b':
        return o->body_count < LOAD_BODIES && (o->bodies[o->body_count++] = value);
    default:
        return o->header_count < LOAD_HEADERS && (o->headers[o->header_count++] = value);
    }
}

static void allow_many_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static double processor_seconds(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

int main(int argc, char **argv)
{
    static load_options o = {.rate = 10,
                             .duration = 10,
                             .warm_up = 1,
                             .timeout = 30,
                             .interval = 1,
                             .connections = 64,
                             .type = "image/jpeg"};
    static load_request requests[LOAD_BODIES];
    load_result r = {0};
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "h", options, &index)) != -1) {
        if (option == 'h') {
            fputs(help, stdout);
            return 0;
        }
        if (option == '?')
            return 2;
        if (!take_option(&o, option, optarg))
            return fail(options[index].name, "the value cannot be used");
    }
    if (optind + 1 != argc || !read_url(&o, argv[optind]))
        return fail("give one URL, http://HOST[:PORT]/PATH", optind < argc ? argv[optind] : "none");
    if (o.mode == LOAD_OPEN && o.rate <= 0)
        o.mode = LOAD_CLOSED;
    if (!o.method)
        o.method = o.body_count ? "POST" : "GET";
    signal(SIGPIPE, SIG_IGN);
    allow_many_files();
    const size_t count = load_make_requests(&o, requests);
    const double before = processor_seconds();
    if (o.mode <= LOAD_CLOSED)
        load_run(&o, requests, count, &r);
    else
        load_run_slow(&o, &requests[0], &r);
    r.processor_seconds = processor_seconds() - before;
    load_report(&o, &r);
    for (size_t i = 0; i < count; i++)
        free(requests[i].data);
    free(r.records);
    return 0;
}
