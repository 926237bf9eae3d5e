/*
 * The file: a header that says whom it belongs to, then records of one size. Each ends with the
 * first bytes of its SHA-256, so that a record that was cut off, or never reached the disk before
 * the power went, is told from a whole one; what follows the last whole record is cut off when the
 * file is opened. Numbers are little-endian, as the machines that train are.
 */
#include "train/teacher_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"

/* magic[8] values[4] samples[4] SHA-256 of the teacher, of the dataset, of all before */
enum { MAGIC = 8, OWN = 16, HEADER = OWN + 3 * UFI_SHA256_BYTES };
/* sample[4] mirrored[4] values, then the sum */
enum { BEFORE = 8, SUM = 8 };
/* Vectors are embeddings; this is far above all of them. */
enum { MAX_VALUES = 1 << 20 };
static const char magic[MAGIC] = "UFTEACH1";

struct ufi_teacher_cache {
    ufi_file file; /* size: whole records, and the header */
    char *path;
    size_t values, samples, count;
    size_t record_bytes;
    uint32_t *places; /* [samples][mirrored]: number of the record + 1; 0: none */
    uint8_t *record;  /* the one that is read or written */
};

static void put_u32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> 8 * i);
}

static uint32_t get_u32(const uint8_t *from)
{
    return from[0] | (uint32_t)from[1] << 8 | (uint32_t)from[2] << 16 | (uint32_t)from[3] << 24;
}

static void make_header(uint8_t header[HEADER], const ufi_teacher_key *key)
{
    memcpy(header, magic, MAGIC);
    put_u32(header + MAGIC, (uint32_t)key->values);
    put_u32(header + MAGIC + 4, (uint32_t)key->samples);
    ufi_sha256_of(key->teacher, strlen(key->teacher), header + OWN);
    ufi_sha256_of(key->dataset, strlen(key->dataset), header + OWN + UFI_SHA256_BYTES);
    ufi_sha256_of(header, HEADER - UFI_SHA256_BYTES, header + HEADER - UFI_SHA256_BYTES);
}

