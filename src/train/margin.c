/* Losses of persons: softmax with a margin, unified cross-entropy, triplets. */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "dnnl.h"
#include "train/loss.h"
#include "train/vector.h"

enum { CENTRES_AT_ONCE = 16 };

static void normalise(const float *v, size_t n, size_t d, float *unit, float *inverse)
{
    for (size_t i = 0; i < n; i++) {
        inverse[i] = (float)ufi_inverse_norm(v + i * d, d);
        for (size_t k = 0; k < d; k++)
            unit[i * d + k] = v[i * d + k] * inverse[i];
    }
}

/* The cosine of the right person with the margin, and its derivative by the cosine. */
static double with_margin(const ufi_margin *m, double cosine, double *slope)
{
    *slope = 1;
    if (m->kind != UFI_MARGIN_ARCFACE)
        return cosine - m->margin;
    const double c = fmin(fmax(cosine, -1 + 1e-7), 1 - 1e-7), sine = sqrt(1 - c * c);
    /* Beyond pi - margin cos(angle + margin) would rise again: a line goes on instead. */
    if (c < -cos(m->margin))
        return c - m->margin * sin(m->margin);
    *slope = cos(m->margin) + sin(m->margin) * c / sine;
    return c * cos(m->margin) - sine * sin(m->margin);
}

/* Softmax cross-entropy of a row of cosines; turns them into gradients by the cosines. */
static double softmax_row(const ufi_margin *m, float *row, size_t classes, int32_t label,
                          double factor)
{
    double slope, most = -1e30, sum = 0, loss = 0;
    row[label] = (float)with_margin(m, (double)row[label], &slope);
    for (size_t c = 0; c < classes; c++)
        most = fmax(most, m->scale * (double)row[c]);
    for (size_t c = 0; c < classes; c++)
        sum += exp(m->scale * (double)row[c] - most);
    const double off = classes > 1 ? m->smoothing / (double)(classes - 1) : 0;
    for (size_t c = 0; c < classes; c++) {
        const double log_p = m->scale * (double)row[c] - most - log(sum);
        const double target = c == (size_t)label ? 1 - m->smoothing : off;
        if (target > 0)
            loss -= target * log_p;
        row[c] = (float)(factor * m->scale * (exp(log_p) - target));
    }
    row[label] *= (float)slope;
    return loss;
}

static double softplus(double x)
{
    return x > 30 ? x : log1p(exp(x));
}

/* log(1 + e^(bias - s (cos - margin))) + negative * sum over others of log(1 + e^(s cos - bias)) */
static double unified_row(const ufi_margin *m, float *row, size_t classes, int32_t label,
                          double bias, double factor, double *bias_grad)
{
    double loss = 0;
    for (size_t c = 0; c < classes; c++) {
        const bool right = c == (size_t)label;
        const double x = right ? bias - m->scale * ((double)row[c] - m->margin)
                               : m->scale * (double)row[c] - bias;
        const double w = right ? 1 : m->negative, p = w / (1 + exp(-x));
        loss += w * softplus(x);
        row[c] = (float)(factor * m->scale * (right ? -p : p));
        *bias_grad += factor * (right ? p : -p);
    }
    return loss;
}

