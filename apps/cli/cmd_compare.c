/* uniface compare: two models of one task, side by side, with gates for a pipeline. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "comparison.h"
#include "job.h"
#include "templates.h"

static int by_float(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* ---- speed: the two take turns ---- */

static int measure_speed(comparison *c)
{
    uf_error err;
    uf_model *const models[2] = {c->sides[0].model, c->sides[1].model};
    race_result r[2];
    if (cli_race(models, 0, 0, r, &err))
        return cli_fail(&err);
    for (int k = 0; k < 2; k++)
        c->sides[k].speed = r[k];
    return 0;
}

/* ---- embedders ---- */

/* How far the two models agree on each template. */
static void take_cosines(comparison *c, const cli_templates *t)
{
    const size_t n = t->dimension;
    c->pictures = t->pictures;
    c->faceless = t->failed;
    c->cosines = cli_need(malloc((t->count + 1) * sizeof *c->cosines));
    for (size_t i = 0; i < t->count; i++)
        if (t->made[i])
            c->cosines[c->cosine_count++] = uf_similarity(t->v[0] + i * n, t->v[1] + i * n, n);
}

static void take_scores(comparison *c, const cli_templates *t, const uf_trials *trials)
{
    size_t count;
    const uf_trial *list = uf_trials_list(trials, &count);
    for (int k = 0; k < 2; k++)
        for (int same = 0; same < 2; same++)
            c->sides[k].scores[same] = cli_need(malloc((count + 1) * sizeof(float)));
    for (size_t i = 0; i < count; i++) {
        const int same = list[i].same;
        for (int k = 0; k < 2; k++)
            c->sides[k].scores[same][c->pair_count[same]] =
                cli_templates_score(t, k, list[i].a, list[i].b);
        c->pair_count[same]++;
    }
}

static int embed_pairs(comparison *c, cli_embedders *with, const cli_args *a)
{
    uf_error err;
    uf_trials *trials;
    cli_templates t = {0};
    size_t pictures;
    if (uf_trials_read(&trials, cli_value(a, "pairs"), NULL, &err))
        return cli_fail(&err);
    const uf_trial_picture *p = uf_trials_pictures(trials, &pictures);
    with->folder = cli_value(a, "images");
    int status =
        cli_templates_make(&t, &c->session, with, p, pictures, uf_trials_template_count(trials));
    if (!status) {
        take_cosines(c, &t);
        take_scores(c, &t, trials);
    }
    cli_templates_free(&t);
    uf_trials_destroy(trials);
    return status;
}

static int embed_folder(comparison *c, const cli_embedders *with, const cli_args *a)
{
    cli_files files;
    cli_templates t = {0};
    char *operand = cli_need(strdup(cli_value(a, "images")));
    int status = cli_files_collect(&files, &operand, 1) ? 0 : EXIT_INTERNAL;
    uf_trial_picture *p = cli_need(calloc(files.count + 1, sizeof *p));
    for (size_t i = 0; i < files.count; i++)
        p[i] = (uf_trial_picture){.name = files.paths[i], .template_id = (uint32_t)i};
    if (!status)
        status = cli_templates_make(&t, &c->session, with, p, files.count, files.count);
    if (!status)
        take_cosines(c, &t);
    cli_templates_free(&t);
    cli_files_free(&files);
    free(p);
    free(operand);
    return status;
}

/* Each model decides by its own threshold at the FAR. */
static int judge_pairs(comparison *c)
{
    uf_error err;
    bool *right[2];
    const size_t total = c->pair_count[0] + c->pair_count[1];
    for (int k = 0; k < 2; k++) {
        side *s = &c->sides[k];
        float *copy[2];
        for (int same = 0; same < 2; same++) {
            copy[same] = cli_need(malloc((c->pair_count[same] + 1) * sizeof(float)));
            if (c->pair_count[same])
                memcpy(copy[same], s->scores[same], c->pair_count[same] * sizeof(float));
        }
        uf_status st = uf_rates_at_far(copy[1], c->pair_count[1], copy[0], c->pair_count[0], c->far,
                                       &s->rates, &err);
        free(copy[0]);
        free(copy[1]);
        if (st)
            return cli_fail(&err);
        right[k] = cli_need(malloc(total + 1));
        for (size_t i = 0; i < total; i++) {
            const int same = i >= c->pair_count[0];
            const float score = s->scores[same][same ? i - c->pair_count[0] : i];
            right[k][i] = (score >= s->rates.threshold) == (same == 1);
        }
    }
    for (size_t i = 0; i < total; i++)
        if (right[0][i] != right[1][i])
            c->only[right[0][i] ? 0 : 1]++;
    c->mcnemar = uf_mcnemar(c->only[0], c->only[1]);
    c->has_pairs = true;
    free(right[0]);
    free(right[1]);
    return 0;
}

