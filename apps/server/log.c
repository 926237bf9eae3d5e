/*
 * A line is made in memory and written by one call, so that lines of several threads and processes
 * do not mix. Opening it again (after the file was rotated) puts the new file under the same
 * number, so that a thread that is writing meets one or the other.
 */
#include "server/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static _Atomic int log_file = STDERR_FILENO;
static _Atomic int log_least = SRV_LOG_INFO;
static _Atomic bool log_human;

bool srv_log_open(const char *path, srv_log_level least, bool human, const char **why)
{
    const int old = atomic_load(&log_file);
    *why = "";
    if (!path || !strcmp(path, "-")) {
        atomic_store(&log_file, STDERR_FILENO);
        if (old != STDERR_FILENO)
            close(old);
    } else {
        const int file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (file < 0) {
            *why = strerror(errno);
            return false;
        }
        if (old == STDERR_FILENO) {
            atomic_store(&log_file, file);
        } else {
            dup3(file, old, O_CLOEXEC);
            close(file);
        }
    }
    atomic_store(&log_least, (int)least);
    atomic_store(&log_human, human);
    return true;
}

bool srv_log_level_parse(const char *name, srv_log_level *out)
{
    for (int i = SRV_LOG_DEBUG; i <= SRV_LOG_ERROR; i++)
        if (!strcmp(name, level_names[i])) {
            *out = (srv_log_level)i;
            return true;
        }
    return false;
}

bool srv_log_writes(srv_log_level level)
{
    return (int)level >= atomic_load(&log_least);
}

bool srv_log_begin(srv_text *line, srv_log_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    char text[40];
    *line = (srv_text){0};
    if (!srv_log_writes(level))
        return false;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + n, sizeof text - n, ".%03ldZ", now.tv_nsec / 1000000);
    srv_json_open(line, '{');
    srv_json_key(line, "ts");
    srv_json_string(line, text);
    srv_json_key(line, "level");
    srv_json_string(line, level_names[level]);
    srv_json_key(line, "event");
    srv_json_string(line, event);
    return true;
}

/* The end of the JSON value at s. */
static const char *value_end(const char *s)
{
    int depth = 0;
    bool quoted = false;
    for (; *s; s++) {
        if (quoted && *s == '\\')
            s++;
        else if (*s == '"')
            quoted = !quoted;
        else if (!quoted && (*s == '{' || *s == '['))
            depth++;
        else if (!quoted && (*s == '}' || *s == ']') && depth-- == 0)
            return s;
        else if (!quoted && depth == 0 && (*s == ',' || *s == ':'))
            return s;
    }
    return s;
}

/* {"ts":"T","level":"info","event":"start","port":8000} as: T info start port=8000. Values stay
 * JSON, so that what a client sent cannot look like another line. */
static void write_human(const char *json, srv_text *out)
{
    const char *s = json + 1;
    for (int member = 0; *s && *s != '}'; member++) {
        const char *key = s, *key_end = value_end(s);
        const char *value = key_end + 1, *end = value_end(value);
        if (member)
            srv_text_puts(out, " ");
        if (member > 2) {
            srv_text_add(out, key + 1, (size_t)(key_end - key) - 2);
            srv_text_puts(out, "=");
            srv_text_add(out, value, (size_t)(end - value));
        } else {
            srv_text_add(out, value + 1, (size_t)(end - value) - 2);
        }
        s = *end == ',' ? end + 1 : end;
    }
    srv_text_puts(out, "\n");
}

static void write_whole(const char *data, size_t size)
{
    while (size) {
        const ssize_t n = write(atomic_load(&log_file), data, size);
        if (n < 0 && errno != EINTR)
            return; /* there is nowhere to say so */
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
}

void srv_log_end(srv_text *line)
{
    static const char no_memory[] = "{\"level\":\"error\",\"event\":\"log_out_of_memory\"}\n";
    srv_text human = {0}, *text = line;
    srv_json_close(line, '}');
    if (!line->failed && atomic_load(&log_human)) {
        write_human(line->data, &human);
        text = &human;
    } else {
        srv_text_puts(line, "\n");
    }
    if (text->failed)
        write_whole(no_memory, sizeof no_memory - 1);
    else
        write_whole(text->data, text->size);
    srv_text_free(&human);
    srv_text_free(line);
}

bool srv_log_sparingly(double now, unsigned *left_out)
{
    enum { MOST = 20 };
    static _Atomic int64_t second = -1;
    static _Atomic unsigned written, skipped;
    const int64_t this = (int64_t)now;
    if (atomic_exchange(&second, this) != this)
        atomic_store(&written, 0);
    if (atomic_fetch_add(&written, 1) < MOST) {
        *left_out = atomic_exchange(&skipped, 0);
        return true;
    }
    atomic_fetch_add(&skipped, 1);
    return false;
}

void srv_log_message(srv_log_level level, const char *event, const char *format, ...)
{
    char message[1024];
    srv_text line;
    va_list args;
    if (!srv_log_begin(&line, level, event))
        return;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    srv_json_key(&line, "message");
    srv_json_string(&line, message);
    srv_log_end(&line);
}
