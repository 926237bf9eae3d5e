/* Pipelines: order, errors of single pictures, bounds, and answers that equal those of single runs.
 * Built with the thread sanitizer these are the tests of its threads. */
#include "uniface/pipeline.h"

#include <sys/stat.h>

#include "api/pipeline_impl.h"
#include "detector_maker.h"

enum { FILES = 12, SIDE = 64, PICTURES = 200 };

static char folder[] = "/tmp/uniface-pipeline-XXXXXX";
static char paths[FILES][64];

/* A picture whose four cells of 32 x 32 are dark or bright, by the bits of its number, in a colour
 * of its own. */
static uf_status write_picture(int number, const char *path, uf_error *err)
{
    uint8_t pixels[SIDE * SIDE * 3];
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int c = 0; c < 3; c++) {
                const int cell = (y / 32) * 2 + x / 32, bright = number >> cell & 1;
                pixels[(y * SIDE + x) * 3 + c] =
                    (uint8_t)((bright ? 200 : 30) + (number * (3 + c)) % 50);
            }
    const uf_image image = {
        .format = UF_PIXEL_RGB8, .width = SIDE, .height = SIDE, .planes = {pixels}};
    uf_picture *p = NULL;
    uf_status st = uf_picture_from_image(&p, &image, err);
    if (!st)
        st = uf_picture_save(p, path, err);
    uf_picture_destroy(p);
    return st;
}

/* False when this build writes no PNG. */
static bool write_pictures(void)
{
    uf_error err;
    if (paths[0][0])
        return true;
    if (!mkdtemp(folder))
        return false;
    for (int i = 0; i < FILES; i++) {
        char path[64];
        snprintf(path, sizeof path, "%s/%d.png", folder, i);
        if (write_picture(i + 1, path, &err))
            return false;
        memcpy(paths[i], path, sizeof path);
    }
    return true;
}

/* Means of four cells of the crop, 12 numbers; of what lies above `floor` (-1: all), so that crops
 * without anything brighter have no direction. */
static uf_model *make_embedder_above(float floor)
{
    static pb graph, node, source;
    char path[] = "/tmp/uniface-embedder-XXXXXX";
    const int64_t kernel[2] = {32, 32}, input[4] = {0, 3, SIDE, SIDE}, output[2] = {0, 12};
    const int64_t same[4] = {3, 3, 1, 1};
    const float identity[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1}, bias[3] = {-floor, -floor, -floor};
    uf_import_options o = UF_IMPORT_OPTIONS_INIT;
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    o.preset = "arcface";
    graph.size = 0;
    onnx_begin_node(&node, "Conv", "x w b", "c");
    onnx_end_node(&graph, &node);
    onnx_begin_node(&node, "Relu", "c", "r");
    onnx_end_node(&graph, &node);
    onnx_floats(&graph, "w", same, 4, identity, 9);
    onnx_floats(&graph, "b", same, 1, bias, 3);
    onnx_begin_node(&node, "AveragePool", floor > -1 ? "r" : "x", "p");
    onnx_ints(&node, "kernel_shape", kernel, 2);
    onnx_ints(&node, "strides", kernel, 2);
    onnx_end_node(&graph, &node);
    onnx_begin_node(&node, "Flatten", "p", "y");
    onnx_end_node(&graph, &node);
    onnx_io(&graph, 11, "x", input, 4);
    onnx_io(&graph, 12, "y", output, 2);
    onnx_model(&source, &graph, 13);
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, source.bytes, source.size) != (ssize_t)source.size)
        return NULL;
    close(fd);
    if (uf_model_import(&m, path, &o, &err))
        printf("no embedder: %s\n", err.message);
    unlink(path);
    return m;
}

static uf_model *make_embedder_model(void)
{
    return make_embedder_above(-1);
}

typedef struct answer {
    uf_status status;
    size_t faces;
    uf_face first;
    float template[12];
} answer;

