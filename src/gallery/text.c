/* Text that comes from callers, and the time. */
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "base/utf8.h"
#include "gallery/impl.h"

uf_status ufi_text_check(const char *text, size_t max, const char *what, uf_error *err)
{
    size_t size = text ? strlen(text) : 0;
    if (size == 0 || size > max)
        return ufi_fail(err, UF_E_ARG, "%s of %zu bytes; it takes 1 to %zu", what, size, max);
    for (size_t i = 0; i < size;) {
        size_t n = ufi_utf8_length((const unsigned char *)text + i);
        if (n == 0)
            return ufi_fail(err, UF_E_ARG, "%s \"%s\" is not UTF-8", what, text);
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return ufi_fail(err, UF_E_ARG, "%s \"%s\" has a control character", what, text);
        i += n;
    }
    return UF_OK;
}

int64_t ufi_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec;
}
