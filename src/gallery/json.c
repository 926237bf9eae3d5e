/*
 * A JSON checker that keeps nothing: it walks over values and, at the top level of an object, may
 * compare them. The text is NUL-terminated, which ends every loop.
 */
#include "gallery/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum { DEPTH_MAX = 32 };

static const char *skip_space(const char *p)
{
    while (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')
        p++;
    return p;
}

static int hex_of(char c)
{
    const char *digits = "0123456789abcdefABCDEF", *at = c ? strchr(digits, c) : NULL;
    int value = at ? (int)(at - digits) : -1;
    return value >= 16 ? value - 6 : value;
}

static bool hex4(const char *p, uint32_t *out)
{
    *out = 0;
    for (int i = 0; i < 4; i++) {
        int h = hex_of(p[i]);
        if (h < 0)
            return false;
        *out = *out << 4 | (uint32_t)h;
    }
    return true;
}

static size_t put_utf8(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((0xF0u << (4 - n) & 0xFF) | c);
    return n;
}

/* One character of a string, which may be an escape: its bytes into out[4]. NULL: malformed. */
static const char *string_char(const char *p, char *out, size_t *size)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    if (*p != '\\') {
        *size = (unsigned char)*p < 0x20 ? 0 : ufi_utf8_length((const unsigned char *)p);
        memcpy(out, p, *size);
        return *size ? p + *size : NULL;
    }
    const char *name = p[1] ? strchr(names, p[1]) : NULL;
    if (name) {
        out[0] = values[name - names];
        *size = 1;
        return p + 2;
    }
    uint32_t c, low;
    if (p[1] != 'u' || !hex4(p + 2, &c) || (c >= 0xDC00 && c <= 0xDFFF))
        return NULL;
    p += 6;
    if (c >= 0xD800 && c <= 0xDBFF) {
        if (p[0] != '\\' || p[1] != 'u' || !hex4(p + 2, &low) || low < 0xDC00 || low > 0xDFFF)
            return NULL;
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        p += 6;
    }
    *size = put_utf8(c, out);
    return p;
}

/* Walks over a string at its opening quote; *same tells whether it equals `want` (may be NULL). */
static const char *walk_string(const char *p, const char *want, size_t want_size, bool *same)
{
    size_t at = 0;
    bool equal = want != NULL;
    for (p++; *p != '"';) {
        char bytes[4];
        size_t n;
        p = string_char(p, bytes, &n);
        if (!p)
            return NULL;
        equal = equal && n <= want_size - at && memcmp(want + at, bytes, n) == 0;
        at += equal ? n : 0;
    }
    if (same)
        *same = equal && at == want_size;
    return p + 1;
}

static const char *walk_digits(const char *p)
{
    const char *start = p;
    while (*p >= '0' && *p <= '9')
        p++;
    return p > start ? p : NULL;
}

static const char *walk_number(const char *p)
{
    p += *p == '-';
    p = *p == '0' ? p + 1 : walk_digits(p);
    if (p && *p == '.')
        p = walk_digits(p + 1);
    if (p && (*p == 'e' || *p == 'E')) {
        p++;
        p = walk_digits(p + (*p == '+' || *p == '-'));
    }
    return p;
}

static const char *walk_word(const char *p, const char *word)
{
    size_t n = strlen(word);
    return strncmp(p, word, n) == 0 ? p + n : NULL;
}

static const char *walk_value(const char *p, int depth);

static const char *walk_list(const char *p, int depth, char end)
{
    p = skip_space(p + 1);
    if (*p == end)
        return p + 1;
    for (;;) {
        if (end == '}') {
            p = *p == '"' ? walk_string(p, NULL, 0, NULL) : NULL;
            p = p ? skip_space(p) : NULL;
            if (!p || *p != ':')
                return NULL;
            p = skip_space(p + 1);
        }
        p = walk_value(p, depth + 1);
        p = p ? skip_space(p) : NULL;
        if (!p || (*p != ',' && *p != end))
            return NULL;
        if (*p == end)
            return p + 1;
        p = skip_space(p + 1);
    }
}

/* The end of the value that begins at p, NULL when it is none. */
static const char *walk_value(const char *p, int depth)
{
    if (depth > DEPTH_MAX)
        return NULL;
    switch (*p) {
    case '{':
        return walk_list(p, depth, '}');
    case '[':
        return walk_list(p, depth, ']');
    case '"':
        return walk_string(p, NULL, 0, NULL);
    case 't':
        return walk_word(p, "true");
    case 'f':
        return walk_word(p, "false");
    case 'n':
        return walk_word(p, "null");
    default:
        return walk_number(p);
    }
}

bool ufi_json_is_object(const char *text)
{
    const char *p = skip_space(text);
    p = *p == '{' ? walk_value(p, 0) : NULL;
    return p && *skip_space(p) == '\0';
}

/* 30 equals 30.0: numbers are compared as numbers. */
static bool scalar_equals(const char *p, const char *end, const char *value)
{
    size_t n = (size_t)(end - p);
    if (*p == '{' || *p == '[' || *p == 'n')
        return false;
    if (strlen(value) == n && memcmp(p, value, n) == 0)
        return true;
    const char *stop = walk_number(value);
    bool numbers = (*p == '-' || (*p >= '0' && *p <= '9')) && stop && *stop == '\0';
    return numbers && strtod(p, NULL) == strtod(value, NULL);
}

bool ufi_json_has(const char *object, const char *key, size_t key_size, const char *value)
{
    const char *p = skip_space(object);
    if (!ufi_json_is_object(object))
        return false;
    for (p = skip_space(p + 1); *p != '}'; p = skip_space(p)) {
        bool is_key, equal = false;
        p = skip_space(walk_string(p, key, key_size, &is_key));
        p = skip_space(p + 1); /* past the colon */
        const char *end = walk_value(p, 1);
        if (*p == '"')
            walk_string(p, value, strlen(value), &equal);
        else
            equal = scalar_equals(p, end, value);
        if (is_key && equal)
            return true;
        p = skip_space(end);
        if (*p == ',')
            p++;
    }
    return false;
}
