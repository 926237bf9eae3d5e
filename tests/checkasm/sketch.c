/* sketch_scan and sketch_mask: bit for bit the C reference. */
#include "checkasm.h"

typedef struct scan_case {
    ufk_sketch_args args;
    uint8_t *tables[UFK_SKETCH_PROBES];
} scan_case;

static scan_case make_case(size_t blocks, size_t rows, size_t probes, uint8_t least_value)
{
    scan_case c = {.args = {.blocks = blocks, .rows = rows, .probes = probes}};
    c.args.codes = ca_random_bytes(blocks * rows * UFK_SKETCH_BLOCK);
    for (size_t p = 0; p < probes; p++) {
        c.tables[p] = ca_alloc(rows * 64, 1);
        for (size_t i = 0; i < rows * 64; i++) /* every table twice */
            c.tables[p][i] =
                i / 16 % 2 ? c.tables[p][i - 16] : (uint8_t)ca_range(least_value, UFK_SKETCH_LEVEL);
        c.args.tables[p] = c.tables[p];
    }
    return c;
}

static void run_case(const ufk_table *t, scan_case *c, uint16_t *sums[], uint16_t *maxima[])
{
    for (size_t p = 0; p < c->args.probes; p++) {
        c->args.sums[p] = sums[p];
        c->args.maxima[p] = maxima[p];
    }
    t->sketch_scan(&c->args);
}

static void compare(size_t t, size_t blocks, size_t rows, size_t probes, bool accumulate,
                    uint8_t least_value)
{
    scan_case c = make_case(blocks, rows, probes, least_value);
    uint16_t *got[4], *want[4], *got_max[4], *want_max[4];
    c.args.accumulate = accumulate;
    for (size_t p = 0; p < probes; p++) {
        got[p] = ca_alloc(blocks * 64, 2);
        want[p] = ca_alloc(blocks * 64, 2);
        got_max[p] = ca_alloc(blocks * 2, 2);
        want_max[p] = ca_alloc(blocks * 2, 2);
        for (size_t i = 0; i < blocks * 32; i++)
            got[p][i] = want[p][i] = (uint16_t)ca_range(0, 999);
    }
    run_case(ca_table(0), &c, want, want_max);
    run_case(ca_table(t), &c, got, got_max);
    for (size_t p = 0; p < probes; p++) {
        ca_check_bytes(ca_table(t)->sketch_name, got[p], want[p], blocks * 64);
        ca_check_bytes(ca_table(t)->sketch_name, got_max[p], want_max[p], blocks * 2);
    }
    ca_release();
}

TEST(sketch_scan_matches_reference)
{
    static const size_t blocks[] = {1, 2, 3, 7, 33}, rows[] = {4, 8, 12, 32, 64, 508};
    for (size_t t = 1; t < ca_table_count(); t++)
        for (size_t b = 0; b < sizeof blocks / sizeof *blocks; b++)
            for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
                for (size_t probes = 1; probes <= UFK_SKETCH_PROBES; probes++)
                    compare(t, blocks[b], rows[r], probes, (b + r + probes) % 2, 0);
}

TEST(sketch_scan_bears_the_largest_values)
{
    for (size_t t = 1; t < ca_table_count(); t++)
        compare(t, 2, 1024, 4, false, UFK_SKETCH_LEVEL);
}

TEST(sketch_mask_matches_reference)
{
    for (size_t t = 1; t < ca_table_count(); t++) {
        for (int round = 0; round < 200; round++) {
            uint16_t *sums = ca_alloc(64, 2);
            for (size_t i = 0; i < 32; i++)
                sums[i] = (uint16_t)ca_range(0, round % 2 ? 65535 : 9);
            const uint16_t least = round % 3 ? sums[ca_range(0, 31)] : (uint16_t)ca_range(0, 65535);
            CHECK(ca_table(t)->sketch_mask(sums, least) == ca_table(0)->sketch_mask(sums, least));
            ca_release();
        }
    }
}

