/* Packs of models (models_pack.h). The format is POSIX ustar, of which only what pack_write makes
 * is read. */
#include "models_pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

enum { BLOCK = 512, PIECE = 65536 };

static const char manifest_name[] = "manifest.tsv";

typedef struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], rest[12];
} header;

_Static_assert(sizeof(header) == BLOCK, "a header of tar is one block");

static bool fail(char why[512], const char *what, const char *detail)
{
    snprintf(why, 512, "%.180s%s%.300s", what, *detail ? ": " : "", detail);
    return false;
}

/* ---- headers ---- */

static unsigned sum_of(const header *h)
{
    header copy = *h;
    unsigned sum = 0;
    memset(copy.sum, ' ', sizeof copy.sum);
    for (size_t i = 0; i < BLOCK; i++)
        sum += ((const unsigned char *)&copy)[i];
    return sum;
}

/* Folder NULL: a file at the top. */
static header header_of(const char *folder, const char *name, uint64_t size)
{
    header h;
    char sum[8];
    memset(&h, 0, sizeof h);
    snprintf(h.name, sizeof h.name, "%s", name);
    snprintf(h.prefix, sizeof h.prefix, "%s", folder ? folder : "");
    strcpy(h.mode, "0000644");
    strcpy(h.uid, "0000000");
    strcpy(h.gid, "0000000");
    snprintf(h.size, sizeof h.size, "%011llo", (unsigned long long)size);
    strcpy(h.mtime, "00000000000");
    h.type = '0';
    memcpy(h.magic, "ustar", 6);
    memcpy(h.version, "00", 2);
    snprintf(sum, sizeof sum, "%06o", sum_of(&h));
    memcpy(h.sum, sum, 7);
    h.sum[7] = ' ';
    return h;
}

static uint64_t padding(uint64_t size)
{
    return (BLOCK - size % BLOCK) % BLOCK;
}

/* ---- writing ---- */

static bool put(FILE *f, const void *data, size_t size)
{
    return fwrite(data, 1, size, f) == size;
}

static bool put_padding(FILE *f, uint64_t size)
{
    static const char zeros[BLOCK];
    return put(f, zeros, (size_t)padding(size));
}

static bool put_manifest(FILE *f, const model_manifest *m)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = cli_need(open_memstream(&text, &size));
    fprintf(out, "%s\n", model_columns);
    for (size_t i = 0; i < m->count; i++) {
        manifest_write(out, &m->rows[i]);
        fputc('\n', out);
    }
    if (fclose(out) != 0)
        exit(cli_complain(EXIT_INTERNAL, "out of memory"));
    const header h = header_of(NULL, manifest_name, size);
    const bool ok = put(f, &h, BLOCK) && put(f, text, size) && put_padding(f, size);
    free(text);
    return ok;
}

/* Copies f->size bytes through a digest; `to` NULL: they are only read. */
static bool copy(FILE *to, FILE *from, const model_file *f, char why[512])
{
    char piece[PIECE], hex[65];
    uf_digest *d = NULL;
    uf_error err;
    bool ok = true;
    if (uf_digest_create(&d, &err))
        exit(cli_fail(&err));
    for (uint64_t left = f->size; ok && left;) {
        const size_t n = fread(piece, 1, left < PIECE ? (size_t)left : PIECE, from);
        if (!n)
            ok = fail(why, "is cut short within", f->name);
        else if (to && !put(to, piece, n))
            ok = fail(why, "cannot be written", strerror(errno));
        uf_digest_add(d, piece, n);
        left -= n;
    }
    uf_digest_end(d, hex);
    return ok &&
           (!strcmp(hex, f->sha256) || fail(why, "holds another file, by its SHA-256", f->name));
}

static bool put_file(FILE *f, const model_row *r, const model_file *file, const char *path,
                     char why[512])
{
    const header h = header_of(r->name, file->name, file->size);
    FILE *from = fopen(path, "rb");
    if (!from)
        return fail(why, path, strerror(errno));
    bool ok = put(f, &h, BLOCK) || fail(why, "cannot be written", strerror(errno));
    ok = ok && copy(f, from, file, why);
    fclose(from);
    return ok && (put_padding(f, file->size) || fail(why, "cannot be written", strerror(errno)));
}

bool pack_write(const char *path, const model_manifest *m, char *const *paths, char why[512])
{
    static const char end[2 * BLOCK];
    char temporary[4096];
    const int n = snprintf(temporary, sizeof temporary, "%s.part", path);
    FILE *f = n > 0 && (size_t)n < sizeof temporary ? fopen(temporary, "wb") : NULL;
    if (!f)
        return fail(why, "cannot be written", strerror(errno));
    bool ok = put_manifest(f, m) || fail(why, "cannot be written", strerror(errno));
    for (size_t i = 0, k = 0; i < m->count; i++)
        for (int j = 0; j < m->rows[i].file_count; j++, k++)
            ok = ok && put_file(f, &m->rows[i], &m->rows[i].files[j], paths[k], why);
    const bool ended = put(f, end, sizeof end) && !fflush(f) && !fsync(fileno(f));
    if ((fclose(f) != 0 || !ended || (ok && rename(temporary, path) != 0)) && ok)
        ok = fail(why, "cannot be written", strerror(errno));
    if (!ok)
        unlink(temporary);
    return ok;
}

/* ---- reading ---- */

/* Octal digits up to a NUL or a space, nothing else. */
static bool read_octal(const char *s, size_t room, uint64_t *out)
{
    size_t i = 0;
    for (*out = 0; i < room && s[i] >= '0' && s[i] <= '7'; i++)
        *out = *out * 8 + (uint64_t)(s[i] - '0');
    return i && i < room && (s[i] == '\0' || s[i] == ' ');
}

