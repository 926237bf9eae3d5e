/*
 * What a teacher says about the clean crops of a dataset, kept in a file: one vector for each
 * sample, and one for its mirror image. Vectors are appended; a process that is killed while it
 * writes costs the vector it was writing. Floor 5. Confined; one process at a time has the file.
 */
#ifndef UFI_TRAIN_TEACHER_CACHE_H
#define UFI_TRAIN_TEACHER_CACHE_H

#include "base/status.h"

#include <stdbool.h>

typedef struct ufi_teacher_cache ufi_teacher_cache;

/* Whose words they are about what. */
typedef struct ufi_teacher_key {
    const char *teacher; /* the model's identity: any text */
    const char *dataset; /* ufi_dataset_digest, and what else decides about the crops */
    size_t samples;      /* of the dataset */
    size_t values;       /* floats of a vector */
} ufi_teacher_key;

/* Opens `path`, or makes it. What is damaged at its end is cut off. Errors: UF_E_MISMATCH when it
 * belongs to another teacher, dataset or length; UF_E_FORMAT when it is no such file; UF_E_STATE
 * when another process has it; UF_E_IO, UF_E_ARG, UF_E_NOMEM. */
uf_status ufi_teacher_cache_open(ufi_teacher_cache **out, const char *path,
                                 const ufi_teacher_key *key, uf_error *err);
/* NULL is accepted. */
void ufi_teacher_cache_close(ufi_teacher_cache *c);
/* Number of vectors it has. */
size_t ufi_teacher_cache_count(const ufi_teacher_cache *c);
bool ufi_teacher_cache_has(const ufi_teacher_cache *c, uint32_t sample, bool mirrored);
/* Errors: UF_E_NOT_FOUND; UF_E_FORMAT when the file was changed meanwhile; UF_E_IO. */
uf_status ufi_teacher_cache_get(ufi_teacher_cache *c, uint32_t sample, bool mirrored, float *values,
                                uf_error *err);
/* Does nothing when it is there. Errors: UF_E_ARG (no such sample: new persons are not kept),
 * UF_E_IO, after which the file is as it was. */
uf_status ufi_teacher_cache_put(ufi_teacher_cache *c, uint32_t sample, bool mirrored,
                                const float *values, uf_error *err);

#endif
