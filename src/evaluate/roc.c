/* Error rates over thresholds, from sorted scores. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/status.h"
#include "evaluate/binomial.h"
#include "uniface/evaluate.h"

static int ascending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static uf_status check_scores(const float *s, size_t n, const char *what, uf_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (isnan(s[i]) || s[i] == INFINITY)
            return ufi_fail(err, UF_E_ARG, "%s score %zu is %s", what, i,
                            isnan(s[i]) ? "not a number" : "infinite");
    return UF_OK;
}

/* Lists are asked for many rates: sorted ones are left as they are. */
static void sort_scores(float *s, size_t n)
{
    size_t i = 1;
    while (i < n && s[i - 1] <= s[i])
        i++;
    if (i < n)
        qsort(s, n, sizeof *s, ascending);
}

static uf_status check_and_sort(float *genuine, size_t genuines, float *impostor, size_t impostors,
                                uf_error *err)
{
    if ((!genuine && genuines) || (!impostor && impostors))
        return ufi_fail(err, UF_E_ARG, "scores are NULL");
    uf_status st = check_scores(genuine, genuines, "genuine", err);
    if (!st)
        st = check_scores(impostor, impostors, "impostor", err);
    if (st)
        return st;
    sort_scores(genuine, genuines);
    sort_scores(impostor, impostors);
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

uf_status uf_rates_at_far(float *genuine, size_t genuine_count, float *impostor,
                          size_t impostor_count, double far, uf_threshold *out, uf_error *err)
{
    double low, high;
    if (!out)
        return ufi_fail(err, UF_E_ARG, "uf_rates_at_far: out must be given");
    if (!(far > 0) || far > 1)
        return ufi_fail(err, UF_E_ARG, "a false accept rate of %g", far);
    if ((double)impostor_count * far < 1 - 1e-6)
        return ufi_fail(err, UF_E_ARG,
                        "%zu impostor comparisons cannot tell a false accept rate of %g",
                        impostor_count, far);
    uf_status st = check_and_sort(genuine, genuine_count, impostor, impostor_count, err);
    if (st)
        return st;
    /* A rate that came through a float may lie a little below the one that was meant. */
    size_t allowed = (size_t)((double)impostor_count * far * (1 + 1e-6));
    if (allowed >= impostor_count)
        allowed = impostor_count - 1;
    /* Just above the best impostor that must be refused. */
    const float threshold = nextafterf(impostor[impostor_count - 1 - allowed], INFINITY);
    const size_t accepted = count_from(impostor, impostor_count, (double)threshold);
    const size_t right = count_from(genuine, genuine_count, (double)threshold);
    ufi_clopper_pearson(accepted, impostor_count, &low, &high);
    *out = (uf_threshold){.far = (float)far,
                          .threshold = threshold,
                          .far_low = (float)low,
                          .far_high = (float)high,
                          .tar = genuine_count ? (float)right / (float)genuine_count : 0,
                          .impostor_trials = impostor_count,
                          .genuine_trials = genuine_count};
    return UF_OK;
}

uf_status uf_rates_at_threshold(const float *genuine, size_t genuine_count, const float *impostor,
                                size_t impostor_count, double threshold, uf_rate *far, uf_rate *frr,
                                uf_error *err)
{
    uint64_t accepted = 0, refused = 0;
    if ((!genuine && genuine_count) || (!impostor && impostor_count) || isnan(threshold))
        return ufi_fail(err, UF_E_ARG, "uf_rates_at_threshold: scores or threshold are missing");
    uf_status st = check_scores(genuine, genuine_count, "genuine", err);
    if (!st)
        st = check_scores(impostor, impostor_count, "impostor", err);
    if (st)
        return st;
    for (size_t i = 0; i < impostor_count; i++)
        accepted += impostor[i] != -INFINITY && (double)impostor[i] >= threshold;
    for (size_t i = 0; i < genuine_count; i++)
        refused += genuine[i] == -INFINITY || (double)genuine[i] < threshold;
    if (far)
        *far = uf_rate_of(accepted, impostor_count);
    if (frr)
        *frr = uf_rate_of(refused, genuine_count);
    return UF_OK;
}

/* ---- walking up the thresholds ---- */

/* Each distinct score of either list in turn, then one above all. */
typedef struct walk {
    const float *genuine, *impostor; /* sorted */
    size_t genuines, impostors;
    size_t g, i; /* scores below the threshold */
    double threshold;
    bool ended;
} walk;

static uf_curve_point walk_point(const walk *w)
{
    return (uf_curve_point){.threshold = w->threshold,
                            .far = (double)(w->impostors - w->i) / (double)w->impostors,
                            .frr = (double)w->g / (double)w->genuines};
}

/* False after the last threshold. */
static bool walk_next(walk *w, bool first)
{
    if (!first) {
        if (w->ended)
            return false;
        while (w->g < w->genuines && (double)w->genuine[w->g] <= w->threshold)
            w->g++;
        while (w->i < w->impostors && (double)w->impostor[w->i] <= w->threshold)
            w->i++;
    }
    if (w->g == w->genuines && w->i == w->impostors) {
        w->threshold = (double)nextafterf((float)w->threshold, INFINITY);
        w->ended = true;
    } else if (w->i == w->impostors ||
               (w->g < w->genuines && w->genuine[w->g] < w->impostor[w->i])) {
        w->threshold = (double)w->genuine[w->g];
    } else {
        w->threshold = (double)w->impostor[w->i];
    }
    return true;
}

static uf_status start_walk(walk *w, float *genuine, size_t genuines, float *impostor,
                            size_t impostors, uf_error *err)
{
    if (!genuines || !impostors)
        return ufi_fail(err, UF_E_ARG, "%zu genuine and %zu impostor comparisons: both are needed",
                        genuines, impostors);
    *w = (walk){
        .genuine = genuine, .impostor = impostor, .genuines = genuines, .impostors = impostors};
    uf_status st = check_and_sort(genuine, genuines, impostor, impostors, err);
    /* Trials that could not be made are below every threshold. */
    while (!st && w->g < genuines && genuine[w->g] == -INFINITY)
        w->g++;
    while (!st && w->i < impostors && impostor[w->i] == -INFINITY)
        w->i++;
    return st;
}

uf_status uf_equal_error_rate(float *genuine, size_t genuine_count, float *impostor,
                              size_t impostor_count, double *rate, double *threshold, uf_error *err)
{
    walk w;
    double least = INFINITY;
    uf_status st = start_walk(&w, genuine, genuine_count, impostor, impostor_count, err);
    for (bool more = !st && walk_next(&w, true); more; more = walk_next(&w, false)) {
        const uf_curve_point p = walk_point(&w);
        const double apart = fabs(p.far - p.frr);
        if (apart < least) {
            least = apart;
            if (rate)
                *rate = (p.far + p.frr) / 2;
            if (threshold)
                *threshold = p.threshold;
        }
        if (p.frr > p.far)
            break; /* from here on they part */
    }
    return st;
}

/* Apart by `step` in the logarithm; leaving zero always counts. */
static bool apart(double a, double b, double step)
{
    return a == b ? false : a <= 0 || b <= 0 ? true : fabs(log(a) - log(b)) >= step;
}

uf_status uf_error_curve(float *genuine, size_t genuine_count, float *impostor,
                         size_t impostor_count, uf_curve_point *points, size_t cap, size_t *count,
                         uf_error *err)
{
    walk w;
    if (!points || !count || cap < 64)
        return ufi_fail(err, UF_E_ARG, "uf_error_curve: room for at least 64 points is needed");
    uf_status st = start_walk(&w, genuine, genuine_count, impostor, impostor_count, err);
    if (st)
        return st;
    /* Both rates together cross less than this many units of the logarithm. */
    const double whole = log((double)genuine_count) + log((double)impostor_count) + 1;
    const bool all = genuine_count + impostor_count < cap;
    const double step = all ? 0 : 2 * whole / (double)(cap - 8);
    uf_curve_point p = {0}, kept = {0};
    *count = 0;
    for (bool more = walk_next(&w, true); more; more = walk_next(&w, false)) {
        p = walk_point(&w);
        const bool wanted = !*count || apart(p.far, kept.far, step) || apart(p.frr, kept.frr, step);
        if (wanted && *count < cap - 1) {
            points[(*count)++] = p;
            kept = p;
        }
    }
    if (p.threshold > kept.threshold)
        points[(*count)++] = p;
    return UF_OK;
}

void uf_cmc(const uint32_t *ranks, size_t count, double *hit, size_t max_rank)
{
    for (size_t r = 0; r < max_rank; r++)
        hit[r] = 0;
    for (size_t i = 0; i < count; i++)
        if (ranks[i] >= 1 && ranks[i] <= max_rank)
            hit[ranks[i] - 1] += 1.0 / (double)count;
    for (size_t r = 1; r < max_rank; r++)
        hit[r] += hit[r - 1];
}
