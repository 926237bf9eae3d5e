/*
 * Detectors of the family yunet learn from a teacher of the same family that looks at the same
 * scene: class, objectness, box and points of every cell are what the teacher says. No boxes drawn
 * by hand are needed, and no assignment of cells to faces.
 *
 * The teacher looks at the scene and at its mirror image, and the mean teaches: of what it says
 * about points, a good part is chance (YuNet's differ from those of the mirror image by 6 to 10 %
 * of the distance of the eyes), which a student could only learn by heart. A student that is to say
 * just what the teacher says (`exact`: an INT8 form of it) learns from the scene's answers alone.
 */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "train/lesson_impl.h"

/* Outputs in the family's order: three strides each of class, objectness, box, points. */
enum { STRIDES = 3, OUTPUTS = 12, TEACHER_BATCH = 8 };

typedef struct detector_lesson {
    ufi_lesson base;
    int32_t size;
    ufi_network teacher;
    size_t cells[STRIDES];
    float *said[OUTPUTS];     /* [batch][cells][parts] */
    float *mirrored[OUTPUTS]; /* and of the mirror images, as it was said */
    uint8_t *mirror;          /* the batch's pixels, mirrored */
    float *weights;           /* of the cells of one stride, [batch][cells] */
} detector_lesson;

static const size_t parts_of[4] = {1, 1, 4, 10};

static void close_detector(ufi_lesson *base)
{
    detector_lesson *l = (detector_lesson *)base;
    ufi_network_close(&l->teacher);
    for (int i = 0; i < OUTPUTS; i++) {
        ufi_free(l->said[i]);
        ufi_free(l->mirrored[i]);
    }
    ufi_free(l->mirror);
    ufi_free(l->weights);
    ufi_free(l);
}

static void show_scene(const ufi_lesson *base, ufi_loader_options *o)
{
    o->view_count = 1;
    o->scene = base->options.scene;
    o->scene.size = ((const detector_lesson *)base)->size;
}

static uf_status wrong_size(uint32_t k, const ufi_shape *is, size_t want, uf_error *err)
{
    char text[128];
    ufi_shape_text(is, text, sizeof text);
    return ufi_fail(err, UF_E_MISMATCH,
                    "output %u of the student or its teacher is %s where the family yunet has %zu "
                    "numbers",
                    k, text, want);
}

/* Runs `net` on the batch, TEACHER_BATCH pictures at a time; outputs go to `to`. */
static uf_status run_all(const detector_lesson *l, ufi_network *net, const uint8_t *pixels,
                         float *const to[OUTPUTS], uf_error *err)
{
    const size_t side = (size_t)l->size, n = l->base.options.batch;
    size_t now = 0;
    for (size_t done = 0; done < n; done += now) {
        now = net->file->graph.values[net->file->graph.inputs[0]].shape.dims[0] == 1 ? 1
              : n - done < TEACHER_BATCH                                             ? n - done
                                         : TEACHER_BATCH;
        uf_status st = ufi_network_prepare(net, now, side, side, err);
        for (size_t i = 0; !st && i < now; i++)
            ufi_network_feed(net, i, pixels + (done + i) * side * side * 3);
        if (!st)
            st = ufi_context_run(net->context, err);
        for (uint32_t k = 0; !st && k < OUTPUTS; k++) {
            const size_t each = l->cells[k % STRIDES] * parts_of[k / STRIDES];
            const ufi_tensor *t = ufi_context_output(net->context, k);
            if ((size_t)ufi_shape_count(&t->shape) != now * each)
                st = wrong_size(k, &t->shape, now * each, err);
            else
                memcpy(to[k] + done * each, t->data, now * each * sizeof(float));
        }
        if (st)
            return st;
    }
    return UF_OK;
}

static float score(const float *class_p, const float *object_p, size_t i)
{
    const float v = class_p[i] * object_p[i];
    return v > 0 ? sqrtf(v) : 0;
}

/* ---- what the teacher says ---- */

/* The mean of `a` and of `b`, which is about the cell's mirror image, by their scores: where one of
 * them sees no face, its box and points mean nothing. */
static void join_box(float *a, const float *b, float share)
{
    a[0] += share * (1 - b[0] - a[0]);
    for (int i = 1; i < 4; i++)
        a[i] += share * (b[i] - a[i]);
}

