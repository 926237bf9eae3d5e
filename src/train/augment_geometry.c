#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"
#include "train/augment.h"

void *ufi_buffer_get(ufi_buffer *b, size_t size)
{
    if (b->size >= size)
        return b->data;
    void *data = ufi_aligned_malloc(size);
    if (!data)
        return NULL;
    ufi_free(b->data);
    *b = (ufi_buffer){data, size};
    return data;
}

void ufi_buffer_free(ufi_buffer *b)
{
    ufi_free(b->data);
    *b = (ufi_buffer){0};
}

/* ---- maps ---- */

void ufi_map_then(double out[6], const double a[6], const double b[6])
{
    const double m[6] = {b[0] * a[0] + b[1] * a[3],        b[0] * a[1] + b[1] * a[4],
                         b[0] * a[2] + b[1] * a[5] + b[2], b[3] * a[0] + b[4] * a[3],
                         b[3] * a[1] + b[4] * a[4],        b[3] * a[2] + b[4] * a[5] + b[5]};
    memcpy(out, m, sizeof m);
}

bool ufi_map_invert(double out[6], const double m[6])
{
    const double det = m[0] * m[4] - m[1] * m[3];
    if (!(fabs(det) > 1e-12) || !isfinite(det))
        return false;
    const double a = m[4] / det, b = -m[1] / det, c = -m[3] / det, d = m[0] / det;
    const double inverse[6] = {a, b, -a * m[2] - b * m[5], c, d, -c * m[2] - d * m[5]};
    memcpy(out, inverse, sizeof inverse);
    return true;
}

uf_point ufi_map_point(const double m[6], double x, double y)
{
    return (uf_point){(float)(m[0] * x + m[1] * y + m[2]), (float)(m[3] * x + m[4] * y + m[5])};
}

double ufi_map_scale(const double m[6])
{
    return sqrt(fabs(m[0] * m[4] - m[1] * m[3]));
}

ufi_bounds ufi_map_bounds(const double m[6], double width, double height)
{
    ufi_bounds b = {INFINITY, INFINITY, -INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        const double px = i & 1 ? width - 1 : 0, py = i & 2 ? height - 1 : 0;
        const double x = m[0] * px + m[1] * py + m[2], y = m[3] * px + m[4] * py + m[5];
        b.left = fmin(b.left, x);
        b.right = fmax(b.right, x);
        b.top = fmin(b.top, y);
        b.bottom = fmax(b.bottom, y);
    }
    return b;
}

/* ---- shrinking by whole numbers ---- */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* out(x, y) = the mean of by x by pixels of `in`, of fewer where its width x height pixels end. */
static void reduce(uint8_t *out, uint32_t *sums, const uint8_t *in, size_t stride, size_t by,
                   size_t width, size_t height)
{
    for (size_t y = 0; y < height; y += by) {
        const size_t rows = smaller(by, height - y);
        memset(sums, 0, width * 3 * sizeof *sums);
        for (size_t i = 0; i < rows; i++, in += stride)
            for (size_t x = 0; x < width * 3; x++)
                sums[x] += in[x];
        for (size_t x = 0; x < width; x += by) {
            const size_t columns = smaller(by, width - x);
            const uint64_t area = (uint64_t)rows * columns;
            for (size_t c = 0; c < 3; c++) {
                uint64_t sum = area / 2;
                for (size_t j = 0; j < columns; j++)
                    sum += sums[(x + j) * 3 + c];
                *out++ = (uint8_t)(sum / area);
            }
        }
    }
}

/* The pixels of a line of `size` that low..high touch: where they begin, a multiple of `by`, and in
 * how many steps of `by` they end. */
static void clip(double low, double high, size_t by, size_t size, size_t *first, size_t *count)
{
    const double steps = (double)((size + by - 1) / by);
    double a = floor(low / (double)by) - 1, b = ceil(high / (double)by) + 2;
    a = a < 0 ? 0 : a > steps - 1 ? steps - 1 : a;
    b = b < a + 1 ? a + 1 : b > steps ? steps : b;
    *first = (size_t)a * by;
    *count = (size_t)(b - a);
}

static uf_status reduce_region(ufi_region *r, ufi_region_room *room, ufi_bounds bounds, size_t by,
                               uf_error *err)
{
    size_t x, y, width, height;
    clip(bounds.left, bounds.right, by, r->width, &x, &width);
    clip(bounds.top, bounds.bottom, by, r->height, &y, &height);
    uint8_t *out = ufi_buffer_get(&room->reduced, width * height * 3);
    uint32_t *sums = ufi_buffer_get(&room->sums, width * by * 3 * sizeof *sums);
    if (!out || !sums)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a reduced picture");
    reduce(out, sums, r->pixels + y * r->stride + x * 3, r->stride, by,
           smaller(width * by, r->width - x), smaller(height * by, r->height - y));
    const double step = 1 / (double)by;
    const double to[6] = {step, 0,    (0.5 - (double)x) * step - 0.5,
                          0,    step, (0.5 - (double)y) * step - 0.5};
    *r = (ufi_region){.pixels = out, .stride = width * 3, .width = width, .height = height};
    memcpy(r->from_picture, to, sizeof to);
    return UF_OK;
}

