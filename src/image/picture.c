/* Pictures: which decoder and encoder, orientation, files. */
#include "image/picture.h"

#include <string.h>

#include "base/file.h"
#include "base/mem.h"

#define MAX_FILE_BYTES ((size_t)256 << 20)

uf_status ufi_picture_new(uf_picture **out, int32_t width, int32_t height, uf_error *err)
{
    size_t bytes = (size_t)width * (size_t)height * 3;
    *out = NULL;
    if (width < 1 || height < 1 || width > UF_IMAGE_MAX_SIDE || height > UF_IMAGE_MAX_SIDE)
        return ufi_fail(err, UF_E_LIMIT, "a picture of %d x %d; sides of 1 to %d are supported",
                        width, height, UF_IMAGE_MAX_SIDE);
    uf_picture *p = ufi_malloc(1, sizeof *p + bytes);
    if (!p)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a picture of %d x %d", width, height);
    p->width = p->source_width = width;
    p->height = p->source_height = height;
    *out = p;
    return UF_OK;
}

void uf_picture_destroy(uf_picture *p)
{
    ufi_free(p);
}

uf_image uf_picture_view(const uf_picture *p)
{
    return (uf_image){.format = UF_PIXEL_RGB8,
                      .width = p->width,
                      .height = p->height,
                      .planes = {p->pixels},
                      .strides = {(size_t)p->width * 3},
                      .rotation = UF_ROTATE_0};
}

uint8_t *uf_picture_pixels(uf_picture *p, size_t *stride)
{
    *stride = (size_t)p->width * 3;
    return p->pixels;
}

void uf_picture_source_size(const uf_picture *p, int32_t *width, int32_t *height)
{
    *width = p->source_width;
    *height = p->source_height;
}

unsigned ufi_image_reduction(unsigned width, unsigned height, int32_t min_side)
{
    unsigned side = width < height ? width : height, by = 1;
    while (min_side > 0 && by < 8 && side / (by * 2) >= (unsigned)min_side)
        by *= 2;
    return by;
}

uf_status ufi_picture_check_size(uint64_t width, uint64_t height, const uf_decode_options *options,
                                 uf_error *err)
{
    if (width < 1 || height < 1)
        return ufi_fail(err, UF_E_FORMAT, "a picture of %llu x %llu pixels",
                        (unsigned long long)width, (unsigned long long)height);
    if (width > UF_IMAGE_MAX_SIDE || height > UF_IMAGE_MAX_SIDE ||
        width * height > options->max_pixels)
        return ufi_fail(err, UF_E_LIMIT,
                        "a picture of %llu x %llu pixels; the limit is %llu pixels and sides of %d",
                        (unsigned long long)width, (unsigned long long)height,
                        (unsigned long long)options->max_pixels, UF_IMAGE_MAX_SIDE);
    return UF_OK;
}

/* ---- orientation ---- */

/* Orientations 5..8 swap the sides. Bits say what the stored picture is of the upright one:
 * mirrored along x, along y, transposed. */
enum { FLIP_X = 1, FLIP_Y = 2, TRANSPOSED = 4 };

static const uint8_t orientation_bits[9] = {0,
                                            0,
                                            FLIP_X,
                                            FLIP_X | FLIP_Y,
                                            FLIP_Y,
                                            TRANSPOSED,
                                            TRANSPOSED | FLIP_Y,
                                            TRANSPOSED | FLIP_X | FLIP_Y,
                                            TRANSPOSED | FLIP_X};

uf_status ufi_picture_orient(uf_picture **p, int orientation, uf_error *err)
{
    uint8_t bits = orientation >= 1 && orientation <= 8 ? orientation_bits[orientation] : 0;
    const uf_picture *from = *p;
    uf_picture *to;
    if (!bits)
        return UF_OK;
    bool swap = bits & TRANSPOSED;
    uf_status st = ufi_picture_new(&to, swap ? from->height : from->width,
                                   swap ? from->width : from->height, err);
    if (st)
        return st;
    to->source_width = swap ? from->source_height : from->source_width;
    to->source_height = swap ? from->source_width : from->source_height;
    size_t stride = (size_t)from->width * 3;
    for (int32_t y = 0; y < to->height; y++)
        for (int32_t x = 0; x < to->width; x++) {
            int32_t sx = swap ? y : x, sy = swap ? x : y;
            if (bits & FLIP_X)
                sx = from->width - 1 - sx;
            if (bits & FLIP_Y)
                sy = from->height - 1 - sy;
            memcpy(to->pixels + ((size_t)y * (size_t)to->width + (size_t)x) * 3,
                   from->pixels + (size_t)sy * stride + (size_t)sx * 3, 3);
        }
    uf_picture_destroy(*p);
    *p = to;
    return UF_OK;
}

/* ---- which format ---- */

typedef struct format {
    const char *name;
    const char *magic;
    size_t offset, length;
    ufi_decode_fn *decode; /* NULL: known, not supported */
} format;

