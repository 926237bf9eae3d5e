/* Error rates and paired tests on planted scores with known answers. */
#include "evaluate/binomial.h"
#include "test.h"
#include "uniface/evaluate.h"

TEST(mcnemar_is_exact)
{
    CHECK(uf_mcnemar(0, 0) == 1);
    CHECK(uf_mcnemar(3, 3) == 1);
    CHECK(fabs(uf_mcnemar(5, 0) - 2.0 / 32) < 1e-12);
    CHECK(fabs(uf_mcnemar(10, 2) - 2.0 * (1 + 12 + 66) / 4096) < 1e-12);
    CHECK(uf_mcnemar(10, 2) == uf_mcnemar(2, 10));
    CHECK(uf_mcnemar(2000, 1000) < 1e-60);
}

TEST(clopper_pearson_intervals)
{
    double low, high;
    ufi_clopper_pearson(0, 100, &low, &high);
    CHECK(low == 0 && fabs(high - 0.0362) < 1e-4);
    ufi_clopper_pearson(10, 100, &low, &high);
    CHECK(fabs(low - 0.0490) < 1e-4 && fabs(high - 0.1762) < 1e-4);
    ufi_clopper_pearson(100, 100, &low, &high);
    CHECK(fabs(low - 0.9638) < 1e-4 && high == 1);
}

TEST(wilson_intervals)
{
    /* Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29. */
    uf_rate r = uf_rate_of(81, 263);
    CHECK(fabs(r.low - 0.2553) < 1e-4 && fabs(r.high - 0.3662) < 1e-4);
    r = uf_rate_of(15, 148);
    CHECK(fabs(r.low - 0.0624) < 1e-4 && fabs(r.high - 0.1605) < 1e-4);
    r = uf_rate_of(0, 20);
    CHECK(r.low == 0 && fabs(r.high - 0.1611) < 1e-4);
    r = uf_rate_of(1, 29);
    CHECK(fabs(r.low - 0.0061) < 1e-4 && fabs(r.high - 0.1718) < 1e-4);
    r = uf_rate_of(0, 0);
    CHECK(isnan(r.value) && r.low == 0 && r.high == 1);
    CHECK(uf_trials_needed(0.001) == 30000 && uf_trials_needed(0) == 0);
}

/* Impostors 0.000 .. 0.999; genuine 0.50 .. 1.49, both shuffled. */
static void plant(float *genuine, float *impostor)
{
    for (int i = 0; i < 1000; i++)
        impostor[(i * 7) % 1000] = (float)i / 1000;
    for (int i = 0; i < 100; i++)
        genuine[(i * 3) % 100] = 0.5f + (float)i / 100;
}

TEST(rates_of_planted_scores)
{
    static float impostor[1000], genuine[100];
    uf_threshold t;
    uf_rate far, frr;
    uf_error err;
    plant(genuine, impostor);
    /* At FAR 0.01 the ten best impostors pass, also when the rate came through a float. */
    REQUIRE_OK(uf_rates_at_far(genuine, 100, impostor, 1000, (double)0.01f, &t, &err), err);
    CHECK(t.threshold > 0.989f && t.threshold <= 0.99f);
    CHECK_MSG(fabsf(t.tar - 0.51f) < 1e-6f, "TAR %g", (double)t.tar);
    CHECK(t.far_low < 0.01f && t.far_high > 0.01f);
    CHECK(t.genuine_trials == 100 && t.impostor_trials == 1000);
    REQUIRE_OK(uf_rates_at_threshold(genuine, 100, impostor, 1000, 0.7499, &far, &frr, &err), err);
    CHECK(far.errors == 250 && frr.errors == 25 && far.trials == 1000 && frr.value == 0.25);
}

