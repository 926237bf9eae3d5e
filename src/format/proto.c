/* A reader of protocol buffers. Groups, which nobody has written for fifteen years, are refused. */
#include "format/proto.h"

#include <string.h>

static uf_status malformed(const ufi_proto *p, const char *what, uf_error *err)
{
    return ufi_fail(err, UF_E_FORMAT, "%s at byte %zu", what, (size_t)(p->at - p->file));
}

uf_status ufi_proto_varint(ufi_proto *p, uint64_t *out, uf_error *err)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p->at == p->end)
            return malformed(p, "truncated number", err);
        uint8_t b = *p->at++;
        v |= (uint64_t)(b & 0x7F) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return UF_OK;
        }
    }
    return malformed(p, "a number of more than 10 bytes", err);
}

static uf_status take_fixed(ufi_proto *p, size_t bytes, uint64_t *out, uf_error *err)
{
    if (ufi_proto_left(p) < bytes)
        return malformed(p, "truncated number", err);
    *out = 0;
    for (size_t i = 0; i < bytes; i++)
        *out |= (uint64_t)p->at[i] << (8 * i);
    p->at += bytes;
    return UF_OK;
}

static uf_status take_bytes(ufi_proto *p, ufi_proto *out, uf_error *err)
{
    uint64_t size = 0;
    uf_status st = ufi_proto_varint(p, &size, err);
    if (st)
        return st;
    if (size > ufi_proto_left(p))
        return malformed(p, "a field that is longer than its message", err);
    *out = (ufi_proto){p->at, p->at + size, p->file};
    p->at += size;
    return UF_OK;
}

uf_status ufi_proto_next(ufi_proto *p, ufi_proto_field *f, uf_error *err)
{
    uint64_t key = 0;
    memset(f, 0, sizeof *f);
    if (p->at == p->end)
        return UF_OK;
    uf_status st = ufi_proto_varint(p, &key, err);
    if (st)
        return st;
    if (key >> 3 == 0 || key >> 3 > 0x1FFFFFFF)
        return malformed(p, "field number out of range", err);
    f->number = (uint32_t)(key >> 3);
    f->wire = (ufi_wire)(key & 7);
    switch (f->wire) {
    case UFI_WIRE_VARINT:
        return ufi_proto_varint(p, &f->value, err);
    case UFI_WIRE_FIXED64:
        return take_fixed(p, 8, &f->value, err);
    case UFI_WIRE_FIXED32:
        return take_fixed(p, 4, &f->value, err);
    case UFI_WIRE_BYTES:
        return take_bytes(p, &f->bytes, err);
    default:
        return malformed(p, "unknown wire type", err);
    }
}

void ufi_proto_text(const ufi_proto *p, char *out, size_t size)
{
    size_t n = ufi_proto_left(p) < size - 1 ? ufi_proto_left(p) : size - 1;
    if (n)
        memcpy(out, p->at, n);
    out[n] = '\0';
}

bool ufi_proto_is(const ufi_proto *p, const char *text)
{
    size_t n = strlen(text);
    return ufi_proto_left(p) == n && (n == 0 || memcmp(p->at, text, n) == 0);
}
