/* Losses against finite differences and known values; optimizers against sums done by hand. */
#include "test.h"
#include "train/lesson_impl.h"
#include "train/loss.h"
#include "train/optimizer.h"
#include "train/schedule.h"

enum { N = 6, D = 10, CLASSES = 4, CELLS = 5, PARTS = 3 };

typedef struct fixture {
    float student[N * D], teacher[N * 16], centres[CLASSES * D], bias, cells[N * D], sure[N * D];
    int32_t labels[N];
    ufi_margin margin;
    double (*loss)(const struct fixture *f, float *grad, float *centres_grad, float *bias_grad);
} fixture;

static double angular(const fixture *f, float *grad, float *cg, float *bg)
{
    (void)cg, (void)bg;
    return ufi_loss_angular(f->student, f->teacher, N, D, 0.5, grad);
}

static double feature(const fixture *f, float *grad, float *cg, float *bg)
{
    (void)cg, (void)bg;
    return ufi_loss_feature(f->student, f->teacher, N, D, 0.5, grad);
}

static double relational(const fixture *f, float *grad, float *cg, float *bg)
{
    float work[N * (N + 2) + N * D];
    (void)cg, (void)bg;
    return ufi_loss_relational(f->student, D, f->teacher, 16, N, 0.5, work, grad);
}

static double probability(const fixture *f, float *grad, float *cg, float *bg)
{
    (void)cg, (void)bg;
    return ufi_loss_probability(f->cells, f->teacher, f->sure, N * D, 3, 0.5, grad);
}

static double cells(const fixture *f, float *grad, float *cg, float *bg)
{
    static const float weights[CELLS] = {0, 1, 0.5f, 2, 0};
    (void)cg, (void)bg;
    return ufi_loss_cells(f->student, f->teacher, weights, CELLS, PARTS, 0.5, grad);
}

static double margin(const fixture *f, float *grad, float *cg, float *bg)
{
    float work[N * (CLASSES + 2 * D + 1) + CLASSES * (D + 1)];
    return ufi_loss_margin(&f->margin, f->student, f->labels, N, D, f->centres, &f->bias, CLASSES,
                           0.5, work, grad, cg, bg);
}

static double triplet(const fixture *f, float *grad, float *cg, float *bg)
{
    float work[N * (D + 1)];
    (void)cg, (void)bg;
    return ufi_loss_triplet(f->student, f->labels, N, D, 0.7, 0.5, work, grad);
}

static void fill(fixture *f)
{
    static const int32_t labels[N] = {0, 1, 0, 3, -1, 1};
    uint64_t seed = 11;
    for (int i = 0; i < N * D; i++) {
        f->student[i] = 2 * test_random_float(&seed);
        f->cells[i] = 0.5f + 0.4f * test_random_float(&seed);
        f->sure[i] = 1 + test_random_float(&seed);
    }
    for (int i = 0; i < N * 16; i++)
        f->teacher[i] = test_random_float(&seed);
    for (int i = 0; i < CLASSES * D; i++)
        f->centres[i] = test_random_float(&seed);
    f->bias = 0.3f;
    memcpy(f->labels, labels, sizeof labels);
}

/* Each number of `x` moved a little either way: the slope of the loss, times the weight 0.5. */
static void compare(fixture *f, float *x, const float *grad, int count)
{
    float waste[N * D] = {0}, centres_waste[CLASSES * D] = {0}, bias_waste = 0;
    for (int i = 0; i < count; i++) {
        const float was = x[i], step = 2e-3f;
        x[i] = was + step;
        const double up = f->loss(f, waste, centres_waste, &bias_waste);
        x[i] = was - step;
        const double down = f->loss(f, waste, centres_waste, &bias_waste);
        x[i] = was;
        const double slope = 0.5 * (up - down) / (double)(2 * step);
        CHECK_MSG(fabs(slope - (double)grad[i]) < 2e-3 * fmax(0.5, fabs(slope)), "[%d] %g %g", i,
                  slope, (double)grad[i]);
    }
}

static void check_gradients(fixture *f, bool of_cells)
{
    float grad[N * D] = {0}, centres_grad[CLASSES * D] = {0}, bias_grad = 0;
    const double loss = f->loss(f, grad, centres_grad, &bias_grad);
    CHECK(isfinite(loss) && loss > 0);
    compare(f, of_cells ? f->cells : f->student, grad, N * D);
    if (f->loss == margin) {
        compare(f, f->centres, centres_grad, CLASSES * D);
        compare(f, &f->bias, &bias_grad, 1);
    }
}

