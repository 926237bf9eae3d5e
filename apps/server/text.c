/*
 * Text that grows, and JSON. Blocks are wiped before they are given back, because answers hold
 * templates; so growing copies, which realloc would do as well.
 *
 * Floats are most of what this program writes. snprintf takes 300 ns for each; here nine digits
 * come from one multiplication by a power of ten that a double holds exactly, which suffices: nine
 * digits lie at least six times as dense as floats do, so the rounding of the product never
 * reaches a neighbour.
 */
#include "server/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_ROOM_FIRST = 256, FLOAT_ROOM = 24 };

void srv_text_free(srv_text *t)
{
    if (t->data)
        explicit_bzero(t->data, t->room);
    free(t->data);
    *t = (srv_text){0};
}

/* Room for `more` characters and a NUL. */
static bool reserve(srv_text *t, size_t more)
{
    if (t->failed)
        return false;
    if (more < t->room - t->size)
        return true;
    size_t room = t->room ? t->room : TEXT_ROOM_FIRST;
    while (room - t->size <= more && room <= SIZE_MAX / 4)
        room *= 2;
    char *data = room - t->size > more ? malloc(room) : NULL;
    if (!data) {
        t->failed = true;
        return false;
    }
    if (t->data) {
        memcpy(data, t->data, t->size);
        explicit_bzero(t->data, t->room);
        free(t->data);
    }
    t->data = data;
    t->room = room;
    return true;
}

void srv_text_add(srv_text *t, const void *bytes, size_t size)
{
    if (!reserve(t, size))
        return;
    if (size)
        memcpy(t->data + t->size, bytes, size);
    t->size += size;
    t->data[t->size] = '\0';
}

void srv_text_puts(srv_text *t, const char *s)
{
    srv_text_add(t, s, strlen(s));
}

void srv_text_printf(srv_text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size < 0) {
        t->failed = true;
        return;
    }
    if (!reserve(t, (size_t)size))
        return;
    va_start(args, format);
    vsnprintf(t->data + t->size, (size_t)size + 1, format, args);
    va_end(args);
    t->size += (size_t)size;
}

/* ---- JSON ---- */

static void begin_value(srv_text *t)
{
    if (t->comma)
        srv_text_add(t, ",", 1);
    t->comma = true;
}

void srv_json_open(srv_text *t, char bracket)
{
    begin_value(t);
    srv_text_add(t, &bracket, 1);
    t->comma = false;
}

void srv_json_close(srv_text *t, char bracket)
{
    srv_text_add(t, &bracket, 1);
    t->comma = true;
}

/* Length of the UTF-8 sequence that begins at s, of which `size` bytes are there; 0: none. */
static size_t utf8_length(const uint8_t *s, size_t size)
{
    const size_t n = s[0] < 0x80                   ? 1
                     : s[0] >= 0xC2 && s[0] < 0xE0 ? 2
                     : (s[0] & 0xF0) == 0xE0       ? 3
                     : s[0] >= 0xF0 && s[0] < 0xF5 ? 4
                                                   : 0;
    if (n > size)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if (n > 2 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
                  (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F)))
        return 0;
    return n;
}

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

static void add_escaped(srv_text *t, uint8_t c)
{
    static const char letters[] = "\"\"\\\\\nn\rr\tt\bb\ff";
    for (const char *p = letters; *p; p += 2)
        if (c == (uint8_t)*p) {
            const char pair[2] = {'\\', p[1]};
            srv_text_add(t, pair, 2);
            return;
        }
    srv_text_printf(t, "\\u%04x", c);
}

static void add_string(srv_text *t, const uint8_t *s, size_t size)
{
    srv_text_add(t, "\"", 1);
    for (size_t i = 0; i < size;) {
        size_t run = 0;
        while (i + run < size && is_plain(s[i + run]))
            run++;
        srv_text_add(t, s + i, run);
        i += run;
        if (i == size)
            break;
        const size_t n = utf8_length(s + i, size - i);
        if (n > 1)
            srv_text_add(t, s + i, n);
        else if (n == 1)
            add_escaped(t, s[i]);
        else
            srv_text_puts(t, "\xEF\xBF\xBD"); /* U+FFFD */
        i += n ? n : 1;
    }
    srv_text_add(t, "\"", 1);
}

