/* A JPEG round trip, without a file: what most pictures have behind them, some more than once. */
#include <stdio.h>

#include <jpeglib.h>

#include <setjmp.h>
#include <stdlib.h>

#include "train/augment.h"

typedef struct trip {
    struct jpeg_compress_struct c;
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    jmp_buf jump;
    unsigned char *data;
    unsigned long size;
    bool done; /* not a local variable: those are undefined behind a jump */
} trip;

static void on_error(j_common_ptr info)
{
    longjmp(((trip *)info->client_data)->jump, 1);
}

static void no_message(j_common_ptr info, int level)
{
    (void)info;
    (void)level;
}

static void encode(trip *t, uint8_t *rgb, size_t width, size_t height, int quality, bool coarse)
{
    struct jpeg_compress_struct *c = &t->c;
    jpeg_create_compress(c);
    jpeg_mem_dest(c, &t->data, &t->size);
    c->image_width = (JDIMENSION)width;
    c->image_height = (JDIMENSION)height;
    c->input_components = 3;
    c->in_color_space = JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, quality, TRUE);
    c->comp_info[0].h_samp_factor = c->comp_info[0].v_samp_factor = coarse ? 2 : 1;
    jpeg_start_compress(c, TRUE);
    while (c->next_scanline < c->image_height) {
        JSAMPROW row = rgb + (size_t)c->next_scanline * width * 3;
        jpeg_write_scanlines(c, &row, 1);
    }
    jpeg_finish_compress(c);
}

static void decode(trip *t, uint8_t *rgb, size_t width)
{
    struct jpeg_decompress_struct *d = &t->d;
    jpeg_create_decompress(d);
    jpeg_mem_src(d, t->data, t->size);
    jpeg_read_header(d, TRUE);
    d->out_color_space = JCS_RGB;
    jpeg_start_decompress(d);
    while (d->output_scanline < d->output_height) {
        JSAMPROW row = rgb + (size_t)d->output_scanline * width * 3;
        jpeg_read_scanlines(d, &row, 1);
    }
    jpeg_finish_decompress(d);
}

uf_status ufi_jpeg_trip(uint8_t *rgb, size_t width, size_t height, int quality, bool coarse,
                        uf_error *err)
{
    trip *t = calloc(1, sizeof *t);
    if (!t)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a JPEG round trip");
    t->c.err = t->d.err = jpeg_std_error(&t->errors);
    t->errors.error_exit = on_error;
    t->errors.emit_message = no_message;
    t->c.client_data = t->d.client_data = t;
    if (setjmp(t->jump) == 0) {
        encode(t, rgb, width, height, quality, coarse);
        decode(t, rgb, width);
        t->done = true;
    }
    const bool done = t->done;
    jpeg_destroy_compress(&t->c);
    jpeg_destroy_decompress(&t->d);
    free(t->data);
    free(t);
    /* Our own pixels cannot be wrong: what is left is memory. */
    return done ? UF_OK : ufi_fail(err, UF_E_NOMEM, "no memory for a JPEG round trip");
}
