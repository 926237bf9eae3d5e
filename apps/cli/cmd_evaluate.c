/* uniface evaluate: error rates of an embedder on lists of pairs or folders of people. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluation.h"
#include "folders.h"
#include "templates.h"

static const double fars[MAX_RATES] = {1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6};

static void add_trial(evaluation *e, size_t *cap, uf_scored_trial t)
{
    if (e->count == *cap) {
        *cap = *cap ? *cap * 2 : 4096;
        e->trials = cli_need(realloc(e->trials, *cap * sizeof *e->trials));
    }
    e->trials[e->count++] = t;
}

typedef struct pairing {
    evaluation *e;
    const cli_folders *people;
    const cli_templates *templates;
    size_t cap;
} pairing;

static void add_pair(void *context, uint32_t a, uint32_t b, bool same)
{
    pairing *p = context;
    add_trial(p->e, &p->cap,
              (uf_scored_trial){cli_templates_score(p->templates, 0, a, b), same, 0,
                                p->people->subjects[a], p->people->subjects[b]});
}

/* ---- searches: the first picture of each person is enrolled, the others search ---- */

typedef struct searches {
    float *mated, *unmated;
    uint32_t *ranks;
    size_t count;
} searches;

/* Looks for one picture among those enrolled: with its person (rank and score), and without. */
static void search_one(searches *s, const cli_folders *p, const cli_templates *t,
                       const uint32_t *first, uint32_t probe)
{
    const uint32_t person = p->subjects[probe];
    const float mate = cli_templates_score(t, 0, probe, first[person]);
    float best = -INFINITY;
    uint32_t rank = 1;
    for (size_t i = 0; i < p->people; i++) {
        const float score = i == person ? -INFINITY : cli_templates_score(t, 0, probe, first[i]);
        rank += score >= mate && score > -INFINITY;
        best = fmaxf(best, score);
    }
    s->ranks[s->count] = mate == -INFINITY ? 0 : rank;
    s->mated[s->count] = rank == 1 ? mate : -INFINITY;
    s->unmated[s->count++] = best;
}

static int search_people(evaluation *e, const cli_folders *p, const cli_templates *t)
{
    uf_error err;
    searches s = {0};
    uint32_t *first = cli_need(malloc(p->people * sizeof *first));
    s.mated = cli_need(malloc((p->count + 1) * sizeof *s.mated));
    s.unmated = cli_need(malloc((p->count + 1) * sizeof *s.unmated));
    s.ranks = cli_need(malloc((p->count + 1) * sizeof *s.ranks));
    for (size_t i = p->count; i-- > 0;)
        first[p->subjects[i]] = (uint32_t)i;
    for (uint32_t i = 0; i < p->count; i++) {
        if (first[p->subjects[i]] != i)
            search_one(&s, p, t, first, i);
        cli_progress("searching", i + 1, p->count);
    }
    e->search.searches = s.count;
    e->search.gallery = p->people;
    uf_cmc(s.ranks, s.count, e->search.cmc, CMC_RANKS);
    uf_status st = UF_OK;
    for (int i = 0; !st && i < 3 && (double)s.count * fars[i] >= 1; i++) {
        st = uf_rates_at_far(s.mated, s.count, s.unmated, s.count, fars[i], &e->search.at[i], &err);
        e->search.rates = i + 1;
    }
    free(first);
    free(s.mated);
    free(s.unmated);
    free(s.ranks);
    return st ? cli_fail(&err) : 0;
}

/* ---- groups ---- */

typedef struct labels {
    char **names; /* of pictures, folders or subjects */
    int *groups;
    size_t count;
} labels;

static int group_named(evaluation *e, const char *name)
{
    for (int i = 0; i < e->group_count; i++)
        if (!strcmp(e->groups[i].name, name))
            return i;
    if (e->group_count == MAX_GROUPS)
        return -1;
    snprintf(e->groups[e->group_count].name, sizeof e->groups[0].name, "%s", name);
    return e->group_count++;
}

