/*
 * Embedders learn from teachers (what vector the teacher gives the same face), from known persons
 * (margins, triplets), or from both.
 *
 * The teachers' unit vectors stand one behind the other, each scaled so that cosines of the whole
 * are the mean of the teachers' cosines. Where the student's vector is longer, a fixed orthonormal
 * matrix carries the target into its space, which keeps all cosines; where it is shorter, the same
 * kind of matrix projects it, which keeps them nearly (Johnson & Lindenstrauss 1984).
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "dnnl.h"
#include "model/embedder.h"
#include "train/lesson_impl.h"
#include "train/random.h"
#include "train/teacher_cache.h"
#include "train/vector.h"

typedef struct embedder_lesson {
    ufi_lesson base;
    size_t dimension; /* the student's */
    int32_t size;
    float points[10];
    uf_embedder *teachers[UFI_MAX_TEACHERS];
    ufi_teacher_cache *caches[UFI_MAX_TEACHERS];
    size_t view_of[UFI_MAX_TEACHERS], view_count;
    ufi_crop_view views[UFI_MAX_VIEWS];
    size_t said_dimension; /* all teachers' together */
    float *matrix;         /* [dimension][said_dimension], or NULL: lengths are equal */
    float *said;           /* [batch][said_dimension] */
    float *targets;        /* [batch][dimension] */
    float *work;
    size_t classes;
    ufi_variable variables[2]; /* centres, bias */
    float bias[2];             /* and its gradient */
} embedder_lesson;

static void close_embedder(ufi_lesson *base)
{
    embedder_lesson *l = (embedder_lesson *)base;
    for (size_t i = 0; i < UFI_MAX_TEACHERS; i++) {
        uf_embedder_destroy(l->teachers[i]);
        ufi_teacher_cache_close(l->caches[i]);
    }
    ufi_free(l->matrix);
    ufi_free(l->said);
    ufi_free(l->targets);
    ufi_free(l->work);
    ufi_free(l->variables[0].data);
    ufi_free(l->variables[0].grad);
    ufi_free(l);
}

static void show_views(const ufi_lesson *base, ufi_loader_options *o)
{
    const embedder_lesson *l = (const embedder_lesson *)base;
    memcpy(o->views, l->views, sizeof o->views);
    o->view_count = l->view_count;
    o->scene.size = 0;
}

static ufi_variable *variables_of(ufi_lesson *base, size_t *count)
{
    embedder_lesson *l = (embedder_lesson *)base;
    *count = l->classes ? 2 : 0;
    return l->variables;
}

/* ---- what teachers say ---- */

/* What teacher `t` says of the batch: from its cache where all of it is there. */
static uf_status ask_teacher(embedder_lesson *l, size_t t, const ufi_batch *batch, float *to,
                             uf_error *err)
{
    const size_t n = l->base.options.batch, d = uf_embedder_dimension(l->teachers[t]);
    ufi_teacher_cache *c = l->caches[t];
    bool known = c != NULL;
    uf_status st = UF_OK;
    for (size_t i = 0; known && i < n; i++)
        known = ufi_teacher_cache_has(c, batch->samples[i], batch->mirrored[i]);
    for (size_t i = 0; known && !st && i < n; i++)
        st = ufi_teacher_cache_get(c, batch->samples[i], batch->mirrored[i], to + i * d, err);
    if (known)
        return st;
    l->base.asked += n;
    st = uf_embedder_run_crops(l->teachers[t], batch->pixels[l->view_of[t]], n, to, err);
    for (size_t i = 0; c && !st && i < n; i++)
        if (batch->samples[i] != UINT32_MAX)
            st = ufi_teacher_cache_put(c, batch->samples[i], batch->mirrored[i], to + i * d, err);
    return st;
}

static uf_status ask_teachers(embedder_lesson *l, const ufi_batch *batch, uf_error *err)
{
    const size_t n = l->base.options.batch, count = l->base.options.teacher_count;
    const float share = (float)sqrt(1 / (double)count);
    float *own = l->targets; /* not yet in use */
    size_t at = 0;
    for (size_t t = 0; t < count; t++) {
        const size_t d = uf_embedder_dimension(l->teachers[t]);
        float *to = count == 1 ? l->said : own;
        uf_status st = ask_teacher(l, t, batch, to, err);
        if (st)
            return ufi_wrap(err, st, "teacher %zu", t + 1);
        for (size_t i = 0; count > 1 && i < n; i++)
            for (size_t k = 0; k < d; k++)
                l->said[i * l->said_dimension + at + k] = share * own[i * d + k];
        at += d;
    }
    const dnnl_dim_t rows = (dnnl_dim_t)n, cols = (dnnl_dim_t)l->dimension;
    const dnnl_dim_t inner = (dnnl_dim_t)l->said_dimension;
    if (l->matrix)
        dnnl_sgemm('N', 'T', rows, cols, inner, 1, l->said, inner, l->matrix, inner, 0, l->targets,
                   cols);
    else
        memcpy(l->targets, l->said, n * l->dimension * sizeof *l->targets);
    return UF_OK;
}

