/*
 * uniface/image.h - pictures: views of pixels, decoding, encoding.
 *
 * Threads: all functions are reentrant; a uf_picture is confined. Since 0.1.
 */
#ifndef UNIFACE_IMAGE_H
#define UNIFACE_IMAGE_H

#include "uniface/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum uf_pixel_format {
    UF_PIXEL_RGB8 = 1,
    UF_PIXEL_BGR8 = 2,
    UF_PIXEL_RGBA8 = 3, /* alpha is composed over black when converted */
    UF_PIXEL_BGRA8 = 4,
    UF_PIXEL_GRAY8 = 5,
    UF_PIXEL_NV12 = 6, /* plane 0: Y, plane 1: interleaved U V, half size (BT.601, full range) */
    UF_PIXEL_I420 = 7  /* planes Y, U, V */
} uf_pixel_format;

/* Clockwise turn that makes the picture upright. */
typedef enum uf_rotation {
    UF_ROTATE_0 = 0,
    UF_ROTATE_90 = 90,
    UF_ROTATE_180 = 180,
    UF_ROTATE_270 = 270
} uf_rotation;

#define UF_IMAGE_MAX_SIDE 32768

/* A view of pixels that somebody else owns; borrowed for the call it is passed to. Strides are in
 * bytes and may be larger than a row; 0 means dense. */
typedef struct uf_image {
    uf_pixel_format format;
    int32_t width, height; /* of the stored picture, before rotation; 1..UF_IMAGE_MAX_SIDE */
    const uint8_t *planes[3];
    size_t strides[3];
    uf_rotation rotation;
} uf_image;

/* An owned RGB8 picture. */
typedef struct uf_picture uf_picture;

typedef struct uf_decode_options {
    /* Largest number of pixels accepted (width * height of the stored picture); default 100 M. */
    uint64_t max_pixels;
    /* Decode at a reduced size (JPEG: 1/2, 1/4, 1/8) as long as the shorter side stays >= this
     * number of pixels; 0 (default): full size. */
    int32_t min_side;
    /* Apply the EXIF orientation; default 1. */
    int32_t apply_orientation;
} uf_decode_options;
#define UF_DECODE_OPTIONS_INIT \
    {                          \
        100000000u, 0, 1       \
    }

/* Decodes JPEG, PNG or WebP (told apart by content) into upright RGB8. Gray, CMYK, alpha (over
 * black) and 16-bit are converted. `options` may be NULL. *out is the caller's, see
 * uf_picture_destroy. Errors: UF_E_FORMAT (with byte offset where known; truncated pictures are
 * errors too), UF_E_UNSUPPORTED (names the format that was recognised), UF_E_LIMIT, UF_E_NOMEM. */
UF_API uf_status uf_picture_decode(uf_picture **out, const void *data, size_t size,
                                   const uf_decode_options *options, uf_error *err);
/* The same from a file; "-" is standard input; errors begin with the path. */
UF_API uf_status uf_picture_load(uf_picture **out, const char *path,
                                 const uf_decode_options *options, uf_error *err);
/* An upright RGB8 copy of any view. Errors: UF_E_ARG for sizes, strides, planes that are wrong. */
UF_API uf_status uf_picture_from_image(uf_picture **out, const uf_image *image, uf_error *err);
UF_API void uf_picture_destroy(uf_picture *p);
/* A view of the picture's pixels, valid while it lives. */
UF_API uf_image uf_picture_view(const uf_picture *p);
/* The pixels, writable, RGB8 rows of *stride bytes (for drawing). */
UF_API uint8_t *uf_picture_pixels(uf_picture *p, size_t *stride);
/* Width and height of the file's picture (upright) before any reduction by min_side. */
UF_API void uf_picture_source_size(const uf_picture *p, int32_t *width, int32_t *height);
/* `image`, scaled to width x height without keeping its proportions, as dense RGB8 into `out`
 * ([height][width][3]): bilinear, averaged first where it shrinks by 2 or more. This is how a
 * network's input is made of a picture. Errors: UF_E_ARG, also for sides that are not
 * 1..UF_IMAGE_MAX_SIDE and when `out` overlaps the picture; UF_E_NOMEM. Since 0.3. */
UF_API uf_status uf_image_resize(const uf_image *image, int32_t width, int32_t height, uint8_t *out,
                                 uf_error *err);
/* Writes PNG, JPEG or WebP by the path's suffix, atomically. */
UF_API uf_status uf_picture_save(const uf_picture *p, const char *path, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
