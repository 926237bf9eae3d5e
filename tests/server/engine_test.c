/* The engine room with the models that come with the source: admission, batches, deadlines, swaps.
 */
#include "server/engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "server/loaded.h"
#include "server/server.h"
#include "test.h"

static const char *const detector = UF_SOURCE_ROOT "/models/detector.ufm";
static const char *const embedder = UF_SOURCE_ROOT "/models/quantized_int8_embedder.ufm";

enum { SIDE = 112, CROP = SIDE * SIDE * 3, MANY = 6 };

typedef struct counts {
    _Atomic size_t runs, items, largest;
} counts;

static void count(void *user, srv_lane_name lane, size_t size, double seconds)
{
    counts *c = user;
    size_t largest = atomic_load(&c->largest);
    (void)lane;
    (void)seconds;
    atomic_fetch_add(&c->runs, 1);
    atomic_fetch_add(&c->items, size);
    while (size > largest && !atomic_compare_exchange_weak(&c->largest, &largest, size))
        ;
}

static srv_engine *start(counts *c, unsigned workers, unsigned batch, unsigned queue)
{
    const srv_engine_options o = {
        .workers = workers, .batch = batch, .wait_us = 200000, .queue = queue};
    srv_engine *e = NULL;
    uf_error err;
    return srv_engine_create(&e, &o, count, c, &err) ? NULL : e;
}

static srv_work work_of(const char *name, double seconds)
{
    return (srv_work){.client = name, .deadline = srv_now() + seconds};
}

TEST(the_queue_has_a_limit)
{
    counts c = {0};
    srv_engine *e = start(&c, 2, 4, 3);
    REQUIRE(e && srv_engine_workers(e) == 2);
    for (int i = 0; i < 3; i++)
        CHECK(!srv_engine_is_full(e) && srv_engine_enter(e));
    CHECK(!srv_engine_enter(e) && srv_engine_depth(e) == 3 && srv_engine_is_full(e));
    srv_engine_leave(e);
    CHECK(srv_engine_enter(e) && !srv_engine_enter(e));
    for (int i = 0; i < 3; i++)
        srv_engine_leave(e);
    CHECK(!srv_engine_depth(e));
    srv_engine_destroy(e);
}

TEST(without_a_model_nothing_runs)
{
    counts c = {0};
    uf_error err;
    uf_face face;
    size_t found;
    static const uint8_t pixels[CROP];
    const uf_image image = {
        .format = UF_PIXEL_RGB8, .width = SIDE, .height = SIDE, .planes = {pixels}};
    srv_engine *e = start(&c, 1, 1, 4);
    REQUIRE(e);
    CHECK(!srv_engine_hold(e, SRV_LANE_EMBED));
    srv_work w = work_of("a", 10);
    CHECK(srv_engine_detect(e, &w, &image, 1, &face, 1, &found, &err) == UF_E_STATE);
    CHECK(srv_engine_load(e, SRV_LANE_DETECT, "x", "/nowhere.ufm", &err) == UF_E_IO);
    CHECK(srv_engine_load(e, SRV_LANE_EMBED, "x", detector, &err) != UF_OK);
    CHECK(!srv_engine_hold(e, SRV_LANE_EMBED) && !c.runs);
    srv_engine_destroy(e);
}

typedef struct client {
    srv_engine *e;
    const uint8_t *crop;
    float *out;
    uf_status status;
    srv_work work;
} client;

static void embed_one(void *user)
{
    client *k = user;
    uf_error err;
    srv_loaded *m = srv_engine_hold(k->e, SRV_LANE_EMBED);
    k->status = m ? srv_engine_embed(k->e, &k->work, m, k->crop, 1, k->out, &err) : UF_E_STATE;
    srv_engine_release(m);
}

static void *embed(void *user)
{
    client *k = user;
    uf_error err;
    srv_engine_enter(k->e);
    k->work = work_of("client", 60);
    if (srv_engine_do(k->e, &k->work, embed_one, k, &err))
        k->status = UF_E_CANCELLED;
    srv_engine_leave(k->e);
    return NULL;
}

/* `together`: 0 as the model is, else as if it gained by company. Templates must not depend on the
 * company in which they were made, nor be mixed up. */