TEST(gradients_are_the_slopes)
{
    double (*const losses[])(const fixture *, float *, float *,
                             float *) = {angular, feature, relational, probability, cells, triplet};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        fixture f;
        fill(&f);
        f.loss = losses[i];
        check_gradients(&f, losses[i] == probability);
    }
}

TEST(gradients_of_margins_are_the_slopes)
{
    static const ufi_margin kinds[] = {{UFI_MARGIN_ARCFACE, 0.5, 8, 0, 0},
                                       {UFI_MARGIN_ARCFACE, 0.3, 8, 0.1, 0},
                                       {UFI_MARGIN_COSFACE, 0.35, 8, 0, 0},
                                       {UFI_MARGIN_UNIFIED, 0.4, 8, 0, 0.7}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        fixture f;
        fill(&f);
        f.loss = margin;
        f.margin = kinds[i];
        check_gradients(&f, false);
    }
}

TEST(losses_vanish_for_a_perfect_student)
{
    fixture f;
    float grad[N * D] = {0}, work[N * (N + 2) + N * D];
    fill(&f);
    CHECK(fabs(ufi_loss_angular(f.student, f.student, N, D, 1, grad)) < 1e-6);
    CHECK(ufi_loss_feature(f.student, f.student, N, D, 1, grad) == 0);
    CHECK(fabs(ufi_loss_relational(f.student, D, f.student, D, N, 1, work, grad)) < 1e-9);
    for (int i = 0; i < N * D; i++)
        CHECK(fabsf(grad[i]) < 1e-5f);
}

TEST(triplets_want_two_of_a_person)
{
    fixture f;
    float grad[N * D] = {0}, work[N * (D + 1)];
    fill(&f);
    for (int i = 0; i < N; i++)
        f.labels[i] = i;
    CHECK(ufi_loss_triplet(f.student, f.labels, N, D, 0.5, 1, work, grad) == 0);
}

/* ---- optimizers ---- */

static void make(ufi_variable v[2], float *data, float *grad)
{
    v[0] = (ufi_variable){.name = "w", .count = 2, .data = data, .grad = grad, .decay = true};
    v[1] = (ufi_variable){.name = "m", .count = 1, .data = data + 2, .grad = NULL};
}

TEST(sgd_and_adamw_do_their_sums)
{
    for (int kind = 0; kind < 2; kind++) {
        float data[3] = {1, -2, 5}, grad[2] = {0.5f, -0.25f};
        ufi_variable v[2];
        ufi_variable *list[2] = {&v[0], &v[1]};
        ufi_optimizer_options q = UFI_OPTIMIZER_OPTIONS_INIT;
        ufi_optimizer *o = NULL;
        uf_error err;
        double norm = 0;
        make(v, data, grad);
        q.kind = kind ? UFI_ADAMW : UFI_SGD;
        q.decay = 0.1;
        q.clip = 0;
        REQUIRE_OK(ufi_optimizer_create(&o, list, 2, &q, &err), err);
        REQUIRE_OK(ufi_optimizer_step(o, 0.01, &norm, &err), err);
        CHECK(fabs(norm - sqrt(0.3125)) < 1e-6);
        if (kind) { /* the first step of Adam is the sign */
            CHECK(fabsf(data[0] - (1 - 0.01f * 0.1f * 1 - 0.01f)) < 1e-6f);
            CHECK(fabsf(data[1] - (-2 + 0.01f * 0.1f * 2 + 0.01f)) < 1e-6f);
        } else { /* g = grad + decay w; w -= rate (g + 0.9 g) */
            CHECK(fabsf(data[0] - (1 - 0.01f * 1.9f * 0.6f)) < 1e-6f);
            CHECK(fabsf(data[1] - (-2 + 0.01f * 1.9f * 0.45f)) < 1e-6f);
        }
        CHECK(data[2] == 5);
        ufi_optimizer_destroy(o);
    }
}

