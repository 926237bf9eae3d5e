/*
 * Views of pixels that callers own: checks, and conversion to upright RGB8. YUV is BT.601 full
 * range (JFIF), in 16-bit fixed point.
 */
#include <string.h>

#include "base/mem.h"
#include "image/picture.h"

static int plane_count(uf_pixel_format f)
{
    switch (f) {
    case UF_PIXEL_RGB8:
    case UF_PIXEL_BGR8:
    case UF_PIXEL_RGBA8:
    case UF_PIXEL_BGRA8:
    case UF_PIXEL_GRAY8:
        return 1;
    case UF_PIXEL_NV12:
        return 2;
    case UF_PIXEL_I420:
        return 3;
    }
    return 0;
}

/* Bytes of one row of plane `i`. */
static size_t row_bytes(const uf_image *image, int i)
{
    size_t width = (size_t)image->width, half = (width + 1) / 2;
    switch (image->format) {
    case UF_PIXEL_RGB8:
    case UF_PIXEL_BGR8:
        return width * 3;
    case UF_PIXEL_RGBA8:
    case UF_PIXEL_BGRA8:
        return width * 4;
    case UF_PIXEL_NV12:
        return i ? half * 2 : width;
    case UF_PIXEL_I420:
        return i ? half : width;
    case UF_PIXEL_GRAY8:
        break;
    }
    return width;
}

static size_t stride_of(const uf_image *image, int i)
{
    return image->strides[i] ? image->strides[i] : row_bytes(image, i);
}

uf_status ufi_image_check(const uf_image *image, uf_error *err)
{
    if (!image)
        return ufi_fail(err, UF_E_ARG, "image is NULL");
    int planes = plane_count(image->format);
    if (!planes)
        return ufi_fail(err, UF_E_ARG, "image.format %d is unknown", (int)image->format);
    if (image->width < 1 || image->height < 1 || image->width > UF_IMAGE_MAX_SIDE ||
        image->height > UF_IMAGE_MAX_SIDE)
        return ufi_fail(err, UF_E_ARG, "image size %d x %d; sides of 1 to %d are supported",
                        image->width, image->height, UF_IMAGE_MAX_SIDE);
    for (int i = 0; i < planes; i++) {
        if (!image->planes[i])
            return ufi_fail(err, UF_E_ARG, "image.planes[%d] is NULL", i);
        if (stride_of(image, i) < row_bytes(image, i))
            return ufi_fail(err, UF_E_ARG, "image.strides[%d] is %zu, a row has %zu bytes", i,
                            image->strides[i], row_bytes(image, i));
    }
    if (image->rotation != UF_ROTATE_0 && image->rotation != UF_ROTATE_90 &&
        image->rotation != UF_ROTATE_180 && image->rotation != UF_ROTATE_270)
        return ufi_fail(err, UF_E_ARG, "image.rotation %d; 0, 90, 180 or 270 are possible",
                        (int)image->rotation);
    return UF_OK;
}

bool ufi_image_overlaps(const uf_image *image, const void *start, size_t size)
{
    for (int i = 0; i < plane_count(image->format); i++) {
        size_t height = (size_t)image->height, rows = i ? (height + 1) / 2 : height;
        uintptr_t plane = (uintptr_t)image->planes[i], from = (uintptr_t)start;
        size_t bytes = (rows - 1) * stride_of(image, i) + row_bytes(image, i);
        if (plane < from + size && from < plane + bytes)
            return true;
    }
    return false;
}

static uint8_t clamp8(int v)
{
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

static void yuv_pixel(uint8_t *to, int y, int u, int v)
{
    u -= 128;
    v -= 128;
    to[0] = clamp8(y + ((91881 * v + 32768) >> 16));
    to[1] = clamp8(y - ((22554 * u + 46802 * v + 32768) >> 16));
    to[2] = clamp8(y + ((116130 * u + 32768) >> 16));
}

static void convert_row(uint8_t *to, const uf_image *image, size_t y)
{
    const uint8_t *p = image->planes[0] + y * stride_of(image, 0);
    const uint8_t *u = NULL, *v = NULL;
    if (image->format == UF_PIXEL_NV12 || image->format == UF_PIXEL_I420)
        u = image->planes[1] + y / 2 * stride_of(image, 1);
    if (image->format == UF_PIXEL_I420)
        v = image->planes[2] + y / 2 * stride_of(image, 2);
    for (size_t x = 0; x < (size_t)image->width; x++, to += 3)
        switch (image->format) {
        case UF_PIXEL_RGB8:
            memcpy(to, p + x * 3, 3);
            break;
        case UF_PIXEL_BGR8:
            to[0] = p[x * 3 + 2], to[1] = p[x * 3 + 1], to[2] = p[x * 3];
            break;
        case UF_PIXEL_RGBA8:
        case UF_PIXEL_BGRA8:
            for (size_t c = 0; c < 3; c++) {
                size_t from = image->format == UF_PIXEL_BGRA8 ? 2 - c : c;
                to[c] = (uint8_t)((p[x * 4 + from] * p[x * 4 + 3] + 127) / 255);
            }
            break;
        case UF_PIXEL_GRAY8:
            to[0] = to[1] = to[2] = p[x];
            break;
        case UF_PIXEL_NV12:
            yuv_pixel(to, p[x], u[x / 2 * 2], u[x / 2 * 2 + 1]);
            break;
        case UF_PIXEL_I420:
            yuv_pixel(to, p[x], u[x / 2], v[x / 2]);
            break;
        }
}

/* The EXIF orientation that asks for the same clockwise turn. */
static int orientation_of(uf_rotation r)
{
    return r == UF_ROTATE_90 ? 6 : r == UF_ROTATE_180 ? 3 : r == UF_ROTATE_270 ? 8 : 1;
}

uf_status uf_picture_from_image(uf_picture **out, const uf_image *image, uf_error *err)
{
    if (!out)
        return ufi_fail(err, UF_E_ARG, "uf_picture_from_image: out must be given");
    *out = NULL;
    uf_status st = ufi_image_check(image, err);
    if (!st)
        st = ufi_picture_new(out, image->width, image->height, err);
    if (st)
        return st;
    for (size_t y = 0; y < (size_t)image->height; y++)
        convert_row((*out)->pixels + y * (size_t)image->width * 3, image, y);
    st = ufi_picture_orient(out, orientation_of(image->rotation), err);
    if (st) {
        uf_picture_destroy(*out);
        *out = NULL;
    }
    return st;
}

uf_status ufi_image_to_rgb(uf_image *out, uf_picture **owned, const uf_image *image, uf_error *err)
{
    *owned = NULL;
    uf_status st = ufi_image_check(image, err);
    if (st)
        return st;
    if (image->format == UF_PIXEL_RGB8 && image->rotation == UF_ROTATE_0) {
        *out = *image;
        out->strides[0] = stride_of(image, 0);
        return UF_OK;
    }
    st = uf_picture_from_image(owned, image, err);
    if (!st)
        *out = uf_picture_view(*owned);
    return st;
}
