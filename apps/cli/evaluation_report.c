/* Telling what `uniface evaluate` measured: text, JSON, a folder with charts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "chart.h"
#include "evaluation.h"

/* ---- text ---- */

static void print_rates(const at_threshold *a)
{
    if (isnan(a->wanted_far))
        printf("threshold %-8.4f FAR %.4f %%  FRR %.2f %%", a->threshold, 100 * a->far.value,
               100 * a->frr.value);
    else
        printf("FAR %-7g threshold %.4f  TAR %.2f %%", a->wanted_far, a->threshold,
               100 * (1 - a->frr.value));
    printf("  (FMR %.2g, FNMR %.2f %% [%.2f, %.2f])%s\n", a->fmr.value, 100 * a->fnmr.value,
           100 * a->fnmr.low, 100 * a->fnmr.high,
           isnan(a->wanted_far) || a->thirty ? "" : "  fewer than 30 errors");
}

static void print_search(const search_rates *s)
{
    printf("%zu searches among %zu people: rank 1 %.2f %%, rank 5 %.2f %%, rank 20 %.2f %%\n",
           s->searches, s->gallery, 100 * s->cmc[0], 100 * s->cmc[4], 100 * s->cmc[CMC_RANKS - 1]);
    for (int i = 0; i < s->rates; i++)
        printf("FPIR %-6g threshold %.4f  FNIR %.2f %%\n", (double)s->at[i].far,
               (double)s->at[i].threshold, 100 * (1 - (double)s->at[i].tar));
}

void evaluation_print(const evaluation *e)
{
    printf("%s (%s): %zu genuine and %zu impostor trials%s\n", e->source, e->kind,
           e->score_count[1], e->score_count[0], e->sampled ? " (a sample of all pairs)" : "");
    if (e->pictures)
        printf("%zu pictures, %zu without a usable face: %zu genuine and %zu impostor trials could "
               "not be made\n",
               e->pictures, e->failed, e->score_count[1] - e->made[1],
               e->score_count[0] - e->made[0]);
    printf("EER %.3f %% at %.4f\n", 100 * e->eer, e->eer_threshold);
    for (int i = 0; i < e->far_rates; i++)
        print_rates(&e->at_far[i]);
    for (int i = 0; i < e->given_rates; i++)
        print_rates(&e->given[i]);
    if (e->has_folds)
        printf("accuracy in %d folds: %.2f %% +- %.2f\n", e->accuracy.folds, 100 * e->accuracy.mean,
               100 * e->accuracy.standard_error);
    if (e->has_bootstrap)
        printf("by drawing subjects: EER [%.3f, %.3f] %%, TAR at FAR %g [%.2f, %.2f] %%\n",
               100 * e->eer_interval.low, 100 * e->eer_interval.high, e->far,
               100 * e->tar_interval.low, 100 * e->tar_interval.high);
    for (int i = 0; i < e->group_count; i++) {
        const group *g = &e->groups[i];
        printf("group %-16s FNMR %6.2f %% of %llu [%.2f, %.2f]  FMR %.3g of %llu [%.2g, %.2g]\n",
               g->name, 100 * g->fnmr.value, (unsigned long long)g->fnmr.trials, 100 * g->fnmr.low,
               100 * g->fnmr.high, g->fmr.value, (unsigned long long)g->fmr.trials, g->fmr.low,
               g->fmr.high);
    }
    if (e->search.searches)
        print_search(&e->search);
}

/* ---- JSON ---- */

static void json_rate(cli_json *j, const char *key, const uf_rate *r)
{
    json_open(j, key, '{');
    json_number(j, "value", r->value);
    json_number(j, "low", r->low);
    json_number(j, "high", r->high);
    json_integer(j, "errors", (long long)r->errors);
    json_integer(j, "trials", (long long)r->trials);
    json_close(j, '}');
}

