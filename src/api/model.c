/* uniface/model.h: models. */
#include <stdio.h>
#include <string.h>

#include "api/model_impl.h"
#include "base/mem.h"
#include "model/preset.h"

uf_status ufi_model_new(uf_model **out, uf_error *err)
{
    uf_model *m = ufi_calloc(1, sizeof *m);
    if (!m)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a model");
    ufi_graph_init(&m->file.graph);
    uf_status st = ufi_mutex_create(&m->mutex, err);
    if (st) {
        ufi_free(m);
        return st;
    }
    *out = m;
    return UF_OK;
}

uf_status ufi_model_finish(uf_model **out, uf_model *m, uf_status st)
{
    if (st) {
        uf_model_close(m);
        return st;
    }
    ufi_model_id(&m->file, m->id);
    *out = m;
    return UF_OK;
}

uf_status uf_model_open(uf_model **out, const char *path, uf_error *err)
{
    uf_model *m = NULL;
    if (!out || !path)
        return ufi_fail(err, UF_E_ARG, "uf_model_open: out and path must be given");
    *out = NULL;
    uf_status st = ufi_model_new(&m, err);
    if (st)
        return st;
    st = ufi_model_file_open(&m->file, path, err);
    if (!st && !ufi_meta_get(&m->file.meta, "task")) /* an .onnx, imported on the fly */
        st = ufi_preset_apply(&m->file, NULL, err);
    return ufi_model_finish(out, m, st);
}

uf_status uf_model_open_memory(uf_model **out, const void *data, size_t size, uf_error *err)
{
    uf_model *m = NULL;
    if (!out || (!data && size))
        return ufi_fail(err, UF_E_ARG, "uf_model_open_memory: out and data must be given");
    *out = NULL;
    uf_status st = ufi_model_new(&m, err);
    if (st)
        return st;
    return ufi_model_finish(out, m, ufi_ufm_load_memory(&m->file, data, size, true, err));
}

uf_status uf_model_import(uf_model **out, const char *path, const uf_import_options *options,
                          uf_error *err)
{
    static const uf_import_options defaults = UF_IMPORT_OPTIONS_INIT;
    uf_model *m = NULL;
    if (!out || !path)
        return ufi_fail(err, UF_E_ARG, "uf_model_import: out and path must be given");
    *out = NULL;
    options = options ? options : &defaults;
    uf_status st = ufi_model_new(&m, err);
    if (st)
        return st;
    const size_t length = strlen(path);
    if (length > 4 && !strcmp(path + length - 4, ".xml"))
        st = ufi_openvino_import(&m->file, path, options->optimize != 0, err);
    else
        st = ufi_onnx_import(&m->file, path, options->optimize != 0, err);
    if (!st)
        st = ufi_preset_apply(&m->file, options->preset, err);
    if (!st)
        st = ufi_meta_set(&m->file.meta, "licence",
                          options->licence ? options->licence : "not stated", err);
    return ufi_model_finish(out, m, st);
}

void uf_model_close(uf_model *m)
{
    if (!m)
        return;
    ufi_program_destroy(m->program);
    ufi_model_file_free(&m->file);
    ufi_mutex_destroy(m->mutex);
    ufi_free(m);
}

uf_status uf_model_save(const uf_model *m, const char *path, uf_error *err)
{
    if (!m || !path)
        return ufi_fail(err, UF_E_ARG, "uf_model_save: model and path must be given");
    const uf_status st = ufi_file_map_check(&m->file.map, err);
    if (st)
        return st;
    return ufi_ufm_save(&m->file, path, err);
}

const char *uf_preset_name(size_t i)
{
    return ufi_preset_name(i);
}

const char *uf_preset_description(size_t i)
{
    return ufi_preset_description(i);
}

/* ---- metadata ---- */

const char *uf_model_meta(const uf_model *m, const char *key)
{
    return ufi_meta_get(&m->file.meta, key);
}

size_t uf_model_meta_count(const uf_model *m)
{
    return m->file.meta.count;
}

