/*
 * Rows. Every variant, the reference too, is compared with the definition in double. A sum of n is
 * within gamma(n) of the sum of magnitudes. Of a normalisation: the mean is off by d = gamma(n) *
 * mean |x|, which moves each difference by d and the variance by d^2; the deviation has the error
 * of a sum of squares, gamma(n + 10) of itself.
 */
#include "checkasm.h"

#define U 0x1p-24

TEST(row_sum_is_within_its_bound)
{
    for (int round = 0; round < 300; round++) {
        size_t rows = ca_range(1, 7), cols = round % 20 ? ca_range(1, 150) : ca_range(500, 3000);
        const bool squares = round % 2;
        float *in = ca_random_floats(rows * cols), *want = ca_output_floats(rows);
        double *bound = ca_alloc(rows * sizeof *bound, 8);
        for (size_t r = 0; r < rows; r++) {
            double sum = 0, size = 0;
            for (size_t c = 0; c < cols; c++) {
                double v = (double)in[r * cols + c];
                sum += squares ? v * v : v;
                size += squares ? v * v : fabs(v);
            }
            want[r] = (float)sum;
            bound[r] = ca_gamma((double)cols + 2) * size;
        }
        for (size_t t = 0; t < ca_table_count(); t++) {
            float *got = ca_output_floats(rows);
            ca_table(t)->row_sum_f32(got, in, rows, cols, squares);
            ca_check(ca_table(t)->rows_f32_name, got, want, bound, rows);
        }
        ca_release();
    }
}

static void exact_row(const float *in, size_t cols, const float *scale, const float *shift,
                      double epsilon, float *want, double *bound)
{
    double mean = 0, size = 0, square = 0;
    for (size_t c = 0; c < cols; c++) {
        mean += (double)in[c] / (double)cols;
        size += fabs((double)in[c]) / (double)cols;
    }
    for (size_t c = 0; c < cols; c++)
        square += ((double)in[c] - mean) * ((double)in[c] - mean) / (double)cols;
    const double inverse = 1 / sqrt(square + epsilon), d = ca_gamma((double)cols + 2) * size;
    const double relative = ca_gamma((double)cols + 10) + d * inverse * d * inverse;
    for (size_t c = 0; c < cols; c++) {
        double v = ((double)in[c] - mean) * inverse * (double)scale[c];
        double s = shift ? (double)shift[c] : 0, step = inverse * fabs((double)scale[c]);
        want[c] = (float)(v + s);
        bound[c] = step * (d + 2 * U * (fabs((double)in[c]) + size)) + fabs(v) * relative +
                   3 * U * (fabs(v) + fabs(s));
    }
}

TEST(layer_norm_is_within_its_bound)
{
    for (int round = 0; round < 300; round++) {
        size_t rows = ca_range(1, 5), cols = round % 20 ? ca_range(1, 150) : ca_range(500, 1500);
        size_t count = rows * cols;
        const float epsilon = round % 3 ? 1e-6f : 1e-5f;
        float *in = ca_random_floats(count), *want = ca_output_floats(count);
        float *scale = ca_random_floats(cols), *shift = round % 4 ? ca_random_floats(cols) : NULL;
        double *bound = ca_alloc(count * sizeof *bound, 8);
        for (size_t i = 0; i < count; i++)
            in[i] = in[i] * 3 + (round % 5 ? 0.5f : 20.0f); /* a mean that is large, too */
        for (size_t r = 0; r < rows; r++)
            exact_row(in + r * cols, cols, scale, shift, (double)epsilon, want + r * cols,
                      bound + r * cols);
        for (size_t t = 0; t < ca_table_count(); t++) {
            float *got = ca_output_floats(count);
            memcpy(got, in, count * sizeof *in);
            ca_table(t)->layer_norm_f32(got, round % 2 ? got : in, rows, cols, scale, shift,
                                        epsilon);
            ca_check(ca_table(t)->rows_f32_name, got, want, bound, count);
        }
        ca_release();
    }
}

TEST(rows_of_one_value_are_its_shift)
{
    const float scale[3] = {1, 2, 3}, shift[3] = {0.5f, -1, 7};
    for (size_t t = 0; t < ca_table_count(); t++) {
        float out[3], in[3] = {4, 4, 4};
        ca_table(t)->layer_norm_f32(out, in, 1, 3, scale, shift, 1e-5f);
        CHECK(out[0] == 0.5f && out[1] == -1 && out[2] == 7);
    }
}

BENCH(rows)
{
    enum { ROWS = 784, COLS = 160 };
    for (size_t t = 0; t < ca_table_count(); t++) {
        const ufk_table *k = ca_table(t);
        float *in = ca_random_floats(ROWS * COLS), *out = ca_output_floats(ROWS * COLS);
        float *scale = ca_random_floats(COLS);
        CA_TIME(norm, k->layer_norm_f32(out, in, ROWS, COLS, scale, scale, 1e-5f));
        ca_report(k->rows_f32_name, "layer norm 784 x 160", norm, ROWS * COLS, "Gelem/s");
        CA_TIME(sum, k->row_sum_f32(out, in, ROWS, COLS, false));
        ca_report(k->rows_f32_name, "sum 784 x 160", sum, ROWS * COLS, "Gelem/s");
        ca_release();
    }
}

CA_MAIN