/* Appends at the end of what is whole; on failure takes back what was written of it. */
static uf_status append(ufi_teacher_cache *c, const uint8_t *data, size_t size, uf_error *err)
{
    for (size_t done = 0; done < size;) {
        const ssize_t n =
            pwrite(c->file.fd, data + done, size - done, (off_t)(c->file.size + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            const uf_status st =
                ufi_fail(err, UF_E_IO, "%s: cannot be written: %s", c->path, strerror(errno));
            (void)!ftruncate(c->file.fd, (off_t)c->file.size);
            return st;
        }
        done += (size_t)n;
    }
    c->file.size += size;
    return UF_OK;
}

/* The header that is there must be the one that would be written; a part of it is what a process
 * left that was killed at once. */
static uf_status check_header(ufi_teacher_cache *c, const ufi_teacher_key *key, uf_error *err)
{
    uint8_t want[HEADER], found[HEADER], sum[UFI_SHA256_BYTES];
    const size_t size = c->file.size < HEADER ? c->file.size : HEADER;
    make_header(want, key);
    uf_status st = ufi_file_read_at(&c->file, 0, found, size, err);
    if (st)
        return st;
    if (size < HEADER && memcmp(found, want, size) == 0) {
        c->file.size = 0;
        return append(c, want, HEADER, err);
    }
    if (size == HEADER && memcmp(found, want, HEADER) == 0)
        return UF_OK;
    if (size == HEADER)
        ufi_sha256_of(found, HEADER - UFI_SHA256_BYTES, sum);
    if (size < HEADER || memcmp(found, magic, MAGIC) != 0 ||
        memcmp(found + HEADER - UFI_SHA256_BYTES, sum, sizeof sum) != 0)
        return ufi_fail(err, UF_E_FORMAT, "%s is no file of teachers' vectors: name another path",
                        c->path);
    const char *what = memcmp(found + OWN, want + OWN, UFI_SHA256_BYTES) != 0 ? "another teacher"
                       : memcmp(found + OWN + UFI_SHA256_BYTES, want + OWN + UFI_SHA256_BYTES,
                                UFI_SHA256_BYTES) != 0
                           ? "another dataset"
                           : "vectors of another length";
    return ufi_fail(err, UF_E_MISMATCH, "%s holds %s: name another path, or remove it", c->path,
                    what);
}

static void sum_record(const ufi_teacher_cache *c, uint8_t sum[SUM])
{
    uint8_t digest[UFI_SHA256_BYTES];
    ufi_sha256_of(c->record, c->record_bytes - SUM, digest);
    memcpy(sum, digest, SUM);
}

/* Record `i` into c->record; *whole says whether it is one. */
static uf_status read_record(ufi_teacher_cache *c, size_t i, bool *whole, uf_error *err)
{
    uint8_t sum[SUM];
    uf_status st =
        ufi_file_read_at(&c->file, HEADER + i * c->record_bytes, c->record, c->record_bytes, err);
    if (st)
        return st;
    sum_record(c, sum);
    *whole = memcmp(sum, c->record + c->record_bytes - SUM, SUM) == 0 &&
             get_u32(c->record) < c->samples && get_u32(c->record + 4) < 2;
    return UF_OK;
}

static uint32_t *place_of(const ufi_teacher_cache *c, uint32_t sample, bool mirrored)
{
    return &c->places[(size_t)sample * 2 + mirrored];
}

static uf_status read_records(ufi_teacher_cache *c, uf_error *err)
{
    const size_t count = (c->file.size - HEADER) / c->record_bytes;
    bool whole = true;
    size_t i = 0;
    while (i < count && i < UINT32_MAX - 1) {
        uf_status st = read_record(c, i, &whole, err);
        if (st)
            return st;
        if (!whole)
            break;
        uint32_t *place = place_of(c, get_u32(c->record), get_u32(c->record + 4) != 0);
        c->count += *place == 0;
        *place = (uint32_t)++i;
    }
    c->file.size = HEADER + i * c->record_bytes;
    if (ftruncate(c->file.fd, (off_t)c->file.size) != 0)
        return ufi_fail(err, UF_E_IO, "%s: its end cannot be cut off: %s", c->path,
                        strerror(errno));
    return UF_OK;
}

static uf_status open_file(ufi_teacher_cache *c, uf_error *err)
{
    const int fd = open(c->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (fd < 0)
        return ufi_fail(err, UF_E_IO, "%s: cannot be opened: %s", c->path, strerror(errno));
    uf_status st = UF_OK;
    ufi_file checked = {.fd = -1};
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        st = ufi_fail(err, errno == EWOULDBLOCK ? UF_E_STATE : UF_E_IO, "%s: %s", c->path,
                      errno == EWOULDBLOCK ? "another process uses it" : strerror(errno));
    if (!st) /* a regular file, and its size once it is ours */
        st = ufi_file_open(&checked, c->path, SIZE_MAX, err);
    if (st) {
        close(fd);
        return st;
    }
    c->file = (ufi_file){.fd = fd, .size = checked.size, .path = c->path};
    ufi_file_close(&checked);
    return UF_OK;
}

uf_status ufi_teacher_cache_open(ufi_teacher_cache **out, const char *path,
                                 const ufi_teacher_key *key, uf_error *err)
{
    *out = NULL;
    if (key->values == 0 || key->values > MAX_VALUES || key->samples == 0 ||
        key->samples > INT32_MAX)
        return ufi_fail(err, UF_E_ARG, "%zu vectors of %zu floats cannot be kept", key->samples,
                        key->values);
    ufi_teacher_cache *c = ufi_calloc(1, sizeof *c);
    if (!c)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a teacher's cache");
    c->file.fd = -1;
    c->values = key->values;
    c->samples = key->samples;
    c->record_bytes = BEFORE + key->values * sizeof(float) + SUM;
    c->path = ufi_strdup(path);
    c->places = ufi_calloc(key->samples, 2 * sizeof *c->places);
    c->record = ufi_malloc(c->record_bytes, 1);
    uf_status st = UF_OK;
    if (!c->path || !c->places || !c->record)
        st = ufi_fail(err, UF_E_NOMEM, "no memory for a cache of %zu samples", key->samples);
    if (!st)
        st = open_file(c, err);
    if (!st)
        st = check_header(c, key, err);
    if (!st)
        st = read_records(c, err);
    if (st) {
        ufi_teacher_cache_close(c);
        return st;
    }
    *out = c;
    return UF_OK;
}

void ufi_teacher_cache_close(ufi_teacher_cache *c)
{
    if (!c)
        return;
    if (c->file.fd >= 0)
        close(c->file.fd);
    ufi_free(c->path);
    ufi_free(c->places);
    ufi_free(c->record);
    ufi_free(c);
}

size_t ufi_teacher_cache_count(const ufi_teacher_cache *c)
{
    return c->count;
}

bool ufi_teacher_cache_has(const ufi_teacher_cache *c, uint32_t sample, bool mirrored)
{
    return sample < c->samples && *place_of(c, sample, mirrored) != 0;
}

uf_status ufi_teacher_cache_get(ufi_teacher_cache *c, uint32_t sample, bool mirrored, float *values,
                                uf_error *err)
{
    bool whole = false;
    if (!ufi_teacher_cache_has(c, sample, mirrored))
        return ufi_fail(err, UF_E_NOT_FOUND, "%s has no vector of sample %u", c->path, sample);
    uf_status st = read_record(c, *place_of(c, sample, mirrored) - 1, &whole, err);
    if (st)
        return st;
    if (!whole || get_u32(c->record) != sample || get_u32(c->record + 4) != mirrored)
        return ufi_fail(err, UF_E_FORMAT, "%s was changed while it was used", c->path);
    memcpy(values, c->record + BEFORE, c->values * sizeof *values);
    return UF_OK;
}

uf_status ufi_teacher_cache_put(ufi_teacher_cache *c, uint32_t sample, bool mirrored,
                                const float *values, uf_error *err)
{
    if (sample >= c->samples)
        return ufi_fail(err, UF_E_ARG, "sample %u of %zu cannot be kept", sample, c->samples);
    if (ufi_teacher_cache_has(c, sample, mirrored))
        return UF_OK;
    put_u32(c->record, sample);
    put_u32(c->record + 4, mirrored);
    memcpy(c->record + BEFORE, values, c->values * sizeof *values);
    sum_record(c, c->record + c->record_bytes - SUM);
    const size_t number = (c->file.size - HEADER) / c->record_bytes;
    uf_status st = append(c, c->record, c->record_bytes, err);
    if (st)
        return st;
    *place_of(c, sample, mirrored) = (uint32_t)number + 1;
    c->count++;
    return UF_OK;
}
