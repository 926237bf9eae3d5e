#include "train/trainer.h"

#include <string.h>

#include "base/mem.h"
#include "kernels/kernels.h"
#include "train/checkpoint.h"
#include "train/random.h"

/* Batches of pictures held out that are judged on at most. */
enum { MAX_JUDGED_BATCHES = 8 };

/* Where a run stands: what a checkpoint holds beside weights. */
typedef struct standing {
    uint32_t epoch, point_count;
    uint64_t position;
    int64_t steps, kept_step;
    double kept_score;
    int64_t worse;   /* scores since then, none of them better */
    double loss_sum; /* since the last point, */
    int64_t loss_count;
    uf_train_point points[UFI_TRAIN_MAX_POINTS];
} standing;

struct ufi_trainer {
    const ufi_model_file *student;
    const ufi_dataset *data;
    ufi_trainer_options options;
    ufi_net *net;
    ufi_lesson *lesson;
    ufi_optimizer *optimizer;
    ufi_loader *loader;
    uint32_t *learned, *held; /* sample numbers */
    size_t learned_count, held_count;
    ufi_variable **variables; /* of the net, then of the lesson */
    size_t variable_count, net_variable_count;
    float **kept; /* per variable */
    standing *at;
    float mean[3], scale[3];
    bool bgr;
};

/* ---- making one ---- */

/* Fewer pictures than a batch are judged several times over: lessons take whole batches. */
static void fill_held(ufi_trainer *t)
{
    const size_t own = t->held_count;
    while (own && t->held_count < t->options.batch) {
        t->held[t->held_count] = t->held[t->held_count - own];
        t->held_count++;
    }
}

static uf_status split(ufi_trainer *t, uf_error *err)
{
    const size_t count = ufi_dataset_count(t->data);
    t->learned = ufi_calloc(count, sizeof *t->learned);
    t->held = ufi_calloc(count + t->options.batch, sizeof *t->held);
    if (!t->learned || !t->held)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %zu pictures", count);
    for (size_t i = 0; i < count; i++) {
        ufi_random r = ufi_random_of(t->options.seed, 1000 + i);
        if ((double)ufi_random_unit(&r) < t->options.held_out)
            t->held[t->held_count++] = (uint32_t)i;
        else
            t->learned[t->learned_count++] = (uint32_t)i;
    }
    if (t->learned_count < t->options.batch)
        return ufi_fail(err, UF_E_ARG,
                        "%zu pictures to learn from (%zu are held out), fewer than one batch of "
                        "%zu: more pictures or a smaller batch",
                        t->learned_count, t->held_count, t->options.batch);
    fill_held(t);
    return UF_OK;
}

static uf_status read_input(ufi_trainer *t, uf_error *err)
{
    const ufi_meta *m = &t->student->meta;
    const char *order = ufi_meta_get(m, "input.order");
    if (ufi_meta_floats(m, "input.mean", t->mean, 3) != 3 ||
        ufi_meta_floats(m, "input.scale", t->scale, 3) != 3 || !order)
        return ufi_fail(err, UF_E_MISMATCH,
                        "the student's metadata lack input.mean, input.scale or input.order");
    t->bgr = !strcmp(order, "bgr");
    for (int c = 0; c < 3; c++)
        t->mean[c] *= -t->scale[c];
    return UF_OK;
}

static uf_status make_net(ufi_trainer *t, uf_error *err)
{
    ufi_net_options o = UFI_NET_OPTIONS_INIT;
    o.batch = (int64_t)t->options.batch;
    o.threads = t->options.threads;
    o.bf16 = t->options.bf16;
    return ufi_net_create(&t->net, &t->student->graph, &o, err);
}

static uf_status make_lesson(ufi_trainer *t, uf_error *err)
{
    ufi_lesson_options *o = &t->options.lesson;
    o->student = t->student;
    o->data = t->data;
    o->batch = t->options.batch;
    o->threads = t->options.threads;
    o->seed = t->options.seed;
    return ufi_lesson_create(&t->lesson, o, err);
}

