/* Tar archives: whatever is in them, entries lie inside the archive and have names. */
#include "fuzz.h"

#include "train/tar.h"

typedef struct memory {
    const uint8_t *data;
    size_t size;
} memory;

static uf_status read_memory(const void *source, size_t offset, void *to, size_t size,
                             uf_error *err)
{
    const memory *m = source;
    if (offset > m->size || size > m->size - offset)
        abort();
    memcpy(to, m->data + offset, size);
    return UF_OK;
}

static uf_status look_at(void *arg, const ufi_tar_entry *e, uf_error *err)
{
    const memory *m = arg;
    if (e->offset > m->size || e->size > m->size - e->offset)
        abort();
    if (e->name[0] == 0 || e->name[0] == '/' || strncmp(e->name, "../", 3) == 0)
        abort();
    return UF_OK;
}

/* Few mutations would get past the checksum: it is made right in every block. */
static void seal(uint8_t *data, size_t size)
{
    for (size_t at = 0; at + 512 <= size; at += 512) {
        unsigned sum = 8 * ' ';
        for (size_t i = 0; i < 512; i++)
            sum += i >= 148 && i < 156 ? 0 : data[at + i];
        snprintf((char *)data + at + 148, 8, "%06o", sum);
    }
}

static void walk(const uint8_t *data, size_t size)
{
    memory m = {data, size};
    (void)ufi_tar_walk(read_memory, &m, size, look_at, &m, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    walk(data, size);
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        return 0;
    memcpy(copy, data, size);
    seal(copy, size);
    walk(copy, size);
    free(copy);
    return 0;
}

static void put_header(uint8_t *at, const char *name, const char *size, char type)
{
    snprintf((char *)at, 100, "%s", name);
    snprintf((char *)at + 124, 12, "%s", size);
    at[156] = (uint8_t)type;
    memcpy(at + 257, "ustar", 6);
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    const size_t size = 6 * 512;
    if (i >= 3 || cap < size)
        return 0;
    memset(out, 0, size);
    if (i == 0) {
        put_header(out, "./a/b.png", "00000000005", '0');
        memcpy(out + 512, "bytes", 5);
        put_header(out + 1024, "c.png", "00000000000", '0');
        memcpy(out + 1024 + 345, "folder", 6);
    } else if (i == 1) {
        put_header(out, "././@LongLink", "00000000012", 'L');
        memcpy(out + 512, "long/name", 9);
        put_header(out + 1024, "long", "", '0');
        memcpy(out + 1024 + 124, "\x80\0\0\0\0\0\0\0\0\0\0\x09", 12);
    } else {
        put_header(out, "pax", "00000000033", 'x');
        memcpy(out + 512, "17 path=x/y.webp\n10 size=3\n", 27);
        put_header(out + 1024, "short", "00000000000", '0');
    }
    seal(out, size - 1024);
    return size;
}
