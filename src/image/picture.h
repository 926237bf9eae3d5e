/* The owned picture, and the decoders and encoders behind it. Private to the image room. */
#ifndef UFI_IMAGE_PICTURE_H
#define UFI_IMAGE_PICTURE_H

#include <stdbool.h>

#include "image/image.h"

struct uf_picture {
    int32_t width, height;
    int32_t source_width, source_height; /* of the file, upright */
    uint8_t pixels[];                    /* RGB8, dense */
};

/* Uninitialised pixels. Errors: UF_E_LIMIT, UF_E_NOMEM. */
uf_status ufi_picture_new(uf_picture **out, int32_t width, int32_t height, uf_error *err);
/* UF_E_LIMIT when width * height passes options->max_pixels, or a side UF_IMAGE_MAX_SIDE. */
uf_status ufi_picture_check_size(uint64_t width, uint64_t height, const uf_decode_options *options,
                                 uf_error *err);
/* Turns the picture as EXIF orientation 1..8 asks; may replace it. */
uf_status ufi_picture_orient(uf_picture **p, int orientation, uf_error *err);

/* One format: decoding to RGB8 as stored, and the orientation written in the file (1: upright). */
typedef uf_status ufi_decode_fn(uf_picture **out, int *orientation, const uint8_t *data,
                                size_t size, const uf_decode_options *options, uf_error *err);
ufi_decode_fn ufi_jpeg_decode, ufi_png_decode, ufi_webp_decode;

/* Into memory of ufi_malloc. */
typedef uf_status ufi_encode_fn(uint8_t **data, size_t *size, const uf_picture *p, uf_error *err);
ufi_encode_fn ufi_jpeg_encode, ufi_png_encode, ufi_webp_encode;

/* Orientation (1..8) in a TIFF block as EXIF has it; 1 when there is none or it is malformed. */
int ufi_exif_orientation(const uint8_t *tiff, size_t size);

#endif
