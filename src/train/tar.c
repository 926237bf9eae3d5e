/*
 * A tar archive is a row of entries: a header of 512 bytes, then the bytes of the file, padded to
 * 512. What a header has no room for stands in an entry before it: GNU's "L" (a long name) or pax's
 * "x" (lines "length key=value"). A block of zeros ends the archive; one that just ends is taken
 * too, because writers that were interrupted between two entries leave such.
 */
#include "train/tar.h"

#include <string.h>

#include "base/mem.h"

enum { BLOCK = 512, MAX_NAME = 1 << 16, MAX_PAX = 1 << 20 };

/* Offsets and lengths of the header's fields. */
enum { NAME = 0, NAME_SIZE = 100, SIZE = 124, SIZE_SIZE = 12, SUM = 148, SUM_SIZE = 8 };
enum { TYPE = 156, MAGIC = 257, PREFIX = 345, PREFIX_SIZE = 155 };

typedef struct walk {
    ufi_tar_read_fn *read;
    const void *source;
    size_t size, at; /* of the archive; of the header that is looked at */
    char *name;      /* of the next entry, when one was given before it */
    bool has_size;   /* of the next entry, likewise */
    uint64_t next_size;
    char short_name[PREFIX_SIZE + 1 + NAME_SIZE + 1];
} walk;

/* Octal digits, or GNU's big-endian binary number behind a set first bit. */
static bool read_number(const uint8_t *field, size_t length, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    if (field[0] & 0x80) {
        for (v = field[0] & 0x7F, i = 1; i < length; i++) {
            if (v >> 56)
                return false;
            v = v << 8 | field[i];
        }
        *out = v;
        return true;
    }
    while (i < length && field[i] == ' ')
        i++;
    for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(field[i] - '0'); /* 12 digits: 36 bits */
    *out = v;
    return i == length || field[i] == 0 || field[i] == ' ';
}

static bool is_zero(const uint8_t *block)
{
    for (int i = 0; i < BLOCK; i++)
        if (block[i])
            return false;
    return true;
}

/* Old writers added up signed bytes. */
static bool sum_is_right(const uint8_t *block)
{
    uint64_t said;
    int64_t sum = 0, sum_signed = 0;
    for (int i = 0; i < BLOCK; i++) {
        uint8_t byte = i >= SUM && i < SUM + SUM_SIZE ? ' ' : block[i];
        sum += byte;
        sum_signed += (int8_t)byte;
    }
    return read_number(block + SUM, SUM_SIZE, &said) &&
           ((int64_t)said == sum || (int64_t)said == sum_signed);
}

/* The header's own name: the prefix of POSIX, a slash, the name. */
static char *header_name(walk *w, const uint8_t *block)
{
    size_t length = 0;
    if (memcmp(block + MAGIC, "ustar\0", 6) == 0 && block[PREFIX]) {
        length = strnlen((const char *)block + PREFIX, PREFIX_SIZE);
        memcpy(w->short_name, block + PREFIX, length);
        w->short_name[length++] = '/';
    }
    size_t n = strnlen((const char *)block + NAME, NAME_SIZE);
    memcpy(w->short_name + length, block + NAME, n);
    w->short_name[length + n] = 0;
    return w->short_name;
}

/* Names are keys here and nothing is unpacked, but one that leaves the archive is an attack on
 * whoever unpacks it: no archive to learn from. */
static uf_status check_name(const walk *w, const char **name, uf_error *err)
{
    const char *s = *name;
    while (s[0] == '.' && s[1] == '/')
        s += 2;
    *name = s;
    if (*s == 0 || *s == '/')
        return ufi_fail(err, UF_E_FORMAT, "the entry at byte %zu is named \"%.100s\": not a file",
                        w->at, s);
    for (const char *part = s; part; part = strchr(part, '/')) {
        part += *part == '/';
        if (part[0] == '.' && part[1] == '.' && (part[2] == '/' || part[2] == 0))
            return ufi_fail(err, UF_E_FORMAT,
                            "the entry at byte %zu, \"%.100s\", leads out of the archive", w->at,
                            s);
    }
    return UF_OK;
}

/* The bytes of an entry that speaks about the next one, NUL-terminated. */
static uf_status read_extension(const walk *w, size_t offset, size_t size, size_t limit, char **out,
                                uf_error *err)
{
    *out = NULL;
    if (size > limit)
        return ufi_fail(err, UF_E_FORMAT, "the entry at byte %zu has a header of %zu bytes", w->at,
                        size);
    char *text = ufi_malloc(size + 1, 1);
    if (!text)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a header of %zu bytes", size);
    uf_status st = w->read(w->source, offset, text, size, err);
    if (st) {
        ufi_free(text);
        return st;
    }
    text[size] = 0;
    *out = text;
    return UF_OK;
}

