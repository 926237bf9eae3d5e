/*
 * A fuzz target is a file that defines LLVMFuzzerTestOneInput and `seeds`. Built with
 * -Dfuzzers=true (clang) it is a libFuzzer program; otherwise it replays: every seed, every
 * truncation of it, and some 20,000 (FUZZ_RUNS) mutations by a fixed random sequence, so that `make
 * test` always does the same. With the name of a folder as its argument it writes the seeds there,
 * for libFuzzer to start from.
 */
#ifndef UF_TESTS_FUZZ_H
#define UF_TESTS_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Seed `i` into out[cap]; its size, 0 past the last. */
size_t seeds(size_t i, uint8_t *out, size_t cap);

#if !defined(UF_LIBFUZZER)

#ifndef FUZZ_RUNS /* targets whose runs take long have fewer */
#define FUZZ_RUNS 20000
#endif
enum { FUZZ_CAP = 1 << 20, FUZZ_MUTATIONS = FUZZ_RUNS, FUZZ_CUTS = FUZZ_RUNS / 10 };

static uint64_t fuzz_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* One to four changes: a byte, a bit, a copied piece, a cut. */
static size_t fuzz_mutate(uint8_t *data, size_t size, uint64_t *state)
{
    size_t changes = 1 + fuzz_next(state) % 4;
    for (size_t i = 0; i < changes && size; i++) {
        size_t at = fuzz_next(state) % size, from = fuzz_next(state) % size;
        size_t n = 1 + fuzz_next(state) % 16;
        switch (fuzz_next(state) % 4) {
        case 0:
            data[at] = (uint8_t)fuzz_next(state);
            break;
        case 1:
            data[at] ^= (uint8_t)(1u << fuzz_next(state) % 8);
            break;
        case 2:
            n = at + n > size ? size - at : n;
            n = from + n > size ? size - from : n;
            memmove(data + at, data + from, n);
            break;
        default:
            if (fuzz_next(state) % 16 == 0)
                size = at;
            break;
        }
    }
    return size;
}

static int fuzz_write_seeds(const char *folder)
{
    static uint8_t seed[FUZZ_CAP];
    char path[4096];
    size_t size;
    for (size_t i = 0; (size = seeds(i, seed, FUZZ_CAP)) > 0; i++) {
        snprintf(path, sizeof path, "%s/seed-%zu", folder, i);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(seed, 1, size, f) != size || fclose(f) != 0)
            return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return fuzz_write_seeds(argv[1]);
    static uint8_t seed[FUZZ_CAP], data[FUZZ_CAP];
    uint64_t state = 88172645463325252u;
    size_t size, count = 0;
    while ((size = seeds(count, seed, FUZZ_CAP)) > 0) {
        for (size_t n = 0; n <= size; n += size > 2 * FUZZ_CUTS ? size / FUZZ_CUTS : 1)
            LLVMFuzzerTestOneInput(seed, n);
        count++;
    }
    for (size_t i = 0; count && i < FUZZ_MUTATIONS; i++) {
        size = seeds(i % count, seed, FUZZ_CAP);
        memcpy(data, seed, size);
        size = fuzz_mutate(data, size, &state);
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%d passed, 0 failed, 0 skipped\n", count ? 1 : 0);
    return count ? 0 : 1;
}

#endif
#endif