double ufi_loss_margin(const ufi_margin *m, const float *student, const int32_t *labels, size_t n,
                       size_t d, const float *centres, const float *bias, size_t classes,
                       double weight, float *work, float *grad, float *centres_grad,
                       float *bias_grad)
{
    const dnnl_dim_t rows = (dnnl_dim_t)n, cols = (dnnl_dim_t)classes, inner = (dnnl_dim_t)d;
    float *cosines = work, *unit = cosines + n * classes, *inverse = unit + n * d;
    float *centre_unit = inverse + n, *centre_inverse = centre_unit + classes * d;
    float *unit_grad = centre_inverse + classes;
    size_t known = 0;
    double loss = 0, bias_sum = 0;
    for (size_t i = 0; i < n; i++)
        known += labels[i] >= 0 && (size_t)labels[i] < classes;
    if (!known)
        return 0;
    const double factor = weight / (double)known;
    normalise(student, n, d, unit, inverse);
    normalise(centres, classes, d, centre_unit, centre_inverse);
    dnnl_sgemm('N', 'T', rows, cols, inner, 1, unit, inner, centre_unit, inner, 0, cosines, cols);
    for (size_t i = 0; i < n; i++) {
        float *row = cosines + i * classes;
        if (labels[i] < 0 || (size_t)labels[i] >= classes)
            memset(row, 0, classes * sizeof *row);
        else if (m->kind == UFI_MARGIN_UNIFIED)
            loss += unified_row(m, row, classes, labels[i], (double)*bias, factor, &bias_sum);
        else
            loss += softmax_row(m, row, classes, labels[i], factor);
    }
    if (bias_grad)
        *bias_grad += (float)bias_sum;
    /* Through the cosines to both sides' unit vectors, then through their normalisation. */
    dnnl_sgemm('N', 'N', rows, inner, cols, 1, cosines, cols, centre_unit, inner, 0, unit_grad,
               inner);
    for (size_t i = 0; i < n; i++)
        ufi_add_unit_grad(unit_grad + i * d, unit + i * d, d, (double)inverse[i], grad + i * d);
    for (size_t c = 0; c < classes; c += CENTRES_AT_ONCE) {
        float g[CENTRES_AT_ONCE * UFI_MAX_VECTOR];
        const size_t some = classes - c < CENTRES_AT_ONCE ? classes - c : CENTRES_AT_ONCE;
        dnnl_sgemm('T', 'N', (dnnl_dim_t)some, inner, rows, 1, cosines + c, cols, unit, inner, 0, g,
                   inner);
        for (size_t k = 0; k < some; k++)
            ufi_add_unit_grad(g + k * d, centre_unit + (c + k) * d, d,
                              (double)centre_inverse[c + k], centres_grad + (c + k) * d);
    }
    return loss / (double)known;
}

/* ---- triplets ---- */

/* The farthest of the same person and the nearest of another; false when there is no such pair. */
static bool hardest(const float *unit, const int32_t *labels, size_t n, size_t d, size_t i,
                    size_t *same, size_t *other)
{
    double least = 2, most = -2;
    *same = *other = n;
    for (size_t j = 0; j < n; j++) {
        if (j == i || labels[j] < 0)
            continue;
        const double cosine = ufi_dot(unit + i * d, unit + j * d, d);
        if (labels[j] == labels[i] && cosine < least) {
            least = cosine;
            *same = j;
        } else if (labels[j] != labels[i] && cosine > most) {
            most = cosine;
            *other = j;
        }
    }
    return *same < n && *other < n;
}

double ufi_loss_triplet(const float *student, const int32_t *labels, size_t n, size_t d,
                        double margin, double weight, float *work, float *grad)
{
    float *unit = work, *inverse = unit + n * d;
    size_t triplets = 0, same, other;
    double loss = 0;
    normalise(student, n, d, unit, inverse);
    for (size_t i = 0; i < n; i++)
        triplets += labels[i] >= 0 && hardest(unit, labels, n, d, i, &same, &other);
    for (size_t i = 0; triplets && i < n; i++) {
        if (labels[i] < 0 || !hardest(unit, labels, n, d, i, &same, &other))
            continue;
        const float *a = unit + i * d, *p = unit + same * d, *q = unit + other * d;
        /* |a - p|^2 - |a - q|^2 = 2 (a.q - a.p) for unit vectors */
        const double over = 2 * (ufi_dot(a, q, d) - ufi_dot(a, p, d)) + margin;
        float g[3][UFI_MAX_VECTOR];
        if (over <= 0)
            continue;
        loss += over;
        for (size_t k = 0; k < d; k++) {
            g[0][k] = 2 * (q[k] - p[k]);
            g[1][k] = -2 * a[k];
            g[2][k] = 2 * a[k];
        }
        const size_t at[3] = {i, same, other};
        for (int v = 0; v < 3; v++)
            ufi_add_unit_grad(g[v], unit + at[v] * d, d,
                              weight / (double)triplets * (double)inverse[at[v]], grad + at[v] * d);
    }
    return triplets ? loss / (double)triplets : 0;
}
