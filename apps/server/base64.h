/* Base64 (RFC 4648, section 4), also as data: URL; line ends are skipped. Reentrant. */
#ifndef UF_SERVER_BASE64_H
#define UF_SERVER_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room that decoding `size` characters takes at most. */
size_t srv_base64_room(size_t size);
/* Decodes; false when it is not base64: a foreign character, wrong or missing padding, bits left
 * over that are not zero. `out` may be `text`. */
bool srv_base64_decode(const char *text, size_t size, uint8_t *out, size_t *out_size);
/* Of "data:image/png;base64,....": where the base64 begins; of other text: 0. */
size_t srv_base64_skip_url(const char *text, size_t size);
/* 4 * ((size + 2) / 3) characters and a NUL. */
void srv_base64_encode(const void *data, size_t size, char *out);

#endif
