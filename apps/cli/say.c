/* See say.h. */
#include "say.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "progress.h"

uf_status say_fail(uf_error *err, uf_status status, const char *format, ...)
{
    va_list list;
    if (!err)
        return status;
    err->status = status;
    va_start(list, format);
    vsnprintf(err->message, sizeof err->message, format, list);
    va_end(list);
    return status;
}

void say_begin(say *s, const cli_args *args)
{
    memset(s, 0, sizeof *s);
    s->json.file = args->json ? stdout : NULL;
    s->text = !args->json;
    json_object(&s->json, NULL);
}

void say_error(const char *format, ...)
{
    va_list list;
    progress_clear();
    va_start(list, format);
    fputs("uniface: ", stderr);
    vfprintf(stderr, format, list);
    fputc('\n', stderr);
    va_end(list);
}

int say_exit_of(uf_status status)
{
    switch (status) {
    case UF_OK:
        return CLI_EXIT_OK;
    case UF_E_NOMEM:
    case UF_E_DEVICE_NOT_FOUND:
    case UF_E_STATE:
    case UF_E_CANCELLED:
        return CLI_EXIT_MACHINE;
    default:
        return CLI_EXIT_DATA;
    }
}

static void error_json(json *j, const char *key, const uf_error *err)
{
    json_object(j, key);
    json_text(j, "status", uf_status_name(err->status));
    json_text(j, "message", err->message);
    json_end(j);
}

int say_stop(say *s, uf_status status, const uf_error *err)
{
    say_error("%s", err->message);
    json_close_to(&s->json, 1);
    error_json(&s->json, "error", err);
    json_end(&s->json);
    fflush(stdout);
    return say_exit_of(status);
}

void say_refuse(say *s, const uf_error *err)
{
    say_error("%s", err->message);
    s->refused++;
}

int say_end(say *s, int exit_status)
{
    json_close_to(&s->json, 0);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        say_error("standard output: %s", strerror(errno));
        return CLI_EXIT_MACHINE;
    }
    if (s->refused) {
        say_error("%zu of the inputs refused", s->refused);
        return CLI_EXIT_DATA;
    }
    return exit_status;
}

double say_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
