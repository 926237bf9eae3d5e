/* What faces are judged, aligned and decided by; detectors on outputs made up for them. */
#include "api/model_impl.h"
#include "model/align.h"
#include "model/detector.h"
#include "test.h"

TEST(similarity_is_found_again)
{
    uf_error err;
    const uf_point from[5] = {{10, 12}, {30, 11}, {21, 22}, {13, 31}, {28, 30}};
    uf_point to[5];
    double m[6];
    const double c = 1.7 * cos(0.4), s = 1.7 * sin(0.4);
    for (int i = 0; i < 5; i++) {
        to[i].x = (float)(c * (double)from[i].x - s * (double)from[i].y + 5);
        to[i].y = (float)(s * (double)from[i].x + c * (double)from[i].y - 3);
    }
    REQUIRE_OK(ufi_umeyama(from, to, 5, m, &err), err);
    const double want[6] = {c, -s, 5, s, c, -3};
    for (int i = 0; i < 6; i++)
        CHECK(fabs(m[i] - want[i]) < 1e-4);
}

TEST(points_that_coincide_cannot_be_aligned)
{
    uf_error err;
    float m[6];
    uf_point same[5] = {{7, 7}, {7, 7}, {7, 7}, {7, 7}, {7, 7}};
    CHECK(ufi_align_matrix(same, ufi_align_arcface, 112, m, &err) == UF_E_ARG);
    same[2].x = NAN;
    CHECK(ufi_align_matrix(same, ufi_align_arcface, 112, m, &err) == UF_E_ARG);
}

TEST(template_points_map_onto_themselves)
{
    uf_error err;
    float m[6];
    uf_point at[5];
    for (int i = 0; i < 5; i++)
        at[i] = (uf_point){ufi_align_arcface[2 * i] * 112, ufi_align_arcface[2 * i + 1] * 112};
    REQUIRE_OK(ufi_align_matrix(at, ufi_align_arcface, 112, m, &err), err);
    const float identity[6] = {1, 0, 0, 0, 1, 0};
    for (int i = 0; i < 6; i++)
        CHECK(fabsf(m[i] - identity[i]) < 1e-4f);
}

/* ---- candidates ---- */

TEST(overlapping_candidates_are_suppressed)
{
    ufi_candidates c = {0};
    ufi_candidates_add(&c, &(uf_face){.x = 10, .y = 10, .width = 20, .height = 20, .score = 0.8f});
    ufi_candidates_add(&c, &(uf_face){.x = 11, .y = 10, .width = 20, .height = 20, .score = 0.9f});
    ufi_candidates_add(&c, &(uf_face){.x = 50, .y = 10, .width = 20, .height = 20, .score = 0.7f});
    ufi_candidates_add(&c, &(uf_face){.x = NAN, .y = 0, .width = 20, .height = 20, .score = 1});
    ufi_candidates_add(&c, &(uf_face){.x = 0, .y = 0, .width = INFINITY, .height = 20, .score = 1});
    ufi_candidates_add(&c, &(uf_face){.x = 0, .y = 0, .width = -1, .height = 20, .score = 1});
    CHECK(c.count == 3);
    ufi_candidates_suppress(&c, 0.4f, 100);
    CHECK(c.count == 2 && c.faces[0].score == 0.9f && c.faces[1].score == 0.7f);
    ufi_candidates_suppress(&c, 0.4f, 1);
    CHECK(c.count == 1);
    ufi_candidates_free(&c);
}

/* One stride of 32 on a 64 x 64 input: four cells. */
static const ufi_detector_config one_stride = {.stride_count = 1,
                                               .strides = {32},
                                               .anchors = 1,
                                               .prior_count = 1,
                                               .prior_counts = {1},
                                               .priors = {40},
                                               .variances = {0.1f, 0.2f},
                                               .score = 0.5f,
                                               .nms = 0.3f,
                                               .top = 10};

