/* Turns between clients. */
#include "server/fair.h"

#include "test.h"

TEST(one_client_is_first_in_first_out)
{
    fair_queue q = {0};
    fair_job jobs[5];
    CHECK(!fair_peek(&q) && !fair_pop(&q) && fair_oldest(&q) == 0);
    for (int i = 0; i < 5; i++) {
        jobs[i] = (fair_job){.client = "a", .since = i};
        CHECK(fair_push(&q, &jobs[i]));
    }
    for (int i = 0; i < 5; i++) {
        CHECK(q.count == (size_t)(5 - i) && fair_oldest(&q) == i);
        CHECK(fair_peek(&q) == &jobs[i] && fair_pop(&q) == &jobs[i]);
    }
    CHECK(!q.first && !q.last && !q.count);
}

/* Who asks for much waits for itself, not others for it. */
TEST(clients_take_turns)
{
    static const char *const clients[] = {"a", "a", "a", "a", "b", "c", "b"};
    static const int order[] = {0, 4, 5, 1, 6, 2, 3};
    enum { COUNT = sizeof clients / sizeof *clients };
    fair_queue q = {0};
    fair_job jobs[COUNT];
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = (fair_job){.client = clients[i], .since = i};
        CHECK(fair_push(&q, &jobs[i]));
    }
    for (int i = 0; i < COUNT; i++)
        CHECK(fair_pop(&q) == &jobs[order[i]]);
    CHECK(!fair_pop(&q));
}

TEST(who_comes_late_waits_one_round)
{
    fair_queue q = {0};
    fair_job crowd[100], late = {.client = "late"};
    for (int i = 0; i < 100; i++) {
        crowd[i] = (fair_job){.client = i % 2 ? "x" : "y"};
        CHECK(fair_push(&q, &crowd[i]));
    }
    CHECK(fair_pop(&q) == &crowd[0] && fair_push(&q, &late));
    CHECK(fair_pop(&q) == &crowd[1] && fair_pop(&q) == &crowd[2] && fair_pop(&q) == &late);
    for (int i = 3; i < 100; i++)
        CHECK(fair_pop(&q) == &crowd[i]);
    CHECK(!q.count && !q.first);
}

/* A client is its name, wherever that stands in memory. */
TEST(names_are_compared_as_text)
{
    char one[] = "key 1", same[] = "key 1";
    fair_queue q = {0};
    fair_job a = {.client = one}, b = {.client = "key 2"}, c = {.client = same};
    CHECK(fair_push(&q, &a) && fair_push(&q, &c) && fair_push(&q, &b));
    CHECK(fair_pop(&q) == &a && fair_pop(&q) == &b && fair_pop(&q) == &c);
}

TEST(the_oldest_is_found_among_all_clients)
{
    fair_queue q = {0};
    fair_job a = {.client = "a", .since = 5}, b = {.client = "b", .since = 3},
             c = {.client = "c", .since = 4};
    CHECK(fair_push(&q, &a) && fair_push(&q, &b) && fair_push(&q, &c));
    CHECK(fair_oldest(&q) == 3);
    CHECK(fair_pop(&q) == &a && fair_pop(&q) == &b && fair_oldest(&q) == 4 && fair_pop(&q) == &c);
}

TEST_MAIN
