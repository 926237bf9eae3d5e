/* uniface/train.h: pictures that come without landmarks. */
#include <string.h>

#include "api/train_impl.h"
#include "base/mem.h"

enum { MAX_FACES = 256 };

typedef struct aligner {
    uf_detector *detector;
    uf_face faces[MAX_FACES];
} aligner;

static bool locate(void *arg, const uf_image *picture, uf_point points[5])
{
    aligner *a = arg;
    size_t count = 0;
    if (uf_detector_run(a->detector, picture, a->faces, MAX_FACES, &count, NULL) || !count)
        return false;
    count = count < MAX_FACES ? count : MAX_FACES;
    const uf_face *f = &a->faces[uf_face_main(a->faces, count, picture->width, picture->height)];
    for (int i = 0; i < UF_LANDMARKS; i++)
        points[i] = f->landmarks[i];
    return f->has_landmarks != 0;
}

static bool wants_landmarks(const ufi_train_run *r)
{
    if (!r->options->detector)
        return false;
    for (size_t i = 0; i < ufi_dataset_count(r->data); i++)
        if (!ufi_dataset_sample(r->data, i)->has_points)
            return true;
    return false;
}

uf_status ufi_train_align(ufi_train_run *r)
{
    /* Scenes take whole pictures too; those with landmarks lend their faces, of all sizes. */
    const char *task = ufi_meta_get(&r->student->meta, "task");
    const bool scenes = task && !strcmp(task, "detector");
    uf_detector_options o = UF_DETECTOR_OPTIONS_INIT;
    if (!wants_landmarks(r))
        return UF_OK;
    aligner *a = ufi_calloc(1, sizeof *a);
    if (!a)
        return ufi_fail(r->err, UF_E_NOMEM, "no memory to align pictures");
    o.engine.threads = r->how.threads;
    uf_status st = uf_detector_create(&a->detector, r->options->detector, &o, r->err);
    if (!st)
        st = ufi_dataset_locate(r->data, locate, a, scenes, &r->faceless, r->err);
    uf_detector_destroy(a->detector);
    ufi_free(a);
    return st;
}
