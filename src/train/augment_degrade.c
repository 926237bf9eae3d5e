/* What cameras, distance and programs do to a picture: blur, few pixels, noise. */
#include <math.h>
#include <string.h>

#include "train/augment.h"

/* ---- blur ---- */

enum { MAX_RADIUS = 128 };

/* Half of a Gaussian's weights, kernel[0] its middle; the radius, 0 when it would change nothing.
 */
static size_t gaussian(float *kernel, double sigma)
{
    const double wide = ceil(2.5 * sigma);
    const size_t radius = sigma < 0.2 ? 0 : wide > MAX_RADIUS ? MAX_RADIUS : (size_t)wide;
    double sum = 1;
    for (size_t i = 1; i <= radius; i++)
        sum += 2 * exp(-(double)(i * i) / (2 * sigma * sigma));
    for (size_t i = 0; i <= radius; i++)
        kernel[i] = (float)(exp(radius ? -(double)(i * i) / (2 * sigma * sigma) : 0) / sum);
    kernel[radius + 1] = 0;
    return radius;
}

/* to += near * (a + b) + far * (c + d): two rings of a kernel at once, which halves what goes
 * through memory. */
static void add_rings(float *restrict to, const float *a, const float *b, float near,
                      const float *c, const float *d, float far, size_t count)
{
    for (size_t x = 0; x < count; x++)
        to[x] += near * (a[x] + b[x]) + far * (c[x] + d[x]);
}

/* out = row convolved; the row has `radius` + 1 values more on each side. The kernel is 0 behind
 * the radius. */
static void blur_row(float *restrict out, const float *restrict row, size_t count,
                     const float *kernel, size_t radius)
{
    for (size_t x = 0; x < count; x++)
        out[x] = kernel[0] * row[x];
    for (size_t i = 1; i <= radius; i += 2)
        add_rings(out, row - i, row + i, kernel[i], row - i - 1, row + i + 1, kernel[i + 1], count);
}

/* The first and the last row go on for ever. */
static const float *row_at(const float *plane, size_t side, ptrdiff_t y)
{
    const ptrdiff_t last = (ptrdiff_t)side - 1;
    return plane + (size_t)(y < 0 ? 0 : y > last ? last : y) * side;
}

static void blur_plane(float *plane, float *room, size_t side, double sigma_x, double sigma_y)
{
    float kernel[MAX_RADIUS + 2], *row = room + side * side + MAX_RADIUS + 1;
    size_t radius = gaussian(kernel, sigma_x);
    for (size_t y = 0; y < side; y++) {
        const float *in = plane + y * side;
        for (size_t i = 0; i <= radius; i++) {
            row[-1 - (ptrdiff_t)i] = in[0];
            row[side + i] = in[side - 1];
        }
        memcpy(row, in, side * sizeof *row);
        blur_row(room + y * side, row, side, kernel, radius);
    }
    radius = gaussian(kernel, sigma_y);
    for (size_t y = 0; y < side; y++) {
        float *restrict out = plane + y * side;
        const float *restrict middle = room + y * side;
        for (size_t x = 0; x < side; x++)
            out[x] = kernel[0] * middle[x];
        for (size_t i = 1; i <= radius; i += 2)
            add_rings(out, row_at(room, side, (ptrdiff_t)y - (ptrdiff_t)i),
                      row_at(room, side, (ptrdiff_t)(y + i)), kernel[i],
                      row_at(room, side, (ptrdiff_t)y - (ptrdiff_t)i - 1),
                      row_at(room, side, (ptrdiff_t)(y + i + 1)), kernel[i + 1], side);
    }
}

size_t ufi_blur_room(size_t side)
{
    return side * side + side + (size_t)2 * MAX_RADIUS + 2;
}

void ufi_vary_blur(ufi_planes *p, const ufi_variation *v, float *room)
{
    for (int c = 0; c < 3; c++)
        blur_plane(p->c[c], room, p->side, v->blur_x * (double)p->side,
                   v->blur_y * (double)p->side);
}

/* ---- fewer pixels ---- */

/* out[n] = in[m] along one axis of lines that lie `step` apart, each value `width` floats of which
 * neighbours are next to each other. Shrinking takes the mean of what a pixel covers, enlarging
 * goes straight from one pixel to the next. */
