/* Thresholds from sorted scores; exact binomial intervals by bisection. */
#include "evaluate/roc.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* P(X <= k) for X binomial(n, p), summed in the logarithm so that nothing underflows early. */
static double binomial_cdf(uint64_t k, uint64_t n, double p)
{
    double sum = 0;
    if (p <= 0)
        return 1;
    if (p >= 1)
        return k >= n ? 1 : 0;
    for (uint64_t i = 0; i <= k; i++) {
        double log_term = lgamma((double)n + 1) - lgamma((double)i + 1) -
                          lgamma((double)(n - i) + 1) + (double)i * log(p) +
                          (double)(n - i) * log1p(-p);
        sum += exp(log_term);
    }
    return sum < 1 ? sum : 1;
}

/* The p at which P(X <= k) = level; the probability falls as p grows. */
static double solve(uint64_t k, uint64_t n, double level)
{
    double lo = 0, hi = 1;
    for (int i = 0; i < 60; i++) {
        double p = (lo + hi) / 2;
        if (binomial_cdf(k, n, p) > level)
            lo = p;
        else
            hi = p;
    }
    return (lo + hi) / 2;
}

void ufi_clopper_pearson(uint64_t k, uint64_t n, double *low, double *high)
{
    *low = k == 0 ? 0 : solve(k - 1, n, 0.975);
    *high = k >= n ? 1 : solve(k, n, 0.025);
}

static uf_status check_scores(const float *s, size_t n, const char *what, uf_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(s[i]))
            return ufi_fail(err, UF_E_ARG, "%s score %zu is not finite", what, i);
    return UF_OK;
}

/* How many of the sorted scores are >= threshold. */
static size_t count_from(const float *sorted, size_t n, double threshold)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if ((double)sorted[mid] >= threshold)
            hi = mid;
        else
            lo = mid + 1;
    }
    return n - lo;
}

uf_status ufi_roc_point(float *genuine, size_t genuines, float *impostor, size_t impostors,
                        double far, ufi_operating_point *out, uf_error *err)
{
    if (!(far > 0) || far > 1)
        return ufi_fail(err, UF_E_ARG, "a false accept rate of %g", far);
    if ((double)impostors * far < 1 - 1e-9)
        return ufi_fail(err, UF_E_ARG,
                        "%zu impostor comparisons cannot tell a false accept rate of %g", impostors,
                        far);
    uf_status st = check_scores(genuine, genuines, "genuine", err);
    if (!st)
        st = check_scores(impostor, impostors, "impostor", err);
    if (st)
        return st;
    qsort(impostor, impostors, sizeof *impostor, ascending);
    if (genuines)
        qsort(genuine, genuines, sizeof *genuine, ascending);
    size_t allowed = (size_t)((double)impostors * far + 1e-9);
    if (allowed >= impostors)
        allowed = impostors - 1;
    /* Just above the best impostor that must be refused. */
    float refused = impostor[impostors - 1 - allowed];
    out->threshold = (double)nextafterf(refused, INFINITY);
    size_t accepted = count_from(impostor, impostors, out->threshold);
    out->far = far;
    out->impostors = impostors;
    out->genuines = genuines;
    out->tar =
        genuines ? (double)count_from(genuine, genuines, out->threshold) / (double)genuines : 0;
    ufi_clopper_pearson(accepted, impostors, &out->far_low, &out->far_high);
    return UF_OK;
}