/* ---- edges mirrored outwards ---- */

static size_t mirrored(int64_t i, int64_t size)
{
    const int64_t period = 2 * size;
    i %= period;
    i += i < 0 ? period : 0;
    return (size_t)(i < size ? i : period - 1 - i);
}

/* Copies the pixels from (x, y) on, also those that are not there. */
static void copy_mirrored(uint8_t *out, size_t width, size_t height, const ufi_region *r, int64_t x,
                          int64_t y)
{
    const int64_t w = (int64_t)r->width, end = x + (int64_t)width;
    /* Columns first..last - 1 of the copy are in the picture. */
    const size_t first = x >= 0 ? 0 : -x < (int64_t)width ? (size_t)-x : width;
    const size_t last = end <= w ? width : w - x > (int64_t)first ? (size_t)(w - x) : first;
    for (size_t j = 0; j < height; j++, out += width * 3) {
        const uint8_t *row = r->pixels + mirrored(y + (int64_t)j, (int64_t)r->height) * r->stride;
        for (size_t i = 0; i < first; i++)
            memcpy(out + i * 3, row + mirrored(x + (int64_t)i, w) * 3, 3);
        if (last > first)
            memcpy(out + first * 3, row + (size_t)(x + (int64_t)first) * 3, (last - first) * 3);
        for (size_t i = last; i < width; i++)
            memcpy(out + i * 3, row + mirrored(x + (int64_t)i, w) * 3, 3);
    }
}

/* A crop that looks at more than this many pixels is left with black edges: its points are wrong
 * anyway. */
#define MAX_PADDED_PIXELS ((double)(1 << 24))

static uf_status pad_region(ufi_region *r, ufi_region_room *room, ufi_bounds b, uf_error *err)
{
    const double left = floor(b.left) - 1, top = floor(b.top) - 1;
    const double width = ceil(b.right) + 2 - left, height = ceil(b.bottom) + 2 - top;
    if (left >= 0 && top >= 0 && left + width <= (double)r->width &&
        top + height <= (double)r->height)
        return UF_OK;
    if (!(width * height <= MAX_PADDED_PIXELS) || !(fabs(left) + fabs(top) < 1e9))
        return UF_OK;
    const size_t w = (size_t)width, h = (size_t)height;
    uint8_t *out = ufi_buffer_get(&room->padded, w * h * 3);
    if (!out)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a part of a picture");
    copy_mirrored(out, w, h, r, (int64_t)left, (int64_t)top);
    r->from_picture[2] -= left;
    r->from_picture[5] -= top;
    r->pixels = out;
    r->stride = w * 3;
    r->width = w;
    r->height = h;
    return UF_OK;
}

uf_status ufi_region_of(ufi_region *out, ufi_region_room *room, const uf_image *image,
                        ufi_bounds bounds, double scale, bool mirror_edges, uf_error *err)
{
    *out = (ufi_region){.pixels = image->planes[0],
                        .stride = image->strides[0] ? image->strides[0] : (size_t)image->width * 3,
                        .width = (size_t)image->width,
                        .height = (size_t)image->height,
                        .from_picture = {1, 0, 0, 0, 1, 0}};
    if (!isfinite(bounds.left + bounds.top + bounds.right + bounds.bottom + scale))
        return ufi_fail(err, UF_E_ARG, "the landmarks are too far apart: no crop can be made");
    const size_t shorter = out->width < out->height ? out->width : out->height;
    const size_t by = scale >= (double)shorter ? shorter : (size_t)(scale + 1e-3);
    uf_status st = UF_OK;
    if (by >= 2)
        st = reduce_region(out, room, bounds, by, err);
    if (st || !mirror_edges)
        return st;
    const double *to = out->from_picture; /* a scale and a shift */
    bounds.left = bounds.left * to[0] + to[2];
    bounds.right = bounds.right * to[0] + to[2];
    bounds.top = bounds.top * to[4] + to[5];
    bounds.bottom = bounds.bottom * to[4] + to[5];
    return pad_region(out, room, bounds, err);
}

void ufi_region_draw(uint8_t *canvas, size_t stride, size_t width, size_t height,
                     const ufi_region *region, const double m[6])
{
    double to[6];
    float f[6];
    ufi_map_then(to, m, region->from_picture);
    for (int i = 0; i < 6; i++)
        f[i] = (float)to[i];
    ufk_default_table()->warp_affine_u8(canvas, stride, width, height, region->pixels,
                                        region->stride, region->width, region->height, f, 0);
}
