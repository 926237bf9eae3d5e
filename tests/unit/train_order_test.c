/* Batches of P persons with K pictures each. */
#include "test.h"

#include "train/data.h"
#include "train_maker.h"

enum { PERSONS = 7, OF_EACH = 3, SIDE = 16 };

static ufi_loader_options options_of(size_t batch, size_t per_person)
{
    ufi_loader_options o = {
        .batch = batch, .seed = 7, .threads = 2, .view_count = 1, .per_person = per_person};
    o.views[0] = (ufi_crop_view){.size = SIDE, .jitter = true};
    memcpy(o.views[0].points, ufi_align_arcface, sizeof o.views[0].points);
    return o;
}

/* Folders of 1, 2, ... PERSONS pictures, and five pictures of nobody. */
static ufi_dataset *make_persons(void)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    static char people[64], others[64];
    const char *sources[2] = {people, others};
    scratch_open();
    snprintf(people, sizeof people, "%s", in_scratch("people"));
    snprintf(others, sizeof others, "%s", in_scratch("others"));
    mkdir(people, 0755);
    mkdir(others, 0755);
    for (int p = 0; p < PERSONS; p++) {
        mkdir(in_scratch("people/%d", p), 0755);
        for (int t = 0; t <= p; t++)
            save_face(in_scratch("people/%d/%d.png", p, t), 24, 24, 10 * p + t);
    }
    for (int t = 0; t < 5; t++)
        save_face(in_scratch("others/%d.png", t), 24, 24, 100 + t);
    if (ufi_dataset_open(&d, sources, 2, &err))
        printf("%s\n", err.message);
    return d;
}

/* OF_EACH pictures of each person that the batch begins a row of, none of them twice where there
 * are so many. */
static void check_rows(const ufi_batch *b, size_t batch, int came[PERSONS], int *seen)
{
    bool here[PERSONS] = {false};
    for (size_t i = 0; i < batch; i += OF_EACH) {
        const int32_t person = b->labels[i];
        REQUIRE(person >= 0 && person < PERSONS);
        CHECK_MSG(!here[person], "person %d comes twice", person);
        here[person] = true;
        came[person]++;
        for (size_t k = 0; k < OF_EACH; k++) {
            CHECK(b->labels[i + k] == person);
            seen[b->samples[i + k]]++;
            for (size_t j = 0; person + 1 >= OF_EACH && j < k; j++)
                CHECK(b->samples[i + j] != b->samples[i + k]);
        }
    }
}

TEST(batches_hold_so_many_pictures_of_each_person)
{
    enum { BATCHES = 84, WIDE = 9 }; /* two batches are a pass over persons */
    uf_error err = {0};
    ufi_dataset *d = make_persons();
    ufi_loader *l = NULL;
    REQUIRE(d && ufi_dataset_count(d) == 28 + 5);
    const ufi_loader_options o = options_of(WIDE, OF_EACH);
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    int came[PERSONS] = {0}, seen[33] = {0};
    for (int i = 0; i < BATCHES; i++) {
        ufi_batch b;
        REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
        CHECK(b.epoch == (uint32_t)i / 3 && b.position == (size_t)i % 3 * WIDE);
        check_rows(&b, WIDE, came, seen);
    }
    for (int p = 0; p < PERSONS; p++) /* 36 = 84 * 3 / 7 each */
        CHECK_MSG(came[p] > 28 && came[p] <= 42, "person %d came %d times", p, came[p]);
    for (size_t i = 0; i < 33; i++)
        CHECK_MSG((seen[i] > 0) == (ufi_dataset_sample(d, i)->label >= 0), "sample %zu", i);
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

/* Pixels, samples and labels of batch `number`, by a loader that begins with it. */
static bytes batch_at(const ufi_dataset *d, ufi_loader_options o, size_t number)
{
    enum { PER_EPOCH = 4 };
    uf_error err = {0};
    ufi_loader *l = NULL;
    ufi_batch b;
    bytes all = {0};
    o.epoch = (uint32_t)(number / PER_EPOCH);
    o.position = number % PER_EPOCH * o.batch;
    uf_status st = ufi_loader_create(&l, d, &o, &err);
    if (!st)
        st = ufi_loader_next(l, &b, &err);
    if (st) {
        printf("%s\n", err.message);
    } else {
        put_data(&all, b.pixels[0], o.batch * SIDE * SIDE * 3);
        put_data(&all, b.samples, o.batch * sizeof *b.samples);
        put_data(&all, b.labels, o.batch * sizeof *b.labels);
    }
    ufi_loader_destroy(l);
    return all;
}

TEST(rows_of_persons_go_on_the_same)
{
    uf_error err = {0};
    ufi_dataset *d = make_persons();
    ufi_loader *l = NULL;
    REQUIRE(d);
    ufi_loader_options o = options_of(6, OF_EACH);
    o.augment = (ufi_augment){.flip = 0.5f, .shift = 0.1f, .noise = 0.5f};
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    o.threads = 3;
    for (size_t i = 0; i < 12; i++) {
        ufi_batch b;
        REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
        bytes again = batch_at(d, o, i);
        const size_t pixels = o.batch * SIDE * SIDE * 3;
        REQUIRE(again.size == pixels + o.batch * 8);
        CHECK_MSG(!memcmp(again.data, b.pixels[0], pixels), "pixels of batch %zu", i);
        CHECK_MSG(!memcmp(again.data + pixels, b.samples, o.batch * 4), "samples of batch %zu", i);
        bytes_free(&again);
    }
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(too_few_persons_are_refused)
{
    static const struct {
        size_t batch, per_person;
        bool nobody;
        const char *says;
    } cases[] = {{8, 3, false, "cannot hold 3 pictures of each"},
                 {4, 4, false, "cannot hold 4 pictures of each"},
                 {16, 2, false, "takes 8 persons, there are 7"},
                 {4, 2, true, "takes 2 persons, there are 0"}};
    static const uint32_t nobody[] = {28, 29, 30, 31, 32};
    ufi_dataset *d = make_persons();
    REQUIRE(d);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uf_error err = {0};
        ufi_loader *l = NULL;
        ufi_loader_options o = options_of(cases[i].batch, cases[i].per_person);
        if (cases[i].nobody) {
            o.subset = nobody;
            o.subset_count = 5;
        }
        CHECK(ufi_loader_create(&l, d, &o, &err) == UF_E_ARG && !l);
        CHECK_MSG(strstr(err.message, cases[i].says), "%s", err.message);
    }
    ufi_dataset_close(d);
    scratch_close();
}

TEST_MAIN
