/* uniface/train.h: a run, from its options to the model. */
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "api/train_impl.h"
#include "base/clock.h"
#include "base/mem.h"
#include "train/arch.h"

enum { POINTS = 40 };

const char *uf_architecture_name(size_t i)
{
    return ufi_arch_name(i);
}

const char *uf_architecture_text(size_t i)
{
    return ufi_arch_text(i);
}

/* A detector that looks at any size is taught at the one its metadata recommend. */
static uf_status fix_size(ufi_train_run *r)
{
    const ufi_model_file *from = &r->options->start->file;
    const ufi_shape *x = &from->graph.values[from->graph.inputs[0]].shape;
    float size;
    if (x->rank != 4 || x->dims[2] > 0 ||
        ufi_meta_floats(&from->meta, "detector.size", &size, 1) != 1)
        return UF_OK;
    if (!(size >= 32) || !(size <= 2048))
        return ufi_fail(r->err, UF_E_MISMATCH,
                        "the model to start from has detector.size=%g; 32..2048 can be taught",
                        (double)size);
    uf_status st = ufi_graph_clone(&r->described.graph, &from->graph, r->err);
    if (!st)
        st = ufi_copy_meta(&r->described.meta, &from->meta, r->err);
    if (st)
        return st;
    ufi_graph *g = &r->described.graph;
    g->values[g->inputs[0]].shape.dims[2] = g->values[g->inputs[0]].shape.dims[3] = (int64_t)size;
    r->student = &r->described;
    return ufi_graph_infer(g, 0, r->err);
}

static uf_status open_student(ufi_train_run *r)
{
    const uf_train_options *o = r->options;
    if (!o->start) {
        r->student = &r->described;
        return ufi_arch_build(&r->described, o->student, o->seed, r->err);
    }
    const char *precision = ufi_meta_get(&o->start->file.meta, "precision");
    r->student = &o->start->file;
    r->in_bytes = precision && !strcmp(precision, "int8");
    r->how.lesson.exact = r->in_bytes;
    if (precision && !r->in_bytes && strcmp(precision, "fp32") != 0)
        return ufi_fail(r->err, UF_E_STATE,
                        "the model to start from is %s: train the FP32 model it was made from",
                        precision);
    if (r->in_bytes && o->precision != UF_PRECISION_FP32)
        return ufi_fail(r->err, UF_E_ARG,
                        "uf_train: the model to start from is INT8; its rounding is computed in "
                        "FP32, not in BF16");
    return fix_size(r);
}

static uf_status open_teachers(ufi_train_run *r)
{
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < r->options->teacher_count; i++) {
        ufi_teacher *t = &r->how.lesson.teachers[i];
        t->file = &r->options->teachers[i]->file;
        st = ufi_model_program(r->options->teachers[i], "CPU", &t->program, r->err);
    }
    return st;
}

/* Steps of the run: whole batches of each pass over what is learned from. */
static void plan_steps(ufi_train_run *r)
{
    const uf_train_options *o = r->options;
    const double pictures = (double)ufi_dataset_count(r->data) * (1 - o->held_out);
    const int64_t total = (int64_t)ceil(o->epochs * pictures / (double)r->how.batch);
    ufi_schedule *s = &r->how.schedule;
    *s = (ufi_schedule){.kind = o->schedule == UF_SCHEDULE_STEP ? UFI_SCHEDULE_STEP
                                                                : UFI_SCHEDULE_COSINE,
                        .peak = o->rate,
                        .last = o->final_rate,
                        .total = total > 1 ? total : 1,
                        .warmup = (int64_t)(o->warmup * (double)total),
                        .factor = o->rate_factor,
                        .at = {0.5, 0.75, 0.9},
                        .at_count = 3};
    for (size_t i = 0; o->milestones && i < o->milestone_count; i++)
        s->at[i] = o->milestones[i];
    if (o->milestones)
        s->at_count = (uint32_t)o->milestone_count;
    r->measure_every = o->measure_every > 0 ? o->measure_every : (total + POINTS - 1) / POINTS;
    if (r->measure_every < 1)
        r->measure_every = 1;
}

static uf_status open_run(ufi_train_run *r)
{
    const uf_train_options *o = r->options;
    uf_status st = ufi_train_configure(r);
    if (!st)
        st = open_student(r);
    if (!st)
        st = ufi_dataset_open(&r->data, o->pictures, o->picture_count, r->err);
    if (!st)
        st = ufi_train_align(r);
    if (!st)
        st = open_teachers(r);
    if (st)
        return st;
    plan_steps(r);
    st = ufi_train_key(r);
    r->how.lesson.data_digest = r->data_digest;
    if (!st)
        st = ufi_trainer_create(&r->trainer, r->student, r->data, &r->how, r->err);
    if (!st && o->checkpoint && access(o->checkpoint, F_OK) == 0)
        st = ufi_trainer_load(r->trainer, o->checkpoint, r->key, r->err);
    return st;
}

static void close_run(ufi_train_run *r)
{
    ufi_trainer_destroy(r->trainer);
    ufi_dataset_close(r->data);
    ufi_model_file_free(&r->described);
}

/* ---- the loop ---- */

/* The candidate of now, or the one that was kept, as a model of its own. */
static uf_status make_model(const ufi_train_run *r, bool kept, uf_model **out)
{
    uf_model *m = NULL;
    uf_status st = ufi_model_new(&m, r->err);
    if (st)
        return st;
    st = ufi_trainer_model(r->trainer, kept, &m->file, r->err);
    if (!st)
        st = ufi_train_describe(r, &m->file);
    return ufi_model_finish(out, m, st);
}

