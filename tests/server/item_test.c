/* Memory of items: what it holds stays as it grows, and blocks are used again and given back. */
#include "server/item.h"

#include <stdio.h>
#include <unistd.h>

#include "test.h"

enum { MANY = 100, LARGE = 256 << 10 };

static size_t resident_bytes(void)
{
    unsigned long all = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    const bool ok = f && fscanf(f, "%lu %lu", &all, &resident) == 2;
    if (f)
        fclose(f);
    return ok ? resident * (size_t)sysconf(_SC_PAGESIZE) : 0;
}

TEST(what_it_holds_stays)
{
    srv_item item = {0};
    for (size_t room = 4096; room <= 8 << 20; room *= 2) {
        const size_t before = item.size;
        REQUIRE(srv_item_reserve(&item, room) && item.room >= room);
        for (size_t i = 0; i < before; i++)
            if (item.data[i] != (uint8_t)(i * 7)) {
                CHECK(!"a byte has changed");
                break;
            }
        for (item.size = before; item.size < room; item.size++)
            item.data[item.size] = (uint8_t)(item.size * 7);
    }
    srv_item_free(&item);
    CHECK(!item.data && !item.room);
    srv_item_trim();
}

TEST(a_room_between_two_sizes)
{
    srv_item item = {0};
    REQUIRE(srv_item_reserve(&item, 100000));
    CHECK(item.room == 128 << 10);
    REQUIRE(srv_item_reserve(&item, (1 << 20) + 1));
    CHECK(item.room == (1 << 20) + 1);
    item.data[1 << 20] = 1;
    srv_item_free(&item);
    srv_item_trim();
}

TEST(a_block_is_used_again)
{
    srv_item a = {0}, b = {0};
    REQUIRE(srv_item_reserve(&a, LARGE));
    const void *block = a.data;
    srv_item_free(&a);
    REQUIRE(srv_item_reserve(&b, LARGE));
    CHECK(b.data == block);
    srv_item_free(&b);
    srv_item_trim();
}

/* 25 MB: at most 16 are kept, and none after a trim. */
TEST(what_is_kept_is_bounded_and_given_back)
{
    static srv_item items[MANY];
    const size_t before = resident_bytes(), mega = 1 << 20;
    for (int i = 0; i < MANY; i++) {
        REQUIRE(srv_item_reserve(&items[i], LARGE));
        memset(items[i].data, 1, LARGE);
    }
    CHECK(resident_bytes() > before + 24 * mega);
    for (int i = 0; i < MANY; i++)
        srv_item_free(&items[i]);
    CHECK(resident_bytes() < before + 18 * mega);
    srv_item_trim();
    CHECK(resident_bytes() < before + 2 * mega);
}

TEST_MAIN