static int compare_embedders(comparison *c, const cli_args *a)
{
    uf_error err;
    uf_embedder_options o = UF_EMBEDDER_OPTIONS_INIT;
    int status = cli_open_detector(&c->session, a);
    o.flip = cli_flag(a, "flip");
    for (int k = 0; !status && k < 2; k++)
        if (uf_embedder_create(&c->sides[k].embedder, c->sides[k].model, &o, &err))
            status = cli_fail(&err);
    if (!status &&
        uf_embedder_dimension(c->sides[0].embedder) != uf_embedder_dimension(c->sides[1].embedder))
        status = cli_complain(EXIT_INPUT, "the models make templates of %zu and %zu numbers",
                              uf_embedder_dimension(c->sides[0].embedder),
                              uf_embedder_dimension(c->sides[1].embedder));
    if (status)
        return status;
    cli_embedders with = {.e = {c->sides[0].embedder, c->sides[1].embedder}, .count = 2};
    if (!cli_value(a, "pairs"))
        return embed_folder(c, &with, a);
    status = embed_pairs(c, &with, a);
    return status ? status : judge_pairs(c);
}

/* ---- detectors ---- */

/* The greatest overlap of `f` with one of the others. */
static double best_overlap(const uf_face *f, const uf_face *others, size_t count)
{
    double best = 0;
    for (size_t i = 0; i < count; i++)
        best = fmax(best, (double)uf_face_overlap(f, &others[i]));
    return best;
}

static void compare_faces(comparison *c, const uf_face *a, size_t na, const uf_face *b, size_t nb)
{
    for (size_t i = 0; i < na; i++) {
        const double o = best_overlap(&a[i], b, nb);
        c->reference_faces++;
        c->matched_faces += o >= 0.9;
        c->overlap_sum += o;
    }
    for (size_t i = 0; i < nb; i++)
        c->new_faces += best_overlap(&b[i], a, na) < 0.5;
}

static int compare_detectors(comparison *c, const cli_args *a)
{
    uf_error err;
    cli_files files = {0};
    uf_face *faces[2];
    size_t count[2];
    int status = 0;
    for (int k = 0; k < 2; k++) {
        faces[k] = cli_need(malloc(CLI_MAX_FACES * sizeof **faces));
        if (!status && uf_detector_create(&c->sides[k].detector, c->sides[k].model, NULL, &err))
            status = cli_fail(&err);
    }
    char *operand = cli_need(strdup(cli_value(a, "images")));
    if (!status && !cli_files_collect(&files, &operand, 1))
        status = EXIT_INPUT;
    for (size_t i = 0; !status && i < files.count; i++) {
        uf_picture *p;
        uf_decode_options o = UF_DECODE_OPTIONS_INIT;
        if (uf_picture_load(&p, files.paths[i], &o, &err)) {
            cli_fail(&err);
            continue;
        }
        uf_image view = uf_picture_view(p);
        for (int k = 0; !status && k < 2; k++) {
            if (uf_detector_run(c->sides[k].detector, &view, faces[k], CLI_MAX_FACES, &count[k],
                                &err))
                status = cli_fail(&err);
            if (count[k] > CLI_MAX_FACES)
                count[k] = CLI_MAX_FACES;
        }
        if (!status)
            compare_faces(c, faces[0], count[0], faces[1], count[1]);
        c->pictures++;
        uf_picture_destroy(p);
        cli_progress("detecting", i + 1, files.count);
    }
    cli_files_free(&files);
    free(operand);
    free(faces[0]);
    free(faces[1]);
    return status;
}

/* ---- the outcome ---- */

