/*
 * uniface/optimize.h - make models smaller and faster: quantise, prune.
 *
 * uf_calibration is *confined*: one thread at a time. Since 0.2.
 */
#ifndef UNIFACE_OPTIMIZE_H
#define UNIFACE_OPTIMIZE_H

#include "uniface/face.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What the values inside a network look like on real pictures: INT8 needs their ranges. */
typedef struct uf_calibration uf_calibration;

/* `m`, an FP32 model that takes pictures, must outlive the calibration. `options` may be NULL.
 * Errors: UF_E_MISMATCH when the model takes no pictures. */
UF_API uf_status uf_calibration_create(uf_calibration **out, uf_model *m,
                                       const uf_engine_options *options, uf_error *err);
UF_API void uf_calibration_destroy(uf_calibration *c); /* NULL is accepted */
/* Width and height of the network's input. */
UF_API void uf_calibration_input_size(const uf_calibration *c, int32_t *width, int32_t *height);
/* Takes in one picture: with `face` its aligned crop, without the whole picture, laid into the
 * input as the model's metadata says. An embedder learns wrong ranges from whole pictures: give it
 * faces, or crops. */
UF_API uf_status uf_calibration_add_image(uf_calibration *c, const uf_image *image,
                                          const uf_face *face, uf_error *err);
/* Takes in n pictures of the input's size, RGB8, [n][height][width][3]. Detectors see each picture
 * a second time, as a mosaic of small ones of itself: their ranges must suit small faces too. */
UF_API uf_status uf_calibration_add_pixels(uf_calibration *c, const uint8_t *rgb, size_t n,
                                           uf_error *err);
/* Takes in n ready inputs, [n][3][height][width] of floats as the network wants them. */
UF_API uf_status uf_calibration_add_inputs(uf_calibration *c, const float *inputs, size_t n,
                                           uf_error *err);
UF_API size_t uf_calibration_count(const uf_calibration *c); /* pictures taken in */

typedef enum uf_precision {
    UF_PRECISION_FP32 = 0,
    UF_PRECISION_FP16 = 1, /* weights stored in half the space, sums as exact as in FP32 */
    UF_PRECISION_BF16 = 2, /* 8 bits of mantissa; on AMX activations too, which is fastest */
    UF_PRECISION_INT8 = 3  /* weights and activations in bytes */
} uf_precision;

/* How the range of an activation is chosen. X(ENUM, name, text) */
#define UF_RANGE_LIST(X)                                      \
    X(AUTO, "auto", "the method that suits the network best") \
    X(MSE, "mse", "least squared error of quantisation")      \
    X(MINMAX, "minmax", "everything that was seen")           \
    X(PERCENTILE, "percentile", "all but the outer 0.01 %")   \
    X(ENTROPY, "entropy", "least Kullback-Leibler divergence")
typedef enum uf_range_method {
#define UF_RANGE_ENUM(id, name, text) UF_RANGE_##id,
    UF_RANGE_LIST(UF_RANGE_ENUM)
#undef UF_RANGE_ENUM
        UF_RANGE_COUNT
} uf_range_method;

/* Told of each way that was tried: what it was, in words, and how far it agrees with FP32. */
typedef void uf_trial_fn(void *user, const char *what, double agreement);

typedef struct uf_quantize_options {
    uf_precision precision;   /* default INT8 */
    uf_range_method range;    /* INT8; default AUTO */
    float min_agreement;      /* INT8; layers stay in FP32, as few as it takes to agree so far with
                                 FP32 on the calibration pictures: mean cosine of the outputs, for
                                 detectors mean overlap (IoU) of the faces, or 1 - 1.5 times the
                                 mean distance of the landmarks in widths of the face if that is
                                 less. A detector gets 16 bits (INT16) before that. 0 (default):
                                 0.995; < 0: all are INT8 */
    uf_progress_fn *progress; /* INT8; may be NULL, and may cancel */
    void *progress_arg;
    uf_trial_fn *trial; /* INT8; may be NULL */
    void *trial_arg;
} uf_quantize_options;
#define UF_QUANTIZE_OPTIONS_INIT                                    \
    {                                                               \
        UF_PRECISION_INT8, UF_RANGE_AUTO, 0, NULL, NULL, NULL, NULL \
    }

#define UF_CALIBRATION_MIN 8 /* pictures below which INT8 is refused */

/* A new model of another precision, independent of `m`, with its metadata. INT8 tries the methods,
 * with and without equalised channels and corrected biases, on the calibration's pictures and keeps
 * what comes nearest to `m`; metadata "quantized.*" tells what that was, and "precision" is "int16"
 * for a detector that took 16 bits. Decision thresholds are left out: they were measured with `m`.
 * `c` is a calibration of `m`, needed for INT8 only. Errors: UF_E_UNCALIBRATED without enough
 * pictures, UF_E_UNSUPPORTED when nothing can be quantised, UF_E_STATE when `m` is quantised
 * already. */
UF_API uf_status uf_quantize(uf_model **out, const uf_model *m, const uf_calibration *c,
                             const uf_quantize_options *options, uf_error *err);

/* Told of a layer that both models have: signal to noise, 10 log10 of the energy of the first
 * model's output over that of the difference (INFINITY: no difference), each channel scaled as
 * suits it best, since equalisation scales channels. bits: 8 or 16 where the second computes it in
 * INT8 or INT16, 0 where in floats. */
typedef void uf_layer_fn(void *user, const char *layer, int32_t bits, double snr_db);

/* Compares the layers of `m`, an FP32 model, with those of `changed`, made from it by uf_quantize,
 * on the pictures of `c`, a calibration of `m`. Errors: UF_E_MISMATCH when no layer has the same
 * name, UF_E_STATE without pictures. */
UF_API uf_status uf_compare_layers(const uf_model *m, const uf_model *changed,
                                   const uf_calibration *c, uf_layer_fn *fn, void *user,
                                   uf_error *err);

typedef struct uf_prune_options {
    float keep;          /* channels: share of the multiplications that stays; default 0.75 */
    float sparsity;      /* > 0: no channel goes, but this share of each layer's weights becomes 0.
                            That makes nothing faster; compressed files shrink */
    float min_agreement; /* channels: > 0 takes out as many as this agreement with the source
                            on the calibration pictures allows, and `keep` is not read */
    uf_progress_fn *progress; /* may be NULL, and may cancel */
    void *progress_arg;
    uf_trial_fn *trial; /* told of each group of channels and each model that was tried */
    void *trial_arg;
} uf_prune_options;
#define UF_PRUNE_OPTIONS_INIT               \
    {                                       \
        0.75f, 0, 0, NULL, NULL, NULL, NULL \
    }

/* A new FP32 model with fewer channels, independent of `m`. Each group of tied layers is tried
 * alone; channels go where they cost least agreement for the work they save, and what their means
 * added goes into biases. Metadata "pruned.*" tells what was done; decision thresholds are left
 * out. `c` is a calibration of `m`; for `sparsity` it may be NULL. Errors: UF_E_UNCALIBRATED
 * without enough pictures, UF_E_UNSUPPORTED when nothing can be taken out, UF_E_STATE for a
 * quantised model. */
UF_API uf_status uf_prune(uf_model **out, const uf_model *m, const uf_calibration *c,
                          const uf_prune_options *options, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
