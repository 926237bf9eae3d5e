/* uniface/optimize.h: pruning. */
#include "optimize/prune.h"

#include <stdio.h>
#include <string.h>

#include "api/calibration.h"

typedef struct prune_job {
    const uf_model *model;
    const uf_calibration *calibration;
    ufi_graph sized; /* the model's, at the size of the pictures */
    const uf_prune_options *options;
    ufi_judge judge;
    ufi_face_judge faces;
    ufi_prune_plan plan;
    double agreement;
    uf_error *err;
} prune_job;

static uf_status check_options(const uf_model *m, const uf_calibration *c,
                               const uf_prune_options *o, uf_error *err)
{
    const char *is = ufi_meta_get(&m->file.meta, "precision");
    if (is && strcmp(is, "fp32") != 0)
        return ufi_fail(err, UF_E_STATE, "the model is %s: prune the FP32 model it was made from",
                        is);
    if (!(o->sparsity >= 0) || o->sparsity >= 1 || !(o->keep > 0) || o->keep > 1 ||
        !(o->min_agreement >= 0) || o->min_agreement > 1)
        return ufi_fail(err, UF_E_ARG,
                        "uf_prune: keep, sparsity and min_agreement are shares of 1");
    if (o->sparsity > 0)
        return UF_OK;
    if (c && c->model != m)
        return ufi_fail(err, UF_E_ARG, "uf_prune: the calibration is of another model");
    if (!c || c->count < UF_CALIBRATION_MIN)
        return ufi_fail(err, UF_E_UNCALIBRATED,
                        "pruning channels needs at least %d pictures like those the model will "
                        "see, there are %zu: what a channel is worth is measured",
                        UF_CALIBRATION_MIN, c ? c->count : 0);
    return UF_OK;
}

static bool report(void *arg, const char *what, double agreement, size_t done, size_t total)
{
    const uf_prune_options *o = arg;
    if (o->trial)
        o->trial(o->trial_arg, what, agreement);
    return !o->progress || o->progress(o->progress_arg, done, total) == 0;
}

static uf_status open_judge(prune_job *j)
{
    const uf_calibration *c = j->calibration;
    const char *task = ufi_meta_get(&j->model->file.meta, "task");
    const bool is_detector = task && !strcmp(task, "detector");
    uf_status st = is_detector ? ufi_face_judge_open(&j->faces, j->model, c, j->err) : UF_OK;
    /* A third is judged, and not used to make up for what goes. */
    const size_t third = ufi_samples_pictures(&c->samples) / 3;
    return st ? st
              : ufi_judge_open(&j->judge, &j->model->file.graph, &c->samples,
                               third < UFI_MAX_JUDGED ? third : UFI_MAX_JUDGED, c->threads,
                               is_detector ? ufi_face_agreement : NULL, &j->faces, j->err);
}

/* The graph that keeps this share of the multiplications, and how far it agrees. */
static uf_status try_keep(prune_job *j, ufi_graph *out, double keep)
{
    char what[80];
    const ufi_graph *g = &j->model->file.graph;
    ufi_prune_choose(&j->plan, &j->sized, keep);
    uf_status st = ufi_prune_apply(out, g, &j->plan, j->err);
    if (!st)
        st = ufi_judge_graph(&j->judge, out, &j->agreement, j->err);
    snprintf(what, sizeof what, "%.1f %% of the multiplications",
             100 * j->plan.macs / j->plan.source);
    if (!st &&
        !report((void *)(uintptr_t)j->options, what, j->agreement, j->plan.count, j->plan.count))
        st = ufi_fail(j->err, UF_E_CANCELLED, "pruning was cancelled");
    return st;
}

/* The least share, to one part in 64, that agrees as far as is asked. */
static uf_status search_keep(prune_job *j, ufi_graph *out)
{
    int low = 1, high = 64; /* all of them agrees */
    uf_status st = UF_OK;
    while (!st && low < high) {
        const int middle = (low + high) / 2;
        ufi_graph made = {0};
        st = try_keep(j, &made, middle / 64.0);
        ufi_graph_free(&made);
        if (j->agreement >= (double)j->options->min_agreement)
            high = middle;
        else
            low = middle + 1;
    }
    return st ? st : try_keep(j, out, high / 64.0);
}

static uf_status prune_channels(prune_job *j, ufi_graph *out)
{
    uf_status st = open_judge(j);
    if (!st)
        st = ufi_samples_size(&j->sized, &j->model->file.graph, &j->calibration->samples, j->err);
    if (!st)
        st = ufi_prune_scan(&j->plan, &j->judge, report, (void *)(uintptr_t)j->options, j->err);
    if (!st)
        st = j->options->min_agreement > 0 ? search_keep(j, out)
                                           : try_keep(j, out, (double)j->options->keep);
    ufi_judge_close(&j->judge);
    ufi_face_judge_close(&j->faces);
    ufi_graph_free(&j->sized);
    return st;
}

static uf_status describe(uf_model *to, const prune_job *j)
{
    char text[160];
    ufi_meta *meta = &to->file.meta;
    uf_status st = ufi_copy_meta(meta, &j->model->file.meta, j->err);
    if (!st)
        st = ufi_meta_set(meta, "pruned.from", j->model->id, j->err);
    if (j->options->sparsity > 0)
        snprintf(text, sizeof text, "%.1f %% of the weights of each layer are 0",
                 100 * (double)j->options->sparsity);
    else
        snprintf(text, sizeof text, "%.1f %% of the multiplications left, judged on %zu pictures",
                 100 * j->plan.macs / j->plan.source, j->calibration->count);
    if (!st)
        st = ufi_meta_set(meta, "pruned.how", text, j->err);
    const float agreement = (float)j->agreement;
    return st || j->options->sparsity > 0
               ? st
               : ufi_meta_set_floats(meta, "pruned.agreement", &agreement, 1, j->err);
}

uf_status uf_prune(uf_model **out, const uf_model *m, const uf_calibration *c,
                   const uf_prune_options *options, uf_error *err)
{
    static const uf_prune_options defaults = UF_PRUNE_OPTIONS_INIT;
    uf_model *made = NULL;
    if (!out || !m)
        return ufi_fail(err, UF_E_ARG, "uf_prune: out and model must be given");
    *out = NULL;
    prune_job j = {
        .model = m, .calibration = c, .options = options ? options : &defaults, .err = err};
    uf_status st = check_options(m, c, j.options, err);
    if (!st)
        st = ufi_model_new(&made, err);
    if (st)
        return st;
    st = j.options->sparsity > 0 ? ufi_prune_weights(&made->file.graph, &m->file.graph,
                                                     (double)j.options->sparsity, err)
                                 : prune_channels(&j, &made->file.graph);
    if (!st)
        st = describe(made, &j);
    if (!st)
        st = ufi_model_file_seal(&made->file, err);
    ufi_prune_plan_free(&j.plan);
    return ufi_model_finish(out, made, st);
}
