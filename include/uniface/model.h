/*
 * uniface/model.h - models: import, load, inspect, run.
 *
 * uf_model is *shareable*: any number of threads may use it at once. uf_engine is *confined*: one
 * thread at a time; make one per thread. Since 0.1.
 */
#ifndef UNIFACE_MODEL_H
#define UNIFACE_MODEL_H

#include "uniface/base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uf_model uf_model;
typedef struct uf_engine uf_engine;

/* Opens a `.ufm` (or an `.onnx`, imported on the fly, with the preset that fits). A file that is
 * cut short meanwhile is UF_E_IO. Once open it is mapped and must not change in place while the
 * model lives (replacing it by another file, as uf_model_save does, is fine). Errors begin with the
 * path: UF_E_IO, UF_E_FORMAT, UF_E_UNSUPPORTED, UF_E_LIMIT, UF_E_NOMEM. */
UF_API uf_status uf_model_open(uf_model **out, const char *path, uf_error *err);
/* The same from memory, which is copied. */
UF_API uf_status uf_model_open_memory(uf_model **out, const void *data, size_t size, uf_error *err);
/* NULL is accepted. Engines, detectors and embedders made of the model must be destroyed first. */
UF_API void uf_model_close(uf_model *m);
UF_API uf_status uf_model_save(const uf_model *m, const char *path, uf_error *err);

typedef struct uf_import_options {
    /* What the network is and how pictures enter it: a name of uf_preset_name, or NULL to recognise
     * it from the graph (an embedder whose preprocessing cannot be told gets "arcface"). */
    const char *preset;
    const char *licence; /* licence of the weights, free text; NULL: "not stated" */
    int32_t optimize;    /* run the graph passes; default 1 */
} uf_import_options;
#define UF_IMPORT_OPTIONS_INIT \
    {                          \
        NULL, NULL, 1          \
    }

/* Imports an ONNX file. `options` may be NULL. An unsupported operator is UF_E_UNSUPPORTED naming
 * operator, node and opset. */
UF_API uf_status uf_model_import(uf_model **out, const char *path, const uf_import_options *options,
                                 uf_error *err);

/* The presets known: name and one line of description; NULL past the end. */
UF_API const char *uf_preset_name(size_t i);
UF_API const char *uf_preset_description(size_t i);

/* Metadata. The text is the model's, valid until it is changed or closed; NULL when absent. */
UF_API const char *uf_model_meta(const uf_model *m, const char *key);
UF_API size_t uf_model_meta_count(const uf_model *m);
UF_API const char *uf_model_meta_key(const uf_model *m, size_t i);
/* Changes or (value NULL) removes an entry. The model must not be in use by other threads. */
UF_API uf_status uf_model_set_meta(uf_model *m, const char *key, const char *value, uf_error *err);
/* 64 hexadecimal digits that name weights, graph and preprocessing; templates bear it. */
UF_API const char *uf_model_id(const uf_model *m);

typedef struct uf_tensor_info {
    const char *name;
    uf_dtype dtype;
    uint32_t rank;
    int64_t dims[UF_MAX_DIMS]; /* -1: dynamic */
} uf_tensor_info;

UF_API size_t uf_model_input_count(const uf_model *m);
UF_API size_t uf_model_output_count(const uf_model *m);
UF_API uf_status uf_model_input(const uf_model *m, size_t i, uf_tensor_info *out, uf_error *err);
UF_API uf_status uf_model_output(const uf_model *m, size_t i, uf_tensor_info *out, uf_error *err);
UF_API size_t uf_model_node_count(const uf_model *m);
UF_API uint64_t uf_model_parameter_count(const uf_model *m);

typedef struct uf_engine_options {
    const char *device; /* "CPU", "GPU:0", or "auto" (default) */
    uint32_t threads;   /* 0 (default): as many as the process has cores */
} uf_engine_options;
#define UF_ENGINE_OPTIONS_INIT \
    {                          \
        "auto", 0              \
    }

/* `m` must outlive the engine. Errors: UF_E_DEVICE_NOT_FOUND (lists what exists), UF_E_NOMEM. */
UF_API uf_status uf_engine_create(uf_engine **out, uf_model *m, const uf_engine_options *options,
                                  uf_error *err);
UF_API void uf_engine_destroy(uf_engine *e);
/* Chooses the inputs' shapes (dims of -1 filled in) and plans; later runs with them allocate
 * nothing. `shapes` has one entry per input. Plans of the last 8 shapes are kept; they share the
 * memory of their activations, so pointers and contents from before another shape are lost. */
UF_API uf_status uf_engine_prepare(uf_engine *e, const uf_tensor_info *shapes, size_t count,
                                   uf_error *err);
/* Where to write input i (dense, logical order, e.g. [n][channel][height][width]) before a run. */
UF_API void *uf_engine_input(uf_engine *e, size_t i, size_t *size_bytes);
UF_API uf_status uf_engine_run(uf_engine *e, uf_error *err);
/* Output i of the last run, valid until the next prepare or run. */
UF_API const void *uf_engine_output(const uf_engine *e, size_t i, uf_tensor_info *info);

/* What ran: one entry per step of the current plan. */
typedef struct uf_step_profile {
    const char *op, *name, *kernel;
    int64_t macs;
    double time_us; /* of the last run with profiling on */
    /* What the engine's threads could reach on such products: as many times what one reaches on a
     * product of matrices in the cache, measured by the first run with profiling on. 0: not
     * measured, or no products. */
    double peak_gmacs_per_s;
    size_t output_bytes;
    uint32_t output_rank;
    int64_t output_dims[UF_MAX_DIMS];
} uf_step_profile;
UF_API void uf_engine_set_profiling(uf_engine *e, int on);
UF_API size_t uf_engine_step_count(const uf_engine *e);
UF_API uf_status uf_engine_step(const uf_engine *e, size_t i, uf_step_profile *out, uf_error *err);
UF_API const char *uf_engine_device(const uf_engine *e); /* what `auto` chose */
UF_API uint32_t uf_engine_threads(const uf_engine *e);
UF_API size_t uf_engine_activation_bytes(const uf_engine *e);
UF_API size_t uf_engine_weight_bytes(const uf_engine *e);

/* Devices. "auto" takes the first. */
typedef struct uf_device {
    char name[16];
    char description[128]; /* processor, instruction sets in use */
    uint32_t cores;
} uf_device;
UF_API size_t uf_device_count(void);
UF_API uf_status uf_device_get(size_t i, uf_device *out, uf_error *err);

#ifdef __cplusplus
}
#endif

#endif
