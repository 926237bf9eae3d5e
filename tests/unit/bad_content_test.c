/*
 * Pictures whose content is odd, and views, faces and buffers that are wrong: a test each, through
 * the public interface. The detector is detector_maker.h's: a bright cell of 32 x 32 is a face.
 */
#include "detector_maker.h"
#include "test.h"

enum { SIDE = 256, CELLS = SIDE / CELL, MOST = 4096 };

static uint8_t pixels[1024 * 512 * 3 + 64];
static uf_face faces[MOST];

static uf_image view_of(int width, int height)
{
    return (uf_image){
        .format = UF_PIXEL_RGB8, .width = width, .height = height, .planes = {pixels}};
}

static void fill_rect(int width, int x0, int y0, int w, int h, uint8_t value)
{
    for (int y = y0; y < y0 + h; y++)
        memset(pixels + ((size_t)y * (size_t)width + (size_t)x0) * 3, value, (size_t)w * 3);
}

/* The number of faces found in `v`, which are in `faces`; -1 and a failed check on errors. */
static int detect(const uf_image *v, int size)
{
    uf_error err = {UF_OK, ""};
    uf_detector *d = NULL;
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    size_t count = 0;
    uf_model *m = make_detector_model(BATCH_OPEN, size);
    o.engine.threads = 1;
    uf_status st = m ? uf_detector_create(&d, m, &o, &err) : UF_E_STATE;
    if (!st)
        st = uf_detector_run(d, v, faces, MOST, &count, &err);
    CHECK_MSG(st == UF_OK, "%s", err.message);
    uf_detector_destroy(d);
    uf_model_close(m);
    return st ? -1 : (int)count;
}

/* ---- how many faces ---- */

TEST(no_face)
{
    uf_image v = view_of(SIDE, SIDE);
    fill_rect(SIDE, 0, 0, SIDE, SIDE, 40);
    CHECK(detect(&v, SIDE) == 0);
}

TEST(one_face_is_where_it_is)
{
    uf_image v = view_of(SIDE, SIDE);
    fill_rect(SIDE, 0, 0, SIDE, SIDE, 0);
    fill_rect(SIDE, 3 * CELL, 5 * CELL, CELL, CELL, 255);
    REQUIRE(detect(&v, SIDE) == 1);
    CHECK(fabsf(faces[0].x - (3 * CELL + 4)) < 1 && fabsf(faces[0].y - (5 * CELL + 4)) < 1);
    CHECK(fabsf(faces[0].width - 24) < 1 && faces[0].has_landmarks);
}

TEST(black_picture)
{
    uf_image v = view_of(SIDE, SIDE);
    fill_rect(SIDE, 0, 0, SIDE, SIDE, 0);
    CHECK(detect(&v, SIDE) == 0);
}

TEST(gray_picture)
{
    uf_image v = view_of(SIDE, SIDE);
    v.format = UF_PIXEL_GRAY8;
    memset(pixels, 128, SIDE * SIDE);
    CHECK(detect(&v, SIDE) == 0);
}

TEST(white_picture_is_faces_everywhere)
{
    uf_image v = view_of(SIDE, SIDE);
    fill_rect(SIDE, 0, 0, SIDE, SIDE, 255);
    CHECK(detect(&v, SIDE) == CELLS * CELLS);
}

TEST(faces_500)
{
    uf_image v = view_of(1024, 512);
    fill_rect(1024, 0, 0, 1024, 512, 255);
    for (int i = 0; i < 12; i++)
        fill_rect(1024, i * 2 * CELL, 3 * CELL, CELL, CELL, 0);
    CHECK(detect(&v, 1024) == 500);
    for (int i = 1; i < 500; i++)
        CHECK(faces[i].score <= faces[i - 1].score);
}

TEST(noise)
{
    uint64_t seed = 1;
    uf_image v = view_of(SIDE, SIDE);
    for (int i = 0; i < SIDE * SIDE * 3; i++)
        pixels[i] = (uint8_t)test_random(&seed);
    CHECK(detect(&v, SIDE) == 0); /* in the middle everywhere */
}

