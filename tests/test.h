/*
 * A small test harness. A test program is one C file: TEST(name) { CHECK(...); } blocks and
 * TEST_MAIN at its end. It prints a line per failed check, a line per skipped test with the reason,
 * and ends with "N passed, N failed, N skipped". Exit status: 0 passed, 1 failed, 77 all skipped.
 */
#ifndef UF_TESTS_TEST_H
#define UF_TESTS_TEST_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct test_case {
    const char *name;
    void (*fn)(void);
    struct test_case *next;
} test_case;

static test_case *test_first, **test_last = &test_first;
static int test_failures_here;
static const char *test_skip_reason;

/* Programs are run by one thread; helpers in other threads report through return values. */
#define TEST(id)                                                 \
    static void test_fn_##id(void);                              \
    static test_case test_case_##id = {#id, test_fn_##id, NULL}; \
    __attribute__((constructor)) static void test_add_##id(void) \
    {                                                            \
        *test_last = &test_case_##id;                            \
        test_last = &test_case_##id.next;                        \
    }                                                            \
    static void test_fn_##id(void)

#define CHECK(cond)                                                   \
    do {                                                              \
        if (!(cond)) {                                                \
            test_failures_here++;                                     \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
        }                                                             \
    } while (0)

/* CHECK with an explanation in printf form. */
#define CHECK_MSG(cond, ...)                                          \
    do {                                                              \
        if (!(cond)) {                                                \
            test_failures_here++;                                     \
            printf("%s:%d: failed: %s: ", __FILE__, __LINE__, #cond); \
            printf(__VA_ARGS__);                                      \
            printf("\n");                                             \
        }                                                             \
    } while (0)

/* Stops this test when the condition is false: what follows would make no sense. */
#define REQUIRE(cond)                                                 \
    do {                                                              \
        if (!(cond)) {                                                \
            test_failures_here++;                                     \
            printf("%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
            return;                                                   \
        }                                                             \
    } while (0)

/* Checks that a call succeeded and prints its error otherwise. `err` is a uf_error. */
#define CHECK_OK(call, err) CHECK_MSG((call) == UF_OK, "%s", (err).message)
#define REQUIRE_OK(call, err)                                                            \
    do {                                                                                 \
        if ((call) != UF_OK) {                                                           \
            test_failures_here++;                                                        \
            printf("%s:%d: failed: %s: %s\n", __FILE__, __LINE__, #call, (err).message); \
            return;                                                                      \
        }                                                                                \
    } while (0)

/* Ends this test as skipped; the reason is printed. */
#define SKIP(reason)                 \
    do {                             \
        test_skip_reason = (reason); \
        return;                      \
    } while (0)

static inline int test_run_all(int argc, char **argv)
{
    int passed = 0, failed = 0, skipped = 0;
    for (test_case *t = test_first; t; t = t->next) {
        if (argc > 1 && !strstr(t->name, argv[1]))
            continue;
        test_failures_here = 0;
        test_skip_reason = NULL;
        t->fn();
        if (test_failures_here) {
            failed++;
            printf("FAIL %s\n", t->name);
        } else if (test_skip_reason) {
            skipped++;
            printf("SKIP %s: %s\n", t->name, test_skip_reason);
        } else {
            passed++;
        }
        fflush(stdout);
    }
    printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
    if (failed)
        return 1;
    return passed == 0 && skipped > 0 ? 77 : 0;
}

#define TEST_MAIN                        \
    int main(int argc, char **argv)      \
    {                                    \
        return test_run_all(argc, argv); \
    }

/* xorshift64*: the same numbers on every machine. */
static inline uint64_t test_random(uint64_t *state)
{
    uint64_t x = *state ? *state : 0x9E3779B97F4A7C15u;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545F4914F6CDD1Du;
}

/* Uniform in -1..1. */
static inline float test_random_float(uint64_t *state)
{
    return (float)((double)(test_random(state) >> 11) / (double)(1ull << 52) - 1.0);
}

#endif
