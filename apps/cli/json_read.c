/* A strict reader of JSON for the files that people hand in: what RFC 8259 does not allow is
 * refused with its place. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { MAX_DEPTH = 32 };

typedef struct reader {
    const char *start, *at;
    char *why;
} reader;

static json_value *read_value(reader *r, int depth);

static void *fail(reader *r, const char *reason)
{
    if (!r->why[0])
        snprintf(r->why, 96, "byte %zu: %s", (size_t)(r->at - r->start) + 1, reason);
    return NULL;
}

static void skip_space(reader *r)
{
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')
        r->at++;
}

/* ---- strings ---- */

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)s[i]))
            return -1;
        v = v * 16 + (isdigit((unsigned char)s[i]) ? s[i] - '0' : (s[i] | 32) - 'a' + 10);
    }
    return v;
}

static char *put_utf8(char *out, int c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *out++ = (char)(0xE0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    } else {
        *out++ = (char)(0xF0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 63));
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    }
    return out;
}

/* r->at is behind "\u"; a pair of surrogates is one character. -1: none. */
static int unicode_escape(reader *r)
{
    int c = hex4(r->at);
    if (c < 0)
        return -1;
    r->at += 4;
    if (c >= 0xD800 && c < 0xDC00) {
        const int low = r->at[0] == '\\' && r->at[1] == 'u' ? hex4(r->at + 2) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return -1;
        r->at += 6;
        return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    return c >= 0xDC00 && c < 0xE000 ? -1 : c;
}

/* Enough for the text up to the closing quote: resolved escapes are never longer. */
static size_t string_room(const char *s)
{
    size_t n = 0;
    while (s[n] && s[n] != '"')
        n += s[n] == '\\' && s[n + 1] ? 2 : 1;
    return n + 1;
}

/* r->at is behind the opening quote. */
static char *read_string(reader *r)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    char *const text = cli_need(malloc(string_room(r->at)));
    char *out = text;
    while (*r->at != '"') {
        const unsigned char c = (unsigned char)*r->at;
        const char *name = c == '\\' && r->at[1] ? strchr(names, r->at[1]) : NULL;
        int code = 0;
        if (c < 0x20) {
            fail(r, c ? "a control character in a string" : "the string does not end");
        } else if (c != '\\') {
            *out++ = *r->at++;
        } else if (name) {
            *out++ = values[name - names];
            r->at += 2;
        } else if (r->at[1] == 'u' && (r->at += 2, (code = unicode_escape(r)) > 0)) {
            out = put_utf8(out, code);
        } else {
            fail(r, "an escape that means nothing");
        }
        if (r->why[0]) {
            free(text);
            return NULL;
        }
    }
    r->at++;
    *out = '\0';
    return cli_need(realloc(text, (size_t)(out - text) + 1));
}

/* ---- values ---- */

static bool read_number(reader *r, json_value *v)
{
    const char *p = r->at;
    p += *p == '-';
    if (!isdigit((unsigned char)*p) || (*p == '0' && isdigit((unsigned char)p[1])))
        return fail(r, "this is no value");
    while (isdigit((unsigned char)*p))
        p++;
    if (*p == '.' && isdigit((unsigned char)p[1]))
        for (p++; isdigit((unsigned char)*p); p++)
            ;
    const char *sign = (*p | 32) == 'e' ? p + 1 + (p[1] == '-' || p[1] == '+') : NULL;
    if (sign && isdigit((unsigned char)*sign))
        for (p = sign; isdigit((unsigned char)*p); p++)
            ;
    char *end;
    v->number = strtod(r->at, &end);
    if (end != p || !isfinite(v->number))
        return fail(r, "this is no number");
    r->at = end;
    return true;
}

static bool read_word(reader *r, json_value *v)
{
    static const struct {
        const char *word;
        json_type type;
    } words[] = {{"null", JSON_NULL}, {"false", JSON_FALSE}, {"true", JSON_TRUE}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (!strncmp(r->at, words[i].word, strlen(words[i].word))) {
            v->type = words[i].type;
            r->at += strlen(words[i].word);
            return true;
        }
    v->type = JSON_NUMBER;
    return read_number(r, v);
}

/* The key of the next member, up to its value; NULL when there is none. */
static char *read_key(reader *r, const json_value *object)
{
    if (*r->at != '"')
        return fail(r, "a name in quotes should be here");
    r->at++;
    char *key = read_string(r);
    if (!key)
        return NULL;
    if (json_member(object, key)) {
        free(key);
        return fail(r, "a name stands twice in an object");
    }
    skip_space(r);
    if (*r->at != ':') {
        free(key);
        return fail(r, "a colon should be here");
    }
    r->at++;
    return key;
}

/* r->at is behind the opening bracket. */
static bool read_members(reader *r, json_value *v, char close, int depth)
{
    json_value **link = &v->first;
    skip_space(r);
    if (*r->at == close) {
        r->at++;
        return true;
    }
    for (;;) {
        char *key = NULL;
        skip_space(r);
        if (close == '}' && !(key = read_key(r, v)))
            return false;
        json_value *member = read_value(r, depth + 1);
        if (!member) {
            free(key);
            return false;
        }
        member->key = key;
        *link = member;
        link = &member->next;
        skip_space(r);
        if (*r->at == close) {
            r->at++;
            return true;
        }
        if (*r->at != ',')
            return fail(r, "a comma or the closing bracket should be here");
        r->at++;
    }
}

static json_value *read_value(reader *r, int depth)
{
    bool ok;
    if (depth > MAX_DEPTH)
        return fail(r, "brackets are nested too deep");
    skip_space(r);
    json_value *v = cli_need(calloc(1, sizeof *v));
    v->begin = r->at;
    if (*r->at == '{' || *r->at == '[') {
        const bool is_object = *r->at++ == '{';
        v->type = is_object ? JSON_OBJECT : JSON_ARRAY;
        ok = read_members(r, v, is_object ? '}' : ']', depth);
    } else if (*r->at == '"') {
        r->at++;
        v->type = JSON_STRING;
        ok = (v->text = read_string(r)) != NULL;
    } else {
        ok = read_word(r, v);
    }
    v->end = r->at;
    if (ok)
        return v;
    json_free(v);
    return NULL;
}

json_value *json_read(const char *source, char why[96])
{
    reader r = {.start = source, .at = source, .why = why};
    why[0] = '\0';
    json_value *v = read_value(&r, 0);
    if (v)
        skip_space(&r);
    if (v && *r.at) {
        fail(&r, "something follows the value");
        json_free(v);
        v = NULL;
    }
    return v;
}

void json_free(json_value *v)
{
    while (v) {
        json_value *next = v->next;
        json_free(v->first);
        free(v->key);
        free(v->text);
        free(v);
        v = next;
    }
}

/* ---- members ---- */

const json_value *json_member(const json_value *object, const char *key)
{
    for (const json_value *v = object->first; v; v = v->next)
        if (v->key && !strcmp(v->key, key))
            return v;
    return NULL;
}

bool json_member_text(const json_value *object, const char *key, const char **out)
{
    const json_value *v = json_member(object, key);
    *out = v && v->type == JSON_STRING ? v->text : NULL;
    return !v || v->type == JSON_NULL || v->type == JSON_STRING;
}

bool json_member_number(const json_value *object, const char *key, double fallback, double *out)
{
    const json_value *v = json_member(object, key);
    *out = v && v->type == JSON_NUMBER ? v->number : fallback;
    return !v || v->type == JSON_NULL || v->type == JSON_NUMBER;
}
