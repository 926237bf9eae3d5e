/* PNG by libpng: any depth and colour to RGB8, alpha over black. Its errors come by longjmp. */
#include <png.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "image/picture.h"

typedef struct png_job {
    const uint8_t *data;
    size_t size, at;
    uf_picture *picture;
    uint8_t *row;  /* RGBA */
    uint8_t *rows; /* interlaced pictures are read whole */
    const uf_decode_options *options;
    char message[160];
    int orientation;
    bool lacks_memory; /* libpng says of it what it would say of a damaged file */
    uf_status st;
    uf_error *err;
} png_job;

static void on_error(png_structp png, png_const_charp message)
{
    png_job *j = png_get_error_ptr(png);
    snprintf(j->message, sizeof j->message, "%s", message);
    png_longjmp(png, 1);
}

static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    png_job *j = png_get_mem_ptr(png);
    void *p = ufi_malloc(size, 1);
    j->lacks_memory |= !p;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    ufi_free(p);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png, (void)message;
}

static void on_read(png_structp png, png_bytep to, png_size_t n)
{
    png_job *j = png_get_io_ptr(png);
    if (n > j->size - j->at)
        png_error(png, "truncated file");
    memcpy(to, j->data + j->at, n);
    j->at += n;
}

/* All colours and depths to RGBA8. */
static void ask_for_rgba(png_structp png, png_infop info)
{
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 0xFF, PNG_FILLER_AFTER);
    (void)info;
}

static void compose_row(uint8_t *to, const uint8_t *rgba, size_t width)
{
    for (size_t x = 0; x < width; x++)
        for (size_t c = 0; c < 3; c++)
            to[x * 3 + c] = (uint8_t)((rgba[x * 4 + c] * rgba[x * 4 + 3] + 127) / 255);
}

static uf_status allocate(png_job *j, uint32_t width, uint32_t height, bool interlaced)
{
    uf_status st = ufi_picture_check_size(width, height, j->options, j->err);
    if (!st)
        st = ufi_picture_new(&j->picture, (int32_t)width, (int32_t)height, j->err);
    if (st)
        return st;
    if (interlaced)
        j->rows = ufi_malloc((size_t)width * height, 4);
    else
        j->row = ufi_malloc(width, 4);
    return j->rows || j->row
               ? UF_OK
               : ufi_fail(j->err, UF_E_NOMEM, "no memory for a picture of %u x %u", width, height);
}

static void read_body(png_job *j, png_structp png, png_infop info)
{
    png_set_read_fn(png, j, on_read);
    /* Sizes are checked by `allocate`, which tells what is too large from what is damaged. */
    png_set_user_limits(png, INT32_MAX, INT32_MAX);
    png_set_chunk_malloc_max(png, 8 << 20);
    png_read_info(png, info);
    uint32_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    bool interlaced = png_get_interlace_type(png, info) != PNG_INTERLACE_NONE;
    j->st = allocate(j, width, height, interlaced);
    if (j->st)
        return;
    ask_for_rgba(png, info);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t y = 0; y < height; y++) {
            uint8_t *row = j->rows ? j->rows + (size_t)y * width * 4 : j->row;
            png_read_row(png, row, NULL);
            if (pass == passes - 1)
                compose_row(j->picture->pixels + (size_t)y * width * 3, row, width);
        }
    png_read_end(png, info);
    png_bytep exif;
    png_uint_32 exif_size;
    if (png_get_eXIf_1(png, info, &exif_size, &exif))
        j->orientation = ufi_exif_orientation(exif, exif_size);
}

uf_status ufi_png_decode(uf_picture **out, int *orientation, const uint8_t *data, size_t size,
                         const uf_decode_options *options, uf_error *err)
{
    png_job *j = ufi_calloc(1, sizeof *j);
    if (!j)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a decoder");
    *j = (png_job){.data = data, .size = size, .options = options, .orientation = 1, .err = err};
    png_structp png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, j, on_error, on_warning, j,
                                               on_malloc, on_free);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info)
        j->st = ufi_fail(err, UF_E_NOMEM, "no memory for a decoder");
    else if (setjmp(png_jmpbuf(png)) == 0)
        read_body(j, png, info);
    else if (j->lacks_memory)
        j->st = ufi_fail(err, UF_E_NOMEM, "no memory for a decoder");
    else
        j->st = ufi_fail(err, UF_E_FORMAT, "damaged PNG near byte %zu: %s", j->at, j->message);
    png_destroy_read_struct(png ? &png : NULL, info ? &info : NULL, NULL);
    uf_status st = j->st;
    *orientation = j->orientation;
    *out = st ? NULL : j->picture;
    if (st)
        uf_picture_destroy(j->picture);
    ufi_free(j->row);
    ufi_free(j->rows);
    ufi_free(j);
    return st;
}

uf_status ufi_png_encode(uint8_t **data, size_t *size, const uf_picture *p, uf_error *err)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)p->width,
                       .height = (png_uint_32)p->height,
                       .format = PNG_FORMAT_RGB};
    png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
    *data = ufi_malloc(bytes, 1);
    if (!*data)
        return ufi_fail(err, UF_E_NOMEM, "no memory for the encoded picture");
    if (!png_image_write_to_memory(&image, *data, &bytes, 0, p->pixels, 0, NULL)) {
        ufi_free(*data);
        *data = NULL;
        return ufi_fail(err, UF_E_IO, "encoding PNG: %s", image.message);
    }
    *size = bytes;
    return UF_OK;
}