static void join_points(float *a, const float *b, float share)
{
    static const int other[UF_LANDMARKS] = {1, 0, 2, 4, 3}; /* what is left is right in a mirror */
    for (int i = 0; i < UF_LANDMARKS; i++) {
        a[2 * i] += share * (1 - b[2 * other[i]] - a[2 * i]);
        a[2 * i + 1] += share * (b[2 * other[i] + 1] - a[2 * i + 1]);
    }
}

void ufi_join_mirrored_cell(float *const a[4], size_t i, float *const b[4], size_t m)
{
    const float own = score(a[0], a[1], i), other = score(b[0], b[1], m);
    const float share = own + other > 0 ? other / (own + other) : 0.5f;
    a[0][i] += 0.5f * (b[0][m] - a[0][i]);
    a[1][i] += 0.5f * (b[1][m] - a[1][i]);
    join_box(a[2] + 4 * i, b[2] + 4 * m, share);
    join_points(a[3] + 10 * i, b[3] + 10 * m, share);
}

static uf_status ask_teacher(detector_lesson *l, const uint8_t *pixels, uf_error *err)
{
    const size_t side = (size_t)l->size, n = l->base.options.batch;
    uf_status st = run_all(l, &l->teacher, pixels, l->said, err);
    if (st || l->base.options.exact)
        return st;
    memcpy(l->mirror, pixels, n * side * side * 3);
    for (size_t i = 0; i < n; i++)
        ufi_mirror_rows(l->mirror + i * side * side * 3, side);
    st = run_all(l, &l->teacher, l->mirror, l->mirrored, err);
    for (int s = 0; !st && s < STRIDES; s++) {
        const size_t wide = side / (8u << s);
        float *own[4], *mirrored[4];
        for (int k = 0; k < 4; k++) {
            own[k] = l->said[k * STRIDES + s];
            mirrored[k] = l->mirrored[k * STRIDES + s];
        }
        for (size_t i = 0; i < n * l->cells[s]; i++)
            ufi_join_mirrored_cell(own, i, mirrored, i - i % wide + wide - 1 - i % wide);
    }
    return st;
}

/* ---- the lesson ---- */

/* Cells weigh what the teacher's score says, from 0.1 on. */
static double weigh_cells(detector_lesson *l, int stride)
{
    const size_t n = l->base.options.batch * l->cells[stride];
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const float s = score(l->said[stride], l->said[STRIDES + stride], i);
        l->weights[i] = s > 0.1f ? s : 0;
        sum += (double)l->weights[i];
    }
    return sum;
}

/* Loss of output `k`. What a teacher says of the class of cells without an object means nothing: it
 * was not taught there, and only the product counts. */
static double learn_output(detector_lesson *l, const ufi_net *net, uint32_t k, double weight,
                           float *grad)
{
    const uint32_t stride = k % STRIDES, kind = k / STRIDES;
    const size_t cells = l->base.options.batch * l->cells[stride];
    const float *student = ufi_net_output(net, k, NULL), *teacher = l->said[k];
    memset(grad, 0, cells * parts_of[kind] * sizeof *grad);
    if (kind < 2)
        return ufi_loss_probability(student, teacher, kind ? NULL : l->said[STRIDES + stride],
                                    cells, 4, weight, grad);
    weigh_cells(l, (int)stride);
    return ufi_loss_cells(student, teacher, l->weights, cells, parts_of[kind], weight, grad);
}

static uf_status check_outputs(const detector_lesson *l, const ufi_net *net, uf_error *err)
{
    for (uint32_t k = 0; k < OUTPUTS; k++) {
        ufi_shape shape;
        const size_t each = l->cells[k % STRIDES] * parts_of[k / STRIDES];
        ufi_net_output(net, k, &shape);
        if (ufi_shape_count(&shape) != (int64_t)(l->base.options.batch * each))
            return wrong_size(k, &shape, l->base.options.batch * each, err);
    }
    return UF_OK;
}

static uf_status learn_detector(ufi_lesson *base, ufi_net *net, const ufi_batch *batch,
                                double *loss, uf_error *err)
{
    static const double shares[4] = {1, 1, 2, 3};
    detector_lesson *l = (detector_lesson *)base;
    double faces = 1; /* a batch without any must not divide by nothing */
    uf_status st = ask_teacher(l, batch->pixels[0], err);
    *loss = 0;
    if (!st)
        st = check_outputs(l, net, err);
    for (int s = 0; !st && s < STRIDES; s++)
        faces += weigh_cells(l, s);
    for (uint32_t k = 0; !st && k < OUTPUTS; k++) {
        const double weight = shares[k / STRIDES] / faces;
        *loss += weight * learn_output(l, net, k, weight, ufi_net_output_grad(net, k));
    }
    return st;
}

