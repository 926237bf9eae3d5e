#include "training_retrain.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The threshold at which both kinds of error are equally frequent. */
static int own_threshold(const uf_scored_trial *t, size_t count, double *threshold)
{
    uf_error err;
    double rate;
    size_t n[2] = {0, 0};
    float *scores[2];
    for (int same = 0; same < 2; same++)
        scores[same] = cli_need(malloc((count + 1) * sizeof(float)));
    for (size_t i = 0; i < count; i++) {
        const int same = t[i].same != 0;
        scores[same][n[same]++] = t[i].score;
    }
    const uf_status st =
        uf_equal_error_rate(scores[1], n[1], scores[0], n[0], &rate, threshold, &err);
    free(scores[0]);
    free(scores[1]);
    return st ? cli_fail(&err) : 0;
}

int training_retrain_judge(training_verdict *v, training_score *s, uf_model *deployed,
                           uf_model *candidate)
{
    uf_model *const models[2] = {deployed, candidate};
    uf_scored_trial *t[2] = {NULL, NULL};
    double threshold[2] = {0, 0};
    uint64_t right[2] = {0, 0};
    int status = 0;
    memset(v, 0, sizeof *v);
    for (int k = 0; !status && k < 2; k++) {
        t[k] = training_score_trials(s, models[k], &v->pairs);
        status = t[k] ? own_threshold(t[k], v->pairs, &threshold[k]) : EXIT_INPUT;
    }
    for (size_t i = 0; !status && i < v->pairs; i++) {
        bool rightly[2];
        for (int k = 0; k < 2; k++) {
            rightly[k] = ((double)t[k][i].score >= threshold[k]) == (t[k][i].same != 0);
            right[k] += rightly[k];
        }
        v->only[0] += rightly[0] && !rightly[1];
        v->only[1] += rightly[1] && !rightly[0];
    }
    for (int k = 0; k < 2; k++) {
        v->accuracy[k] = v->pairs ? (double)right[k] / (double)v->pairs : 0;
        free(t[k]);
    }
    v->mcnemar = uf_mcnemar(v->only[0], v->only[1]);
    v->accepted = v->only[1] >= v->only[0];
    return status;
}

void training_verdict_print(const training_verdict *v)
{
    printf(
        "of %zu pairs the deployed model judges %.2f %% rightly, the candidate %.2f %%; the first "
        "alone %llu, the second alone %llu: McNemar p %.3f\n%s\n",
        v->pairs, 100 * v->accuracy[0], 100 * v->accuracy[1], (unsigned long long)v->only[0],
        (unsigned long long)v->only[1], v->mcnemar,
        v->accepted ? "accepted" : "refused: it is worse than what is deployed");
}

uf_status training_verdict_note(const training_verdict *v, const uf_model *deployed,
                                uf_model *candidate, uf_error *err)
{
    char text[200];
    snprintf(text, sizeof text,
             "%zu pairs: deployed %.4f, this %.4f rightly judged; alone %llu and %llu, McNemar p "
             "%.3f",
             v->pairs, v->accuracy[0], v->accuracy[1], (unsigned long long)v->only[0],
             (unsigned long long)v->only[1], v->mcnemar);
    uf_status st = uf_model_set_meta(candidate, "retrained.from", uf_model_id(deployed), err);
    return st ? st : uf_model_set_meta(candidate, "retrained.judged", text, err);
}

/* Both in one folder: one rename does it. Errors are in errno; *what is the file they are about. */
static bool put_in_place(const char *fresh, const char *deployed, const char *previous,
                         const char **what)
{
    *what = previous;
    if (unlink(previous) != 0 && errno != ENOENT)
        return false;
    *what = deployed;
    return link(deployed, previous) == 0 && rename(fresh, deployed) == 0;
}

int training_promote(const char *candidate, const char *deployed)
{
    char previous[4096], fresh[4096];
    const char *what;
    uf_error err;
    uf_model *m = NULL;
    snprintf(previous, sizeof previous, "%s.previous", deployed);
    snprintf(fresh, sizeof fresh, "%s.candidate", deployed);
    if (cli_model_open(&m, candidate, &err) || uf_model_save(m, fresh, &err)) {
        uf_model_close(m);
        return cli_fail(&err);
    }
    uf_model_close(m);
    if (put_in_place(fresh, deployed, previous, &what))
        return 0;
    const int number = errno;
    unlink(fresh);
    return cli_complain(EXIT_INPUT,
                        "%s: %s; the model in use stays, the candidate that was to take its place "
                        "is %s",
                        what, strerror(number), candidate);
}
