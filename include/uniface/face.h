/*
 * uniface/face.h - faces: find, judge, align, turn into templates, compare.
 *
 * uf_detector and uf_embedder are *confined*: one thread at a time; make one of each per thread,
 * the models behind them are shared. Coordinates are pixels of the upright picture, continuous: the
 * first pixel covers 0..1. Since 0.1.
 */
#ifndef UNIFACE_FACE_H
#define UNIFACE_FACE_H

#include "uniface/image.h"
#include "uniface/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Landmarks, as the viewer sees them: left eye, right eye, nose, left and right corner of the
 * mouth. */
#define UF_LANDMARKS 5

typedef struct uf_point {
    float x, y;
} uf_point;

/* Components of quality, each 0 (useless) to 1 (perfect). X(name, text) */
#define UF_QUALITY_LIST(X)                \
    X(size, "face size")                  \
    X(sharpness, "sharpness")             \
    X(exposure, "exposure")               \
    X(pose, "frontal pose")               \
    X(border, "distance from the border") \
    X(score, "detection score")

typedef struct uf_quality {
#define UF_QUALITY_FIELD(name, text) float name;
    UF_QUALITY_LIST(UF_QUALITY_FIELD)
#undef UF_QUALITY_FIELD
    float total;            /* smallest component */
    float yaw, pitch, roll; /* degrees, estimated from the landmarks; yaw > 0: turned to the
                               viewer's right, pitch > 0: up, roll > 0: clockwise */
    char reason[96];        /* why it is too poor to enrol, in words; "" when it is not */
} uf_quality;

typedef struct uf_face {
    float x, y, width, height; /* box */
    float score;               /* 0..1 */
    int32_t has_landmarks;     /* the detector gives points */
    uf_point landmarks[UF_LANDMARKS];
} uf_face;

typedef struct uf_detector uf_detector;
typedef struct uf_embedder uf_embedder;

typedef struct uf_detector_options {
    uf_engine_options engine;
    /* Longest side the picture is scaled to (networks with dynamic input); 0 (default): the model's
     * own size; -1: auto: several scales, so that a face that fills the picture and one of 12
     * pixels are both found. */
    int32_t size;
    float score_threshold; /* < 0 (default): the model's own */
    float nms_threshold;   /* IoU; < 0 (default): the model's own */
} uf_detector_options;
#define UF_DETECTOR_OPTIONS_INIT                \
    {                                           \
        UF_ENGINE_OPTIONS_INIT, 0, -1.0f, -1.0f \
    }

/* `m` must be a detector (metadata "task"), and outlive the detector. UF_E_MISMATCH says what it is
 * instead. */
UF_API uf_status uf_detector_create(uf_detector **out, uf_model *m,
                                    const uf_detector_options *options, uf_error *err);
UF_API void uf_detector_destroy(uf_detector *d);

/* Finds faces in `image` (borrowed). Writes at most `cap` faces, best score first (ties by
 * position); *count is the number found and may exceed cap. No face is no error: *count is 0. */
UF_API uf_status uf_detector_run(uf_detector *d, const uf_image *image, uf_face *faces, size_t cap,
                                 size_t *count, uf_error *err);
/* The same for `n` images: faces[i * cap ...], counts[i]. Neighbours that come to the same size of
 * the network's input go through it in one run, up to 16 at a time and as many as the caches hold,
 * and the faces are those of single runs. One by one go: models whose outputs do not keep the batch
 * as the first of three dimensions (its order would be a guess), models with dynamic quantisation,
 * and size -1. After an error, which names the image, nothing is known of it and those behind it.
 */
UF_API uf_status uf_detector_run_batch(uf_detector *d, const uf_image *images, size_t n,
                                       uf_face *faces, size_t cap, size_t *counts, uf_error *err);
/* How many pictures uf_detector_run_batch sends through the network in one run at the detector's
 * own size: 1 where more together would take longer than one by one. *out is 1..16. Errors: those
 * of a run. */
UF_API uf_status uf_detector_batch(uf_detector *d, size_t *out, uf_error *err);
/* Shorter side, in pixels, below which a picture may be decoded without loss for this detector and
 * for recognition (for uf_decode_options.min_side). */
UF_API int32_t uf_detector_min_side(const uf_detector *d);

/* Where the time of a run went. */
typedef struct uf_run_times {
    double plan_us;    /* planning, where the input has not been of this size before */
    double input_us;   /* from pixels to the network's input: scaled (detectors), normalised */
    double network_us; /* its operators */
    double output_us;  /* detectors: boxes from outputs, overlapping ones left out; embedders: unit
                          length */
    uint32_t runs;     /* of the network: several with size -1, two with flip */
} uf_run_times;

/* Of the last uf_detector_run. Since 0.5. */
UF_API void uf_detector_times(const uf_detector *d, uf_run_times *out);
/* The same as uf_engine_set_profiling, uf_engine_step_count and uf_engine_step, for the detector's
 * network as it ran last. */
UF_API void uf_detector_set_profiling(uf_detector *d, int on);
UF_API size_t uf_detector_step_count(const uf_detector *d);
UF_API uf_status uf_detector_step(const uf_detector *d, size_t i, uf_step_profile *out,
                                  uf_error *err);

/* Moves box and landmarks into a picture that is so many times as wide and as high. */
UF_API void uf_face_scale(uf_face *f, float by_x, float by_y);
/* Intersection over union of two boxes: 0..1. */
UF_API float uf_face_overlap(const uf_face *a, const uf_face *b);
/* The face that a picture of this size (pixels) is about: large, and near the middle (its area less
 * twice the squared distance of the two centres is greatest). Its index; -1 when count is 0. */
