/*
 * uniface profile: where the time goes from a picture to a decision.
 *
 * A picture is taken as pipelines take it: a JPEG is decoded as small as the detector allows, and
 * once more where its face then has fewer pixels than the embedder's crop. One run that is not
 * counted plans and warms up. Stages are timed with profiling off; layers in runs of their own,
 * because a clock read for each makes short ones longer.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "uniface/pipeline.h"

/* X(name, what it is) */
#define STAGE_LIST(X)                                    \
    X(decode, "read and decode")                         \
    X(decode_again, "decode larger, for the face")       \
    X(detector_input, "detector: picture to input")      \
    X(detector_network, "detector: network")             \
    X(detector_faces, "detector: boxes and NMS")         \
    X(quality, "quality of the face")                    \
    X(align, "align the face")                           \
    X(embedder_input, "embedder: crop to input")         \
    X(embedder_network, "embedder: network")             \
    X(embedder_template, "embedder: output to template") \
    X(compare, "compare two templates")

#define STAGE_ENUM(name, text) STAGE_##name,
#define STAGE_NAME(name, text) #name,
#define STAGE_TEXT(name, text) text,
enum { STAGE_LIST(STAGE_ENUM) STAGES };
static const char *const stage_names[STAGES] = {STAGE_LIST(STAGE_NAME)};
static const char *const stage_texts[STAGES] = {STAGE_LIST(STAGE_TEXT)};

enum { MAX_RUNS = 10000, TOTAL = STAGES };

/* A network's layers: what they are, and the times of all runs. */
typedef struct layers {
    uf_step_profile *steps;
    double *us; /* [step][run]; then sorted, so the median stands in the middle */
    size_t count;
    uint32_t looks; /* runs of the network for one picture */
    double total_us;
} layers;

typedef struct profiling {
    const cli_args *a;
    cli_session s;
    const char *path;
    size_t runs, run;
    double *ms[STAGES + 1]; /* [run]; the last: their sum */
    double open_ms, first_ms, plan_ms;
    float *vector;
    uint8_t *crop;
    size_t faces;
    int32_t width, height, decoded_width, decoded_height;
    bool again;
    layers detector, embedder;
} profiling;

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- one picture ---- */

static void add(profiling *p, int stage, double ms)
{
    p->ms[stage][p->run] += ms;
    p->ms[TOTAL][p->run] += ms;
}

static double lap(double *since)
{
    const double now = cli_now_ms(), ms = now - *since;
    *since = now;
    return ms;
}

static uf_status find_face(profiling *p, const uf_image *view, uf_face *face, uf_error *err)
{
    uf_run_times t;
    size_t count;
    const uf_status st = cli_faces_in(&p->s, view, &count, err);
    uf_detector_times(p->s.detector, &t);
    if (st)
        return st;
    add(p, STAGE_detector_input, t.input_us / 1e3);
    add(p, STAGE_detector_network, t.network_us / 1e3);
    add(p, STAGE_detector_faces, t.output_us / 1e3);
    p->plan_ms += t.plan_us / 1e3;
    p->detector.looks = t.runs;
    p->faces = count;
    const int i = uf_face_main(p->s.faces, count, view->width, view->height);
    if (i < 0) {
        snprintf(err->message, sizeof err->message, "%s: no face found", p->path);
        return err->status = UF_E_NO_FACE;
    }
    *face = p->s.faces[i];
    return UF_OK;
}

