/*
 * Values to PostgreSQL and back. Parameters: numbers and text go as text, which the server reads as
 * whatever type the statement wants there; bytes and vectors go binary. Results are binary: bytea
 * as text is twice as long, and opening a gallery reads all templates.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/status.h"
#include "gallery/postgres.h"
#include "tensor/tensor.h"

uf_status ufi_pg_reserve(ufi_pg_buffer *b, size_t size, uf_error *err)
{
    size_t want;
    if (!ufi_add_ok(b->size, size, &want))
        return ufi_fail(err, UF_E_LIMIT, "a value is too large");
    if (want <= b->capacity)
        return UF_OK;
    size_t capacity = want < 4096 ? 4096 : want + want / 2;
    uint8_t *data = ufi_malloc(capacity, 1);
    if (!data)
        return ufi_fail(err, UF_E_NOMEM, "out of memory for %zu bytes", capacity);
    if (b->size)
        memcpy(data, b->data, b->size);
    if (b->data)
        ufi_wipe(b->data, b->capacity); /* templates may have passed through */
    ufi_free(b->data);
    b->data = data;
    b->capacity = capacity;
    return UF_OK;
}

static void put16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, (uint16_t)(v >> 16));
    put16(p + 2, (uint16_t)v);
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint64_t get64(const uint8_t *p)
{
    return (uint64_t)get32(p) << 32 | get32(p + 4);
}

/* pgvector's wire form: int16 dimension, int16 zero, then halves or floats, all big-endian. */
static void put_vector(uint8_t *out, const float *v, size_t count, bool half)
{
    put16(out, (uint16_t)count);
    put16(out + 2, 0);
    out += 4;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &v[i], sizeof bits);
        if (half)
            put16(out + i * 2, ufi_f32_to_f16(v[i]));
        else
            put32(out + i * 4, bits);
    }
}

/* Appends one value's form to the buffer; *length gets its size, *format libpq's 0 text, 1 binary.
 * Bytes stay where they are: *length is -1 for them. */
static uf_status append_value(ufi_postgres *p, const ufi_value *v, Oid type, int *length,
                              int *format, uf_error *err)
{
    ufi_pg_buffer *b = &p->arguments;
    bool half = type != p->vector_type;
    size_t room = v->type == UFI_VALUE_TEXT     ? v->size + 1
                  : v->type == UFI_VALUE_VECTOR ? 4 + v->size * (half ? 2 : 4)
                                                : 40;
    uf_status st = ufi_pg_reserve(b, room, err);
    if (st)
        return st;
    char *out = (char *)b->data + b->size;
    *format = v->type == UFI_VALUE_BYTES || v->type == UFI_VALUE_VECTOR;
    *length = -1;
    if (v->type == UFI_VALUE_INTEGER && type == UFI_PG_BOOL)
        *length = snprintf(out, room, "%s", v->integer ? "t" : "f");
    else if (v->type == UFI_VALUE_INTEGER)
        *length = snprintf(out, room, "%lld", (long long)v->integer);
    else if (v->type == UFI_VALUE_REAL)
        *length = snprintf(out, room, "%.17g", v->real);
    if (v->type == UFI_VALUE_TEXT) {
        if (memchr(v->data, '\0', v->size))
            return ufi_fail(err, UF_E_ARG, "a text holds a NUL, which PostgreSQL does not store");
        memcpy(out, v->data, v->size);
        out[v->size] = '\0';
        *length = (int)v->size;
    } else if (v->type == UFI_VALUE_VECTOR) {
        if (v->size > UINT16_MAX / 2)
            return ufi_fail(err, UF_E_LIMIT, "a vector of %zu dimensions", v->size);
        put_vector((uint8_t *)out, v->data, v->size, half);
        *length = (int)room;
    }
    b->size += room;
    return UF_OK;
}

uf_status ufi_pg_encode(ufi_postgres *p, const ufi_pg_statement *s, const ufi_value *args,
                        ufi_pg_arguments *out, uf_error *err)
{
    size_t offsets[UFI_PG_MAX_ARGS] = {0};
    if (p->arguments.size)
        ufi_wipe(p->arguments.data, p->arguments.size);
    p->arguments.size = 0;
    for (int i = 0; i < s->count; i++) {
        if (args[i].size > INT32_MAX / 4)
            return ufi_fail(err, UF_E_LIMIT, "parameter %d of %zu bytes", i + 1, args[i].size);
        offsets[i] = p->arguments.size;
        uf_status st =
            append_value(p, &args[i], s->types[i], &out->lengths[i], &out->formats[i], err);
        if (st)
            return ufi_wrap(err, st, "parameter %d", i + 1);
    }
    for (int i = 0; i < s->count; i++) { /* now that the buffer has its final place */
        out->values[i] = (const char *)p->arguments.data + offsets[i];
        if (args[i].type == UFI_VALUE_NULL)
            out->values[i] = NULL;
        if (args[i].type == UFI_VALUE_BYTES) {
            out->values[i] = args[i].data ? args[i].data : "";
            out->lengths[i] = (int)args[i].size;
        }
    }
    return UF_OK;
}

