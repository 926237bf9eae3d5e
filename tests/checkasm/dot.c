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

/* Codes and probes at random, bounds that some, none or all of the pairs reach. */
static ufk_dot_many_args random_crowd(size_t count, size_t n)
{
    int8_t *probes = ca_alloc(n * UFK_DOT_PROBES, 4), *codes = ca_alloc(count * n, 1);
    float *steps = ca_random_floats(count), *bounds = ca_random_floats(UFK_DOT_PROBES);
    for (size_t k = 0; k < n * UFK_DOT_PROBES; k++)
        probes[k] = (int8_t)(ca_range(0, 254) - 127);
    for (size_t k = 0; k < count * n; k++)
        codes[k] = (int8_t)(ca_range(0, 254) - 127);
    for (size_t p = 0; p < UFK_DOT_PROBES; p++)
        bounds[p] = p == 3 ? INFINITY : p == 7 ? -INFINITY : bounds[p] * 200000;
    return (ufk_dot_many_args){
        .probes = probes, .codes = codes, .count = count, .n = n, .steps = steps, .bounds = bounds};
}

/* As the reference has them. */
static int by_place(const void *a, const void *b)
{
    const ufk_near *x = a, *y = b;
    const uint32_t left = x->code * UFK_DOT_PROBES + x->probe,
                   right = y->code * UFK_DOT_PROBES + y->probe;
    return (left > right) - (left < right);
}

TEST(dot_many_i8_matches_reference)
{
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t n = 64; n <= 1024; n += n < 256 ? 64 : 256) {
            ufk_dot_many_args a = random_crowd(ca_range(1, 8) * 32, n);
            ufk_near *want = ca_alloc(a.count * UFK_DOT_PROBES * sizeof *want, 4);
            ufk_near *got = ca_alloc(a.count * UFK_DOT_PROBES * sizeof *got, 4);
            a.out = want;
            const size_t wanted = ca_table(0)->dot_many_i8(&a);
            a.out = got;
            const size_t found = ca_table(t)->dot_many_i8(&a);
            CHECK(wanted > a.count && wanted < a.count * (UFK_DOT_PROBES - 1));
            CHECK_MSG(found == wanted, "%s: %zu pairs, want %zu", ca_table(t)->dot_many_name, found,
                      wanted);
            qsort(got, found, sizeof *got, by_place);
            if (found == wanted)
                ca_check_bytes(ca_table(t)->dot_many_name, got, want, wanted * sizeof *want);
            ca_release();
        }
}

TEST(dot_many_i8_packs_probes)
{
    enum { N = 64 };
    ufk_dot_many_args a = random_crowd(32, N);
    int8_t *packed = ca_alloc(N * UFK_DOT_PROBES, 4);
    const int8_t **probes = random_codes(N, false);
    float bounds[UFK_DOT_PROBES];
    memset(packed, 0, N * UFK_DOT_PROBES);
    for (size_t p = 0; p < UFK_DOT_PROBES; p++)
        bounds[p] = p == 5 || p == 63 ? -INFINITY : INFINITY;
    ufk_dot_many_pack(packed, 5, probes[0], N);
    ufk_dot_many_pack(packed, 63, probes[1], N);
    a.probes = packed;
    a.bounds = bounds;
    a.out = ca_alloc(32 * UFK_DOT_PROBES * sizeof *a.out, 4);
    REQUIRE(ca_table(0)->dot_many_i8(&a) == 64);
    for (size_t i = 0; i < 64; i++) {
        const int8_t *code = a.codes + i / 2 * N;
        int32_t sum;
        ca_table(0)->dot_i8(&sum, probes[i % 2], &code, 1, N);
        CHECK(a.out[i].code == i / 2 && a.out[i].probe == (i % 2 ? 63 : 5) && a.out[i].sum == sum);
    }
    ca_release();
}

BENCH(dot_many_i8)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        ufk_dot_many_args a = random_crowd(UFK_DOT_CODES, 512);
        float bounds[UFK_DOT_PROBES];
        for (size_t p = 0; p < UFK_DOT_PROBES; p++)
            bounds[p] = INFINITY;
        a.bounds = bounds;
        size_t count = 0;
        CA_TIME(seconds, count += ca_table(t)->dot_many_i8(&a));
        CHECK(count == 0);
        ca_report(ca_table(t)->dot_many_name, "64 x 256 x 512", seconds,
                  (double)UFK_DOT_CODES * UFK_DOT_PROBES * 512, "GMAC/s");
        ca_release();
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
