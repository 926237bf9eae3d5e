/* Base64, strict but for line ends: two texts that differ must not decode to the same bytes. */
#include "server/base64.h"

#include <string.h>
#include <strings.h>

enum { FOREIGN = 64, PADDING = 65, LINE_END = 66 };

#define VALUE(c)                                           \
    ((uint8_t)((c) >= 'A' && (c) <= 'Z'   ? (c) - 'A'      \
               : (c) >= 'a' && (c) <= 'z' ? (c) - 'a' + 26 \
               : (c) >= '0' && (c) <= '9' ? (c) - '0' + 52 \
               : (c) == '+'               ? 62             \
               : (c) == '/'               ? 63             \
               : (c) == '='               ? PADDING        \
               : (c) == 13 || (c) == 10   ? LINE_END       \
                                          : FOREIGN))
#define VALUES_4(c) VALUE(c), VALUE(c + 1), VALUE(c + 2), VALUE(c + 3)
#define VALUES_16(c) VALUES_4(c), VALUES_4(c + 4), VALUES_4(c + 8), VALUES_4(c + 12)
#define VALUES_64(c) VALUES_16(c), VALUES_16(c + 16), VALUES_16(c + 32), VALUES_16(c + 48)

static const uint8_t values[256] = {VALUES_64(0), VALUES_64(64), VALUES_64(128), VALUES_64(192)};

size_t srv_base64_room(size_t size)
{
    return size / 4 * 3 + 3;
}

/* What came since the last whole group of four. */
typedef struct group {
    uint32_t bits;
    int count, padding;
} group;

/* The last group when it is shorter than four: two or three characters and as much padding as
 * makes four, the bits left over zero. */
static bool end_group(const group *g, uint8_t *out, size_t *size)
{
    if (g->count == 0)
        return g->padding == 0;
    if (g->count == 1 || g->count + g->padding != 4)
        return false;
    const uint32_t bits = g->bits << 6 * g->padding;
    if (bits & (g->padding == 2 ? 0xFFFFu : 0xFFu))
        return false;
    out[(*size)++] = (uint8_t)(bits >> 16);
    if (g->padding == 1)
        out[(*size)++] = (uint8_t)(bits >> 8);
    return true;
}

bool srv_base64_decode(const char *text, size_t size, uint8_t *out, size_t *out_size)
{
    const uint8_t *s = (const uint8_t *)text, *const end = s + size;
    group g = {0};
    size_t n = 0;
    while (s < end) {
        if (g.count == 0 && !g.padding && end - s >= 4) {
            const uint8_t a = values[s[0]], b = values[s[1]], c = values[s[2]], d = values[s[3]];
            if ((a | b | c | d) < 64) {
                out[n] = (uint8_t)(a << 2 | b >> 4);
                out[n + 1] = (uint8_t)(b << 4 | c >> 2);
                out[n + 2] = (uint8_t)(c << 6 | d);
                n += 3;
                s += 4;
                continue;
            }
        }
        const uint8_t v = values[*s++];
        if (v == LINE_END)
            continue;
        if (v == PADDING && g.padding < 2) {
            g.padding++;
            continue;
        }
        if (v >= 64 || g.padding)
            return false;
        g.bits = g.bits << 6 | v;
        if (++g.count == 4) {
            out[n++] = (uint8_t)(g.bits >> 16);
            out[n++] = (uint8_t)(g.bits >> 8);
            out[n++] = (uint8_t)g.bits;
            g = (group){0};
        }
    }
    *out_size = n;
    return end_group(&g, out, out_size);
}

size_t srv_base64_skip_url(const char *text, size_t size)
{
    static const char scheme[] = "data:", mark[] = ";base64";
    const size_t scheme_size = sizeof scheme - 1, mark_size = sizeof mark - 1;
    if (size < scheme_size || strncasecmp(text, scheme, scheme_size))
        return 0;
    const char *comma = memchr(text, ',', size);
    if (!comma || (size_t)(comma - text) < scheme_size + mark_size ||
        strncasecmp(comma - mark_size, mark, mark_size))
        return 0;
    return (size_t)(comma - text) + 1;
}

void srv_base64_encode(const void *data, size_t size, char *out)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *s = data;
    size_t n = 0;
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const uint32_t bits = (uint32_t)s[i] << 16 | (left > 1 ? (uint32_t)s[i + 1] << 8 : 0) |
                              (left > 2 ? s[i + 2] : 0);
        out[n++] = letters[bits >> 18];
        out[n++] = letters[bits >> 12 & 63];
        out[n++] = left > 1 ? letters[bits >> 6 & 63] : '=';
        out[n++] = left > 2 ? letters[bits & 63] : '=';
    }
    out[n] = '\0';
}