static int read_labels(labels *l, evaluation *e, const char *path)
{
    char line[8192], *save;
    size_t number = 0;
    int status = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return cli_complain(EXIT_INPUT, "%s: it cannot be opened", path);
    while (!status && fgets(line, sizeof line, f)) {
        number++;
        char *name = strtok_r(line, "\t,\r\n", &save), *label = strtok_r(NULL, "\t,\r\n", &save);
        if (!name || name[0] == '#')
            continue;
        const int g = label ? group_named(e, label) : -1;
        if (g < 0) {
            status = cli_complain(EXIT_INPUT, "%s:%zu: a line is \"NAME<tab>GROUP\", of %d groups",
                                  path, number, MAX_GROUPS);
            break;
        }
        l->names = cli_need(realloc(l->names, (l->count + 1) * sizeof *l->names));
        l->groups = cli_need(realloc(l->groups, (l->count + 1) * sizeof *l->groups));
        l->names[l->count] = cli_need(strdup(name));
        l->groups[l->count++] = g;
    }
    fclose(f);
    return status;
}

/* The group of a picture: by its name, the last part of it, or the folder it is in. */
static int label_of(const labels *l, const char *name)
{
    char folder[256] = "";
    const char *last = strrchr(name, '/');
    if (last) {
        const char *start = last;
        while (start > name && start[-1] != '/')
            start--;
        snprintf(folder, sizeof folder, "%.*s", (int)(last - start), start);
    }
    for (size_t i = 0; i < l->count; i++)
        if (!strcmp(l->names[i], name) || (last && !strcmp(l->names[i], last + 1)) ||
            (folder[0] && !strcmp(l->names[i], folder)))
            return l->groups[i];
    return -1;
}

/* The threshold at the wanted FAR over all trials, or that of the EER when they are too few. */
static double group_threshold(const evaluation *e)
{
    uf_threshold t;
    return uf_rates_at_far(e->scores[1], e->score_count[1], e->scores[0], e->score_count[0], e->far,
                           &t, NULL)
               ? e->eer_threshold
               : (double)t.threshold;
}

/* Errors of the trials whose two ends are of the group. group_of: of templates, which `list` names
 * for each trial, or without a list of subjects. */
static void rate_groups(evaluation *e, const int *group_of, const uf_trial *list)
{
    const double threshold = group_threshold(e);
    for (int g = 0; g < e->group_count; g++) {
        uint64_t errors[2] = {0, 0}, trials[2] = {0, 0};
        for (size_t i = 0; i < e->count; i++) {
            const uf_scored_trial *t = &e->trials[i];
            const uint32_t a = list ? list[i].a : t->subject_a;
            const uint32_t b = list ? list[i].b : t->subject_b;
            if (group_of[a] != g || group_of[b] != g || t->score == -INFINITY)
                continue;
            const bool accepted = (double)t->score >= threshold;
            trials[t->same]++;
            errors[t->same] += accepted != (t->same == 1);
        }
        e->groups[g].fmr = uf_rate_of(errors[0], trials[0]);
        e->groups[g].fnmr = uf_rate_of(errors[1], trials[1]);
    }
}

/* ---- rates of all trials ---- */

static void split_scores(evaluation *e)
{
    for (int same = 0; same < 2; same++)
        e->scores[same] = cli_need(malloc((e->count + 1) * sizeof(float)));
    for (size_t i = 0; i < e->count; i++) {
        const int same = e->trials[i].same != 0;
        e->scores[same][e->score_count[same]++] = e->trials[i].score;
        e->made[same] += e->trials[i].score != -INFINITY;
    }
}

static uf_status rates_at(const evaluation *e, double threshold, at_threshold *a, uf_error *err)
{
    const size_t n = e->score_count[0], m = e->score_count[1];
    a->threshold = threshold;
    a->wanted_far = a->far_low = a->far_high = NAN;
    uf_status st =
        uf_rates_at_threshold(e->scores[1], m, e->scores[0], n, threshold, &a->far, &a->frr, err);
    if (!st) {
        a->fmr = uf_rate_of(a->far.errors, e->made[0]);
        a->fnmr = uf_rate_of(a->frr.errors - (m - e->made[1]), e->made[1]);
    }
    return st;
}

static uf_status rates_at_wanted(evaluation *e, uf_error *err)
{
    uf_status st = UF_OK;
    for (int i = 0; !st && i < MAX_RATES && (double)e->score_count[0] * fars[i] >= 1 - 1e-6; i++) {
        at_threshold *a = &e->at_far[e->far_rates++];
        uf_threshold t;
        st = uf_rates_at_far(e->scores[1], e->score_count[1], e->scores[0], e->score_count[0],
                             fars[i], &t, err);
        if (!st)
            st = rates_at(e, (double)t.threshold, a, err);
        if (st)
            break;
        a->wanted_far = fars[i];
        a->far_low = (double)t.far_low;
        a->far_high = (double)t.far_high;
        a->thirty = e->score_count[0] >= uf_trials_needed(fars[i]);
    }
    return st;
}