static void resample(float *restrict out, size_t n, const float *restrict in, size_t m,
                     size_t width)
{
    const double scale = (double)m / (double)n;
    const double reach = scale > 1 ? scale : 1; /* half the width of a tent */
    for (size_t i = 0; i < n; i++) {
        const double centre = ((double)i + 0.5) * scale - 0.5;
        const ptrdiff_t first = (ptrdiff_t)floor(centre - reach) + 1;
        const ptrdiff_t last = (ptrdiff_t)ceil(centre + reach) - 1;
        float *to = out + i * width;
        double sum = 0;
        for (ptrdiff_t k = first; k <= last; k++)
            sum += 1 - fabs((double)k - centre) / reach;
        memset(to, 0, width * sizeof *to);
        for (ptrdiff_t k = first; k <= last; k++) {
            const ptrdiff_t inside = k < 0 ? 0 : k >= (ptrdiff_t)m ? (ptrdiff_t)m - 1 : k;
            const float w = (float)((1 - fabs((double)k - centre) / reach) / sum);
            const float *from = in + (size_t)inside * width;
            for (size_t x = 0; x < width; x++)
                to[x] += w * from[x];
        }
    }
}

/* Rows to columns. */
static void transpose(float *restrict out, const float *restrict in, size_t rows, size_t columns)
{
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < columns; x++)
            out[x * rows + y] = in[y * columns + x];
}

size_t ufi_low_room(size_t side)
{
    return 2 * side * side;
}

void ufi_enlarge(float *out, size_t side, const float *in, size_t n, float *room)
{
    float *a = room, *b = room + side * side;
    resample(a, side, in, n, n); /* side x n */
    transpose(b, a, side, n);    /* n x side */
    resample(a, side, b, n, side);
    transpose(out, a, side, side);
}

void ufi_vary_low(ufi_planes *p, const ufi_variation *v, float *room)
{
    const size_t side = p->side, wanted = (size_t)lrint((double)side / v->low);
    const size_t n = wanted < 4 ? 4 : wanted > side ? side : wanted;
    float *a = room, *b = room + side * side;
    for (int c = 0; c < 3; c++) {
        resample(a, n, p->c[c], side, side); /* n x side */
        transpose(b, a, n, side);            /* side x n */
        resample(a, n, b, side, n);          /* n x n, transposed */
        resample(b, side, a, n, n);          /* side x n */
        transpose(a, b, side, n);            /* n x side */
        resample(p->c[c], side, a, n, side);
    }
}

/* ---- noise ---- */

/* Sums of eight random bytes are as good as Gaussian. Rows of noise begin anywhere in this table:
 * drawing each number by itself costs more than all else that is done to a pixel. */
void ufi_noise_table(float table[UFI_NOISE_COUNT])
{
    ufi_random r = ufi_random_of(0, 0);
    for (size_t i = 0; i < UFI_NOISE_COUNT; i++) {
        const uint64_t bytes = ufi_random_next(&r);
        int sum = 0;
        for (int k = 0; k < 8; k++)
            sum += (int)(bytes >> 8 * k & 0xFF);
        table[i] = ((float)sum - 1020.0f) / 209.02f;
    }
}

static void add_noise(float *restrict to, const float *restrict gray, const float *restrict colour,
                      size_t count, float shared, float own)
{
    for (size_t x = 0; x < count; x++)
        to[x] += (shared * gray[x] + own * colour[x]) * (1.2f - to[x] * 0.0016f);
}

/* Each channel has noise of its own and some that all share; dark parts have a little more. */
void ufi_vary_noise(ufi_planes *p, const ufi_variation *v, const float *table)
{
    ufi_random r = ufi_random_of(v->key, UFI_DRAW_NOISE_ROWS);
    const float own = v->noise * v->noise_colour;
    const float shared = v->noise * sqrtf(1 - v->noise_colour * v->noise_colour);
    const size_t piece = p->side < UFI_NOISE_COUNT / 2 ? p->side : UFI_NOISE_COUNT / 2;
    for (size_t y = 0; y < p->side; y++)
        for (size_t x0 = 0; x0 < p->side; x0 += piece) {
            const size_t count = p->side - x0 < piece ? p->side - x0 : piece;
            const float *gray = table + ufi_random_below(&r, UFI_NOISE_COUNT - count);
            for (int c = 0; c < 3; c++) {
                const float *colour = table + ufi_random_below(&r, UFI_NOISE_COUNT - count);
                add_noise(p->c[c] + y * p->side + x0, gray, colour, count, shared, own);
            }
        }
}