void srv_json_key(srv_text *t, const char *key)
{
    begin_value(t);
    add_string(t, (const uint8_t *)key, strlen(key));
    srv_text_add(t, ":", 1);
    t->comma = false;
}

void srv_json_bytes(srv_text *t, const void *bytes, size_t size)
{
    begin_value(t);
    add_string(t, bytes, size);
}

void srv_json_string(srv_text *t, const char *s)
{
    if (s)
        srv_json_bytes(t, s, strlen(s));
    else
        srv_json_null(t);
}

void srv_json_integer(srv_text *t, int64_t v)
{
    begin_value(t);
    srv_text_printf(t, "%lld", (long long)v);
}

void srv_json_number(srv_text *t, double v)
{
    static const int digits[] = {6, 9, 17};
    char text[40] = "null";
    for (size_t i = 0; i < 3 && isfinite(v); i++) {
        snprintf(text, sizeof text, "%.*g", digits[i], v);
        if (strtod(text, NULL) == v)
            break;
    }
    begin_value(t);
    /* Readers take -0 for the integer, which has no sign. */
    srv_text_puts(t, v == 0 && signbit(v) ? "-0.0" : text);
}

void srv_json_bool(srv_text *t, bool v)
{
    begin_value(t);
    srv_text_puts(t, v ? "true" : "false");
}

void srv_json_null(srv_text *t)
{
    begin_value(t);
    srv_text_puts(t, "null");
}

/* ---- floats ---- */

static const double powers_of_ten[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6, 1e7,
                                       1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14};

/* The nine digits of n, and where the decimal point goes: n * 10^-scale, scale in 0..13. Zeros
 * after the point's last digit are left out. */
static size_t place_digits(uint32_t n, int scale, char *out)
{
    char digits[9];
    size_t size = 0;
    int count = 9;
    for (int i = 8; i >= 0; i--, n /= 10)
        digits[i] = (char)('0' + n % 10);
    const int whole = 9 - scale; /* digits before the point; not positive: zeros after it */
    while (count > 1 && count > whole && digits[count - 1] == '0')
        count--;
    if (whole <= 0) {
        out[size++] = '0';
        out[size++] = '.';
        for (int i = whole; i < 0; i++)
            out[size++] = '0';
    }
    for (int i = 0; i < count; i++) {
        if (i == whole && i > 0)
            out[size++] = '.';
        out[size++] = digits[i];
    }
    return size;
}

/* Writes v at out[FLOAT_ROOM]; its length. */
static size_t format_float(float v, char *out)
{
    const double magnitude = fabs((double)v);
    size_t size = 0;
    if (!isfinite(v)) {
        memcpy(out, "null", 4);
        return 4;
    }
    if (signbit(v))
        out[size++] = '-';
    if (magnitude == 0) {
        memcpy(out + size, "0.0", 3);
        return size + 3;
    }
    if (magnitude < 1e-5 || magnitude >= 1e8) {
        return size + (size_t)snprintf(out + size, FLOAT_ROOM - size, "%.9g", magnitude);
    }
    int scale = 8;
    if (magnitude >= 1)
        while (magnitude >= powers_of_ten[9 - scale])
            scale--;
    else
        while (magnitude * powers_of_ten[scale] < 1e8)
            scale++;
    uint32_t n = (uint32_t)(magnitude * powers_of_ten[scale] + 0.5);
    if (n == 1000000000) {
        n = 100000000;
        scale--;
    }
    return size + place_digits(n, scale, out + size);
}

void srv_json_floats(srv_text *t, const float *v, size_t count)
{
    srv_json_open(t, '[');
    if (reserve(t, count < SIZE_MAX / FLOAT_ROOM ? count * FLOAT_ROOM : SIZE_MAX)) {
        char *at = t->data + t->size;
        for (size_t i = 0; i < count; i++) {
            if (i)
                *at++ = ',';
            at += format_float(v[i], at);
        }
        t->size = (size_t)(at - t->data);
        *at = '\0';
    }
    srv_json_close(t, ']');
}