/* Trials of a list without folds are dealt to them in order, each kind for itself. */
static void deal_folds(evaluation *e)
{
    size_t seen[2] = {0, 0}, total[2] = {0, 0};
    for (size_t i = 0; i < e->count; i++)
        total[e->trials[i].same != 0]++;
    for (size_t i = 0; i < e->count; i++) {
        const int same = e->trials[i].same != 0;
        e->trials[i].fold = (int32_t)(seen[same]++ * (size_t)e->folds / total[same]);
    }
}

static uf_status measure(evaluation *e, uf_error *err)
{
    split_scores(e);
    uf_status st = uf_equal_error_rate(e->scores[1], e->score_count[1], e->scores[0],
                                       e->score_count[0], &e->eer, &e->eer_threshold, err);
    if (!st)
        st = rates_at_wanted(e, err);
    e->has_folds = e->folds > 1 && e->score_count[0] >= (size_t)e->folds &&
                   e->score_count[1] >= (size_t)e->folds;
    if (!st && e->has_folds)
        st = uf_accuracy_in_folds(e->trials, e->count, e->folds, NULL, &e->accuracy, err);
    e->has_bootstrap = e->samples && (double)e->score_count[0] * e->far >= 1;
    if (!st && e->has_bootstrap)
        st = uf_bootstrap_subjects(e->trials, e->count, e->far, e->samples, 1, &e->eer_interval,
                                   &e->tar_interval, err);
    return st;
}

/* The threshold that was given, or those that the model bears. */
static uf_status rates_at_given(evaluation *e, const cli_args *a, const uf_model *m, uf_error *err)
{
    double threshold;
    uf_threshold t;
    uf_status st = UF_OK;
    if (cli_value(a, "threshold") && cli_number(a, "threshold", -1e9, 1e9, 0, &threshold))
        return rates_at(e, threshold, &e->given[e->given_rates++], err);
    for (int i = 0; !st && m && i < 4; i++)
        if (uf_model_threshold(m, (float)fars[i], &t, NULL) == UF_OK)
            st = rates_at(e, (double)t.threshold, &e->given[e->given_rates++], err);
    return st;
}

/* ---- where trials come from ---- */

static int open_embedder(cli_session *s, cli_embedders *with, const cli_args *a)
{
    int status = with->aligned ? 0 : cli_open_detector(s, a);
    if (!status)
        status = cli_open_embedder_at(s, a, a->operands[0]);
    with->e[0] = s->embedder;
    with->count = 1;
    return status;
}

static void score_list(evaluation *e, const uf_trials *trials, const cli_templates *t)
{
    const uf_trial *list = uf_trials_list(trials, &e->count);
    e->trials = cli_need(malloc((e->count + 1) * sizeof *e->trials));
    for (size_t i = 0; i < e->count; i++)
        e->trials[i] = (uf_scored_trial){
            cli_templates_score(t, 0, list[i].a, list[i].b), list[i].same, list[i].fold,
            uf_trials_subject(trials, list[i].a), uf_trials_subject(trials, list[i].b)};
}

static int evaluate_pairs(evaluation *e, cli_session *s, const cli_args *a, const labels *l)
{
    uf_error err;
    uf_trials *trials;
    size_t pictures;
    cli_templates t = {0};
    cli_embedders with = {.folder = cli_value(a, "images"), .aligned = cli_flag(a, "aligned")};
    if (uf_trials_read(&trials, cli_value(a, "pairs"), cli_value(a, "templates"), &err))
        return cli_fail(&err);
    const uf_trial_picture *p = uf_trials_pictures(trials, &pictures);
    const size_t templates = uf_trials_template_count(trials);
    /* Packed lists hold aligned crops, unless a detector says otherwise. */
    with.aligned |= pictures && p[0].bytes != NULL && !cli_value(a, "detector");
    e->kind = uf_trials_format(trials);
    int status = open_embedder(s, &with, a);
    if (!status)
        status = cli_templates_make(&t, s, &with, p, pictures, templates);
    if (!status) {
        e->pictures = t.pictures;
        e->failed = t.failed;
        score_list(e, trials, &t);
        if (uf_trials_fold_count(trials) > 1 && !cli_value(a, "folds"))
            e->folds = uf_trials_fold_count(trials);
        else
            deal_folds(e);
        if (measure(e, &err))
            status = cli_fail(&err);
    }
    if (!status && l->count) {
        size_t n;
        int *group_of = cli_need(malloc((templates + 1) * sizeof *group_of));
        for (size_t i = 0; i < pictures; i++)
            group_of[p[i].template_id] = label_of(l, p[i].name);
        rate_groups(e, group_of, uf_trials_list(trials, &n));
        free(group_of);
    }
    cli_templates_free(&t);
    uf_trials_destroy(trials);
    return status;
}

