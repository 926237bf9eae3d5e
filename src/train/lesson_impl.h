/* What a lesson is made of. Private to the room. */
#ifndef UFI_TRAIN_LESSON_IMPL_H
#define UFI_TRAIN_LESSON_IMPL_H

#include "train/lesson.h"

typedef struct ufi_lesson_ops {
    const char *task;
    void (*close)(ufi_lesson *l);
    void (*views)(const ufi_lesson *l, ufi_loader_options *o);
    ufi_variable *(*variables)(ufi_lesson *l, size_t *count); /* NULL: none */
    uf_status (*learn)(ufi_lesson *l, ufi_net *net, const ufi_batch *batch, double *loss,
                       uf_error *err);
    uf_status (*judge)(ufi_lesson *l, ufi_network *student, const ufi_batch *batch, double *sum,
                       size_t *count, uf_error *err);
} ufi_lesson_ops;

/* The first member of each task's own. */
struct ufi_lesson {
    const ufi_lesson_ops *ops;
    ufi_lesson_options options;
    uint64_t asked;
};

/* One per task, each in lesson_<task>.c. */
uf_status ufi_lesson_open_embedder(ufi_lesson **out, const ufi_lesson_options *options,
                                   uf_error *err);
uf_status ufi_lesson_open_detector(ufi_lesson **out, const ufi_lesson_options *options,
                                   uf_error *err);

/* What a detector says of cell `i` becomes the mean of that and of what it says, looking at the
 * mirror image, of the cell's mirror image `m`: class, objectness, box, points. */
void ufi_join_mirrored_cell(float *const own[4], size_t i, float *const mirrored[4], size_t m);

#endif
