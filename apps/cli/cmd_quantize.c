/* uniface quantize and optimize: a model of another precision. */
#include <stdlib.h>
#include <string.h>

#include "session.h"

typedef struct quantize_job {
    uf_model *model, *result;
    uf_calibration *calibration;
    cli_session session; /* a detector, where faces must be found first */
    bool is_embedder;
    int32_t width, height;
    size_t wanted, skipped;
} quantize_job;

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

static int open_model(quantize_job *q, const char *path)
{
    uf_error err;
    if (uf_model_open(&q->model, path, &err))
        return cli_fail(&err);
    const char *task = uf_model_meta(q->model, "task");
    q->is_embedder = task && !strcmp(task, "embedder");
    return 0;
}

/* ---- calibration pictures ---- */

static int open_face_finder(quantize_job *q, const cli_args *a, const char *path)
{
    if (q->session.detector)
        return 0;
    int status = cli_open_detector(&q->session, a);
    if (status)
        cli_complain(status,
                     "%s is no crop of %d x %d, so the face must be found and aligned first: name "
                     "a detector with --detector",
                     path, q->width, q->height);
    return status;
}

/* The most prominent face of a photo; photos without one are counted. */
static int add_face(quantize_job *q, const cli_args *a, const char *path)
{
    uf_error err;
    uf_picture *p;
    size_t count;
    int status = open_face_finder(q, a, path);
    if (status)
        return status;
    if (cli_find_faces(&q->session, path, &p, &count, &err)) {
        cli_fail(&err);
        q->skipped++;
        return 0;
    }
    uf_image view = uf_picture_view(p);
    int i = cli_main_face(&view, q->session.faces, count);
    if (i < 0)
        q->skipped++;
    else if (uf_calibration_add_image(q->calibration, &view, &q->session.faces[i], &err))
        status = cli_fail(&err);
    uf_picture_destroy(p);
    return status;
}

static int add_picture(quantize_job *q, const cli_args *a, const char *path)
{
    uf_error err;
    uf_picture *p;
    uf_decode_options o = UF_DECODE_OPTIONS_INIT;
    if (uf_picture_load(&p, path, &o, &err)) {
        cli_fail(&err);
        q->skipped++;
        return 0;
    }
    uf_image view = uf_picture_view(p);
    bool is_crop = view.width == q->width && view.height == q->height;
    int status = 0;
    if ((is_crop || !q->is_embedder) && uf_calibration_add_image(q->calibration, &view, NULL, &err))
        status = cli_fail(&err);
    uf_picture_destroy(p);
    return is_crop || !q->is_embedder || status ? status : add_face(q, a, path);
}

/* Paths, one a line. */
static int read_list(cli_files *f, const char *path)
{
    char line[4096];
    FILE *in = fopen(path, "r");
    if (!in)
        return cli_complain(EXIT_INPUT, "%s: it cannot be opened", path);
    char **names = NULL;
    int count = 0;
    while (fgets(line, sizeof line, in)) {
        line[strcspn(line, "\r\n")] = '\0';
        if (!*line || *line == '#')
            continue;
        char **more = realloc(names, (size_t)(count + 1) * sizeof *names);
        if (!more)
            exit(cli_complain(EXIT_INTERNAL, "out of memory"));
        names = more;
        names[count++] = strdup(line);
    }
    fclose(in);
    bool ok = cli_files_collect(f, names, count);
    for (int i = 0; i < count; i++)
        free(names[i]);
    free(names);
    return ok ? 0 : EXIT_INPUT;
}

/* Ready inputs [N,3,H,W] of floats, or crops [N,H,W,3] of bytes. */
static int add_array(quantize_job *q, const char *path)
{
    uf_error err;
    uf_tensor_info t;
    void *data = NULL;
    if (!npy_read(path, &t, &data))
        return EXIT_INPUT;
    bool floats = t.dtype == UF_F32 && t.rank == 4 && t.dims[1] == 3 && t.dims[2] == q->height &&
                  t.dims[3] == q->width;
    bool bytes = t.dtype == UF_U8 && t.rank == 4 && t.dims[1] == q->height &&
                 t.dims[2] == q->width && t.dims[3] == 3;
    int status = 0;
    if (!floats && !bytes)
        status =
            cli_complain(EXIT_INPUT, "%s: it must hold float32 [N,3,%d,%d] or uint8 [N,%d,%d,3]",
                         path, q->height, q->width, q->height, q->width);
    size_t n = (size_t)t.dims[0] < q->wanted ? (size_t)t.dims[0] : q->wanted;
    if (floats && uf_calibration_add_inputs(q->calibration, data, n, &err))
        status = cli_fail(&err);
    if (bytes && uf_calibration_add_pixels(q->calibration, data, n, &err))
        status = cli_fail(&err);
    free(data);
    return status;
}