/* The header of a file of this name; what stands there must be just that. */
static bool read_header(FILE *f, const char *folder, const char *name, uint64_t *size,
                        char why[512])
{
    header h;
    uint64_t sum;
    if (fread(&h, 1, BLOCK, f) != BLOCK)
        return fail(why, "is cut short before", name);
    if (!read_octal(h.sum, sizeof h.sum, &sum) || sum != sum_of(&h) || memcmp(h.magic, "ustar", 6))
        return fail(why, "is no tar, or damaged, at", name);
    if (h.type != '0')
        return fail(why, "has something that is no plain file in the place of", name);
    const header want = header_of(folder, name, 0);
    if (memcmp(h.name, want.name, sizeof h.name) != 0 ||
        memcmp(h.prefix, want.prefix, sizeof h.prefix) != 0) {
        char detail[300];
        snprintf(detail, sizeof detail, "%.72s; found: %.90s%s%.100s", name, h.prefix,
                 *h.prefix ? "/" : "", h.name);
        for (char *c = detail; *c; c++) /* it goes to a terminal */
            *c = (unsigned char)*c < ' ' || (unsigned char)*c > 126 ? '?' : *c;
        return fail(why, "is not what `uniface models pack` writes: expected", detail);
    }
    return read_octal(h.size, sizeof h.size, size) || fail(why, "has no size of", name);
}

static bool skip_padding(FILE *f, uint64_t size, char why[512])
{
    char zeros[BLOCK];
    const size_t n = (size_t)padding(size);
    return fread(zeros, 1, n, f) == n || fail(why, "is cut short", "");
}

static bool read_manifest(pack *p, char why[512])
{
    uint64_t size;
    char reason[256];
    if (!read_header(p->f, NULL, manifest_name, &size, why))
        return false;
    if (size > MANIFEST_BYTES_MAX)
        return fail(why, "has a manifest of more than 1 MiB", "");
    char *text = cli_need(calloc(1, (size_t)size + 1));
    bool ok = fread(text, 1, (size_t)size, p->f) == size ||
              fail(why, "is cut short within", manifest_name);
    ok = ok && (strlen(text) == size || fail(why, "has a manifest that is no text", ""));
    ok = ok && (manifest_read(&p->manifest, text, reason) || fail(why, manifest_name, reason));
    free(text);
    return ok && skip_padding(p->f, size, why);
}

static bool read_files(pack *p, uint64_t total, char why[512])
{
    uint64_t size;
    size_t k = 0;
    for (size_t i = 0; i < p->manifest.count; i++) {
        const model_row *r = &p->manifest.rows[i];
        for (int j = 0; j < r->file_count; j++, k++) {
            const model_file *f = &r->files[j];
            if (!read_header(p->f, r->name, f->name, &size, why))
                return false;
            if (size != f->size)
                return fail(why, "has another size than its manifest says of", f->name);
            p->offsets[k] = (uint64_t)ftello(p->f);
            if (size > total - p->offsets[k])
                return fail(why, "is cut short within", f->name);
            if (!copy(NULL, p->f, f, why) || !skip_padding(p->f, size, why))
                return false;
        }
    }
    return true;
}

/* Two blocks of zeros; tar fills up with more of them. */
static bool read_end(pack *p, char why[512])
{
    static const char zeros[BLOCK];
    char block[BLOCK];
    size_t n;
    int blocks = 0;
    while ((n = fread(block, 1, BLOCK, p->f)) == BLOCK) {
        if (memcmp(block, zeros, BLOCK) != 0)
            return fail(why, "has more in it than its manifest says", "");
        blocks++;
    }
    return (!n && blocks >= 2) || fail(why, "is cut short at its end", "");
}

bool pack_open(pack *p, const char *path, char why[512])
{
    struct stat s;
    *p = (pack){0};
    /* A FIFO would make opening it wait. */
    if (stat(path, &s) != 0)
        return fail(why, "cannot be read", strerror(errno));
    if (!S_ISREG(s.st_mode))
        return fail(why, "is no plain file", "");
    p->f = fopen(path, "rb");
    if (!p->f)
        return fail(why, "cannot be read", strerror(errno));
    bool ok = read_manifest(p, why);
    if (ok && !p->manifest.count)
        ok = fail(why, "has no models in it", "");
    if (ok) {
        p->offsets = cli_need(calloc(p->manifest.count * MODEL_FILES, sizeof *p->offsets));
        ok = read_files(p, (uint64_t)s.st_size, why) && read_end(p, why);
    }
    if (!ok)
        pack_close(p);
    return ok;
}

void pack_close(pack *p)
{
    if (p->f)
        fclose(p->f);
    manifest_free(&p->manifest);
    free(p->offsets);
    *p = (pack){0};
}

bool pack_extract(pack *p, size_t i, const model_file *f, const char *to, char why[512])
{
    char temporary[4096];
    const int n = snprintf(temporary, sizeof temporary, "%s.part", to);
    if (n < 0 || (size_t)n >= sizeof temporary || !cli_make_folders(to))
        return fail(why, to, strerror(errno));
    unlink(temporary);
    FILE *out = fopen(temporary, "wbx");
    if (!out)
        return fail(why, temporary, strerror(errno));
    bool ok = fseeko(p->f, (off_t)p->offsets[i], SEEK_SET) == 0 || fail(why, to, strerror(errno));
    ok = ok && copy(out, p->f, f, why);
    ok = ok && ((!fflush(out) && !fsync(fileno(out))) || fail(why, temporary, strerror(errno)));
    if (fclose(out) != 0 && ok)
        ok = fail(why, temporary, strerror(errno));
    if (ok && rename(temporary, to) != 0)
        ok = fail(why, to, strerror(errno));
    if (!ok)
        unlink(temporary);
    return ok;
}
