/* Two models timed side by side. */
#include "race.h"

#include <stdlib.h>
#include <string.h>

enum { RUNS = 240, ROUND = 8, ANY_SIDE = 320 };

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uf_status open_engine(uf_engine **e, uf_model *m, int32_t width, int32_t height,
                             size_t *memory_bytes, uf_error *err)
{
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    uf_tensor_info t;
    size_t bytes;
    o.threads = 1;
    uf_status st = uf_model_input(m, 0, &t, err);
    for (uint32_t d = 0; !st && d < t.rank; d++)
        if (t.dims[d] < 0) {
            const int32_t wanted = d == 2 ? height : d == 3 ? width : 0;
            t.dims[d] = d == 0 ? 1 : wanted > 0 ? wanted : ANY_SIDE;
        }
    if (!st)
        st = uf_engine_create(e, m, &o, err);
    if (!st)
        st = uf_engine_prepare(*e, &t, 1, err);
    if (st)
        return st;
    void *input = uf_engine_input(*e, 0, &bytes);
    memset(input, 0, bytes);
    *memory_bytes = uf_engine_activation_bytes(*e) + uf_engine_weight_bytes(*e);
    return UF_OK;
}

uf_status cli_race(uf_model *const models[2], int32_t width, int32_t height, race_result out[2],
                   uf_error *err)
{
    uf_engine *e[2] = {NULL, NULL};
    double times[2][RUNS];
    uf_status st = UF_OK;
    for (int k = 0; !st && k < 2; k++)
        st = open_engine(&e[k], models[k], width, height, &out[k].memory_bytes, err);
    for (int i = 0; !st && i < 2 * ROUND; i++) /* warm */
        st = uf_engine_run(e[i % 2], err);
    for (int done = 0; !st && done < RUNS; done += ROUND) {
        for (int k = 0; !st && k < 2 * ROUND; k++) {
            const double start = cli_now_ms();
            st = uf_engine_run(e[k / ROUND], err);
            times[k / ROUND][done + k % ROUND] = cli_now_ms() - start;
        }
        cli_progress("timing", (size_t)done + ROUND, RUNS);
    }
    for (int k = 0; k < 2; k++) {
        if (!st) {
            qsort(times[k], RUNS, sizeof times[k][0], by_value);
            out[k].p50_ms = times[k][RUNS / 2];
            out[k].p99_ms = times[k][RUNS * 99 / 100];
        }
        uf_engine_destroy(e[k]);
    }
    return st;
}
