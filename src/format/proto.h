/* Protocol buffers' wire format, reading only: fields one by one, every length checked. Floor 4. */
#ifndef UFI_FORMAT_PROTO_H
#define UFI_FORMAT_PROTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* A message, or what is left of it. `file` is where offsets in errors count from. */
typedef struct ufi_proto {
    const uint8_t *at, *end, *file;
} ufi_proto;

typedef enum ufi_wire {
    UFI_WIRE_VARINT = 0,
    UFI_WIRE_FIXED64 = 1,
    UFI_WIRE_BYTES = 2,
    UFI_WIRE_FIXED32 = 5
} ufi_wire;

typedef struct ufi_proto_field {
    uint32_t number; /* 0: no more fields */
    ufi_wire wire;
    uint64_t value;  /* varint and fixed */
    ufi_proto bytes; /* UFI_WIRE_BYTES: a string, a message, or packed numbers */
} ufi_proto_field;

/* Takes the next field. UF_E_FORMAT names the offset of what is wrong. */
uf_status ufi_proto_next(ufi_proto *p, ufi_proto_field *f, uf_error *err);
/* One number of a packed list. */
uf_status ufi_proto_varint(ufi_proto *p, uint64_t *out, uf_error *err);

static inline size_t ufi_proto_left(const ufi_proto *p)
{
    return (size_t)(p->end - p->at);
}

/* Copies at most size - 1 bytes; always ends with a NUL. */
void ufi_proto_text(const ufi_proto *p, char *out, size_t size);
bool ufi_proto_is(const ufi_proto *p, const char *text);

#endif