/* Half of all cells: the worst that a detector can be made to see, and no two overlap. */
TEST(checkerboard)
{
    uf_image v = view_of(1024, 512);
    for (int y = 0; y < 512; y += CELL)
        for (int x = 0; x < 1024; x += CELL)
            fill_rect(1024, x, y, CELL, CELL, (x / CELL + y / CELL) % 2 ? 255 : 0);
    CHECK(detect(&v, 1024) == 256);
}

/* Candidates beyond detector.top are dropped before the quadratic part. */
TEST(explosion_of_candidates_is_bounded)
{
    uf_error err;
    uf_detector *d = NULL;
    size_t count = 0;
    uf_image v = view_of(1024, 512);
    uf_model *m = make_detector_model(BATCH_OPEN, 1024);
    REQUIRE(m != NULL);
    fill_rect(1024, 0, 0, 1024, 512, 255);
    CHECK_OK(uf_model_set_meta(m, "detector.top", "100", &err), err);
    CHECK_OK(uf_detector_create(&d, m, NULL, &err), err);
    CHECK_OK(uf_detector_run(d, &v, faces, MOST, &count, &err), err);
    CHECK_MSG(count == 100, "%zu", count);
    uf_detector_destroy(d);
    uf_model_close(m);
}

TEST(room_for_fewer_faces_than_found)
{
    uf_error err;
    uf_detector *d = NULL;
    size_t count = 0;
    uf_image v = view_of(SIDE, SIDE);
    uf_model *m = make_detector_model(BATCH_OPEN, SIDE);
    REQUIRE(m != NULL);
    fill_rect(SIDE, 0, 0, SIDE, SIDE, 255);
    memset(&faces[2], 0x55, sizeof faces[2]);
    CHECK_OK(uf_detector_create(&d, m, NULL, &err), err);
    CHECK_OK(uf_detector_run(d, &v, faces, 2, &count, &err), err);
    CHECK(count == CELLS * CELLS && ((const uint8_t *)&faces[2])[0] == 0x55);
    CHECK_OK(uf_detector_run(d, &v, NULL, 0, &count, &err), err);
    CHECK(count == CELLS * CELLS);
    uf_detector_destroy(d);
    uf_model_close(m);
}

TEST(picture_of_one_pixel)
{
    uf_image v = view_of(1, 1);
    memset(pixels, 255, 3);
    CHECK(detect(&v, SIDE) == CELLS * CELLS); /* it is scaled up */
}

TEST(picture_of_1_by_1000)
{
    uf_image v = view_of(1, 1000);
    memset(pixels, 0, 3000);
    CHECK(detect(&v, SIDE) == 0);
}

TEST(transparent_picture_is_black)
{
    uf_image v = view_of(SIDE, SIDE);
    v.format = UF_PIXEL_RGBA8;
    for (int i = 0; i < SIDE * SIDE; i++)
        pixels[i * 4] = pixels[i * 4 + 1] = pixels[i * 4 + 2] = 255, pixels[i * 4 + 3] = 0;
    CHECK(detect(&v, SIDE) == 0);
    for (int i = 0; i < SIDE * SIDE; i++)
        pixels[i * 4 + 3] = 255;
    CHECK(detect(&v, SIDE) == CELLS * CELLS);
}

/* ---- odd faces ---- */

static const uf_point frontal[5] = {{80, 85}, {120, 85}, {100, 107}, {84, 125}, {116, 125}};

/* A textured picture of 200 x 200 with a face in its middle. */
static uf_face textured(uf_image *v)
{
    uf_face f = {.x = 50, .y = 50, .width = 100, .height = 100, .score = 0.9f, .has_landmarks = 1};
    memcpy(f.landmarks, frontal, sizeof frontal);
    *v = view_of(200, 200);
    for (int i = 0; i < 200 * 200 * 3; i++)
        pixels[i] = (uint8_t)(60 + (i / 3 % 200 / 4 % 2 ^ i / 600 / 4 % 2) * 120);
    return f;
}