TEST(equal_error_rate_of_planted_scores)
{
    static float impostor[1000], genuine[100];
    double rate, threshold;
    uf_error err;
    plant(genuine, impostor);
    /* 1 - t = t - 0.5 at t = 0.75. */
    REQUIRE_OK(uf_equal_error_rate(genuine, 100, impostor, 1000, &rate, &threshold, &err), err);
    CHECK_MSG(fabs(rate - 0.25) < 0.006, "EER %g", rate);
    CHECK_MSG(fabs(threshold - 0.75) < 0.011, "threshold %g", threshold);
    for (int i = 0; i < 1000; i++)
        impostor[i] -= 2;
    REQUIRE_OK(uf_equal_error_rate(genuine, 100, impostor, 1000, &rate, &threshold, &err), err);
    CHECK(rate == 0);
    CHECK(uf_equal_error_rate(genuine, 0, impostor, 1000, &rate, &threshold, &err) == UF_E_ARG);
}

TEST(curve_is_monotonic_and_whole)
{
    static float impostor[1000], genuine[100];
    static uf_curve_point all[4096], few[200];
    size_t n, m;
    uf_error err;
    plant(genuine, impostor);
    REQUIRE_OK(uf_error_curve(genuine, 100, impostor, 1000, all, 4096, &n, &err), err);
    CHECK_MSG(n >= 1000 && n <= 1101, "%zu points", n);
    CHECK(all[0].far == 1 && all[0].frr == 0 && all[n - 1].far == 0 && all[n - 1].frr == 1);
    for (size_t i = 1; i < n; i++)
        CHECK(all[i].threshold > all[i - 1].threshold && all[i].far <= all[i - 1].far &&
              all[i].frr >= all[i - 1].frr);
    REQUIRE_OK(uf_error_curve(genuine, 100, impostor, 1000, few, 200, &m, &err), err);
    CHECK_MSG(m > 40 && m <= 200, "%zu points", m);
    CHECK(few[0].far == 1 && few[m - 1].frr == 1);
    /* Each point of the short curve is one of the long one. */
    for (size_t i = 0, k = 0; i < m; i++) {
        while (k < n && all[k].threshold < few[i].threshold)
            k++;
        CHECK(k < n && all[k].far == few[i].far && all[k].frr == few[i].frr);
    }
    CHECK(uf_error_curve(genuine, 100, impostor, 1000, few, 8, &m, &err) == UF_E_ARG);
}

TEST(trials_that_could_not_be_made_count)
{
    float genuine[10], impostor[10];
    uf_rate far, frr;
    uf_threshold t;
    uf_curve_point points[64];
    size_t n;
    uf_error err;
    for (int i = 0; i < 10; i++) {
        genuine[i] = i < 2 ? -INFINITY : 0.9f;
        impostor[i] = i < 5 ? -INFINITY : 0.1f;
    }
    REQUIRE_OK(uf_rates_at_threshold(genuine, 10, impostor, 10, -INFINITY, &far, &frr, &err), err);
    CHECK(far.value == 0.5 && frr.value == 0.2);
    REQUIRE_OK(uf_rates_at_far(genuine, 10, impostor, 10, 0.1, &t, &err), err);
    CHECK(fabsf(t.tar - 0.8f) < 1e-6f);
    REQUIRE_OK(uf_error_curve(genuine, 10, impostor, 10, points, 64, &n, &err), err);
    CHECK(points[0].far == 0.5 && points[0].frr == 0.2 && points[n - 1].frr == 1);
}

TEST(too_few_impostors_are_refused)
{
    float impostor[50] = {0}, genuine[2] = {1, 1};
    uf_threshold t;
    uf_error err;
    CHECK(uf_rates_at_far(genuine, 2, impostor, 50, 0.01, &t, &err) == UF_E_ARG);
    CHECK(strstr(err.message, "50 impostor") != NULL);
    genuine[0] = NAN;
    CHECK(uf_rates_at_far(genuine, 2, impostor, 50, 0.1, &t, &err) == UF_E_ARG);
    CHECK(uf_rates_at_far(genuine, 2, impostor, 50, 0.1, NULL, &err) == UF_E_ARG);
}