/* Where there are more pictures than wanted they are taken evenly over the list. */
static int add_pictures(quantize_job *q, const cli_args *a, char *path)
{
    cli_files files = {0};
    int status = ends_with(path, ".txt")               ? read_list(&files, path)
                 : cli_files_collect(&files, &path, 1) ? 0
                                                       : EXIT_INPUT;
    size_t n = files.count < q->wanted ? files.count : q->wanted;
    for (size_t i = 0; !status && i < n; i++) {
        status = add_picture(q, a, files.paths[i * files.count / n]);
        cli_progress("calibrating", i + 1, n);
    }
    cli_files_free(&files);
    if (!status && q->skipped)
        cli_complain(0, "%zu of %zu pictures were left out: no face, or not readable", q->skipped,
                     n);
    return status;
}

static int calibrate(quantize_job *q, const cli_args *a)
{
    uf_error err;
    double threads, images;
    const char *path = cli_value(a, "calibration");
    if (!cli_number(a, "threads", 0, 1024, 0, &threads) ||
        !cli_number(a, "images", UF_CALIBRATION_MIN, 100000, 500, &images))
        return EXIT_USAGE;
    if (!path)
        return cli_complain(EXIT_USAGE,
                            "quantize: INT8 needs --calibration with pictures like those the model "
                            "will see: the ranges of its activations are measured, not guessed");
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    o.threads = (uint32_t)threads;
    if (uf_calibration_create(&q->calibration, q->model, &o, &err))
        return cli_fail(&err);
    uf_calibration_input_size(q->calibration, &q->width, &q->height);
    q->wanted = (size_t)images;
    if (ends_with(path, ".npy"))
        return add_array(q, path);
    char *operand = strdup(path);
    int status = operand ? add_pictures(q, a, operand) : EXIT_INTERNAL;
    free(operand);
    return status;
}

/* ---- the command ---- */

static int show_progress(void *user, size_t done, size_t total)
{
    cli_progress("quantising", done, total);
    return 0;
}

static int read_options(const cli_args *a, uf_quantize_options *o)
{
    double min_agreement;
    if (!cli_number(a, "min-agreement", 0, 1, 0, &min_agreement))
        return EXIT_USAGE;
    o->min_agreement =
        cli_value(a, "min-agreement") && min_agreement <= 0 ? -1 : (float)min_agreement;
    static const char *const precisions[] = {"fp32", "fp16", "bf16", "int8"};
    static const char *const ranges[] = {
#define RANGE_NAME(id, name, text) name,
        UF_RANGE_LIST(RANGE_NAME)
#undef RANGE_NAME
    };
    const char *precision = cli_value(a, "precision"), *range = cli_value(a, "range");
    for (int i = UF_PRECISION_FP16; precision && i <= UF_PRECISION_INT8; i++)
        if (!strcmp(precision, precisions[i])) {
            o->precision = (uf_precision)i;
            precision = NULL;
        }
    if (precision)
        return cli_complain(EXIT_USAGE, "--precision is int8, fp16 or bf16, not \"%s\"", precision);
    for (int i = 0; range && i < UF_RANGE_COUNT; i++)
        if (!strcmp(range, ranges[i])) {
            o->range = (uf_range_method)i;
            range = NULL;
        }
    if (range)
        return cli_complain(
            EXIT_USAGE, "--range is auto, mse, minmax, percentile or entropy, not \"%s\"", range);
    return 0;
}

static void report(const cli_args *a, const quantize_job *q, const char *output, double ms)
{
    long before = cli_file_size(a->operands[0]), after = cli_file_size(output);
    size_t pictures = q->calibration ? uf_calibration_count(q->calibration) : 0;
    if (!a->json) {
        const char *agreement = uf_model_meta(q->result, "quantized.agreement");
        printf("%s: %s, %ld bytes (%.2f x), %.1f s\n", output,
               uf_model_meta(q->result, "precision"), after, (double)after / (double)before,
               ms / 1000);
        if (agreement)
            printf("%s; agreement with FP32 %s\n",
                   uf_model_meta(q->result, "quantized.calibration"), agreement);
        return;
    }
    cli_json j = {stdout, 0, {false}};
    json_open(&j, NULL, '{');
    json_text(&j, "output", output);
    json_text(&j, "precision", uf_model_meta(q->result, "precision"));
    json_text(&j, "model_id", uf_model_id(q->result));
    json_integer(&j, "size_bytes", after);
    json_integer(&j, "source_size_bytes", before);
    json_integer(&j, "calibration_pictures", (long long)pictures);
    json_text(&j, "method", uf_model_meta(q->result, "quantized.calibration"));
    json_text(&j, "agreement", uf_model_meta(q->result, "quantized.agreement"));
    json_integer(&j, "pictures_left_out", (long long)q->skipped);
    json_number(&j, "seconds", ms / 1000);
    json_close(&j, '}');
    json_end(&j);
}

