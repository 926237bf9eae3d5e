/* What `uniface models` reads of others: manifests, and packs (a tar whose sums are made right, so
 * that more than those is tried). */
#include "fuzz.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli.h"
#include "models_pack.h"

/* The program's end it, or tell the user. */
void *cli_need(void *p)
{
    if (!p)
        abort();
    return p;
}

int cli_fail(const uf_error *err)
{
    return (int)err->status;
}

int cli_complain(int status, const char *fmt, ...)
{
    return status;
}

bool cli_make_folders(const char *path)
{
    return true;
}

static const char digest_of_abc[] =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

static char *text_of(const model_manifest *m)
{
    char *text = NULL;
    size_t size = 0;
    FILE *f = cli_need(open_memstream(&text, &size));
    fprintf(f, "%s\n", model_columns);
    for (size_t i = 0; i < m->count; i++) {
        manifest_write(f, &m->rows[i]);
        fputc('\n', f);
    }
    if (fclose(f))
        abort();
    return text;
}

/* What was read is written, and read as the same. */
static void check_manifest(const model_manifest *m)
{
    model_manifest again;
    char why[256], *text = text_of(m);
    if (!manifest_read(&again, text, why) || again.count != m->count)
        abort();
    for (size_t i = 0; i < m->count; i++)
        for (int j = 0; j < m->rows[i].file_count; j++) {
            const model_file *f = &m->rows[i].files[j];
            if (strchr(f->name, '/') || f->name[0] == '.' || !model_name_ok(m->rows[i].name) ||
                f->size > MODEL_BYTES_MAX || strlen(f->sha256) != 64 ||
                strcmp(f->name, again.rows[i].files[j].name) != 0)
                abort();
        }
    manifest_free(&again);
    free(text);
}

static void read_manifest(const uint8_t *data, size_t size)
{
    model_manifest m;
    char why[256] = "";
    char *text = cli_need(calloc(1, size + 1));
    memcpy(text, data, size);
    if (manifest_read(&m, text, why))
        check_manifest(&m);
    else if (!why[0] || m.rows)
        abort();
    manifest_free(&m);
    free(text);
}

static void fix_sums(uint8_t *tar, size_t size)
{
    for (size_t at = 0; at + 512 <= size; at += 512) {
        char digits[8];
        unsigned sum = 8 * ' ';
        if (memcmp(tar + at + 257, "ustar", 5) != 0)
            continue;
        for (size_t i = 0; i < 512; i++)
            sum += i < 148 || i >= 156 ? tar[at + i] : 0;
        snprintf(digits, sizeof digits, "%06o", sum);
        memcpy(tar + at + 148, digits, 7);
    }
}

static void read_pack(const uint8_t *data, size_t size)
{
    pack p;
    char path[64], why[512] = "";
    const int fd = memfd_create("pack", 0);
    uint8_t *tar = cli_need(malloc(size + 1));
    memcpy(tar, data, size);
    fix_sums(tar, size);
    if (fd < 0 || write(fd, tar, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (pack_open(&p, path, why)) {
        check_manifest(&p.manifest);
        for (size_t i = 0, k = 0; i < p.manifest.count; i++)
            for (int j = 0; j < p.manifest.rows[i].file_count; j++, k++)
                if (p.offsets[k] + p.manifest.rows[i].files[j].size > size)
                    abort();
    } else if (!why[0] || p.f || p.offsets) {
        abort();
    }
    pack_close(&p);
    close(fd);
    free(tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 512 && !memcmp(data + 257, "ustar", 5))
        read_pack(data, size);
    else
        read_manifest(data, size);
    return 0;
}

/* A model of one's own, and one of two files. */
static size_t manifest_seed(char *out, size_t cap)
{
    const char *d = digest_of_abc;
    return (size_t)snprintf(out, cap,
                            "%s\n"
                            "own\ttensor\t-\tours\tunknown\t-\t3\t%s\t-\t-\t-\n"
                            "# a remark\n"
                            "two\tembedder\tarcface\tMIT\tyes\thttps://a.example/b/n.xml "
                            "https://a.example/b/n.bin\t3 3\t%s %s\tLFW 99 %%\tits README\t-\n",
                            model_columns, d, d, d);
}

/* The pack of that, into `out`. */
static size_t pack_seed(uint8_t *out, size_t cap, const char *text)
{
    char why[512], file[] = "/tmp/fuzz-models-XXXXXX", made[64];
    model_manifest m;
    const int fd = mkstemp(file);
    char *const files[] = {file, file, file};
    snprintf(made, sizeof made, "%s.tar", file);
    if (fd < 0 || write(fd, "abc", 3) != 3 || close(fd) || !manifest_read(&m, text, why) ||
        !pack_write(made, &m, files, why))
        abort();
    FILE *f = fopen(made, "rb");
    const size_t size = f ? fread(out, 1, cap, f) : 0;
    if (f)
        fclose(f);
    unlink(made);
    unlink(file);
    manifest_free(&m);
    return size;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static uint8_t pack_bytes[16384];
    static size_t pack_size; /* made once: writing waits for the disk */
    char text[4096];
    const size_t size = manifest_seed(text, sizeof text);
    if (i == 0)
        memcpy(out, text, size);
    if (i == 1 && !pack_size)
        pack_size = pack_seed(pack_bytes, sizeof pack_bytes, text);
    if (i == 1)
        memcpy(out, pack_bytes, pack_size);
    return i == 0 ? size : i == 1 ? pack_size : 0;
}
