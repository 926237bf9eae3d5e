/* NumPy's .npy, version 1.0 and 2.0: little-endian, C order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define MAGIC "\x93NUMPY"
#define MAX_BYTES ((size_t)4 << 30)

static const struct {
    const char *text;
    uf_dtype dtype;
    size_t bytes;
} types[] = {{"<f4", UF_F32, 4}, {"<f2", UF_F16, 2}, {"<f8", UF_F64, 8}, {"|i1", UF_I8, 1},
             {"|u1", UF_U8, 1},  {"<i2", UF_I16, 2}, {"<u2", UF_U16, 2}, {"<i4", UF_I32, 4},
             {"<u4", UF_U32, 4}, {"<i8", UF_I64, 8}, {"<u8", UF_U64, 8}, {"|b1", UF_BOOL, 1}};

enum { TYPE_COUNT = sizeof types / sizeof *types };

static int type_of(uf_dtype d)
{
    for (int i = 0; i < TYPE_COUNT; i++)
        if (types[i].dtype == d)
            return i;
    return -1;
}

size_t npy_bytes(const uf_tensor_info *info)
{
    int t = type_of(info->dtype);
    size_t n = t < 0 ? 0 : types[t].bytes;
    for (uint32_t d = 0; d < info->rank; d++)
        if (info->dims[d] < 0 || __builtin_mul_overflow(n, (size_t)info->dims[d], &n))
            return 0;
    return n;
}

bool npy_write_header(FILE *f, const uf_tensor_info *info, size_t length)
{
    char header[256];
    const int t = type_of(info->dtype);
    if (t < 0)
        return false;
    int n = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                     types[t].text);
    for (uint32_t d = 0; d < info->rank; d++)
        n += snprintf(header + n, sizeof header - (size_t)n, "%lld,", (long long)info->dims[d]);
    n += snprintf(header + n, sizeof header - (size_t)n, "), }");
    while (length ? 10 + (size_t)n + 1 < length : (10 + n + 1) % 64)
        header[n++] = ' ';
    header[n++] = '\n';
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)(n & 255), (unsigned char)(n >> 8)};
    return fwrite(start, 1, 10, f) == 10 && fwrite(header, 1, (size_t)n, f) == (size_t)n;
}

/* Where there is no file, or one, it is replaced whole; devices and links are written into. */
static FILE *open_beside(const char *path, char *temporary, size_t size)
{
    struct stat s;
    const bool exists = lstat(path, &s) == 0;
    temporary[0] = '\0';
    if (exists && !S_ISREG(s.st_mode))
        return fopen(path, "wb");
    const int n = snprintf(temporary, size, "%s.XXXXXX", path);
    errno = ENAMETOOLONG;
    const int fd = n > 0 && (size_t)n < size ? mkstemp(temporary) : -1;
    if (fd < 0)
        return NULL;
    const mode_t mask = umask(0);
    umask(mask);
    fchmod(fd, exists ? s.st_mode & 0777 : 0666 & ~mask); /* who may read templates stays */
    FILE *f = fdopen(fd, "wb");
    if (!f) {
        close(fd);
        unlink(temporary);
    }
    return f;
}

bool npy_write(const char *path, const uf_tensor_info *info, const void *data)
{
    char temporary[4096];
    FILE *f = open_beside(path, temporary, sizeof temporary);
    size_t bytes = npy_bytes(info);
    bool ok = f && npy_write_header(f, info, 0) && fwrite(data, 1, bytes, f) == bytes;
    if (f && fclose(f) != 0)
        ok = false;
    if (ok && temporary[0])
        ok = rename(temporary, path) == 0;
    if (ok)
        return true;
    cli_complain(0, "%s: it cannot be written: %s", path, strerror(errno));
    if (f && temporary[0])
        unlink(temporary);
    return false;
}

static const char *header_value(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    at = at ? strchr(at, ':') : NULL;
    if (!at)
        return NULL;
    for (at++; *at == ' '; at++)
        ;
    return at;
}

static bool parse_header(const char *header, uf_tensor_info *info)
{
    const char *descr = header_value(header, "'descr'");
    const char *order = header_value(header, "'fortran_order'");
    const char *shape = header_value(header, "'shape'");
    int t = 0;
    if (!descr || !order || !shape || strncmp(order, "False", 5) != 0 || *shape != '(')
        return false;
    while (t < TYPE_COUNT && strncmp(descr + 1, types[t].text, 3) != 0)
        t++;
    if (t == TYPE_COUNT)
        return false;
    info->dtype = types[t].dtype;
    info->rank = 0;
    for (shape++; *shape && *shape != ')';) {
        char *end;
        long long v = strtoll(shape, &end, 10);
        if (end == shape || v < 0 || info->rank == UF_MAX_DIMS)
            return false;
        info->dims[info->rank++] = v;
        for (shape = end; *shape == ',' || *shape == ' '; shape++)
            ;
    }
    return *shape == ')';
}

static const char no_array[] = "this is no little-endian, C-order .npy array";

/* Whether it has no elements; otherwise no bytes mean that their number is beyond all bounds. */
static bool is_empty(const uf_tensor_info *info)
{
    for (uint32_t d = 0; d < info->rank; d++)
        if (info->dims[d] == 0)
            return true;
    return false;
}

/* What is wrong, or NULL. */
static const char *read_array(FILE *f, uf_tensor_info *info, void **data)
{
    unsigned char start[12];
    char header[4097];
    if (fread(start, 1, 10, f) != 10 || memcmp(start, MAGIC, 6) != 0)
        return no_array;
    size_t n = start[8] + 256u * start[9];
    if (start[6] == 2 && (fread(start + 10, 1, 2, f) != 2 || start[10] || start[11]))
        return no_array;
    if (start[6] < 1 || start[6] > 2 || n >= sizeof header || fread(header, 1, n, f) != n)
        return no_array;
    header[n] = '\0';
    if (!parse_header(header, info))
        return no_array;
    const size_t bytes = npy_bytes(info);
    if (bytes > MAX_BYTES || (bytes == 0 && !is_empty(info)))
        return "the array is larger than 4 GiB";
    *data = malloc(bytes ? bytes : 1);
    if (!*data)
        return "no memory for the array";
    if (fread(*data, 1, bytes, f) == bytes)
        return NULL;
    free(*data);
    *data = NULL;
    return "the file is cut short: it has fewer numbers than its header says";
}

bool npy_read(const char *path, uf_tensor_info *info, void **data)
{
    FILE *f = fopen(path, "rb");
    memset(info, 0, sizeof *info);
    *data = NULL;
    if (!f) {
        cli_complain(0, "%s: cannot open: %s", path, strerror(errno));
        return false;
    }
    const char *wrong = read_array(f, info, data);
    fclose(f);
    if (wrong)
        cli_complain(0, "%s: %s", path, wrong);
    return !wrong;
}