/* Formats whose library was left out of the build are known, but not supported. */
#if !defined(UFI_WITH_JPEG)
#define ufi_jpeg_decode NULL
#define ufi_jpeg_encode NULL
#endif
#if !defined(UFI_WITH_PNG)
#define ufi_png_decode NULL
#define ufi_png_encode NULL
#endif
#if !defined(UFI_WITH_WEBP)
#define ufi_webp_decode NULL
#define ufi_webp_encode NULL
#endif

static const format formats[] = {
    {"JPEG", "\xff\xd8\xff", 0, 3, ufi_jpeg_decode},
    {"PNG", "\x89PNG\r\n\x1a\n", 0, 8, ufi_png_decode},
    {"WebP", "WEBP", 8, 4, ufi_webp_decode},
    {"GIF", "GIF8", 0, 4, NULL},
    {"BMP", "BM", 0, 2, NULL},
    {"TIFF", "II*\0", 0, 4, NULL},
    {"TIFF", "MM\0*", 0, 4, NULL},
    {"AVIF", "ftypavif", 4, 8, NULL},
    {"HEIF", "ftyp", 4, 4, NULL},
    {"JPEG XL", "\xff\x0a", 0, 2, NULL},
    {"JPEG 2000", "jP  ", 4, 4, NULL},
    {"PDF", "%PDF", 0, 4, NULL},
};

static const format *find_format(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const format *f = &formats[i];
        if (size >= f->offset + f->length && memcmp(data + f->offset, f->magic, f->length) == 0)
            return f;
    }
    return NULL;
}

uf_status uf_picture_decode(uf_picture **out, const void *data, size_t size,
                            const uf_decode_options *options, uf_error *err)
{
    static const uf_decode_options defaults = UF_DECODE_OPTIONS_INIT;
    int orientation = 1;
    if (!out || (!data && size))
        return ufi_fail(err, UF_E_ARG, "uf_picture_decode: out and data must be given");
    *out = NULL;
    options = options ? options : &defaults;
    if (size == 0)
        return ufi_fail(err, UF_E_FORMAT, "the picture is empty (0 bytes)");
    const format *f = find_format(data, size);
    if (!f)
        return ufi_fail(err, UF_E_FORMAT,
                        "the data is no picture that is known: JPEG, PNG and WebP are supported");
    if (!f->decode)
        return ufi_fail(err, UF_E_UNSUPPORTED,
                        "the picture is a %s, which this build does not read; convert it", f->name);
    uf_status st = f->decode(out, &orientation, data, size, options, err);
    if (!st && options->apply_orientation)
        st = ufi_picture_orient(out, orientation, err);
    if (st) {
        uf_picture_destroy(*out);
        *out = NULL;
    }
    return st;
}

uf_status uf_picture_load(uf_picture **out, const char *path, const uf_decode_options *options,
                          uf_error *err)
{
    uint8_t *data;
    size_t size;
    if (!out || !path)
        return ufi_fail(err, UF_E_ARG, "uf_picture_load: out and path must be given");
    *out = NULL;
    uf_status st = ufi_file_read(&data, &size, path, MAX_FILE_BYTES, err);
    if (st)
        return st;
    st = uf_picture_decode(out, data, size, options, err);
    ufi_free(data);
    return ufi_wrap(err, st, "%s", path);
}

/* ---- saving ---- */

static bool has_suffix(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    if (n < k)
        return false;
    for (size_t i = 0; i < k; i++) {
        char c = path[n - k + i];
        if ((c >= 'A' && c <= 'Z' ? c + 32 : c) != suffix[i])
            return false;
    }
    return true;
}

uf_status uf_picture_save(const uf_picture *p, const char *path, uf_error *err)
{
    static const struct {
        const char *suffix;
        ufi_encode_fn *encode;
    } encoders[] = {{".png", ufi_png_encode},
                    {".jpg", ufi_jpeg_encode},
                    {".jpeg", ufi_jpeg_encode},
                    {".webp", ufi_webp_encode}};
    uint8_t *data;
    size_t size;
    if (!p || !path)
        return ufi_fail(err, UF_E_ARG, "uf_picture_save: picture and path must be given");
    for (size_t i = 0; i < sizeof encoders / sizeof *encoders; i++) {
        if (!has_suffix(path, encoders[i].suffix))
            continue;
        if (!encoders[i].encode)
            return ufi_fail(err, UF_E_UNSUPPORTED, "%s: this build was made without %s", path,
                            encoders[i].suffix + 1);
        uf_status st = encoders[i].encode(&data, &size, p, err);
        if (st)
            return ufi_wrap(err, st, "%s", path);
        st = ufi_file_write(path, data, size, err);
        ufi_free(data);
        return st;
    }
    return ufi_fail(err, UF_E_ARG, "%s: the name must end in .png, .jpg, .jpeg or .webp", path);
}