static uf_status measure(ufi_train_run *r)
{
    const uf_train_options *o = r->options;
    uf_model *candidate = NULL;
    int64_t kept_step;
    uf_status st = make_model(r, false, &candidate);
    if (!st)
        st = ufi_trainer_judge(r->trainer, &candidate->file, &r->agreement, r->err);
    if (!st && o->validate && o->validate(o->validate_arg, candidate, &r->score))
        st = ufi_fail(r->err, UF_E_CANCELLED, "training was cancelled by its validation");
    if (!st && o->validate && (!isfinite(r->score) || r->score < 0))
        st = ufi_fail(r->err, UF_E_ARG, "validate gave a score of %g; scores are 0 or more",
                      r->score);
    uf_model_close(candidate);
    if (st)
        return st;
    ufi_trainer_record(r->trainer, r->agreement, r->score);
    if (o->validate && r->score > ufi_trainer_kept_score(r->trainer, &kept_step))
        ufi_trainer_keep(r->trainer, r->score);
    return UF_OK;
}

/* So many scores in a row were no better than the best before them. */
static bool out_of_patience(const ufi_train_run *r)
{
    return r->options->patience > 0 && ufi_trainer_worse(r->trainer) >= r->options->patience;
}

/* Where the run that a checkpoint was written by had come to. */
static void take_up(ufi_train_run *r)
{
    size_t count = 0;
    const uf_train_point *p = ufi_trainer_points(r->trainer, &count);
    r->first_step = ufi_trainer_steps(r->trainer);
    r->started_ns = r->saved_ns = ufi_clock_ns();
    if (count) {
        r->agreement = p[count - 1].agreement;
        r->score = p[count - 1].score;
    }
    r->stopped_early = out_of_patience(r);
}

static uf_status save(ufi_train_run *r)
{
    r->saved_ns = ufi_clock_ns();
    return r->options->checkpoint
               ? ufi_trainer_save(r->trainer, r->options->checkpoint, r->key, r->err)
               : UF_OK;
}

/* False when the caller wants to stop. */
static bool tell(const ufi_train_run *r, const ufi_train_step *s)
{
    const uf_train_options *o = r->options;
    const double seconds = (double)(ufi_clock_ns() - r->started_ns) * 1e-9;
    const double made = (double)(s->step - r->first_step);
    uf_train_state state = {.step = s->step,
                            .steps = r->how.schedule.total,
                            .batch = o->batch,
                            .loss = s->loss,
                            .rate = s->rate,
                            .gradient_norm = s->norm,
                            .pictures_per_s = made * o->batch / seconds,
                            .remaining_s =
                                seconds / made * (double)(r->how.schedule.total - s->step),
                            .agreement = r->agreement,
                            .score = r->score,
                            .asked = ufi_trainer_asked(r->trainer),
                            .unreadable = ufi_trainer_unreadable(r->trainer, NULL)};
    state.points = ufi_trainer_points(r->trainer, &state.point_count);
    return !o->progress || o->progress(o->progress_arg, &state) == 0;
}

static uf_status run_steps(ufi_train_run *r)
{
    const uf_train_options *o = r->options;
    uf_status st = UF_OK;
    take_up(r);
    while (!st && !r->stopped_early && ufi_trainer_steps(r->trainer) < r->how.schedule.total) {
        ufi_train_step s;
        st = ufi_trainer_step(r->trainer, &s, r->err);
        if (!st && (s.step % r->measure_every == 0 || s.step == r->how.schedule.total)) {
            st = measure(r);
            r->stopped_early = !st && out_of_patience(r);
        }
        if (!st && !tell(r, &s)) {
            st = save(r);
            return st ? st : ufi_fail(r->err, UF_E_CANCELLED, "training was stopped");
        }
        if (!st && (double)(ufi_clock_ns() - r->saved_ns) * 1e-9 >= o->checkpoint_every_s)
            st = save(r);
    }
    return st;
}

/* The best candidate where they were scored, else the last; its card tells its own figures. */
static uf_status make_result(ufi_train_run *r, uf_model **out)
{
    size_t count = 0;
    int64_t kept_step = 0;
    const bool kept = r->options->validate != NULL;
    const uf_train_point *p = ufi_trainer_points(r->trainer, &count);
    const double best = ufi_trainer_kept_score(r->trainer, &kept_step);
    if (kept && kept_step > 0) {
        r->score = best;
        r->agreement = -1;
        for (size_t i = 0; i < count; i++)
            if (p[i].step == kept_step)
                r->agreement = p[i].agreement;
    }
    return make_model(r, kept, out);
}

uf_status uf_train(uf_model **out, const uf_train_options *options, uf_error *err)
{
    if (!out || !options)
        return ufi_fail(err, UF_E_ARG, "uf_train: out and options must be given");
    *out = NULL;
    ufi_train_run *r = ufi_calloc(1, sizeof *r);
    if (!r)
        return ufi_fail(err, UF_E_NOMEM, "no memory to train");
    r->options = options;
    r->err = err;
    r->agreement = r->score = -1;
    uf_status st = open_run(r);
    if (!st)
        st = run_steps(r);
    if (!st)
        st = save(r);
    if (!st)
        st = make_result(r, out);
    close_run(r);
    ufi_free(r);
    return st;
}