/* Once more, as large as the face needs, where it has been reduced for the detector. */
static uf_status decode_larger(profiling *p, uf_picture **picture, uf_face *face, uf_error *err)
{
    const float detail = fminf(uf_embedder_detail(p->s.embedder, face), uf_face_detail(face));
    const uf_image view = uf_picture_view(*picture);
    const int32_t side = view.width < view.height ? view.width : view.height;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    uf_picture *larger;
    p->again = detail > 0 && detail < 1 && (view.width != p->width || view.height != p->height);
    if (!p->again)
        return UF_OK;
    o.min_side = (int32_t)fminf(ceilf((float)side / detail), UF_IMAGE_MAX_SIDE);
    const uf_status st = uf_picture_load(&larger, p->path, &o, err);
    if (st)
        return st;
    const uf_image now = uf_picture_view(larger);
    uf_face_scale(face, (float)now.width / (float)view.width,
                  (float)now.height / (float)view.height);
    uf_picture_destroy(*picture);
    *picture = larger;
    return UF_OK;
}

static uf_status embed_face(profiling *p, const uf_image *view, const uf_face *face, uf_error *err)
{
    double since = cli_now_ms();
    uf_run_times t;
    uf_quality q;
    uf_status st = uf_face_quality(view, face, &q, err);
    add(p, STAGE_quality, lap(&since));
    if (!st)
        st = uf_embedder_crop(p->s.embedder, view, face, p->crop, err);
    add(p, STAGE_align, lap(&since));
    if (!st)
        st = uf_embedder_run_crops(p->s.embedder, p->crop, 1, p->vector, err);
    if (st)
        return st;
    uf_embedder_times(p->s.embedder, &t);
    add(p, STAGE_embedder_input, t.input_us / 1e3);
    add(p, STAGE_embedder_network, t.network_us / 1e3);
    add(p, STAGE_embedder_template, t.output_us / 1e3);
    p->plan_ms += t.plan_us / 1e3;
    p->embedder.looks = t.runs;
    since = cli_now_ms();
    (void)uf_similarity(p->vector, p->vector, p->s.dimension);
    add(p, STAGE_compare, lap(&since));
    return UF_OK;
}

static uf_status take_picture(profiling *p, uf_error *err)
{
    double since = cli_now_ms();
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    uf_picture *picture = NULL;
    uf_face face;
    o.min_side = uf_pipeline_min_side(p->s.detector);
    for (int i = 0; i <= TOTAL; i++)
        p->ms[i][p->run] = 0;
    p->plan_ms = 0;
    uf_status st = uf_picture_load(&picture, p->path, &o, err);
    add(p, STAGE_decode, lap(&since));
    if (st)
        return st;
    uf_image view = uf_picture_view(picture);
    uf_picture_source_size(picture, &p->width, &p->height);
    p->decoded_width = view.width;
    p->decoded_height = view.height;
    st = find_face(p, &view, &face, err);
    since = cli_now_ms();
    if (!st)
        st = decode_larger(p, &picture, &face, err);
    if (p->again)
        add(p, STAGE_decode_again, lap(&since));
    view = uf_picture_view(picture);
    if (!st)
        st = embed_face(p, &view, &face, err);
    uf_picture_destroy(picture);
    return st;
}

/* ---- layers ---- */

typedef uf_status step_of(const void *network, size_t i, uf_step_profile *out, uf_error *err);

static uf_status detector_step(const void *d, size_t i, uf_step_profile *out, uf_error *err)
{
    return uf_detector_step(d, i, out, err);
}

static uf_status embedder_step(const void *e, size_t i, uf_step_profile *out, uf_error *err)
{
    return uf_embedder_step(e, i, out, err);
}

static uf_status take_layers(layers *l, const profiling *p, size_t count, const void *network,
                             step_of *step, uf_error *err)
{
    uf_status st = UF_OK;
    if (!l->us) {
        l->count = count;
        l->us = cli_need(calloc(count * p->runs + 1, sizeof *l->us));
        l->steps = cli_need(calloc(count + 1, sizeof *l->steps));
    }
    for (size_t i = 0; !st && i < l->count; i++) {
        st = step(network, i, &l->steps[i], err);
        l->us[i * p->runs + p->run] = l->steps[i].time_us;
    }
    return st;
}