/* One pax record: key=value, without its length and newline; both are inside `record`. */
static uf_status take_record(walk *w, char *record, size_t length, uf_error *err)
{
    char *value = memchr(record, '=', length);
    if (!value)
        return ufi_fail(err, UF_E_FORMAT, "pax header at byte %zu: a record without \"=\"", w->at);
    size_t key = (size_t)(value - record), n = length - key - 1;
    value++;
    if (key == 4 && memcmp(record, "path", 4) == 0) {
        if (memchr(value, 0, n))
            return ufi_fail(err, UF_E_FORMAT, "pax header at byte %zu: a NUL in a path", w->at);
        ufi_free(w->name);
        w->name = ufi_strndup(value, n);
        if (!w->name)
            return ufi_fail(err, UF_E_NOMEM, "no memory for a name of %zu bytes", n);
    } else if (key == 4 && memcmp(record, "size", 4) == 0) {
        uint64_t v = 0;
        for (size_t i = 0; i < n; i++) {
            if (value[i] < '0' || value[i] > '9' || v > UINT64_MAX / 10 - 1)
                return ufi_fail(err, UF_E_FORMAT, "pax header at byte %zu: size \"%.*s\"", w->at,
                                (int)(n < 40 ? n : 40), value);
            v = v * 10 + (uint64_t)(value[i] - '0');
        }
        w->has_size = true;
        w->next_size = v;
    }
    return UF_OK;
}

static uf_status take_pax(walk *w, char *text, size_t size, uf_error *err)
{
    uf_status st = UF_OK;
    for (size_t at = 0; !st && at < size;) {
        size_t length = 0, digits = 0;
        while (at + digits < size && text[at + digits] >= '0' && text[at + digits] <= '9' &&
               length <= MAX_PAX)
            length = length * 10 + (size_t)(text[at + digits++] - '0');
        /* "12 key=value\n": the length counts itself, the space and the newline. */
        if (digits == 0 || length < digits + 2 || length > size - at || text[at + digits] != ' ' ||
            text[at + length - 1] != '\n')
            return ufi_fail(err, UF_E_FORMAT, "pax header at byte %zu: no record at its byte %zu",
                            w->at, at);
        st = take_record(w, text + at + digits + 1, length - digits - 2, err);
        at += length;
    }
    return st;
}

static void forget_next(walk *w)
{
    ufi_free(w->name);
    w->name = NULL;
    w->has_size = false;
}

/* What the entry of `type` with `size` bytes at `offset` is to us. */
static uf_status take_entry(walk *w, const uint8_t *block, size_t offset, size_t size,
                            ufi_tar_visit_fn *visit, void *arg, uf_error *err)
{
    const char type = (char)block[TYPE];
    char *text = NULL;
    uf_status st = UF_OK;
    if (type == 'L') {
        st = read_extension(w, offset, size, MAX_NAME, &text, err);
        ufi_free(st ? NULL : w->name);
        w->name = st ? w->name : text;
        return st;
    }
    if (type == 'x') {
        st = read_extension(w, offset, size, MAX_PAX, &text, err);
        if (!st)
            st = take_pax(w, text, size, err);
        ufi_free(text);
        return st;
    }
    if (type == 'S')
        return ufi_fail(err, UF_E_UNSUPPORTED,
                        "the entry at byte %zu is a sparse file: pack the archive without them",
                        w->at);
    if (type == '0' || type == 0 || type == '7') {
        const char *name = w->name ? w->name : header_name(w, block);
        const size_t n = strlen(name);
        /* Before POSIX a folder was a file whose name ends in a slash. */
        if (n == 0 || name[n - 1] != '/') {
            st = check_name(w, &name, err);
            if (!st)
                st = visit(arg, &(ufi_tar_entry){name, offset, size}, err);
        }
    }
    if (type != 'g' && type != 'K') /* those speak about the next one too, but not to us */
        forget_next(w);
    return st;
}

static uf_status walk_entries(walk *w, ufi_tar_visit_fn *visit, void *arg, uf_error *err)
{
    uint8_t block[BLOCK];
    while (w->at < w->size) {
        uint64_t size;
        if (w->size - w->at < BLOCK)
            return ufi_fail(err, UF_E_FORMAT, "the archive is cut short in the header at byte %zu",
                            w->at);
        uf_status st = w->read(w->source, w->at, block, BLOCK, err);
        if (st)
            return st;
        if (is_zero(block))
            break;
        if (!sum_is_right(block))
            return ufi_fail(err, UF_E_FORMAT, "no tar archive: wrong checksum at byte %zu", w->at);
        if (!read_number(block + SIZE, SIZE_SIZE, &size))
            return ufi_fail(err, UF_E_FORMAT, "the entry at byte %zu has no size", w->at);
        const char type = (char)block[TYPE];
        if (w->has_size && type != 'x' && type != 'L' && type != 'K' && type != 'g')
            size = w->next_size;
        if (type >= '1' && type <= '6') /* links, folders, devices: a size says nothing */
            size = 0;
        const size_t offset = w->at + BLOCK;
        if (size > w->size - offset)
            return ufi_fail(err, UF_E_FORMAT,
                            "the archive is cut short: the entry at byte %zu has %llu bytes, "
                            "%zu are left",
                            w->at, (unsigned long long)size, w->size - offset);
        st = take_entry(w, block, offset, (size_t)size, visit, arg, err);
        if (st)
            return st;
        const size_t padded = (size_t)size + (BLOCK - (size_t)size % BLOCK) % BLOCK;
        w->at = padded > w->size - offset ? w->size : offset + padded;
    }
    return UF_OK;
}

uf_status ufi_tar_walk(ufi_tar_read_fn *read, const void *source, size_t size,
                       ufi_tar_visit_fn *visit, void *arg, uf_error *err)
{
    walk w = {.read = read, .source = source, .size = size};
    uf_status st = walk_entries(&w, visit, arg, err);
    forget_next(&w);
    return st;
}
