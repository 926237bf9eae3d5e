/* People's metadata: is it a JSON object, and does it have a certain value? Floor 6. Confined. */
#ifndef UFI_GALLERY_JSON_H
#define UFI_GALLERY_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* One JSON object (RFC 8259), at most 32 levels deep, and nothing behind it. */
bool ufi_json_is_object(const char *text);
/* The object has, at its top level, `key` with a text, number, true or false equal to `value`. */
bool ufi_json_has(const char *object, const char *key, size_t key_size, const char *value);

#endif
