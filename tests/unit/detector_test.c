/* Several pictures in one run of a detector: the same faces as one by one. */
#include "model/detector.h"

#include "detector_maker.h"
#include "test.h"

enum { SIDE = 128, MOST = 256, PICTURES = 21 };

static uint8_t pixels[PICTURES][SIDE * SIDE * 3];
static uf_image images[PICTURES];
static uf_face alone[PICTURES][MOST], together[PICTURES * MOST];
static size_t alone_counts[PICTURES], counts[PICTURES];

/* Cells of chance brightness. */
static void draw(size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t seed = i + 1;
        uint8_t cells[16];
        for (int k = 0; k < 16; k++)
            cells[k] = (uint8_t)(test_random(&seed) % 2 ? 200 + test_random(&seed) % 56 : 30);
        for (size_t p = 0; p < SIDE * SIDE; p++)
            memset(pixels[i] + p * 3, cells[p / SIDE / CELL * 4 + p % SIDE / CELL], 3);
        images[i] = (uf_image){
            .format = UF_PIXEL_RGB8, .width = SIDE, .height = SIDE, .planes = {pixels[i]}};
    }
}

/* Single runs and a batch on detectors of their own; *most is the largest batch. */
static void compare(uf_model *m, size_t n, int rounds, size_t *most)
{
    uf_error err = {UF_OK, ""};
    uf_detector *one = NULL, *many = NULL;
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    *most = 0;
    REQUIRE(m != NULL);
    o.engine.threads = 2;
    CHECK_OK(uf_detector_create(&one, m, &o, &err), err);
    for (size_t i = 0; i < n; i++)
        CHECK_OK(uf_detector_run(one, &images[i], alone[i], MOST, &alone_counts[i], &err), err);
    uf_detector_destroy(one);
    CHECK_OK(uf_detector_create(&many, m, &o, &err), err);
    for (int round = 0; round < rounds; round++) {
        memset(together, 0x55, sizeof together);
        CHECK_OK(uf_detector_run_batch(many, images, n, together, MOST, counts, &err), err);
        for (size_t i = 0; i < n; i++) {
            CHECK_MSG(counts[i] == alone_counts[i], "picture %zu: %zu faces, alone %zu", i,
                      counts[i], alone_counts[i]);
            size_t kept = counts[i] < MOST ? counts[i] : MOST;
            CHECK_MSG(!memcmp(together + i * MOST, alone[i], kept * sizeof **alone),
                      "picture %zu: the first face is at %.9g, alone at %.9g", i,
                      (double)together[i * MOST].x, (double)alone[i][0].x);
        }
    }
    *most = ufi_detector_together(many);
    uf_detector_destroy(many);
    uf_model_close(m);
}

static void check_form(detector_form form, size_t n, size_t want)
{
    size_t most, faces = 0;
    draw(n);
    compare(make_detector_model(form, SIDE), n, 2, &most);
    CHECK_MSG(most == want, "%zu in one run", most);
    for (size_t i = 0; i < n; i++)
        faces += counts[i];
    CHECK(faces > 2 * n);
}

TEST(open_batch_is_one_run)
{
    check_form(BATCH_OPEN, 7, 7);
}

TEST(large_batches_are_parted)
{
    check_form(BATCH_OPEN, 19, 16);
    check_form(BATCH_OPEN, 17, 16);
}

/* The pass that opens batches (pass_batch.c) has made it one that takes any. */
TEST(batch_of_one_in_reshapes_is_one_run)
{
    check_form(BATCH_FIXED, 5, 5);
}

TEST(flat_outputs_run_one_by_one)
{
    check_form(BATCH_FLAT, 5, 0);
}

TEST(outputs_that_mingle_the_batch_run_one_by_one)
{
    check_form(BATCH_MINGLED, 4, 0);
}

TEST(pictures_of_several_sizes_and_turns)
{
    size_t most;
    draw(12);
    images[2].height = images[3].height = 64; /* another size of input */
    images[4].width = images[5].width = 64;
    images[4].strides[0] = images[5].strides[0] = SIDE * 3;
    images[5].rotation = UF_ROTATE_90;
    images[6].height = 96;
    images[8].format = UF_PIXEL_BGR8;
    images[9].rotation = UF_ROTATE_180;
    compare(make_detector_model(BATCH_OPEN, SIDE), 12, 2, &most);
    CHECK_MSG(most == 5, "%zu in one run", most); /* from 7 on all are of one size */
}

