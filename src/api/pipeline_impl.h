/* What the two halves of a pipeline share: the ring with its decoders, and a batch's way through
 * the networks. Floor 7. */
#ifndef UFI_API_PIPELINE_IMPL_H
#define UFI_API_PIPELINE_IMPL_H

#include <stdbool.h>

#include "base/threads.h"
#include "uniface/pipeline.h"

enum { UFI_PIPELINE_MAX_BATCH = 256, UFI_PIPELINE_MAX_FACES = 1024, UFI_PIPELINE_SEEN_FACES = 64 };

typedef enum ufi_place_state {
    UFI_PLACE_WAITING,  /* for a decoder */
    UFI_PLACE_DECODING, /* belongs to one decoder */
    UFI_PLACE_DECODED,  /* belongs to the caller's thread from here on */
    UFI_PLACE_READY     /* been through the networks */
} ufi_place_state;

/* A picture in the ring. Its state is protected by the pipeline's mutex; all else belongs to the
 * thread that the state names. */
typedef struct ufi_place {
    ufi_place_state state;
    char *path;       /* or NULL, then */
    uint8_t *encoded; /* these are the bytes of the file */
    size_t encoded_size;
    uf_picture *picture;
    size_t picture_bytes;
    uint8_t *crop; /* without a detector: the embedder's input, made by the decoder */
    uf_status status;
    uf_error error;
    int32_t width, height;
    uf_face *faces; /* kept from picture to picture, as far as they have room */
    float *templates;
    size_t face_count, face_room, template_room;
} ufi_place;

struct uf_pipeline {
    /* Constant after create. */
    uf_detector *detector;
    uf_embedder *embedder;
    uf_pipeline_options options;
    size_t dimension, crop_bytes, decoder_count;
    ufi_thread **decoders;
    /* The caller's thread only. */
    uf_face *seen; /* [batch][seen_cap] */
    size_t seen_cap;
    uint8_t *crops;             /* [batch] */
    float *vectors;             /* [batch][dimension] */
    uint64_t put, given, ready; /* pictures; places are numbers modulo the ring */
    /* Protected by the mutex. */
    ufi_mutex *mutex;
    ufi_condition *changed;
    uint64_t to_decode, limit; /* the next picture that waits, and the end of those that do */
    uint64_t held_bytes;
    bool stop;
    ufi_place *places;
};

static inline ufi_place *ufi_pipeline_place(const uf_pipeline *p, uint64_t number)
{
    return &p->places[number % p->options.ring];
}

/* Runs the networks on pictures `first`.. of the ring, which are decoded; each gets its faces and
 * templates or its error. */
void ufi_pipeline_run_batch(uf_pipeline *p, uint64_t first, size_t count);

#endif