static double of_teachers(embedder_lesson *l, const float *student, float *grad)
{
    const ufi_lesson_weights *w = &l->base.options.weights;
    const size_t n = l->base.options.batch, d = l->dimension;
    double loss = 0;
    if (w->angular > 0)
        loss += w->angular * ufi_loss_angular(student, l->targets, n, d, w->angular, grad);
    if (w->feature > 0)
        loss += w->feature * ufi_loss_feature(student, l->targets, n, d, w->feature, grad);
    if (w->relational > 0)
        loss += w->relational * ufi_loss_relational(student, d, l->said, l->said_dimension, n,
                                                    w->relational, l->work, grad);
    return loss;
}

static double of_persons(embedder_lesson *l, const float *student, const int32_t *labels,
                         float *grad)
{
    const ufi_lesson_options *o = &l->base.options;
    const size_t n = o->batch, d = l->dimension;
    ufi_variable *centres = &l->variables[0];
    double loss = 0;
    memset(centres->grad, 0, centres->count * sizeof(float));
    l->bias[1] = 0;
    if (o->weights.margin > 0)
        loss += o->weights.margin * ufi_loss_margin(&o->margin_options, student, labels, n, d,
                                                    centres->data, l->bias, l->classes,
                                                    o->weights.margin, l->work, grad, centres->grad,
                                                    &l->bias[1]);
    if (o->weights.triplet > 0)
        loss += o->weights.triplet * ufi_loss_triplet(student, labels, n, d, o->triplet_margin,
                                                      o->weights.triplet, l->work, grad);
    return loss;
}

static uf_status learn_embedder(ufi_lesson *base, ufi_net *net, const ufi_batch *batch,
                                double *loss, uf_error *err)
{
    embedder_lesson *l = (embedder_lesson *)base;
    ufi_shape shape;
    const float *student = ufi_net_output(net, 0, &shape);
    float *grad = ufi_net_output_grad(net, 0);
    if (ufi_shape_count(&shape) != (int64_t)(base->options.batch * l->dimension))
        return ufi_fail(err, UF_E_MISMATCH, "the student must give one vector a picture");
    memset(grad, 0, base->options.batch * l->dimension * sizeof *grad);
    *loss = 0;
    if (base->options.teacher_count) {
        uf_status st = ask_teachers(l, batch, err);
        if (st)
            return st;
        *loss += of_teachers(l, student, grad);
    }
    if (l->classes)
        *loss += of_persons(l, student, batch->labels, grad);
    return UF_OK;
}

static uf_status judge_embedder(ufi_lesson *base, ufi_network *student, const ufi_batch *batch,
                                double *sum, size_t *count, uf_error *err)
{
    embedder_lesson *l = (embedder_lesson *)base;
    const size_t n = base->options.batch, side = (size_t)l->size, d = l->dimension;
    uf_status st = ask_teachers(l, batch, err);
    if (!st)
        st = ufi_network_prepare(student, n, side, side, err);
    for (size_t i = 0; !st && i < n; i++)
        ufi_network_feed(student, i, batch->pixels[0] + i * side * side * 3);
    if (!st)
        st = ufi_context_run(student->context, err);
    if (st)
        return st;
    const float *v = ufi_context_output(student->context, 0)->data;
    for (size_t i = 0; i < n; i++)
        *sum += ufi_dot(v + i * d, l->targets + i * d, d) * ufi_inverse_norm(v + i * d, d) *
                ufi_inverse_norm(l->targets + i * d, d);
    *count += n;
    return UF_OK;
}

/* ---- making one ---- */

/* Rows (or, where there are more rows than columns, columns) are orthonormal: Gram and Schmidt on
 * normal numbers. */