TEST(cmc_adds_up)
{
    const uint32_t ranks[8] = {1, 1, 1, 2, 3, 0, 9, 1};
    double hit[5];
    uf_cmc(ranks, 8, hit, 5);
    CHECK(hit[0] == 0.5 && hit[1] == 0.625 && hit[2] == 0.75 && hit[4] == 0.75);
}

/* ---- folds and samples ---- */

TEST(folds_choose_their_threshold_elsewhere)
{
    /* In fold 0 genuine scores are 0.4, elsewhere 0.8; impostors 0.2 everywhere: the others' best
     * threshold (0.5) refuses all genuine trials of fold 0. */
    uf_scored_trial t[40];
    double a[4];
    uf_fold_accuracy out;
    uf_error err;
    for (int i = 0; i < 40; i++)
        t[i] = (uf_scored_trial){.same = i % 2, .fold = i / 10};
    for (int i = 0; i < 40; i++)
        t[i].score = !t[i].same ? 0.2f : t[i].fold == 0 ? 0.4f : 0.8f;
    REQUIRE_OK(uf_accuracy_in_folds(t, 40, 4, a, &out, &err), err);
    CHECK(a[0] == 0.5 && a[1] == 1 && a[2] == 1 && a[3] == 1);
    CHECK(fabs(out.mean - 0.875) < 1e-12 && fabs(out.standard_error - 0.125) < 1e-12);
    t[0].score = -INFINITY; /* an impostor trial that could not be made is judged rightly */
    t[11].score = -INFINITY;
    REQUIRE_OK(uf_accuracy_in_folds(t, 40, 4, a, &out, &err), err);
    CHECK(fabs(a[1] - 0.9) < 1e-12);
    t[0].fold = 4;
    CHECK(uf_accuracy_in_folds(t, 40, 4, a, &out, &err) == UF_E_ARG);
    t[0].fold = 0;
    CHECK(uf_accuracy_in_folds(t, 40, 5, a, &out, &err) == UF_E_ARG);
}

TEST(bootstrap_covers_the_rate)
{
    /* 60 subjects, 3 genuine trials each of which one in ten subjects fails all: TAR 0.9. With
     * subjects as the unit the interval is that of 60 draws, not of 180. */
    static uf_scored_trial t[180 + 60 * 59];
    size_t n = 0;
    uf_interval eer, tar, again;
    uf_error err;
    for (uint32_t s = 0; s < 60; s++)
        for (int k = 0; k < 3; k++)
            t[n++] = (uf_scored_trial){s % 10 ? 0.9f : 0.0f, 1, 0, s, s};
    for (uint32_t a = 0; a < 60; a++)
        for (uint32_t b = 0; b < 60; b++)
            if (a != b)
                t[n++] = (uf_scored_trial){0.1f + 0.001f * (float)(a + b), 0, 0, a, b};
    REQUIRE_OK(uf_bootstrap_subjects(t, n, 0.01, 1000, 7, &eer, &tar, &err), err);
    CHECK_MSG(tar.low < 0.86 && tar.low > 0.75 && tar.high > 0.94 && tar.high < 1, "%g..%g",
              tar.low, tar.high);
    CHECK(eer.low >= 0 && eer.low <= eer.high && eer.high < 0.25);
    REQUIRE_OK(uf_bootstrap_subjects(t, n, 0.01, 1000, 7, &eer, &again, &err), err);
    CHECK(again.low == tar.low && again.high == tar.high);
    CHECK(uf_bootstrap_subjects(t, 180, 0.01, 1000, 7, &eer, &tar, &err) == UF_E_ARG);
    CHECK(uf_bootstrap_subjects(t, n, 0.01, 10, 7, &eer, &tar, &err) == UF_E_ARG);
}

TEST_MAIN