UF_API int32_t uf_face_main(const uf_face *faces, size_t count, int32_t width, int32_t height);

/* Judges a face for enrolment. Needs no model; landmarks are used where the face has them. */
UF_API uf_status uf_face_quality(const uf_image *image, const uf_face *face, uf_quality *out,
                                 uf_error *err);
/* As uf_embedder_detail, of the pixels that uf_face_quality counts: below 1 the face of a larger
 * picture would be judged as larger. Any thread. Since 0.5. */
UF_API float uf_face_detail(const uf_face *face);

/* Turns five points into a crop of size x size RGB8 (dense, into `out`): least-squares similarity
 * (Umeyama 1991) to `template_points` (fractions of the side, 10 numbers; NULL: ArcFace's),
 * bilinear, black outside. Errors: UF_E_ARG when the points coincide or are not finite, or when
 * `out` overlaps the picture. */
UF_API uf_status uf_face_align(const uf_image *image, const uf_point landmarks[UF_LANDMARKS],
                               const float *template_points, int32_t size, uint8_t *out,
                               uf_error *err);

typedef struct uf_embedder_options {
    uf_engine_options engine;
    int32_t batch; /* largest batch in one run; default 16 */
    int32_t flip;  /* add the embedding of the mirrored crop (twice the time); default 0 */
} uf_embedder_options;
#define UF_EMBEDDER_OPTIONS_INIT      \
    {                                 \
        UF_ENGINE_OPTIONS_INIT, 16, 0 \
    }

UF_API uf_status uf_embedder_create(uf_embedder **out, uf_model *m,
                                    const uf_embedder_options *options, uf_error *err);
UF_API void uf_embedder_destroy(uf_embedder *e);
UF_API size_t uf_embedder_dimension(const uf_embedder *e);
UF_API int32_t uf_embedder_crop_size(const uf_embedder *e); /* side of the aligned crop */

/* Where the aligned crop has the landmarks: ten fractions of its side; valid while `e` lives. */
UF_API const float *uf_embedder_template(const uf_embedder *e);
/* How many crops uf_embedder_run_crops sends through the network in one run: the option, or fewer
 * where more together would take longer. */
UF_API size_t uf_embedder_batch(const uf_embedder *e);
/* Pixels of the picture for one of the face's crop, along a side. Below 1 the crop is an
 * enlargement, and one of a larger picture would show more. Any thread, as uf_embedder_crop. */
UF_API float uf_embedder_detail(const uf_embedder *e, const uf_face *face);
/* The crop that uf_embedder_run makes of a face, RGB8 of the crop's size (dense, into `crop`); a
 * face without landmarks is cropped by its box. Any thread, at any time: it only reads the
 * embedder. Errors: UF_E_ARG. */
UF_API uf_status uf_embedder_crop(const uf_embedder *e, const uf_image *image, const uf_face *face,
                                  uint8_t *crop, uf_error *err);
/* Embeds one face: aligns and runs. `out` gets uf_embedder_dimension floats of unit L2 norm. A face
 * without landmarks is cropped by its box. Errors: UF_E_ARG, and UF_E_QUALITY when the network's
 * answer has no direction (zero or not finite). */
UF_API uf_status uf_embedder_run(uf_embedder *e, const uf_image *image, const uf_face *face,
                                 float *out, uf_error *err);
/* Embeds n aligned crops, RGB8, [n][size][size][3], into [n][dimension]. */
UF_API uf_status uf_embedder_run_crops(uf_embedder *e, const uint8_t *crops, size_t n, float *out,
                                       uf_error *err);

/* Of the last uf_embedder_run_crops; uf_embedder_run aligns and calls that. Since 0.5. */
UF_API void uf_embedder_times(const uf_embedder *e, uf_run_times *out);
/* As those of detectors. */
UF_API void uf_embedder_set_profiling(uf_embedder *e, int on);
UF_API size_t uf_embedder_step_count(const uf_embedder *e);
UF_API uf_status uf_embedder_step(const uf_embedder *e, size_t i, uf_step_profile *out,
                                  uf_error *err);

/* Cosine of two unit vectors: -1..1. */
UF_API float uf_similarity(const float *a, const float *b, size_t dimension);

/* A decision threshold measured by `uniface calibrate`, stored in the embedder's model. */
typedef struct uf_threshold {
    float far;               /* false accept rate asked for */
    float threshold;         /* similarity >= threshold: same person */
    float far_low, far_high; /* 95 % confidence interval of the FAR at this threshold */
    float tar;               /* true accept rate measured there */
    uint64_t impostor_trials, genuine_trials;
} uf_threshold;

/* The stored threshold for `far` (1e-1, 1e-2, 1e-3 or 1e-4). UF_E_UNCALIBRATED tells to calibrate.
 */
UF_API uf_status uf_model_threshold(const uf_model *m, float far, uf_threshold *out, uf_error *err);

/* Called now and then in long work; return nonzero to cancel (UF_E_CANCELLED). */
typedef int uf_progress_fn(void *user, size_t done, size_t total);

/* Measures thresholds from scores: genuine[i] and impostor[j] are similarities of comparisons. FARs
 * that the number of impostor trials cannot support (fewer than 1 / far) are left out. Writes them
 * into the model's metadata. `out` (room for `cap`) and *count may be NULL. */
UF_API uf_status uf_model_calibrate(uf_model *m, const float *genuine, size_t genuine_count,
                                    const float *impostor, size_t impostor_count, uf_threshold *out,
                                    size_t cap, size_t *count, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