static void close_layers(layers *l, size_t runs)
{
    for (size_t i = 0; i < l->count; i++) {
        qsort(l->us + i * runs, runs, sizeof *l->us, ascending);
        l->steps[i].time_us = l->us[i * runs + runs / 2];
        l->total_us += l->steps[i].time_us;
    }
}

/* Runs both networks again, on the crop that there is. */
static uf_status measure_layers(profiling *p, uf_error *err)
{
    uf_picture *picture;
    size_t count;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    o.min_side = p->decoded_width < p->decoded_height ? p->decoded_width : p->decoded_height;
    uf_status st = uf_picture_load(&picture, p->path, &o, err);
    if (st)
        return st;
    const uf_image view = uf_picture_view(picture);
    uf_detector *d = p->s.detector;
    uf_embedder *e = p->s.embedder;
    uf_detector_set_profiling(d, 1);
    uf_embedder_set_profiling(e, 1);
    for (p->run = 0; !st && p->run < p->runs; p->run++) {
        st = cli_faces_in(&p->s, &view, &count, err);
        if (!st)
            st = take_layers(&p->detector, p, uf_detector_step_count(d), d, detector_step, err);
        if (!st)
            st = uf_embedder_run_crops(e, p->crop, 1, p->vector, err);
        if (!st)
            st = take_layers(&p->embedder, p, uf_embedder_step_count(e), e, embedder_step, err);
    }
    uf_picture_destroy(picture);
    close_layers(&p->detector, st ? 0 : p->runs);
    close_layers(&p->embedder, st ? 0 : p->runs);
    return st;
}

/* ---- telling ---- */

static const double *median(const profiling *p, int stage)
{
    return &p->ms[stage][p->runs / 2];
}

static double sum_of_medians(const profiling *p)
{
    double sum = 0;
    for (int i = 0; i < STAGES; i++)
        sum += *median(p, i);
    return sum;
}

static unsigned threads_of(const profiling *p, const uf_device *d)
{
    double threads;
    return cli_number(p->a, "threads", 0, 1024, 0, &threads) && threads > 0 ? (unsigned)threads
                                                                            : d->cores;
}

static double gmacs_per_s(const uf_step_profile *s)
{
    return s->time_us > 0 ? (double)s->macs / s->time_us * 1e-3 : 0;
}

static int slower(const void *a, const void *b)
{
    return ascending(&((const uf_step_profile *)b)->time_us,
                     &((const uf_step_profile *)a)->time_us);
}

/* Sorts the layers. */
static void print_layers(layers *l, const char *task, const uf_model *m, size_t most)
{
    const char *name = uf_model_meta(m, "name");
    const size_t shown = most < l->count ? most : l->count;
    if (!shown)
        return;
    qsort(l->steps, l->count, sizeof *l->steps, slower);
    printf("\n%s%s%s: %zu layers, %.3f ms with their times taken%s; the slowest:\n", task,
           name ? " " : "", name ? name : "", l->count, l->total_us / 1e3,
           l->looks > 1 ? ", in the last of its runs" : "");
    printf("%10s %6s %8s %7s  %-16s %-26s %s\n", "us", "%", "GMAC/s", "of peak", "operator",
           "kernel", "name");
    for (size_t i = 0; i < shown; i++) {
        const uf_step_profile *s = &l->steps[i];
        char peak[16] = "";
        if (s->peak_gmacs_per_s > 0)
            snprintf(peak, sizeof peak, "%.0f %%", gmacs_per_s(s) * 100 / s->peak_gmacs_per_s);
        printf("%10.1f %6.1f %8.1f %7s  %-16s %-26s %s\n", s->time_us,
               s->time_us * 100 / l->total_us, gmacs_per_s(s), peak, s->op, s->kernel, s->name);
    }
}

