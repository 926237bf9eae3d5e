/*
 * Status codes and error messages.
 *
 * A message is built from file names and file contents, so it may hold anything; it promises one
 * line of UTF-8. Control characters and broken UTF-8 become '?', and a message that is cut off at
 * the end of its buffer is cut between characters.
 */
#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const char *uf_status_text(uf_status status)
{
    switch (status) {
#define STATUS_TEXT(name, value, text) \
    case UF_##name:                    \
        return text;
        UF_STATUS_LIST(STATUS_TEXT)
#undef STATUS_TEXT
    }
    return "unknown status";
}

const char *uf_status_name(uf_status status)
{
    switch (status) {
#define STATUS_NAME(name, value, text) \
    case UF_##name:                    \
        return "UF_" #name;
        UF_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
    }
    return "UF_E_UNKNOWN";
}

#define TEXT_OF(x) #x
#define VERSION_TEXT(major, minor, patch) TEXT_OF(major) "." TEXT_OF(minor) "." TEXT_OF(patch)

const char *uf_version(void)
{
    return VERSION_TEXT(UF_VERSION_MAJOR, UF_VERSION_MINOR, UF_VERSION_PATCH);
}

static void make_one_line(char *message, bool cut)
{
    unsigned char *s = (unsigned char *)message;
    size_t i = 0, length = strlen(message);
    while (i < length) {
        size_t n = ufi_utf8_length(s + i);
        if (n == 0 && cut && length - i < 4) {
            s[i] = '\0'; /* the character that the end of the buffer cut in two */
            return;
        }
        if (n == 0 || s[i] < 0x20 || s[i] == 0x7F)
            s[i] = '?';
        i += n ? n : 1;
    }
}

uf_status ufi_fail(uf_error *err, uf_status status, const char *fmt, ...)
{
    if (!err)
        return status;
    /* Built aside: an argument may be err->message itself. */
    char text[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0)
        text[0] = '\0';
    make_one_line(text, n >= (int)sizeof text);
    err->status = status;
    memcpy(err->message, text, sizeof text);
    return status;
}

uf_status ufi_wrap(uf_error *err, uf_status status, const char *fmt, ...)
{
    if (!err || status == UF_OK)
        return status;
    char context[sizeof err->message], text[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    if (n < 0)
        context[0] = '\0';
    /* A path that fills the buffer would hide the reason: the context gives way. */
    size_t reason = strlen(err->message) + 2;
    size_t room = sizeof text - 1 > reason + 64 ? sizeof text - 1 - reason : 64;
    bool cut = strlen(context) > room;
    if (cut)
        context[room] = '\0';
    make_one_line(context, cut);
    n = snprintf(text, sizeof text, "%s: %s", context, err->message);
    make_one_line(text, n >= (int)sizeof text);
    err->status = status;
    memcpy(err->message, text, sizeof text);
    return status;
}
