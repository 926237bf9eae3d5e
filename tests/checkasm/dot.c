/* dot_f32: within gamma(count) * sum |a b| of the sum in double, for every variant. */
#include "checkasm.h"

TEST(dot_is_within_its_bound)
{
    for (size_t count = 0; count <= 600; count += count < 70 ? 1 : 53) {
        float *a = ca_random_floats(count), *b = ca_random_floats(count);
        double sum = 0, size = 0;
        for (size_t i = 0; i < count; i++) {
            sum += (double)a[i] * (double)b[i];
            size += fabs((double)a[i] * (double)b[i]);
        }
        for (size_t t = 0; t < ca_table_count(); t++) {
            double got = (double)ca_table(t)->dot_f32(a, b, count);
            CHECK_MSG(fabs(got - sum) <= ca_gamma((double)count + 1) * size,
                      "%s of %zu: %g, want %g", ca_table(t)->dot_f32_name, count, got, sum);
        }
        ca_release();
    }
}

BENCH(dot)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        float *a = ca_random_floats(512), *b = ca_random_floats(512);
        float sum = 0;
        CA_TIME(seconds, sum += ca_table(t)->dot_f32(a, b, 512));
        CHECK(isfinite(sum)); /* and keeps the calls */
        ca_report(ca_table(t)->dot_f32_name, "512", seconds, 512, "GMAC/s");
        ca_release();
    }
}

CA_MAIN