static summary summarize(comparison *c)
{
    const side *a = &c->sides[0], *b = &c->sides[1];
    summary s = {.speedup = a->speed.p50_ms / b->speed.p50_ms,
                 .size = (double)b->size_bytes / (double)a->size_bytes,
                 .memory = (double)b->speed.memory_bytes / (double)a->speed.memory_bytes};
    if (c->cosine_count) {
        qsort(c->cosines, c->cosine_count, sizeof *c->cosines, by_float);
        for (size_t i = 0; i < c->cosine_count; i++)
            s.cosine_mean += (double)c->cosines[i] / (double)c->cosine_count;
        s.cosine_first = (double)c->cosines[c->cosine_count / 100];
    }
    s.tar_drop = 100 * (double)(a->rates.tar - b->rates.tar);
    if (c->reference_faces) {
        s.matched = 100 * (double)c->matched_faces / (double)c->reference_faces;
        s.mean_overlap = c->overlap_sum / (double)c->reference_faces;
        s.added = 100 * (double)c->new_faces / (double)c->reference_faces;
    }
    return s;
}

/* What the second model must reach; what was not asked for is always reached. */
typedef struct gates {
    double tar_drop, speedup, cosine, matched;
} gates;

/* A gate that nothing would be measured for must not look as if it held. */
static int read_gates(const cli_args *a, const comparison *c, gates *g)
{
    const char *const idle = c->detectors && cli_value(a, "min-cosine")     ? "min-cosine"
                             : !c->detectors && cli_value(a, "min-matched") ? "min-matched"
                                                                            : NULL;
    if (!cli_number(a, "max-tar-drop", 0, 100, 100, &g->tar_drop) ||
        !cli_number(a, "min-speedup", 0, 1000, 0, &g->speedup) ||
        !cli_number(a, "min-cosine", -1, 1, -1, &g->cosine) ||
        !cli_number(a, "min-matched", 0, 100, 0, &g->matched))
        return EXIT_USAGE;
    if (idle)
        return cli_complain(EXIT_USAGE, "compare: --%s says nothing about %s", idle,
                            c->detectors ? "detectors" : "embedders");
    if (cli_value(a, "max-tar-drop") && (c->detectors || !cli_value(a, "pairs")))
        return cli_complain(EXIT_USAGE, "compare: --max-tar-drop needs embedders and --pairs");
    return 0;
}

/* Without one face there is no verdict. */
static int check_compared(const comparison *c, const cli_args *a)
{
    const char *from = cli_value(a, c->has_pairs ? "pairs" : "images");
    if (c->detectors ? c->reference_faces + c->new_faces : c->cosine_count)
        return 0;
    return cli_complain(EXIT_INPUT, "compare: no face was found in the pictures of %s", from);
}

/* Writes what misses a gate into `why`; true when all hold. */
static bool gates_hold(const gates *g, const comparison *c, const summary *s, char *why,
                       size_t size)
{
    why[0] = '\0';
    if (c->has_pairs && s->tar_drop > g->tar_drop)
        snprintf(why, size, "TAR falls by %.2f points, more than %.2f", s->tar_drop, g->tar_drop);
    else if (s->speedup < g->speedup)
        snprintf(why, size, "it is %.2f times as fast, not %.2f", s->speedup, g->speedup);
    else if (!c->detectors && !(s->cosine_mean >= g->cosine)) /* not a number is refused too */
        snprintf(why, size, "the mean cosine is %.4f, less than %.4f", s->cosine_mean, g->cosine);
    else if (c->detectors && s->matched < g->matched)
        snprintf(why, size, "%.2f %% of the faces are matched, less than %.2f %%", s->matched,
                 g->matched);
    return !why[0];
}

/* ---- layers ---- */

static void take_layer(void *user, const char *layer, int32_t bits, double snr_db)
{
    comparison *c = user;
    c->layers = cli_need(realloc(c->layers, (c->layer_count + 1) * sizeof *c->layers));
    c->layers[c->layer_count++] = (compared_layer){cli_need(strdup(layer)), bits, snr_db};
}

/* On some of the pictures, prepared as for quantising. */
static int compare_layers(comparison *c, const cli_args *a)
{
    enum { PICTURES = 16 };
    uf_error err;
    cli_job q = {0};
    int status = cli_job_open(&q, a->operands[0]);
    if (!status)
        status = cli_job_feed(&q, a, cli_value(a, "images"), PICTURES);
    if (!status &&
        uf_compare_layers(q.model, c->sides[1].model, q.calibration, take_layer, c, &err))
        status = cli_fail(&err);
    cli_job_close(&q);
    return status;
}

/* ---- the command ---- */