static int evaluate_folders(evaluation *e, cli_session *s, const cli_args *a, const labels *l)
{
    uf_error err;
    cli_folders p = {0};
    cli_templates t = {0};
    cli_embedders with = {.aligned = cli_flag(a, "aligned")};
    e->kind = "folders";
    e->folds = 0;
    int status = cli_folders_collect(&p, cli_value(a, "folders"));
    if (!status)
        status = open_embedder(s, &with, a);
    if (!status)
        status = cli_templates_make(&t, s, &with, p.pictures, p.count, p.count);
    if (!status) {
        e->pictures = t.pictures;
        e->failed = t.failed;
        e->sampled = cli_folders_pairs(&p, add_pair, &(pairing){e, &p, &t, 0});
        /* Long lists: fewer samples, so that it stays a matter of seconds. */
        if (e->samples > 100 && (double)e->count * e->samples > 2e8)
            e->samples = e->count > 2000000 ? 100 : (uint32_t)(2e8 / (double)e->count);
        status = measure(e, &err) ? cli_fail(&err) : search_people(e, &p, &t);
    }
    if (!status && l->count) {
        int *group_of = cli_need(malloc((p.people + 1) * sizeof *group_of));
        for (size_t i = 0; i < p.count; i++)
            group_of[p.subjects[i]] = label_of(l, p.pictures[i].name);
        rate_groups(e, group_of, NULL);
        free(group_of);
    }
    cli_templates_free(&t);
    cli_folders_free(&p);
    return status;
}

/* Lines "SCORE 1|0 [SUBJECT SUBJECT]" of any matcher; "-inf" and "fail" are trials not made. */
static int evaluate_scores(evaluation *e, const cli_args *a)
{
    const char *path = cli_value(a, "scores");
    char line[1024], score[64];
    size_t cap = 0, number = 0;
    int same, status = 0;
    uf_error err;
    FILE *f = fopen(path, "r");
    if (!f)
        return cli_complain(EXIT_INPUT, "%s: it cannot be opened", path);
    e->kind = "scores";
    while (!status && fgets(line, sizeof line, f)) {
        unsigned long subjects[2] = {2 * number, 2 * number + 1};
        char *end;
        number++;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        const int n = sscanf(line, "%63s %d %lu %lu", score, &same, &subjects[0], &subjects[1]);
        const float v = !strcmp(score, "fail") ? -INFINITY : strtof(score, &end);
        if (n == 2 && same == 1)
            subjects[1] = subjects[0];
        if ((n != 2 && n != 4) || (same != 0 && same != 1) || isnan(v) || v == INFINITY ||
            (v != -INFINITY && *end) || subjects[0] > 1u << 26 || subjects[1] > 1u << 26)
            status = cli_complain(EXIT_INPUT, "%s:%zu: a line is \"SCORE 1|0 [SUBJECT SUBJECT]\"",
                                  path, number);
        else
            add_trial(e, &cap,
                      (uf_scored_trial){v, same, 0, (uint32_t)subjects[0], (uint32_t)subjects[1]});
    }
    fclose(f);
    if (status)
        return status;
    deal_folds(e);
    return measure(e, &err) ? cli_fail(&err) : 0;
}

/* ---- the command ---- */

