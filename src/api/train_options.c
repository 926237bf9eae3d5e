/* uniface/train.h: what options mean, what a run depends on, and its card. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/train_impl.h"
#include "base/cpu.h"

static const char *const loss_names[UF_PERSON_LOSS_COUNT] = {
#define NAME(id, name, text) [UF_PERSON_LOSS_##id] = name,
    UF_PERSON_LOSS_LIST(NAME)
#undef NAME
};

static uf_status check_ranges(const uf_train_options *o, uf_error *err)
{
    const struct {
        const char *name;
        double value, min, max;
    } ranges[] = {{"epochs", o->epochs, 1e-6, 1e6},
                  {"batch", o->batch, 2, 4096},
                  {"threads", o->threads, 0, 256},
                  {"angular", o->angular, 0, 1000},
                  {"feature", o->feature, 0, 1000},
                  {"relational", o->relational, 0, 1000},
                  {"persons_weight", o->persons_weight, 0, 1000},
                  {"margin", o->margin, 0, 2},
                  {"scale", o->scale, 1, 1000},
                  {"smoothing", o->smoothing, 0, 0.9},
                  {"pictures_per_person", o->pictures_per_person, 0, 4096},
                  {"rate", o->rate, 1e-9, 100},
                  {"final_rate", o->final_rate, 0, 100},
                  {"warmup", o->warmup, 0, 0.9},
                  {"rate_factor", o->rate_factor, 0, 1},
                  {"decay", o->decay, 0, 10},
                  {"clip", o->clip, 0, 1e9},
                  {"average", o->average, 0, 0.999999},
                  {"augment", o->augment, 0, 2},
                  {"blend", o->blend, 0, 1},
                  {"occlude", o->occlude, 0, 1},
                  {"held_out", o->held_out, 0, 0.9},
                  {"checkpoint_every_s", o->checkpoint_every_s, 0, 1e9},
                  {"measure_every", (double)o->measure_every, 0, 1e15},
                  {"patience", o->patience, 0, 1e9}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (!(ranges[i].value >= ranges[i].min) || !(ranges[i].value <= ranges[i].max))
            return ufi_fail(err, UF_E_ARG, "uf_train: %s is %g, it must be %g..%g", ranges[i].name,
                            ranges[i].value, ranges[i].min, ranges[i].max);
    return UF_OK;
}

static uf_status check(const uf_train_options *o, uf_error *err)
{
    const uf_status st = check_ranges(o, err);
    if (st)
        return st;
    if (!o->pictures || !o->picture_count)
        return ufi_fail(err, UF_E_ARG, "uf_train: no pictures were named");
    if (!o->student == !o->start)
        return ufi_fail(err, UF_E_ARG, "uf_train: either a student or a model to start from");
    if (o->teacher_count > UFI_MAX_TEACHERS || (o->teacher_count && !o->teachers))
        return ufi_fail(err, UF_E_ARG, "uf_train: %zu teachers, at most %d can be asked",
                        o->teacher_count, UFI_MAX_TEACHERS);
    if ((unsigned)o->persons >= UF_PERSON_LOSS_COUNT)
        return ufi_fail(err, UF_E_ARG, "uf_train: no such loss of persons (%d)", (int)o->persons);
    if (o->precision != UF_PRECISION_FP32 && o->precision != UF_PRECISION_BF16)
        return ufi_fail(err, UF_E_ARG, "uf_train: training is in FP32 or BF16");
    if (o->schedule != UF_SCHEDULE_COSINE && o->schedule != UF_SCHEDULE_STEP)
        return ufi_fail(err, UF_E_ARG, "uf_train: no such schedule (%d)", (int)o->schedule);
    if (o->milestones && (!o->milestone_count || o->milestone_count > UF_MAX_MILESTONES))
        return ufi_fail(err, UF_E_ARG, "uf_train: %zu milestones; there may be 1..%d",
                        o->milestone_count, UF_MAX_MILESTONES);
    for (size_t i = 0; o->milestones && i < o->milestone_count; i++)
        if (!(o->milestones[i] > (i ? o->milestones[i - 1] : 0)) || !(o->milestones[i] < 1))
            return ufi_fail(err, UF_E_ARG,
                            "uf_train: milestones are shares of the run, 0..1 and ascending; "
                            "number %zu is %g",
                            i + 1, o->milestones[i]);
    if (o->teacher_cache && (!o->clean_teacher || !o->teacher_count))
        return ufi_fail(err, UF_E_ARG,
                        "uf_train: teacher_cache keeps what teachers say of pictures as they are: "
                        "clean_teacher and a teacher are needed");
    if (o->pictures_per_person > 1 && o->persons == UF_PERSON_LOSS_NONE)
        return ufi_fail(err, UF_E_ARG,
                        "uf_train: pictures_per_person belongs to a loss of persons, and there is "
                        "none");
    if (o->patience > 0 && !o->validate)
        return ufi_fail(err, UF_E_ARG,
                        "uf_train: patience counts scores, and there is no validate");
    for (size_t i = 0; i < o->picture_count; i++)
        if (!o->pictures[i])
            return ufi_fail(err, UF_E_ARG, "uf_train: pictures[%zu] is NULL", i);
    for (size_t i = 0; i < o->teacher_count; i++)
        if (!o->teachers[i])
            return ufi_fail(err, UF_E_ARG, "uf_train: teachers[%zu] is NULL", i);
    return UF_OK;
}

static ufi_augment augment_of(const uf_train_options *o)
{
    const float s = (float)o->augment;
    return (ufi_augment){.flip = s > 0 ? 0.5f : 0,
                         .shift = 0.04f * s,
                         .scale = 0.06f * s,
                         .rotate = 4 * s,
                         .colour = 0.3f * s,
                         .gray = 0.05f * s,
                         .blur = 0.1f * s,
                         .low = 0.15f * s,
                         .jpeg = 0.15f * s,
                         .noise = 0.1f * s,
                         .tone = 0.3f * s,
                         .warp = s < 1.4f ? 0.7f * s : 1,
                         .occlude = (float)o->occlude,
                         .blend = (float)o->blend};
}

static void configure_lesson(ufi_train_run *r)
{
    const uf_train_options *o = r->options;
    ufi_lesson_options *l = &r->how.lesson;
    static const double margins[UF_PERSON_LOSS_COUNT] = {0, 0.5, 0.35, 0.4, 0.3};
    static const ufi_margin_kind kinds[UF_PERSON_LOSS_COUNT] = {
        UFI_MARGIN_ARCFACE, UFI_MARGIN_ARCFACE, UFI_MARGIN_COSFACE, UFI_MARGIN_UNIFIED,
        UFI_MARGIN_ARCFACE};
    const double margin = o->margin > 0 ? o->margin : margins[o->persons];
    l->teacher_count = o->teacher_count;
    l->weights = (ufi_lesson_weights){o->angular, o->feature, o->relational, 0, 0};
    if (o->persons == UF_PERSON_LOSS_TRIPLET)
        l->weights.triplet = o->persons_weight;
    else if (o->persons != UF_PERSON_LOSS_NONE)
        l->weights.margin = o->persons_weight;
    l->margin_options = (ufi_margin){kinds[o->persons], margin, o->scale, o->smoothing, 1};
    l->triplet_margin = margin;
    l->scene = (ufi_scene){.faces = 6, .face_min = 10, .face_max = 240};
    l->clean = o->clean_teacher != 0;
    l->cache = o->teacher_cache;
}

uf_status ufi_train_configure(ufi_train_run *r)
{
    const uf_train_options *o = r->options;
    ufi_trainer_options *h = &r->how;
    uf_status st = check(o, r->err);
    if (st)
        return st;
    h->batch = (size_t)o->batch;
    h->threads = o->threads ? o->threads : ufi_cpu_count();
    h->loader_threads = h->threads;
    h->bf16 = o->precision == UF_PRECISION_BF16;
    h->seed = o->seed;
    h->augment = augment_of(o);
    h->held_out = o->held_out;
    h->per_person = o->pictures_per_person > 0             ? (size_t)o->pictures_per_person
                    : o->persons == UF_PERSON_LOSS_TRIPLET ? 4
                                                           : 1;
    h->cache_bytes = o->cache_bytes;
    h->optimizer =
        (ufi_optimizer_options){.kind = o->optimizer == UF_OPTIMIZER_SGD ? UFI_SGD : UFI_ADAMW,
                                .momentum = 0.9,
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .delta = 1e-8,
                                .decay = o->decay,
                                .clip = o->clip,
                                .average = o->average};
    configure_lesson(r);
    return UF_OK;
}

/* ---- what a run depends on ---- */

