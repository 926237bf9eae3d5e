/* TensorProto: numbers as raw little-endian bytes or in typed lists, packed or not. */
#include <string.h>

#include "base/mem.h"
#include "format/onnx.h"

uf_dtype ufi_onnx_dtype(uint64_t type)
{
    static const uint8_t types[] = {
        UF_DTYPE_NONE, UF_F32, UF_U8,  UF_I8,  UF_U16, UF_I16, UF_I32,        UF_I64,  0,
        UF_BOOL,       UF_F16, UF_F64, UF_U32, UF_U64, 0,      UF_DTYPE_NONE, UF_BF16,
    };
    return type < sizeof types ? (uf_dtype)types[type] : UF_DTYPE_NONE;
}

typedef struct tensor_fields {
    uint64_t type, location;
    ufi_proto raw, name;
    bool has_raw;
    ufi_shape shape;
    uint64_t typed_count; /* numbers seen in typed lists */
    char name_text[80];
} tensor_fields;

enum {
    FLOAT_DATA = 4,
    INT32_DATA = 5,
    STRING_DATA = 6,
    INT64_DATA = 7,
    DOUBLE_DATA = 10,
    UINT64_DATA = 11
};

static bool is_typed_list(uint32_t number)
{
    return number == FLOAT_DATA || number == INT32_DATA || number == INT64_DATA ||
           number == DOUBLE_DATA || number == UINT64_DATA;
}

static uf_status add_dim(onnx_import *m, tensor_fields *t, uint64_t dim)
{
    if (t->shape.rank == UF_MAX_DIMS || dim > INT32_MAX)
        return ufi_fail(m->err, UF_E_LIMIT, "tensor \"%s\" has dimension %llu of size %llu",
                        t->name_text, (unsigned long long)t->shape.rank, (unsigned long long)dim);
    t->shape.dims[t->shape.rank++] = (int64_t)dim;
    return UF_OK;
}

/* Calls take(arg, value) for each number of a list field, packed or single. */
typedef uf_status take_fn(onnx_import *m, void *arg, uint64_t value);

static uf_status each_number(onnx_import *m, const ufi_proto_field *f, size_t fixed_bytes,
                             take_fn *take, void *arg)
{
    if (f->wire != UFI_WIRE_BYTES)
        return take(m, arg, f->value);
    ufi_proto p = f->bytes;
    uf_status st = UF_OK;
    while (!st && p.at < p.end) {
        uint64_t v = 0;
        if (!fixed_bytes) {
            st = ufi_proto_varint(&p, &v, m->err);
        } else if (ufi_proto_left(&p) < fixed_bytes) {
            st = ufi_fail(m->err, UF_E_FORMAT, "a packed list ends within a number at byte %zu",
                          (size_t)(p.at - p.file));
        } else {
            memcpy(&v, p.at, fixed_bytes);
            p.at += fixed_bytes;
        }
        if (!st)
            st = take(m, arg, v);
    }
    return st;
}

static size_t fixed_bytes_of(uint32_t number)
{
    return number == FLOAT_DATA ? 4 : number == DOUBLE_DATA ? 8 : 0;
}

static uf_status take_dim(onnx_import *m, void *arg, uint64_t value)
{
    return add_dim(m, arg, value);
}

static uf_status read_fields(onnx_import *m, ufi_proto p, tensor_fields *t)
{
    ufi_proto_field f;
    uf_status st;
    memset(t, 0, sizeof *t);
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        if (f.number == 1)
            st = each_number(m, &f, 0, take_dim, t);
        else if (f.number == 2 && f.wire == UFI_WIRE_VARINT)
            t->type = f.value;
        else if (f.number == 8 && f.wire == UFI_WIRE_BYTES)
            t->name = f.bytes;
        else if (f.number == 9 && f.wire == UFI_WIRE_BYTES)
            t->raw = f.bytes, t->has_raw = true;
        else if (f.number == 14 && f.wire == UFI_WIRE_VARINT)
            t->location = f.value;
        else if (f.number == 13)
            t->location = 1;
        if (st)
            return st;
    }
    if (t->name.at)
        ufi_proto_text(&t->name, t->name_text, sizeof t->name_text);
    return st;
}

/* ---- typed lists ---- */

typedef struct typed_sink {
    ufi_tensor *t;
    uint32_t number;
    int64_t at, count;
    const char *name;
} typed_sink;

static uf_status take_typed(onnx_import *m, void *arg, uint64_t v)
{
    typed_sink *s = arg;
    size_t size = ufi_dtype_bytes(s->t->dtype);
    if (s->at >= s->count)
        return ufi_fail(m->err, UF_E_FORMAT, "tensor \"%s\" has more numbers than its shape",
                        s->name);
    uint8_t *to = (uint8_t *)s->t->data + (size_t)s->at++ * size;
    if (s->t->dtype == UF_BOOL)
        *to = v != 0;
    else
        memcpy(to, &v, size); /* little-endian: the low bytes; floats come as bits */
    return UF_OK;
}