TEST(all_scales_run_one_by_one)
{
    uf_error err = {UF_OK, ""};
    uf_detector *d = NULL;
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    uf_model *m = make_detector_model(BATCH_OPEN, 64);
    REQUIRE(m != NULL);
    o.size = -1;
    draw(3);
    CHECK_OK(uf_detector_create(&d, m, &o, &err), err);
    for (size_t i = 0; i < 3; i++)
        CHECK_OK(uf_detector_run(d, &images[i], alone[i], MOST, &alone_counts[i], &err), err);
    CHECK_OK(uf_detector_run_batch(d, images, 3, together, MOST, counts, &err), err);
    for (size_t i = 0; i < 3; i++)
        CHECK(counts[i] == alone_counts[i] &&
              !memcmp(together + i * MOST, alone[i], counts[i] * sizeof **alone));
    CHECK(ufi_detector_together(d) == 0);
    uf_detector_destroy(d);
    uf_model_close(m);
}

/* The times are those of the last run, whatever came before; steps are timed when asked for. */
TEST(runs_tell_where_their_time_went)
{
    static const int32_t sizes[] = {SIDE, -1, SIDE};
    uf_error err = {UF_OK, ""};
    uf_model *m = make_detector_model(BATCH_OPEN, 64);
    REQUIRE(m != NULL);
    draw(1);
    for (size_t k = 0; k < 3; k++) {
        uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
        uf_detector *d = NULL;
        uf_run_times t;
        uf_step_profile step;
        o.size = sizes[k];
        CHECK_OK(uf_detector_create(&d, m, &o, &err), err);
        uf_detector_times(d, &t);
        CHECK(t.runs == 0 && t.network_us == 0 && uf_detector_step_count(d) == 0);
        for (int run = 0; run < 3; run++) {
            CHECK_OK(uf_detector_run(d, images, alone[0], MOST, &alone_counts[0], &err), err);
            uf_detector_times(d, &t);
            CHECK(t.runs == (o.size < 0 ? 3 : 1) && t.input_us > 0 && t.network_us > 0 &&
                  t.output_us > 0);
        }
        const size_t steps = uf_detector_step_count(d);
        double sum = 0;
        CHECK(steps > 0 && uf_detector_step(d, steps, &step, &err) == UF_E_ARG);
        for (int on = 0; on < 2; on++) {
            uf_detector_set_profiling(d, on);
            CHECK_OK(uf_detector_run(d, images, alone[0], MOST, &alone_counts[0], &err), err);
            for (size_t i = 0; i < steps; i++) {
                CHECK_OK(uf_detector_step(d, i, &step, &err), err);
                sum += step.time_us;
            }
            CHECK((sum > 0) == (on == 1));
        }
        uf_detector_destroy(d);
    }
    uf_model_close(m);
}

TEST(a_bad_picture_among_good_ones_is_named)
{
    uf_error err = {UF_OK, ""};
    uf_detector *d = NULL;
    uf_model *m = make_detector_model(BATCH_OPEN, SIDE);
    REQUIRE(m != NULL);
    draw(6);
    images[3].planes[0] = NULL;
    CHECK_OK(uf_detector_create(&d, m, NULL, &err), err);
    CHECK(uf_detector_run_batch(d, images, 6, together, MOST, counts, &err) == UF_E_ARG);
    CHECK_MSG(!strncmp(err.message, "image 3: ", 9) && strstr(err.message, "planes[0]"), "%s",
              err.message);
    CHECK_OK(uf_detector_run_batch(d, images, 3, together, MOST, counts, &err), err);
    CHECK_OK(uf_detector_run_batch(d, NULL, 0, NULL, 0, NULL, &err), err);
    uf_detector_destroy(d);
    uf_model_close(m);
}

/* Networks with large activations: smaller batches, down to one. */
TEST(batches_stay_in_the_caches)
{
    size_t most;
    draw(16);
    compare(make_detector_model(BATCH_WIDE, SIDE), 16, 1, &most);
    CHECK_MSG(most > 1 && most < 16, "%zu in one run", most);
    compare(make_detector_model(BATCH_WIDE, 512), 3, 1, &most);
    CHECK_MSG(most == 0, "%zu in one run", most);
}

/* ---- the shared networks, where they are ---- */

static const char *shared(void)
{
    const char *path = getenv("UNIFACE_SHARED");
    return path ? path : UF_SOURCE_ROOT "/../shared";
}

