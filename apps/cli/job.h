/* What quantize, optimize and prune share: a model, calibration pictures, a model made from them.
 */
#ifndef UF_CLI_JOB_H
#define UF_CLI_JOB_H

#include "session.h"

typedef struct cli_job {
    uf_model *model, *result;
    uf_calibration *calibration;
    cli_session session; /* a detector, where faces must be found first */
    bool is_embedder;
    long size_bytes; /* of the model's file */
    int32_t width, height;
    size_t wanted, skipped;
} cli_job;

#define CALIBRATION_OPTIONS                                                    \
    {"calibration", 'c', "PATH", "pictures: a folder, a list (.txt) or .npy"}, \
    {                                                                          \
        "images", 'n', "N", "take at most N pictures (500)"                    \
    }

/* Zero the job first; close it in any case. These print what is wrong and return the exit status.
 */
int cli_job_open(cli_job *q, const char *path);
/* Feeds so many of the pictures at `path`, taken evenly, to a calibration. */
int cli_job_feed(cli_job *q, const cli_args *a, const char *path, size_t pictures);
/* The same with the pictures of the options. */
int cli_job_calibrate(cli_job *q, const cli_args *a);
/* Median latency of one thread of the model and of the result, in ms; the two take turns. */
uf_status cli_job_time(const cli_job *q, double ms[2], uf_error *err);
void cli_job_close(cli_job *q);

#endif