/* A face cut by the border at (dx, dy) halves of its size is named so. */
static void check_cut(float dx, float dy)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uint8_t crop[112 * 112 * 3];
    uf_face f = textured(&v);
    f.x += dx;
    f.y += dy;
    for (int i = 0; i < 5; i++)
        f.landmarks[i].x += dx, f.landmarks[i].y += dy;
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK_MSG(q.border == 0 && q.total == 0, "border %g", (double)q.border);
    REQUIRE_OK(uf_face_align(&v, f.landmarks, NULL, 112, crop, &err), err);
    const uint8_t *corner =
        crop + ((dy < 0 ? 0 : 111) * 112 + (dx < 0 ? 0 : 111)) * 3; /* outside is black */
    CHECK(corner[0] == 0 && corner[1] == 0 && corner[2] == 0);
}

TEST(face_cut_by_the_left_border)
{
    check_cut(-100, 0);
}

TEST(face_cut_by_the_right_border)
{
    check_cut(100, 0);
}

TEST(face_cut_by_the_upper_border)
{
    check_cut(0, -100);
}

TEST(face_cut_by_the_lower_border)
{
    check_cut(0, 100);
}

TEST(face_wholly_outside)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uint8_t crop[112 * 112 * 3];
    uf_face f = textured(&v);
    f.x = 1e9f;
    for (int i = 0; i < 5; i++)
        f.landmarks[i].x += 1e7f;
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK(q.total == 0 && q.exposure == 0);
    REQUIRE_OK(uf_face_align(&v, f.landmarks, NULL, 112, crop, &err), err);
    for (size_t i = 0; i < sizeof crop; i++)
        CHECK(crop[i] == 0);
}

TEST(face_fills_the_frame)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uf_face f = textured(&v);
    f.x = f.y = 0;
    f.width = f.height = 200;
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK_MSG(q.border > 0.9f && q.size == 1, "border %g", (double)q.border);
}

TEST(face_of_half_a_pixel)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uint8_t crop[112 * 112 * 3];
    uf_face f = textured(&v);
    f.x = f.y = 100;
    f.width = f.height = 0.5f;
    for (int i = 0; i < 5; i++) {
        f.landmarks[i].x = 100 + frontal[i].x / 400;
        f.landmarks[i].y = 100 + frontal[i].y / 400;
    }
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK(q.size == 0 && strstr(q.reason, "too small"));
    REQUIRE_OK(uf_face_align(&v, f.landmarks, NULL, 112, crop, &err), err);
    CHECK(crop[0] >= 55 && crop[0] <= 185); /* of the picture, magnified */
}

/* Upside down: aligned the right way up, but judged as turned. */
TEST(face_turned_by_180_degrees)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    static uint8_t straight[112 * 112 * 3], turned[112 * 112 * 3], copy[200 * 200 * 3];
    uf_face f = textured(&v);
    for (int i = 0; i < 200 * 60 * 3; i++)
        pixels[i] = 10; /* so that up and down differ */
    REQUIRE_OK(uf_face_align(&v, f.landmarks, NULL, 112, straight, &err), err);
    memcpy(copy, pixels, sizeof copy);
    for (int i = 0; i < 200 * 200; i++)
        memcpy(pixels + i * 3, copy + (200 * 200 - 1 - i) * 3, 3);
    for (int i = 0; i < 5; i++)
        f.landmarks[i] = (uf_point){199 - frontal[i].x, 199 - frontal[i].y};
    REQUIRE_OK(uf_face_align(&v, f.landmarks, NULL, 112, turned, &err), err);
    for (size_t i = 0; i < sizeof turned; i++)
        CHECK_MSG(abs(straight[i] - turned[i]) <= 6, "byte %zu: %d and %d", i, straight[i],
                  turned[i]);
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK_MSG(q.pose == 0 && fabsf(fabsf(q.roll) - 180) < 1, "roll %g", (double)q.roll);
    CHECK(strstr(q.reason, "turned away") != NULL);
}

