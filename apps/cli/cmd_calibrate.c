/* uniface calibrate: decision thresholds from pairs of photos. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "templates.h"

typedef struct calibration {
    size_t missing;   /* pairs that could not be compared */
    float *scores[2]; /* of impostor and genuine pairs */
    size_t score_count[2];
} calibration;

static int score_trials(calibration *c, const uf_trials *trials, const cli_templates *t)
{
    size_t n;
    const uf_trial *list = uf_trials_list(trials, &n);
    for (int same = 0; same < 2; same++)
        if (!(c->scores[same] = malloc((n + 1) * sizeof(float))))
            return cli_complain(EXIT_INTERNAL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        const int same = list[i].same;
        const float score = cli_templates_score(t, 0, list[i].a, list[i].b);
        if (score == -INFINITY)
            c->missing++;
        else
            c->scores[same][c->score_count[same]++] = score;
    }
    return 0;
}

static int compare_pairs(calibration *c, cli_session *s, const cli_args *a)
{
    uf_error err;
    uf_trials *trials;
    cli_templates t = {0};
    size_t pictures;
    const cli_embedders with = {.e = {s->embedder}, .count = 1, .folder = cli_value(a, "images")};
    if (uf_trials_read(&trials, cli_value(a, "pairs"), NULL, &err))
        return cli_fail(&err);
    const uf_trial_picture *p = uf_trials_pictures(trials, &pictures);
    int status = cli_templates_make(&t, s, &with, p, pictures, uf_trials_template_count(trials));
    if (!status)
        status = score_trials(c, trials, &t);
    cli_templates_free(&t);
    uf_trials_destroy(trials);
    return status;
}

static void report_thresholds(const cli_args *a, const uf_threshold *t, size_t n,
                              const calibration *c)
{
    cli_json j = {.f = stdout};
    if (a->json) {
        json_open(&j, NULL, '{');
        json_integer(&j, "genuine_trials", (long long)c->score_count[1]);
        json_integer(&j, "impostor_trials", (long long)c->score_count[0]);
        json_integer(&j, "pairs_without_face", (long long)c->missing);
        json_open(&j, "thresholds", '[');
    } else {
        printf("%zu genuine and %zu impostor comparisons, %zu pairs without a face\n",
               c->score_count[1], c->score_count[0], c->missing);
    }
    for (size_t i = 0; i < n; i++) {
        if (!a->json) {
            printf("FAR %-6g threshold %.4f  TAR %.2f %%  (FAR %.2g to %.2g with 95 %% "
                   "confidence)\n",
                   (double)t[i].far, (double)t[i].threshold, (double)t[i].tar * 100,
                   (double)t[i].far_low, (double)t[i].far_high);
            continue;
        }
        json_open(&j, NULL, '{');
        json_number(&j, "far", (double)t[i].far);
        json_number(&j, "threshold", (double)t[i].threshold);
        json_number(&j, "tar", (double)t[i].tar);
        json_number(&j, "far_low", (double)t[i].far_low);
        json_number(&j, "far_high", (double)t[i].far_high);
        json_close(&j, '}');
    }
    if (a->json) {
        json_close(&j, ']');
        json_close(&j, '}');
        json_end(&j);
    }
}

/* Whether it is found by its name only, not as a file. */
static bool is_name(const char *model)
{
    char path[4096];
    return !uf_store_find(path, sizeof path, model, NULL) && strcmp(path, model) != 0;
}

static int run_calibrate(const cli_args *a)
{
    cli_session s = {0};
    calibration c = {0};
    uf_error err;
    uf_threshold t[8];
    size_t n = 0;
    const char *output = cli_value(a, "output");
    if (!cli_value(a, "pairs"))
        return cli_complain(EXIT_USAGE, "calibrate: --pairs FILE is needed");
    if (!output && is_name(a->operands[0]))
        return cli_complain(EXIT_USAGE,
                            "calibrate: %s is a name of the model store, whose models stay as they "
                            "are: say where to with -o OUT.ufm (`uniface models add` takes that)",
                            a->operands[0]);
    int status = cli_open_detector(&s, a);
    if (!status)
        status = cli_open_embedder_at(&s, a, a->operands[0]);
    if (!status)
        status = compare_pairs(&c, &s, a);
    if (!status && uf_model_calibrate(s.embedder_model, c.scores[1], c.score_count[1], c.scores[0],
                                      c.score_count[0], t, 8, &n, &err))
        status = cli_fail(&err);
    if (!status &&
        cli_model_save(s.embedder_model, s.embedder_model, output ? output : a->operands[0], &err))
        status = cli_fail(&err);
    if (!status)
        report_thresholds(a, t, n, &c);
    free(c.scores[0]);
    free(c.scores[1]);
    cli_session_close(&s);
    return status;
}

const cli_command cli_calibrate = {
    .name = "calibrate",
    .summary = "Measure an embedder's decision thresholds and store them in the model",
    .operands = "MODEL.ufm",
    .min_operands = 1,
    .max_operands = 1,
    .options = {DETECTOR_OPTIONS,
                {"pairs", 'p', "FILE", "pairs, in any form that evaluate reads"},
                {"images", 'i', "DIR", "folder that the pictures of FILE are in"},
                {"flip", 0, NULL, "calibrate for embeddings made with --flip"},
                {"output", 'o', "OUT.ufm", "write there instead of into MODEL.ufm"}},
    .details =
        "Thresholds are stored for false accept rates of 0.1, 0.01, 0.001 and 0.0001, as far as\n"
        "there are impostor pairs enough to tell (10, 100, 1000, 10000).",
    .examples =
        "  uniface calibrate face.ufm --detector yunet.ufm --pairs pairs.tsv --images lfw/\n",
    .run = run_calibrate,
};