static void check_clients(srv_engine *e, counts *c, size_t together)
{
    uf_error err;
    uint64_t seed = 7;
    client clients[MANY];
    pthread_t threads[MANY];
    srv_loaded *m = srv_engine_hold(e, SRV_LANE_EMBED);
    REQUIRE(m && !strcmp(srv_loaded_name(m), "small"));
    atomic_store(&m->together, together);
    const size_t dimension = uf_embedder_dimension(srv_loaded_embedder(m));
    uint8_t *crops = malloc(MANY * CROP);
    float *alone = calloc(MANY * dimension, sizeof *alone),
          *out = calloc(MANY * dimension, sizeof *out);
    REQUIRE(crops && alone && out && uf_embedder_crop_size(srv_loaded_embedder(m)) == SIDE);
    for (size_t i = 0; i < MANY * CROP; i++)
        crops[i] = (uint8_t)test_random(&seed);
    srv_work w = work_of("one", 60);
    for (size_t i = 0; i < MANY; i++)
        CHECK_OK(srv_engine_embed(e, &w, m, crops + i * CROP, 1, alone + i * dimension, &err), err);
    CHECK(c->largest == 1 && w.core);
    for (size_t i = 0; i < MANY; i++) { /* they cannot begin before this one rests */
        clients[i] = (client){e, crops + i * CROP, out + i * dimension, UF_E_STATE, {0}};
        REQUIRE(!pthread_create(&threads[i], NULL, embed, &clients[i]));
    }
    while (srv_engine_depth(e) < MANY)
        ;
    usleep(20000); /* they have entered, and queue up now */
    srv_engine_rest(e, &w);
    for (size_t i = 0; i < MANY; i++) {
        pthread_join(threads[i], NULL);
        CHECK(clients[i].status == UF_OK && !clients[i].work.core);
        CHECK(uf_similarity(out + i * dimension, alone + i * dimension, dimension) > 0.999f);
    }
    CHECK(c->items == 2 * MANY);
    w = work_of("late", -1);
    CHECK(srv_engine_embed(e, &w, m, crops, 1, out, &err) == UF_E_CANCELLED);
    CHECK(c->items == 2 * MANY); /* what is late is not run */
    /* Unloaded while it is held: the holder may still run it. */
    srv_engine_unload(e, SRV_LANE_EMBED);
    CHECK(!srv_engine_hold(e, SRV_LANE_EMBED));
    w = work_of("old", 60);
    CHECK_OK(srv_engine_embed(e, &w, m, crops, 1, out, &err), err);
    CHECK(uf_similarity(out, alone, dimension) > 0.999f);
    srv_engine_rest(e, &w);
    srv_engine_release(m);
    free(crops);
    free(alone);
    free(out);
}

TEST(each_client_gets_its_own)
{
    counts c = {0};
    uf_error err;
    srv_engine *e = start(&c, 1, 4, 64);
    REQUIRE(e);
    REQUIRE_OK(srv_engine_load(e, SRV_LANE_EMBED, "small", embedder, &err), err);
    check_clients(e, &c, 0);
    CHECK(c.largest == 1); /* a small network does not gain by company */
    srv_engine_destroy(e);
}

/* One core: the first lets the others begin, and the last to begin runs all that came together. */
TEST(networks_that_gain_by_it_run_in_company)
{
    counts c = {0};
    uf_error err;
    srv_engine *e = start(&c, 1, 4, 64);
    REQUIRE(e);
    REQUIRE_OK(srv_engine_load(e, SRV_LANE_EMBED, "small", embedder, &err), err);
    check_clients(e, &c, 4);
    CHECK(c.largest == 4);
    srv_engine_destroy(e);
}

static void count_up(void *user)
{
    atomic_fetch_add((_Atomic int *)user, 1);
}

/* A task that rests, or takes its time, gives its core away. */
typedef struct sleeper {
    srv_engine *e;
    srv_work work;
    _Atomic int *woken;
    bool rests;
} sleeper;

static void sleep_on(void *user)
{
    sleeper *s = user;
    uf_error err;
    if (s->rests)
        srv_engine_rest(s->e, &s->work);
    else
        usleep(70000);
    while (!s->rests && srv_engine_take(s->e, &s->work, &err) == UF_OK && !atomic_load(s->woken))
        ;
    while (!atomic_load(s->woken))
        usleep(1000);
}

static void *sleep_in_turn(void *user)
{
    sleeper *s = user;
    uf_error err;
    CHECK(!srv_engine_do(s->e, &s->work, sleep_on, s, &err));
    return NULL;
}