/* Landmarks in the order of a mirrored picture: no similarity fits, which the pose tells. */
TEST(face_with_mirrored_landmarks)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uf_face f = textured(&v);
    f.landmarks[0] = frontal[1];
    f.landmarks[1] = frontal[0];
    f.landmarks[3] = frontal[4];
    f.landmarks[4] = frontal[3];
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK_MSG(q.pose == 0 && q.reason[0], "pose %g, roll %g", (double)q.pose, (double)q.roll);
}

static void check_landmarks(uf_point p, uf_status want, const char *part)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uint8_t crop[16 * 16 * 3];
    uf_face f = textured(&v);
    for (int i = 0; i < 5; i++)
        f.landmarks[i] = p;
    CHECK(uf_face_align(&v, f.landmarks, NULL, 16, crop, &err) == want);
    CHECK_MSG(strstr(err.message, part) != NULL, "%s", err.message);
    /* The judgement bears it: where there is no pose it gives none away. */
    CHECK_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK(q.total >= 0 && q.total <= 1);
}

TEST(identical_landmarks)
{
    check_landmarks((uf_point){100, 100}, UF_E_ARG, "coincide");
}

TEST(nan_landmarks)
{
    check_landmarks((uf_point){NAN, 100}, UF_E_ARG, "not finite");
}

TEST(infinite_landmarks)
{
    check_landmarks((uf_point){100, -INFINITY}, UF_E_ARG, "not finite");
}

static void check_box(float x, float y, float width, float height)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uf_face f = textured(&v);
    f.x = x, f.y = y, f.width = width, f.height = height;
    CHECK(uf_face_quality(&v, &f, &q, &err) == UF_E_ARG);
    CHECK_MSG(strstr(err.message, "box") != NULL, "%s", err.message);
}

TEST(box_without_area)
{
    check_box(10, 10, 0, 20);
}

TEST(box_of_negative_size)
{
    check_box(10, 10, 20, -20);
}

TEST(box_that_is_nan)
{
    check_box(NAN, 10, 20, 20);
}

TEST(box_that_is_infinite)
{
    check_box(10, 10, INFINITY, 20);
}

TEST(box_of_1e38_pixels)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uf_face f = textured(&v);
    f.x = f.y = -3e38f;
    f.width = f.height = 3e38f;
    uf_status st = uf_face_quality(&v, &f, &q, &err);
    CHECK_MSG(st == UF_OK, "%s", err.message);
    CHECK(q.total == 0);
}

TEST(score_that_is_nan)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_quality q;
    uf_face f = textured(&v);
    f.score = NAN;
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK(q.score == 0 && q.total == 0 && q.reason[0]);
}

/* ---- views and buffers ---- */

static void refuse_view(const uf_image *v, const char *part)
{
    uf_error err = {UF_OK, ""};
    uf_picture *p = NULL;
    uf_quality q;
    uint8_t crop[16 * 16 * 3];
    const uf_face f = {.x = 1, .y = 1, .width = 5, .height = 5};
    CHECK(uf_picture_from_image(&p, v, &err) == UF_E_ARG && !p);
    CHECK_MSG(strstr(err.message, part) != NULL, "%s", err.message);
    CHECK(uf_face_align(v, frontal, NULL, 16, crop, &err) == UF_E_ARG);
    CHECK_MSG(strstr(err.message, part) != NULL, "%s", err.message);
    CHECK(uf_face_quality(v, &f, &q, &err) == UF_E_ARG);
    CHECK_MSG(strstr(err.message, part) != NULL, "%s", err.message);
}

#define BAD_VIEW(id, part, ...)     \
    TEST(id)                        \
    {                               \
        uf_image v = view_of(8, 8); \
        __VA_ARGS__;                \
        refuse_view(&v, part);      \
    }