/* Puts `count` pictures, number i the file i modulo FILES, and takes all. */
static void run_all(uf_pipeline *p, size_t count, answer *answers)
{
    uf_error err;
    uf_pipeline_item item;
    size_t put = 0, taken = 0;
    while (put < count || uf_pipeline_pending(p)) {
        while (put < count && uf_pipeline_room(p))
            REQUIRE_OK(uf_pipeline_put(p, paths[put++ % FILES], &err), err);
        REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
        REQUIRE(item.number == taken);
        answers[taken] = (answer){.status = item.status, .faces = item.face_count};
        if (item.faces && item.face_count)
            answers[taken].first = item.faces[0];
        if (item.templates && item.face_count)
            memcpy(answers[taken].template, item.templates, sizeof answers[taken].template);
        taken++;
    }
    CHECK(taken == count);
}

static float similarity(const float *a, const float *b)
{
    return uf_similarity(a, b, 12);
}

TEST(crops_come_out_in_order_and_as_alone)
{
    static answer answers[PICTURES];
    uf_error err;
    uf_embedder *alone = NULL;
    uf_pipeline *p = NULL;
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    uf_model *m = make_embedder_model();
    REQUIRE(m);
    o.batch = 5;
    o.decoders = 3;
    REQUIRE_OK(uf_embedder_create(&alone, m, NULL, &err), err);
    REQUIRE_OK(uf_pipeline_create(&p, NULL, m, &o, &err), err);
    CHECK(uf_pipeline_dimension(p) == 12 && uf_pipeline_room(p) == 16);
    run_all(p, PICTURES, answers);
    for (size_t i = 0; i < PICTURES; i++) {
        float want[12];
        uf_picture *picture = NULL;
        REQUIRE_OK(uf_picture_load(&picture, paths[i % FILES], NULL, &err), err);
        const uf_image view = uf_picture_view(picture);
        CHECK_OK(uf_embedder_run_crops(alone, view.planes[0], 1, want, &err), err);
        CHECK(answers[i].status == UF_OK && answers[i].faces == 1);
        CHECK(similarity(want, answers[i].template) > 0.99999f);
        uf_picture_destroy(picture);
    }
    uf_pipeline_destroy(p);
    uf_embedder_destroy(alone);
    uf_model_close(m);
}

TEST(faces_are_those_of_single_runs)
{
    static answer answers[PICTURES];
    uf_error err;
    uf_detector *alone = NULL;
    uf_embedder *embedder = NULL;
    uf_pipeline *p = NULL;
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    uf_model *d = make_detector_model(BATCH_OPEN, SIDE), *m = make_embedder_model();
    REQUIRE(d && m);
    o.max_faces = 3;
    o.ring = 20;
    REQUIRE_OK(uf_detector_create(&alone, d, NULL, &err), err);
    REQUIRE_OK(uf_embedder_create(&embedder, m, NULL, &err), err);
    REQUIRE_OK(uf_pipeline_create(&p, d, m, &o, &err), err);
    run_all(p, PICTURES, answers);
    for (size_t i = 0; i < PICTURES; i++) {
        uf_face faces[8];
        size_t count;
        float want[12];
        uf_picture *picture = NULL;
        REQUIRE_OK(uf_picture_load(&picture, paths[i % FILES], NULL, &err), err);
        const uf_image view = uf_picture_view(picture);
        REQUIRE_OK(uf_detector_run(alone, &view, faces, 8, &count, &err), err);
        CHECK(count > 0 && answers[i].faces == (count < 3 ? count : 3));
        CHECK_MSG(fabsf(answers[i].first.x - faces[0].x) < 1e-2f &&
                      fabsf(answers[i].first.score - faces[0].score) < 1e-5f,
                  "picture %zu: x %g, alone %g; score %.7f, alone %.7f", i,
                  (double)answers[i].first.x, (double)faces[0].x, (double)answers[i].first.score,
                  (double)faces[0].score);
        CHECK_OK(uf_embedder_run(embedder, &view, &faces[0], want, &err), err);
        CHECK(similarity(want, answers[i].template) > 0.9999f);
        uf_picture_destroy(picture);
    }
    uf_pipeline_destroy(p);
    uf_detector_destroy(alone);
    uf_embedder_destroy(embedder);
    uf_model_close(d);
    uf_model_close(m);
}

