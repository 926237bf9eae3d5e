/* uniface/face.h: the entry points that tie models to detectors, embedders and thresholds. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/model_impl.h"
#include "base/mem.h"
#include "kernels/kernels.h"
#include "model/align.h"
#include "model/detector.h"
#include "model/embedder.h"
#include "uniface/evaluate.h"

uf_status uf_detector_create(uf_detector **out, uf_model *m, const uf_detector_options *options,
                             uf_error *err)
{
    static const uf_detector_options defaults = UF_DETECTOR_OPTIONS_INIT;
    ufi_program *program;
    if (!out || !m)
        return ufi_fail(err, UF_E_ARG, "uf_detector_create: out and model must be given");
    *out = NULL;
    options = options ? options : &defaults;
    uf_status st = ufi_model_program(m, options->engine.device, &program, err);
    return st ? st : ufi_detector_create(out, &m->file, program, options, err);
}

uf_status uf_embedder_create(uf_embedder **out, uf_model *m, const uf_embedder_options *options,
                             uf_error *err)
{
    static const uf_embedder_options defaults = UF_EMBEDDER_OPTIONS_INIT;
    ufi_program *program;
    if (!out || !m)
        return ufi_fail(err, UF_E_ARG, "uf_embedder_create: out and model must be given");
    *out = NULL;
    options = options ? options : &defaults;
    uf_status st = ufi_model_program(m, options->engine.device, &program, err);
    if (!st)
        st = ufi_embedder_create(out, &m->file, program, options, err);
    if (!st)
        ufi_model_release_pages(m); /* the weights are packed now */
    return st;
}

uf_status uf_face_align(const uf_image *image, const uf_point landmarks[UF_LANDMARKS],
                        const float *template_points, int32_t size, uint8_t *out, uf_error *err)
{
    uf_image rgb;
    uf_picture *owned;
    float m[6];
    if (!landmarks || !out || size < 1 || size > 4096)
        return ufi_fail(err, UF_E_ARG,
                        "uf_face_align: landmarks and out must be given, size must be 1 to 4096");
    uf_status st = ufi_image_to_rgb(&rgb, &owned, image, err);
    if (st)
        return st;
    if (ufi_image_overlaps(image, out, (size_t)size * (size_t)size * 3))
        st = ufi_fail(err, UF_E_ARG, "uf_face_align: out overlaps the picture");
    if (!st)
        st = ufi_align_matrix(landmarks, template_points ? template_points : ufi_align_arcface,
                              size, m, err);
    if (!st)
        st = ufi_image_warp(out, size, size, &rgb, m, err);
    uf_picture_destroy(owned);
    return st;
}

float uf_similarity(const float *a, const float *b, size_t dimension)
{
    return ufk_default_table()->dot_f32(a, b, dimension);
}

/* ---- thresholds, in the metadata as threshold.<far>: seven numbers ---- */

static const struct {
    float far;
    const char *key;
} rates[] = {{1e-1f, "threshold.1e-1"},
             {1e-2f, "threshold.1e-2"},
             {1e-3f, "threshold.1e-3"},
             {1e-4f, "threshold.1e-4"}};

uf_status uf_model_threshold(const uf_model *m, float far, uf_threshold *out, uf_error *err)
{
    float v[6];
    if (!m || !out)
        return ufi_fail(err, UF_E_ARG, "uf_model_threshold: model and out must be given");
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        if (!(fabsf(far - rates[i].far) <= rates[i].far * 1e-3f)) /* NaN is none of them */
            continue;
        if (ufi_meta_floats(&m->file.meta, rates[i].key, v, 6) != 6)
            return ufi_fail(err, UF_E_UNCALIBRATED,
                            "the model has no threshold for a false accept rate of %g: run "
                            "`uniface calibrate` on it with pairs of your own",
                            (double)far);
        *out = (uf_threshold){.far = far,
                              .threshold = v[0],
                              .far_low = v[1],
                              .far_high = v[2],
                              .tar = v[3],
                              .impostor_trials = (uint64_t)v[4],
                              .genuine_trials = (uint64_t)v[5]};
        return UF_OK;
    }
    return ufi_fail(err, UF_E_ARG,
                    "thresholds are kept for false accept rates of 0.1, 0.01, 0.001 and 0.0001, "
                    "not %g",
                    (double)far);
}

static uf_status store_threshold(uf_model *m, const char *key, const uf_threshold *t, uf_error *err)
{
    const float v[6] = {t->threshold,
                        t->far_low,
                        t->far_high,
                        t->tar,
                        (float)t->impostor_trials,
                        (float)t->genuine_trials};
    return ufi_meta_set_floats(&m->file.meta, key, v, 6, err);
}

static float *copy_scores(const float *s, size_t n)
{
    float *copy = ufi_malloc(n ? n : 1, sizeof *copy);
    if (copy && n)
        memcpy(copy, s, n * sizeof *copy);
    return copy;
}

static uf_status calibrate(uf_model *m, float *genuine, size_t genuines, float *impostor,
                           size_t impostors, uf_threshold *out, size_t cap, size_t *count,
                           uf_error *err)
{
    size_t written = 0;
    uf_status st = UF_OK;
    ufi_signature_spoil(&m->file.signature);
    for (size_t i = 0; !st && i < sizeof rates / sizeof *rates; i++) {
        uf_threshold t;
        if ((double)impostors * (double)rates[i].far < 1 - 1e-6) {
            st = ufi_meta_set(&m->file.meta, rates[i].key, NULL, err);
            continue;
        }
        st = uf_rates_at_far(genuine, genuines, impostor, impostors, (double)rates[i].far, &t, err);
        if (st)
            break;
        st = store_threshold(m, rates[i].key, &t, err);
        if (!st && out && written < cap)
            out[written] = t;
        written++;
    }
    if (count)
        *count = written;
    return st;
}

uf_status uf_model_calibrate(uf_model *m, const float *genuine, size_t genuine_count,
                             const float *impostor, size_t impostor_count, uf_threshold *out,
                             size_t cap, size_t *count, uf_error *err)
{
    if (!m || (!genuine && genuine_count) || (!impostor && impostor_count))
        return ufi_fail(err, UF_E_ARG, "uf_model_calibrate: an argument is NULL");
    if (impostor_count < 10)
        return ufi_fail(err, UF_E_ARG, "%zu impostor comparisons; at least 10 are needed",
                        impostor_count);
    float *g = copy_scores(genuine, genuine_count), *i = copy_scores(impostor, impostor_count);
    uf_status st = g && i ? calibrate(m, g, genuine_count, i, impostor_count, out, cap, count, err)
                          : ufi_fail(err, UF_E_NOMEM, "no memory for scores");
    ufi_free(g);
    ufi_free(i);
    return st;
}
