/* Arithmetic of single vectors, sums in double. Private to the room. */
#ifndef UFI_TRAIN_VECTOR_H
#define UFI_TRAIN_VECTOR_H

#include <math.h>
#include <stddef.h>

/* Longest embedding that losses take. */
enum { UFI_MAX_VECTOR = 2048 };

static inline double ufi_dot(const float *a, const float *b, size_t d)
{
    /* Four sums: they need not wait for each other. */
    double s[4] = {0, 0, 0, 0};
    size_t k = 0;
    for (; k + 4 <= d; k += 4)
        for (size_t u = 0; u < 4; u++)
            s[u] += (double)a[k + u] * (double)b[k + u];
    for (; k < d; k++)
        s[0] += (double)a[k] * (double)b[k];
    return s[0] + s[1] + s[2] + s[3];
}

/* 1 / |v|; 0 for a vector of zeros. */
static inline double ufi_inverse_norm(const float *v, size_t d)
{
    const double n = sqrt(ufi_dot(v, v, d));
    return n > 1e-20 ? 1 / n : 0;
}

/* grad += factor * (g - (g . unit) unit): what a gradient of the unit vector is before it was
 * normalised, with factor = weight / |v|. */
static inline void ufi_add_unit_grad(const float *g, const float *unit, size_t d, double factor,
                                     float *grad)
{
    const double along = ufi_dot(g, unit, d);
    for (size_t k = 0; k < d; k++)
        grad[k] += (float)(factor * ((double)g[k] - along * (double)unit[k]));
}

#endif
