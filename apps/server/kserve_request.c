/* All counts are held against what really came before they size anything. */
#include "server/kserve_request.h"

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "server/json_parse.h"

/* ---- types ---- */

/* X(dtype, name, bytes) */
#define TYPES(X)           \
    X(UF_F32, "FP32", 4)   \
    X(UF_F16, "FP16", 2)   \
    X(UF_BF16, "BF16", 2)  \
    X(UF_F64, "FP64", 8)   \
    X(UF_I8, "INT8", 1)    \
    X(UF_U8, "UINT8", 1)   \
    X(UF_I16, "INT16", 2)  \
    X(UF_U16, "UINT16", 2) \
    X(UF_I32, "INT32", 4)  \
    X(UF_U32, "UINT32", 4) \
    X(UF_I64, "INT64", 8)  \
    X(UF_U64, "UINT64", 8) \
    X(UF_BOOL, "BOOL", 1)

static const struct {
    uf_dtype type;
    const char *name;
    size_t bytes;
} types[] = {
#define TYPE(type, name, bytes) {type, name, bytes},
    TYPES(TYPE)
#undef TYPE
};
enum { TYPE_COUNT = sizeof types / sizeof types[0] };

const char *ks_type_name(uf_dtype type)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].type == type)
            return types[i].name;
    return NULL;
}

uf_dtype ks_type_of(const char *name)
{
    for (size_t i = 0; name && i < TYPE_COUNT; i++)
        if (!strcmp(types[i].name, name))
            return types[i].type;
    return UF_DTYPE_NONE;
}

size_t ks_type_bytes(uf_dtype type)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].type == type)
            return types[i].bytes;
    return 0;
}

/* ---- reading ---- */

typedef struct reader {
    ks_request *r;
    const uint8_t *bytes; /* behind the JSON; what is left of them */
    size_t left;
    char *why;
} reader;

static bool fail(reader *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool fail(reader *d, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(d->why, 200, format, ap);
    va_end(ap);
    return false;
}

/* The shape, and how many elements it has; at most as many as bytes can be in a body. */
static bool read_shape(reader *d, const json_t *v, srv_tensor *t, size_t *elements)
{
    const size_t rank = json_array_size(v);
    const char *name = t->info.name;
    *elements = 1;
    if (!json_is_array(v) || rank < 1 || rank > UF_MAX_DIMS)
        return fail(d, "input \"%.60s\": its shape must be a list of 1 to %d numbers", name,
                    UF_MAX_DIMS);
    t->info.rank = (uint32_t)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *n = json_array_get(v, i);
        const json_int_t dim = json_integer_value(n);
        if (!json_is_integer(n) || dim < 1 || dim > INT32_MAX)
            return fail(d, "input \"%.60s\": a dimension of its shape is no number from 1 on",
                        name);
        if (*elements > (size_t)INT32_MAX / (size_t)dim)
            return fail(d, "input \"%.60s\": its shape has too many elements", name);
        *elements *= (size_t)dim;
        t->info.dims[i] = dim;
    }
    return true;
}

static size_t count_numbers(const json_t *v)
{
    size_t n = 0;
    if (!json_is_array(v))
        return 1;
    for (size_t i = 0; i < json_array_size(v); i++)
        n += count_numbers(json_array_get(v, i));
    return n;
}

#define INTEGER(type, min, max)                                \
    {                                                          \
        const type x = (type)json_integer_value(v);            \
        memcpy(to, &x, sizeof x);                              \
        return json_is_integer(v) && n >= (min) && n <= (max); \
    }

/* Half floats have no text. */
static bool write_number(const json_t *v, uf_dtype type, uint8_t *to)
{
    const json_int_t n = json_integer_value(v);
    const double real = json_number_value(v);
    const float single = fabs(real) <= (double)FLT_MAX ? (float)real : NAN;
    switch (type) {
    case UF_F32:
        memcpy(to, &single, sizeof single);
        return json_is_number(v) && isfinite(single);
    case UF_F64:
        memcpy(to, &real, sizeof real);
        return json_is_number(v);
    case UF_BOOL:
        *to = json_is_true(v);
        return json_is_boolean(v);
    case UF_I8:
        INTEGER(int8_t, INT8_MIN, INT8_MAX)
    case UF_U8:
        INTEGER(uint8_t, 0, UINT8_MAX)
    case UF_I16:
        INTEGER(int16_t, INT16_MIN, INT16_MAX)
    case UF_U16:
        INTEGER(uint16_t, 0, UINT16_MAX)
    case UF_I32:
        INTEGER(int32_t, INT32_MIN, INT32_MAX)
    case UF_U32:
        INTEGER(uint32_t, 0, UINT32_MAX)
    case UF_I64:
        INTEGER(int64_t, INT64_MIN, INT64_MAX)
    case UF_U64:
        INTEGER(uint64_t, 0, INT64_MAX)
    default:
        return false;
    }
}

/* Lists in lists, row after row, or one flat list. */
static bool write_numbers(const json_t *v, uf_dtype type, size_t bytes, uint8_t **to)
{
    if (!json_is_array(v)) {
        const bool ok = write_number(v, type, *to);
        *to += bytes;
        return ok;
    }
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!write_numbers(json_array_get(v, i), type, bytes, to))
            return false;
    return true;
}

static bool read_json_data(reader *d, const json_t *v, srv_tensor *t, size_t elements)
{
    const size_t bytes = ks_type_bytes(t->info.dtype);
    if (!json_is_array(v) || count_numbers(v) != elements)
        return fail(d, "input \"%.60s\": its data must be a list of %zu numbers, as its shape says",
                    t->info.name, elements);
    uint8_t *at = malloc(elements * bytes);
    if (!at)
        return fail(d, "out of memory");
    d->r->owned[d->r->input_count - 1] = t->data = at;
    t->bytes = elements * bytes;
    return write_numbers(v, t->info.dtype, bytes, &at) ||
           fail(d, "input \"%.60s\": a value of its data is not of type %s%s", t->info.name,
                ks_type_name(t->info.dtype),
                t->info.dtype == UF_F16 || t->info.dtype == UF_BF16 ? ", which comes as bytes only"
                                                                    : "");
}

