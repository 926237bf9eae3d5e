/* uniface/optimize.h: calibration and quantisation. */
#include "uniface/optimize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/calibration.h"
#include "base/mem.h"
#include "model/align.h"
#include "optimize/half.h"
#include "optimize/search.h"
#include "optimize/snr.h"

/* Input size: the network's own, or what its metadata recommends. */
static uf_status read_size(uf_calibration *c, uf_error *err)
{
    float size = 320;
    if (ufi_meta_get(&c->model->file.meta, "detector.size") &&
        ufi_meta_floats(&c->model->file.meta, "detector.size", &size, 1) != 1)
        size = 320;
    c->width = (int32_t)(c->net.fixed_width > 0 ? c->net.fixed_width : (int64_t)size);
    c->height = (int32_t)(c->net.fixed_height > 0 ? c->net.fixed_height : (int64_t)size);
    if (c->width < 1 || c->height < 1 || c->width > 8192 || c->height > 8192)
        return ufi_fail(err, UF_E_UNSUPPORTED, "the network's input of %d x %d is out of range",
                        c->width, c->height);
    c->canvas = ufi_malloc((size_t)c->width * (size_t)c->height, 3);
    if (!c->canvas)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a calibration picture");
    if (ufi_meta_floats(&c->model->file.meta, "align.template", c->template_points, 10) != 10)
        memcpy(c->template_points, ufi_align_arcface, sizeof c->template_points);
    c->fit = ufi_detector_fit(&c->model->file.meta);
    const char *task = ufi_meta_get(&c->model->file.meta, "task");
    c->is_detector = task && !strcmp(task, "detector");
    return UF_OK;
}

uf_status uf_calibration_create(uf_calibration **out, uf_model *m, const uf_engine_options *options,
                                uf_error *err)
{
    static const uf_engine_options defaults = UF_ENGINE_OPTIONS_INIT;
    if (!out || !m)
        return ufi_fail(err, UF_E_ARG, "uf_calibration_create: out and model must be given");
    *out = NULL;
    options = options ? options : &defaults;
    uf_calibration *c = ufi_calloc(1, sizeof *c);
    if (!c)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a calibration");
    c->model = m;
    c->threads = options->threads;
    const char *task = ufi_meta_get(&m->file.meta, "task");
    uf_status st = ufi_observer_create(&c->observer, &m->file.graph, err);
    if (!st)
        st = ufi_network_open(&c->net, &m->file, ufi_observer_program(c->observer),
                              task ? task : "network that takes pictures", options->threads, err);
    if (!st)
        st = read_size(c, err);
    if (!st)
        st = ufi_network_prepare(&c->net, 1, (size_t)c->width, (size_t)c->height, err);
    if (st)
        uf_calibration_destroy(c);
    else
        *out = c;
    return st;
}

void uf_calibration_destroy(uf_calibration *c)
{
    if (!c)
        return;
    ufi_network_close(&c->net);
    ufi_observer_destroy(c->observer);
    ufi_samples_free(&c->samples);
    ufi_free(c->canvas);
    ufi_free(c);
}

void uf_calibration_input_size(const uf_calibration *c, int32_t *width, int32_t *height)
{
    *width = c->width;
    *height = c->height;
}

size_t uf_calibration_count(const uf_calibration *c)
{
    return c->count;
}

/* Runs what was fed and takes it in. */
static uf_status observe(uf_calibration *c, uf_error *err)
{
    uf_status st = ufi_context_run(c->net.context, err);
    if (st)
        return st;
    ufi_observer_take(c->observer, c->net.context);
    return ufi_samples_add(&c->samples, ufi_context_input(c->net.context, 0), err);
}

/* People calibrate detectors with portraits, in which the branches for small faces see none, and
 * the bytes' ranges are then too narrow for the faces of a group. So each picture is looked at a
 * second time as a mosaic of 2 x 2, 3 x 3 or 4 x 4 of itself. What is judged is the picture. */
static uf_status observe_mosaic(uf_calibration *c, const uint8_t *pixels, uf_error *err)
{
    const int32_t n = 2 + (int32_t)(c->count % 3), width = c->width / n, height = c->height / n;
    const size_t row = (size_t)width * 3, whole = (size_t)c->width * 3;
    const uf_image picture = {UF_PIXEL_RGB8, c->width, c->height, {pixels}, {whole}, UF_ROTATE_0};
    ufi_letterbox box;
    uint8_t *tile = ufi_malloc(row, (size_t)height);
    uint8_t *mosaic = ufi_calloc((size_t)c->height, whole);
    uf_status st =
        tile && mosaic
            ? ufi_image_letterbox(tile, width, height, &picture, UFI_FIT_STRETCH, &box, err)
            : ufi_fail(err, UF_E_NOMEM, "no memory for a calibration picture");
    for (int32_t y = 0; !st && y < height * n; y++)
        for (int32_t x = 0; x < n; x++)
            memcpy(mosaic + (size_t)y * whole + (size_t)x * row, tile + (size_t)(y % height) * row,
                   row);
    if (!st) {
        ufi_network_feed(&c->net, 0, mosaic);
        c->samples.views = 2;
        st = observe(c, err);
    }
    ufi_free(tile);
    ufi_free(mosaic);
    return st;
}

