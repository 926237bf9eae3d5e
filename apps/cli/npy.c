/*
 * See npy.h. The header is a Python literal; only what NumPy itself writes is read: three keys, in
 * any order. Every number is bounded before it sizes anything.
 */
#include "npy.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "say.h"

static const struct {
    uf_dtype dtype;
    const char *code, *name;
    size_t bytes;
} types[] = {
    {UF_F32, "<f4", "float32", 4}, {UF_F16, "<f2", "float16", 2}, {UF_F64, "<f8", "float64", 8},
    {UF_I8, "|i1", "int8", 1},     {UF_U8, "|u1", "uint8", 1},    {UF_I16, "<i2", "int16", 2},
    {UF_U16, "<u2", "uint16", 2},  {UF_I32, "<i4", "int32", 4},   {UF_U32, "<u4", "uint32", 4},
    {UF_I64, "<i8", "int64", 8},   {UF_U64, "<u8", "uint64", 8},  {UF_BOOL, "|b1", "bool", 1},
};
#define TYPE_COUNT (sizeof types / sizeof *types)

size_t npy_element_bytes(uf_dtype dtype)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].dtype == dtype)
            return types[i].bytes;
    return 0;
}

const char *npy_type_name(uf_dtype dtype)
{
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].dtype == dtype)
            return types[i].name;
    return dtype == UF_BF16 ? "bfloat16" : "none";
}

/* What follows `'key':` in the header. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *p = strstr(header, quoted);
    if (!p)
        return NULL;
    p += strlen(quoted);
    return p + strspn(p, " ");
}

static uf_status parse_header(npy_array *a, const char *header, const char *path, uf_error *err)
{
    const char *descr = value_of(header, "descr"), *order = value_of(header, "fortran_order"),
               *shape = value_of(header, "shape");
    if (!descr || !order || !shape || *shape != '(')
        return say_fail(err, UF_E_FORMAT, "%s: the .npy header lacks descr, order or shape", path);
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (strncmp(descr + 1, types[i].code, 3) == 0 && (*descr == '\'' || *descr == '"'))
            a->dtype = types[i].dtype;
    if (a->dtype == UF_DTYPE_NONE)
        return say_fail(err, UF_E_UNSUPPORTED, "%s: element type %.6s; save it as float32", path,
                        descr);
    if (strncmp(order, "False", 5) != 0)
        return say_fail(err, UF_E_UNSUPPORTED,
                        "%s: Fortran order; save it with numpy.ascontiguousarray", path);
    size_t bytes = npy_element_bytes(a->dtype);
    for (shape++; *shape != ')';) {
        char *end;
        errno = 0;
        long long dim = strtoll(shape, &end, 10);
        if (end == shape || errno || dim < 0 || a->rank == UF_MAX_DIMS)
            return say_fail(err, UF_E_FORMAT, "%s: bad shape, or more than %d dimensions", path,
                            UF_MAX_DIMS);
        if (dim > 0 && bytes > NPY_MAX_BYTES / (size_t)dim)
            return say_fail(err, UF_E_LIMIT, "%s: larger than 4 GiB", path);
        bytes *= (size_t)dim;
        a->dims[a->rank++] = dim;
        shape = end + strspn(end, ", ");
    }
    a->size_bytes = bytes;
    return UF_OK;
}

static uf_status read_body(npy_array *a, FILE *f, const char *path, uf_error *err)
{
    unsigned char head[12];
    char header[65536];
    if (fread(head, 1, 10, f) != 10 || memcmp(head, "\x93NUMPY", 6) != 0)
        return say_fail(err, UF_E_FORMAT, "%s: not a .npy file", path);
    size_t length = head[8] | (size_t)head[9] << 8;
    if (head[6] == 2) {
        if (fread(head + 10, 1, 2, f) != 2)
            return say_fail(err, UF_E_FORMAT, "%s: the .npy header is cut off", path);
        length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
    } else if (head[6] != 1) {
        return say_fail(err, UF_E_UNSUPPORTED, "%s: .npy version %d", path, head[6]);
    }
    if (length >= sizeof header || fread(header, 1, length, f) != length)
        return say_fail(err, UF_E_FORMAT, "%s: the .npy header is cut off or too long", path);
    header[length] = 0;
    uf_status st = parse_header(a, header, path, err);
    if (st)
        return st;
    a->data = malloc(a->size_bytes ? a->size_bytes : 1);
    if (!a->data)
        return say_fail(err, UF_E_NOMEM, "%s: no memory for %zu bytes", path, a->size_bytes);
    if (fread(a->data, 1, a->size_bytes, f) != a->size_bytes)
        return say_fail(err, UF_E_FORMAT, "%s: shorter than its header says", path);
    return UF_OK;
}

uf_status npy_read(npy_array *out, const char *path, uf_error *err)
{
    memset(out, 0, sizeof *out);
    FILE *f = fopen(path, "rb");
    if (!f)
        return say_fail(err, UF_E_IO, "%s: cannot open: %s", path, strerror(errno));
    uf_status st = read_body(out, f, path, err);
    fclose(f);
    if (st)
        npy_free(out);
    return st;
}

void npy_free(npy_array *a)
{
    free(a->data);
    memset(a, 0, sizeof *a);
}

/* The header, padded so that the data begins at a multiple of 64. Returns its length. */
static size_t make_header(char out[512], const char *code, uint32_t rank, const int64_t *dims)
{
    int n = snprintf(out + 10, 400, "{'descr': '%s', 'fortran_order': False, 'shape': (", code);
    for (uint32_t i = 0; i < rank; i++)
        n += snprintf(out + 10 + n, 24, "%lld%s", (long long)dims[i],
                      i + 1 < rank ? ", " : (rank == 1 ? "," : ""));
    n += snprintf(out + 10 + n, 8, "), }");
    size_t total = ((size_t)n + 11 + 63) / 64 * 64;
    memset(out + 10 + n, ' ', total - 10 - (size_t)n);
    out[total - 1] = '\n';
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)((total - 10) & 255);
    out[9] = (char)((total - 10) >> 8);
    return total;
}