/* The same photo, moved a little from picture to picture. */
static void check_network(const char *name, bool together_too)
{
    char path[512];
    uf_error err = {UF_OK, ""};
    uf_picture *photo = NULL;
    uf_model *m = NULL;
    size_t most;
    snprintf(path, sizeof path, "%s/models/%s", shared(), name);
    if (access(path, R_OK))
        SKIP("the shared networks are not here");
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    snprintf(path, sizeof path, "%s/testdata/photos/1.jpg", shared());
    if (uf_picture_load(&photo, path, NULL, &err)) {
        uf_model_close(m);
        SKIP("the shared photos, or a library to read them, are not here");
    }
    for (size_t i = 0; i < 4; i++) {
        images[i] = uf_picture_view(photo);
        images[i].planes[0] += i * 7 * (images[i].strides[0] + 3);
        images[i].width -= 28;
        images[i].height -= 28;
    }
    compare(m, 4, 2, &most);
    CHECK_MSG(together_too ? most > 1 : most == 0, "%zu in one run", most);
    CHECK(alone_counts[0] > 0);
    uf_picture_destroy(photo);
}

/* What a real detector makes of content that is none. */
static size_t find_in(uf_detector *d, const uf_image *v)
{
    uf_error err = {UF_OK, ""};
    size_t count = 0;
    CHECK_OK(uf_detector_run(d, v, alone[0], MOST, &count, &err), err);
    return count;
}

TEST(network_on_odd_content)
{
    char path[512];
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_detector *d = NULL;
    uf_picture *photo = NULL;
    uint64_t seed = 5;
    snprintf(path, sizeof path, "%s/models/yunet_n_320.onnx", shared());
    if (access(path, R_OK))
        SKIP("the shared networks are not here");
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    REQUIRE_OK(uf_detector_create(&d, m, NULL, &err), err);
    draw(1);
    for (int value = 0; value <= 255; value += 51) { /* black, grays, white */
        memset(pixels[0], value, sizeof pixels[0]);
        CHECK(find_in(d, &images[0]) == 0);
    }
    for (size_t i = 0; i < sizeof pixels[0]; i++)
        pixels[0][i] = (uint8_t)test_random(&seed);
    CHECK(find_in(d, &images[0]) == 0);
    for (size_t square = 1; square <= 32; square *= 2) {
        for (size_t i = 0; i < SIDE * SIDE; i++)
            memset(pixels[0] + i * 3, (i / SIDE / square + i % SIDE / square) % 2 ? 255 : 0, 3);
        CHECK_MSG(find_in(d, &images[0]) == 0, "squares of %zu", square);
    }
    snprintf(path, sizeof path, "%s/testdata/photos/1.jpg", shared());
    if (!uf_picture_load(&photo, path, NULL, &err)) {
        uf_image v = uf_picture_view(photo);
        const size_t upright = find_in(d, &v);
        CHECK(upright > 0);
        size_t stride;
        uint8_t *p = uf_picture_pixels(photo, &stride);
        for (size_t i = 0, n = (size_t)v.width * (size_t)v.height; i < n / 2; i++)
            for (size_t c = 0; c < 3; c++) { /* upside down ... */
                uint8_t t = p[i * 3 + c];
                p[i * 3 + c] = p[(n - 1 - i) * 3 + c];
                p[(n - 1 - i) * 3 + c] = t;
            }
        v.rotation = UF_ROTATE_180; /* ... and told so */
        CHECK(find_in(d, &v) == upright);
        v.rotation = UF_ROTATE_0;
        CHECK(find_in(d, &v) <= upright);
    }
    uf_picture_destroy(photo);
    uf_detector_destroy(d);
    uf_model_close(m);
}

#define NETWORK(id, file, together)            \
    TEST(network_##id)                         \
    {                                          \
        check_network(file ".onnx", together); \
    }

NETWORK(yunet_n_320, "yunet_n_320", true)
NETWORK(yunet_n_dynamic, "yunet_n_dynamic", true)
NETWORK(yunet_2023mar_640, "yunet_2023mar_640", false)
NETWORK(ultraface_rfb_320, "ultraface_rfb_320", true)
NETWORK(retinaface_mnet025_320, "retinaface_mnet025_320", true)
NETWORK(scrfd_500m_kps_dynamic, "scrfd_500m_kps_dynamic", false)
NETWORK(scrfd_2_5g_kps_static, "scrfd_2.5g_kps_static", false)

TEST_MAIN
