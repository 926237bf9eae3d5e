/* Rates over folds of trials, and over samples of subjects. */
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mix.h"
#include "base/status.h"
#include "uniface/evaluate.h"

static int by_score(const void *a, const void *b)
{
    const uf_scored_trial *x = a, *y = b;
    return (x->score > y->score) - (x->score < y->score);
}

/* A sorted copy, and checks that both functions need. */
static uf_status sorted_copy(uf_scored_trial **out, const uf_scored_trial *trials, size_t count,
                             uf_error *err)
{
    if (!trials || !count)
        return ufi_fail(err, UF_E_ARG, "there are no trials");
    for (size_t i = 0; i < count; i++)
        if (isnan(trials[i].score) || trials[i].score == INFINITY)
            return ufi_fail(err, UF_E_ARG, "the score of trial %zu is no number", i);
    *out = ufi_malloc(count, sizeof **out);
    if (!*out)
        return ufi_fail(err, UF_E_NOMEM, "out of memory for %zu trials", count);
    memcpy(*out, trials, count * sizeof **out);
    qsort(*out, count, sizeof **out, by_score);
    return UF_OK;
}

/* ---- folds ---- */

/* The next trial after `i` that is not of `fold`; n at the end. */
static size_t next_outside(const uf_scored_trial *t, size_t n, size_t i, int32_t fold)
{
    for (i++; i < n && t[i].fold == fold; i++)
        ;
    return i;
}

/* The threshold that judges most of the sorted trials outside `fold` rightly: in the middle of a
 * gap between their scores. */
static double best_threshold(const uf_scored_trial *t, size_t n, int32_t fold)
{
    int64_t right = 0, best; /* genuine trials above the present threshold, impostors below */
    double threshold = -INFINITY;
    for (size_t i = 0; i < n; i++)
        if (t[i].fold != fold)
            right += t[i].same ? t[i].score != -INFINITY : t[i].score == -INFINITY;
    best = right;
    for (size_t next, i = next_outside(t, n, SIZE_MAX, fold); i < n; i = next) {
        next = next_outside(t, n, i, fold);
        if (t[i].score == -INFINITY)
            continue;
        right += t[i].same ? -1 : 1;
        if ((next < n && t[next].score == t[i].score) || right <= best)
            continue;
        best = right;
        threshold = next < n ? ((double)t[i].score + (double)t[next].score) / 2
                             : (double)nextafterf(t[i].score, INFINITY);
    }
    return threshold;
}

static double accuracy_of_fold(const uf_scored_trial *t, size_t n, int32_t fold, double threshold)
{
    size_t right = 0, total = 0;
    for (size_t i = 0; i < n; i++)
        if (t[i].fold == fold) {
            const bool accepted = t[i].score != -INFINITY && (double)t[i].score >= threshold;
            right += accepted == (t[i].same != 0);
            total++;
        }
    return total ? (double)right / (double)total : NAN;
}

uf_status uf_accuracy_in_folds(const uf_scored_trial *trials, size_t count, int32_t folds,
                               double *accuracies, uf_fold_accuracy *out, uf_error *err)
{
    uf_scored_trial *t = NULL;
    double sum = 0, squares = 0;
    if (!out || folds < 2)
        return ufi_fail(err, UF_E_ARG, "%d folds: at least 2 are needed", folds);
    for (size_t i = 0; i < count; i++)
        if (trials[i].fold < 0 || trials[i].fold >= folds)
            return ufi_fail(err, UF_E_ARG, "trial %zu is of fold %d, there are %d", i,
                            trials[i].fold, folds);
    uf_status st = sorted_copy(&t, trials, count, err);
    for (int32_t f = 0; !st && f < folds; f++) {
        const double a = accuracy_of_fold(t, count, f, best_threshold(t, count, f));
        if (isnan(a)) {
            st = ufi_fail(err, UF_E_ARG, "fold %d has no trials", f);
            break;
        }
        if (accuracies)
            accuracies[f] = a;
        sum += a;
        squares += a * a;
    }
    ufi_free(t);
    if (st)
        return st;
    const double variance = (squares - sum * sum / folds) / (folds - 1);
    *out = (uf_fold_accuracy){
        .mean = sum / folds, .standard_error = sqrt(fmax(0, variance) / folds), .folds = folds};
    return UF_OK;
}