BAD_VIEW(stride_less_than_width, "strides[0]", v.strides[0] = 23)
BAD_VIEW(stride_of_the_second_plane_too_short, "strides[1]", v.format = UF_PIXEL_NV12;
         v.planes[1] = pixels; v.strides[1] = 7)
BAD_VIEW(plane_missing, "planes[2]", v.format = UF_PIXEL_I420; v.planes[1] = pixels)
BAD_VIEW(plane_null, "planes[0]", v.planes[0] = NULL)
BAD_VIEW(width_0, "0 x 8", v.width = 0)
BAD_VIEW(width_negative, "-1 x 8", v.width = -1)
BAD_VIEW(height_least_number, "image size", v.height = INT32_MIN)
BAD_VIEW(width_largest_number, "image size", v.width = INT32_MAX)
BAD_VIEW(format_0, "format 0", v.format = (uf_pixel_format)0)
BAD_VIEW(format_negative, "format", v.format = (uf_pixel_format)-1)
BAD_VIEW(rotation_of_91_degrees, "rotation 91", v.rotation = (uf_rotation)91)

TEST(image_null)
{
    refuse_view(NULL, "image is NULL");
}

TEST(null_everywhere)
{
    uf_error err;
    uf_image v = view_of(8, 8);
    uf_face f = {.width = 1, .height = 1};
    uf_quality q;
    uf_picture *p;
    uint8_t crop[3] = {0};
    size_t count;
    uf_detector *d = NULL;
    uf_embedder *e = NULL;
    CHECK(uf_picture_decode(NULL, crop, 3, NULL, &err) == UF_E_ARG);
    CHECK(uf_picture_decode(&p, NULL, 3, NULL, &err) == UF_E_ARG);
    CHECK(uf_picture_load(&p, NULL, NULL, &err) == UF_E_ARG);
    CHECK(uf_picture_save(NULL, "x.png", &err) == UF_E_ARG);
    CHECK(uf_picture_from_image(NULL, &v, &err) == UF_E_ARG);
    CHECK(uf_face_quality(&v, NULL, &q, &err) == UF_E_ARG);
    CHECK(uf_face_quality(&v, &f, NULL, &err) == UF_E_ARG);
    CHECK(uf_face_align(&v, NULL, NULL, 1, crop, &err) == UF_E_ARG);
    CHECK(uf_face_align(&v, frontal, NULL, 1, NULL, &err) == UF_E_ARG);
    CHECK(uf_face_align(&v, frontal, NULL, 0, crop, &err) == UF_E_ARG);
    CHECK(uf_face_align(&v, frontal, NULL, 4097, crop, &err) == UF_E_ARG);
    CHECK(uf_detector_create(&d, NULL, NULL, &err) == UF_E_ARG && !d);
    CHECK(uf_detector_run(NULL, &v, &f, 1, &count, &err) == UF_E_ARG);
    CHECK(uf_detector_run_batch(NULL, &v, 1, &f, 1, &count, &err) == UF_E_ARG);
    CHECK(uf_embedder_create(&e, NULL, NULL, &err) == UF_E_ARG && !e);
    CHECK(uf_embedder_run_crops(NULL, crop, 1, NULL, &err) == UF_E_ARG);
    CHECK(uf_picture_decode(NULL, NULL, 0, NULL, NULL) == UF_E_ARG); /* no error wanted */
    uf_picture_destroy(NULL);
    uf_detector_destroy(NULL);
    uf_embedder_destroy(NULL);
    uf_model_close(NULL);
}