static uf_status make_optimizer(ufi_trainer *t, uf_error *err)
{
    size_t more = 0;
    ufi_variable *of_net = ufi_net_variables(t->net);
    ufi_variable *of_lesson = ufi_lesson_variables(t->lesson, &more);
    t->net_variable_count = ufi_net_variable_count(t->net);
    t->variable_count = t->net_variable_count + more;
    t->variables = ufi_calloc(t->variable_count, sizeof *t->variables);
    if (!t->variables)
        return ufi_fail(err, UF_E_NOMEM, "no memory to train");
    for (size_t i = 0; i < t->variable_count; i++)
        t->variables[i] =
            i < t->net_variable_count ? &of_net[i] : &of_lesson[i - t->net_variable_count];
    t->kept = ufi_calloc(t->variable_count, sizeof *t->kept);
    for (size_t i = 0; t->kept && i < t->variable_count; i++) {
        t->kept[i] = ufi_calloc(t->variables[i]->count, sizeof(float));
        if (!t->kept[i])
            return ufi_fail(err, UF_E_NOMEM, "no memory to train");
    }
    t->at->kept_score = -1;
    return t->kept ? ufi_optimizer_create(&t->optimizer, t->variables, t->variable_count,
                                          &t->options.optimizer, err)
                   : ufi_fail(err, UF_E_NOMEM, "no memory to train");
}

static uf_status make_loader(ufi_trainer *t, uf_error *err)
{
    ufi_loader_options o = {.batch = t->options.batch,
                            .seed = t->options.seed,
                            .threads = t->options.loader_threads,
                            .augment = t->options.augment,
                            .subset = t->learned,
                            .subset_count = t->learned_count,
                            .epoch = t->at->epoch,
                            .position = (size_t)t->at->position,
                            .per_person = t->options.per_person,
                            .cache_bytes = t->options.cache_bytes};
    ufi_lesson_views(t->lesson, &o);
    ufi_loader_destroy(t->loader);
    t->loader = NULL;
    return ufi_loader_create(&t->loader, t->data, &o, err);
}

uf_status ufi_trainer_create(ufi_trainer **out, const ufi_model_file *student,
                             const ufi_dataset *data, const ufi_trainer_options *options,
                             uf_error *err)
{
    ufi_trainer *t = ufi_calloc(1, sizeof *t);
    if (!t)
        return ufi_fail(err, UF_E_NOMEM, "no memory to train");
    t->student = student;
    t->data = data;
    t->options = *options;
    t->at = ufi_calloc(1, sizeof *t->at);
    uf_status st = t->at ? split(t, err) : ufi_fail(err, UF_E_NOMEM, "no memory to train");
    if (!st)
        st = read_input(t, err);
    if (!st)
        st = make_lesson(t, err);
    if (!st)
        st = make_net(t, err);
    if (!st)
        st = make_optimizer(t, err);
    if (!st)
        st = make_loader(t, err);
    if (st)
        ufi_trainer_destroy(t);
    else
        *out = t;
    return st;
}

void ufi_trainer_destroy(ufi_trainer *t)
{
    if (!t)
        return;
    ufi_loader_destroy(t->loader);
    ufi_optimizer_destroy(t->optimizer);
    ufi_lesson_destroy(t->lesson);
    ufi_net_destroy(t->net);
    for (size_t i = 0; t->kept && i < t->variable_count; i++)
        ufi_free(t->kept[i]);
    ufi_free(t->kept);
    ufi_free(t->at);
    ufi_free(t->variables);
    ufi_free(t->learned);
    ufi_free(t->held);
    ufi_free(t);
}

/* ---- a step ---- */

static void feed(ufi_trainer *t, const uint8_t *rgb)
{
    const ufi_shape *x = &t->student->graph.values[t->student->graph.inputs[0]].shape;
    const size_t pixels = t->options.batch * (size_t)(x->dims[2] * x->dims[3]);
    ufk_default_table()->normalize_u8_f32(ufi_net_input(t->net), rgb, pixels, t->scale, t->mean,
                                          t->bgr);
}

