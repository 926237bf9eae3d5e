/* A run of uf_train and what its two files share. Floor 7. */
#ifndef UFI_API_TRAIN_IMPL_H
#define UFI_API_TRAIN_IMPL_H

#include "api/model_impl.h"
#include "train/trainer.h"
#include "uniface/train.h"

typedef struct ufi_train_run {
    const uf_train_options *options;
    uf_error *err;
    ufi_model_file described; /* the student, when it was described */
    const ufi_model_file *student;
    bool in_bytes; /* it is an INT8 model */
    ufi_dataset *data;
    char data_digest[65];
    size_t faceless; /* pictures left out for want of a face */
    ufi_trainer *trainer;
    ufi_trainer_options how;
    uint8_t key[32];
    uint64_t started_ns, saved_ns;
    int64_t first_step;
    int64_t measure_every;
    double agreement, score;
    bool stopped_early;
} ufi_train_run;

/* Gives pictures without landmarks those that the options' detector finds. */
uf_status ufi_train_align(ufi_train_run *r);
/* Turns the options into the trainer's; UF_E_ARG names the option that makes no sense. */
uf_status ufi_train_configure(ufi_train_run *r);
/* What the run depends on. */
uf_status ufi_train_key(ufi_train_run *r);
/* Writes the metadata "trained.*". */
uf_status ufi_train_describe(const ufi_train_run *r, ufi_model_file *made);

#endif
