/*
 * checkasm: every variant of a kernel against its C reference. A test program is one topic:
 *
 *     TEST(conv_matches_reference)
 *     {
 *         for (size_t i = 1; i < ca_table_count(); i++) {      // 0 is the C reference
 *             const ufk_table *t = ca_table(i), *c = ca_table(0);
 *             if (t->conv_f32 == c->conv_f32)
 *                 continue;
 *             float *a = ca_random_floats(count);              // guard pages on both sides
 *             float *got = ca_output_floats(count), *want = ca_output_floats(count);
 *             ... run both, then
 *             ca_check(t->conv_f32_name, got, want, bound, count);
 *             ca_release();                                    // all buffers since the last one
 *         }
 *     }
 *     BENCH(conv) { CA_TIME(seconds, t->conv_f32(&args)); ca_report(...); }
 *     CA_MAIN
 *
 * Options: --bench runs the BENCH blocks instead of the tests; a word selects by name.
 * UF_REQUIRE_ISA=avx512 makes it a failure when this machine (after UNIFACE_CPU) lacks it.
 */
#ifndef UF_TESTS_CHECKASM_H
#define UF_TESTS_CHECKASM_H

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/cpu.h"
#include "kernels/kernels.h"
#include "test.h"

/* ---- one table per generation this machine has ---- */

typedef struct ca_isa {
    const char *name;
    uint32_t flags;
} ca_isa;

static const ca_isa ca_isas[] = {
    {"c", 0},
    {"avx2", UFI_CPU_AVX2},
    {"avxvnni", UFI_CPU_AVX2 | UFI_CPU_AVXVNNI},
    {"avx512", UFI_CPU_AVX2 | UFI_CPU_AVX512},
    {"avx512vnni", UFI_CPU_AVX2 | UFI_CPU_AVX512 | UFI_CPU_AVX512VNNI},
    {"amx", UFI_CPU_AVX2 | UFI_CPU_AVX512 | UFI_CPU_AVX512VNNI | UFI_CPU_AVX512BF16 | UFI_CPU_AMX},
    {"neon", UFI_CPU_NEON},
    {"dotprod", UFI_CPU_NEON | UFI_CPU_DOTPROD},
    {"i8mm", UFI_CPU_NEON | UFI_CPU_DOTPROD | UFI_CPU_I8MM},
};
enum { CA_ISA_COUNT = sizeof ca_isas / sizeof ca_isas[0] };

static ufk_table ca_tables[CA_ISA_COUNT];
static const char *ca_table_names[CA_ISA_COUNT];
static size_t ca_tables_made;

static inline size_t ca_table_count(void)
{
    const uint32_t have = ufi_cpu_flags();
    if (ca_tables_made)
        return ca_tables_made;
    for (size_t i = 0; i < CA_ISA_COUNT; i++) {
        if ((ca_isas[i].flags & have) != ca_isas[i].flags)
            continue;
        ufk_table_init(&ca_tables[ca_tables_made], ca_isas[i].flags);
        ca_table_names[ca_tables_made++] = ca_isas[i].name;
    }
    return ca_tables_made;
}

/* Table 0 is the C reference. */
static inline const ufk_table *ca_table(size_t i)
{
    return i < ca_table_count() ? &ca_tables[i] : NULL;
}

static inline const char *ca_table_name(size_t i)
{
    return i < ca_table_count() ? ca_table_names[i] : NULL;
}

TEST(required_isa_is_present)
{
    const char *required = getenv("UF_REQUIRE_ISA");
    bool found = !required || !*required;
    for (size_t i = 0; i < ca_table_count(); i++)
        found = found || !strcmp(ca_table_name(i), required);
    CHECK_MSG(found, "UF_REQUIRE_ISA=%s, but this machine or UNIFACE_CPU has no such kernels",
              required);
}

/* ---- random numbers: one stream per program, printed on failure through the seed ---- */

static uint64_t ca_seed = 0x243F6A8885A308D3u;

/* Uniform in lo..hi, both included. */
static inline size_t ca_range(size_t lo, size_t hi)
{
    return lo + (size_t)(test_random(&ca_seed) % (hi - lo + 1));
}

static inline float ca_float(void)
{
    return test_random_float(&ca_seed);
}

/* ---- buffers with guard pages ---- */

enum { CA_BUFFER_MAX = 64 };
static struct {
    void *map;
    size_t size;
} ca_buffers[CA_BUFFER_MAX];
static size_t ca_buffer_count;

/* `bytes` between two PROT_NONE pages. The block touches one of them: its end touches the page
 * behind it, or its start the page before it, by turns, rounded to `align` (a power of two; 1, 2
 * or 4 make every misalignment occur). Zeroed. Lives until ca_release. */
static inline void *ca_alloc(size_t bytes, size_t align)
{
    static unsigned turn;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t inner = (bytes + page) / page * page;
    if (ca_buffer_count == CA_BUFFER_MAX) {
        fprintf(stderr, "checkasm: call ca_release between cases\n");
        abort();
    }
    char *map =
        mmap(NULL, inner + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map, page, PROT_NONE) ||
        mprotect(map + page + inner, page, PROT_NONE)) {
        fprintf(stderr, "checkasm: mmap of %zu bytes failed\n", bytes);
        abort();
    }
    ca_buffers[ca_buffer_count].map = map;
    ca_buffers[ca_buffer_count++].size = inner + 2 * page;
    return turn++ % 2 ? map + page : map + page + ((inner - bytes) & ~(align - 1));
}

static inline void ca_release(void)
{
    while (ca_buffer_count) {
        ca_buffer_count--;
        munmap(ca_buffers[ca_buffer_count].map, ca_buffers[ca_buffer_count].size);
    }
}

