/* What quantising and pruning share: sample pictures and how changed models are judged. Floor 7. */
#ifndef UFI_API_CALIBRATION_H
#define UFI_API_CALIBRATION_H

#include "api/model_impl.h"
#include "model/detector.h"
#include "optimize/judge.h"
#include "optimize/observer.h"
#include "uniface/optimize.h"

struct uf_calibration {
    const uf_model *model;
    ufi_observer *observer;
    ufi_network net;
    int32_t width, height;
    uint8_t *canvas;
    ufi_samples samples; /* the inputs, as far as they fit */
    size_t count;
    float template_points[10];
    ufi_fit fit;
    bool is_detector;
    unsigned threads;
};

/* Detectors are judged by the faces they find. */
typedef struct ufi_face_judge {
    ufi_program *program;
    uf_detector *detector;
    size_t width, height;
    uf_face *want[UFI_MAX_JUDGED];
    size_t count[UFI_MAX_JUDGED];
} ufi_face_judge;

uf_status ufi_face_judge_open(ufi_face_judge *j, const uf_model *m, const uf_calibration *c,
                              uf_error *err);
void ufi_face_judge_close(ufi_face_judge *j);
/* An ufi_agreement_fn; arg is an ufi_face_judge. */
double ufi_face_agreement(void *arg, size_t i, const ufi_context *c, ufi_judging how);

#endif