/* numeric, which sum() gives: int16 digits (base 10000), weight, sign, scale, digits. */
static uf_status get_numeric(const uint8_t *p, size_t size, ufi_value *v, uf_error *err)
{
    if (size < 8 || size < 8 + (size_t)get16(p) * 2)
        return ufi_fail(err, UF_E_FORMAT, "a numeric of %zu bytes", size);
    int digits = get16(p), weight = (int16_t)get16(p + 2);
    uint16_t sign = get16(p + 4);
    if (sign != 0 && sign != 0x4000)
        return ufi_fail(err, UF_E_UNSUPPORTED, "a numeric that is not finite");
    double real = 0;
    int64_t whole = 0;
    bool exact = weight < 5; /* 10^20 would not fit */
    for (int i = 0; i < (digits > weight + 1 ? digits : weight + 1); i++) {
        int digit = i < digits ? get16(p + 8 + i * 2) : 0;
        real = real * 10000 + digit;
        exact = exact && (i <= weight || digit == 0);
        if (exact && i <= weight)
            exact = !__builtin_mul_overflow(whole, 10000, &whole) &&
                    !__builtin_add_overflow(whole, digit, &whole);
    }
    for (int i = weight + 1; i < digits; i++)
        real /= 10000;
    *v = exact ? ufi_integer(sign ? -whole : whole) : ufi_real(sign ? -real : real);
    return UF_OK;
}

static uf_status get_vector(ufi_postgres *p, const uint8_t *in, size_t size, bool half,
                            ufi_value *v, uf_error *err)
{
    size_t count = size >= 4 ? get16(in) : 0, each = half ? 2 : 4;
    if (size < 4 || size != 4 + count * each)
        return ufi_fail(err, UF_E_FORMAT, "a vector of %zu bytes", size);
    uint8_t *to = p->floats.data + p->floats.size; /* reserved by the caller: it may not move */
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = half ? 0 : get32(in + 4 + i * 4);
        float f = half ? ufi_f16_to_f32(get16(in + 4 + i * 2)) : 0;
        memcpy(to + i * 4, half ? (void *)&f : (void *)&bits, 4);
    }
    p->floats.size += count * 4;
    *v = (ufi_value){.type = UFI_VALUE_VECTOR, .data = to, .size = count};
    return UF_OK;
}

static uf_status get_fixed(const uint8_t *p, size_t size, Oid type, ufi_value *v, uf_error *err)
{
    static const struct {
        Oid type;
        size_t size;
    } sizes[] = {{UFI_PG_BOOL, 1}, {UFI_PG_INT2, 2},   {UFI_PG_INT4, 4},  {UFI_PG_OID, 4},
                 {UFI_PG_INT8, 8}, {UFI_PG_FLOAT4, 4}, {UFI_PG_FLOAT8, 8}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (type == sizes[i].type && size != sizes[i].size)
            return ufi_fail(err, UF_E_FORMAT, "type %u of %zu bytes", type, size);
    float f;
    double d;
    uint32_t bits32 = size == 4 ? get32(p) : 0;
    uint64_t bits64 = size == 8 ? get64(p) : 0;
    memcpy(&f, &bits32, sizeof f);
    memcpy(&d, &bits64, sizeof d);
    switch (type) {
    case UFI_PG_BOOL:
        *v = ufi_integer(p[0]);
        return UF_OK;
    case UFI_PG_INT2:
        *v = ufi_integer((int16_t)get16(p));
        return UF_OK;
    case UFI_PG_INT4:
        *v = ufi_integer((int32_t)bits32);
        return UF_OK;
    case UFI_PG_OID:
        *v = ufi_integer(bits32);
        return UF_OK;
    case UFI_PG_INT8:
        *v = ufi_integer((int64_t)bits64);
        return UF_OK;
    case UFI_PG_FLOAT4:
        *v = ufi_real(f);
        return UF_OK;
    case UFI_PG_FLOAT8:
        *v = ufi_real(d);
        return UF_OK;
    default:
        return ufi_fail(err, UF_E_UNSUPPORTED, "a column of the type number %u", type);
    }
}

static uf_status get_value(ufi_postgres *p, const uint8_t *data, size_t size, Oid type,
                           ufi_value *v, uf_error *err)
{
    if (p->vector_type && (type == p->vector_type || type == p->halfvec_type))
        return get_vector(p, data, size, type == p->halfvec_type, v, err);
    switch (type) {
    case UFI_PG_BYTEA:
        *v = ufi_bytes(data, size);
        return UF_OK;
    case UFI_PG_JSONB: /* a byte with its version, then text */
        data += size > 0;
        size -= size > 0;
        /* fall through */
    case UFI_PG_TEXT:
    case UFI_PG_JSON:
    case UFI_PG_TYPE_NAME:
    case UFI_PG_UNKNOWN:
    case UFI_PG_BPCHAR:
    case UFI_PG_VARCHAR:
        *v = (ufi_value){.type = UFI_VALUE_TEXT, .data = data, .size = size};
        return UF_OK;
    case UFI_PG_NUMERIC:
        return get_numeric(data, size, v, err);
    default:
        return get_fixed(data, size, type, v, err);
    }
}

uf_status ufi_pg_decode(ufi_postgres *p, const PGresult *r, int row,
                        ufi_value columns[UFI_PG_MAX_COLUMNS], uf_error *err)
{
    size_t vectors = 0;
    int count = PQnfields(r);
    for (int i = 0; i < count; i++)
        vectors += (size_t)PQgetlength(r, row, i) * 2; /* halves become floats */
    p->floats.size = 0;
    uf_status st = p->vector_type ? ufi_pg_reserve(&p->floats, vectors, err) : UF_OK;
    for (int i = 0; i < count && !st; i++) {
        columns[i] = ufi_null();
        if (!PQgetisnull(r, row, i))
            st =
                ufi_wrap(err,
                         get_value(p, (const uint8_t *)PQgetvalue(r, row, i),
                                   (size_t)PQgetlength(r, row, i), PQftype(r, i), &columns[i], err),
                         "column %s", PQfname(r, i));
    }
    return st;
}
