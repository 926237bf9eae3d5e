/* UTF-8, one character at a time. Floor 1. */
#ifndef UFI_BASE_UTF8_H
#define UFI_BASE_UTF8_H

#include <stddef.h>

/* Length of the well-formed UTF-8 character at s, 0 when it is malformed (RFC 3629: no overlong
 * forms, no surrogates, nothing past U+10FFFF). The NUL at the end stops a cut-off character. */
static inline size_t ufi_utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < 0xC2 || s[0] > 0xF4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

#endif