/* ---- bootstrap ---- */

static uint64_t next_random(uint64_t *state)
{
    return ufi_mix(*state += UFI_MIX_STEP);
}

static void draw_subjects(uint32_t *weights, uint32_t subjects, uint64_t *state)
{
    memset(weights, 0, subjects * sizeof *weights);
    for (uint32_t i = 0; i < subjects; i++)
        weights[(next_random(state) >> 32) * subjects >> 32]++;
}

/* A trial of one subject comes as often as that was drawn; of two, as often as they were together.
 */
static double weight_of(const uf_scored_trial *t, const uint32_t *weights)
{
    const double a = weights[t->subject_a];
    return t->subject_a == t->subject_b ? a : a * (double)weights[t->subject_b];
}

/* EER and TAR of the weighted trials, which are sorted; false when a kind of trial is missing. */
static bool weighted_rates(const uf_scored_trial *t, size_t n, const uint32_t *weights, double far,
                           double *eer, double *tar)
{
    double genuine = 0, impostor = 0, above[2] = {0, 0}, least = INFINITY;
    for (size_t i = 0; i < n; i++)
        *(t[i].same ? &genuine : &impostor) += weight_of(&t[i], weights);
    if (!(genuine > 0) || !(impostor > 0))
        return false;
    *tar = 0;
    for (size_t i = n; i-- > 0;) {
        if (t[i].score != -INFINITY)
            above[t[i].same != 0] += weight_of(&t[i], weights);
        if (i > 0 && t[i - 1].score == t[i].score)
            continue;
        const double accepted = above[0] / impostor, missed = 1 - above[1] / genuine;
        if (accepted <= far)
            *tar = above[1] / genuine;
        if (fabs(accepted - missed) < least) {
            least = fabs(accepted - missed);
            *eer = (accepted + missed) / 2;
        }
        if (accepted > far && accepted > missed)
            break;
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uf_interval percentiles(double *values, size_t n)
{
    qsort(values, n, sizeof *values, by_value);
    return (uf_interval){values[(size_t)(0.025 * (double)(n - 1) + 0.5)],
                         values[(size_t)(0.975 * (double)(n - 1) + 0.5)]};
}

uf_status uf_bootstrap_subjects(const uf_scored_trial *trials, size_t count, double far,
                                uint32_t samples, uint64_t seed, uf_interval *eer, uf_interval *tar,
                                uf_error *err)
{
    uf_scored_trial *t = NULL;
    uint32_t subjects = 0, made = 0;
    if (!eer || !tar || !(far > 0) || far > 1 || samples < 100 || samples > 100000)
        return ufi_fail(err, UF_E_ARG, "%u samples at FAR %g: 100 to 100000 at 0 to 1", samples,
                        far);
    uf_status st = sorted_copy(&t, trials, count, err);
    if (st)
        return st;
    for (size_t i = 0; i < count; i++) {
        subjects = t[i].subject_a >= subjects ? t[i].subject_a + 1 : subjects;
        subjects = t[i].subject_b >= subjects ? t[i].subject_b + 1 : subjects;
    }
    uint32_t *weights = ufi_malloc(subjects, sizeof *weights);
    double *values = ufi_malloc(2 * (size_t)samples, sizeof *values);
    if (!weights || !values)
        st = ufi_fail(err, UF_E_NOMEM, "out of memory for %u subjects", subjects);
    /* Samples without a genuine or an impostor trial say nothing; they are drawn again. */
    for (uint32_t tries = 0; !st && made < samples && tries < 4 * samples; tries++) {
        draw_subjects(weights, subjects, &seed);
        if (weighted_rates(t, count, weights, far, &values[made], &values[samples + made]))
            made++;
    }
    if (!st && made < samples)
        st = ufi_fail(err, UF_E_ARG, "too few subjects (%u) for a bootstrap", subjects);
    if (!st) {
        *eer = percentiles(values, samples);
        *tar = percentiles(values + samples, samples);
    }
    ufi_free(weights);
    ufi_free(values);
    ufi_free(t);
    return st;
}
