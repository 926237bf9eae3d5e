/*
 * JPEG by libjpeg-turbo. Its errors come by longjmp; what the decoder warns of (truncated data,
 * wrong markers) is an error here, because half a face is worse than none.
 */
#include <stdio.h>

#include <jpeglib.h>

#include <jerror.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "image/picture.h"

/* A progressive file of a few kilobytes can ask for thousands of passes over a large picture. What
 * is bounded is the number of passes, and passes times pixels: 20 over the largest picture. */
#define MAX_SCANS 200
#define MAX_SCANNED_PIXELS ((uint64_t)2000 << 20)

typedef struct jpeg_error {
    struct jpeg_error_mgr base;
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    bool warned, too_many_scans;
} jpeg_error;

static void on_error(j_common_ptr info)
{
    jpeg_error *e = (jpeg_error *)info->err;
    info->err->format_message(info, e->message);
    longjmp(e->jump, 1);
}

static void on_message(j_common_ptr info, int level)
{
    jpeg_error *e = (jpeg_error *)info->err;
    if (level >= 0 || e->warned)
        return;
    e->warned = true;
    info->err->format_message(info, e->message);
}

static void no_output(j_common_ptr info)
{
    (void)info;
}

static struct jpeg_error_mgr *init_errors(jpeg_error *e)
{
    memset(e, 0, sizeof *e);
    jpeg_std_error(&e->base);
    e->base.error_exit = on_error;
    e->base.emit_message = on_message;
    e->base.output_message = no_output;
    return &e->base;
}

static int find_orientation(const struct jpeg_decompress_struct *d)
{
    for (jpeg_saved_marker_ptr m = d->marker_list; m; m = m->next)
        if (m->marker == JPEG_APP0 + 1 && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return ufi_exif_orientation(m->data, m->data_length);
    return 1;
}

/* CMYK as Adobe writes it: inverted. To RGB by multiplying with the black. */
static void cmyk_row(uint8_t *row, const uint8_t *in, size_t width, bool inverted)
{
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++) {
            unsigned ink = in[x * 4 + c], black = in[x * 4 + 3];
            if (!inverted)
                ink = 255 - ink, black = 255 - black;
            row[x * 3 + c] = (uint8_t)((ink * black + 127) / 255);
        }
}

static void choose_colour(struct jpeg_decompress_struct *d)
{
    bool four = d->jpeg_color_space == JCS_CMYK || d->jpeg_color_space == JCS_YCCK;
    d->out_color_space = four ? JCS_CMYK : JCS_RGB;
    d->dct_method = JDCT_ISLOW;
}

/* Everything between start and finish; jumps out on errors. */
static void read_rows(struct jpeg_decompress_struct *d, uf_picture *p, uint8_t *cmyk,
                      const jpeg_error *e)
{
    while (d->output_scanline < d->output_height && !e->warned) {
        uint8_t *row = p->pixels + (size_t)d->output_scanline * (size_t)p->width * 3;
        JSAMPROW to = cmyk ? cmyk : row;
        jpeg_read_scanlines(d, &to, 1);
        if (cmyk)
            cmyk_row(row, cmyk, (size_t)p->width, d->saw_Adobe_marker);
    }
}

typedef struct jpeg_job {
    struct jpeg_decompress_struct d;
    jpeg_error e;
    uf_picture *picture;
    uint8_t *cmyk;
    const uf_decode_options *options;
    int orientation;
    /* Set behind the last call that may jump. Not a local variable: compilers move those over calls
     * in spite of setjmp. */
    bool finished;
    uf_status st;
} jpeg_job;

/* Counts scans: libjpeg calls this as it goes. */
static void on_progress(j_common_ptr info)
{
    const struct jpeg_decompress_struct *d = (const struct jpeg_decompress_struct *)info;
    jpeg_error *e = (jpeg_error *)info->err;
    uint64_t scans = (uint64_t)d->input_scan_number;
    if (scans <= MAX_SCANS && scans * d->image_width * d->image_height <= MAX_SCANNED_PIXELS)
        return;
    snprintf(e->message, sizeof e->message, "%d scans of %u x %u pixels are too many",
             d->input_scan_number, d->image_width, d->image_height);
    e->too_many_scans = true;
    longjmp(e->jump, 1);
}

/* What the decoder stopped at, in our terms: not all of it is damage. */
static uf_status fail(const jpeg_error *e, size_t at, uf_error *err)
{
    static const int unsupported[] = {JERR_SOF_UNSUPPORTED, JERR_BAD_PRECISION, JERR_ARITH_NOTIMPL,
                                      JERR_CONVERSION_NOTIMPL, JERR_FRACT_SAMPLE_NOTIMPL};
    if (e->too_many_scans || (!e->warned && e->base.msg_code == JERR_IMAGE_TOO_BIG))
        return ufi_fail(err, UF_E_LIMIT, "JPEG near byte %zu: %s", at, e->message);
    if (e->base.msg_code == JERR_OUT_OF_MEMORY)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a decoder");
    for (size_t i = 0; !e->warned && i < sizeof unsupported / sizeof *unsupported; i++)
        if (e->base.msg_code == unsupported[i])
            return ufi_fail(err, UF_E_UNSUPPORTED,
                            "the JPEG is of a kind that is not read (%s): convert it", e->message);
    return ufi_fail(err, UF_E_FORMAT, "damaged JPEG near byte %zu: %s", at, e->message);
}

