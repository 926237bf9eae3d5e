/* The memory plan: nothing that lives at the same time overlaps, and little is wasted. */
#include "graph/graph.h"
#include "test.h"

static bool overlap(const ufi_buffer *a, const ufi_buffer *b)
{
    bool in_time = a->first_step <= b->last_step && b->first_step <= a->last_step;
    bool in_place = a->offset_bytes < b->offset_bytes + b->size_bytes &&
                    b->offset_bytes < a->offset_bytes + a->size_bytes;
    return in_time && in_place;
}

TEST(random_plans_never_overlap)
{
    uint64_t seed = 1;
    for (int round = 0; round < 200; round++) {
        ufi_buffer b[40];
        uf_error err = {0};
        size_t total;
        uint32_t count = 1 + (uint32_t)(test_random(&seed) % 40);
        for (uint32_t i = 0; i < count; i++) {
            uint32_t first = (uint32_t)(test_random(&seed) % 30);
            b[i] = (ufi_buffer){.size_bytes = test_random(&seed) % 5000,
                                .first_step = first,
                                .last_step = first + (uint32_t)(test_random(&seed) % 8),
                                .same_as = -1};
        }
        REQUIRE_OK(ufi_memory_plan(b, count, &total, &err), err);
        for (uint32_t i = 0; i < count; i++) {
            CHECK(b[i].offset_bytes % 64 == 0 && b[i].offset_bytes + b[i].size_bytes <= total);
            for (uint32_t j = 0; j < i; j++)
                CHECK_MSG(!overlap(&b[i], &b[j]), "round %d: buffers %u and %u", round, i, j);
        }
    }
}

TEST(a_chain_needs_two_places)
{
    ufi_buffer b[10];
    uf_error err = {0};
    size_t total;
    for (uint32_t i = 0; i < 10; i++)
        b[i] = (ufi_buffer){.size_bytes = 6400, .first_step = i, .last_step = i + 1, .same_as = -1};
    REQUIRE_OK(ufi_memory_plan(b, 10, &total, &err), err);
    CHECK(total == 2 * 6400);
}

TEST(in_place_shares_and_extends)
{
    ufi_buffer b[3] = {
        {.size_bytes = 128, .first_step = 0, .last_step = 1, .same_as = -1},
        {.size_bytes = 128, .first_step = 1, .last_step = 5, .same_as = 0},
        {.size_bytes = 128, .first_step = 3, .last_step = 4, .same_as = -1},
    };
    uf_error err = {0};
    size_t total;
    REQUIRE_OK(ufi_memory_plan(b, 3, &total, &err), err);
    CHECK(b[0].offset_bytes == b[1].offset_bytes && b[2].offset_bytes != b[0].offset_bytes);
    CHECK(total == 256);
    b[0].same_as = 1; /* each other's: no place at all */
    CHECK(ufi_memory_plan(b, 3, &total, &err) == UF_E_FORMAT);
    b[0].same_as = 7;
    CHECK(ufi_memory_plan(b, 3, &total, &err) == UF_E_FORMAT);
    CHECK(ufi_memory_plan(NULL, 0, &total, &err) == UF_OK && total == 0);
}

TEST_MAIN
