/* A network that looks at pictures: its context and how pixels enter it. Floor 5. Confined. */
#ifndef UFI_MODEL_NETWORK_H
#define UFI_MODEL_NETWORK_H

#include "backend/backend.h"
#include "format/model_file.h"
#include "image/image.h"
#include "uniface/face.h"

typedef struct ufi_network {
    const ufi_model_file *file; /* borrowed */
    ufi_context *context;
    int64_t fixed_width, fixed_height; /* -1: dynamic */
    bool bgr;
    float scale[3], shift[3];    /* network input = pixel * scale + shift, in the network's order */
    size_t batch, width, height; /* prepared now; 0: not yet */
    uf_run_times times;          /* of the last run of the detector or embedder */
    uint64_t lap_ns;             /* when the last lap ended */
} ufi_network;

/* Reads input.* of the metadata. `task` is what the model must be (UF_E_MISMATCH otherwise). */
uf_status ufi_network_open(ufi_network *n, const ufi_model_file *file, ufi_program *program,
                           const char *task, unsigned threads, uf_error *err);
void ufi_network_close(ufi_network *n); /* accepts zeros */
/* Plans for `batch` pictures of width x height, if it is not planned for that already. */
uf_status ufi_network_prepare(ufi_network *n, size_t batch, size_t width, size_t height,
                              uf_error *err);
/* Whether an operator looks at the whole batch to choose how it computes, so that what comes of a
 * picture would depend on the others: such a network takes pictures one by one. */
bool ufi_network_mixes_batch(const ufi_network *n);
/* How many pictures of the size and the batch that are prepared are best run together, 1..most. */
size_t ufi_network_best_batch(const ufi_network *n, size_t most);
/* Normalises dense RGB8 of the prepared size into picture `i` of the batch. */
void ufi_network_feed(ufi_network *n, size_t i, const uint8_t *rgb);
uf_status ufi_network_run(ufi_network *n, uf_error *err); /* counted in the times */
/* Sets the times to zero; a lap adds the time since the last one to `part`, one of the times. */
void ufi_network_begin(ufi_network *n);
void ufi_network_lap(ufi_network *n, double *part);
/* Numbers of the metadata; UF_E_FORMAT when `key` has not exactly `count` of them. */
uf_status ufi_network_numbers(const ufi_network *n, const char *key, float *out, int count,
                              uf_error *err);

#endif