TEST(the_main_face_is_large_and_in_the_middle)
{
    uf_error err;
    uf_pipeline *p = NULL;
    uf_pipeline_item item;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    uf_model *d = make_detector_model(BATCH_OPEN, SIDE);
    REQUIRE(d);
    REQUIRE_OK(uf_pipeline_create(&p, d, NULL, NULL, &err), err);
    REQUIRE_OK(uf_pipeline_put(p, paths[10], &err), err); /* 11: three cells are bright */
    REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
    CHECK(item.face_count == 1 && item.faces && !item.templates && item.width == SIDE);
    uf_pipeline_destroy(p);
    uf_model_close(d);
}

/* The picture of a file, each pixel enlarged to by x by, as a JPEG. */
static uf_status write_enlarged(const char *from, int32_t by, const char *path, uf_error *err)
{
    const int32_t side = SIDE * by;
    uint8_t *pixels = malloc((size_t)side * (size_t)side * 3);
    uf_picture *small = NULL, *large = NULL;
    uf_status st = uf_picture_load(&small, from, NULL, err);
    if (!st && pixels) {
        const uf_image view = uf_picture_view(small);
        for (int32_t i = 0; i < side * side; i++)
            memcpy(pixels + (size_t)i * 3,
                   view.planes[0] + (size_t)((i / side / by) * SIDE + i % side / by) * 3, 3);
        const uf_image image = {
            .format = UF_PIXEL_RGB8, .width = side, .height = side, .planes = {pixels}};
        st = uf_picture_from_image(&large, &image, err);
        if (!st)
            st = uf_picture_save(large, path, err);
    }
    uf_picture_destroy(small);
    uf_picture_destroy(large);
    free(pixels);
    return st;
}

/* Faces are as large as a quarter of the picture: a reduced one has too little for the embedder. */
TEST(reduced_pictures_answer_as_whole_ones)
{
    char path[80];
    uf_error err;
    uf_pipeline *p = NULL;
    uf_pipeline_item item;
    uf_face first = {0};
    float whole[12] = {0};
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    snprintf(path, sizeof path, "%s/large.jpg", folder);
    if (write_enlarged(paths[10], 8, path, &err))
        SKIP("JPEG cannot be written by this build");
    uf_model *d = make_detector_model(BATCH_OPEN, SIDE), *m = make_embedder_model();
    REQUIRE(d && m);
    for (int reduced = 0; reduced < 2; reduced++) {
        o.decode.min_side = reduced ? 0 : UF_IMAGE_MAX_SIDE;
        REQUIRE_OK(uf_pipeline_create(&p, d, m, &o, &err), err);
        REQUIRE_OK(uf_pipeline_put(p, path, &err), err);
        REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
        CHECK(item.status == UF_OK && item.width == SIDE * 8 && item.height == SIDE * 8);
        CHECK(!reduced || p->decode.min_side == 2 * SIDE);
        REQUIRE(item.face_count == 1);
        if (reduced) {
            CHECK(fabsf(item.faces[0].x - first.x) < 8 && fabsf(item.faces[0].y - first.y) < 8);
            CHECK(fabsf(item.faces[0].width - first.width) < 8);
            CHECK(similarity(whole, item.templates) > 0.999f);
        } else {
            first = item.faces[0];
            memcpy(whole, item.templates, sizeof whole);
        }
        uf_pipeline_destroy(p);
    }
    unlink(path);
    uf_model_close(d);
    uf_model_close(m);
}

