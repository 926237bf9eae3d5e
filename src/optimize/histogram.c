/* Histograms of activations and the choice of a range. */
#include "optimize/histogram.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

enum { BINS = UFI_HISTOGRAM_BINS, LEVELS = 256, STEPS = 24 /* candidates for each end */ };

/* Makes the bins twice as wide until `size` fits. */
static void widen(ufi_histogram *h, float size)
{
    if (h->limit == 0) /* exact: zero stands for "empty" */
        h->limit = size > 0 ? size * 1.0001f : 1e-6f;
    while (h->limit <= size) {
        uint64_t merged[BINS] = {0};
        for (int i = 0; i < BINS; i++)
            merged[BINS / 4 + i / 2] += h->bins[i];
        memcpy(h->bins, merged, sizeof merged);
        h->limit *= 2;
    }
}

void ufi_histogram_add(ufi_histogram *h, const float *values, size_t count)
{
    float lo = h->lo, hi = h->hi;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            continue;
        lo = values[i] < lo ? values[i] : lo;
        hi = values[i] > hi ? values[i] : hi;
    }
    h->lo = lo;
    h->hi = hi;
    widen(h, fmaxf(-lo, hi));
    const float scale = BINS / (2 * h->limit);
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(values[i]))
            continue;
        h->bins[(int)((values[i] + h->limit) * scale)]++;
        h->count++;
    }
}

static float bin_centre(const ufi_histogram *h, int i)
{
    return ((float)i + 0.5f) * 2 * h->limit / BINS - h->limit;
}

/* ---- methods ---- */

static void percentile(const ufi_histogram *h, float *lo, float *hi)
{
    const uint64_t outside = h->count / 10000;
    uint64_t below = 0, above = 0;
    int first = 0, last = BINS - 1;
    while (first < BINS - 1 && below + h->bins[first] <= outside)
        below += h->bins[first++];
    while (last > first && above + h->bins[last] <= outside)
        above += h->bins[last--];
    *lo = fmaxf(*lo, bin_centre(h, first));
    *hi = fminf(*hi, bin_centre(h, last));
}

/* Squared error of rounding within lo..hi and of cutting off what is outside. */
static double squared_error(const ufi_histogram *h, float lo, float hi)
{
    const double step = (double)(hi - lo) / (LEVELS - 1), rounding = step * step / 12;
    double sum = 0;
    for (int i = 0; i < BINS; i++) {
        if (!h->bins[i])
            continue;
        const double x = (double)bin_centre(h, i);
        double error = x < (double)lo ? (double)lo - x : x > (double)hi ? x - (double)hi : 0;
        sum += (double)h->bins[i] * (error * error + rounding);
    }
    return sum;
}

/* Divergence of the distribution from what 256 levels between lo and hi keep of it. */
static double divergence(const ufi_histogram *h, float lo, float hi)
{
    double level[LEVELS] = {0}, kept = 0, sum = 0;
    int filled[LEVELS] = {0};
    const double step = (double)(hi - lo) / LEVELS;
    for (int i = 0; i < BINS; i++) {
        if (!h->bins[i])
            continue;
        int l = (int)(((double)bin_centre(h, i) - (double)lo) / step);
        l = l < 0 ? 0 : l >= LEVELS ? LEVELS - 1 : l;
        bool inside = bin_centre(h, i) >= lo && bin_centre(h, i) <= hi;
        filled[l]++;
        if (inside) {
            level[l] += (double)h->bins[i];
            kept += (double)h->bins[i];
        }
    }
    for (int i = 0; i < BINS; i++) {
        if (!h->bins[i])
            continue;
        int l = (int)(((double)bin_centre(h, i) - (double)lo) / step);
        l = l < 0 ? 0 : l >= LEVELS ? LEVELS - 1 : l;
        const double p = (double)h->bins[i] / (double)h->count;
        const double q = kept > 0 ? level[l] / filled[l] / kept : 0;
        sum += p * log(p / (q > 1e-12 ? q : 1e-12));
    }
    return sum;
}

/* Tries to draw in both ends and takes the best. */
static void search(const ufi_histogram *h, double (*cost)(const ufi_histogram *, float, float),
                   float *lo, float *hi)
{
    const float full_lo = *lo, full_hi = *hi;
    double best = INFINITY;
    for (int i = 0; i < STEPS; i++)
        for (int k = 0; k < STEPS; k++) {
            if ((full_lo == 0 && i) || (full_hi == 0 && k)) /* exact: an end that is not there */
                continue;
            const float l = full_lo * (1 - 0.9f * (float)i / STEPS);
            const float u = full_hi * (1 - 0.9f * (float)k / STEPS);
            const double c = cost(h, l, u);
            if (c < best) {
                best = c;
                *lo = l;
                *hi = u;
            }
        }
}

void ufi_histogram_range(const ufi_histogram *h, ufi_range_method method, float *lo, float *hi)
{
    *lo = fminf(h->lo, 0);
    *hi = fmaxf(h->hi, 0);
    if (!h->count || *hi - *lo < 1e-12f) {
        *hi = *lo + 1e-6f;
        return;
    }
    if (method == UFI_RANGE_PERCENTILE)
        percentile(h, lo, hi);
    else if (method == UFI_RANGE_MSE)
        search(h, squared_error, lo, hi);
    else if (method == UFI_RANGE_ENTROPY)
        search(h, divergence, lo, hi);
    *lo = fminf(*lo, 0);
    *hi = fmaxf(*hi, 0);
    if (*hi - *lo < 1e-12f)
        *hi = *lo + 1e-6f;
}