/* The same pixels, dense or at an odd address with rows that are spread: the same crop. */
TEST(misaligned_pointers_and_odd_strides)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    static uint8_t spread[200 * 613 + 7];
    static uint8_t crops[2][112 * 112 * 3 + 1];
    uf_face f = textured(&v);
    REQUIRE_OK(uf_face_align(&v, f.landmarks, NULL, 112, crops[0] + 1, &err), err);
    for (size_t y = 0; y < 200; y++)
        memcpy(spread + 7 + y * 613, pixels + y * 600, 600);
    v.planes[0] = spread + 7;
    v.strides[0] = 613;
    REQUIRE_OK(uf_face_align(&v, f.landmarks, NULL, 112, crops[1] + 1, &err), err);
    CHECK(memcmp(crops[0], crops[1], sizeof crops[0]) == 0);
}

/* The view ends with its last pixel: nothing is read behind it (ASan watches). */
TEST(nothing_is_read_behind_the_last_pixel)
{
    uf_error err = {UF_OK, ""};
    uint8_t crop[112 * 112 * 3];
    for (int side = 1; side < 40; side++) {
        size_t size = (size_t)side * (size_t)side * 3;
        uint8_t *exact = malloc(size);
        memset(exact, 90, size);
        uf_image v = {.format = UF_PIXEL_RGB8, .width = side, .height = side, .planes = {exact}};
        uf_point p[5];
        for (int i = 0; i < 5; i++)
            p[i] = (uf_point){frontal[i].x * (float)side / 200, frontal[i].y * (float)side / 200};
        CHECK_OK(uf_face_align(&v, p, NULL, 112, crop, &err), err);
        free(exact);
    }
}

TEST(crop_over_its_own_picture)
{
    uf_error err = {UF_OK, ""};
    uf_image v;
    uf_face f = textured(&v);
    CHECK(uf_face_align(&v, f.landmarks, NULL, 112, pixels + 300, &err) == UF_E_ARG);
    CHECK_MSG(strstr(err.message, "overlap") != NULL, "%s", err.message);
    CHECK(uf_face_align(&v, f.landmarks, NULL, 112, pixels + 200 * 200 * 3 - 1, &err) == UF_E_ARG);
    CHECK_OK(uf_face_align(&v, f.landmarks, NULL, 112, pixels + 200 * 200 * 3, &err), err);
    v.format = UF_PIXEL_BGR8; /* converted, and so copied, first: still no place to write to */
    CHECK(uf_face_align(&v, f.landmarks, NULL, 112, pixels, &err) == UF_E_ARG);
}

/* NaN among the numbers of a raw plane of floats: it reaches the outputs and nothing else. */
TEST(nan_in_a_plane_of_floats)
{
    uf_error err = {UF_OK, ""};
    uf_engine *e = NULL;
    size_t bytes = 0;
    uf_tensor_info shape = {.dtype = UF_F32, .rank = 4, .dims = {1, 3, SIDE, SIDE}};
    uf_model *m = make_detector_model(BATCH_OPEN, SIDE);
    REQUIRE(m != NULL);
    uf_status st = uf_engine_create(&e, m, NULL, &err);
    if (!st)
        st = uf_engine_prepare(e, &shape, 1, &err);
    CHECK_OK(st, err);
    float *x = st ? NULL : uf_engine_input(e, 0, &bytes);
    for (size_t i = 0; i < bytes / sizeof *x; i++)
        x[i] = 0.5f;
    if (x) {
        x[0] = NAN; /* in the first cell */
        CHECK_OK(uf_engine_run(e, &err), err);
        const float *score = uf_engine_output(e, 0, NULL);
        CHECK(isnan(score[0]) && score[1] == 0.5f && score[CELLS * CELLS - 1] == 0.5f);
    }
    uf_engine_destroy(e);
    uf_model_close(m);
}

TEST(picture_larger_than_the_limit_of_pixels)
{
    uf_error err = {UF_OK, ""};
    uf_picture *p = NULL;
    uf_image v = view_of(UF_IMAGE_MAX_SIDE + 1, 1);
    CHECK(uf_picture_from_image(&p, &v, &err) == UF_E_ARG && !p);
    CHECK_MSG(strstr(err.message, "32768") != NULL, "%s", err.message);
}

TEST_MAIN
