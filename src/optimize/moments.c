/* Means and covariances of channels. */
#include "optimize/moments.h"

#include "base/mem.h"
#include "optimize/watch.h"

enum { PIXELS = 64 }; /* of each sample and value */

static uf_status make_room(ufi_moments *m, size_t channels, uf_error *err)
{
    if (m->channels)
        return UF_OK;
    m->mean = ufi_calloc(channels, sizeof *m->mean);
    m->covariance = ufi_calloc(channels * channels, sizeof *m->covariance);
    if (!m->mean || !m->covariance)
        return ufi_fail(err, UF_E_NOMEM, "no memory for statistics of %zu channels", channels);
    m->channels = channels;
    return UF_OK;
}

static void take_pixel(ufi_moments *m, const float *x, size_t stride)
{
    for (size_t a = 0; a < m->channels; a++) {
        const double xa = (double)x[a * stride];
        double *row = m->covariance + a * m->channels;
        m->mean[a] += xa;
        for (size_t b = 0; b <= a; b++)
            row[b] += xa * (double)x[b * stride];
    }
    m->count++;
}

static uf_status take_tensor(void *arg, uint32_t v, const ufi_tensor *t, size_t sample,
                             uf_error *err)
{
    ufi_moments *m = (ufi_moments *)arg + v;
    if (t->shape.rank != 4)
        return UF_OK;
    const size_t channels = (size_t)t->shape.dims[1];
    const size_t pixels = (size_t)(t->shape.dims[2] * t->shape.dims[3]);
    const size_t step = pixels > PIXELS ? pixels / PIXELS : 1;
    const bool last = t->layout == UFI_NHWC;
    uf_status st = make_room(m, channels, err);
    for (size_t p = sample % step; !st && p < pixels; p += step)
        take_pixel(m, (const float *)t->data + (last ? p * channels : p), last ? 1 : pixels);
    return st;
}

/* Sums become means and covariances; the upper half is filled. */
static void finish(ufi_moments *m)
{
    const double n = (double)m->count;
    for (size_t a = 0; a < m->channels; a++)
        m->mean[a] /= n;
    for (size_t a = 0; a < m->channels; a++)
        for (size_t b = 0; b <= a; b++) {
            double *c = &m->covariance[a * m->channels + b];
            *c = *c / n - m->mean[a] * m->mean[b];
            m->covariance[b * m->channels + a] = *c;
        }
}

uf_status ufi_moments_collect(ufi_moments *moments, const bool *wanted, const ufi_judge *judge,
                              uf_error *err)
{
    const uint32_t values = judge->g->value_count;
    uf_status st = ufi_watch(judge, wanted, take_tensor, moments, err);
    for (uint32_t v = 0; !st && v < values; v++)
        if (moments[v].channels)
            finish(&moments[v]);
    if (st)
        ufi_moments_free(moments, values);
    return st;
}

void ufi_moments_free(ufi_moments *moments, uint32_t count)
{
    for (uint32_t v = 0; v < count; v++) {
        ufi_free(moments[v].mean);
        ufi_free(moments[v].covariance);
        moments[v] = (ufi_moments){0};
    }
}