/* Faces are judged on pixels enough, as they would be in the whole picture; poor ones get zeros. */
TEST(faces_are_judged)
{
    static const float zeros[12];
    char path[80];
    uf_error err;
    uf_pipeline_item item;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    snprintf(path, sizeof path, "%s/judged.jpg", folder);
    if (write_enlarged(paths[10], 8, path, &err))
        SKIP("JPEG cannot be written by this build");
    uf_model *d = make_detector_model(BATCH_OPEN, SIDE), *m = make_embedder_model();
    REQUIRE(d && m);
    const char *const both[2] = {path, paths[10]};
    for (int k = 0; k < 6; k++) {
        const int judge = k / 2;
        uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
        uf_pipeline *p = NULL;
        uf_picture *whole = NULL;
        uf_quality want;
        o.judge = judge;
        o.lanes = 1;
        o.detector.engine.threads = 3;
        REQUIRE_OK(uf_pipeline_create(&p, d, m, &o, &err), err);
        CHECK(p->lane_count == 1);
        REQUIRE_OK(uf_pipeline_put(p, both[k % 2], &err), err);
        REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
        REQUIRE(item.status == UF_OK && item.face_count == 1);
        REQUIRE((item.qualities != NULL) == (judge != UF_PIPELINE_JUDGE_NONE));
        REQUIRE_OK(uf_picture_load(&whole, both[k % 2], NULL, &err), err);
        const uf_image view = uf_picture_view(whole);
        REQUIRE_OK(uf_face_quality(&view, &item.faces[0], &want, &err), err);
        CHECK((want.size == 1) == (k % 2 == 0));
        if (judge) {
            CHECK(item.qualities[0].size == want.size);
            CHECK(!item.qualities[0].reason[0] == !want.reason[0]);
            CHECK(fabsf(item.qualities[0].exposure - want.exposure) < 0.05f);
        }
        CHECK((memcmp(item.templates, zeros, sizeof zeros) == 0) ==
              (want.reason[0] && judge == UF_PIPELINE_SKIP_POOR));
        uf_picture_destroy(whole);
        uf_pipeline_destroy(p);
    }
    unlink(path);
    uf_model_close(d);
    uf_model_close(m);
}

TEST(a_bad_picture_takes_no_other_with_it)
{
    uf_error err;
    uf_pipeline *p = NULL;
    uf_pipeline_item item;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    uf_model *m = make_embedder_model();
    REQUIRE(m);
    REQUIRE_OK(uf_pipeline_create(&p, NULL, m, NULL, &err), err);
    REQUIRE_OK(uf_pipeline_put(p, paths[0], &err), err);
    REQUIRE_OK(uf_pipeline_put(p, "/no/such/picture.png", &err), err);
    REQUIRE_OK(uf_pipeline_put_bytes(p, "no picture at all", 17, &err), err);
    REQUIRE_OK(uf_pipeline_put_bytes(p, "", 0, &err), err);
    REQUIRE_OK(uf_pipeline_put(p, paths[1], &err), err);
    REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
    CHECK(item.status == UF_OK && item.templates && item.message[0] == '\0');
    REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
    CHECK(item.status == UF_E_IO && !item.templates && !item.face_count);
    CHECK_MSG(strstr(item.message, "/no/such/picture.png"), "%s", item.message);
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
        CHECK(item.status == UF_E_FORMAT || item.status == UF_E_UNSUPPORTED);
        CHECK(item.message[0] && item.width == 0);
    }
    REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
    CHECK(item.status == UF_OK && item.number == 4 && item.width == SIDE);
    CHECK(uf_pipeline_next(p, &item, &err) == UF_E_STATE);
    uf_pipeline_destroy(p);
    uf_model_close(m);
}

/* 128 x 64, dark but for the first cell and the last of its row: faces as far apart as crops need.
 */
static uf_status write_two(uint8_t first, uint8_t last, const char *path, uf_error *err)
{
    static uint8_t pixels[2 * SIDE * SIDE * 3];
    uf_picture *p = NULL;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < 2 * SIDE; x++)
            memset(pixels + (y * 2 * SIDE + x) * 3,
                   y >= CELL       ? 30
                   : x < CELL      ? first
                   : x >= 3 * CELL ? last
                                   : 30,
                   3);
    const uf_image image = {
        .format = UF_PIXEL_RGB8, .width = 2 * SIDE, .height = SIDE, .planes = {pixels}};
    uf_status st = uf_picture_from_image(&p, &image, err);
    if (!st)
        st = uf_picture_save(p, path, err);
    uf_picture_destroy(p);
    return st;
}

