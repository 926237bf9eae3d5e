/* uniface calibrate: decision thresholds from pairs of photos or folders of people. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "folders.h"
#include "templates.h"

typedef struct calibration {
    cli_templates templates;
    size_t missing;   /* pairs that could not be compared */
    float *scores[2]; /* of impostor and genuine pairs */
    size_t score_count[2], cap[2];
    bool sampled; /* there were more impostor pairs than were compared */
} calibration;

static void add_score(void *context, uint32_t a, uint32_t b, bool same)
{
    calibration *c = context;
    const float score = cli_templates_score(&c->templates, 0, a, b);
    if (score == -INFINITY) {
        c->missing++;
        return;
    }
    if (c->score_count[same] == c->cap[same]) {
        c->cap[same] = c->cap[same] ? 2 * c->cap[same] : 4096;
        c->scores[same] = cli_need(realloc(c->scores[same], c->cap[same] * sizeof(float)));
    }
    c->scores[same][c->score_count[same]++] = score;
}

static int compare_pairs(calibration *c, cli_session *s, const cli_args *a)
{
    uf_error err;
    uf_trials *trials;
    size_t pictures, n;
    const cli_embedders with = {.e = {s->embedder}, .count = 1, .folder = cli_value(a, "images")};
    if (uf_trials_read(&trials, cli_value(a, "pairs"), NULL, &err))
        return cli_fail(&err);
    const uf_trial_picture *p = uf_trials_pictures(trials, &pictures);
    const uf_trial *list = uf_trials_list(trials, &n);
    int status =
        cli_templates_make(&c->templates, s, &with, p, pictures, uf_trials_template_count(trials));
    for (size_t i = 0; !status && i < n; i++)
        add_score(c, list[i].a, list[i].b, list[i].same);
    uf_trials_destroy(trials);
    return status;
}

static int compare_folders(calibration *c, cli_session *s, const cli_args *a)
{
    cli_folders people = {0};
    const cli_embedders with = {.e = {s->embedder}, .count = 1};
    int status = cli_folders_collect(&people, cli_value(a, "folders"));
    if (!status)
        status = cli_templates_make(&c->templates, s, &with, people.pictures, people.count,
                                    people.count);
    if (!status)
        c->sampled = cli_folders_pairs(&people, add_score, c);
    cli_folders_free(&people);
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
        json_bool(&j, "impostors_sampled", c->sampled);
        json_integer(&j, "pairs_without_face", (long long)c->missing);
        json_open(&j, "thresholds", '[');
    } else {
        printf("%zu genuine and %zu impostor comparisons%s, %zu pairs without a face\n",
               c->score_count[1], c->score_count[0], c->sampled ? " (a sample)" : "", c->missing);
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
    const bool pairs = cli_value(a, "pairs") != NULL;
    if (pairs == (cli_value(a, "folders") != NULL))
        return cli_complain(EXIT_USAGE, "calibrate: one of --pairs, --folders is needed");
    if (!pairs && cli_value(a, "images"))
        return cli_complain(EXIT_USAGE, "calibrate: --images goes with --pairs");
    if (!output && is_name(a->operands[0]))
        return cli_complain(EXIT_USAGE,
                            "calibrate: %s is a name of the model store, whose models stay as they "
                            "are: say where to with -o OUT.ufm (`uniface models add` takes that)",
                            a->operands[0]);
    int status = cli_open_detector(&s, a);
    if (!status)
        status = cli_open_embedder_at(&s, a, a->operands[0]);
    if (!status)
        status = pairs ? compare_pairs(&c, &s, a) : compare_folders(&c, &s, a);
    if (!status && uf_model_calibrate(s.embedder_model, c.scores[1], c.score_count[1], c.scores[0],
                                      c.score_count[0], t, 8, &n, &err))
        status = cli_fail(&err);
    if (!status &&
        cli_model_save(s.embedder_model, s.embedder_model, output ? output : a->operands[0], &err))
        status = cli_fail(&err);
    if (!status)
        report_thresholds(a, t, n, &c);
    cli_templates_free(&c.templates);
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
                {"folders", 0, "DIR", "a folder for each person: all pairs of their pictures"},
                {"flip", 0, NULL, "calibrate for embeddings made with --flip"},
                {"output", 'o', "OUT.ufm", "write there instead of into MODEL.ufm"}},
    .details =
        "Thresholds are stored for false accept rates of 0.1, 0.01, 0.001 and 0.0001, as far as\n"
        "there are impostor pairs enough to tell (10, 100, 1000, 10000). Pairs of one folder\n"
        "share pictures and people: the confidence that is printed is then too good.",
    .examples =
        "  uniface calibrate face.ufm --detector yunet.ufm --pairs pairs.tsv --images lfw/\n"
        "  uniface calibrate face.ufm --folders people/\n",
    .run = run_calibrate,
};
