/* uniface/model.h: engines, which run any network on tensors. */
#include <string.h>

#include "api/model_impl.h"
#include "base/mem.h"

struct uf_engine {
    uf_model *model;
    ufi_program *program;
    ufi_context *context;
    bool prepared;
};

uf_status uf_engine_create(uf_engine **out, uf_model *m, const uf_engine_options *options,
                           uf_error *err)
{
    static const uf_engine_options defaults = UF_ENGINE_OPTIONS_INIT;
    if (!out || !m)
        return ufi_fail(err, UF_E_ARG, "uf_engine_create: out and model must be given");
    *out = NULL;
    options = options ? options : &defaults;
    uf_engine *e = ufi_calloc(1, sizeof *e);
    if (!e)
        return ufi_fail(err, UF_E_NOMEM, "no memory for an engine");
    e->model = m;
    uf_status st = ufi_model_program(m, options->device, &e->program, err);
    if (!st)
        st = ufi_context_create(&e->context, e->program, options->threads, err);
    if (st) {
        uf_engine_destroy(e);
        return st;
    }
    *out = e;
    return UF_OK;
}

void uf_engine_destroy(uf_engine *e)
{
    if (!e)
        return;
    ufi_context_destroy(e->context);
    ufi_free(e);
}

uf_status uf_engine_prepare(uf_engine *e, const uf_tensor_info *shapes, size_t count, uf_error *err)
{
    if (!e || (!shapes && count))
        return ufi_fail(err, UF_E_ARG, "uf_engine_prepare: engine and shapes must be given");
    if (count != uf_model_input_count(e->model))
        return ufi_fail(err, UF_E_ARG, "%zu input shapes given, the model has %zu inputs", count,
                        uf_model_input_count(e->model));
    ufi_shape *s = ufi_calloc(count ? count : 1, sizeof *s);
    if (!s)
        return ufi_fail(err, UF_E_NOMEM, "no memory for shapes");
    uf_status st = UF_OK;
    for (size_t i = 0; i < count && !st; i++) {
        if (shapes[i].rank > UF_MAX_DIMS)
            st = ufi_fail(err, UF_E_ARG, "input %zu: rank %u > %d", i, shapes[i].rank, UF_MAX_DIMS);
        else
            s[i] = ufi_shape_make(shapes[i].rank, shapes[i].dims);
    }
    if (!st)
        st = ufi_context_prepare(e->context, s, (uint32_t)count, UFI_PLAIN, err);
    ufi_free(s);
    e->prepared = st == UF_OK;
    if (e->prepared)
        ufi_model_release_pages(e->model);
    return st;
}

void *uf_engine_input(uf_engine *e, size_t i, size_t *size_bytes)
{
    if (!e->prepared || i >= uf_model_input_count(e->model))
        return NULL;
    ufi_tensor *t = ufi_context_input(e->context, (uint32_t)i);
    if (size_bytes)
        *size_bytes = ufi_tensor_bytes(t);
    return t->data;
}

uf_status uf_engine_run(uf_engine *e, uf_error *err)
{
    if (!e || !e->prepared)
        return ufi_fail(err, UF_E_STATE, "call uf_engine_prepare before uf_engine_run");
    return ufi_context_run(e->context, err);
}

const void *uf_engine_output(const uf_engine *e, size_t i, uf_tensor_info *info)
{
    if (!e->prepared || i >= uf_model_output_count(e->model))
        return NULL;
    const ufi_tensor *t = ufi_context_output(e->context, (uint32_t)i);
    if (info) {
        *info = (uf_tensor_info){.dtype = t->dtype, .rank = t->shape.rank};
        const ufi_graph *g = &e->model->file.graph;
        info->name = g->values[g->outputs[i]].name;
        memcpy(info->dims, t->shape.dims, sizeof info->dims);
    }
    return t->data;
}

/* ---- what ran ---- */

void uf_engine_set_profiling(uf_engine *e, int on)
{
    ufi_context_set_profiling(e->context, on != 0);
}

size_t uf_engine_step_count(const uf_engine *e)
{
    return ufi_context_step_count(e->context);
}

uf_status ufi_step_profile(const ufi_context *c, size_t i, uf_step_profile *out, uf_error *err)
{
    if (!out || i >= ufi_context_step_count(c))
        return ufi_fail(err, UF_E_ARG, "step %zu: no such step in the plan", i);
    ufi_step_info s;
    ufi_context_step(c, (uint32_t)i, &s);
    *out = (uf_step_profile){
        .op = s.op,
        .name = s.name,
        .kernel = s.kernel,
        .macs = s.macs,
        .time_us = (double)s.time_ns / 1e3,
        .peak_gmacs_per_s = s.peak_macs_per_ns,
        .output_bytes = s.output_bytes,
        .output_rank = s.output_shape.rank,
    };
    memcpy(out->output_dims, s.output_shape.dims, sizeof out->output_dims);
    return UF_OK;
}

uf_status uf_engine_step(const uf_engine *e, size_t i, uf_step_profile *out, uf_error *err)
{
    return e ? ufi_step_profile(e->context, i, out, err)
             : ufi_fail(err, UF_E_ARG, "uf_engine_step: an engine must be given");
}

const char *uf_engine_device(const uf_engine *e)
{
    return ufi_program_device(e->program);
}

uint32_t uf_engine_threads(const uf_engine *e)
{
    return ufi_context_threads(e->context);
}

size_t uf_engine_activation_bytes(const uf_engine *e)
{
    return ufi_context_arena_bytes(e->context);
}

size_t uf_engine_weight_bytes(const uf_engine *e)
{
    return ufi_program_packed_bytes(e->program);
}
