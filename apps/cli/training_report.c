#include "training_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "chart.h"

void training_report_take(training_report *r, const uf_train_state *s)
{
    r->pictures_per_s = s->pictures_per_s;
    r->unreadable = s->unreadable;
    if (s->point_count == r->point_count)
        return;
    r->points = cli_need(realloc(r->points, s->point_count * sizeof *r->points));
    memcpy(r->points, s->points, s->point_count * sizeof *r->points);
    r->point_count = s->point_count;
}

void training_report_close(training_report *r)
{
    free(r->points);
}

/* Metadata that tell how the model came to be. */
static bool is_card(const char *key)
{
    return !strncmp(key, "trained.", 8) || !strncmp(key, "retrained.", 10);
}

static void measured(cli_json *j, const char *key, double v)
{
    json_number(j, key, v < 0 ? NAN : v);
}

void training_report_json(const training_report *r, const uf_model *m, const char *output, FILE *f)
{
    cli_json j = {.f = f};
    json_open(&j, NULL, '{');
    if (output)
        json_text(&j, "output", output);
    json_text(&j, "model_id", uf_model_id(m));
    json_integer(&j, "parameters", (long long)uf_model_parameter_count(m));
    for (size_t i = 0; i < uf_model_meta_count(m); i++) {
        const char *key = uf_model_meta_key(m, i);
        if (is_card(key))
            json_text(&j, strncmp(key, "trained.", 8) ? key : key + 8, uf_model_meta(m, key));
    }
    json_number(&j, "pictures_per_s", r->pictures_per_s);
    json_integer(&j, "unreadable", (long long)r->unreadable);
    json_open(&j, "curve", '[');
    for (size_t i = 0; i < r->point_count; i++) {
        json_open(&j, NULL, '{');
        json_integer(&j, "step", r->points[i].step);
        json_number(&j, "loss", r->points[i].loss);
        json_number(&j, "rate", r->points[i].rate);
        measured(&j, "agreement", r->points[i].agreement);
        measured(&j, "score", r->points[i].score);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_close(&j, '}');
    json_end(&j);
}

/* ---- curves ---- */

typedef struct curve {
    double *x, *y;
    size_t count;
    double low, high;
} curve;

typedef double value_fn(const uf_train_point *p);

static double loss_of(const uf_train_point *p)
{
    return p->loss;
}
static double agreement_of(const uf_train_point *p)
{
    return p->agreement;
}
static double score_of(const uf_train_point *p)
{
    return p->score;
}

static curve take_curve(const training_report *r, value_fn *value)
{
    curve c = {.low = INFINITY, .high = -INFINITY};
    c.x = cli_need(malloc((r->point_count + 1) * sizeof *c.x));
    c.y = cli_need(malloc((r->point_count + 1) * sizeof *c.y));
    for (size_t i = 0; i < r->point_count; i++) {
        const double v = value(&r->points[i]);
        if (!(v >= 0))
            continue;
        c.x[c.count] = (double)r->points[i].step;
        c.y[c.count++] = v;
        c.low = fmin(c.low, v);
        c.high = fmax(c.high, v);
    }
    return c;
}

static void free_curve(curve *c)
{
    free(c->x);
    free(c->y);
}

/* The chart of the curves, as a file when `path` is given, else into `f`. */
static bool draw(const training_report *r, const char *title, const char *label,
                 value_fn *const *values, const char *const *names, size_t count, const char *path,
                 FILE *f)
{
    curve c[2];
    chart_line lines[2];
    size_t drawn = 0;
    double low = INFINITY, high = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        c[i] = take_curve(r, values[i]);
        low = fmin(low, c[i].low);
        high = fmax(high, c[i].high);
        if (c[i].count)
            lines[drawn++] = (chart_line){names[i], c[i].x, c[i].y, c[i].count, false};
    }
    const double last = r->point_count ? (double)r->points[r->point_count - 1].step : 1;
    const chart_axis x = {"step", 0, last, false};
    const chart_axis y = {label, high > low ? low : low - 0.5, high > low ? high : high + 0.5,
                          false};
    bool saved = true;
    if (drawn && path)
        saved = chart_save(path, title, &x, &y, lines, drawn);
    else if (drawn)
        chart_write(f, title, &x, &y, lines, drawn);
    for (size_t i = 0; i < count; i++)
        free_curve(&c[i]);
    return saved;
}

static value_fn *const losses[] = {loss_of}, *const qualities[] = {agreement_of, score_of};
static const char *const loss_names[] = {NULL};
static const char *const quality_names[] = {"agreement with teachers", "score on pairs"};

static void write_page(const training_report *r, const uf_model *m, FILE *f)
{
    html_head(f, "Training");
    fputs("<h1>Training</h1>\n<table>\n", f);
    for (size_t i = 0; i < uf_model_meta_count(m); i++) {
        const char *key = uf_model_meta_key(m, i);
        if (!is_card(key))
            continue;
        fputs("<tr><td>", f);
        chart_text(f, key);
        fputs("</td><td style=\"text-align:left\">", f);
        chart_text(f, uf_model_meta(m, key));
        fputs("</td></tr>\n", f);
    }
    fprintf(f, "<tr><td>pictures/s</td><td style=\"text-align:left\">%.1f</td></tr>\n</table>\n",
            r->pictures_per_s);
    draw(r, "Loss", "loss", losses, loss_names, 1, NULL, f);
    draw(r, "Quality", "share", qualities, quality_names, 2, NULL, f);
    fputs("</html>\n", f);
}

int training_report_save(const training_report *r, const uf_model *m, const char *folder)
{
    char path[4096];
    bool saved;
    snprintf(path, sizeof path, "%s/report.html", folder);
    FILE *f = cli_make_folders(path) ? fopen(path, "w") : NULL;
    if (!f)
        return cli_complain(EXIT_INPUT, "%s: it cannot be written", path);
    write_page(r, m, f);
    saved = fclose(f) == 0;
    snprintf(path, sizeof path, "%s/report.json", folder);
    f = fopen(path, "w");
    if (f)
        training_report_json(r, m, NULL, f);
    saved &= f && fclose(f) == 0;
    snprintf(path, sizeof path, "%s/loss.svg", folder);
    saved &= draw(r, "Loss", "loss", losses, loss_names, 1, path, NULL);
    snprintf(path, sizeof path, "%s/quality.svg", folder);
    saved &= draw(r, "Quality", "share", qualities, quality_names, 2, path, NULL);
    return saved ? 0 : cli_complain(EXIT_INPUT, "%s: the report cannot be written", folder);
}
