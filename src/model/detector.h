/*
 * Detectors: from a picture to faces. What all families share is in detector.c; a family is one
 * file and one row, and only turns output tensors into candidates. Floor 5. Confined.
 */
#ifndef UFI_MODEL_DETECTOR_H
#define UFI_MODEL_DETECTOR_H

#include "model/candidates.h"
#include "model/network.h"
#include "uniface/face.h"

#define UFI_DETECTOR_MAX_STRIDES 6
#define UFI_DETECTOR_MAX_OUTPUTS 16

/* What the metadata says about decoding. */
typedef struct ufi_detector_config {
    int stride_count, strides[UFI_DETECTOR_MAX_STRIDES];
    int anchors;                                             /* per cell */
    int prior_count, prior_counts[UFI_DETECTOR_MAX_STRIDES]; /* in all, and at each stride */
    float priors[16], variances[2];
    float score, nms;
    size_t top;
} ufi_detector_config;

/* The outputs of one picture of a batch, as plain tensors without the batch dimension. */
typedef struct ufi_detector_outputs {
    const float *data[UFI_DETECTOR_MAX_OUTPUTS];
    size_t rows[UFI_DETECTOR_MAX_OUTPUTS], columns[UFI_DETECTOR_MAX_OUTPUTS];
    uint32_t count;
    size_t width, height; /* of the network's input */
} ufi_detector_outputs;

/* The k-th output (counting from 0) with `columns` columns and `rows` rows; NULL when there is
 * none.
 */
const float *ufi_detector_output(const ufi_detector_outputs *o, size_t rows, size_t columns, int k);

/* A box of SSD's coding around a prior of size x size at (x, y): offsets in variances[0] of the
 * size, logarithms of the sides in variances[1]. */
void ufi_decode_prior_box(const ufi_detector_config *c, float x, float y, float size,
                          const float coded[4], uf_face *f);
/* Calls take(arg, i, x, y, size) for every prior, stride by stride, row by row. Returns their
 * number; `take` may be NULL to count. */
typedef void ufi_take_prior(void *arg, size_t i, float x, float y, float size);
size_t ufi_each_prior(const ufi_detector_config *c, const ufi_detector_outputs *o,
                      ufi_take_prior *take, void *arg);

/* Decodes one picture. The outputs come from a network, which may hold anything. UF_E_MISMATCH when
 * they do not have the family's shapes. */
typedef uf_status ufi_decode_faces(const ufi_detector_config *c, const ufi_detector_outputs *o,
                                   ufi_candidates *out, uf_error *err);
ufi_decode_faces ufi_decode_yunet, ufi_decode_scrfd, ufi_decode_ultraface, ufi_decode_retinaface;

/* Decodes what another context of the same network computed for one picture of width x height, as
 * uf_detector_run would; *faces is the detector's and lasts until its next use. */
uf_status ufi_detector_decode(uf_detector *d, const ufi_context *c, size_t width, size_t height,
                              const uf_face **faces, size_t *count, uf_error *err);
/* Most pictures that uf_detector_run_batch has sent through the network in one run so far; 0: each
 * went alone. */
size_t ufi_detector_together(const uf_detector *d);
/* Its network, for the times and steps of the last run. */
const ufi_network *ufi_detector_network(const uf_detector *d);
/* How a picture is laid into the input, from "detector.fit". */
ufi_fit ufi_detector_fit(const ufi_meta *meta);
uf_status ufi_detector_create(uf_detector **out, const ufi_model_file *file, ufi_program *program,
                              const uf_detector_options *options, uf_error *err);

#endif
