/* A dataset's inside: samples, and where the bytes of each lie. Private to the train room. */
#ifndef UFI_TRAIN_DATASET_H
#define UFI_TRAIN_DATASET_H

#include "base/arena.h"
#include "base/file.h"
#include "train/data.h"

typedef struct ufi_place {
    int32_t archive;  /* number in `archives`; -1: a file of its own */
    const char *path; /* of that file */
    size_t offset, size;
} ufi_place;

typedef struct ufi_archive {
    ufi_file file;
    uint64_t device, inode; /* one archive comes once, whatever it is called */
} ufi_archive;

struct ufi_dataset {
    ufi_arena arena; /* names and paths */
    ufi_sample *samples;
    ufi_place *places;
    size_t count, room;
    ufi_archive *archives;
    size_t archive_count;
    int32_t labels;
};

/* Adds the samples of one source. */
uf_status ufi_dataset_add_source(ufi_dataset *d, const char *path, uf_error *err);

#endif
