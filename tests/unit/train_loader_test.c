/* Loaders: the same pixels for the same seed, whoever makes them; crops that lie where they should;
 * variations that vary. */
#include "test.h"

#include "train/data.h"
#include "train_maker.h"

enum { SIDE = 96, PICTURES = 23 };

/* PICTURES drawn faces with landmarks in the scratch folder, of which every fifth is damaged when
 * `damaged`; one folder without persons. */
static ufi_dataset *make_faces(bool damaged, bool points)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    bytes list = {0};
    scratch_open();
    for (int i = 0; i < PICTURES; i++) {
        char name[32];
        uf_point at[UF_LANDMARKS];
        snprintf(name, sizeof name, "%02d.png", i);
        save_face(in_scratch("%s", name), SIDE + i, SIDE, i);
        if (damaged && i % 5 == 0)
            write_text(in_scratch("%s", name), "no picture");
        face_points(at, SIDE);
        at[2].x += (float)(i % 7) * 0.5f;
        put_row(&list, name, at);
    }
    if (points)
        write_bytes(in_scratch("landmarks.tsv"), list.data, list.size);
    bytes_free(&list);
    const char *path = scratch;
    if (ufi_dataset_open(&d, &path, 1, &err))
        printf("%s\n", err.message);
    return d;
}

static ufi_crop_view face_crop(int size, bool jitter, bool clean)
{
    ufi_crop_view v = {.size = size, .jitter = jitter, .clean = clean};
    memcpy(v.points, ufi_align_arcface, sizeof v.points);
    return v;
}

static ufi_loader_options plain_options(size_t batch)
{
    ufi_loader_options o = {.batch = batch, .seed = 7, .threads = 1, .view_count = 1};
    o.views[0] = face_crop(40, true, false);
    return o;
}

static const ufi_augment everything = {.flip = 0.5f,
                                       .shift = 0.1f,
                                       .scale = 0.2f,
                                       .rotate = 20,
                                       .colour = 0.3f,
                                       .gray = 0.2f,
                                       .blur = 0.5f,
                                       .low = 0.5f,
                                       .jpeg = 0.5f,
                                       .noise = 0.5f,
                                       .occlude = 0.5f,
                                       .blend = 0.5f,
                                       .tone = 0.5f};

/* ---- determinism ---- */

/* What a run of some batches gave: pixels, samples, labels, places. */
static bytes run_loader(const ufi_dataset *d, const ufi_loader_options *o, size_t batches)
{
    uf_error err = {0};
    ufi_loader *l = NULL;
    bytes all = {0};
    if (ufi_loader_create(&l, d, o, &err)) {
        printf("%s\n", err.message);
        return all;
    }
    for (size_t i = 0; i < batches; i++) {
        ufi_batch b;
        if (ufi_loader_next(l, &b, &err)) {
            printf("%s\n", err.message);
            break;
        }
        const size_t views = o->scene.size ? 1 : o->view_count;
        for (size_t k = 0; k < views; k++) {
            const size_t size = (size_t)(o->scene.size ? o->scene.size : o->views[k].size);
            put_data(&all, b.pixels[k], o->batch * size * size * 3);
        }
        put_data(&all, b.samples, o->batch * sizeof *b.samples);
        put_data(&all, b.labels, o->batch * sizeof *b.labels);
        put_data(&all, b.mirrored, o->batch * sizeof *b.mirrored);
        put_le(&all, b.epoch, 4);
        put_le(&all, b.position, 8);
    }
    ufi_loader_destroy(l);
    return all;
}

