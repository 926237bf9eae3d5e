/*
 * uniface/pipeline.h - many pictures: threads decode ahead, others run the networks.
 *
 * Pictures are put into a ring of bounded size and come out in the order they were put in, each
 * with its faces and templates, or with its own error: a picture that is damaged takes none of the
 * others with it.
 *
 *     while (something is left to put or uf_pipeline_pending(p)) {
 *         while (something is left to put and uf_pipeline_room(p))
 *             uf_pipeline_put(p, path, &err);
 *         uf_pipeline_next(p, &item, &err);
 *     }
 *
 * uf_pipeline is *confined*: one thread puts and takes; the models behind it are shared. Since 0.4.
 */
#ifndef UNIFACE_PIPELINE_H
#define UNIFACE_PIPELINE_H

#include "uniface/face.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uf_pipeline uf_pipeline;

/* Whether faces are judged for enrolment (uf_face_quality), on pixels enough for that. */
typedef enum uf_pipeline_judging {
    UF_PIPELINE_JUDGE_NONE = 0,
    UF_PIPELINE_JUDGE_ALL = 1,
    UF_PIPELINE_SKIP_POOR = 2 /* and those that are too poor get no template, but zeros */
} uf_pipeline_judging;

typedef struct uf_pipeline_options {
    uf_detector_options detector; /* its engine options count for both networks; threads: that run
                                     networks, shared among the lanes */
    uint32_t decoders;            /* threads that read and decode; 0 (default): one for each core */
    uint32_t batch;               /* most pictures in one run of the networks, 1..256; default 8.
                                     Small networks take one: that is faster */
    uint32_t ring;                /* pictures between put and next, at least batch; 0 (default):
                                     3 * batch, or 3 * threads if that is more */
    uint32_t max_faces;           /* of a picture, best score first, up to 1024; 0 (default):
                                     only the one it is about, large and in the middle */
    int32_t flip;                 /* add the embedding of the mirrored crop; default 0 */
    uint64_t max_bytes;           /* pixels held at a time, above which decoders wait; default
                                     256 MiB. A single picture may be larger */
    uf_decode_options decode; /* min_side 0 (default): JPEGs are decoded as small as the detector
                                 allows, and larger where a face needs it; UF_IMAGE_MAX_SIDE:
                                 never reduced */
    uint32_t lanes; /* pairs of networks, which share the threads; 0 (default): one for each thread,
                       which is best for many pictures. Since 0.5 */
    uf_pipeline_judging judge; /* needs a detector. Since 0.5 */
    int32_t main_only; /* of max_faces only the main one is judged and embedded: the others are
                          told, with zeros for qualities and templates; default 0. Since 0.5 */
    int32_t crop_side; /* also give the main face's crop (uf_face_align, ArcFace's points) with a
                          side of so many pixels, up to 1024; needs both models; default 0: none.
                          Since 0.5 */
} uf_pipeline_options;
#define UF_PIPELINE_MAX_BYTES ((uint64_t)256 << 20)
#define UF_PIPELINE_OPTIONS_INIT                                                                   \
    {                                                                                              \
        UF_DETECTOR_OPTIONS_INIT, 0, 8, 0, 0, 0, UF_PIPELINE_MAX_BYTES, UF_DECODE_OPTIONS_INIT, 0, \
            UF_PIPELINE_JUDGE_NONE, 0, 0                                                           \
    }

/* One of the models may be NULL. Without a detector each picture is an aligned face crop, scaled to
 * the embedder's input; without an embedder faces are found only. The models must outlive the
 * pipeline. `options` may be NULL. Errors: UF_E_ARG, those of uf_detector_create and
 * uf_embedder_create, UF_E_NOMEM. */
UF_API uf_status uf_pipeline_create(uf_pipeline **out, uf_model *detector, uf_model *embedder,
                                    const uf_pipeline_options *options, uf_error *err);
/* Stops the decoders, each after the picture it is at. NULL is accepted. */
UF_API void uf_pipeline_destroy(uf_pipeline *p);

/* Shorter side, in pixels, down to which JPEGs are decoded for this detector where decode.min_side
 * is 0. Since 0.5. */
UF_API int32_t uf_pipeline_min_side(const uf_detector *d);

UF_API size_t uf_pipeline_dimension(const uf_pipeline *p); /* of a template; 0: no embedder */
UF_API size_t uf_pipeline_room(const uf_pipeline *p);      /* pictures that can be put now */
UF_API size_t uf_pipeline_pending(const uf_pipeline *p);   /* put, and not yet given by next */

/* Puts a picture in: a file, which is opened later by a decoder, or the bytes of one, which are
 * copied. Errors: UF_E_STATE when there is no room (call next), UF_E_ARG, UF_E_NOMEM. */
UF_API uf_status uf_pipeline_put(uf_pipeline *p, const char *path, uf_error *err);
UF_API uf_status uf_pipeline_put_bytes(uf_pipeline *p, const void *data, size_t size,
                                       uf_error *err);

/* Why a face has neither template nor quality. Since 0.5. */
typedef struct uf_face_fault {
    uf_status status; /* UF_OK: it came through */
    char message[252];
} uf_face_fault;

typedef struct uf_pipeline_item {
    uint64_t number;        /* of the picture, from 0 in the order of putting */
    uf_status status;       /* of this picture */
    char message[512];      /* why it failed, begins with the path; "" when it did not */
    int32_t width, height;  /* of the file's picture, upright, in which the faces' coordinates are;
                               0 when it was not decoded */
    size_t face_count;      /* 0: no face found. Without a detector 1: the whole picture */
    const uf_face *faces;   /* [face_count]; NULL without a detector */
    const float *templates; /* [face_count][dimension], unit length; NULL without an embedder */
    const uf_quality *qualities; /* [face_count]; NULL unless faces are judged. Since 0.5 */
    int32_t main_face; /* the one the picture is about, of those here; -1: none. Since 0.5 */
    const uf_face_fault *faults; /* [face_count]; NULL: all came through. Faces that did not have
                                    zeros for templates. Where only one face is embedded its fault
                                    is the picture's status instead. Since 0.5 */
    const uint8_t *crop;         /* of the main face, RGB8, [crop_side][crop_side][3]; NULL unless
                                    asked for, and where the face was left out as poor or has no
                                    landmarks. Since 0.5 */
} uf_pipeline_item;

/* The oldest picture that is pending; waits until it has been through the networks. `out` is valid
 * until the next call. A failure of the picture is no failure of the call. Errors: UF_E_STATE when
 * nothing is pending. */
UF_API uf_status uf_pipeline_next(uf_pipeline *p, uf_pipeline_item *out, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