static int run_quantize(const cli_args *a)
{
    quantize_job q = {0};
    uf_error err;
    uf_quantize_options o = UF_QUANTIZE_OPTIONS_INIT;
    const char *output = cli_value(a, "output");
    double start = cli_now_ms();
    o.progress = show_progress;
    int status = read_options(a, &o);
    if (!status && !output)
        status = cli_complain(EXIT_USAGE, "quantize: -o OUT.ufm is needed");
    if (!status)
        status = open_model(&q, a->operands[0]);
    if (!status && o.precision == UF_PRECISION_INT8)
        status = calibrate(&q, a);
    if (!status && (uf_quantize(&q.result, q.model, q.calibration, &o, &err) ||
                    uf_model_save(q.result, output, &err)))
        status = cli_fail(&err);
    if (!status)
        report(a, &q, output, cli_now_ms() - start);
    uf_calibration_destroy(q.calibration);
    uf_model_close(q.result);
    uf_model_close(q.model);
    cli_session_close(&q.session);
    return status;
}

/* ---- optimize: the same, shown step by step ---- */

typedef struct ladder {
    bool json;
    size_t count;
    double best;
    cli_json *j;
} ladder;

static void show_trial(void *user, const char *what, double agreement)
{
    ladder *l = user;
    if (l->json) {
        json_open(l->j, NULL, '{');
        json_text(l->j, "what", what);
        json_number(l->j, "agreement", agreement);
        json_close(l->j, '}');
    } else {
        printf("%3zu  %.6f  %s%s\n", l->count + 1, agreement, what,
               agreement > l->best ? "  <- best so far" : "");
        fflush(stdout);
    }
    l->best = agreement > l->best ? agreement : l->best;
    l->count++;
}

static int read_goal(const cli_args *a, const quantize_job *q, uf_quantize_options *o)
{
    double least;
    const char *goal = cli_value(a, "goal");
    if (!cli_number(a, "min-cosine", 0, 1, 0, &least))
        return EXIT_USAGE;
    if (goal && strcmp(goal, "latency") != 0 && strcmp(goal, "accuracy") != 0)
        return cli_complain(EXIT_USAGE, "--goal is latency or accuracy, not \"%s\"", goal);
    o->min_agreement = (float)least;
    if (goal && !strcmp(goal, "accuracy") && least <= 0)
        o->min_agreement = q->is_embedder ? 0.999f : 0.99f;
    return 0;
}

/* Median latency of one thread, in ms; the two models take turns. */
static uf_status measure_pair(const quantize_job *q, double ms[2], uf_error *err)
{
    enum { RUNS = 41 };
    uf_model *models[2] = {q->model, q->result};
    uf_engine *e[2] = {NULL, NULL};
    double times[2][RUNS];
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    uf_status st = UF_OK;
    o.threads = 1;
    for (int k = 0; !st && k < 2; k++) {
        uf_tensor_info t;
        size_t bytes;
        st = uf_model_input(models[k], 0, &t, err);
        t.dims[0] = 1;
        t.dims[2] = q->height;
        t.dims[3] = q->width;
        if (!st)
            st = uf_engine_create(&e[k], models[k], &o, err);
        if (!st)
            st = uf_engine_prepare(e[k], &t, 1, err);
        void *input = st ? NULL : uf_engine_input(e[k], 0, &bytes);
        if (input)
            memset(input, 0, bytes);
    }
    for (int i = -5; !st && i < RUNS; i++)
        for (int k = 0; !st && k < 2; k++) {
            double start = cli_now_ms();
            st = uf_engine_run(e[k], err);
            if (i >= 0)
                times[k][i] = cli_now_ms() - start;
        }
    for (int k = 0; k < 2; k++) {
        for (int i = 0; !st && i < RUNS; i++) /* insertion: the list is short */
            for (int m = i; m > 0 && times[k][m] < times[k][m - 1]; m--) {
                double t = times[k][m];
                times[k][m] = times[k][m - 1];
                times[k][m - 1] = t;
            }
        ms[k] = st ? 0 : times[k][RUNS / 2];
        uf_engine_destroy(e[k]);
    }
    return st;
}