uf_status ufi_trainer_step(ufi_trainer *t, ufi_train_step *out, uf_error *err)
{
    ufi_batch batch;
    double norm = 0, loss = 0;
    const double rate = ufi_schedule_rate(&t->options.schedule, t->at->steps);
    uf_status st = ufi_loader_next(t->loader, &batch, err);
    if (st)
        return st;
    feed(t, batch.pixels[0]);
    st = ufi_net_forward(t->net, err);
    if (!st)
        st = ufi_lesson_learn(t->lesson, t->net, &batch, &loss, err);
    if (!st)
        st = ufi_net_backward(t->net, err);
    if (!st)
        st = ufi_optimizer_step(t->optimizer, rate, &norm, err);
    if (st)
        return st;
    t->at->epoch = batch.epoch;
    t->at->position = batch.position + t->options.batch;
    t->at->steps++;
    t->at->loss_sum += loss;
    t->at->loss_count++;
    *out = (ufi_train_step){t->at->steps, loss, rate, norm};
    return UF_OK;
}

int64_t ufi_trainer_steps(const ufi_trainer *t)
{
    return t->at->steps;
}

size_t ufi_trainer_unreadable(const ufi_trainer *t, uf_error *last)
{
    return ufi_loader_unreadable(t->loader, last);
}

uint64_t ufi_trainer_asked(const ufi_trainer *t)
{
    return ufi_lesson_asked(t->lesson);
}

/* ---- what it has come to ---- */

/* A described detector was taught at one size and looks at any; the batch is open too. */
static void open_dims(const ufi_trainer *t, ufi_graph *g)
{
    const ufi_graph *was = &t->student->graph;
    ufi_shape *x = &g->values[g->inputs[0]].shape;
    x->dims[0] = was->values[was->inputs[0]].shape.dims[0];
    if (x->dims[0] == -1 && ufi_meta_get(&t->student->meta, "detector.size"))
        x->dims[2] = x->dims[3] = -1;
}

uf_status ufi_trainer_model(const ufi_trainer *t, bool kept, ufi_model_file *out, uf_error *err)
{
    const float *const *data = kept && t->at->kept_step > 0 ? (const float *const *)t->kept
                                                            : ufi_optimizer_average(t->optimizer);
    memset(out, 0, sizeof *out);
    uf_status st = ufi_net_store(t->net, data, &out->graph, err);
    if (!st) {
        open_dims(t, &out->graph);
        st = ufi_copy_meta(&out->meta, &t->student->meta, err);
    }
    if (!st)
        st = ufi_model_file_settle(out, true, err);
    if (!st)
        st = ufi_model_file_seal(out, err);
    if (st)
        ufi_model_file_free(out);
    return st;
}

static uf_status judge_batches(ufi_trainer *t, ufi_network *student, double *sum, size_t *count,
                               uf_error *err)
{
    ufi_loader *loader = NULL;
    ufi_loader_options o = {.batch = t->options.batch,
                            .seed = t->options.seed + 1,
                            .threads = t->options.loader_threads,
                            .subset = t->held,
                            .subset_count = t->held_count};
    ufi_lesson_views(t->lesson, &o);
    uf_status st = ufi_loader_create(&loader, t->data, &o, err);
    const size_t whole = t->held_count / t->options.batch;
    for (size_t i = 0; !st && i < whole && i < MAX_JUDGED_BATCHES; i++) {
        ufi_batch batch;
        st = ufi_loader_next(loader, &batch, err);
        if (!st)
            st = ufi_lesson_judge(t->lesson, student, &batch, sum, count, err);
    }
    ufi_loader_destroy(loader);
    return st;
}

uf_status ufi_trainer_judge(ufi_trainer *t, const ufi_model_file *model, double *agreement,
                            uf_error *err)
{
    ufi_program *program = NULL;
    ufi_network student = {0};
    double sum = 0;
    size_t count = 0;
    *agreement = -1;
    if (!t->held_count || !t->options.lesson.teacher_count)
        return UF_OK;
    uf_status st = ufi_program_create(&program, &model->graph, "CPU", err);
    if (!st)
        st = ufi_network_open(&student, model, program, ufi_meta_get(&model->meta, "task"),
                              t->options.threads, err);
    if (!st)
        st = judge_batches(t, &student, &sum, &count, err);
    ufi_network_close(&student);
    ufi_program_destroy(program);
    if (!st && count)
        *agreement = sum / (double)count;
    return st;
}