/* Which list holds elements of this type. */
static uint32_t list_of(uf_dtype t)
{
    switch (t) {
    case UF_F32:
        return FLOAT_DATA;
    case UF_F64:
        return DOUBLE_DATA;
    case UF_I64:
        return INT64_DATA;
    case UF_U64:
    case UF_U32:
        return UINT64_DATA;
    default:
        return INT32_DATA;
    }
}

static uf_status read_typed(onnx_import *m, ufi_proto p, ufi_tensor *t, const char *name)
{
    ufi_proto_field f;
    typed_sink sink = {t, list_of(t->dtype), 0, ufi_shape_count(&t->shape), name};
    uf_status st;
    while (!(st = ufi_proto_next(&p, &f, m->err)) && f.number) {
        if (is_typed_list(f.number) && f.number != sink.number)
            st = ufi_fail(m->err, UF_E_FORMAT, "tensor \"%s\": its numbers are of another type",
                          name);
        else if (f.number == sink.number)
            st = each_number(m, &f, fixed_bytes_of(f.number), take_typed, &sink);
        if (st)
            return st;
    }
    if (!st && sink.at != sink.count)
        st = ufi_fail(m->err, UF_E_FORMAT, "tensor \"%s\" has %lld numbers, its shape wants %lld",
                      name, (long long)sink.at, (long long)sink.count);
    return st;
}

/* ---- the tensor ---- */

static uf_status alloc_data(onnx_import *m, ufi_tensor *t)
{
    size_t bytes = ufi_tensor_bytes(t);
    t->data = ufi_arena_alloc(&m->g->arena, bytes ? bytes : 1, 1);
    return t->data ? UF_OK : ufi_fail(m->err, UF_E_NOMEM, "no memory for a tensor");
}

static uf_status use_raw(onnx_import *m, ufi_tensor *t, const tensor_fields *f)
{
    size_t bytes = ufi_tensor_bytes(t), have = ufi_proto_left(&f->raw);
    if (have != bytes)
        return ufi_fail(m->err, UF_E_FORMAT,
                        "tensor \"%s\" has %zu bytes of data, its shape and type want %zu",
                        f->name_text, have, bytes);
    if ((uintptr_t)f->raw.at % ufi_dtype_bytes(t->dtype) == 0 && t->dtype != UF_BOOL && bytes) {
        t->data = (void *)(uintptr_t)f->raw.at;
        return UF_OK;
    }
    uf_status st = alloc_data(m, t);
    if (!st && bytes)
        memcpy(t->data, f->raw.at, bytes);
    for (size_t i = 0; !st && t->dtype == UF_BOOL && i < bytes; i++)
        ((uint8_t *)t->data)[i] = ((uint8_t *)t->data)[i] != 0;
    return st;
}

uf_status onnx_tensor(onnx_import *m, ufi_proto p, ufi_tensor *t, ufi_proto *name)
{
    tensor_fields f;
    uf_status st = read_fields(m, p, &f);
    if (st)
        return st;
    if (name)
        *name = f.name;
    if (f.location)
        return ufi_fail(m->err, UF_E_UNSUPPORTED,
                        "tensor \"%s\" keeps its data in another file; save the model as a single "
                        "file",
                        f.name_text);
    *t = (ufi_tensor){ufi_onnx_dtype(f.type), UFI_PLAIN, f.shape, NULL};
    if (t->dtype == UF_DTYPE_NONE)
        return ufi_fail(m->err, UF_E_UNSUPPORTED, "tensor \"%s\" is of ONNX type %llu", f.name_text,
                        (unsigned long long)f.type);
    int64_t count = ufi_shape_count(&t->shape);
    if (count < 0)
        return ufi_fail(m->err, UF_E_LIMIT, "tensor \"%s\" has too many elements", f.name_text);
    if (f.has_raw)
        return use_raw(m, t, &f);
    /* A number takes at least a byte, so the shape cannot ask for more memory than the file has. */
    if ((uint64_t)count > ufi_proto_left(&p))
        return ufi_fail(m->err, UF_E_FORMAT, "tensor \"%s\" has fewer numbers than its shape wants",
                        f.name_text);
    st = alloc_data(m, t);
    return st ? st : read_typed(m, p, t, f.name_text);
}

uf_status onnx_set_constant(onnx_import *m, uint32_t id, const ufi_tensor *t)
{
    ufi_value *v = &m->g->values[id];
    if (v->data)
        return ufi_fail(m->err, UF_E_FORMAT, "value \"%s\" is given twice", v->name);
    v->dtype = t->dtype;
    v->shape = t->shape;
    v->has_shape = true;
    v->data = t->data;
    return UF_OK;
}