/* Uniform in -1..1, 4-byte aligned only. */
static inline float *ca_random_floats(size_t count)
{
    float *p = ca_alloc(count * sizeof *p, sizeof *p);
    for (size_t i = 0; i < count; i++)
        p[i] = ca_float();
    return p;
}

static inline uint8_t *ca_random_bytes(size_t count)
{
    uint8_t *p = ca_alloc(count, 1);
    for (size_t i = 0; i < count; i++)
        p[i] = (uint8_t)(test_random(&ca_seed) >> 32);
    return p;
}

/* What an output buffer holds before the call: a quiet NaN with a mark, so that an element that is
 * forgotten, or written though it is none of the output (a gap of a stride), shows. */
#define CA_CANARY 0x7FC0C0DEu

static inline float *ca_output_floats(size_t count)
{
    uint32_t *p = ca_alloc(count * sizeof *p, sizeof *p);
    for (size_t i = 0; i < count; i++)
        p[i] = CA_CANARY;
    return (float *)(void *)p;
}

static inline bool ca_is_canary(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits == CA_CANARY;
}

/* ---- comparison ---- */

/* gamma(n) = n u / (1 - n u), u = 2^-24 (Higham, Accuracy and Stability, 3.1): the relative error
 * of n roundings. Two results each within gamma(n) * S of the exact one differ by twice that. */
static inline double ca_gamma(double n)
{
    const double u = 0x1p-24;
    return n * u / (1 - n * u);
}

/* Each got[i] within bound[i] of want[i] (bound NULL: bit for bit). A canary must stay a canary and
 * nothing else may become one; NaN matches NaN, an infinity itself. Says where the first difference
 * is; false then. */
static inline bool ca_check(const char *what, const float *got, const float *want,
                            const double *bound, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool same;
        if (ca_is_canary(got[i]) || ca_is_canary(want[i]))
            same = ca_is_canary(got[i]) && ca_is_canary(want[i]);
        else if (!bound)
            same = !memcmp(&got[i], &want[i], sizeof got[i]) || (isnan(got[i]) && isnan(want[i]));
        else
            same = got[i] == want[i] || (isnan(got[i]) && isnan(want[i])) ||
                   fabs((double)got[i] - (double)want[i]) <= bound[i];
        if (!same) {
            CHECK_MSG(false, "%s: element %zu of %zu is %.9g, the reference %.9g (bound %.3g)%s",
                      what, i, count, (double)got[i], (double)want[i], bound ? bound[i] : 0.0,
                      ca_is_canary(got[i])    ? ": not written"
                      : ca_is_canary(want[i]) ? ": written, but not part of the output"
                                              : "");
            return false;
        }
    }
    return true;
}

static inline bool ca_check_bytes(const char *what, const void *got, const void *want, size_t count)
{
    const uint8_t *g = got, *w = want;
    for (size_t i = 0; i < count; i++) {
        if (g[i] != w[i]) {
            CHECK_MSG(false, "%s: byte %zu of %zu is %u, the reference %u", what, i, count, g[i],
                      w[i]);
            return false;
        }
    }
    return true;
}

/* ---- benchmarks ---- */

static struct test_case *ca_bench_first, **ca_bench_last = &ca_bench_first;

#define BENCH(id)                                                        \
    static void ca_bench_fn_##id(void);                                  \
    static test_case ca_bench_case_##id = {#id, ca_bench_fn_##id, NULL}; \
    __attribute__((constructor)) static void ca_bench_add_##id(void)     \
    {                                                                    \
        *ca_bench_last = &ca_bench_case_##id;                            \
        ca_bench_last = &ca_bench_case_##id.next;                        \
    }                                                                    \
    static void ca_bench_fn_##id(void)

static inline double ca_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline int ca_compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Declares `seconds`: the median over 15 samples, of at least 1 ms each, of one call of `stmt`. */
#define CA_TIME(seconds, stmt)                                           \
    double seconds = 0;                                                  \
    do {                                                                 \
        double ca_samples[15];                                           \
        size_t ca_calls = 1;                                             \
        for (double ca_took = 0; ca_took < 1e-3; ca_calls *= 2) {        \
            const double ca_begin = ca_now();                            \
            for (size_t ca_i = 0; ca_i < ca_calls; ca_i++)               \
                stmt;                                                    \
            ca_took = ca_now() - ca_begin;                               \
        }                                                                \
        for (int ca_s = 0; ca_s < 15; ca_s++) {                          \
            const double ca_begin = ca_now();                            \
            for (size_t ca_i = 0; ca_i < ca_calls; ca_i++)               \
                stmt;                                                    \
            ca_samples[ca_s] = (ca_now() - ca_begin) / (double)ca_calls; \
        }                                                                \
        qsort(ca_samples, 15, sizeof ca_samples[0], ca_compare_doubles); \
        seconds = ca_samples[7];                                         \
    } while (0)

/* One line: kernel, shape, time per call, `work` per second in `unit` (GMAC/s, GB/s). */
static inline void ca_report(const char *kernel, const char *shape, double seconds, double work,
                             const char *unit)
{
    printf("%-26s %-34s %10.2f us %9.2f %s\n", kernel, shape, seconds * 1e6, work / seconds / 1e9,
           unit);
    fflush(stdout);
}

static inline int ca_main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--bench"))
        return test_run_all(argc, argv);
    for (test_case *b = ca_bench_first; b; b = b->next) {
        if (argc < 3 || strstr(b->name, argv[2]))
            b->fn();
        ca_release();
    }
    return 0;
}

#define CA_MAIN                     \
    int main(int argc, char **argv) \
    {                               \
        return ca_main(argc, argv); \
    }

#endif