const char *uf_model_meta_key(const uf_model *m, size_t i)
{
    return i < m->file.meta.count ? m->file.meta.keys[i] : NULL;
}

uf_status uf_model_set_meta(uf_model *m, const char *key, const char *value, uf_error *err)
{
    if (!m || !key)
        return ufi_fail(err, UF_E_ARG, "uf_model_set_meta: model and key must be given");
    uf_status st = ufi_meta_set(&m->file.meta, key, value, err);
    if (!st) {
        ufi_signature_spoil(&m->file.signature);
        ufi_model_id(&m->file, m->id);
    }
    return st;
}

const char *uf_model_id(const uf_model *m)
{
    return m->id;
}

/* ---- what it is made of ---- */

size_t uf_model_input_count(const uf_model *m)
{
    return m->file.graph.input_count;
}

size_t uf_model_output_count(const uf_model *m)
{
    return m->file.graph.output_count;
}

static void value_info(const ufi_graph *g, uint32_t value, uf_tensor_info *out)
{
    const ufi_value *v = &g->values[value];
    *out = (uf_tensor_info){.name = v->name, .dtype = v->dtype};
    if (!v->has_shape)
        return;
    out->rank = v->shape.rank;
    memcpy(out->dims, v->shape.dims, sizeof out->dims);
}

uf_status uf_model_input(const uf_model *m, size_t i, uf_tensor_info *out, uf_error *err)
{
    if (i >= m->file.graph.input_count)
        return ufi_fail(err, UF_E_ARG, "input %zu: the model has %u", i, m->file.graph.input_count);
    value_info(&m->file.graph, m->file.graph.inputs[i], out);
    return UF_OK;
}

uf_status uf_model_output(const uf_model *m, size_t i, uf_tensor_info *out, uf_error *err)
{
    if (i >= m->file.graph.output_count)
        return ufi_fail(err, UF_E_ARG, "output %zu: the model has %u", i,
                        m->file.graph.output_count);
    value_info(&m->file.graph, m->file.graph.outputs[i], out);
    return UF_OK;
}

size_t uf_model_node_count(const uf_model *m)
{
    return m->file.graph.node_count;
}

uint64_t uf_model_parameter_count(const uf_model *m)
{
    uint64_t total = 0;
    const ufi_graph *g = &m->file.graph;
    for (uint32_t i = 0; i < g->value_count; i++)
        if (g->values[i].data && g->values[i].shape.rank > 0 && g->values[i].dtype != UF_I64)
            total += (uint64_t)ufi_shape_count(&g->values[i].shape);
    return total;
}

/* ---- programs ---- */

uf_status ufi_model_program(uf_model *m, const char *device, ufi_program **out, uf_error *err)
{
    uf_status st = UF_OK;
    ufi_mutex_lock(m->mutex);
    if (!m->program)
        st = ufi_program_create(&m->program, &m->file.graph, device, err);
    else if (device && strcmp(device, "auto") != 0 &&
             strcmp(device, ufi_program_device(m->program)) != 0) {
        st = ufi_device_check(device, err);
        if (!st)
            st =
                ufi_fail(err, UF_E_STATE, "the model is on device %s already: open it again for %s",
                         ufi_program_device(m->program), device);
    }
    *out = m->program;
    ufi_mutex_unlock(m->mutex);
    return st;
}

void ufi_model_release_pages(uf_model *m)
{
    if (m->file.map.data)
        ufi_file_map_release(&m->file.map, m->file.map.data, m->file.map.size);
}

/* ---- devices ---- */

size_t uf_device_count(void)
{
    return ufi_device_count();
}

uf_status uf_device_get(size_t i, uf_device *out, uf_error *err)
{
    ufi_device_info info;
    if (!out)
        return ufi_fail(err, UF_E_ARG, "uf_device_get: out must be given");
    uf_status st = ufi_device_info_get(i > UINT32_MAX ? UINT32_MAX : (uint32_t)i, &info, err);
    if (st)
        return st;
    memcpy(out->name, info.name, sizeof out->name);
    memcpy(out->description, info.description, sizeof out->description);
    out->cores = info.cores;
    return UF_OK;
}
