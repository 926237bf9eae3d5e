/* The engine room with the models that come with the source: admission, batches, deadlines, swaps.
 */
#include "server/engine.h"

#include <pthread.h>
#include <stdatomic.h>

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

TEST(the_queue_has_a_limit)
{
    counts c = {0};
    srv_engine *e = start(&c, 2, 4, 3);
    REQUIRE(e && srv_engine_workers(e) == 2);
    for (int i = 0; i < 3; i++)
        CHECK(srv_engine_enter(e));
    CHECK(!srv_engine_enter(e) && srv_engine_depth(e) == 3);
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
    CHECK(srv_engine_detect(e, "a", srv_now() + 10, &image, 1, &face, 1, &found, &err) ==
          UF_E_STATE);
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
} client;

static void *embed(void *user)
{
    client *k = user;
    uf_error err;
    srv_engine_enter(k->e);
    srv_loaded *m = srv_engine_hold(k->e, SRV_LANE_EMBED);
    k->status = m ? srv_engine_embed(k->e, "client", srv_now() + 60, m, k->crop, 1, k->out, &err)
                  : UF_E_STATE;
    srv_engine_release(m);
    srv_engine_leave(k->e);
    return NULL;
}

/* Templates must not depend on the company in which they were made, nor be mixed up. */
TEST(each_client_gets_its_own)
{
    counts c = {0};
    uf_error err;
    uint64_t seed = 7;
    client clients[MANY];
    pthread_t threads[MANY];
    srv_engine *e = start(&c, 2, 4, 64);
    REQUIRE(e);
    REQUIRE_OK(srv_engine_load(e, SRV_LANE_EMBED, "small", embedder, &err), err);
    srv_loaded *m = srv_engine_hold(e, SRV_LANE_EMBED);
    REQUIRE(m && !strcmp(srv_loaded_name(m), "small"));
    const size_t dimension = uf_embedder_dimension(srv_loaded_embedder(m));
    uint8_t *crops = malloc(MANY * CROP);
    float *alone = calloc(MANY * dimension, sizeof *alone),
          *out = calloc(MANY * dimension, sizeof *out);
    REQUIRE(crops && alone && out && uf_embedder_crop_size(srv_loaded_embedder(m)) == SIDE);
    for (size_t i = 0; i < MANY * CROP; i++)
        crops[i] = (uint8_t)test_random(&seed);
    for (size_t i = 0; i < MANY; i++)
        CHECK_OK(srv_engine_embed(e, "one", srv_now() + 60, m, crops + i * CROP, 1,
                                  alone + i * dimension, &err),
                 err);
    for (size_t i = 0; i < MANY; i++) {
        clients[i] = (client){e, crops + i * CROP, out + i * dimension, UF_E_STATE};
        REQUIRE(!pthread_create(&threads[i], NULL, embed, &clients[i]));
    }
    for (size_t i = 0; i < MANY; i++) {
        pthread_join(threads[i], NULL);
        CHECK(clients[i].status == UF_OK);
        CHECK(uf_similarity(out + i * dimension, alone + i * dimension, dimension) > 0.999f);
    }
    CHECK(c.items == 2 * MANY && c.largest <= 4);
    CHECK(srv_engine_embed(e, "late", srv_now() - 1, m, crops, 1, out, &err) == UF_E_CANCELLED);
    CHECK(c.items == 2 * MANY); /* what is late is not run */
    /* Unloaded while it is held: the holder may still run it. */
    srv_engine_unload(e, SRV_LANE_EMBED);
    CHECK(!srv_engine_hold(e, SRV_LANE_EMBED));
    CHECK_OK(srv_engine_embed(e, "old", srv_now() + 60, m, crops, 1, out, &err), err);
    CHECK(uf_similarity(out, alone, dimension) > 0.999f);
    srv_engine_release(m);
    srv_engine_destroy(e);
    free(crops);
    free(alone);
    free(out);
}

TEST_MAIN