/* What both faces of a picture come to where one of them, or none, is too dull for the embedder. */
static void check_two(const uf_pipeline_item *item, bool has_fault)
{
    static const float zeros[12];
    CHECK_MSG(item->status == UF_OK && item->face_count == 2, "%s", item->message);
    CHECK(item->main_face == 0 || item->main_face == 1);
    REQUIRE((item->faults != NULL) == has_fault);
    for (size_t i = 0; i < item->face_count; i++) {
        const bool dull = has_fault && item->faces[i].x < CELL;
        CHECK((memcmp(item->templates + i * 12, zeros, sizeof zeros) == 0) == dull);
        if (has_fault && dull)
            CHECK_MSG(item->faults[i].status == UF_E_QUALITY &&
                          strstr(item->faults[i].message, "no direction"),
                      "%s", item->faults[i].message);
        else if (has_fault)
            CHECK(item->faults[i].status == UF_OK && !item->faults[i].message[0]);
    }
}

TEST(a_bad_face_takes_no_other_with_it)
{
    char both[80], dull[80];
    uf_error err;
    uf_pipeline_item item;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    snprintf(both, sizeof both, "%s/both.png", folder);
    snprintf(dull, sizeof dull, "%s/dull.png", folder);
    REQUIRE_OK(write_two(250, 250, both, &err), err);
    REQUIRE_OK(write_two(200, 250, dull, &err), err);
    uf_model *d = make_detector_model(BATCH_OPEN, 2 * SIDE), *m = make_embedder_above(0.75f);
    REQUIRE(d && m);
    for (int batch = 1; batch < 9; batch += 7) {
        const char *const order[] = {both, dull, both, dull, dull, both, both, both};
        uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
        uf_pipeline *p = NULL;
        o.max_faces = 5;
        o.batch = (uint32_t)batch;
        o.judge = batch > 1 ? UF_PIPELINE_JUDGE_ALL : UF_PIPELINE_JUDGE_NONE;
        REQUIRE_OK(uf_pipeline_create(&p, d, m, &o, &err), err);
        for (int i = 0; i < 8; i++) {
            REQUIRE_OK(uf_pipeline_put(p, order[i], &err), err);
            REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
            check_two(&item, order[i] == dull);
        }
        uf_pipeline_destroy(p);
    }
    unlink(both);
    unlink(dull);
    uf_model_close(d);
    uf_model_close(m);
}

/* The face that is wanted alone fails for the whole picture; what others are is told all the same.
 */
TEST(only_the_main_face_is_embedded)
{
    static const float zeros[12];
    char path[80];
    uf_error err;
    uf_pipeline_item item;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    snprintf(path, sizeof path, "%s/two.png", folder);
    uf_model *d = make_detector_model(BATCH_OPEN, 2 * SIDE), *m = make_embedder_above(0.75f);
    REQUIRE(d && m);
    for (int k = 0; k < 4; k++) {
        const bool is_dull = k & 1;
        uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
        uf_pipeline *p = NULL;
        uf_picture *whole = NULL;
        uint8_t crop[CELL * CELL * 3];
        o.max_faces = k < 2 ? 0 : 5;
        o.main_only = 1;
        o.judge = UF_PIPELINE_JUDGE_ALL;
        o.crop_side = CELL;
        REQUIRE_OK(write_two(is_dull ? 200 : 250, is_dull ? 200 : 250, path, &err), err);
        REQUIRE_OK(uf_pipeline_create(&p, d, m, &o, &err), err);
        REQUIRE_OK(uf_pipeline_put(p, path, &err), err);
        REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
        CHECK_MSG(item.status == (is_dull ? UF_E_QUALITY : UF_OK) && !item.faults, "%s",
                  item.message);
        CHECK(!is_dull || (strstr(item.message, path) && !item.crop && item.main_face == -1));
        CHECK(item.face_count == (is_dull ? 0 : k < 2 ? 1 : 2));
        for (size_t i = 0; i < item.face_count; i++) {
            const bool is_main = (int32_t)i == item.main_face;
            CHECK((memcmp(item.templates + i * 12, zeros, sizeof zeros) != 0) == is_main);
            CHECK((item.qualities[i].score > 0) == is_main);
        }
        if (!is_dull) {
            REQUIRE_OK(uf_picture_load(&whole, path, NULL, &err), err);
            const uf_image view = uf_picture_view(whole);
            REQUIRE(item.main_face >= 0 && item.crop);
            CHECK_OK(
                uf_face_align(&view, item.faces[item.main_face].landmarks, NULL, CELL, crop, &err),
                err);
            CHECK(memcmp(crop, item.crop, sizeof crop) == 0);
        }
        uf_picture_destroy(whole);
        uf_pipeline_destroy(p);
    }
    unlink(path);
    uf_model_close(d);
    uf_model_close(m);
}