static void make_orthonormal(float *m, size_t rows, size_t cols)
{
    ufi_random r = ufi_random_of(20231001, 3);
    const bool by_rows = rows <= cols;
    const size_t count = by_rows ? rows : cols, length = by_rows ? cols : rows;
    const size_t vector = by_rows ? cols : 1, step = by_rows ? 1 : cols;
    for (size_t i = 0; i < count; i++) {
        float *v = m + i * vector;
        for (size_t k = 0; k < length; k++)
            v[k * step] = (float)ufi_random_normal(&r);
        for (size_t j = 0; j <= i; j++) {
            const float *u = m + j * vector;
            double dot = 0;
            for (size_t k = 0; k < length; k++)
                dot += (double)v[k * step] * (double)u[k * step];
            for (size_t k = 0; k < length; k++)
                v[k * step] = j < i ? v[k * step] - (float)(dot * (double)u[k * step])
                                    : v[k * step] * (float)(1 / sqrt(dot));
        }
    }
}

/* The view whose size and points these are; a new one when there is none. */
static uf_status find_view(embedder_lesson *l, int32_t size, const float *points, size_t *view,
                           uf_error *err)
{
    const ufi_crop_view want = {.size = size, .clean = l->base.options.clean};
    for (size_t i = 1; i < l->view_count; i++)
        if (l->views[i].size == size && !memcmp(l->views[i].points, points, 10 * sizeof *points)) {
            *view = i;
            return UF_OK;
        }
    if (l->view_count == UFI_MAX_VIEWS)
        return ufi_fail(err, UF_E_LIMIT, "the teachers want more than %d different crops",
                        UFI_MAX_VIEWS - 1);
    *view = l->view_count;
    l->views[l->view_count] = want;
    memcpy(l->views[l->view_count++].points, points, 10 * sizeof *points);
    return UF_OK;
}

/* Its words are about the crops that its view makes of these pictures. */
static uf_status open_cache(embedder_lesson *l, size_t t, uf_error *err)
{
    const ufi_lesson_options *o = &l->base.options;
    const ufi_crop_view *view = &l->views[l->view_of[t]];
    const bool many = o->teacher_count > 1;
    char teacher[65], about[320], path[PATH_MAX];
    int at = snprintf(about, sizeof about, "%s %d", o->data_digest, view->size);
    for (int i = 0; i < 10; i++)
        at += snprintf(about + at, sizeof about - (size_t)at, " %a", (double)view->points[i]);
    ufi_model_id(o->teachers[t].file, teacher);
    if (snprintf(path, sizeof path, "%s%s%.0zu", o->cache, many ? "." : "", many ? t + 1 : 0) >=
        (int)sizeof path)
        return ufi_fail(err, UF_E_ARG, "the path of the teachers' cache is too long");
    const ufi_teacher_key key = {teacher, about, ufi_dataset_count(o->data),
                                 uf_embedder_dimension(l->teachers[t])};
    return ufi_teacher_cache_open(&l->caches[t], path, &key, err);
}

static uf_status open_teachers(embedder_lesson *l, uf_error *err)
{
    const ufi_lesson_options *o = &l->base.options;
    uf_embedder_options q = UF_EMBEDDER_OPTIONS_INIT;
    q.engine.threads = (int32_t)o->threads;
    uf_status st = UF_OK;
    for (size_t t = 0; !st && t < o->teacher_count; t++) {
        st = ufi_embedder_create(&l->teachers[t], o->teachers[t].file, o->teachers[t].program, &q,
                                 err);
        if (st)
            return ufi_wrap(err, st, "teacher %zu", t + 1);
        l->said_dimension += uf_embedder_dimension(l->teachers[t]);
        st = find_view(l, uf_embedder_crop_size(l->teachers[t]),
                       uf_embedder_template(l->teachers[t]), &l->view_of[t], err);
        if (!st && o->cache)
            st = open_cache(l, t, err);
    }
    if (st || !o->teacher_count || l->said_dimension == l->dimension)
        return st;
    l->matrix = ufi_calloc(l->dimension * l->said_dimension, sizeof *l->matrix);
    if (!l->matrix)
        return ufi_fail(err, UF_E_NOMEM, "no memory for what teachers say");
    make_orthonormal(l->matrix, l->dimension, l->said_dimension);
    return UF_OK;
}