static bool read_bytes(reader *d, const json_t *size, srv_tensor *t, size_t elements)
{
    const size_t wanted = elements * ks_type_bytes(t->info.dtype);
    if (!json_is_integer(size) || json_integer_value(size) < 0 ||
        (uint64_t)json_integer_value(size) != wanted)
        return fail(d, "input \"%.60s\": its binary_data_size is not the %zu bytes of its shape",
                    t->info.name, wanted);
    if (wanted > d->left)
        return fail(d, "input \"%.60s\": the body has %zu bytes for it, not %zu", t->info.name,
                    d->left, wanted);
    /* It is only read. */
    t->data = (void *)(uintptr_t)d->bytes;
    t->bytes = wanted;
    d->bytes += wanted;
    d->left -= wanted;
    return true;
}

static bool name_is_new(const ks_request *r, const char *name)
{
    for (size_t i = 0; i + 1 < r->input_count; i++)
        if (!strcmp(r->inputs[i].info.name, name))
            return false;
    return true;
}

static bool read_input(reader *d, const json_t *v)
{
    srv_tensor *t = &d->r->inputs[d->r->input_count++];
    const json_t *parameters = json_object_get(v, "parameters"), *data = json_object_get(v, "data");
    const json_t *size = json_object_get(parameters, "binary_data_size");
    const char *type = json_string_value(json_object_get(v, "datatype"));
    size_t elements;
    t->info.name = json_string_value(json_object_get(v, "name"));
    if (!t->info.name || !*t->info.name || !name_is_new(d->r, t->info.name)) {
        t->info.name = "";
        return fail(d, "each input has a name of its own");
    }
    t->info.dtype = ks_type_of(type);
    if (t->info.dtype == UF_DTYPE_NONE)
        return fail(d, "input \"%.60s\": no datatype \"%.20s\" is known", t->info.name,
                    type ? type : "");
    if (json_object_get(parameters, "shared_memory_region"))
        return fail(d, "input \"%.60s\": there is no shared memory", t->info.name);
    if (!read_shape(d, json_object_get(v, "shape"), t, &elements))
        return false;
    if ((data != NULL) == (size != NULL))
        return fail(d, "input \"%.60s\": either data or binary_data_size is needed", t->info.name);
    return data ? read_json_data(d, data, t, elements) : read_bytes(d, size, t, elements);
}

static bool read_inputs(reader *d)
{
    const json_t *list = json_object_get(d->r->json, "inputs");
    const size_t n = json_array_size(list);
    if (n < 1 || n > SRV_TENSORS_MAX)
        return fail(d, "inputs must be a list of 1 to %d tensors", SRV_TENSORS_MAX);
    for (size_t i = 0; i < n; i++)
        if (!read_input(d, json_array_get(list, i)))
            return false;
    return d->left == 0 || fail(d, "%zu bytes of the body belong to no input", d->left);
}

static bool read_flag(reader *d, const json_t *parameters, const char *name, bool *out)
{
    const json_t *v = json_object_get(parameters, name);
    if (v && !json_is_boolean(v))
        return fail(d, "%s must be true or false", name);
    *out = v ? json_is_true(v) : *out;
    return true;
}

static bool read_outputs(reader *d)
{
    ks_request *r = d->r;
    const json_t *list = json_object_get(r->json, "outputs");
    if (!read_flag(d, json_object_get(r->json, "parameters"), "binary_data_output", &r->binary))
        return false;
    r->output_count = json_array_size(list);
    if ((list && !json_is_array(list)) || r->output_count > SRV_TENSORS_MAX)
        return fail(d, "outputs must be a list of at most %d", SRV_TENSORS_MAX);
    for (size_t i = 0; i < r->output_count; i++) {
        const json_t *v = json_array_get(list, i), *p = json_object_get(v, "parameters");
        r->outputs[i] = (ks_wanted){json_string_value(json_object_get(v, "name")), r->binary};
        if (!r->outputs[i].name)
            return fail(d, "an output has no name");
        if (json_object_get(p, "classification") || json_object_get(p, "shared_memory_region"))
            return fail(d, "output \"%.60s\": there are neither classes nor shared memory",
                        r->outputs[i].name);
        if (!read_flag(d, p, "binary_data", &r->outputs[i].binary))
            return false;
    }
    return true;
}

bool ks_request_read(ks_request *r, const uint8_t *body, size_t size, size_t json_size,
                     char why[200], int *status)
{
    reader d = {.r = r, .why = why};
    *r = (ks_request){.json = NULL};
    *status = 400;
    if (json_size > size)
        return fail(&d, "the body is shorter than its JSON");
    d.bytes = body + json_size;
    d.left = size - json_size;
    r->json = srv_json_parse(body, json_size, why, status);
    if (!r->json)
        return false;
    const json_t *id = json_object_get(r->json, "id");
    r->id = json_string_value(id);
    bool ok = json_is_object(r->json) || fail(&d, "the body must be a JSON object");
    ok = ok && (!id || r->id || fail(&d, "id must be text"));
    if (ok && read_inputs(&d) && read_outputs(&d))
        return true;
    ks_request_free(r);
    return false;
}

void ks_request_free(ks_request *r)
{
    for (size_t i = 0; i < r->input_count; i++)
        free(r->owned[i]);
    json_decref(r->json);
    *r = (ks_request){.json = NULL};
}