/* A crop is the only face of its picture, however many are allowed. */
TEST(a_crop_without_a_template_is_a_picture_that_failed)
{
    char path[80];
    uf_error err;
    uf_pipeline_item item;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    snprintf(path, sizeof path, "%s/crop.png", folder);
    REQUIRE_OK(write_two(30, 30, path, &err), err);
    uf_model *m = make_embedder_above(0.75f);
    REQUIRE(m);
    for (uint32_t most = 0; most < 3; most++) {
        uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
        uf_pipeline *p = NULL;
        o.max_faces = most;
        REQUIRE_OK(uf_pipeline_create(&p, NULL, m, &o, &err), err);
        REQUIRE_OK(uf_pipeline_put(p, path, &err), err);
        REQUIRE_OK(uf_pipeline_next(p, &item, &err), err);
        CHECK_MSG(item.status == UF_E_QUALITY && !item.faults && !item.templates &&
                      strstr(item.message, path),
                  "max_faces %u: %d %s", most, (int)item.status, item.message);
        uf_pipeline_destroy(p);
    }
    unlink(path);
    uf_model_close(m);
}

TEST(the_ring_and_the_pixels_are_bounded)
{
    static answer answers[PICTURES];
    uf_error err;
    uf_pipeline *p = NULL;
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    uf_model *d = make_detector_model(BATCH_OPEN, SIDE);
    REQUIRE(d);
    o.batch = 4;
    o.ring = 4;
    o.max_bytes = 1; /* one picture at a time, and still no standstill */
    REQUIRE_OK(uf_pipeline_create(&p, d, NULL, &o, &err), err);
    for (int i = 0; i < 5; i++)
        CHECK(uf_pipeline_put(p, paths[i], &err) == UF_OK);
    CHECK(uf_pipeline_room(p) == 0 && uf_pipeline_pending(p) == 5);
    CHECK(uf_pipeline_put(p, paths[0], &err) == UF_E_STATE && strstr(err.message, "full"));
    uf_pipeline_destroy(p);
    REQUIRE_OK(uf_pipeline_create(&p, d, NULL, &o, &err), err);
    run_all(p, PICTURES, answers);
    for (size_t i = 0; i < PICTURES; i++)
        CHECK(answers[i].status == UF_OK && answers[i].faces == 1);
    uf_pipeline_destroy(p);
    uf_model_close(d);
}

typedef struct holder {
    uf_pipeline *p;
    ufi_mutex *mutex;
    bool has_room;
} holder;

static void hold_main(void *arg)
{
    holder *h = arg;
    ufi_pipeline_hold(h->p, 600);
    ufi_mutex_lock(h->mutex);
    h->has_room = true;
    ufi_mutex_unlock(h->mutex);
    ufi_pipeline_release(h->p, 600);
}

static bool has_room(holder *h)
{
    ufi_mutex_lock(h->mutex);
    const bool yes = h->has_room;
    ufi_mutex_unlock(h->mutex);
    return yes;
}

