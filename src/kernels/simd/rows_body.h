/*
 * Rows of a matrix over vec.h. Included once by each <isa>. Variances are of differences from the
 * mean, in a second pass over a row that is in the first-level cache by then: sums of squares less
 * the square of the sum would cancel.
 */
#include <math.h>

#include "kernels/simd/vec.h"
#include "kernels/topics.h"

/* Sum of in[c] - minus, or of its squares, in four chains. */
V_INLINE float row_total(const float *in, size_t cols, float minus, const bool squares)
{
    const vec m = v_set(minus);
    vec sum[4] = {v_set(0.0f), v_set(0.0f), v_set(0.0f), v_set(0.0f)};
    size_t c = 0;
    for (; c + 4 * LANES <= cols; c += 4 * LANES)
        for (size_t k = 0; k < 4; k++) {
            vec v = v_sub(v_load(in + c + k * LANES), m);
            sum[k] = squares ? v_fma(v, v, sum[k]) : v_add(sum[k], v);
        }
    for (; c + LANES <= cols; c += LANES) {
        vec v = v_sub(v_load(in + c), m);
        sum[0] = squares ? v_fma(v, v, sum[0]) : v_add(sum[0], v);
    }
    float total = v_sum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
    for (; c < cols; c++) {
        float v = in[c] - minus;
        total += squares ? v * v : v;
    }
    return total;
}

static void V_ISA(ufk_row_sum_f32)(float *out, const float *in, size_t rows, size_t cols,
                                   bool squares)
{
    for (size_t r = 0; r < rows; r++, in += cols)
        out[r] = squares ? row_total(in, cols, 0, true) : row_total(in, cols, 0, false);
}

static void V_ISA(ufk_layer_norm_f32)(float *out, const float *in, size_t rows, size_t cols,
                                      const float *scale, const float *shift, float epsilon)
{
    for (size_t r = 0; r < rows; r++, in += cols, out += cols) {
        const float mean = row_total(in, cols, 0, false) / (float)cols;
        const float variance = row_total(in, cols, mean, true) / (float)cols;
        const vec m = v_set(mean), inverse = v_set(1 / sqrtf(variance + epsilon));
        for (size_t c = 0; c < cols; c += LANES) {
            size_t n = cols - c;
            vec v = v_mul(v_mul(v_sub(v_get(in + c, n), m), inverse), v_get(scale + c, n));
            v_put(out + c, shift ? v_add(v, v_get(shift + c, n)) : v, n);
        }
    }
}

void V_ISA(ufk_rows_select)(ufk_table *t)
{
    t->row_sum_f32 = V_ISA(ufk_row_sum_f32);
    t->layer_norm_f32 = V_ISA(ufk_layer_norm_f32);
    t->rows_f32_name = "rows_f32_" V_NAME;
}
