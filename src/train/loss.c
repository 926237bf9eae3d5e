/* Losses of teachers: embeddings and detectors. */
#include "train/loss.h"

#include <math.h>
#include <stdbool.h>

#include "train/vector.h"

double ufi_loss_angular(const float *student, const float *teacher, size_t n, size_t d,
                        double weight, float *grad)
{
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        const float *s = student + i * d, *t = teacher + i * d;
        float *g = grad + i * d;
        const double is = ufi_inverse_norm(s, d), it = ufi_inverse_norm(t, d);
        const double cosine = ufi_dot(s, t, d) * is * it;
        const double a = -weight / (double)n * is * it, b = weight / (double)n * cosine * is * is;
        for (size_t k = 0; k < d; k++)
            g[k] += (float)(a * (double)t[k] + b * (double)s[k]);
        loss += 1 - cosine;
    }
    return loss / (double)n;
}

double ufi_loss_feature(const float *student, const float *teacher, size_t n, size_t d,
                        double weight, float *grad)
{
    double loss = 0;
    const double count = (double)(n * d);
    for (size_t i = 0; i < n * d; i++) {
        const double e = (double)student[i] - (double)teacher[i];
        loss += e * e;
        grad[i] += (float)(weight * 2 * e / count);
    }
    return loss / count;
}

double ufi_loss_relational(const float *student, size_t d, const float *teacher, size_t teacher_d,
                           size_t n, double weight, float *work, float *grad)
{
    float *e = work, *is = e + n * n, *it = is + n, *unit = it + n;
    const double pairs = n > 1 ? (double)n * (double)(n - 1) / 2 : 1;
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        is[i] = (float)ufi_inverse_norm(student + i * d, d);
        it[i] = (float)ufi_inverse_norm(teacher + i * teacher_d, teacher_d);
        for (size_t k = 0; k < d; k++)
            unit[i * d + k] = student[i * d + k] * is[i];
        e[i * n + i] = 0;
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            const double cs = ufi_dot(unit + i * d, unit + j * d, d);
            const double ct = ufi_dot(teacher + i * teacher_d, teacher + j * teacher_d, teacher_d) *
                              (double)it[i] * (double)it[j];
            loss += (cs - ct) * (cs - ct);
            e[i * n + j] = e[j * n + i] = (float)(2 * (cs - ct));
        }
    /* d/d unit_i = sum_j e_ij unit_j, then through the normalisation. */
    for (size_t i = 0; i < n; i++) {
        float g[UFI_MAX_VECTOR] = {0};
        for (size_t j = 0; j < n; j++)
            for (size_t k = 0; k < d; k++)
                g[k] += e[i * n + j] * unit[j * d + k];
        ufi_add_unit_grad(g, unit + i * d, d, weight / pairs * (double)is[i], grad + i * d);
    }
    return loss / pairs;
}

/* ---- detectors ---- */

/* In strides: what is nearer than that is near enough to be left to the square. */
#define CELL_BEND (1.0 / 9)

double ufi_loss_probability(const float *student, const float *teacher, const float *cell_weights,
                            size_t n, double rare, double weight, float *grad)
{
    double loss = 0;
    for (size_t i = 0; i < n; i++) {
        const double t = fmin(fmax((double)teacher[i], 0), 1);
        const double w = (1 + rare * t) * (cell_weights ? (double)cell_weights[i] : 1);
        const double p = fmin(fmax((double)student[i], 1e-5), 1 - 1e-5);
        loss -= w * (t * log(p) + (1 - t) * log(1 - p));
        grad[i] += (float)(weight * w * (p - t) / (p * (1 - p)));
    }
    return loss;
}

double ufi_loss_cells(const float *student, const float *teacher, const float *cell_weights,
                      size_t cells, size_t parts, double weight, float *grad)
{
    double loss = 0;
    for (size_t c = 0; c < cells; c++) {
        const double w = (double)cell_weights[c];
        for (size_t k = c * parts; w > 0 && k < (c + 1) * parts; k++) {
            const double e = (double)student[k] - (double)teacher[k], size = fabs(e);
            const bool near = size < CELL_BEND;
            loss += w * (near ? 0.5 * e * e / CELL_BEND : size - 0.5 * CELL_BEND);
            grad[k] += (float)(weight * w * (near ? e / CELL_BEND : e > 0 ? 1 : -1));
        }
    }
    return loss;
}