static void print_text(profiling *p, size_t most)
{
    static const char bar[] = "########################################";
    uf_device d = {.cores = 1, .description = ""};
    const double sum = sum_of_medians(p);
    uf_device_get(0, &d, NULL);
    printf("%s: %d x %d pixels", p->path, p->width, p->height);
    if (p->decoded_width != p->width || p->decoded_height != p->height)
        printf(", decoded at %d x %d", p->decoded_width, p->decoded_height);
    printf(", %zu face%s\n%u thread%s of %s, median of %zu runs\n\n", p->faces,
           p->faces == 1 ? "" : "s", threads_of(p, &d), threads_of(p, &d) == 1 ? "" : "s",
           d.description, p->runs);
    printf("%-30s %9s %9s %6s\n", "stage", "ms", "best", "%");
    for (int i = 0; i < STAGES; i++) {
        const double share = sum > 0 ? *median(p, i) / sum : 0;
        if (i == STAGE_decode_again && !p->again)
            continue;
        printf("%-30s %9.3f %9.3f %6.1f  %.*s\n", stage_texts[i], *median(p, i), p->ms[i][0],
               share * 100, (int)(share * (sizeof bar - 1) + 0.5), bar);
    }
    printf("%-30s %9.3f %9.3f\n", "total", *median(p, TOTAL), p->ms[TOTAL][0]);
    printf("before: models opened in %.1f ms; the first picture took %.1f, %.1f of it planning\n",
           p->open_ms, p->first_ms, p->plan_ms);
    print_layers(&p->detector, "detector", p->s.detector_model, most);
    print_layers(&p->embedder, "embedder", p->s.embedder_model, most);
}

static void layers_json(cli_json *j, const char *task, const layers *l, const uf_model *m)
{
    json_open(j, task, '{');
    json_text(j, "name", uf_model_meta(m, "name"));
    json_text(j, "model_id", uf_model_id(m));
    json_integer(j, "runs_per_picture", l->looks);
    json_number(j, "layers_ms", l->total_us / 1e3);
    json_open(j, "layers", '[');
    for (size_t i = 0; i < l->count; i++) {
        const uf_step_profile *s = &l->steps[i];
        json_open(j, NULL, '{');
        json_text(j, "op", s->op);
        json_text(j, "name", s->name);
        json_text(j, "kernel", s->kernel);
        json_number(j, "time_us", s->time_us);
        json_integer(j, "macs", s->macs);
        json_number(j, "gmacs_per_s", gmacs_per_s(s));
        json_number(j, "peak_gmacs_per_s", s->peak_gmacs_per_s);
        json_close(j, '}');
    }
    json_close(j, ']');
    json_close(j, '}');
}

static void print_json(const profiling *p)
{
    uf_device d = {.cores = 1, .description = ""};
    cli_json j = {.f = stdout};
    const double sum = sum_of_medians(p);
    uf_device_get(0, &d, NULL);
    json_open(&j, NULL, '{');
    json_text(&j, "image", p->path);
    json_integer(&j, "width", p->width);
    json_integer(&j, "height", p->height);
    json_integer(&j, "decoded_width", p->decoded_width);
    json_integer(&j, "decoded_height", p->decoded_height);
    json_integer(&j, "faces", (long long)p->faces);
    json_text(&j, "version", uf_version());
    json_text(&j, "processor", d.description);
    json_integer(&j, "threads", threads_of(p, &d));
    json_integer(&j, "runs", (long long)p->runs);
    json_number(&j, "open_ms", p->open_ms);
    json_number(&j, "first_picture_ms", p->first_ms);
    json_number(&j, "planning_ms", p->plan_ms);
    json_open(&j, "stages", '[');
    for (int i = 0; i <= TOTAL; i++) {
        if (i == TOTAL)
            json_close(&j, ']');
        json_open(&j, i == TOTAL ? "total" : NULL, '{');
        if (i < TOTAL)
            json_text(&j, "stage", stage_names[i]);
        json_number(&j, "median_ms", *median(p, i));
        json_number(&j, "best_ms", p->ms[i][0]);
        json_number(&j, "p95_ms", p->ms[i][p->runs * 95 / 100]);
        if (i < TOTAL)
            json_number(&j, "share", sum > 0 ? *median(p, i) / sum : 0);
        json_close(&j, '}');
    }
    layers_json(&j, "detector", &p->detector, p->s.detector_model);
    layers_json(&j, "embedder", &p->embedder, p->s.embedder_model);
    json_close(&j, '}');
    json_end(&j);
}

