/* Error rates and paired tests on planted scores with known answers. */
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

TEST(rates_of_planted_scores)
{
    /* Impostors 0.000 .. 0.999; genuine 0.5 .. 1.49: at FAR 0.01 the ten best impostors pass. */
    static float impostor[1000], genuine[100];
    uf_threshold t;
    uf_error err;
    for (int i = 0; i < 1000; i++)
        impostor[(i * 7) % 1000] = (float)i / 1000;
    for (int i = 0; i < 100; i++)
        genuine[(i * 3) % 100] = 0.5f + (float)i / 100;
    REQUIRE_OK(uf_rates_at_far(genuine, 100, impostor, 1000, 0.01, &t, &err), err);
    CHECK(t.threshold > 0.989f && t.threshold <= 0.99f);
    CHECK_MSG(fabsf(t.tar - 0.51f) < 1e-6f, "TAR %g", (double)t.tar);
    CHECK(t.far_low < 0.01f && t.far_high > 0.01f);
    CHECK(t.genuine_trials == 100 && t.impostor_trials == 1000);
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

TEST_MAIN
