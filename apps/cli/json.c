/* See json.h. A number is printed with the fewest digits that read back as the same value. */
#include "json.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Length of the valid UTF-8 sequence at `s`, 0 when it is none (overlong, surrogate, cut). */
static int utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    int n = s[0] >= 0xC2 && s[0] < 0xE0   ? 2
            : s[0] >= 0xE0 && s[0] < 0xF0 ? 3
            : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                          : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

static void put_string(FILE *f, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    fputc('"', f);
    while (*s) {
        int n = utf8_length(s);
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if (*s == '\n')
            fputs("\\n", f);
        else if (*s == '\t')
            fputs("\\t", f);
        else if (*s < 0x20 || *s == 0x7F)
            fprintf(f, "\\u%04x", *s);
        else if (n == 0)
            fputs("\xEF\xBF\xBD", f); /* U+FFFD */
        else
            fwrite(s, 1, (size_t)n, f);
        s += n ? n : 1;
    }
    fputc('"', f);
}

static void begin(json *j, const char *key)
{
    if (j->depth > 0) {
        if (j->any[j->depth - 1])
            fputc(',', j->file);
        j->any[j->depth - 1] = true;
        assert((key != NULL) == (j->close[j->depth - 1] == '}'));
    }
    if (key) {
        put_string(j->file, key);
        fputc(':', j->file);
    }
}

static void open_level(json *j, const char *key, char open, char close)
{
    if (!j->file)
        return;
    assert(j->depth < JSON_MAX_DEPTH);
    begin(j, key);
    fputc(open, j->file);
    j->close[j->depth] = close;
    j->any[j->depth++] = false;
}

void json_object(json *j, const char *key)
{
    open_level(j, key, '{', '}');
}

void json_array(json *j, const char *key)
{
    open_level(j, key, '[', ']');
}

void json_end(json *j)
{
    if (!j->file)
        return;
    assert(j->depth > 0);
    fputc(j->close[--j->depth], j->file);
    if (j->depth == 0)
        fputc('\n', j->file);
}

void json_close_to(json *j, int depth)
{
    while (j->file && j->depth > depth)
        json_end(j);
}

void json_text(json *j, const char *key, const char *value)
{
    if (!j->file)
        return;
    begin(j, key);
    if (value)
        put_string(j->file, value);
    else
        fputs("null", j->file);
}

void json_int(json *j, const char *key, int64_t value)
{
    if (!j->file)
        return;
    begin(j, key);
    fprintf(j->file, "%lld", (long long)value);
}

void json_bool(json *j, const char *key, bool value)
{
    if (!j->file)
        return;
    begin(j, key);
    fputs(value ? "true" : "false", j->file);
}

static void put_number(FILE *f, double value, bool single, int low, int high)
{
    char text[40];
    if (!isfinite(value)) {
        fputs("null", f);
        return;
    }
    for (int digits = low; digits <= high; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (single ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
            break;
    }
    for (char *p = text; *p; p++) /* the decimal point of some locales */
        if (*p == ',')
            *p = '.';
    fputs(text, f);
}

void json_float(json *j, const char *key, float value)
{
    if (!j->file)
        return;
    begin(j, key);
    put_number(j->file, (double)value, true, 6, 9);
}

void json_double(json *j, const char *key, double value)
{
    if (!j->file)
        return;
    begin(j, key);
    put_number(j->file, value, false, 6, 17);
}