void ufi_trainer_record(ufi_trainer *t, double agreement, double score)
{
    standing *s = t->at;
    if (s->point_count == UFI_TRAIN_MAX_POINTS) {
        for (uint32_t i = 0; i < UFI_TRAIN_MAX_POINTS / 2; i++)
            s->points[i] = s->points[2 * i + 1];
        s->point_count = UFI_TRAIN_MAX_POINTS / 2;
    }
    s->points[s->point_count++] =
        (uf_train_point){s->steps, s->loss_count ? s->loss_sum / (double)s->loss_count : 0,
                         ufi_schedule_rate(&t->options.schedule, s->steps), agreement, score};
    s->worse += score >= 0;
    s->loss_sum = 0;
    s->loss_count = 0;
}

const uf_train_point *ufi_trainer_points(const ufi_trainer *t, size_t *count)
{
    *count = t->at->point_count;
    return t->at->points;
}

void ufi_trainer_keep(ufi_trainer *t, double score)
{
    const float *const *now = ufi_optimizer_average(t->optimizer);
    for (size_t i = 0; i < t->variable_count; i++)
        memcpy(t->kept[i], now[i], t->variables[i]->count * sizeof(float));
    t->at->kept_score = score;
    t->at->kept_step = t->at->steps;
    t->at->worse = 0;
}

int64_t ufi_trainer_worse(const ufi_trainer *t)
{
    return t->at->worse;
}

double ufi_trainer_kept_score(const ufi_trainer *t, int64_t *step)
{
    *step = t->at->kept_step;
    return t->at->kept_score;
}

/* ---- checkpoints ---- */

/* Where the run stands, each variable as it is and as it was kept, each state of the optimizer. */
static ufi_checkpoint_part *list_parts(const ufi_trainer *t, standing *at, size_t *count)
{
    const size_t states = ufi_optimizer_state_count(t->optimizer), n = t->variable_count;
    *count = 1 + 2 * n + states;
    ufi_checkpoint_part *p = ufi_calloc(*count, sizeof *p);
    if (!p)
        return NULL;
    p[0] = (ufi_checkpoint_part){at, sizeof *at};
    for (size_t i = 0; i < n; i++) {
        const size_t bytes = t->variables[i]->count * sizeof(float);
        p[1 + i] = (ufi_checkpoint_part){t->variables[i]->data, bytes};
        p[1 + n + i] = (ufi_checkpoint_part){t->kept[i], bytes};
    }
    for (size_t i = 0; i < states; i++) {
        const ufi_optimizer_state s = ufi_optimizer_state_at(t->optimizer, i);
        p[1 + 2 * n + i] = (ufi_checkpoint_part){s.data, s.count * sizeof(float)};
    }
    return p;
}

uf_status ufi_trainer_save(const ufi_trainer *t, const char *path, const uint8_t key[32],
                           uf_error *err)
{
    size_t count = 0;
    ufi_checkpoint_part *parts = list_parts(t, t->at, &count);
    uf_status st = parts ? ufi_checkpoint_save(path, key, parts, count, err)
                         : ufi_fail(err, UF_E_NOMEM, "no memory for a checkpoint");
    ufi_free(parts);
    return st;
}

static bool is_count(int64_t v, int64_t most)
{
    return v >= 0 && v <= most;
}

/* A digest is no proof of who wrote the file. */
static bool makes_sense(const ufi_trainer *t)
{
    const standing *s = t->at;
    return s->point_count <= UFI_TRAIN_MAX_POINTS &&
           is_count(s->steps, t->options.schedule.total) && is_count(s->kept_step, s->steps) &&
           is_count(s->worse, s->steps) && is_count(s->loss_count, s->steps);
}

uf_status ufi_trainer_load(ufi_trainer *t, const char *path, const uint8_t key[32], uf_error *err)
{
    size_t count = 0;
    ufi_checkpoint_part *parts = list_parts(t, t->at, &count);
    uf_status st = parts ? ufi_checkpoint_load(path, key, parts, count, err)
                         : ufi_fail(err, UF_E_NOMEM, "no memory for a checkpoint");
    ufi_free(parts);
    if (st)
        return st;
    if (!makes_sense(t))
        return ufi_fail(err, UF_E_FORMAT, "%s: where the run stands makes no sense", path);
    ufi_optimizer_set_steps(t->optimizer, t->at->steps);
    return make_loader(t, err);
}
