/* Rates and lock-outs. */
#include "server/guard.h"

#include <pthread.h>
#include <time.h>

#include "server/server.h"
#include "test.h"

static void wait_seconds(double s)
{
    const double until = srv_now() + s;
    while (srv_now() < until)
        nanosleep(&(struct timespec){0, 2000000}, NULL);
}

TEST(a_rate_has_a_burst_and_comes_back)
{
    srv_guard *g = srv_guard_create(5, 3, 10);
    REQUIRE(g);
    int taken = 0, wait = 0;
    while (taken < 100 && !(wait = srv_guard_take(g, "a")))
        taken++;
    CHECK_MSG(taken >= 10 && taken <= 11 && wait == 1, "%d, then %d s", taken, wait);
    CHECK(!srv_guard_take(g, "b")); /* others are not held up */
    wait_seconds(0.45);
    CHECK(!srv_guard_take(g, "a") && !srv_guard_take(g, "a") && srv_guard_take(g, "a"));
    srv_guard_destroy(g);
}

TEST(a_rate_below_one_takes_one_and_says_when)
{
    srv_guard *g = srv_guard_create(0.1, 3, 10);
    REQUIRE(g);
    srv_guard_take(g, "a");
    const int wait = srv_guard_take(g, "a");
    CHECK_MSG(wait > 5 && wait <= 10, "%d", wait);
    srv_guard_destroy(g);
}

TEST(no_rate_is_no_limit)
{
    srv_guard *g = srv_guard_create(0, 3, 10);
    REQUIRE(g);
    for (int i = 0; i < 10000; i++)
        CHECK(!srv_guard_take(g, "a"));
    srv_guard_destroy(g);
}

TEST(failures_lock_a_name_and_the_lock_ends)
{
    srv_guard *g = srv_guard_create(0, 3, 0.3);
    REQUIRE(g);
    for (int i = 0; i < 2; i++)
        srv_guard_failed(g, SRV_GUARD_VERIFY, "a");
    CHECK(!srv_guard_locked(g, SRV_GUARD_VERIFY, "a"));
    srv_guard_failed(g, SRV_GUARD_VERIFY, "a");
    CHECK(srv_guard_locked(g, SRV_GUARD_VERIFY, "a") == 1);
    CHECK(!srv_guard_locked(g, SRV_GUARD_VERIFY, "b") && !srv_guard_locked(g, SRV_GUARD_KEYS, "a"));
    wait_seconds(0.35);
    CHECK(!srv_guard_locked(g, SRV_GUARD_VERIFY, "a"));
    srv_guard_failed(g, SRV_GUARD_VERIFY, "a");
    CHECK(!srv_guard_locked(g, SRV_GUARD_VERIFY, "a")); /* counting begins anew */
    srv_guard_destroy(g);
}

TEST(a_success_forgives)
{
    srv_guard *g = srv_guard_create(0, 3, 10);
    REQUIRE(g);
    for (int i = 0; i < 20; i++) {
        srv_guard_failed(g, SRV_GUARD_VERIFY, "a");
        srv_guard_failed(g, SRV_GUARD_VERIFY, "a");
        srv_guard_passed(g, SRV_GUARD_VERIFY, "a");
    }
    CHECK(!srv_guard_locked(g, SRV_GUARD_VERIFY, "a"));
    srv_guard_destroy(g);
}

TEST(wrong_keys_have_a_limit_of_their_own)
{
    srv_guard *g = srv_guard_create(0, 1, 0.01);
    REQUIRE(g);
    for (int i = 0; i < 9; i++)
        srv_guard_failed(g, SRV_GUARD_KEYS, "10.0.0.1");
    CHECK(!srv_guard_locked(g, SRV_GUARD_KEYS, "10.0.0.1"));
    srv_guard_failed(g, SRV_GUARD_KEYS, "10.0.0.1");
    const int left = srv_guard_locked(g, SRV_GUARD_KEYS, "10.0.0.1");
    CHECK_MSG(left > 50 && left <= 60, "%d", left);
    srv_guard_destroy(g);
}

/* The table is bounded: a flood of names costs nothing but the oldest entries. */
TEST(a_flood_of_names_is_survived)
{
    srv_guard *g = srv_guard_create(1, 1, 100);
    char name[32];
    REQUIRE(g);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof name, "%d", i);
        srv_guard_take(g, name);
    }
    srv_guard_failed(g, SRV_GUARD_VERIFY, "new");
    CHECK(srv_guard_locked(g, SRV_GUARD_VERIFY, "new") > 0);
    srv_guard_destroy(g);
}

typedef struct taker {
    srv_guard *g;
    int taken;
} taker;

static void *take_many(void *user)
{
    taker *t = user;
    for (int i = 0; i < 2000; i++)
        t->taken += !srv_guard_take(t->g, "shared");
    return NULL;
}

TEST(threads_share_a_limit)
{
    enum { THREADS = 4 };
    srv_guard *g = srv_guard_create(50, 3, 10);
    taker takers[THREADS];
    pthread_t threads[THREADS];
    int taken = 0;
    REQUIRE(g);
    const double began = srv_now();
    for (int i = 0; i < THREADS; i++) {
        takers[i] = (taker){g, 0};
        REQUIRE(!pthread_create(&threads[i], NULL, take_many, &takers[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        taken += takers[i].taken;
    }
    const double most = 100 + 50 * (srv_now() - began) + 1;
    CHECK_MSG(taken >= 100 && taken <= most, "%d of at most %.1f", taken, most);
    srv_guard_destroy(g);
}

TEST_MAIN
