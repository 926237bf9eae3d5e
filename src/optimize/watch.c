/* Looking at activations: the graph with the wanted values as outputs. */
#include "optimize/watch.h"

#include "base/mem.h"

typedef struct watcher {
    const ufi_graph *g;
    const bool *wanted;
    ufi_watch_fn *fn;
    void *arg;
} watcher;

/* Which input of `g` value v is; UFI_NONE: none. */
static uint32_t input_index(const ufi_graph *g, uint32_t v)
{
    for (uint32_t i = 0; i < g->input_count; i++)
        if (g->inputs[i] == v)
            return i;
    return UFI_NONE;
}

/* A clone of `g` with the wanted values, but for inputs, as outputs in the order of their numbers.
 */
static uf_status expose(ufi_graph *out, const ufi_graph *g, const bool *wanted, uf_error *err)
{
    uint32_t count = 0, *outputs = ufi_malloc(g->value_count + 1, sizeof *outputs);
    uf_status st = outputs ? ufi_graph_clone(out, g, err)
                           : ufi_fail(err, UF_E_NOMEM, "no memory for statistics");
    for (uint32_t v = 0; !st && v < g->value_count; v++)
        if (wanted[v] && input_index(g, v) == UFI_NONE)
            outputs[count++] = v;
    if (!st)
        st = ufi_graph_set_io(out, out->inputs, out->input_count, outputs, count, err);
    ufi_free(outputs);
    return st;
}

/* Hands on what the last run computed. */
static uf_status show(const watcher *w, const ufi_runner *r, size_t sample, uf_error *err)
{
    uint32_t output = 0;
    uf_status st = UF_OK;
    for (uint32_t v = 0; !st && v < w->g->value_count; v++) {
        const uint32_t input = input_index(w->g, v);
        if (!w->wanted[v])
            continue;
        const ufi_tensor *t = input == UFI_NONE ? ufi_context_output(r->context, output++)
                                                : ufi_context_input(r->context, input);
        st = w->fn(w->arg, v, t, sample, err);
    }
    return st;
}

uf_status ufi_watch(const ufi_judge *judge, const bool *wanted, ufi_watch_fn *fn, void *arg,
                    uf_error *err)
{
    const watcher w = {judge->g, wanted, fn, arg};
    const bool all = ufi_samples_pictures(judge->samples) == judge->judged;
    const size_t views = judge->samples->views ? judge->samples->views : 1;
    ufi_graph exposed = {0};
    ufi_runner r = {0};
    uf_status st = expose(&exposed, judge->g, wanted, err);
    if (!st)
        st = ufi_runner_open(&r, &exposed, judge->samples, judge->threads, err);
    for (size_t i = 0; !st && i < judge->samples->count; i++) {
        if (!all && ufi_judge_uses(judge, i - i % views))
            continue;
        st = ufi_runner_run(&r, i, err);
        if (!st)
            st = show(&w, &r, i, err);
    }
    ufi_runner_close(&r);
    ufi_graph_free(&exposed);
    return st;
}
