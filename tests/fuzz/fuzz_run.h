/* Runs an imported network when it is small: this is no test of patience. */
#ifndef UF_TESTS_FUZZ_RUN_H
#define UF_TESTS_FUZZ_RUN_H

#include <string.h>

#include "backend/backend.h"

static bool is_small(const ufi_graph *g, ufi_shape *shapes)
{
    for (uint32_t i = 0; i < g->input_count; i++) {
        shapes[i] = g->values[g->inputs[i]].shape;
        for (uint32_t d = 0; d < shapes[i].rank; d++) {
            if (shapes[i].dims[d] < 0)
                shapes[i].dims[d] = 1;
            if (shapes[i].dims[d] > 64)
                return false;
        }
        if (ufi_shape_count(&shapes[i]) > 4096)
            return false;
    }
    return true;
}

/* A plan is made and run only where no value is large. */
static void fuzz_run(const ufi_graph *g)
{
    ufi_shape shapes[UFI_MAX_NODE_IO];
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    if (g->input_count > 4 || !is_small(g, shapes) || ufi_program_create(&p, g, "CPU", NULL))
        return;
    if (!ufi_context_create(&c, p, 1, NULL) &&
        !ufi_context_prepare(c, shapes, g->input_count, UFI_PLAIN, NULL) &&
        ufi_context_arena_bytes(c) < (1 << 20)) {
        int64_t macs = 0;
        for (uint32_t i = 0; i < ufi_context_step_count(c); i++) {
            ufi_step_info s;
            ufi_context_step(c, i, &s);
            macs += s.macs;
        }
        for (uint32_t i = 0; i < g->input_count; i++) {
            ufi_tensor *t = ufi_context_input(c, i);
            memset(t->data, 0, ufi_tensor_bytes(t));
        }
        if (macs < 10000000)
            (void)ufi_context_run(c, NULL);
    }
    ufi_context_destroy(c);
    ufi_program_destroy(p);
}

#endif