TEST(sketch_pick_matches_reference)
{
    for (size_t t = 1; t < ca_table_count(); t++) {
        for (size_t blocks = 1; blocks <= 9; blocks += 2) {
            uint16_t *sums = ca_alloc(blocks * 64, 2);
            uint32_t *held = ca_alloc(blocks * 4, 4);
            uint32_t *got = ca_alloc((blocks * 32 + 16) * 4, 4);
            uint32_t *want = ca_alloc((blocks * 32 + 16) * 4, 4);
            for (size_t i = 0; i < blocks * 32; i++)
                sums[i] = (uint16_t)ca_range(0, blocks % 4 == 1 ? 65535 : 9);
            for (size_t b = 0; b < blocks; b++)
                held[b] = b % 3 ? (uint32_t)ca_range(0, 0x7FFFFFFF) * 2 + 1 : UINT32_MAX;
            for (int round = 0; round < 20; round++) {
                const uint16_t least = round ? sums[ca_range(0, blocks * 32 - 1)] : 0;
                const uint32_t first = (uint32_t)ca_range(0, 65536 - 32 * blocks);
                const size_t n = ca_table(0)->sketch_pick(want, sums, held, blocks, first, least);
                CHECK(n == ca_table(t)->sketch_pick(got, sums, held, blocks, first, least));
                ca_check_bytes("sketch_pick", got, want, n * 4);
            }
            ca_release();
        }
    }
}

/* `count` places among 65536, and bits of so many vectors. */
static const uint32_t *random_places(size_t count, size_t last)
{
    uint32_t *places = ca_alloc(count * 4, 4);
    for (size_t i = 0; i < count; i++) /* what stands above the place does not matter */
        places[i] = (uint32_t)ca_range(0, 65535) << 16 | (uint32_t)ca_range(0, last);
    return places;
}

TEST(sketch_count_matches_reference)
{
    for (size_t t = 1; t < ca_table_count(); t++) {
        for (size_t words = 1; words <= 64; words += words < 9 ? 1 : 11) {
            uint64_t *planes = ca_alloc(4 * words * 8, 8);
            memcpy(planes, ca_random_bytes(4 * words * 8), 4 * words * 8);
            const uint8_t *bits = ca_random_bytes(words * 8 * 50);
            for (size_t count = 0; count <= 21; count += 3) {
                const uint32_t *places = random_places(count, 49);
                uint32_t *got = ca_alloc(count * 4, 4), *want = ca_alloc(count * 4, 4);
                ca_table(0)->sketch_count(want, planes, bits, places, count, words);
                ca_table(t)->sketch_count(got, planes, bits, places, count, words);
                ca_check_bytes("sketch_count", got, want, count * 4);
            }
            ca_release();
        }
    }
}

BENCH(sketch_count)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        uint32_t out[256];
        uint64_t *planes = ca_alloc(4 * 64, 8);
        const uint8_t *bits = ca_random_bytes(64 * 256);
        const uint32_t *places = random_places(256, 255);
        CA_TIME(seconds, ca_table(t)->sketch_count(out, planes, bits, places, 256, 8));
        ca_report(ca_table(t)->sketch_name, "count, 256 x 512 bits", seconds, 256, "G vectors/s");
        ca_release();
    }
}

BENCH(sketch_scan)
{
    for (size_t t = 0; t < ca_table_count(); t++) {
        for (size_t probes = 1; probes <= 4; probes++) {
            scan_case c = make_case(64, 32, probes, 0);
            uint16_t *sums[4], *maxima[4];
            char shape[64];
            for (size_t p = 0; p < probes; p++) {
                sums[p] = ca_alloc(64 * 64, 2);
                maxima[p] = ca_alloc(64 * 2, 2);
            }
            CA_TIME(seconds, run_case(ca_table(t), &c, sums, maxima));
            snprintf(shape, sizeof shape, "2048 x 256 bits, %zu probes", probes);
            ca_report(ca_table(t)->sketch_name, shape, seconds, 2048.0 * (double)probes,
                      "G sketches/s");
            ca_release();
        }
    }
}

CA_MAIN
