/* dot_f32: within gamma(count) * sum |a b| of the sum in double, for every variant. dot_i8: exact.
 */
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

enum { CODES = 11 };

static const int8_t **random_codes(size_t n, bool extreme)
{
    const int8_t **codes = ca_alloc(CODES * sizeof *codes, sizeof *codes);
    for (size_t i = 0; i < CODES; i++) {
        int8_t *c = ca_alloc(n, 1);
        for (size_t k = 0; k < n; k++)
            c[k] =
                extreme ? (int8_t)(ca_range(0, 1) ? 127 : -127) : (int8_t)(ca_range(0, 254) - 127);
        codes[i] = c;
    }
    return codes;
}

TEST(dot_i8_matches_reference)
{
    for (size_t t = 1; t < ca_table_count(); t++) {
        for (size_t n = 32; n <= 1024; n += n < 160 ? 32 : 288) {
            for (int extreme = 0; extreme < 2; extreme++) {
                const int8_t **codes = random_codes(n, extreme);
                const int8_t *probe = random_codes(n, extreme)[0];
                for (size_t count = 0; count <= CODES; count += 5) {
                    int32_t *got = ca_alloc(count * 4, 4), *want = ca_alloc(count * 4, 4);
                    ca_table(0)->dot_i8(want, probe, codes, count, n);
                    ca_table(t)->dot_i8(got, probe, codes, count, n);
                    ca_check_bytes(ca_table(t)->dot_i8_name, got, want, count * 4);
                }
                ca_release();
            }
        }
    }
}

BENCH(dot_i8)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        const int8_t **codes = random_codes(512, false);
        int32_t out[CODES];
        CA_TIME(seconds, ca_table(t)->dot_i8(out, codes[0], codes, CODES, 512));
        ca_report(ca_table(t)->dot_i8_name, "11 x 512", seconds, CODES * 512, "GMAC/s");
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
