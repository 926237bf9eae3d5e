/* transpose_f32: element by element, over shapes from 1 x 1 to longer than a block, with strides.
 */
#include "checkasm.h"

TEST(transpose_moves_every_element)
{
    for (int round = 0; round < 200; round++) {
        size_t rows = ca_range(1, 70), cols = ca_range(1, 70);
        size_t in_stride = cols + ca_range(0, 3), out_stride = rows + ca_range(0, 3);
        size_t in_count = (rows - 1) * in_stride + cols, out_count = (cols - 1) * out_stride + rows;
        float *in = ca_random_floats(in_count), *want = ca_output_floats(out_count);
        for (size_t r = 0; r < rows; r++)
            for (size_t c = 0; c < cols; c++)
                want[c * out_stride + r] = in[r * in_stride + c];
        for (size_t t = 0; t < ca_table_count(); t++) {
            float *got = ca_output_floats(out_count);
            ca_table(t)->transpose_f32(got, out_stride, in, in_stride, rows, cols);
            ca_check(ca_table(t)->transpose_f32_name, got, want, NULL, out_count);
        }
        ca_release();
    }
}

BENCH(transpose)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        float *in = ca_random_floats(6400 * 64), *out = ca_output_floats(6400 * 64);
        CA_TIME(seconds, ca_table(t)->transpose_f32(out, 6400, in, 64, 6400, 64));
        ca_report(ca_table(t)->transpose_f32_name, "6400 x 64", seconds, 6400 * 64 * 8, "GB/s");
        ca_release();
    }
}

CA_MAIN
