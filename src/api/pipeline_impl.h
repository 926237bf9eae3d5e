/* What the two halves of a pipeline share: the ring with its threads, and a batch's way through the
 * networks. Floor 7. */
#ifndef UFI_API_PIPELINE_IMPL_H
#define UFI_API_PIPELINE_IMPL_H

#include <stdbool.h>

#include "base/threads.h"
#include "uniface/pipeline.h"

enum {
    UFI_PIPELINE_MAX_BATCH = 256,
    UFI_PIPELINE_MAX_LANES = 1024,
    UFI_PIPELINE_MAX_FACES = 1024,
    UFI_PIPELINE_MAX_CROP = 1024,
    UFI_PIPELINE_SEEN_FACES = 64
};

typedef enum ufi_place_state {
    UFI_PLACE_WAITING,  /* for a decoder */
    UFI_PLACE_DECODING, /* belongs to one decoder */
    UFI_PLACE_DECODED,  /* waits for a lane */
    UFI_PLACE_RUNNING,  /* belongs to one lane */
    UFI_PLACE_READY     /* been through the networks; the caller's */
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
    uint8_t *crop; /* without a detector: the embedder's input, made by the decoder; with one: the
                      main face's crop, where it is asked for and */
    bool has_crop; /* was made */
    uf_status status;
    uf_error error;
    int32_t width, height;
    uf_face *faces;        /* kept from picture to picture, as far as they have room */
    uf_quality *qualities; /* as many as faces, where they are judged */
    float *templates;
    uf_face_fault *faults; /* none has failed while fault_count is 0 */
    int32_t main_face;
    size_t face_count, face_room, template_room, fault_count, fault_room;
} ufi_place;

/* A thread with networks of one thread (several, where there are fewer lanes than threads).
 * Confined to it, but for what create makes and destroy frees.
 */
typedef struct ufi_lane {
    uf_pipeline *pipeline;
    ufi_thread *thread;
    uf_detector *detector;
    uf_embedder *embedder;
    uf_face *seen;  /* [batch][seen_cap] */
    uint8_t *crops; /* [batch] */
    float *vectors; /* [batch][dimension] */
} ufi_lane;

struct uf_pipeline {
    /* Constant after create. */
    uf_model *detector, *embedder;
    uf_pipeline_options options;
    uf_decode_options decode; /* with the reduction that the detector allows */
    int32_t crop_side;
    size_t dimension, crop_bytes, seen_cap, decoder_count, lane_count;
    size_t most; /* pictures that a lane takes at a time */
    ufi_thread **decoders;
    ufi_lane *lanes;
    /* The caller's thread only. */
    uint64_t put, given; /* pictures; places are numbers modulo the ring */
    /* Protected by the mutex. */
    ufi_mutex *mutex;
    ufi_condition *changed;
    uint64_t to_decode, to_run,
        limit; /* the next pictures that wait, and the end of those that do */
    uint64_t held_bytes;
    size_t second_count; /* lanes with a picture that was decoded once more */
    bool stop;
    ufi_place *places;
};

static inline ufi_place *ufi_pipeline_place(const uf_pipeline *p, uint64_t number)
{
    return &p->places[number % p->options.ring];
}

/* The networks of a lane and its memory. Errors: those of uf_pipeline_create. */
uf_status ufi_lane_open(ufi_lane *lane, uf_pipeline *p, uf_error *err);
void ufi_lane_close(ufi_lane *lane);
/* Runs the networks on pictures `first`.. of the ring, which are decoded; each gets its faces and
 * templates or its error. */
void ufi_lane_run(ufi_lane *lane, uint64_t first, size_t count);

/* Counts the bytes of a picture that a lane decodes once more, until it is let go. Waits while they
 * are too many, unless this is the only such picture: a lane holds one at a time, so one of them
 * always goes on. */
void ufi_pipeline_hold(uf_pipeline *p, size_t bytes);
void ufi_pipeline_release(uf_pipeline *p, size_t bytes);

/* Reads and decodes the picture of a place. */
uf_status ufi_pipeline_decode(const ufi_place *at, const uf_decode_options *options,
                              uf_picture **out, uf_error *err);

#endif