static void decode_body(jpeg_job *j, const uint8_t *data, size_t size, uf_error *err)
{
    struct jpeg_decompress_struct *d = &j->d;
    jpeg_mem_src(d, data, size);
    jpeg_save_markers(d, JPEG_APP0 + 1, 0xFFFF);
    jpeg_read_header(d, TRUE);
    j->st = ufi_picture_check_size(d->image_width, d->image_height, j->options, err);
    if (j->st)
        return;
    j->orientation = find_orientation(d);
    choose_colour(d);
    d->scale_num = 1;
    d->scale_denom = ufi_image_reduction(d->image_width, d->image_height, j->options->min_side);
    jpeg_start_decompress(d);
    j->st = ufi_picture_new(&j->picture, (int32_t)d->output_width, (int32_t)d->output_height, err);
    if (j->st)
        return;
    j->picture->source_width = (int32_t)d->image_width;
    j->picture->source_height = (int32_t)d->image_height;
    if (d->out_color_space == JCS_CMYK && !(j->cmyk = ufi_malloc(d->output_width, 4)))
        j->st = ufi_fail(err, UF_E_NOMEM, "no memory for a row of pixels");
    if (j->st)
        return;
    read_rows(d, j->picture, j->cmyk, &j->e);
    if (!j->e.warned)
        jpeg_finish_decompress(d);
}

uf_status ufi_jpeg_decode(uf_picture **out, int *orientation, const uint8_t *data, size_t size,
                          const uf_decode_options *options, uf_error *err)
{
    jpeg_job *j = ufi_calloc(1, sizeof *j);
    struct jpeg_progress_mgr progress = {.progress_monitor = on_progress};
    if (!j)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a decoder");
    j->options = options;
    j->d.err = init_errors(&j->e);
    size_t left = 0;
    if (setjmp(j->e.jump) == 0) {
        jpeg_create_decompress(&j->d);
        j->d.progress = &progress;
        decode_body(j, data, size, err);
        j->finished = true;
    }
    if (j->d.src)
        left = j->d.src->bytes_in_buffer;
    if (!j->st && (!j->finished || j->e.warned))
        j->st = fail(&j->e, left <= size ? size - left : size, err);
    uf_status st = j->st;
    *orientation = j->orientation;
    *out = st ? NULL : j->picture;
    if (st)
        uf_picture_destroy(j->picture);
    ufi_free(j->cmyk);
    jpeg_destroy_decompress(&j->d);
    ufi_free(j);
    return st;
}

typedef struct jpeg_writer {
    struct jpeg_compress_struct c;
    jpeg_error e;
    unsigned char *data;
    unsigned long size;
} jpeg_writer;

uf_status ufi_jpeg_encode(uint8_t **data, size_t *size, const uf_picture *p, uf_error *err)
{
    jpeg_writer *w = ufi_calloc(1, sizeof *w);
    uf_status st = UF_OK;
    if (!w)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an encoder");
    w->c.err = init_errors(&w->e);
    if (setjmp(w->e.jump) == 0) {
        jpeg_create_compress(&w->c);
        jpeg_mem_dest(&w->c, &w->data, &w->size);
        w->c.image_width = (JDIMENSION)p->width;
        w->c.image_height = (JDIMENSION)p->height;
        w->c.input_components = 3;
        w->c.in_color_space = JCS_RGB;
        jpeg_set_defaults(&w->c);
        jpeg_set_quality(&w->c, 92, TRUE);
        jpeg_start_compress(&w->c, TRUE);
        while (w->c.next_scanline < w->c.image_height) {
            JSAMPROW row = (JSAMPROW)(uintptr_t)(p->pixels +
                                                 (size_t)w->c.next_scanline * (size_t)p->width * 3);
            jpeg_write_scanlines(&w->c, &row, 1);
        }
        jpeg_finish_compress(&w->c);
        *data = ufi_malloc(w->size, 1);
        *size = w->size;
        if (*data)
            memcpy(*data, w->data, w->size);
        else
            st = ufi_fail(err, UF_E_NOMEM, "no memory for the encoded picture");
    } else {
        st = ufi_fail(err, UF_E_IO, "encoding JPEG: %s", w->e.message);
    }
    jpeg_destroy_compress(&w->c);
    free(w->data);
    ufi_free(w);
    return st;
}