uf_status uf_calibration_add_pixels(uf_calibration *c, const uint8_t *rgb, size_t n, uf_error *err)
{
    if (!c || (!rgb && n))
        return ufi_fail(err, UF_E_ARG, "uf_calibration_add_pixels: an argument is NULL");
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < n; i++) {
        const uint8_t *pixels = rgb + i * (size_t)c->width * (size_t)c->height * 3;
        ufi_network_feed(&c->net, 0, pixels);
        st = observe(c, err);
        if (!st && c->is_detector && c->width >= 4 && c->height >= 4)
            st = observe_mosaic(c, pixels, err);
        c->count += !st;
    }
    return st;
}

/* The context's input is channels last; what callers have are planes. */
uf_status uf_calibration_add_inputs(uf_calibration *c, const float *inputs, size_t n, uf_error *err)
{
    if (!c || (!inputs && n))
        return ufi_fail(err, UF_E_ARG, "uf_calibration_add_inputs: an argument is NULL");
    const size_t pixels = (size_t)c->width * (size_t)c->height;
    uf_status st = UF_OK;
    for (size_t i = 0; !st && i < n; i++) {
        float *to = ufi_context_input(c->net.context, 0)->data;
        for (size_t p = 0; p < pixels; p++)
            for (size_t ch = 0; ch < 3; ch++)
                to[p * 3 + ch] = inputs[(i * 3 + ch) * pixels + p];
        st = observe(c, err);
        c->count += !st;
    }
    return st;
}

uf_status uf_calibration_add_image(uf_calibration *c, const uf_image *image, const uf_face *face,
                                   uf_error *err)
{
    uf_image rgb;
    uf_picture *owned;
    ufi_letterbox box;
    float m[6];
    if (!c)
        return ufi_fail(err, UF_E_ARG, "uf_calibration_add_image: calibration must be given");
    if (face && (!face->has_landmarks || c->width != c->height))
        return ufi_fail(err, UF_E_ARG, "a face is aligned by its landmarks into a square input");
    uf_status st = ufi_image_to_rgb(&rgb, &owned, image, err);
    if (st)
        return st;
    if (face) {
        st = ufi_align_matrix(face->landmarks, c->template_points, c->width, m, err);
        if (!st)
            st = ufi_image_warp(c->canvas, c->width, c->height, &rgb, m, err);
    } else {
        st = ufi_image_letterbox(c->canvas, c->width, c->height, &rgb,
                                 c->is_detector ? c->fit : UFI_FIT_STRETCH, &box, err);
    }
    uf_picture_destroy(owned);
    return st ? st : uf_calibration_add_pixels(c, c->canvas, 1, err);
}

/* ---- quantisation ---- */

static const char *const precision_names[] = {"fp32", "fp16", "bf16", "int8"};

static const char *range_name(ufi_range_method method)
{
    static const char *const names[] = {[UFI_RANGE_MINMAX] = "minmax",
                                        [UFI_RANGE_PERCENTILE] = "percentile",
                                        [UFI_RANGE_MSE] = "mse",
                                        [UFI_RANGE_ENTROPY] = "entropy"};
    return names[method];
}

static ufi_range_method method_of(uf_range_method r)
{
    return r == UF_RANGE_MINMAX       ? UFI_RANGE_MINMAX
           : r == UF_RANGE_PERCENTILE ? UFI_RANGE_PERCENTILE
           : r == UF_RANGE_ENTROPY    ? UFI_RANGE_ENTROPY
                                      : UFI_RANGE_MSE;
}

/* The trial in words. */
static void describe_trial(char *text, size_t size, const ufi_trial *t)
{
    int at = t->words ? snprintf(text, size, "16 bits")
                      : snprintf(text, size, "ranges by %s%s%s%s", range_name(t->method),
                                 t->equalized ? ", channels equalised" : "",
                                 t->bias_corrected ? ", bias corrected" : "",
                                 t->rounded ? ", weights rounded by data" : "");
    if (t->kept)
        snprintf(text + at, size - (size_t)at, ", %u of %u layers in FP32", t->kept, t->layers);
}

static uf_status describe(uf_model *to, const uf_model *from, const uf_calibration *c,
                          uf_precision precision, const ufi_trial *t, uf_error *err)
{
    char text[240];
    ufi_meta *meta = &to->file.meta;
    uf_status st = ufi_copy_meta(meta, &from->file.meta, err);
    if (!st)
        st = ufi_meta_set(meta, "precision", t->words ? "int16" : precision_names[precision], err);
    if (!st)
        st = ufi_meta_set(meta, "quantized.from", from->id, err);
    if (st || precision != UF_PRECISION_INT8)
        return st;
    int at = snprintf(text, sizeof text, "%zu pictures, ", c->count);
    describe_trial(text + at, sizeof text - (size_t)at, t);
    st = ufi_meta_set(meta, "quantized.calibration", text, err);
    const float agreement = (float)t->agreement;
    return st ? st : ufi_meta_set_floats(meta, "quantized.agreement", &agreement, 1, err);
}