TEST(yunet_decodes)
{
    uf_error err;
    float cls[4] = {0, 0, 0, 0.81f}, obj[4] = {1, 1, 1, 1}, box[16] = {0}, points[40] = {0};
    box[12] = 0.5f, box[13] = 0.25f, box[14] = logf(2), box[15] = logf(0.5f);
    points[30] = 0.5f; /* the first point of cell 3: the viewer's left eye */
    ufi_detector_outputs o = {.data = {cls, obj, box, points},
                              .rows = {4, 4, 4, 4},
                              .columns = {1, 1, 4, 10},
                              .count = 4,
                              .width = 64,
                              .height = 64};
    ufi_candidates c = {0};
    REQUIRE_OK(ufi_decode_yunet(&one_stride, &o, &c, &err), err);
    REQUIRE(c.count == 1);
    CHECK(fabsf(c.faces[0].score - 0.9f) < 1e-6f);
    CHECK(fabsf(c.faces[0].width - 64) < 1e-4f && fabsf(c.faces[0].height - 16) < 1e-4f);
    CHECK(fabsf(c.faces[0].x - 16) < 1e-4f && fabsf(c.faces[0].y - 32) < 1e-4f);
    CHECK(fabsf(c.faces[0].landmarks[0].x - 48) < 1e-4f);
    o.rows[2] = 3;
    CHECK(ufi_decode_yunet(&one_stride, &o, &c, &err) == UF_E_MISMATCH);
    ufi_candidates_free(&c);
}

TEST(scrfd_decodes)
{
    uf_error err;
    float score[4] = {0, 0.6f, 0, 0}, box[16] = {0}, points[40] = {0};
    box[4] = 0.5f, box[5] = 0.25f, box[6] = 1, box[7] = 2;
    points[10] = -0.5f;
    ufi_detector_outputs o = {.data = {score, box, points},
                              .rows = {4, 4, 4},
                              .columns = {1, 4, 10},
                              .count = 3,
                              .width = 64,
                              .height = 64};
    ufi_candidates c = {0};
    REQUIRE_OK(ufi_decode_scrfd(&one_stride, &o, &c, &err), err);
    REQUIRE(c.count == 1);
    CHECK(c.faces[0].x == 16 && c.faces[0].y == -8);
    CHECK(c.faces[0].width == 48 && c.faces[0].height == 72);
    CHECK(c.faces[0].landmarks[0].x == 16);
    ufi_candidates_free(&c);
}

TEST(prior_families_decode)
{
    uf_error err;
    float scores[8] = {1, 0, 1, 0, 0.1f, 0.9f, 1, 0}, boxes[16] = {0}, points[40] = {0};
    boxes[8] = 1; /* a tenth of the prior to the right */
    ufi_detector_outputs o = {.data = {scores, boxes, points},
                              .rows = {4, 4, 4},
                              .columns = {2, 4, 10},
                              .count = 3,
                              .width = 64,
                              .height = 64};
    ufi_candidates c = {0};
    REQUIRE_OK(ufi_decode_retinaface(&one_stride, &o, &c, &err), err);
    REQUIRE(c.count == 1); /* cell 2: its centre is (16, 48) */
    CHECK(fabsf(c.faces[0].x - 0) < 1e-4f && fabsf(c.faces[0].y - 28) < 1e-4f);
    c.count = 0;
    REQUIRE_OK(ufi_decode_ultraface(&one_stride, &o, &c, &err), err);
    CHECK(c.count == 1 && !c.faces[0].has_landmarks && fabsf(c.faces[0].width - 40) < 1e-4f);
    ufi_candidates_free(&c);
}