/* ---- the command ---- */

static int open_models(profiling *p)
{
    const double start = cli_now_ms();
    int status = cli_open_detector(&p->s, p->a);
    if (!status)
        status = cli_open_embedder(&p->s, p->a);
    if (status)
        return status;
    p->open_ms = cli_now_ms() - start;
    const size_t side = (size_t)uf_embedder_crop_size(p->s.embedder);
    p->vector = cli_need(calloc(p->s.dimension, sizeof *p->vector));
    p->crop = cli_need(malloc(side * side * 3));
    for (int i = 0; i <= TOTAL; i++)
        p->ms[i] = cli_need(calloc(p->runs, sizeof(double)));
    return 0;
}

static uf_status measure_stages(profiling *p, uf_error *err)
{
    uf_status st = take_picture(p, err);
    p->first_ms = p->ms[TOTAL][0] + p->plan_ms;
    const double plan_ms = p->plan_ms;
    for (p->run = 0; !st && p->run < p->runs; p->run++) {
        st = take_picture(p, err);
        cli_progress("measuring", p->run + 1, p->runs);
    }
    p->plan_ms = plan_ms;
    for (int i = 0; i <= TOTAL; i++)
        qsort(p->ms[i], p->runs, sizeof(double), ascending);
    return st;
}

static void profiling_close(profiling *p)
{
    for (int i = 0; i <= TOTAL; i++)
        free(p->ms[i]);
    free(p->detector.us);
    free(p->detector.steps);
    free(p->embedder.us);
    free(p->embedder.steps);
    free(p->vector);
    free(p->crop);
    cli_session_close(&p->s);
}

static int run_profile(const cli_args *a)
{
    profiling p = {.a = a, .path = a->operands[0]};
    uf_error err;
    double runs, most;
    if (!cli_number(a, "runs", 1, MAX_RUNS, 20, &runs) ||
        !cli_number(a, "layers", 0, 10000, 5, &most))
        return EXIT_USAGE;
    if (!strcmp(p.path, "-"))
        return cli_complain(EXIT_USAGE, "profile: each run reads the picture anew, so standard "
                                        "input will not do: name a file");
    p.runs = (size_t)runs;
    int status = open_models(&p);
    if (!status && (measure_stages(&p, &err) || measure_layers(&p, &err)))
        status = cli_fail(&err);
    if (!status && a->json)
        print_json(&p);
    else if (!status)
        print_text(&p, (size_t)most);
    profiling_close(&p);
    return status;
}

const cli_command cli_profile = {
    .name = "profile",
    .summary = "Show where the time goes from a picture to a template",
    .operands = "IMG",
    .min_operands = 1,
    .max_operands = 1,
    .options = {DETECTOR_OPTIONS,
                EMBEDDER_OPTIONS,
                {"runs", 'n', "N", "runs to take medians of (20)"},
                {"layers", 'l', "N", "slowest layers of each network to print (5)"}},
    .details =
        "Each stage's median and best time, after one run that is not counted: decoding as\n"
        "embed does it, the networks, what stands before and behind them. Layers are timed in\n"
        "runs of their own; --json has all of them, in the order in which they run. \"of peak\"\n"
        "compares with what the kernels of that arithmetic reach on matrices in the cache.",
    .examples = "  uniface profile photo.jpg --threads 1\n"
                "  uniface profile photo.jpg --runs 100 --layers 10\n"
                "  uniface profile photo.jpg -d yunet.ufm -e face.ufm --json\n",
    .run = run_profile,
};
