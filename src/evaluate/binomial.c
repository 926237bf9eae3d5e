/* Exact binomial intervals by bisection, Wilson's in closed form, McNemar's test. */
#include "evaluate/binomial.h"

#include <math.h>

#include "uniface/evaluate.h"

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

uf_rate uf_rate_of(uint64_t errors, uint64_t trials)
{
    const double z = 1.959963984540054, n = (double)trials;
    uf_rate r = {NAN, 0, 1, errors, trials};
    if (!trials)
        return r;
    r.value = (double)errors / n;
    const double centre = (r.value + z * z / (2 * n)) / (1 + z * z / n);
    const double half =
        z / (1 + z * z / n) * sqrt(r.value * (1 - r.value) / n + z * z / (4 * n * n));
    r.low = errors == 0 ? 0 : fmax(0, centre - half);
    r.high = errors >= trials ? 1 : fmin(1, centre + half);
    return r;
}

uint64_t uf_trials_needed(double rate)
{
    return rate > 0 ? (uint64_t)ceil(30 / rate - 1e-6) : 0;
}

/* Under the hypothesis each discordant trial falls to either side with probability 1/2. */
double uf_mcnemar(uint64_t only_first, uint64_t only_second)
{
    const uint64_t n = only_first + only_second;
    const uint64_t less = only_first < only_second ? only_first : only_second;
    double tail = 0;
    for (uint64_t i = 0; i <= less; i++)
        tail += exp(lgamma((double)n + 1) - lgamma((double)i + 1) - lgamma((double)(n - i) + 1) -
                    (double)n * log(2));
    return fmin(1, 2 * tail);
}