/* Networks may answer anything: NaN, infinities, enormous numbers. */
TEST(wild_outputs_do_no_harm)
{
    static const float wild[] = {NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-40f, 0, 1};
    ufi_decode_faces *const decoders[] = {ufi_decode_yunet, ufi_decode_scrfd, ufi_decode_ultraface,
                                          ufi_decode_retinaface};
    float data[5][64];
    uint64_t seed = 11;
    uf_error err;
    ufi_candidates c = {0};
    for (int round = 0; round < 500; round++) {
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 64; k++)
                data[i][k] = wild[test_random(&seed) % 8];
        ufi_detector_outputs o = {.data = {data[0], data[1], data[2], data[3], data[4]},
                                  .rows = {4, 4, 4, 4, 4},
                                  .columns = {1, 1, 4, 10, 2},
                                  .count = 5,
                                  .width = 64,
                                  .height = 64};
        for (size_t d = 0; d < 4; d++) {
            c.count = 0;
            CHECK_OK(decoders[d](&one_stride, &o, &c, &err), err);
            for (size_t i = 0; i < c.count; i++)
                CHECK(isfinite(c.faces[i].x) && isfinite(c.faces[i].score) && c.faces[i].width > 0);
            ufi_candidates_suppress(&c, 0.3f, 100);
        }
    }
    ufi_candidates_free(&c);
}

/* ---- quality ---- */

TEST(quality_names_the_reason)
{
    static uint8_t pixels[200 * 200 * 3];
    uf_error err;
    uf_quality q;
    uf_image v = {.format = UF_PIXEL_RGB8, .width = 200, .height = 200, .planes = {pixels}};
    uf_face f = {.x = 50, .y = 50, .width = 100, .height = 100, .score = 0.9f, .has_landmarks = 1};
    const uf_point frontal[5] = {{80, 85}, {120, 85}, {100, 107}, {84, 125}, {116, 125}};
    memcpy(f.landmarks, frontal, sizeof frontal);
    for (int i = 0; i < 200 * 200 * 3; i++)
        pixels[i] = (uint8_t)(60 + (i / 3 % 200 / 4 % 2 ^ i / 600 / 4 % 2) * 120);
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK_MSG(q.total > 0.7f && !q.reason[0], "%g %s", (double)q.total, q.reason);
    CHECK(fabsf(q.yaw) < 3 && fabsf(q.pitch) < 12 && fabsf(q.roll) < 1);
    uf_face changed = f;
    changed.width = changed.height = 18;
    REQUIRE_OK(uf_face_quality(&v, &changed, &q, &err), err);
    CHECK(strstr(q.reason, "small") != NULL);
    changed = f, changed.landmarks[2].x = 119;
    REQUIRE_OK(uf_face_quality(&v, &changed, &q, &err), err);
    CHECK_MSG(q.yaw > 30 && q.pose < 0.7f, "yaw %g", (double)q.yaw);
    changed = f, changed.x = -40;
    REQUIRE_OK(uf_face_quality(&v, &changed, &q, &err), err);
    CHECK_MSG(strstr(q.reason, "border") != NULL, "%s", q.reason);
    memset(pixels, 3, sizeof pixels);
    REQUIRE_OK(uf_face_quality(&v, &f, &q, &err), err);
    CHECK(q.exposure == 0 && q.sharpness == 0 && q.reason[0]);
    changed = f, changed.width = NAN;
    CHECK(uf_face_quality(&v, &changed, &q, &err) == UF_E_ARG);
}

TEST(thresholds_are_found_by_their_rate)
{
    uf_model *m;
    uf_threshold t;
    uf_error err;
    REQUIRE_OK(ufi_model_new(&m, &err), err);
    REQUIRE_OK(ufi_meta_set(&m->file.meta, "threshold.1e-1", "0.25 0.09 0.11 0.8 1000 100", &err),
               err);
    REQUIRE_OK(uf_model_threshold(m, 0.1f, &t, &err), err);
    CHECK(fabsf(t.threshold - 0.25f) < 1e-6f && t.impostor_trials == 1000);
    CHECK(uf_model_threshold(m, 0.01f, &t, &err) == UF_E_UNCALIBRATED);
    CHECK(uf_model_threshold(m, 0.2f, &t, &err) == UF_E_ARG);
    CHECK(uf_model_threshold(m, NAN, &t, &err) == UF_E_ARG);
    uf_model_close(m);
}

TEST_MAIN
