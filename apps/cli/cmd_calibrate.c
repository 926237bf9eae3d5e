/* uniface calibrate: decision thresholds from pairs of photos. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

/* Templates of the pictures that pairs name, each made once. */
typedef struct known_picture {
    char *path;
    float *v; /* NULL: no face */
} known_picture;

typedef struct calibration {
    known_picture *known;
    size_t count, cap, missing;
    float *scores[2];
    size_t score_count[2];
} calibration;

static const float *template_of(calibration *c, cli_session *s, const char *path)
{
    for (size_t i = 0; i < c->count; i++)
        if (!strcmp(c->known[i].path, path))
            return c->known[i].v;
    if (c->count == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 256;
        c->known = realloc(c->known, c->cap * sizeof *c->known);
        if (!c->known)
            exit(cli_complain(EXIT_INTERNAL, "out of memory"));
    }
    known_picture *k = &c->known[c->count++];
    k->path = strdup(path);
    k->v = malloc(s->dimension * sizeof *k->v);
    if (!k->v || cli_embed_main_face(s, path, k->v)) {
        free(k->v);
        k->v = NULL;
    }
    return k->v;
}

static void take_pair(calibration *c, cli_session *s, const char *first, const char *second,
                      bool same)
{
    const float *a = template_of(c, s, first), *b = template_of(c, s, second);
    if (!a || !b) {
        c->missing++;
        return;
    }
    size_t *n = &c->score_count[same];
    float *scores = realloc(c->scores[same], (*n + 1) * sizeof *scores);
    if (!scores)
        exit(cli_complain(EXIT_INTERNAL, "out of memory"));
    c->scores[same] = scores;
    scores[(*n)++] = uf_similarity(a, b, s->dimension);
}

/* Lines "A B 1" (same person) or "A B 0", separated by tabs or spaces. */
static int read_pairs(calibration *c, cli_session *s, const char *path, const char *folder)
{
    char line[8192], a[4096], b[4096], first[8192], second[8192];
    size_t number = 0, total = 0;
    int same, status = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return cli_complain(EXIT_INPUT, "%s: it cannot be opened", path);
    while (fgets(line, sizeof line, f))
        total++;
    rewind(f);
    while (!status && fgets(line, sizeof line, f)) {
        number++;
        if (line[0] == '\n' || line[0] == '#')
            continue;
        if (sscanf(line, "%4095s %4095s %d", a, b, &same) != 3 || (same != 0 && same != 1)) {
            status =
                cli_complain(EXIT_INPUT, "%s:%zu: a line is \"PICTURE PICTURE 0|1\"", path, number);
            break;
        }
        snprintf(first, sizeof first, "%s%s%s", folder ? folder : "", folder ? "/" : "", a);
        snprintf(second, sizeof second, "%s%s%s", folder ? folder : "", folder ? "/" : "", b);
        take_pair(c, s, first, second, same != 0);
        cli_progress("comparing", number, total);
    }
    fclose(f);
    return status;
}

static void report_thresholds(const cli_args *a, const uf_threshold *t, size_t n,
                              const calibration *c)
{
    cli_json j = {stdout, 0, {false}};
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

static void free_calibration(calibration *c)
{
    for (size_t i = 0; i < c->count; i++) {
        free(c->known[i].path);
        free(c->known[i].v);
    }
    free(c->known);
    free(c->scores[0]);
    free(c->scores[1]);
}

static int run_calibrate(const cli_args *a)
{
    cli_session s = {0};
    calibration c = {0};
    uf_error err;
    uf_threshold t[8];
    size_t n = 0;
    cli_args with_model = *a;
    const char *pairs = cli_value(a, "pairs"), *output = cli_value(a, "output");
    if (!pairs)
        return cli_complain(EXIT_USAGE, "calibrate: --pairs FILE is needed");
    int status = cli_open_detector(&s, &with_model);
    if (!status && uf_model_open(&s.embedder_model, a->operands[0], &err))
        status = cli_fail(&err);
    uf_embedder_options o = UF_EMBEDDER_OPTIONS_INIT;
    o.flip = cli_flag(a, "flip");
    if (!status && uf_embedder_create(&s.embedder, s.embedder_model, &o, &err))
        status = cli_fail(&err);
    if (!status) {
        s.dimension = uf_embedder_dimension(s.embedder);
        status = read_pairs(&c, &s, pairs, cli_value(a, "images"));
    }
    if (!status && uf_model_calibrate(s.embedder_model, c.scores[1], c.score_count[1], c.scores[0],
                                      c.score_count[0], t, 8, &n, &err))
        status = cli_fail(&err);
    if (!status && uf_model_save(s.embedder_model, output ? output : a->operands[0], &err))
        status = cli_fail(&err);
    if (!status)
        report_thresholds(a, t, n, &c);
    free_calibration(&c);
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
                {"pairs", 'p', "FILE", "lines \"PICTURE PICTURE 1\" (same person) or 0"},
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