/* Overlap of the maps of scores: what both see over what one of them sees. */
static uf_status judge_detector(ufi_lesson *base, ufi_network *student, const ufi_batch *batch,
                                double *sum, size_t *count, uf_error *err)
{
    detector_lesson *l = (detector_lesson *)base;
    const size_t n = base->options.batch;
    float *own[OUTPUTS] = {NULL};
    double both = 0, either = 0;
    uf_status st = ask_teacher(l, batch->pixels[0], err);
    for (int k = 0; !st && k < OUTPUTS; k++) {
        own[k] = ufi_calloc(n * l->cells[k % STRIDES] * parts_of[k / STRIDES], sizeof(float));
        if (!own[k])
            st = ufi_fail(err, UF_E_NOMEM, "no memory to judge a student");
    }
    if (!st)
        st = run_all(l, student, batch->pixels[0], own, err);
    for (int s = 0; !st && s < STRIDES; s++)
        for (size_t i = 0; i < n * l->cells[s]; i++) {
            const float a = score(own[s], own[STRIDES + s], i);
            const float b = score(l->said[s], l->said[STRIDES + s], i);
            both += (double)fminf(a, b);
            either += (double)fmaxf(a, b);
        }
    for (int k = 0; k < OUTPUTS; k++)
        ufi_free(own[k]);
    if (st || either <= 0)
        return st;
    *sum += (double)n * both / either;
    *count += n;
    return UF_OK;
}

/* ---- making one ---- */

static bool is_yunet(const ufi_model_file *m)
{
    const char *family = ufi_meta_get(&m->meta, "family");
    return family && !strcmp(family, "yunet") && m->graph.output_count == OUTPUTS;
}

static uf_status make_buffers(detector_lesson *l, uf_error *err)
{
    const size_t n = l->base.options.batch;
    for (int s = 0; s < STRIDES; s++) {
        const size_t side = (size_t)l->size / (8u << s);
        l->cells[s] = side * side;
    }
    for (int k = 0; k < OUTPUTS; k++) {
        const size_t count = n * l->cells[k % STRIDES] * parts_of[k / STRIDES];
        l->said[k] = ufi_calloc(count, sizeof(float));
        l->mirrored[k] = ufi_calloc(count, sizeof(float));
        if (!l->said[k] || !l->mirrored[k])
            return ufi_fail(err, UF_E_NOMEM, "no memory for a lesson");
    }
    l->mirror = ufi_calloc(n * (size_t)l->size * (size_t)l->size, 3);
    l->weights = ufi_calloc(n * l->cells[0], sizeof *l->weights);
    if (!l->mirror || !l->weights)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a lesson");
    return UF_OK;
}

static const ufi_lesson_ops detector_ops = {"detector", close_detector, show_scene,
                                            NULL,       learn_detector, judge_detector};

uf_status ufi_lesson_open_detector(ufi_lesson **out, const ufi_lesson_options *options,
                                   uf_error *err)
{
    const ufi_graph *g = &options->student->graph;
    const ufi_shape *x = &g->values[g->inputs[0]].shape;
    if (options->teacher_count != 1)
        return ufi_fail(err, UF_E_ARG, "a detector learns from one teacher, there are %zu",
                        options->teacher_count);
    if (options->cache)
        return ufi_fail(err, UF_E_ARG,
                        "teacher_cache keeps the vectors of embedders: a detector's scenes are new "
                        "each time");
    if (!is_yunet(options->student) || !is_yunet(options->teachers[0].file) || x->rank != 4)
        return ufi_fail(err, UF_E_MISMATCH,
                        "a detector and its teacher must both be of the family yunet");
    if (x->dims[1] != 3 || x->dims[2] != x->dims[3] || x->dims[2] < 32 || x->dims[2] % 32 ||
        x->dims[2] > 2048)
        return ufi_fail(
            err, UF_E_MISMATCH,
            "the student must look at colour pictures [N,3,S,S] with S a multiple of 32, "
            "32..2048");
    detector_lesson *l = ufi_calloc(1, sizeof *l);
    if (!l)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a lesson");
    l->base.ops = &detector_ops;
    l->base.options = *options;
    l->size = (int32_t)x->dims[2];
    uf_status st = make_buffers(l, err);
    if (!st)
        st = ufi_network_open(&l->teacher, options->teachers[0].file, options->teachers[0].program,
                              "detector", options->threads, err);
    if (st)
        close_detector(&l->base);
    else
        *out = &l->base;
    return st;
}