uf_status npy_write(const char *path, uf_dtype dtype, uint32_t rank, const int64_t *dims,
                    const void *data, uf_error *err)
{
    char header[512], temporary[4096];
    const char *code = NULL;
    size_t bytes = npy_element_bytes(dtype);
    for (size_t i = 0; i < TYPE_COUNT; i++)
        if (types[i].dtype == dtype)
            code = types[i].code;
    if (!code || rank > UF_MAX_DIMS)
        return say_fail(err, UF_E_UNSUPPORTED, "%s: .npy cannot hold %s", path,
                        npy_type_name(dtype));
    for (uint32_t i = 0; i < rank; i++)
        bytes *= (size_t)dims[i];
    bool standard = strcmp(path, "-") == 0;
    snprintf(temporary, sizeof temporary, "%s.%ld.tmp", path, (long)getpid());
    FILE *f = standard ? stdout : fopen(temporary, "wb");
    if (!f)
        return say_fail(err, UF_E_IO, "%s: cannot write: %s", path, strerror(errno));
    size_t length = make_header(header, code, rank, dims);
    bool good = fwrite(header, 1, length, f) == length && fwrite(data, 1, bytes, f) == bytes;
    good = fflush(f) == 0 && good;
    if (standard)
        return good ? UF_OK : say_fail(err, UF_E_IO, "standard output: %s", strerror(errno));
    good = fclose(f) == 0 && good;
    if (good && rename(temporary, path) == 0)
        return UF_OK;
    uf_status st = say_fail(err, UF_E_IO, "%s: cannot write: %s", path, strerror(errno));
    unlink(temporary);
    return st;
}