static void add_text(ufi_sha256 *h, const char *text)
{
    ufi_sha256_update(h, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void add_numbers(ufi_sha256 *h, const ufi_train_run *r)
{
    char text[640];
    const uf_train_options *o = r->options;
    snprintf(text, sizeof text,
             "%a %a %a %d %a %a %a %a %a %d %u %d %d %a %a %a %a %a %a %a %a %a %d %a %llu %lld",
             o->angular, o->feature, o->relational, (int)o->persons, o->persons_weight, o->margin,
             o->scale, o->smoothing, o->epochs, o->batch, r->how.threads, (int)o->precision,
             (int)o->optimizer, o->rate, o->final_rate, o->warmup, o->decay, o->clip, o->average,
             o->augment, o->blend, o->occlude, o->clean_teacher, o->held_out,
             (unsigned long long)o->seed, (long long)r->measure_every);
    add_text(h, text);
    if (r->how.per_person > 1) {
        snprintf(text, sizeof text, "%zu", r->how.per_person);
        add_text(h, text);
    }
    const ufi_schedule *s = &r->how.schedule;
    for (uint32_t i = 0; s->kind == UFI_SCHEDULE_STEP && i < s->at_count; i++) {
        snprintf(text, sizeof text, "%a %a", s->at[i], s->factor);
        add_text(h, text);
    }
}

uf_status ufi_train_key(ufi_train_run *r)
{
    ufi_sha256 h;
    char id[65];
    ufi_model_file sealed = *r->student; /* its digest is of no use to others yet */
    uf_status st = ufi_model_file_seal(&sealed, r->err);
    if (!st)
        st = ufi_dataset_digest(r->data, r->data_digest, r->err);
    if (st)
        return st;
    ufi_sha256_init(&h);
    add_text(&h, uf_version());
    add_numbers(&h, r);
    ufi_sha256_update(&h, sealed.digest, sizeof sealed.digest);
    add_text(&h, r->data_digest);
    for (size_t i = 0; i < r->options->teacher_count; i++) {
        ufi_model_id(&r->options->teachers[i]->file, id);
        add_text(&h, id);
    }
    ufi_sha256_final(&h, r->key);
    return UF_OK;
}

/* ---- the card ---- */

static void say_from(const ufi_train_run *r, char *text, size_t size)
{
    const uf_train_options *o = r->options;
    snprintf(text, size, "%s", o->student ? o->student : o->start->id);
}

static void say_rate(const ufi_train_run *r, char *text, size_t size)
{
    const uf_train_options *o = r->options;
    const ufi_schedule *s = &r->how.schedule;
    int at = snprintf(text, size, "rate %g", o->rate);
    if (s->kind == UFI_SCHEDULE_COSINE) {
        snprintf(text + at, size - (size_t)at, " to %g", o->final_rate);
        return;
    }
    at += snprintf(text + at, size - (size_t)at, " times %g at", s->factor);
    for (uint32_t i = 0; i < s->at_count; i++)
        at += snprintf(text + at, size - (size_t)at, " %.4g", s->at[i]);
}

static void say_how(const ufi_train_run *r, char *text, size_t size)
{
    const uf_train_options *o = r->options;
    char rate[160], persons[60] = "";
    if (r->how.per_person > 1)
        snprintf(persons, sizeof persons, ", %zu pictures of each person in a step",
                 r->how.per_person);
    say_rate(r, rate, sizeof rate);
    snprintf(text, size,
             "%lld steps of %d pictures, %s, %s, %s, decay %g, average %g, losses "
             "angular %g, feature %g, relational %g, %s%s; varied %g, blended %g, occluded %g%s",
             (long long)ufi_trainer_steps(r->trainer), o->batch,
             o->optimizer == UF_OPTIMIZER_SGD ? "SGD" : "AdamW", r->how.bf16 ? "BF16" : "FP32",
             rate, o->decay, o->average, o->teacher_count ? o->angular : 0,
             o->teacher_count ? o->feature : 0, o->teacher_count ? o->relational : 0,
             loss_names[o->persons], persons, o->augment, o->blend, o->occlude,
             o->clean_teacher ? ", teachers saw clean pictures" : "");
}

static uf_status put_number(ufi_meta *m, const char *key, double v, uf_error *err)
{
    const float f = (float)v;
    return ufi_meta_set_floats(m, key, &f, 1, err);
}

static uf_status put_whole(ufi_meta *m, const char *key, uint64_t v, uf_error *err)
{
    char text[32];
    snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    return ufi_meta_set(m, key, text, err);
}

static uf_status put_teachers(const ufi_train_run *r, ufi_meta *m)
{
    char text[UFI_MAX_TEACHERS * 130] = "";
    for (size_t i = 0; i < r->options->teacher_count; i++) {
        const uf_model *t = r->options->teachers[i];
        const char *family = ufi_meta_get(&t->file.meta, "family");
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.40s %s", i ? ", " : "",
                 family ? family : "?", t->id);
    }
    return r->options->teacher_count ? ufi_meta_set(m, "trained.teachers", text, r->err) : UF_OK;
}

/* What a model to go on from says of how it was made: not true of the new one. */
static uf_status shed_card(ufi_meta *m, uf_error *err)
{
    static const char *const keys[] = {"trained.teachers",   "trained.agreement",
                                       "trained.score",      "trained.pictures_without_face",
                                       "retrained.from",     "retrained.judged",
                                       "quantized.agreement"};
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < sizeof keys / sizeof *keys; i++)
        st = ufi_meta_set(m, keys[i], NULL, err);
    return st;
}