static int check_usage(evaluation *e, const cli_args *a)
{
    const char *sources[] = {cli_value(a, "pairs"), cli_value(a, "folders"),
                             cli_value(a, "scores")};
    double folds, samples;
    int given = 0;
    for (int i = 0; i < 3; i++)
        if (sources[i]) {
            given++;
            e->source = sources[i];
        }
    if (given != 1)
        return cli_complain(EXIT_USAGE, "evaluate: one of --pairs, --folders, --scores is needed");
    if (!sources[0] && cli_value(a, "images"))
        return cli_complain(EXIT_USAGE, "evaluate: --images goes with --pairs");
    if (!sources[2] && !a->count)
        return cli_complain(EXIT_USAGE, "evaluate: which MODEL? (only --scores needs none)");
    if (!cli_number(a, "folds", 2, 1000, 10, &folds) ||
        !cli_number(a, "bootstrap", 0, 100000, 1000, &samples) ||
        !cli_number(a, "far", 1e-9, 1, 1e-2, &e->far) ||
        !cli_number(a, "threshold", -1e9, 1e9, 0, &(double){0}))
        return EXIT_USAGE;
    if (samples > 0 && samples < 100)
        return cli_complain(EXIT_USAGE, "evaluate: --bootstrap takes 100 samples or more, or 0");
    e->folds = (int32_t)folds;
    e->samples = (uint32_t)samples;
    return 0;
}

static int run_evaluate(const cli_args *a)
{
    evaluation *e = cli_need(calloc(1, sizeof *e));
    cli_session s = {0};
    labels l = {0};
    uf_error err;
    int status = check_usage(e, a);
    if (!status && cli_value(a, "labels"))
        status = read_labels(&l, e, cli_value(a, "labels"));
    if (!status)
        status = cli_value(a, "pairs")     ? evaluate_pairs(e, &s, a, &l)
                 : cli_value(a, "folders") ? evaluate_folders(e, &s, a, &l)
                                           : evaluate_scores(e, a);
    if (!status && rates_at_given(e, a, s.embedder_model, &err))
        status = cli_fail(&err);
    e->model_id = s.embedder_model ? uf_model_id(s.embedder_model) : NULL;
    if (!status && a->json)
        evaluation_json(e, stdout);
    else if (!status)
        evaluation_print(e);
    if (!status && cli_value(a, "report"))
        status = evaluation_save(e, cli_value(a, "report"));
    for (size_t i = 0; i < l.count; i++)
        free(l.names[i]);
    free(l.names);
    free(l.groups);
    free(e->trials);
    free(e->scores[0]);
    free(e->scores[1]);
    free(e);
    cli_session_close(&s);
    return status;
}

const cli_command cli_evaluate = {
    .name = "evaluate",
    .summary = "Measure an embedder's error rates: FAR, FRR, EER, ROC, DET, folds, searches",
    .operands = "[MODEL]",
    .min_operands = 0,
    .max_operands = 1,
    .options = {{"pairs", 'p', "FILE", "pairs: LFW, CALFW/CPLFW, packed .bin, IJB, plain lines"},
                {"templates", 0, "FILE", "IJB: lines \"PICTURE TEMPLATE MEDIA\" for --pairs"},
                {"images", 'i', "DIR", "folder that the pictures of the pairs are in"},
                {"folders", 0, "DIR", "a folder for each person: all pairs, and searches"},
                {"scores", 0, "FILE", "lines \"SCORE 1|0 [SUBJECT SUBJECT]\" of any matcher"},
                {"labels", 0, "FILE", "lines \"NAME<tab>GROUP\": rates of each group"},
                {"aligned", 0, NULL, "pictures are aligned crops: no detector"},
                {"flip", 0, NULL, "add the mirrored face's embedding"},
                {"threshold", 0, "X", "rates there too (default: the model's thresholds)"},
                {"far", 0, "RATE", "false accept rate for groups and bootstrap (0.01)"},
                {"folds", 0, "N", "folds of a list that names none (10)"},
                {"bootstrap", 0, "N", "samples of subjects for intervals (1000; 0: none)"},
                {"report", 'o', "DIR", "report.html, SVG charts, CSV and JSON there"},
                DETECTOR_OPTIONS},
    .details =
        "A picture without a face counts as a failure: its genuine pairs are refused (FRR), its\n"
        "impostor pairs too. FMR and FNMR leave such pairs out. A rate is marked when it rests on\n"
        "fewer than 30 expected errors (rule of 30). Intervals are 95 %.",
    .examples =
        "  uniface evaluate face.ufm -d yunet.ufm --pairs pairs.txt --images lfw/ -o report\n"
        "  uniface evaluate face.ufm --pairs cfp_fp.bin --json\n"
        "  uniface evaluate face.ufm -d yunet.ufm --folders people/ --labels groups.tsv\n"
        "  uniface evaluate --scores scores.tsv\n",
    .run = run_evaluate,
};
