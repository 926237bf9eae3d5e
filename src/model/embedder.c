/*
 * Crops in, unit vectors out. A network whose input batch is fixed, or that mixes the pictures of a
 * batch, is run picture by picture: a template may not depend on the company. With `flip` the
 * mirrored crop's vector is added before normalising.
 */
#include "model/embedder.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/align.h"

struct uf_embedder {
    ufi_network net;
    size_t dimension, batch;
    int32_t size;
    bool flip, one_by_one;
    float template_points[10];
    uint8_t *crop, *mirrored;
};

/* The similarity and the border that a face without points gets: its box, enlarged to a square. */
static void box_matrix(const uf_face *f, int32_t size, float m[6])
{
    float side = fmaxf(f->width, f->height) * 1.1f, s = side / (float)size;
    m[0] = s, m[1] = 0, m[2] = f->x + f->width / 2 - side / 2 - 0.5f + s / 2;
    m[3] = 0, m[4] = s, m[5] = f->y + f->height / 2 - side / 2 - 0.5f + s / 2;
}

static bool same_points(const uf_face *f)
{
    for (int i = 1; i < UF_LANDMARKS; i++)
        if (f->landmarks[i].x != f->landmarks[0].x || f->landmarks[i].y != f->landmarks[0].y)
            return false;
    return true;
}

static uf_status check_face(const uf_face *f, uf_error *err)
{
    bool ok = isfinite(f->x) && isfinite(f->y) && f->width > 0 && f->height > 0 &&
              isfinite(f->width) && isfinite(f->height);
    if (!ok && !f->has_landmarks)
        return ufi_fail(err, UF_E_ARG, "the face has neither landmarks nor a box with an area");
    if (f->has_landmarks && same_points(f))
        return ufi_fail(err, UF_E_ARG, "the landmarks coincide: the face cannot be aligned");
    return UF_OK;
}

static void mirror(uint8_t *out, const uint8_t *in, size_t size)
{
    for (size_t y = 0; y < size; y++)
        for (size_t x = 0; x < size; x++)
            memcpy(out + (y * size + x) * 3, in + (y * size + size - 1 - x) * 3, 3);
}

/* Runs `n` crops that are fed already; vectors are added to `out`. */
static uf_status run_fed(uf_embedder *e, size_t n, float *out, uf_error *err)
{
    uf_status st = ufi_network_run(&e->net, err);
    if (st)
        return st;
    const ufi_tensor *t = ufi_context_output(e->net.context, 0);
    if ((size_t)ufi_shape_count(&t->shape) != n * e->dimension)
        return ufi_fail(err, UF_E_MISMATCH, "the embedder's output has the wrong size");
    const float *v = t->data;
    for (size_t i = 0; i < n * e->dimension; i++)
        out[i] += v[i];
    ufi_network_lap(&e->net, &e->net.times.output_us);
    return UF_OK;
}

static uf_status prepare(uf_embedder *e, size_t n, uf_error *err)
{
    size_t side = (size_t)e->size;
    return ufi_network_prepare(&e->net, n, side, side, err);
}

static uf_status run_crops(uf_embedder *e, const uint8_t *crops, size_t n, float *out,
                           uf_error *err)
{
    size_t bytes = (size_t)e->size * (size_t)e->size * 3;
    uf_status st = prepare(e, n, err);
    ufi_network_lap(&e->net, &e->net.times.plan_us);
    for (int pass = 0; !st && pass <= (e->flip ? 1 : 0); pass++) {
        for (size_t i = 0; i < n; i++) {
            if (pass)
                mirror(e->mirrored, crops + i * bytes, (size_t)e->size);
            ufi_network_feed(&e->net, i, pass ? e->mirrored : crops + i * bytes);
        }
        ufi_network_lap(&e->net, &e->net.times.input_us);
        st = run_fed(e, n, out, err);
    }
    return st;
}

static uf_status to_unit(float *v, size_t n, uf_error *err)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)v[i] * (double)v[i];
    if (!isfinite(sum) || sum < 1e-20)
        return ufi_fail(err, UF_E_QUALITY, "the network's answer has no direction (%s)",
                        isfinite(sum) ? "all zeros" : "not finite");
    float scale = (float)(1 / sqrt(sum));
    for (size_t i = 0; i < n; i++)
        v[i] *= scale;
    return UF_OK;
}

uf_status uf_embedder_run_crops(uf_embedder *e, const uint8_t *crops, size_t n, float *out,
                                uf_error *err)
{
    if (!e || (!crops && n) || (!out && n))
        return ufi_fail(err, UF_E_ARG, "uf_embedder_run_crops: an argument is NULL");
    size_t bytes = (size_t)e->size * (size_t)e->size * 3;
    uf_status st = UF_OK;
    ufi_network_begin(&e->net);
    for (size_t done = 0; !st && done < n;) {
        size_t now = n - done < e->batch ? n - done : e->batch;
        if (e->one_by_one)
            now = 1;
        float *to = out + done * e->dimension;
        memset(to, 0, now * e->dimension * sizeof *to);
        st = run_crops(e, crops + done * bytes, now, to, err);
        if (st == UF_E_UNSUPPORTED && now > 1) {
            e->one_by_one = true; /* its batch is fixed */
            st = UF_OK;
            continue;
        }
        for (size_t i = 0; !st && i < now; i++)
            st = to_unit(to + i * e->dimension, e->dimension, err);
        ufi_network_lap(&e->net, &e->net.times.output_us);
        done += now;
    }
    return st;
}