TEST(clipping_average_and_infinity)
{
    float data[3] = {0, 0, 1}, grad[2] = {30, 40};
    ufi_variable v[2];
    ufi_variable *list[2] = {&v[0], &v[1]};
    ufi_optimizer_options q = {UFI_SGD, 0, 0, 0, 0, 0, 5, 0.9};
    ufi_optimizer *o = NULL;
    uf_error err;
    make(v, data, grad);
    REQUIRE_OK(ufi_optimizer_create(&o, list, 2, &q, &err), err);
    REQUIRE_OK(ufi_optimizer_step(o, 1, NULL, &err), err);
    CHECK(fabsf(data[0] + 3) < 1e-6f && fabsf(data[1] + 4) < 1e-6f);
    /* keep = 2/11 in the first step */
    CHECK(fabsf(ufi_optimizer_average(o)[0][0] + 3 * 9 / 11.0f) < 1e-5f);
    grad[0] = INFINITY;
    CHECK(ufi_optimizer_step(o, 1, NULL, &err) == UF_E_STATE);
    CHECK(fabsf(data[0] + 3) < 1e-6f);
    ufi_optimizer_destroy(o);
}

TEST(rates_rise_and_fall)
{
    const ufi_schedule c = {UFI_SCHEDULE_COSINE, 1, 0.1, 9, 109, 0, {0}, 0};
    const ufi_schedule s = {UFI_SCHEDULE_STEP, 1, 0, 0, 100, 0.1, {0.5, 0.75}, 2};
    CHECK(fabs(ufi_schedule_rate(&c, 0) - 0.1) < 1e-9);
    CHECK(fabs(ufi_schedule_rate(&c, 9) - 1) < 1e-9);
    CHECK(fabs(ufi_schedule_rate(&c, 59) - 0.55) < 1e-9);
    CHECK(fabs(ufi_schedule_rate(&c, 109) - 0.1) < 1e-9);
    CHECK(fabs(ufi_schedule_rate(&c, 5000) - 0.1) < 1e-9);
    CHECK(ufi_schedule_rate(&s, 49) == 1 && fabs(ufi_schedule_rate(&s, 50) - 0.1) < 1e-9);
    CHECK(fabs(ufi_schedule_rate(&s, 80) - 0.01) < 1e-9);
}

/* ---- a teacher that looks twice ---- */

/* A face that stands 0.3 right of the cell's left edge stands 0.7 right of its mirror image's. */
TEST(mirrored_cells_agree_about_one_face)
{
    float class_p = 0.9f, object_p = 0.9f, box[4] = {0.3f, 0.2f, 1, 2};
    float points[10] = {0.1f, 0, 0.5f, 0.1f, 0.3f, 0.2f, 0.2f, 0.4f, 0.4f, 0.5f};
    float box_there[4] = {0.7f, 0.2f, 1, 2};
    float points_there[10] = {0.5f, 0.1f, 0.9f, 0, 0.7f, 0.2f, 0.6f, 0.5f, 0.8f, 0.4f};
    const float box_before[4] = {0.3f, 0.2f, 1, 2};
    float points_before[10];
    float class_there = 0.9f, object_there = 0.5f;
    float *own[4] = {&class_p, &object_p, box, points};
    float *there[4] = {&class_there, &object_there, box_there, points_there};
    memcpy(points_before, points, sizeof points);
    ufi_join_mirrored_cell(own, 0, there, 0);
    for (int i = 0; i < 4; i++)
        CHECK(fabsf(box[i] - (float)(box_before[i])) < 1e-6f);
    for (int i = 0; i < 10; i++)
        CHECK(fabsf(points[i] - (float)(points_before[i])) < 1e-6f);
    CHECK(fabsf(object_p - (float)(0.7)) < 1e-6f);
}

TEST(a_view_without_a_face_has_no_say_about_its_box)
{
    float class_p = 0.9f, object_p = 0.8f, box[4] = {0.3f, 0.2f, 1, 2}, points[10] = {0};
    float class_there = 0.9f, object_there = 0, box_there[4] = {9, 9, 9, 9};
    float points_there[10] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
    float *own[4] = {&class_p, &object_p, box, points};
    float *there[4] = {&class_there, &object_there, box_there, points_there};
    ufi_join_mirrored_cell(own, 0, there, 0);
    CHECK(fabsf(box[0] - (float)(0.3)) < 1e-6f);
    CHECK(fabsf(points[3] - (float)(0)) < 1e-6f);
    CHECK(fabsf(object_p - (float)(0.4)) < 1e-6f);
}

TEST_MAIN
