/* Pictures, lists and tar archives to learn from, drawn and packed by tests in a scratch folder. */
#ifndef UF_TESTS_TRAIN_MAKER_H
#define UF_TESTS_TRAIN_MAKER_H

#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "bytes_maker.h"
#include "model/align.h"
#include "train/data.h"

/* ---- the scratch folder ---- */

static char scratch[64];

static inline void scratch_open(void)
{
    snprintf(scratch, sizeof scratch, "/tmp/uniface-train-XXXXXX");
    if (!mkdtemp(scratch))
        abort();
}

static inline int scratch_remove(const char *path, const struct stat *s, int kind, struct FTW *f)
{
    (void)s;
    (void)kind;
    (void)f;
    return remove(path);
}

static inline void scratch_close(void)
{
    nftw(scratch, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in the scratch folder, in one of eight buffers that take turns. */
__attribute__((format(printf, 1, 2))) static inline const char *in_scratch(const char *format, ...)
{
    static char paths[8][512];
    static int turn;
    char name[400], *path = paths[turn++ % 8];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static inline void write_bytes(const char *path, const void *data, size_t size)
{
    uf_error err = {0};
    if (ufi_file_write(path, data, size, &err)) {
        printf("%s\n", err.message);
        abort();
    }
}

static inline void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

/* ---- pictures ---- */

static inline uint8_t drawn_byte(int seed, int x, int y, int c)
{
    return (uint8_t)(60 + ((x * (3 + seed % 5) + y * (2 + c) + seed * 37 + c * 50) / 4) % 140);
}

/* Soft stripes that differ from seed to seed, with a dot of its own colour at each point (NULL: no
 * dots). A dot is a Gaussian of `spread` pixels, so that where it lies can be measured. */
static inline void draw_face(uint8_t *pixels, int w, int h, int seed, const uf_point *points,
                             double spread)
{
    static const uint8_t colours[UF_LANDMARKS][3] = {
        {255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {255, 255, 0}, {0, 255, 255}};
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++)
            for (int c = 0; c < 3; c++) {
                double v = points ? 0 : drawn_byte(seed, x, y, c);
                for (int k = 0; points && k < UF_LANDMARKS; k++) {
                    const double dx = x - (double)points[k].x, dy = y - (double)points[k].y;
                    v += colours[k][c] * exp(-(dx * dx + dy * dy) / (2 * spread * spread));
                }
                pixels[(y * w + x) * 3 + c] = (uint8_t)(v > 255 ? 255 : v);
            }
}

static inline void save_pixels(const char *path, const uint8_t *pixels, int w, int h)
{
    uf_error err = {0};
    uf_picture *p = NULL;
    const uf_image view = {.format = UF_PIXEL_RGB8, .width = w, .height = h, .planes = {pixels}};
    if (uf_picture_from_image(&p, &view, &err) || uf_picture_save(p, path, &err)) {
        printf("%s\n", err.message);
        abort();
    }
    uf_picture_destroy(p);
}

/* A PNG of stripes. */
static inline void save_face(const char *path, int w, int h, int seed)
{
    uint8_t *pixels = malloc((size_t)(w * h * 3));
    draw_face(pixels, w, h, seed, NULL, 0);
    save_pixels(path, pixels, w, h);
    free(pixels);
}

/* Where faces lie in a picture of `side` pixels: ArcFace's template in its middle 0.7. */
static inline void face_points(uf_point *points, int side)
{
    for (int k = 0; k < UF_LANDMARKS; k++)
        points[k] = (uf_point){(float)side * (0.15f + 0.7f * ufi_align_arcface[2 * k]),
                               (float)side * (0.15f + 0.7f * ufi_align_arcface[2 * k + 1])};
}

/* One row of a list of landmarks. */
static inline void put_row(bytes *b, const char *name, const uf_point *points)
{
    char row[512];
    int n = snprintf(row, sizeof row, "%s\t0.9", name);
    for (int k = 0; k < UF_LANDMARKS; k++)
        n += snprintf(row + n, sizeof row - (size_t)n, "\t%.3f\t%.3f", (double)points[k].x,
                      (double)points[k].y);
    row[n++] = '\n';
    put_data(b, row, (size_t)n);
}

/* ---- tar archives ---- */

enum { TAR_BLOCK = 512 };

static inline void tar_seal(uint8_t *header)
{
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += header[i];
    snprintf((char *)header + 148, 8, "%06o", sum);
}

/* A header whose name is cut at 100 bytes. */
static inline void tar_header(bytes *b, const char *name, size_t size, char type)
{
    uint8_t header[TAR_BLOCK] = {0};
    const size_t n = strlen(name);
    memcpy(header, name, n < 100 ? n : 100);
    snprintf((char *)header + 100, 8, "0000644");
    snprintf((char *)header + 124, 12, "%011zo", size);
    memcpy(header + 257,
           "ustar\0"
           "00",
           8);
    header[156] = (uint8_t)type;
    tar_seal(header);
    put_data(b, header, sizeof header);
}

static inline void tar_body(bytes *b, const void *data, size_t size)
{
    put_data(b, data, size);
    put_fill(b, 0, (TAR_BLOCK - size % TAR_BLOCK) % TAR_BLOCK);
}

/* Any entry; a name of more than 100 bytes as GNU's tar writes it. */
static inline void tar_entry(bytes *b, const char *name, char type, const void *data, size_t size)
{
    if (strlen(name) > 100) {
        tar_header(b, "././@LongLink", strlen(name) + 1, 'L');
        tar_body(b, name, strlen(name) + 1);
    }
    tar_header(b, name, size, type);
    tar_body(b, data, size);
}

/* The same with a pax header that gives the name. */
static inline void tar_pax_entry(bytes *b, const char *name, const void *data, size_t size)
{
    char record[1024];
    size_t n = strlen(" path=\n") + strlen(name);
    n += n + 3 > 999 ? 4 : n + 3 > 99 ? 3 : 2;
    snprintf(record, sizeof record, "%zu path=%s\n", n, name);
    tar_header(b, "pax", n, 'x');
    tar_body(b, record, n);
    tar_header(b, "short", size, '0');
    tar_body(b, data, size);
}

/* A drawn PNG as an entry. */
static inline void tar_face(bytes *b, const char *name, int side, int seed)
{
    uf_error err = {0};
    uint8_t *data;
    size_t size;
    const char *path = in_scratch("entry.png");
    save_face(path, side, side, seed);
    if (ufi_file_read(&data, &size, path, 1 << 24, &err))
        abort();
    tar_entry(b, name, '0', data, size);
    ufi_free(data);
    unlink(path);
}

static inline void tar_save(bytes *b, const char *path)
{
    put_fill(b, 0, (size_t)2 * TAR_BLOCK);
    write_bytes(path, b->data, b->size);
    bytes_free(b);
}

#endif
