/* uniface prune: a model with fewer channels, or with weights that are zero. */
#include <string.h>

#include "job.h"
#include "training.h"

typedef struct prune_log {
    bool json;
    bool begun, listing; /* the answer, and its list of trials */
    cli_json *j;
    double agreement; /* of the last trial: the model that is written */
} prune_log;

static void show_trial(void *user, const char *what, double agreement)
{
    prune_log *l = user;
    l->agreement = agreement;
    if (!l->json) {
        printf("%.6f  %s\n", agreement, what);
        fflush(stdout);
        return;
    }
    json_open(l->j, NULL, '{');
    json_text(l->j, "what", what);
    json_number(l->j, "agreement", agreement);
    json_close(l->j, '}');
}

static void end_trials(prune_log *l)
{
    if (l->listing)
        json_close(l->j, ']');
    l->listing = false;
}

static int read_options(const cli_args *a, uf_prune_options *o)
{
    double keep, sparsity, cosine;
    int given = 0;
    if (!cli_number(a, "keep", 0.01, 1, 0.75, &keep) ||
        !cli_number(a, "sparsity", 0, 0.99, 0, &sparsity) ||
        !cli_number(a, "min-cosine", 0, 1, 0, &cosine))
        return EXIT_USAGE;
    given = (cli_value(a, "keep") != NULL) + (cli_value(a, "sparsity") != NULL) +
            (cli_value(a, "min-cosine") != NULL);
    if (given > 1)
        return cli_complain(EXIT_USAGE, "prune: one of --keep, --min-cosine, --sparsity");
    o->keep = (float)keep;
    o->sparsity = (float)sparsity;
    o->min_agreement = (float)cosine;
    return 0;
}

static void report(const cli_args *a, const cli_job *q, prune_log *l, const double ms[2])
{
    /* Without --finetune it is what the source says of itself. */
    const char *trained =
        cli_value(a, "finetune") ? uf_model_meta(q->result, "trained.agreement") : NULL;
    const char *output = cli_value(a, "output");
    const long before = q->size_bytes, after = cli_file_size(output);
    if (l->json) {
        end_trials(l);
        json_text(l->j, "output", output);
        json_text(l->j, "model_id", uf_model_id(q->result));
        json_text(l->j, "how", uf_model_meta(q->result, "pruned.how"));
        json_text(l->j, "agreement", uf_model_meta(q->result, "pruned.agreement"));
        json_text(l->j, "trained_agreement", trained);
        json_integer(l->j, "parameters", (long long)uf_model_parameter_count(q->result));
        json_integer(l->j, "source_parameters", (long long)uf_model_parameter_count(q->model));
        json_integer(l->j, "size_bytes", after);
        json_integer(l->j, "source_size_bytes", before);
        json_number(l->j, "ms", ms[1]);
        json_number(l->j, "source_ms", ms[0]);
        return;
    }
    printf("%s: %s\n%.3f ms where the source takes %.3f (%.2f x), %llu of %llu parameters, %ld "
           "bytes (%.2f x)\n",
           output, uf_model_meta(q->result, "pruned.how"), ms[1], ms[0], ms[0] / ms[1],
           (unsigned long long)uf_model_parameter_count(q->result),
           (unsigned long long)uf_model_parameter_count(q->model), after,
           (double)after / (double)before);
    if (trained)
        printf("agreement with the source %s after training, on pictures held out; %s before\n",
               trained, uf_model_meta(q->result, "pruned.agreement"));
    else if (uf_model_meta(q->result, "pruned.agreement"))
        printf("agreement with the source %s: what error rates it costs, `uniface compare` and "
               "`evaluate` tell\n",
               uf_model_meta(q->result, "pruned.agreement"));
    else
        printf("zeros make it neither faster nor smaller in memory; a compressed file shrinks\n");
}