/* ---- INT8 ---- */

/* Hands trials on to the caller's progress function. */
static bool report_trial(void *arg, const ufi_trial *trial, size_t done, size_t total)
{
    const uf_quantize_options *o = arg;
    char text[160];
    describe_trial(text, sizeof text, trial);
    if (o->trial)
        o->trial(o->trial_arg, text, trial->agreement);
    return !o->progress || o->progress(o->progress_arg, done, total) == 0;
}

static uf_status to_int8(uf_model *made, const uf_model *m, const uf_calibration *c,
                         const uf_quantize_options *options, ufi_trial *best, uf_error *err)
{
    const char *task = ufi_meta_get(&m->file.meta, "task");
    const bool is_detector = task && !strcmp(task, "detector");
    const double usual = 0.995, given = (double)options->min_agreement;
    ufi_face_judge judge = {0};
    ufi_search_options o = {.min_agreement = given > 0   ? given
                                             : given < 0 ? 0
                                                         : usual,
                            .float_heads = is_detector,
                            .words = is_detector,
                            .all_methods = options->range == UF_RANGE_AUTO,
                            .method = method_of(options->range),
                            .threads = c->threads,
                            .progress = report_trial,
                            .arg = (void *)(uintptr_t)options};
    uf_status st = UF_OK;
    if (is_detector) {
        st = ufi_face_judge_open(&judge, m, c, err);
        o.agreement = ufi_face_agreement;
        o.agreement_arg = &judge;
    }
    if (!st)
        st = ufi_quantize_search(&made->file.graph, &m->file.graph, c->observer, &c->samples, &o,
                                 best, err);
    ufi_face_judge_close(&judge);
    return st;
}

static uf_status check_options(const uf_model *m, const uf_calibration *c,
                               const uf_quantize_options *o, uf_error *err)
{
    const char *is = ufi_meta_get(&m->file.meta, "precision");
    if (o->precision < UF_PRECISION_FP16 || o->precision > UF_PRECISION_INT8 || o->range < 0 ||
        o->range >= UF_RANGE_COUNT)
        return ufi_fail(err, UF_E_ARG, "uf_quantize: unknown precision or range method");
    if (is && strcmp(is, "fp32") != 0)
        return ufi_fail(err, UF_E_STATE,
                        "the model is %s already: quantise the FP32 model it was made from", is);
    if (o->precision != UF_PRECISION_INT8)
        return UF_OK;
    if (c && c->model != m)
        return ufi_fail(err, UF_E_ARG, "uf_quantize: the calibration is of another model");
    if (!c || c->count < UF_CALIBRATION_MIN)
        return ufi_fail(err, UF_E_UNCALIBRATED,
                        "INT8 needs at least %d calibration pictures like those the model will "
                        "see, there are %zu: ranges are measured, not guessed",
                        UF_CALIBRATION_MIN, c ? c->count : 0);
    return UF_OK;
}

uf_status uf_quantize(uf_model **out, const uf_model *m, const uf_calibration *c,
                      const uf_quantize_options *options, uf_error *err)
{
    static const uf_quantize_options defaults = UF_QUANTIZE_OPTIONS_INIT;
    uf_model *made = NULL;
    if (!out || !m)
        return ufi_fail(err, UF_E_ARG, "uf_quantize: out and model must be given");
    *out = NULL;
    options = options ? options : &defaults;
    uf_status st = check_options(m, c, options, err);
    if (!st)
        st = ufi_model_new(&made, err);
    if (st)
        return st;
    ufi_trial best = {0};
    if (options->precision == UF_PRECISION_INT8)
        st = to_int8(made, m, c, options, &best, err);
    else
        st = ufi_store_half(&made->file.graph, &m->file.graph,
                            options->precision == UF_PRECISION_FP16 ? UF_F16 : UF_BF16, err);
    if (!st)
        st = describe(made, m, c, options->precision, &best, err);
    if (!st)
        st = ufi_model_file_seal(&made->file, err);
    return ufi_model_finish(out, made, st);
}

/* ---- layers ---- */

typedef struct layer_listener {
    uf_layer_fn *fn;
    void *user;
} layer_listener;

static void pass_on(void *arg, const char *layer, int bits, double snr_db)
{
    const layer_listener *l = arg;
    l->fn(l->user, layer, bits, snr_db);
}

uf_status uf_compare_layers(const uf_model *m, const uf_model *changed, const uf_calibration *c,
                            uf_layer_fn *fn, void *user, uf_error *err)
{
    layer_listener l = {fn, user};
    if (!m || !changed || !c || !fn || c->model != m)
        return ufi_fail(err, UF_E_ARG,
                        "uf_compare_layers: models, a calibration of the first and a function "
                        "must be given");
    return ufi_layer_snr(&m->file.graph, &changed->file.graph, &c->samples, c->threads, pass_on, &l,
                         err);
}