static int run_optimize(const cli_args *a)
{
    quantize_job q = {0};
    uf_error err;
    uf_quantize_options o = UF_QUANTIZE_OPTIONS_INIT;
    const char *output = cli_value(a, "output");
    cli_json j = {stdout, 0, {false}};
    ladder l = {.json = a->json, .j = &j};
    double ms[2];
    int status = output ? 0 : cli_complain(EXIT_USAGE, "optimize: -o OUT.ufm is needed");
    o.trial = show_trial;
    o.trial_arg = &l;
    if (!status)
        status = open_model(&q, a->operands[0]);
    if (!status)
        status = read_goal(a, &q, &o);
    if (!status)
        status = calibrate(&q, a);
    if (!status && a->json) {
        json_open(&j, NULL, '{');
        json_open(&j, "trials", '[');
    }
    const bool open = !status && a->json;
    if (!status && uf_quantize(&q.result, q.model, q.calibration, &o, &err))
        status = cli_fail(&err);
    if (open)
        json_close(&j, ']');
    if (!status && (uf_model_save(q.result, output, &err) || measure_pair(&q, ms, &err)))
        status = cli_fail(&err);
    if (!status && a->json) {
        json_text(&j, "output", output);
        json_text(&j, "method", uf_model_meta(q.result, "quantized.calibration"));
        json_number(&j, "fp32_ms", ms[0]);
        json_number(&j, "ms", ms[1]);
        json_integer(&j, "size_bytes", cli_file_size(output));
    } else if (!status) {
        printf("%s: %s; agreement %s\n%.3f ms where FP32 takes %.3f (%.2f x), %ld bytes (%.2f x)\n",
               output, uf_model_meta(q.result, "quantized.calibration"),
               uf_model_meta(q.result, "quantized.agreement"), ms[1], ms[0], ms[0] / ms[1],
               cli_file_size(output),
               (double)cli_file_size(output) / (double)cli_file_size(a->operands[0]));
    }
    if (open) {
        json_close(&j, '}');
        json_end(&j);
    }
    uf_calibration_destroy(q.calibration);
    uf_model_close(q.result);
    uf_model_close(q.model);
    cli_session_close(&q.session);
    return status;
}

const cli_command cli_optimize = {
    .name = "optimize",
    .summary = "Find the fastest INT8 form that is right enough, step by step",
    .operands = "MODEL.ufm",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"calibration", 'c', "PATH", "pictures: a folder, a list (.txt) or .npy"},
                {"images", 'n', "N", "take at most N pictures (500)"},
                {"min-cosine", 0, "X",
                 "agreement with FP32 to reach: mean cosine (0.995), of a "
                 "detector mean overlap of faces (0.985)"},
                {"goal", 'g', "NAME", "latency (default), or accuracy: agree to 0.999"},
                {"output", 'o', "OUT.ufm", "the new model"},
                DETECTOR_OPTIONS},
    .details =
        "Tries the methods of choosing ranges, each with and without correcting the biases, then\n"
        "all again with channels equalised across layers. If the best falls short, each layer's\n"
        "own loss is measured and the layers that lose most for their work stay in FP32, as few\n"
        "as it takes. Prints what each step bought.",
    .examples =
        "  uniface optimize face.ufm -c photos/ -d yunet.ufm --min-cosine 0.995 -o fast.ufm\n",
    .run = run_optimize,
};

const cli_command cli_quantize = {
    .name = "quantize",
    .summary = "Make a model of INT8, FP16 or BF16",
    .operands = "MODEL.ufm",
    .min_operands = 1,
    .max_operands = 1,
    .options = {{"precision", 'p', "NAME", "int8 (default), fp16 or bf16"},
                {"calibration", 'c', "PATH", "pictures: a folder, a list (.txt) or .npy"},
                {"images", 'n', "N", "take at most N pictures (500)"},
                {"min-agreement", 0, "X",
                 "layers stay in FP32 until it agrees so far with FP32: mean cosine "
                 "(0.995), of a detector mean overlap of faces (0.985); 0: quantise all"},
                {"range", 'r', "METHOD", "auto (default), mse, minmax, percentile or entropy"},
                {"output", 'o', "OUT.ufm", "the new model"},
                DETECTOR_OPTIONS},
    .details =
        "INT8 makes weights and activations bytes; the ranges of activations are measured on\n"
        "calibration pictures, at least 8, better some hundreds. For an embedder faces are found\n"
        "and aligned first, unless the pictures have the size of its crop. FP16 and BF16 store\n"
        "the weights in half the space and need no pictures.",
    .examples = "  uniface quantize face.ufm --calibration photos/ --detector yunet.ufm -o "
                "face-int8.ufm\n"
                "  uniface quantize yunet.ufm --calibration photos/ -o yunet-int8.ufm\n"
                "  uniface quantize face.ufm --precision fp16 -o face-fp16.ufm\n",
    .run = run_quantize,
};
