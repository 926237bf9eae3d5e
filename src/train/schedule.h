/* The learning rate over a run. Floor 5. Thread: any. */
#ifndef UFI_TRAIN_SCHEDULE_H
#define UFI_TRAIN_SCHEDULE_H

#include <stdint.h>

typedef enum ufi_schedule_kind {
    UFI_SCHEDULE_CONSTANT,
    UFI_SCHEDULE_COSINE, /* to `last` along half a cosine (Loshchilov & Hutter 2017, no restarts) */
    UFI_SCHEDULE_STEP    /* times `factor` at each of `at` */
} ufi_schedule_kind;

#define UFI_SCHEDULE_MAX_STEPS 8 /* UF_MAX_MILESTONES */

typedef struct ufi_schedule {
    ufi_schedule_kind kind;
    double peak, last; /* rates: after warm-up, and at the end (cosine) */
    int64_t warmup;    /* steps in which the rate rises from 0 to `peak` in a line */
    int64_t total;     /* steps of the whole run */
    double factor;     /* STEP */
    double at[UFI_SCHEDULE_MAX_STEPS]; /* STEP: shares of the run, ascending */
    uint32_t at_count;
} ufi_schedule;

/* The rate of step `step`, 0-based. After the run's end it stays what it was at the end. */
double ufi_schedule_rate(const ufi_schedule *s, int64_t step);

#endif
