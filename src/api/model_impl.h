/* What the files of src/api share about a model. Floor 7. */
#ifndef UFI_API_MODEL_IMPL_H
#define UFI_API_MODEL_IMPL_H

#include "backend/backend.h"
#include "base/threads.h"
#include "format/model_file.h"
#include "uniface/model.h"

struct uf_model {
    ufi_model_file file; /* constant after open, but for metadata (uf_model_set_meta) */
    char id[65];         /* follows the metadata */
    ufi_mutex *mutex;    /* protects everything below */
    ufi_program *program;
};

/* An empty model, and its end: `m` comes out with its id, or is closed when `st` is an error. */
uf_status ufi_model_new(uf_model **out, uf_error *err);
uf_status ufi_model_finish(uf_model **out, uf_model *m, uf_status st);
/* The model made ready for `device` (NULL: "auto"), on first use. Later calls must name the same
 * device or "auto": UF_E_STATE otherwise, UF_E_DEVICE_NOT_FOUND when there is no such device. The
 * program is the model's. Thread: any. */
uf_status ufi_model_program(uf_model *m, const char *device, ufi_program **out, uf_error *err);
/* uf_engine_step of a context. */
uf_status ufi_step_profile(const ufi_context *c, size_t i, uf_step_profile *out, uf_error *err);
/* Lets go of the pages of the mapped file: after packing, the weights exist twice. They come back
 * when touched. */
void ufi_model_release_pages(uf_model *m);

#endif