static void check_that_others_begin(bool rests)
{
    counts c = {0};
    uf_error err;
    _Atomic int done = 0;
    pthread_t thread;
    srv_engine *e = start(&c, 1, 1, 4);
    REQUIRE(e);
    sleeper s = {e, work_of("slow", 60), &done, rests};
    REQUIRE(!pthread_create(&thread, NULL, sleep_in_turn, &s));
    usleep(20000);
    srv_work w = work_of("quick", 60);
    CHECK_OK(srv_engine_do(e, &w, count_up, &done, &err), err);
    pthread_join(thread, NULL);
    CHECK(done == 1 && !w.core && !s.work.core);
    srv_work late = work_of("late", 0);
    CHECK(srv_engine_take(e, &late, &err) == UF_E_CANCELLED);
    srv_engine_destroy(e);
}

TEST(who_rests_gives_its_core_away)
{
    check_that_others_begin(true);
}

TEST(who_takes_long_lets_others_go_first)
{
    check_that_others_begin(false);
}

/* Tasks that take long, one core: how many are under way at once. */
typedef struct crowd {
    srv_engine *e;
    _Atomic int begun, most;
} crowd;

typedef struct member {
    crowd *all;
    srv_work work;
} member;

static void take_turns(void *user)
{
    member *k = user;
    uf_error err;
    const int now = atomic_fetch_add(&k->all->begun, 1) + 1;
    if (now > atomic_load(&k->all->most)) /* one core: nobody else is here */
        atomic_store(&k->all->most, now);
    for (int i = 0; i < 2; i++) {
        usleep(60000);
        CHECK_OK(srv_engine_take(k->all->e, &k->work, &err), err);
    }
    atomic_fetch_sub(&k->all->begun, 1);
}

static void *join_crowd(void *user)
{
    member *k = user;
    uf_error err;
    CHECK_OK(srv_engine_do(k->all->e, &k->work, take_turns, k, &err), err);
    return NULL;
}

TEST(few_are_under_way_where_all_take_long)
{
    counts c = {0};
    crowd all = {start(&c, 1, 1, 64), 0, 0};
    member members[MANY];
    pthread_t threads[MANY];
    REQUIRE(all.e);
    for (int i = 0; i < MANY; i++) {
        members[i] = (member){&all, work_of("client", 60)};
        REQUIRE(!pthread_create(&threads[i], NULL, join_crowd, &members[i]));
    }
    for (int i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
    CHECK(!all.begun && all.most > 1 && all.most <= 3);
    srv_engine_destroy(all.e);
}

/* Two requests in company. The second runs what is left of the first one's, during which the model
 * is unloaded, and the first gives its core away: with nothing of the model on it. */
typedef struct company {
    client first, second;
    pthread_t thread;
    _Atomic int unloaded;
} company;

static void unload_meanwhile(void *user, srv_lane_name lane, size_t size, double seconds)
{
    company *k = user;
    (void)seconds;
    if (size == 4) {
        CHECK(!pthread_create(&k->thread, NULL, embed, &k->second));
        while (!atomic_load(&k->unloaded))
            usleep(1000);
    } else if (size == 2) {
        srv_engine_unload(k->first.e, lane);
        atomic_store(&k->unloaded, 1);
        usleep(100000); /* the first one waits for its last crop now */
    }
}

TEST(no_core_keeps_a_model_that_was_unloaded)
{
    static const uint8_t crops[5 * CROP];
    company k = {.unloaded = 0};
    const srv_engine_options o = {.workers = 2, .batch = 4, .wait_us = 200000, .queue = 8};
    srv_engine *e = NULL;
    uf_error err;
    REQUIRE_OK(srv_engine_create(&e, &o, unload_meanwhile, &k, &err), err);
    REQUIRE_OK(srv_engine_load(e, SRV_LANE_EMBED, "small", embedder, &err), err);
    srv_loaded *m = srv_engine_hold(e, SRV_LANE_EMBED);
    atomic_store(&m->together, 4);
    float *out = calloc(6 * uf_embedder_dimension(srv_loaded_embedder(m)), sizeof *out);
    REQUIRE(out);
    k.first = (client){.e = e, .out = out, .work = work_of("first", 60)};
    k.second = (client){
        e, crops, out + 5 * uf_embedder_dimension(srv_loaded_embedder(m)), UF_E_STATE, {0}};
    CHECK_OK(srv_engine_embed(e, &k.first.work, m, crops, 5, out, &err), err);
    srv_engine_rest(e, &k.first.work);
    REQUIRE(atomic_load(&k.unloaded));
    pthread_join(k.thread, NULL);
    CHECK(k.second.status == UF_OK);
    CHECK(atomic_load(&m->users) == 1);
    srv_engine_release(m);
    srv_engine_destroy(e);
    free(out);
}

TEST_MAIN
