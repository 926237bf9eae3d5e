/*
 * Pictures into networks' inputs: letterboxing and warping. The pixel work is in the kernels; here
 * is where each picture goes.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "image/picture.h"
#include "kernels/kernels.h"

/* ---- shrinking by whole numbers, so that bilinear sampling does not skip pixels ---- */

/* Up to here sums fit 16 bits a column, and the division below is exact. */
enum { MAX_SHRINK = 63 };

/* One row of the small picture of the sums of `by` rows. */
static inline void shrink_row(uint8_t *out, const uint16_t *sums, size_t by, size_t w)
{
    const uint32_t area = (uint32_t)(by * by);
    const uint64_t inverse = ((UINT64_C(1) << 32) + area - 1) / area;
    for (size_t x = 0; x < w; x++, out += 3, sums += by * 3) {
        uint32_t r = area / 2, g = r, b = r;
        for (size_t j = 0; j < by; j++) {
            r += sums[j * 3];
            g += sums[j * 3 + 1];
            b += sums[j * 3 + 2];
        }
        out[0] = (uint8_t)(r * inverse >> 32);
        out[1] = (uint8_t)(g * inverse >> 32);
        out[2] = (uint8_t)(b * inverse >> 32);
    }
}

/* Means of squares of `by` pixels; `sums` has room for w * by pixels. */
static void shrink(uint8_t *out, uint16_t *sums, const uf_image *in, size_t by, size_t w, size_t h)
{
    const size_t n = w * by * 3;
    for (size_t y = 0; y < h; y++, out += w * 3) {
        memset(sums, 0, n * sizeof *sums);
        for (size_t i = 0; i < by; i++) {
            const uint8_t *restrict p = in->planes[0] + (y * by + i) * in->strides[0];
            uint16_t *restrict to = sums;
            for (size_t x = 0; x < n; x++)
                to[x] = (uint16_t)(to[x] + p[x]);
        }
        switch (by) { /* the compiler unrolls the usual ones */
        case 2:
            shrink_row(out, sums, 2, w);
            break;
        case 3:
            shrink_row(out, sums, 3, w);
            break;
        case 4:
            shrink_row(out, sums, 4, w);
            break;
        default:
            shrink_row(out, sums, by, w);
        }
    }
}

/* Resizes RGB8 `in` to w x h at `out`. */
static uf_status resize(uint8_t *out, size_t out_stride, size_t w, size_t h, uf_image in,
                        uf_error *err)
{
    const ufk_table *k = ufk_default_table();
    size_t by_x = (size_t)in.width / w, by_y = (size_t)in.height / h;
    size_t by = by_x < by_y ? by_x : by_y;
    uint8_t *room = NULL;
    by = by > MAX_SHRINK ? MAX_SHRINK : by;
    if (by >= 2) {
        size_t sw = (size_t)in.width / by, sh = (size_t)in.height / by;
        const size_t sums = sw * by * 3 * sizeof(uint16_t);
        room = ufi_malloc(sums + sw * sh * 3, 1);
        if (!room)
            return ufi_fail(err, UF_E_NOMEM, "no memory for a reduced picture");
        uint8_t *small = room + sums;
        shrink(small, (uint16_t *)(void *)room, &in, by, sw, sh);
        in.planes[0] = small;
        in.strides[0] = sw * 3;
        in.width = (int32_t)sw;
        in.height = (int32_t)sh;
    }
    k->resize_bilinear_u8(out, out_stride, w, h, in.planes[0], in.strides[0], (size_t)in.width,
                          (size_t)in.height, 3, 0, h);
    ufi_free(room);
    return UF_OK;
}

uf_status ufi_image_letterbox(uint8_t *canvas, int32_t width, int32_t height, const uf_image *image,
                              ufi_fit fit, ufi_letterbox *box, uf_error *err)
{
    double sx = (double)width / image->width, sy = (double)height / image->height;
    size_t stride = (size_t)width * 3;
    int32_t w = width, h = height, left = 0, top = 0;
    if (fit != UFI_FIT_STRETCH) {
        double s = sx < sy ? sx : sy;
        w = (int32_t)lrint(image->width * s);
        h = (int32_t)lrint(image->height * s);
        w = w < 1 ? 1 : w > width ? width : w;
        h = h < 1 ? 1 : h > height ? height : h;
        memset(canvas, 0, stride * (size_t)height);
    }
    if (fit == UFI_FIT_CENTER) {
        left = (width - w) / 2;
        top = (height - h) / 2;
    }
    *box = (ufi_letterbox){(float)((double)w / image->width), (float)((double)h / image->height),
                           (float)left, (float)top};
    return resize(canvas + (size_t)top * stride + (size_t)left * 3, stride, (size_t)w, (size_t)h,
                  *image, err);
}

uf_status ufi_image_warp(uint8_t *canvas, int32_t width, int32_t height, const uf_image *image,
                         const float m[6], uf_error *err)
{
    for (int i = 0; i < 6; i++)
        if (!isfinite(m[i]))
            return ufi_fail(err, UF_E_ARG, "the transform is not finite");
    ufk_default_table()->warp_affine_u8(canvas, (size_t)width * 3, (size_t)width, (size_t)height,
                                        image->planes[0], image->strides[0], (size_t)image->width,
                                        (size_t)image->height, m, 0);
    return UF_OK;
}

uf_status uf_image_resize(const uf_image *image, int32_t width, int32_t height, uint8_t *out,
                          uf_error *err)
{
    uf_image rgb;
    uf_picture *owned;
    ufi_letterbox box;
    if (!out || width < 1 || height < 1 || width > UF_IMAGE_MAX_SIDE || height > UF_IMAGE_MAX_SIDE)
        return ufi_fail(err, UF_E_ARG,
                        "uf_image_resize: out must be given, width and height must be 1 to %d",
                        UF_IMAGE_MAX_SIDE);
    uf_status st = ufi_image_to_rgb(&rgb, &owned, image, err);
    if (st)
        return st;
    if (ufi_image_overlaps(image, out, (size_t)width * (size_t)height * 3))
        st = ufi_fail(err, UF_E_ARG, "uf_image_resize: out overlaps the picture");
    if (!st)
        st = ufi_image_letterbox(out, width, height, &rgb, UFI_FIT_STRETCH, &box, err);
    uf_picture_destroy(owned);
    return st;
}