uf_status ufi_train_describe(const ufi_train_run *r, ufi_model_file *made)
{
    char text[512];
    ufi_meta *m = &made->meta;
    uf_status st = shed_card(m, r->err);
    if (!st)
        st = ufi_meta_set(m, "precision", r->in_bytes ? "int8" : "fp32", r->err);
    say_from(r, text, sizeof text);
    if (!st)
        st = ufi_meta_set(m, "trained.from", text, r->err);
    say_how(r, text, sizeof text);
    if (!st)
        st = ufi_meta_set(m, "trained.how", text, r->err);
    if (!st)
        st = put_teachers(r, m);
    if (!st)
        st = put_whole(m, "trained.pictures", ufi_dataset_count(r->data), r->err);
    if (!st && r->faceless)
        st = put_whole(m, "trained.pictures_without_face", r->faceless, r->err);
    if (!st)
        st = ufi_meta_set(m, "trained.data_digest", r->data_digest, r->err);
    if (!st)
        st = put_whole(m, "trained.seen", (uint64_t)ufi_trainer_steps(r->trainer) * r->how.batch,
                       r->err);
    if (!st)
        st = put_whole(m, "trained.seed", r->options->seed, r->err);
    if (!st)
        st = ufi_meta_set(m, "trained.by", uf_version(), r->err);
    if (!st && r->agreement >= 0)
        st = put_number(m, "trained.agreement", r->agreement, r->err);
    if (!st && r->score >= 0)
        st = put_number(m, "trained.score", r->score, r->err);
    return st;
}