/* Makes q->result; the trials are shown. */
static int make(cli_job *q, const cli_args *a, prune_log *l)
{
    uf_error err;
    uf_prune_options o = UF_PRUNE_OPTIONS_INIT;
    int status = read_options(a, &o);
    o.trial = show_trial;
    o.trial_arg = l;
    if (!status)
        status = cli_check_output(cli_value(a, "output"), false);
    if (!status)
        status = cli_job_open(q, a->operands[0]);
    if (!status && (o.sparsity <= 0 || cli_value(a, "calibration")))
        status = cli_job_calibrate(q, a);
    if (status)
        return status;
    if (l->json) {
        json_open(l->j, NULL, '{');
        json_open(l->j, "trials", '[');
        l->begun = l->listing = true;
    }
    return uf_prune(&q->result, q->model, q->calibration, &o, &err) ? cli_fail(&err) : 0;
}

static int prune(cli_job *q, const cli_args *a, prune_log *l)
{
    uf_error err;
    double ms[2];
    int status = make(q, a, l);
    if (!status && cli_value(a, "finetune"))
        status = cli_recover(a, "finetune", q->model, &q->result);
    if (!status && (cli_model_save(q->result, q->model, cli_value(a, "output"), &err) ||
                    cli_job_time(q, ms, &err)))
        status = cli_fail(&err);
    else if (!status)
        report(a, q, l, ms);
    if (l->begun) {
        end_trials(l);
        json_close(l->j, '}');
        json_end(l->j);
    }
    return status;
}

static int run_prune(const cli_args *a)
{
    cli_job q = {0};
    cli_json j = {.f = stdout};
    prune_log l = {.json = a->json, .j = &j};
    if (!cli_value(a, "output"))
        return cli_complain(EXIT_USAGE, "prune: -o OUT.ufm is needed");
    if (cli_value(a, "finetune") && !cli_value(a, "calibration"))
        return cli_complain(EXIT_USAGE, "prune: --finetune learns from the pictures of -c");
    if ((cli_value(a, "batch") || cli_value(a, "rate")) && !cli_value(a, "finetune"))
        return cli_complain(EXIT_USAGE, "prune: --batch and --rate belong to --finetune");
    if (cli_value(a, "finetune") && !cli_can_train())
        return cli_run_training(a);
    int status = prune(&q, a, &l);
    cli_job_close(&q);
    return status;
}

const cli_command cli_prune = {
    .name = "prune",
    .summary = "Take channels out of a network, where it costs least",
    .operands = "MODEL.ufm",
    .min_operands = 1,
    .max_operands = 1,
    .options = {CALIBRATION_OPTIONS,
                {"keep", 'k', "SHARE", "share of the multiplications that stays (0.75)"},
                {"min-cosine", 0, "X",
                 "take out as much as this agreement allows (mean cosine; of a detector mean "
                 "overlap of faces)"},
                {"sparsity", 0, "SHARE", "set this share of each layer's weights to 0 instead"},
                {"finetune", 0, "EPOCHS",
                 "then train it so long on the pictures of -c, with the source as its teacher"},
                RECOVERY_OPTIONS,
                {"output", 'o', "OUT.ufm", "the new model"},
                DETECTOR_OPTIONS},
    .details =
        "Each group of layers that must keep the same channels is tried alone with half of them\n"
        "(the sensitivity scan, which is printed); then channels go where they cost least\n"
        "agreement for the work they save. What the means of the channels added goes into the\n"
        "biases. Without training the network again the loss grows fast: --finetune brings most "
        "of\n"
        "it back; look at it with compare.",
    .examples = "  uniface prune face.ufm -c photos/ -d yunet.ufm --keep 0.8 -o face-80.ufm\n"
                "  uniface prune face.ufm -c photos/ -d yunet.ufm -k 0.6 --finetune 5 -o slim.ufm\n"
                "  uniface prune face.ufm -c photos/ -d yunet.ufm --min-cosine 0.98 -o slim.ufm\n"
                "  uniface prune face.ufm --sparsity 0.5 -o sparse.ufm\n",
    .run = run_prune,
};
