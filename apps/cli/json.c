/* A writer of JSON: text that is no UTF-8 is written byte by byte as U+FFFD. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* What is open on standard output, so that a document ends as one whatever happens. */
static struct {
    bool begun;
    int depth;
    char ends[CLI_JSON_DEPTH];
} document;

static void indent(cli_json *j)
{
    if (j->one_line)
        return;
    fputc('\n', j->f);
    for (int i = 0; i < j->depth; i++)
        fputs("  ", j->f);
}

int cli_utf8_length(const unsigned char *s)
{
    int n = s[0] < 0x80                   ? 1
            : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
            : (s[0] & 0xF0) == 0xE0       ? 3
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

static void write_string(FILE *f, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    fputc('"', f);
    while (*s) {
        int n = cli_utf8_length(s);
        if (*s == '"' || *s == '\\')
            fprintf(f, "\\%c", *s);
        else if (*s < 0x20)
            fprintf(f, "\\u%04x", *s);
        else if (n)
            fwrite(s, 1, (size_t)n, f);
        else
            fputs("\\ufffd", f);
        s += n ? n : 1;
    }
    fputc('"', f);
}

static void begin(cli_json *j, const char *key)
{
    if (j->wrote[j->depth])
        fputc(',', j->f);
    if (j->depth)
        indent(j);
    j->wrote[j->depth] = true;
    if (key) {
        write_string(j->f, key);
        fputs(": ", j->f);
    }
}

void json_open(cli_json *j, const char *key, char bracket)
{
    if (j->depth + 1 >= CLI_JSON_DEPTH || document.depth >= CLI_JSON_DEPTH)
        abort(); /* an error of ours: no input decides how deep documents are */
    begin(j, key);
    fputc(bracket, j->f);
    if (j->f == stdout) {
        document.begun = true;
        document.ends[document.depth++] = bracket == '{' ? '}' : ']';
    }
    j->depth++;
    j->wrote[j->depth] = false;
}

void json_close(cli_json *j, char bracket)
{
    bool wrote = j->wrote[j->depth];
    j->depth--;
    document.depth -= j->f == stdout;
    if (wrote)
        indent(j);
    fputc(bracket, j->f);
}

void json_text(cli_json *j, const char *key, const char *value)
{
    begin(j, key);
    if (value)
        write_string(j->f, value);
    else
        fputs("null", j->f);
}

void json_number(cli_json *j, const char *key, double value)
{
    begin(j, key);
    if (isfinite(value))
        fprintf(j->f, "%.7g", value);
    else
        fputs("null", j->f);
}

void json_integer(cli_json *j, const char *key, long long value)
{
    begin(j, key);
    fprintf(j->f, "%lld", value);
}

void json_bool(cli_json *j, const char *key, bool value)
{
    begin(j, key);
    fputs(value ? "true" : "false", j->f);
}

void json_raw(cli_json *j, const char *key, const char *json)
{
    begin(j, key);
    fputs(json ? json : "null", j->f);
}

void json_end(cli_json *j)
{
    fputc('\n', j->f);
}

void json_fail(int status, const char *why)
{
    if (!document.begun) {
        cli_json j = {.f = stdout};
        json_open(&j, NULL, '{');
        json_text(&j, "error", why);
        json_integer(&j, "status", status);
        json_close(&j, '}');
        json_end(&j);
    } else if (document.depth) {
        while (document.depth)
            fputc(document.ends[--document.depth], stdout);
        fputc('\n', stdout);
    }
}