static int open_sides(comparison *c, const cli_args *a)
{
    uf_error err;
    for (int k = 0; k < 2; k++) {
        side *s = &c->sides[k];
        char path[4096];
        s->path = a->operands[k];
        if (uf_store_find(path, sizeof path, s->path, &err) ||
            cli_model_open(&s->model, path, &err))
            return cli_fail(&err);
        s->size_bytes = cli_file_size(path);
    }
    const char *first = uf_model_meta(c->sides[0].model, "task");
    const char *second = uf_model_meta(c->sides[1].model, "task");
    c->detectors = first && !strcmp(first, "detector");
    if (!first || !second || strcmp(first, second) != 0 ||
        (!c->detectors && strcmp(first, "embedder") != 0))
        return cli_complain(EXIT_INPUT,
                            "compare takes two embedders or two detectors, not %s and %s",
                            first ? first : "nothing", second ? second : "nothing");
    return 0;
}

static void close_all(comparison *c)
{
    for (int k = 0; k < 2; k++) {
        side *s = &c->sides[k];
        uf_embedder_destroy(s->embedder);
        uf_detector_destroy(s->detector);
        uf_model_close(s->model);
        free(s->scores[0]);
        free(s->scores[1]);
    }
    cli_session_close(&c->session);
    for (size_t i = 0; i < c->layer_count; i++)
        free(c->layers[i].name);
    free(c->layers);
    free(c->cosines);
}

static int run_compare(const cli_args *a)
{
    comparison c = {0};
    gates g;
    char why[200];
    if (!cli_value(a, "images") && !cli_value(a, "pairs"))
        return cli_complain(EXIT_USAGE, "compare: --images or --pairs is needed");
    if (cli_flag(a, "layers") && !cli_value(a, "images"))
        return cli_complain(EXIT_USAGE, "compare: --layers needs --images");
    if (!cli_number(a, "far", 1e-6, 1, 1e-2, &c.far))
        return EXIT_USAGE;
    int status = open_sides(&c, a);
    if (!status && c.detectors && !cli_value(a, "images"))
        status = cli_complain(EXIT_USAGE, "compare: detectors need --images");
    if (!status)
        status = read_gates(a, &c, &g);
    if (!status)
        status = measure_speed(&c);
    if (!status)
        status = c.detectors ? compare_detectors(&c, a) : compare_embedders(&c, a);
    if (!status)
        status = check_compared(&c, a);
    if (!status && cli_flag(a, "layers"))
        status = compare_layers(&c, a);
    if (!status) {
        const summary s = summarize(&c);
        const bool ok = gates_hold(&g, &c, &s, why, sizeof why);
        if (a->json)
            comparison_json(&c, &s, why, stdout);
        else
            comparison_print(&c, &s, why);
        if (cli_value(a, "report"))
            status = comparison_save(&c, &s, why, cli_value(a, "report"));
        if (!status)
            status = ok ? 0 : EXIT_DIFFERENT;
    }
    close_all(&c);
    return status;
}

const cli_command cli_compare = {
    .name = "compare",
    .summary = "Put two models side by side: size, speed, memory, answers",
    .operands = "FIRST.ufm SECOND.ufm",
    .min_operands = 2,
    .max_operands = 2,
    .options = {{"images", 'i', "DIR", "photos; with --pairs the folder they are in"},
                {"pairs", 'p', "FILE", "pairs, in any form that evaluate reads"},
                {"far", 0, "RATE", "false accept rate at which decisions are compared (0.01)"},
                {"max-tar-drop", 0, "POINTS", "refuse when the TAR falls by more"},
                {"min-speedup", 0, "X", "refuse when the second is not X times as fast"},
                {"min-cosine", 0, "X", "refuse when the mean cosine of templates is less"},
                {"min-matched", 0, "PERCENT", "refuse when fewer faces are matched (IoU 0.9)"},
                {"flip", 0, NULL, "add the mirrored face's embedding"},
                {"layers", 'l', NULL,
                 "signal to noise of each layer that both have, on 16 pictures"},
                {"report", 'o', "FILE", "write a page (HTML with charts) too"},
                DETECTOR_OPTIONS},
    .details =
        "Exit status 1 says that a gate was missed, so that it can guard a pipeline. The models\n"
        "take turns while they are timed. Decisions are compared with McNemar's exact test, each\n"
        "model at its own threshold for the FAR.",
    .examples = "  uniface compare face.ufm face-int8.ufm -d yunet.ufm --images lfw/ --pairs "
                "pairs.tsv --max-tar-drop 0.3\n"
                "  uniface compare yunet.ufm yunet-int8.ufm --images photos/ --min-speedup 1.5\n",
    .run = run_compare,
};