static bool equal(const bytes *a, const bytes *b)
{
    return a->size > 0 && a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Threads, cache, damaged pictures: nothing but the seed changes pixels. */
static void check_runs(bool damaged, int scene)
{
    ufi_dataset *d = make_faces(damaged, true);
    REQUIRE(d);
    ufi_loader_options o = plain_options(4);
    o.augment = everything;
    o.view_count = 3;
    o.views[1] = face_crop(56, true, false);
    o.views[2] = face_crop(40, false, true);
    if (scene)
        o.scene = (ufi_scene){scene, 3, 10, 50};
    bytes first = run_loader(d, &o, 13); /* five batches are an epoch */
    o.threads = 3;
    bytes threads = run_loader(d, &o, 13);
    o.cache_bytes = 10 * SIDE * SIDE * 3;
    bytes cached = run_loader(d, &o, 13);
    o.cache_bytes = SIZE_MAX;
    bytes all_cached = run_loader(d, &o, 13);
    o.seed++;
    bytes other = run_loader(d, &o, 13);
    CHECK(equal(&first, &threads));
    CHECK(equal(&first, &cached));
    CHECK(equal(&first, &all_cached));
    CHECK(!equal(&first, &other));
    bytes *all[] = {&first, &threads, &cached, &all_cached, &other};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        bytes_free(all[i]);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(threads_and_cache_change_nothing)
{
    check_runs(false, 0);
}

TEST(damaged_pictures_change_nothing_between_runs)
{
    check_runs(true, 0);
}

TEST(scenes_are_the_same_for_all_threads)
{
    check_runs(false, 64);
    check_runs(true, 64);
}

TEST(a_resumed_run_goes_on_the_same)
{
    ufi_dataset *d = make_faces(true, true);
    REQUIRE(d);
    ufi_loader_options o = plain_options(4);
    o.augment = everything;
    o.threads = 2;
    bytes whole = run_loader(d, &o, 12);
    const size_t one = whole.size / 12;
    for (size_t done = 1; done < 12; done++) {
        o.epoch = (uint32_t)(done / 5);
        o.position = done % 5 * 4;
        bytes rest = run_loader(d, &o, 2);
        const size_t left = done == 11 ? one : 2 * one;
        CHECK_MSG(rest.size == 2 * one && memcmp(rest.data, whole.data + done * one, left) == 0,
                  "resumed after %zu batches", done);
        bytes_free(&rest);
    }
    o.epoch = 0;
    o.position = 20; /* an epoch that has ended */
    bytes rest = run_loader(d, &o, 1);
    CHECK(rest.size == one && memcmp(rest.data, whole.data + 5 * one, one) == 0);
    bytes_free(&rest);
    bytes_free(&whole);
    ufi_dataset_close(d);
    scratch_close();
}

/* ---- order ---- */

static void check_order(const uint32_t *subset, size_t count, size_t batch)
{
    uf_error err = {0};
    ufi_dataset *d = make_faces(false, true);
    ufi_loader *l = NULL;
    REQUIRE(d);
    ufi_loader_options o = plain_options(batch);
    o.subset = subset;
    o.subset_count = count;
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    uint32_t before[PICTURES] = {0};
    for (uint32_t epoch = 0; epoch < 4; epoch++) {
        uint32_t order[PICTURES] = {0};
        int seen[PICTURES] = {0};
        size_t n = 0;
        for (size_t i = 0; i < count / batch; i++) {
            ufi_batch b;
            REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
            CHECK(b.epoch == epoch && b.position == i * batch);
            for (size_t k = 0; k < batch; k++) {
                order[n++] = b.samples[k];
                CHECK_MSG(++seen[b.samples[k]] == 1, "sample %u twice", b.samples[k]);
                bool known = !subset;
                for (size_t s = 0; subset && s < count; s++)
                    known = known || subset[s] == b.samples[k];
                CHECK_MSG(known, "sample %u is not in the subset", b.samples[k]);
            }
        }
        CHECK_MSG(memcmp(order, before, sizeof order) != 0, "epoch %u is like the one before",
                  epoch);
        memcpy(before, order, sizeof order);
    }
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(an_epoch_is_a_permutation)
{
    check_order(NULL, PICTURES, 1);
    check_order(NULL, PICTURES, 4);
}

TEST(a_subset_is_all_there_is)
{
    static const uint32_t subset[] = {3, 22, 0, 8, 9, 17, 5};
    check_order(subset, 7, 1);
    check_order(subset, 7, 2);
}

/* ---- pictures that cannot be read ---- */

TEST(unreadable_pictures_are_replaced_and_counted)
{
    uf_error err = {0}, last = {0};
    ufi_dataset *d = make_faces(true, true);
    ufi_loader *l = NULL;
    REQUIRE(d);
    ufi_loader_options o = plain_options(PICTURES);
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    for (int epoch = 0; epoch < 2; epoch++) {
        int seen[PICTURES] = {0};
        ufi_batch b;
        REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
        for (size_t k = 0; k < PICTURES; k++)
            seen[b.samples[k]]++;
        for (int i = 0; i < PICTURES; i++)
            CHECK_MSG(seen[i] == (i % 5 == 0   ? 0
                                  : i % 5 == 1 ? 2
                                               : 1),
                      "%d came %d times", i, seen[i]);
    }
    CHECK(ufi_loader_unreadable(l, &last) == 5);
    CHECK(last.status == UF_E_FORMAT && strstr(last.message, ".png"));
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(nothing_readable_is_an_error)
{
    uf_error err = {0};
    ufi_dataset *d = make_faces(true, true);
    ufi_loader *l = NULL;
    ufi_batch b;
    static const uint32_t subset[] = {0, 5, 10};
    REQUIRE(d);
    ufi_loader_options o = plain_options(2);
    o.subset = subset;
    o.subset_count = 3;
    o.threads = 2;
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    for (int i = 0; i < 3; i++) {
        CHECK(ufi_loader_next(l, &b, &err) == UF_E_FORMAT);
        CHECK(strstr(err.message, "none of 3 pictures") != NULL);
    }
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

/* Points that coincide, or lie absurdly far apart, are no face. */
TEST(useless_points_are_unreadable)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    ufi_loader *l = NULL;
    ufi_batch b;
    bytes list = {0};
    scratch_open();
    for (int i = 0; i < 3; i++) {
        char name[16];
        uf_point at[UF_LANDMARKS];
        snprintf(name, sizeof name, "%d.png", i);
        save_face(in_scratch("%s", name), SIDE, SIDE, i);
        face_points(at, SIDE);
        for (int k = 0; k < UF_LANDMARKS; k++)
            at[k] = i == 1   ? (uf_point){5, 5}
                    : i == 2 ? (uf_point){at[k].x * 9000, at[k].y * 9000}
                             : at[k];
        put_row(&list, name, at);
    }
    write_bytes(in_scratch("landmarks.tsv"), list.data, list.size);
    bytes_free(&list);
    const char *path = scratch;
    REQUIRE_OK(ufi_dataset_open(&d, &path, 1, &err), err);
    ufi_loader_options o = plain_options(3);
    o.augment = everything;
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    for (int i = 0; i < 20; i++)
        REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
    CHECK(ufi_loader_unreadable(l, &err) == 1 && strstr(err.message, "1.png: the landmarks"));
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

/* ---- where crops lie ---- */

/* Centre of the light of one dot's colour, measured near where it should be. */
static uf_point find_dot(const uint8_t *pixels, int size, int k, uf_point near, double reach)
{
    static const bool channels[UF_LANDMARKS][3] = {
        {1, 0, 0}, {0, 1, 0}, {0, 0, 1}, {1, 1, 0}, {0, 1, 1}};
    double sum = 0, sx = 0, sy = 0;
    for (int y = 0; y < size; y++)
        for (int x = 0; x < size; x++) {
            const uint8_t *p = pixels + (y * size + x) * 3;
            const double dx = x - (double)near.x, dy = y - (double)near.y;
            double v = 255;
            for (int c = 0; c < 3; c++)
                if (channels[k][c])
                    v = fmin(v, p[c]);
            if (dx * dx + dy * dy > reach * reach)
                continue;
            sum += v;
            sx += v * x;
            sy += v * y;
        }
    return (uf_point){(float)(sx / sum), (float)(sy / sum)};
}

/* A picture of five dots, `width` pixels wide, turned by `angle`. */
static ufi_dataset *make_dots(int width, double angle)
{
    uf_error err = {0};
    ufi_dataset *d = NULL;
    bytes list = {0};
    uf_point at[UF_LANDMARKS];
    scratch_open();
    face_points(at, width);
    for (int k = 0; k < UF_LANDMARKS; k++) {
        const double x = (double)at[k].x - width / 2.0, y = (double)at[k].y - width / 2.0;
        at[k].x = (float)(width / 2.0 + cos(angle) * x - sin(angle) * y);
        at[k].y = (float)(width / 2.0 + sin(angle) * x + cos(angle) * y);
    }
    uint8_t *pixels = malloc((size_t)(width * width * 3));
    draw_face(pixels, width, width, 0, at, width * 0.02);
    save_pixels(in_scratch("0.png"), pixels, width, width);
    free(pixels);
    put_row(&list, "0.png", at);
    write_bytes(in_scratch("landmarks.tsv"), list.data, list.size);
    bytes_free(&list);
    const char *path = scratch;
    if (ufi_dataset_open(&d, &path, 1, &err))
        printf("%s\n", err.message);
    return d;
}

/* The dots stand on the template in every view, mirrored with the picture. */
static void check_dots(int width, double angle, float flip)
{
    uf_error err = {0};
    ufi_dataset *d = make_dots(width, angle);
    ufi_loader *l = NULL;
    ufi_batch b;
    REQUIRE(d);
    ufi_loader_options o = plain_options(1);
    o.augment.flip = flip;
    o.augment.shift = 0.1f; /* views without jitter do not move */
    o.augment.rotate = 20;
    o.view_count = 3;
    o.views[0] = face_crop(112, false, false);
    o.views[1] = face_crop(128, false, true);
    o.views[2] = face_crop(160, false, false);
    for (int k = 0; k < 10; k++)
        o.views[2].points[k] = 0.5f + (ufi_align_arcface[k] - 0.5f) * 0.7f;
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
    CHECK(b.mirrored[0] == (flip > 0));
    for (size_t v = 0; v < 3; v++)
        for (int k = 0; k < UF_LANDMARKS; k++) {
            const int size = o.views[v].size;
            uf_point want = {o.views[v].points[2 * k] * (float)size,
                             o.views[v].points[2 * k + 1] * (float)size};
            if (flip > 0)
                want.x = (float)(size - 1) - want.x;
            const uf_point got = find_dot(b.pixels[v], size, k, want, size * 0.07);
            CHECK_MSG(fabsf(got.x - want.x) < 0.5f && fabsf(got.y - want.y) < 0.5f,
                      "%d pixels, view %zu, point %d: %.2f %.2f, not %.2f %.2f", width, v, k,
                      (double)got.x, (double)got.y, (double)want.x, (double)want.y);
        }
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(points_stand_on_the_template)
{
    for (int i = 0; i < 2; i++) {
        check_dots(100, 0, (float)i);
        check_dots(160, 0.3, (float)i);
        check_dots(700, -0.5, (float)i); /* averaged first */
    }
}

/* Jitter moves the crop by as much as it may, and all views alike. */
TEST(jitter_moves_all_views_alike)
{
    uf_error err = {0};
    ufi_dataset *d = make_dots(300, 0);
    ufi_loader *l = NULL;
    REQUIRE(d);
    ufi_loader_options o = plain_options(1);
    o.augment.shift = 0.05f;
    o.view_count = 2;
    o.views[0] = face_crop(100, true, false);
    o.views[1] = face_crop(200, true, false);
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    double most = 0;
    for (int i = 0; i < 40; i++) {
        ufi_batch b;
        REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
        const uf_point want = {ufi_align_arcface[4], ufi_align_arcface[5]};
        const uf_point small =
            find_dot(b.pixels[0], 100, 2, (uf_point){want.x * 100, want.y * 100}, 12);
        const uf_point large =
            find_dot(b.pixels[1], 200, 2, (uf_point){want.x * 200, want.y * 200}, 24);
        const double dx = (double)small.x - (double)want.x * 100;
        const double dy = (double)small.y - (double)want.y * 100;
        CHECK_MSG(fabs(dx) < 5.5 && fabs(dy) < 5.5, "moved by %.2f %.2f", dx, dy);
        CHECK(fabs((double)large.x - (double)want.x * 200 - 2 * dx) < 1);
        CHECK(fabs((double)large.y - (double)want.y * 200 - 2 * dy) < 1);
        most = fmax(most, fabs(dx));
    }
    CHECK_MSG(most > 3.5, "moved by %.2f at most", most);
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

/* What is finer than the crop's pixels becomes gray, not a pattern. */
TEST(large_pictures_do_not_alias)
{
    enum { W = 900 };
    uf_error err = {0};
    ufi_dataset *d = NULL;
    ufi_loader *l = NULL;
    ufi_batch b;
    scratch_open();
    uint8_t *pixels = malloc((size_t)W * W * 3);
    for (int y = 0; y < W; y++)
        for (int x = 0; x < W; x++)
            memset(pixels + (y * W + x) * 3, (x ^ y) & 1 ? 255 : 0, 3);
    save_pixels(in_scratch("0.png"), pixels, W, W);
    free(pixels);
    const char *path = scratch;
    REQUIRE_OK(ufi_dataset_open(&d, &path, 1, &err), err);
    ufi_loader_options o = plain_options(1);
    o.augment.rotate = 30;
    o.view_count = 2;
    o.views[1] = face_crop(40, false, true);
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    for (int i = 0; i < 5; i++) {
        REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
        for (size_t v = 0; v < 2; v++) {
            const size_t size = (size_t)o.views[v].size;
            int darkest = 255, lightest = 0;
            for (size_t k = 0; k < size * size * 3; k++) {
                darkest = b.pixels[v][k] < darkest ? b.pixels[v][k] : darkest;
                lightest = b.pixels[v][k] > lightest ? b.pixels[v][k] : lightest;
            }
            CHECK_MSG(darkest > 100 && lightest < 155, "view %zu: %d to %d", v, darkest, lightest);
        }
    }
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

/* ---- the clean view ---- */

/* Whatever else is varied, the clean view is the crop itself or its mirror image. */
TEST(the_clean_view_is_mirrored_at_most)
{
    enum { SIZE = 40 };
    uf_error err = {0};
    ufi_dataset *d = make_faces(false, true);
    ufi_loader *plain = NULL, *varied = NULL;
    REQUIRE(d);
    ufi_loader_options o = plain_options(PICTURES);
    o.views[0] = face_crop(SIZE, false, true);
    REQUIRE_OK(ufi_loader_create(&plain, d, &o, &err), err);
    o.augment = everything;
    o.augment.blend = 0;
    REQUIRE_OK(ufi_loader_create(&varied, d, &o, &err), err);
    ufi_batch a, b;
    int mirrored = 0;
    REQUIRE_OK(ufi_loader_next(plain, &a, &err), err);
    REQUIRE_OK(ufi_loader_next(varied, &b, &err), err);
    for (size_t i = 0; i < PICTURES; i++) {
        const uint8_t *p = a.pixels[0] + i * SIZE * SIZE * 3, *q = b.pixels[0] + (p - a.pixels[0]);
        size_t different = 0;
        for (size_t k = 0; k < SIZE * SIZE; k++) {
            const size_t from = b.mirrored[i] ? k / SIZE * SIZE + SIZE - 1 - k % SIZE : k;
            different += memcmp(p + 3 * from, q + 3 * k, 3) != 0;
        }
        CHECK(a.samples[i] == b.samples[i] && !a.mirrored[i]);
        CHECK_MSG(different == 0, "sample %zu: %zu pixels differ", i, different);
        mirrored += b.mirrored[i];
    }
    CHECK(mirrored > 3 && mirrored < PICTURES - 3);
    ufi_loader_destroy(plain);
    ufi_loader_destroy(varied);
    ufi_dataset_close(d);
    scratch_close();
}

/* A picture without points is taken whole: one of the crop's size comes back as it is. */
TEST(a_picture_without_points_is_the_crop)
{
    enum { W = 40, H = 30 };
    uf_error err = {0};
    ufi_dataset *d = NULL;
    ufi_loader *l = NULL;
    ufi_batch b;
    scratch_open();
    save_face(in_scratch("0.png"), W, H, 3);
    const char *path = scratch;
    REQUIRE_OK(ufi_dataset_open(&d, &path, 1, &err), err);
    ufi_loader_options o = plain_options(1);
    o.views[0] = face_crop(W, false, true);
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
    int worst = 0;
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int c = 0; c < 3; c++) {
                const int got = b.pixels[0][((y + 5) * W + x) * 3 + c];
                const int off = abs(got - drawn_byte(3, x, y, c));
                worst = off > worst ? off : worst;
            }
    CHECK_MSG(worst <= 1, "off by %d", worst);
    CHECK(b.pixels[0][0] == 0 && b.pixels[0][W * W * 3 - 1] == 0);
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

/* ---- every option ---- */

/* One option at full strength: how many of a batch's crops it changed. */
static size_t changed(const ufi_dataset *d, const ufi_augment *augment, int scene)
{
    ufi_loader_options o = plain_options(PICTURES);
    o.scene = (ufi_scene){scene, 3, 10, 50};
    const size_t side = (size_t)(scene ? scene : o.views[0].size), size = side * side * 3;
    bytes plain = run_loader(d, &o, 1);
    o.augment = *augment;
    bytes varied = run_loader(d, &o, 1);
    size_t count = 0;
    for (size_t i = 0; i < PICTURES && plain.size && varied.size; i++)
        count += memcmp(plain.data + i * size, varied.data + i * size, size) != 0;
    bytes_free(&plain);
    bytes_free(&varied);
    return count;
}

static const struct {
    const char *name;
    ufi_augment augment;
    enum { BOTH, CROPS, SCENES } of;
} options[] = {
    {"flip", {.flip = 1}, BOTH},        {"shift", {.shift = 0.1f}, CROPS},
    {"scale", {.scale = 0.2f}, CROPS},  {"rotate", {.rotate = 20}, CROPS},
    {"colour", {.colour = 0.3f}, BOTH}, {"gray", {.gray = 1}, BOTH},
    {"blur", {.blur = 1}, BOTH},        {"low", {.low = 1}, BOTH},
#ifdef UFI_WITH_JPEG
    {"jpeg", {.jpeg = 1}, BOTH},
#endif
    {"noise", {.noise = 1}, BOTH},      {"occlude", {.occlude = 1}, BOTH},
    {"blend", {.blend = 1}, CROPS},     {"tone", {.tone = 1}, CROPS},
    {"warp", {.warp = 1}, SCENES},
};

TEST(every_option_changes_something)
{
    ufi_dataset *d = make_faces(false, true);
    REQUIRE(d);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const size_t count = changed(d, &options[i].augment, 0);
        CHECK_MSG(options[i].of == SCENES ? count == 0 : count >= PICTURES - 2,
                  "%s changed %zu of %d crops", options[i].name, count, PICTURES);
    }
    CHECK(changed(d, &(ufi_augment){0}, 0) == 0);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(options_vary_scenes_too)
{
    ufi_dataset *d = make_faces(false, true);
    REQUIRE(d);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const size_t count = changed(d, &options[i].augment, 64);
        CHECK_MSG(options[i].of == CROPS || count >= PICTURES - 2, "%s changed %zu of %d scenes",
                  options[i].name, count, PICTURES);
    }
    CHECK(changed(d, &(ufi_augment){.blend = 1}, 64) > 0); /* of those pasted */
    ufi_dataset_close(d);
    scratch_close();
}

/* Faces are pasted where there is room; without them, or points, there are scenes too. */
TEST(scenes_have_faces)
{
    ufi_dataset *d = make_faces(false, true);
    REQUIRE(d);
    ufi_loader_options o = plain_options(PICTURES);
    const size_t size = 96 * 96 * 3;
    o.view_count = 0; /* scenes have one */
    o.scene = (ufi_scene){96, 0, 8, 30};
    bytes without = run_loader(d, &o, 1);
    o.scene.faces = 20;
    bytes with = run_loader(d, &o, 1);
    ufi_dataset_close(d);
    scratch_close();
    d = make_faces(false, false);
    REQUIRE(d);
    bytes unknown = run_loader(d, &o, 1);
    size_t more = 0, pixels = 0;
    REQUIRE(without.size && with.size == without.size && unknown.size == with.size);
    for (size_t i = 0; i < PICTURES; i++) {
        size_t here = 0;
        for (size_t k = 0; k < size; k++)
            here += without.data[i * size + k] != with.data[i * size + k];
        more += here > 100;
        pixels += here;
    }
    CHECK_MSG(more >= PICTURES / 2, "%zu scenes have faces", more);
    CHECK_MSG(pixels < PICTURES * size * 9 / 10, "%zu bytes are changed", pixels);
    bytes_free(&without);
    bytes_free(&with);
    bytes_free(&unknown);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(gray_has_no_colour)
{
    ufi_dataset *d = make_faces(false, true);
    REQUIRE(d);
    ufi_loader_options o = plain_options(PICTURES);
    o.augment.gray = 1;
    o.augment.colour = 0.3f;
    bytes all = run_loader(d, &o, 1);
    size_t coloured = 0;
    for (size_t i = 0; i < (size_t)PICTURES * 40 * 40; i++) {
        const uint8_t *p = all.data + 3 * i;
        coloured += abs(p[0] - p[1]) > 1 || abs(p[0] - p[2]) > 1;
    }
    CHECK_MSG(coloured == 0, "%zu pixels with colour", coloured);
    bytes_free(&all);
    ufi_dataset_close(d);
    scratch_close();
}

/* ---- new persons ---- */

static void check_blend(bool points, bool wanted)
{
    uf_error err = {0};
    ufi_dataset *d = make_faces(false, points);
    ufi_loader *l = NULL;
    ufi_batch b;
    REQUIRE(d);
    ufi_loader_options o = plain_options(PICTURES);
    o.augment.blend = 1;
    REQUIRE_OK(ufi_loader_create(&l, d, &o, &err), err);
    REQUIRE_OK(ufi_loader_next(l, &b, &err), err);
    for (size_t i = 0; i < PICTURES; i++) {
        CHECK((b.samples[i] == UINT32_MAX) == wanted);
        CHECK(b.labels[i] == -1);
    }
    ufi_loader_destroy(l);
    ufi_dataset_close(d);
    scratch_close();
}

TEST(a_blend_is_nobody)
{
    check_blend(true, true);
    check_blend(false, false);
}

/* ---- options that cannot be ---- */

/* Makes one thing wrong; false past the last. */
static bool break_options(ufi_loader_options *o, int which)
{
    static const uint32_t wrong[] = {0, PICTURES};
    if (which > 11)
        o->scene = (ufi_scene){64, 4, 10, 30};
    switch (which) {
    case 0:
        o->batch = 0;
        break;
    case 1:
        o->batch = PICTURES + 1;
        break;
    case 2:
        o->threads = 0;
        break;
    case 3:
        o->view_count = 0;
        break;
    case 4:
        o->view_count = UFI_MAX_VIEWS + 1;
        break;
    case 5:
        o->position = 3;
        break;
    case 6:
        o->position = PICTURES + 1;
        break;
    case 7:
        o->views[0].size = 0;
        break;
    case 8:
        o->views[0].size = 1 << 20;
        break;
    case 9:
        memset(o->views[0].points, 0, sizeof o->views[0].points);
        break;
    case 10:
        o->views[0].points[3] = NAN;
        break;
    case 12:
        o->scene.size = 8;
        break;
    case 13:
        o->scene.size = 1 << 20;
        break;
    case 14:
        o->scene.faces = -1;
        break;
    case 15:
        o->scene.faces = 1000;
        break;
    case 16:
        o->scene.face_min = 40;
        break;
    case 17:
        o->scene.face_max = NAN;
        break;
    case 11:
        o->subset = wrong;
        o->subset_count = 2;
        o->batch = 1;
        break;
    default:
        return false;
    }
    return true;
}

TEST(impossible_options_are_refused)
{
    uf_error err = {0};
    ufi_dataset *d = make_faces(false, true);
    ufi_loader *l = NULL;
    REQUIRE(d);
    int cases = 0;
    for (int i = 0;; i++, cases++) {
        ufi_loader_options o = plain_options(4);
        if (!break_options(&o, i))
            break;
        err.message[0] = 0;
        CHECK_MSG(ufi_loader_create(&l, d, &o, &err) == UF_E_ARG && !l && err.message[0],
                  "case %d: %s", i, err.message);
    }
    CHECK(cases == 18);
    ufi_loader_destroy(NULL);
    ufi_dataset_close(d);
    scratch_close();
}

TEST_MAIN