/* Pictures that are decoded once more count: the first always may, others wait for room. */
TEST(second_decodings_count)
{
    uf_error err;
    uf_pipeline *p = NULL;
    uf_pipeline_options o = UF_PIPELINE_OPTIONS_INIT;
    ufi_thread *thread = NULL;
    holder h = {0};
    uf_model *m = make_embedder_model();
    REQUIRE(m);
    o.max_bytes = 1000;
    REQUIRE_OK(uf_pipeline_create(&p, NULL, m, &o, &err), err);
    REQUIRE_OK(ufi_mutex_create(&h.mutex, &err), err);
    h.p = p;
    ufi_pipeline_hold(p, 5000);
    CHECK(p->held_bytes == 5000 && p->second_count == 1);
    REQUIRE_OK(ufi_thread_start(&thread, hold_main, &h, &err), err);
    for (int i = 0; i < 20; i++) {
        usleep(2000);
        CHECK(!has_room(&h));
    }
    ufi_pipeline_release(p, 5000);
    ufi_thread_join(thread);
    CHECK(has_room(&h) && p->held_bytes == 0 && p->second_count == 0);
    ufi_mutex_destroy(h.mutex);
    uf_pipeline_destroy(p);
    uf_model_close(m);
}

TEST(ends_in_the_middle_of_work)
{
    uf_error err;
    uf_pipeline_item item;
    if (!write_pictures())
        SKIP("pictures cannot be written by this build");
    uf_model *m = make_embedder_model();
    REQUIRE(m);
    for (int taken = 0; taken < 20; taken++) {
        uf_pipeline *p = NULL;
        REQUIRE_OK(uf_pipeline_create(&p, NULL, m, NULL, &err), err);
        for (int i = 0; i < 24; i++)
            CHECK_OK(uf_pipeline_put(p, paths[i % FILES], &err), err);
        for (int i = 0; i < taken; i++)
            CHECK_OK(uf_pipeline_next(p, &item, &err), err);
        uf_pipeline_destroy(p);
    }
    uf_model_close(m);
}

TEST(options_and_arguments_are_checked)
{
    uf_error err;
    uf_pipeline *p = NULL;
    uf_pipeline_item item;
    uf_model *m = make_embedder_model();
    const uf_pipeline_options good = UF_PIPELINE_OPTIONS_INIT;
    uf_pipeline_options o = good;
    REQUIRE(m);
    CHECK(uf_pipeline_create(&p, NULL, NULL, NULL, &err) == UF_E_ARG && !p);
    CHECK(uf_pipeline_create(&p, m, NULL, NULL, &err) == UF_E_MISMATCH && !p);
    o.batch = 0;
    CHECK(uf_pipeline_create(&p, NULL, m, &o, &err) == UF_E_ARG && strstr(err.message, "batch"));
    o = good, o.ring = 3;
    CHECK(uf_pipeline_create(&p, NULL, m, &o, &err) == UF_E_ARG && strstr(err.message, "ring"));
    o = good, o.judge = UF_PIPELINE_JUDGE_ALL;
    CHECK(uf_pipeline_create(&p, NULL, m, &o, &err) == UF_E_ARG && strstr(err.message, "judge"));
    o = good, o.crop_side = 112;
    CHECK(uf_pipeline_create(&p, NULL, m, &o, &err) == UF_E_ARG &&
          strstr(err.message, "crop_side"));
    o = good, o.max_faces = 5000;
    CHECK(uf_pipeline_create(&p, NULL, m, &o, &err) == UF_E_ARG);
    o = good, o.decoders = 1000;
    CHECK(uf_pipeline_create(&p, NULL, m, &o, &err) == UF_E_ARG);
    o = good, o.detector.engine.device = "GPU:7";
    CHECK(uf_pipeline_create(&p, NULL, m, &o, &err) == UF_E_DEVICE_NOT_FOUND && !p);
    REQUIRE_OK(uf_pipeline_create(&p, NULL, m, NULL, &err), err);
    CHECK(uf_pipeline_put(p, NULL, &err) == UF_E_ARG);
    CHECK(uf_pipeline_put_bytes(p, NULL, 5, &err) == UF_E_ARG);
    CHECK(uf_pipeline_next(p, NULL, &err) == UF_E_ARG);
    CHECK(uf_pipeline_next(p, &item, &err) == UF_E_STATE);
    uf_pipeline_destroy(p);
    uf_pipeline_destroy(NULL);
    uf_model_close(m);
}

TEST(last_files_go)
{
    for (int i = 0; i < FILES; i++)
        unlink(paths[i]);
    rmdir(folder);
}

TEST_MAIN