uf_status uf_embedder_crop(const uf_embedder *e, const uf_image *image, const uf_face *face,
                           uint8_t *crop, uf_error *err)
{
    uf_image rgb;
    uf_picture *owned;
    float m[6];
    if (!e || !face || !crop)
        return ufi_fail(err, UF_E_ARG, "uf_embedder_crop: an argument is NULL");
    uf_status st = check_face(face, err);
    if (!st)
        st = ufi_image_to_rgb(&rgb, &owned, image, err);
    if (st)
        return st;
    if (face->has_landmarks)
        st = ufi_align_matrix(face->landmarks, e->template_points, e->size, m, err);
    else
        box_matrix(face, e->size, m);
    if (!st)
        st = ufi_image_warp(crop, e->size, e->size, &rgb, m, err);
    uf_picture_destroy(owned);
    return st;
}

uf_status uf_embedder_run(uf_embedder *e, const uf_image *image, const uf_face *face, float *out,
                          uf_error *err)
{
    if (!e || !face || !out)
        return ufi_fail(err, UF_E_ARG, "uf_embedder_run: an argument is NULL");
    uf_status st = uf_embedder_crop(e, image, face, e->crop, err);
    return st ? st : uf_embedder_run_crops(e, e->crop, 1, out, err);
}

const ufi_network *ufi_embedder_network(const uf_embedder *e)
{
    return &e->net;
}

size_t uf_embedder_dimension(const uf_embedder *e)
{
    return e->dimension;
}

int32_t uf_embedder_crop_size(const uf_embedder *e)
{
    return e->size;
}

const float *uf_embedder_template(const uf_embedder *e)
{
    return e->template_points;
}

size_t uf_embedder_batch(const uf_embedder *e)
{
    return e->one_by_one ? 1 : e->batch;
}

float uf_embedder_detail(const uf_embedder *e, const uf_face *face)
{
    float m[6];
    if (face->has_landmarks &&
        !ufi_align_matrix(face->landmarks, e->template_points, e->size, m, NULL))
        return hypotf(m[0], m[3]);
    return fmaxf(face->width, face->height) / (float)e->size;
}

/* ---- making one ---- */

static uf_status read_shape(uf_embedder *e, uf_error *err)
{
    const ufi_graph *g = &e->net.file->graph;
    if (e->net.fixed_width < 16 || e->net.fixed_width != e->net.fixed_height ||
        e->net.fixed_width > 1024)
        return ufi_fail(err, UF_E_UNSUPPORTED,
                        "an embedder's input must be a square of 16 to 1024 pixels, it is %lld x "
                        "%lld",
                        (long long)e->net.fixed_width, (long long)e->net.fixed_height);
    e->size = (int32_t)e->net.fixed_width;
    uf_status st = prepare(e, 1, err);
    if (st)
        return st;
    const ufi_tensor *t = g->output_count ? ufi_context_output(e->net.context, 0) : NULL;
    int64_t count = t ? ufi_shape_count(&t->shape) : 0;
    if (!t || t->dtype != UF_F32 || count < 1 || count > 65536)
        return ufi_fail(err, UF_E_MISMATCH, "the embedder's output is no vector of 1 to 65536 f32");
    e->dimension = (size_t)count;
    return UF_OK;
}

uf_status ufi_embedder_create(uf_embedder **out, const ufi_model_file *file, ufi_program *program,
                              const uf_embedder_options *options, uf_error *err)
{
    uf_embedder *e = ufi_calloc(1, sizeof *e);
    *out = NULL;
    if (!e)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an embedder");
    uf_status st =
        ufi_network_open(&e->net, file, program, "embedder", options->engine.threads, err);
    if (!st && (options->batch < 1 || options->batch > 1024))
        st = ufi_fail(err, UF_E_ARG, "embedder options: batch must be 1 to 1024");
    if (!st)
        st = ufi_network_numbers(&e->net, "align.template", e->template_points, 10, err);
    if (!st)
        st = read_shape(e, err);
    if (!st) {
        size_t bytes = (size_t)e->size * (size_t)e->size * 3;
        e->batch = ufi_network_best_batch(&e->net, (size_t)options->batch);
        e->flip = options->flip != 0;
        e->one_by_one = ufi_network_mixes_batch(&e->net);
        e->crop = ufi_malloc(bytes, 1);
        e->mirrored = ufi_malloc(bytes, 1);
        if (!e->crop || !e->mirrored)
            st = ufi_fail(err, UF_E_NOMEM, "no memory for crops");
    }
    if (st)
        uf_embedder_destroy(e);
    else
        *out = e;
    return st;
}

void uf_embedder_destroy(uf_embedder *e)
{
    if (!e)
        return;
    ufi_network_close(&e->net);
    ufi_free(e->crop);
    ufi_free(e->mirrored);
    ufi_free(e);
}
