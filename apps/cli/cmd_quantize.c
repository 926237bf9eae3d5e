/* uniface quantize and optimize: a model of another precision. */
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "training.h"

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
    /* What training is to bring back need not be kept out of INT8. */
    const bool all =
        cli_value(a, "min-agreement") ? min_agreement <= 0 : cli_value(a, "qat") != NULL;
    o->min_agreement = all ? -1 : (float)min_agreement;
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
    if (!cli_value(a, "output"))
        return cli_complain(EXIT_USAGE, "quantize: -o OUT.ufm is needed");
    if (cli_value(a, "qat") && (o->precision != UF_PRECISION_INT8 || !cli_value(a, "calibration")))
        return cli_complain(EXIT_USAGE,
                            "quantize: --qat trains an INT8 model on the pictures of -c");
    if ((cli_value(a, "batch") || cli_value(a, "rate")) && !cli_value(a, "qat"))
        return cli_complain(EXIT_USAGE, "quantize: --batch and --rate belong to --qat");
    return 0;
}

/* `agreement` is that of the search; "" when there was none. */
static void report(const cli_args *a, const cli_job *q, const char *agreement, double ms)
{
    const char *output = cli_value(a, "output");
    /* Without --qat it is what the source says of itself. */
    const char *trained =
        cli_value(a, "qat") ? uf_model_meta(q->result, "trained.agreement") : NULL;
    long before = q->size_bytes, after = cli_file_size(output);
    size_t pictures = q->calibration ? uf_calibration_count(q->calibration) : 0;
    if (!a->json) {
        printf("%s: %s, %ld bytes (%.2f x), %.1f s\n", output,
               uf_model_meta(q->result, "precision"), after, (double)after / (double)before,
               ms / 1000);
        if (*agreement)
            printf("%s; agreement with FP32 %s\n",
                   uf_model_meta(q->result, "quantized.calibration"), agreement);
        if (trained)
            printf("%s\nagreement with FP32 %s after that, on pictures held out\n",
                   uf_model_meta(q->result, "trained.how"), trained);
        return;
    }
    cli_json j = {.f = stdout};
    json_open(&j, NULL, '{');
    json_text(&j, "output", output);
    json_text(&j, "precision", uf_model_meta(q->result, "precision"));
    json_text(&j, "model_id", uf_model_id(q->result));
    json_integer(&j, "size_bytes", after);
    json_integer(&j, "source_size_bytes", before);
    json_integer(&j, "calibration_pictures", (long long)pictures);
    json_text(&j, "method", uf_model_meta(q->result, "quantized.calibration"));
    json_text(&j, "agreement", *agreement ? agreement : NULL);
    json_text(&j, "trained_agreement", trained);
    json_integer(&j, "pictures_left_out", (long long)q->skipped);
    json_number(&j, "seconds", ms / 1000);
    json_close(&j, '}');
    json_end(&j);
}

static int run_quantize(const cli_args *a)
{
    cli_job q = {0};
    uf_error err;
    uf_quantize_options o = UF_QUANTIZE_OPTIONS_INIT;
    const char *output = cli_value(a, "output");
    double start = cli_now_ms();
    char agreement[40] = "";
    o.progress = show_progress;
    int status = read_options(a, &o);
    if (!status)
        status = cli_check_output(output, false);
    if (!status && cli_value(a, "qat") && !cli_can_train())
        return cli_run_training(a);
    if (!status)
        status = cli_job_open(&q, a->operands[0]);
    if (!status && o.precision == UF_PRECISION_INT8)
        status = cli_job_calibrate(&q, a);
    if (!status && uf_quantize(&q.result, q.model, q.calibration, &o, &err))
        status = cli_fail(&err);
    if (!status && uf_model_meta(q.result, "quantized.agreement"))
        snprintf(agreement, sizeof agreement, "%s", uf_model_meta(q.result, "quantized.agreement"));
    if (!status && cli_value(a, "qat"))
        status = cli_recover(a, "qat", q.model, &q.result);
    if (!status && cli_model_save(q.result, q.model, output, &err))
        status = cli_fail(&err);
    if (!status)
        report(a, &q, agreement, cli_now_ms() - start);
    cli_job_close(&q);
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

static int read_goal(const cli_args *a, uf_quantize_options *o)
{
    double least;
    const char *goal = cli_value(a, "goal");
    if (!cli_number(a, "min-cosine", 0, 1, 0, &least))
        return EXIT_USAGE;
    if (goal && strcmp(goal, "latency") != 0 && strcmp(goal, "accuracy") != 0)
        return cli_complain(EXIT_USAGE, "--goal is latency or accuracy, not \"%s\"", goal);
    o->min_agreement = (float)least;
    if (goal && !strcmp(goal, "accuracy") && least <= 0)
        o->min_agreement = 0.999f;
    return 0;
}

static int run_optimize(const cli_args *a)
{
    cli_job q = {0};
    uf_error err;
    uf_quantize_options o = UF_QUANTIZE_OPTIONS_INIT;
    const char *output = cli_value(a, "output");
    cli_json j = {.f = stdout};
    ladder l = {.json = a->json, .j = &j};
    double ms[2];
    int status = output ? cli_check_output(output, false)
                        : cli_complain(EXIT_USAGE, "optimize: -o OUT.ufm is needed");
    o.trial = show_trial;
    o.trial_arg = &l;
    if (!status)
        status = cli_job_open(&q, a->operands[0]);
    if (!status)
        status = read_goal(a, &o);
    if (!status)
        status = cli_job_calibrate(&q, a);
    if (!status && a->json) {
        json_open(&j, NULL, '{');
        json_open(&j, "trials", '[');
    }
    const bool open = !status && a->json;
    if (!status && uf_quantize(&q.result, q.model, q.calibration, &o, &err))
        status = cli_fail(&err);
    if (open)
        json_close(&j, ']');
    if (!status && (cli_model_save(q.result, q.model, output, &err) || cli_job_time(&q, ms, &err)))
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
               cli_file_size(output), (double)cli_file_size(output) / (double)q.size_bytes);
    }
    if (open) {
        json_close(&j, '}');
        json_end(&j);
    }
    cli_job_close(&q);
    return status;
}

