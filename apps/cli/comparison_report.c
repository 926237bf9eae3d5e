/* Telling what `uniface compare` measured: text, JSON, a page. */
#include <math.h>
#include <stdlib.h>

#include "chart.h"
#include "comparison.h"

static void write_verdict(FILE *f, const comparison *c, const summary *s, const char *why)
{
    if (why[0])
        fprintf(f, "verdict: refused, %s\n", why);
    else if (c->has_pairs)
        fprintf(f,
                "verdict: the second is %.2f times as fast at %.2f of the size; its decisions %s\n",
                s->speedup, s->size,
                c->mcnemar > 0.05 ? "do not differ significantly (5 %)" : "differ significantly");
    else
        fprintf(f, "verdict: the second is %.2f times as fast at %.2f of the size\n", s->speedup,
                s->size);
}

static const char *numbers_of(const compared_layer *l)
{
    return l->bits == 16 ? "int16" : l->bits == 8 ? "int8" : "float";
}

void comparison_print(const comparison *c, const summary *s, const char *why)
{
    const side *a = &c->sides[0], *b = &c->sides[1];
    printf("%-24s %14s %14s %8s\n", "", "first", "second", "ratio");
    printf("%-24s %14ld %14ld %8.3f\n", "file, bytes", a->size_bytes, b->size_bytes, s->size);
    printf("%-24s %14zu %14zu %8.3f\n", "memory, bytes", a->speed.memory_bytes,
           b->speed.memory_bytes, s->memory);
    printf("%-24s %14.3f %14.3f %8.2f x as fast\n", "latency p50, ms", a->speed.p50_ms,
           b->speed.p50_ms, s->speedup);
    printf("%-24s %14.3f %14.3f %8.2f\n", "latency p99, ms", a->speed.p99_ms, b->speed.p99_ms,
           a->speed.p99_ms / b->speed.p99_ms);
    printf("%-24s %14.1f %14.1f\n", "images/s, one thread", 1000 / a->speed.p50_ms,
           1000 / b->speed.p50_ms);
    if (c->cosine_count)
        printf("cosine of templates: mean %.5f, 1st percentile %.5f over %zu faces (%zu pictures "
               "without one)\n",
               s->cosine_mean, s->cosine_first, c->cosine_count, c->faceless);
    if (c->has_pairs) {
        printf("TAR at FAR %g: %.2f %% and %.2f %% (%zu genuine, %zu impostor pairs)\n", c->far,
               100 * (double)a->rates.tar, 100 * (double)b->rates.tar, c->pair_count[1],
               c->pair_count[0]);
        printf("judged rightly by the first alone %zu, by the second alone %zu: McNemar p %.3f\n",
               c->only[0], c->only[1], c->mcnemar);
    }
    if (c->detectors)
        printf("%zu faces: %.2f %% matched at IoU 0.9, mean overlap %.4f, %.2f %% new\n",
               c->reference_faces, s->matched, s->mean_overlap, s->added);
    for (size_t i = 0; i < c->layer_count; i++)
        printf("%8.1f dB  %-5s %s\n", c->layers[i].snr_db, numbers_of(&c->layers[i]),
               c->layers[i].name);
    write_verdict(stdout, c, s, why);
}

static void json_side(cli_json *j, const char *key, const comparison *c, const side *s)
{
    json_open(j, key, '{');
    json_text(j, "model", s->path);
    json_text(j, "model_id", uf_model_id(s->model));
    json_integer(j, "size_bytes", s->size_bytes);
    json_integer(j, "memory_bytes", (long long)s->speed.memory_bytes);
    json_number(j, "p50_ms", s->speed.p50_ms);
    json_number(j, "p99_ms", s->speed.p99_ms);
    json_number(j, "images_per_s", 1000 / s->speed.p50_ms);
    if (c->has_pairs) {
        json_number(j, "tar", (double)s->rates.tar);
        json_number(j, "threshold", (double)s->rates.threshold);
    }
    json_close(j, '}');
}

void comparison_json(const comparison *c, const summary *s, const char *why, FILE *f)
{
    cli_json j = {.f = f};
    json_open(&j, NULL, '{');
    json_side(&j, "first", c, &c->sides[0]);
    json_side(&j, "second", c, &c->sides[1]);
    json_number(&j, "speedup", s->speedup);
    json_number(&j, "size_ratio", s->size);
    json_number(&j, "memory_ratio", s->memory);
    json_integer(&j, "pictures", (long long)c->pictures);
    if (c->cosine_count) {
        json_integer(&j, "faces", (long long)c->cosine_count);
        json_number(&j, "cosine_mean", s->cosine_mean);
        json_number(&j, "cosine_p1", s->cosine_first);
    }
    if (c->has_pairs) {
        json_number(&j, "far", c->far);
        json_integer(&j, "genuine_pairs", (long long)c->pair_count[1]);
        json_integer(&j, "impostor_pairs", (long long)c->pair_count[0]);
        json_number(&j, "tar_drop_points", s->tar_drop);
        json_integer(&j, "only_first_right", (long long)c->only[0]);
        json_integer(&j, "only_second_right", (long long)c->only[1]);
        json_number(&j, "mcnemar_p", c->mcnemar);
    }
    if (c->detectors) {
        json_integer(&j, "faces", (long long)c->reference_faces);
        json_number(&j, "matched_percent", s->matched);
        json_number(&j, "mean_overlap", s->mean_overlap);
        json_number(&j, "new_percent", s->added);
    }
    json_open(&j, "layers", '[');
    for (size_t i = 0; i < c->layer_count; i++) {
        json_open(&j, NULL, '{');
        json_text(&j, "name", c->layers[i].name);
        json_integer(&j, "bits", c->layers[i].bits);
        json_number(&j, "snr_db", c->layers[i].snr_db);
        json_close(&j, '}');
    }
    json_close(&j, ']');
    json_bool(&j, "accepted", !why[0]);
    json_text(&j, "reason", why[0] ? why : NULL);
    json_close(&j, '}');
    json_end(&j);
}