static uf_status make_centres(embedder_lesson *l, uf_error *err)
{
    const ufi_lesson_options *o = &l->base.options;
    if (o->weights.margin <= 0 && o->weights.triplet <= 0)
        return UF_OK;
    const size_t persons = (size_t)ufi_dataset_labels(o->data);
    if (persons < 2)
        return ufi_fail(err, UF_E_ARG,
                        "losses of persons need pictures of at least two: a folder for each, or a "
                        "list with labels");
    ufi_variable *c = &l->variables[0];
    ufi_random r = ufi_random_of(o->seed, 2);
    l->classes = persons;
    *c = (ufi_variable){.name = "persons", .value = UFI_NONE, .decay = true};
    c->shape = (ufi_shape){2, {(int64_t)persons, (int64_t)l->dimension}};
    c->count = persons * l->dimension;
    c->data = ufi_aligned_calloc(c->count * sizeof(float));
    c->grad = ufi_aligned_calloc(c->count * sizeof(float));
    if (!c->data || !c->grad)
        return ufi_fail(err, UF_E_NOMEM, "no memory for %zu persons", persons);
    for (size_t i = 0; i < c->count; i++)
        c->data[i] = (float)(0.01 * ufi_random_normal(&r));
    /* Where as many wrong persons as there are balance the right one (Zhou et al. 2023). */
    l->bias[0] = (float)log((double)persons);
    l->variables[1] = (ufi_variable){.name = "persons.bias",
                                     .value = UFI_NONE,
                                     .shape = {1, {1}},
                                     .count = 1,
                                     .data = &l->bias[0],
                                     .grad = &l->bias[1]};
    return UF_OK;
}

static uf_status read_student(embedder_lesson *l, uf_error *err)
{
    const ufi_model_file *file = l->base.options.student;
    const ufi_graph *g = &file->graph;
    const ufi_shape *x = &g->values[g->inputs[0]].shape, *y = &g->values[g->outputs[0]].shape;
    const char *what = "the student must take crops [N,3,S,S], S known, and give one vector";
    if (g->input_count != 1 || g->output_count != 1 || x->rank != 4 || x->dims[2] < 16 ||
        x->dims[1] != 3 || x->dims[2] != x->dims[3] || x->dims[2] > 1024 || y->rank < 2)
        return ufi_fail(err, UF_E_MISMATCH, "%s", what);
    l->dimension = 1;
    for (uint32_t i = 1; i < y->rank; i++) {
        if (y->dims[i] < 1 || y->dims[i] > UFI_MAX_VECTOR)
            return ufi_fail(err, UF_E_MISMATCH, "%s", what);
        l->dimension *= (size_t)y->dims[i];
    }
    l->size = (int32_t)x->dims[2];
    if (l->dimension > UFI_MAX_VECTOR)
        return ufi_fail(err, UF_E_LIMIT, "vectors of %zu numbers; at most %d can be taught",
                        l->dimension, UFI_MAX_VECTOR);
    if (ufi_meta_floats(&file->meta, "align.template", l->points, 10) != 10)
        return ufi_fail(err, UF_E_MISMATCH, "the student's metadata lack align.template");
    l->views[0] = (ufi_crop_view){.size = l->size, .jitter = true};
    memcpy(l->views[0].points, l->points, sizeof l->points);
    l->view_count = 1;
    return UF_OK;
}

static uf_status make_buffers(embedder_lesson *l, uf_error *err)
{
    const size_t n = l->base.options.batch;
    const size_t longest = l->said_dimension > l->dimension ? l->said_dimension : l->dimension;
    size_t work = ufi_loss_relational_work(n, l->dimension);
    if (ufi_loss_margin_work(n, l->dimension, l->classes) > work)
        work = ufi_loss_margin_work(n, l->dimension, l->classes);
    l->said = ufi_calloc(n * longest, sizeof *l->said);
    l->targets = ufi_calloc(n * longest, sizeof *l->targets);
    l->work = ufi_calloc(work, sizeof *l->work);
    return l->said && l->targets && l->work ? UF_OK
                                            : ufi_fail(err, UF_E_NOMEM, "no memory for a lesson");
}

static const ufi_lesson_ops embedder_ops = {"embedder",   close_embedder, show_views,
                                            variables_of, learn_embedder, judge_embedder};

uf_status ufi_lesson_open_embedder(ufi_lesson **out, const ufi_lesson_options *options,
                                   uf_error *err)
{
    embedder_lesson *l = ufi_calloc(1, sizeof *l);
    if (!l)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a lesson");
    l->base.ops = &embedder_ops;
    l->base.options = *options;
    uf_status st = read_student(l, err);
    if (!st)
        st = open_teachers(l, err);
    if (!st)
        st = make_centres(l, err);
    if (!st && !options->teacher_count && !l->classes)
        st = ufi_fail(err, UF_E_ARG, "there is neither a teacher nor a loss of persons");
    if (!st && !l->classes && options->weights.angular <= 0 && options->weights.feature <= 0 &&
        options->weights.relational <= 0)
        st = ufi_fail(err, UF_E_ARG,
                      "nothing is to be learned: angular, feature and relational are all 0, and "
                      "there is no loss of persons");
    if (!st)
        st = make_buffers(l, err);
    if (st)
        close_embedder(&l->base);
    else
        *out = &l->base;
    return st;
}