const cli_command cli_optimize = {
    .name = "optimize",
    .summary = "Find the fastest INT8 form that is right enough, step by step",
    .operands = "MODEL.ufm",
    .min_operands = 1,
    .max_operands = 1,
    .options = {CALIBRATION_OPTIONS,
                {"min-cosine", 0, "X",
                 "agreement with FP32 to reach: mean cosine (0.995), of a "
                 "detector mean overlap of faces, landmarks count too (0.995)"},
                {"goal", 'g', "NAME", "latency (default), or accuracy: agree to 0.999"},
                {"output", 'o', "OUT.ufm", "the new model"},
                DETECTOR_OPTIONS},
    .details =
        "Tries the methods of choosing ranges, each with and without correcting the biases, then\n"
        "all again with channels equalised across layers. If the best falls short, a detector\n"
        "gets 16 bits (INT16); otherwise, or if that falls short too, each layer's own loss is\n"
        "measured and the layers that lose most for their work stay in FP32, as few as it takes.\n"
        "Prints what each step bought.",
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
                CALIBRATION_OPTIONS,
                {"min-agreement", 0, "X",
                 "layers stay in FP32 until it agrees so far with FP32: mean cosine "
                 "(0.995), of a detector mean overlap of faces, landmarks count too (0.995), which "
                 "gets 16 bits before that (0.98: most stay in bytes); 0: all in INT8"},
                {"range", 'r', "METHOD", "auto (default), mse, minmax, percentile or entropy"},
                {"qat", 0, "EPOCHS",
                 "then train it so long on the pictures of -c through its rounding, with the "
                 "source as its teacher; all layers are in INT8 unless --min-agreement is given"},
                RECOVERY_OPTIONS,
                {"output", 'o', "OUT.ufm", "the new model"},
                DETECTOR_OPTIONS},
    .details =
        "INT8 makes weights and activations bytes; the ranges of activations are measured on\n"
        "calibration pictures, at least 8, better some hundreds. For an embedder faces are found\n"
        "and aligned first, unless the pictures have the size of its crop. Detectors for whose\n"
        "landmarks bytes are too coarse become INT16, which is between the two in speed. FP16 and\n"
        "BF16 store\n"
        "the weights in half the space and need no pictures. On processors with AMX both are\n"
        "faster than FP32, BF16, with the less exact numbers, more so; others compute in FP32\n"
        "(inspect --steps shows the kernels). --qat (quantisation-aware training) learns ranges\n"
        "and weights that lose less; what is trained is the graph that is written.",
    .examples = "  uniface quantize face.ufm --calibration photos/ --detector yunet.ufm -o "
                "face-int8.ufm\n"
                "  uniface quantize face.ufm -c photos/ -d yunet.ufm --qat 3 -o face-int8.ufm\n"
                "  uniface quantize yunet.ufm --calibration photos/ -o yunet-int8.ufm\n"
                "  uniface quantize face.ufm --precision fp16 -o face-fp16.ufm\n",
    .run = run_quantize,
};