static void json_rates(cli_json *j, const char *key, const at_threshold *list, int count)
{
    json_open(j, key, '[');
    for (int i = 0; i < count; i++) {
        const at_threshold *a = &list[i];
        json_open(j, NULL, '{');
        json_number(j, "threshold", a->threshold);
        if (!isnan(a->wanted_far)) {
            json_number(j, "far_wanted", a->wanted_far);
            json_number(j, "tar", 1 - a->frr.value);
            json_number(j, "far_low_exact", a->far_low);
            json_number(j, "far_high_exact", a->far_high);
            json_bool(j, "rule_of_30", a->thirty);
        }
        json_rate(j, "far", &a->far);
        json_rate(j, "frr", &a->frr);
        json_rate(j, "fmr", &a->fmr);
        json_rate(j, "fnmr", &a->fnmr);
        json_close(j, '}');
    }
    json_close(j, ']');
}

static void json_interval(cli_json *j, const char *key, uf_interval i)
{
    json_open(j, key, '[');
    json_number(j, NULL, i.low);
    json_number(j, NULL, i.high);
    json_close(j, ']');
}

static void json_search(cli_json *j, const search_rates *s)
{
    json_open(j, "identification", '{');
    json_integer(j, "searches", (long long)s->searches);
    json_integer(j, "people", (long long)s->gallery);
    json_open(j, "cmc", '[');
    for (int i = 0; i < CMC_RANKS; i++)
        json_number(j, NULL, s->cmc[i]);
    json_close(j, ']');
    json_open(j, "fnir_at_fpir", '[');
    for (int i = 0; i < s->rates; i++) {
        json_open(j, NULL, '{');
        json_number(j, "fpir", (double)s->at[i].far);
        json_number(j, "threshold", (double)s->at[i].threshold);
        json_number(j, "fnir", 1 - (double)s->at[i].tar);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void json_resampled(cli_json *j, const evaluation *e)
{
    if (e->has_folds) {
        json_open(j, "folds", '{');
        json_integer(j, "count", e->accuracy.folds);
        json_number(j, "accuracy", e->accuracy.mean);
        json_number(j, "standard_error", e->accuracy.standard_error);
        json_close(j, '}');
    }
    if (e->has_bootstrap) {
        json_open(j, "bootstrap", '{');
        json_integer(j, "samples", e->samples);
        json_number(j, "far", e->far);
        json_interval(j, "eer", e->eer_interval);
        json_interval(j, "tar", e->tar_interval);
        json_close(j, '}');
    }
}

void evaluation_json(const evaluation *e, FILE *f)
{
    cli_json j = {.f = f};
    json_open(&j, NULL, '{');
    json_text(&j, "source", e->source);
    json_text(&j, "format", e->kind);
    json_text(&j, "model_id", e->model_id);
    json_integer(&j, "genuine_trials", (long long)e->score_count[1]);
    json_integer(&j, "impostor_trials", (long long)e->score_count[0]);
    json_bool(&j, "impostors_sampled", e->sampled);
    json_integer(&j, "pictures", (long long)e->pictures);
    json_integer(&j, "pictures_failed", (long long)e->failed);
    json_integer(&j, "genuine_not_made", (long long)(e->score_count[1] - e->made[1]));
    json_integer(&j, "impostor_not_made", (long long)(e->score_count[0] - e->made[0]));
    json_number(&j, "eer", e->eer);
    json_number(&j, "eer_threshold", e->eer_threshold);
    json_rates(&j, "at_far", e->at_far, e->far_rates);
    json_rates(&j, "at_threshold", e->given, e->given_rates);
    json_resampled(&j, e);
    json_open(&j, "groups", '[');
    for (int i = 0; i < e->group_count; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "name", e->groups[i].name);
        json_rate(&j, "fmr", &e->groups[i].fmr);
        json_rate(&j, "fnmr", &e->groups[i].fnmr);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    if (e->search.searches)
        json_search(&j, &e->search);
    json_close(&j, '}');
    json_end(&j);
}

/* ---- the folder ---- */

typedef struct curves {
    uf_curve_point points[MAX_POINTS];
    double far[MAX_POINTS], frr[MAX_POINTS], tar[MAX_POINTS];
    double ranks[CMC_RANKS];
    size_t count;
} curves;

static FILE *create(const char *folder, const char *name)
{
    char path[4300];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    if (!f)
        cli_complain(EXIT_INPUT, "%s: it cannot be written", path);
    return f;
}

static bool finish(FILE *f)
{
    const bool ok = !ferror(f);
    return fclose(f) == 0 && ok;
}

/* The lowest decade that the trials can show. */
static double lowest_rate(size_t trials)
{
    return pow(10, -fmax(1, fmin(6, ceil(log10((double)trials) - 1e-9))));
}

static void write_roc(FILE *f, const evaluation *e, const curves *c)
{
    const chart_axis x = {"false accept rate", lowest_rate(e->score_count[0]), 1, true};
    const chart_axis y = {"true accept rate", 0, 1, false};
    const chart_line line = {NULL, c->far, c->tar, c->count, false};
    chart_write(f, "ROC", &x, &y, &line, 1);
}

static void write_det(FILE *f, const evaluation *e, const curves *c)
{
    const chart_axis x = {"false accept rate", lowest_rate(e->score_count[0]), 1, true};
    const chart_axis y = {"false reject rate", lowest_rate(e->score_count[1]), 1, true};
    const double low = fmax(x.low, y.low), equal[2] = {low, 1};
    const chart_line lines[2] = {{NULL, c->far, c->frr, c->count, false},
                                 {"equal error rate", equal, equal, 2, false}};
    chart_write(f, "DET", &x, &y, lines, 2);
}

static void write_cmc(FILE *f, const evaluation *e, const curves *c)
{
    const double low = floor(e->search.cmc[0] * 10) / 10;
    const chart_axis x = {"rank", 1, CMC_RANKS, false};
    const chart_axis y = {"identification rate", low < 1 ? low : 0.9, 1, false};
    const chart_line line = {NULL, c->ranks, e->search.cmc, CMC_RANKS, false};
    chart_write(f, "CMC", &x, &y, &line, 1);
}

static void write_curve_csv(FILE *f, const evaluation *e, const curves *c)
{
    fputs("threshold,far,frr\n", f);
    for (size_t i = 0; i < c->count; i++)
        fprintf(f, "%.7g,%.9g,%.9g\n", c->points[i].threshold, c->points[i].far, c->points[i].frr);
}

static void write_scores_csv(FILE *f, const evaluation *e, const curves *c)
{
    fputs("score,same,fold,subject_a,subject_b\n", f);
    for (size_t i = 0; i < e->count; i++)
        fprintf(f, "%.7g,%d,%d,%u,%u\n", (double)e->trials[i].score, e->trials[i].same,
                e->trials[i].fold, e->trials[i].subject_a, e->trials[i].subject_b);
}

static void write_cmc_csv(FILE *f, const evaluation *e, const curves *c)
{
    fputs("rank,identification_rate\n", f);
    for (int i = 0; i < CMC_RANKS; i++)
        fprintf(f, "%d,%.9g\n", i + 1, e->search.cmc[i]);
}

static void write_json(FILE *f, const evaluation *e, const curves *c)
{
    evaluation_json(e, f);
}

static void html_rates(FILE *f, const at_threshold *list, int count)
{
    for (int i = 0; i < count; i++) {
        const at_threshold *a = &list[i];
        if (isnan(a->wanted_far))
            fputs("<tr><td>given</td>", f);
        else
            fprintf(f, "<tr><td>%g%s</td>", a->wanted_far, a->thirty ? "" : " *");
        fprintf(f, "<td>%.4f</td><td>%.4g</td><td>%.2f %%</td><td>%.2f %% [%.2f, %.2f]</td></tr>\n",
                a->threshold, a->far.value, 100 * (1 - a->frr.value), 100 * a->fnmr.value,
                100 * a->fnmr.low, 100 * a->fnmr.high);
    }
}

static void write_html(FILE *f, const evaluation *e, const curves *c)
{
    html_head(f, "Evaluation");
    fputs("<h1>Evaluation of ", f);
    chart_text(f, e->source);
    fprintf(f, "</h1><p>%s%s</p>\n", e->model_id ? "Model " : "Scores of any matcher",
            e->model_id ? e->model_id : "");
    fprintf(f,
            "<p>%zu genuine and %zu impostor trials%s; %zu pictures, %zu without a usable face."
            " Equal error rate <b>%.3f %%</b> at %.4f",
            e->score_count[1], e->score_count[0], e->sampled ? " (a sample)" : "", e->pictures,
            e->failed, 100 * e->eer, e->eer_threshold);
    if (e->has_bootstrap)
        fprintf(f, " [%.3f, %.3f] by drawing subjects", 100 * e->eer_interval.low,
                100 * e->eer_interval.high);
    fputs(".", f);
    if (e->has_folds)
        fprintf(f, " Accuracy in %d folds <b>%.2f %%</b> &#177; %.2f.", e->accuracy.folds,
                100 * e->accuracy.mean, 100 * e->accuracy.standard_error);
    fputs("</p>\n<table><tr><th>FAR wanted</th><th>threshold</th><th>FAR</th><th>TAR</th>"
          "<th>FNMR</th></tr>\n",
          f);
    html_rates(f, e->at_far, e->far_rates);
    html_rates(f, e->given, e->given_rates);
    fputs("</table><p>* fewer than 30 expected errors: known less well than within 30 % "
          "(rule of 30). Intervals are 95 % (Wilson).</p>\n",
          f);
    write_roc(f, e, c);
    write_det(f, e, c);
    if (e->search.searches)
        write_cmc(f, e, c);
    if (e->group_count)
        fputs("<table><tr><th>group</th><th>FNMR</th><th>FMR</th></tr>\n", f);
    for (int i = 0; i < e->group_count; i++) {
        fputs("<tr><td>", f);
        chart_text(f, e->groups[i].name);
        fprintf(f, "</td><td>%.2f %% of %llu</td><td>%.4g of %llu</td></tr>\n",
                100 * e->groups[i].fnmr.value, (unsigned long long)e->groups[i].fnmr.trials,
                e->groups[i].fmr.value, (unsigned long long)e->groups[i].fmr.trials);
    }
    fputs(e->group_count ? "</table></html>\n" : "</html>\n", f);
}

static const struct {
    const char *name;
    void (*write)(FILE *f, const evaluation *e, const curves *c);
    bool of_searches;
} files[] = {{"report.html", write_html, false},    {"report.json", write_json, false},
             {"roc.svg", write_roc, false},         {"det.svg", write_det, false},
             {"curve.csv", write_curve_csv, false}, {"scores.csv", write_scores_csv, false},
             {"cmc.svg", write_cmc, true},          {"cmc.csv", write_cmc_csv, true}};

static bool fill_curves(curves *c, const evaluation *e)
{
    if (uf_error_curve(e->scores[1], e->score_count[1], e->scores[0], e->score_count[0], c->points,
                       MAX_POINTS, &c->count, NULL))
        return false;
    for (size_t i = 0; i < c->count; i++) {
        c->far[i] = c->points[i].far;
        c->frr[i] = c->points[i].frr;
        c->tar[i] = 1 - c->points[i].frr;
    }
    for (int i = 0; i < CMC_RANKS; i++)
        c->ranks[i] = i + 1;
    return true;
}

int evaluation_save(const evaluation *e, const char *folder)
{
    char inside[4300];
    int status = 0;
    curves *c = malloc(sizeof *c);
    snprintf(inside, sizeof inside, "%s/x", folder);
    if (!c || !fill_curves(c, e))
        status = cli_complain(EXIT_INTERNAL, "out of memory");
    else if (!cli_make_folders(inside))
        status = cli_complain(EXIT_INPUT, "%s: the folder cannot be made", folder);
    for (size_t i = 0; !status && i < sizeof files / sizeof *files; i++) {
        if (files[i].of_searches && !e->search.searches)
            continue;
        FILE *f = create(folder, files[i].name);
        if (!f)
            status = EXIT_INPUT;
        else {
            files[i].write(f, e, c);
            if (!finish(f))
                status =
                    cli_complain(EXIT_INPUT, "%s/%s: it cannot be written", folder, files[i].name);
        }
    }
    free(c);
    return status;
}
