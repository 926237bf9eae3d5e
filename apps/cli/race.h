/* Two models timed side by side. */
#ifndef UF_CLI_RACE_H
#define UF_CLI_RACE_H

#include "cli.h"

typedef struct race_result {
    double p50_ms, p99_ms;
    size_t memory_bytes; /* weights and activations */
} race_result;

/* Latency of one thread, batch 1, of a picture of that size where the model leaves it open (0:
 * 320). The two take turns, so that whatever else the machine does hits both. */
uf_status cli_race(uf_model *const models[2], int32_t width, int32_t height, race_result out[2],
                   uf_error *err);

#endif
