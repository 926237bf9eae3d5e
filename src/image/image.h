/*
 * Pictures inside the library: RGB8 buffers, and the geometry the networks need. uniface/image.h is
 * implemented here too (it needs nothing from higher floors). Floor 4.
 */
#ifndef UFI_IMAGE_IMAGE_H
#define UFI_IMAGE_IMAGE_H

#include <stdbool.h>

#include "base/status.h"
#include "uniface/image.h"

/* Checks sizes, format, planes and strides of a view from a caller (UF_E_ARG names the field). */
uf_status ufi_image_check(const uf_image *image, uf_error *err);

/* Whether `size` bytes at `start` have one in common with a plane of a checked view. */
bool ufi_image_overlaps(const uf_image *image, const void *start, size_t size);

/* An RGB8 upright view of `image`: `image` itself if it is one already (*owned = NULL), else a
 * converted copy that the caller destroys. */
uf_status ufi_image_to_rgb(uf_image *out, uf_picture **owned, const uf_image *image, uf_error *err);

/* By how much the sides of a JPEG are reduced while it is decoded: 1, 2, 4 or 8, the most that
 * leaves the shorter side min_side pixels (0: 1). Parts of a pixel count as one. */
unsigned ufi_image_reduction(unsigned width, unsigned height, int32_t min_side);

/* How a picture was laid into a network's input: x_in = x * scale + offset_x (pixel corners, i.e.
 * continuous coordinates with pixel centres at +0.5). */
typedef struct ufi_letterbox {
    float scale_x, scale_y;
    float offset_x, offset_y;
} ufi_letterbox;

typedef enum ufi_fit {
    UFI_FIT_STRETCH,  /* aspect ignored */
    UFI_FIT_TOP_LEFT, /* aspect kept, pasted top-left on black */
    UFI_FIT_CENTER    /* aspect kept, centred on black */
} ufi_fit;

/* Resizes RGB8 `image` into the RGB8 canvas of width x height (dense). Bilinear; when shrinking by
 * 2 or more, box-averages first so that small faces do not alias. */
uf_status ufi_image_letterbox(uint8_t *canvas, int32_t width, int32_t height, const uf_image *image,
                              ufi_fit fit, ufi_letterbox *box, uf_error *err);

/* canvas(x, y) = image(m * (x, y, 1)), bilinear, black outside; m maps canvas pixel centres (at
 * integers) to image pixel centres. */
uf_status ufi_image_warp(uint8_t *canvas, int32_t width, int32_t height, const uf_image *image,
                         const float m[6], uf_error *err);

#endif