/* ---- the page ---- */

static void html_row(FILE *f, const char *what, double first, double second, const char *unit)
{
    fprintf(f, "<tr><td>%s</td><td>%.6g %s</td><td>%.6g %s</td><td>%.3f</td></tr>\n", what, first,
            unit, second, unit, second / first);
}

static void html_sides(FILE *f, const comparison *c)
{
    const side *a = &c->sides[0], *b = &c->sides[1];
    fputs("<table><tr><th></th><th>", f);
    chart_text(f, a->path);
    fputs("</th><th>", f);
    chart_text(f, b->path);
    fputs("</th><th>ratio</th></tr>\n", f);
    html_row(f, "file", (double)a->size_bytes, (double)b->size_bytes, "bytes");
    html_row(f, "memory", (double)a->speed.memory_bytes, (double)b->speed.memory_bytes, "bytes");
    html_row(f, "latency, median", a->speed.p50_ms, b->speed.p50_ms, "ms");
    html_row(f, "latency, 99th percentile", a->speed.p99_ms, b->speed.p99_ms, "ms");
    html_row(f, "throughput, one thread", 1000 / a->speed.p50_ms, 1000 / b->speed.p50_ms,
             "pictures/s");
    if (c->has_pairs)
        html_row(f, "true accept rate", (double)a->rates.tar, (double)b->rates.tar, "");
    fputs("</table>\n", f);
}

static void html_answers(FILE *f, const comparison *c, const summary *s)
{
    if (c->cosine_count)
        fprintf(f,
                "<p>Cosine of templates: mean %.5f, 1st percentile %.5f over %zu faces (%zu "
                "pictures without one).</p>\n",
                s->cosine_mean, s->cosine_first, c->cosine_count, c->faceless);
    if (c->has_pairs)
        fprintf(f,
                "<p>At a false accept rate of %g, %zu genuine and %zu impostor pairs: judged "
                "rightly by the first alone %zu, by the second alone %zu; McNemar p %.3f.</p>\n",
                c->far, c->pair_count[1], c->pair_count[0], c->only[0], c->only[1], c->mcnemar);
    if (c->detectors)
        fprintf(f,
                "<p>%zu faces: %.2f %% matched at IoU 0.9, mean overlap %.4f, %.2f %% new.</p>\n",
                c->reference_faces, s->matched, s->mean_overlap, s->added);
}

/* Signal to noise of each layer in order, and the worst by name. */
static void html_layers(FILE *f, const comparison *c)
{
    double *x = malloc((c->layer_count + 1) * sizeof *x);
    double *y = malloc((c->layer_count + 1) * sizeof *y), most = 1;
    for (size_t i = 0; x && y && i < c->layer_count; i++) {
        x[i] = (double)i + 1;
        y[i] = fmin(fmax(c->layers[i].snr_db, 0), 100);
        most = fmax(most, y[i]);
    }
    if (x && y && c->layer_count) {
        const chart_axis across = {"layer", 0, (double)c->layer_count + 1, false};
        const chart_axis up = {"signal to noise, dB", 0, ceil(most / 10) * 10, false};
        const chart_line line = {NULL, x, y, c->layer_count, true};
        chart_write(f, "Signal to noise of each layer", &across, &up, &line, 1);
        fputs("<table><tr><th>layer</th><th>runs in</th><th>dB</th></tr>\n", f);
        for (size_t i = 0; i < c->layer_count; i++) {
            fprintf(f, "<tr><td>%zu ", i + 1);
            chart_text(f, c->layers[i].name);
            fprintf(f, "</td><td>%s</td><td>%.1f</td></tr>\n", numbers_of(&c->layers[i]),
                    c->layers[i].snr_db);
        }
        fputs("</table>\n", f);
    }
    free(x);
    free(y);
}

int comparison_save(const comparison *c, const summary *s, const char *why, const char *path)
{
    FILE *f = cli_make_folders(path) ? fopen(path, "w") : NULL;
    if (!f)
        return cli_complain(EXIT_INPUT, "%s: it cannot be written", path);
    html_head(f, "Comparison of two models");
    fputs("<h1>Comparison of two models</h1>\n<p><b>", f);
    write_verdict(f, c, s, why);
    fputs("</b></p>\n", f);
    html_sides(f, c);
    html_answers(f, c, s);
    html_layers(f, c);
    fputs("</html>\n", f);
    const bool ok = !ferror(f);
    return fclose(f) == 0 && ok ? 0 : cli_complain(EXIT_INPUT, "%s: it cannot be written", path);
}
