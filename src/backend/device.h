/*
 * What a device must offer. One table per kind of device, one row in the list of backend.c. The
 * generic part (backend.c) parses names, caches plans and checks arguments. Floor 4.
 */
#ifndef UFI_BACKEND_DEVICE_H
#define UFI_BACKEND_DEVICE_H

#include "backend/backend.h"

typedef struct ufi_device_ops {
    const char *kind; /* "CPU", "GPU": devices are named "CPU" or "GPU:<index>" */
    uint32_t (*count)(void);
    uf_status (*describe)(uint32_t index, ufi_device_info *out, uf_error *err);

    uf_status (*program_create)(void **program, const ufi_graph *graph, uint32_t index,
                                uf_error *err);
    /* See ufi_program_set_exact. Optional: NULL where FP32 is always computed so. */
    void (*program_set_exact)(void *program);
    void (*program_destroy)(void *program);
    size_t (*program_packed_bytes)(const void *program);

    uf_status (*queue_create)(void **queue, void *program, unsigned threads, uf_error *err);
    void (*queue_destroy)(void *queue);
    unsigned (*queue_threads)(const void *queue);
    /* See ufi_context_set_steady. Optional: NULL where plans are steady anyway or cannot be. */
    void (*queue_set_steady)(void *queue);

    uf_status (*plan_create)(void **plan, void *queue, const ufi_shape *inputs, ufi_layout layout,
                             uf_error *err);
    void (*plan_destroy)(void *plan);
    uf_status (*plan_run)(void *plan, bool profile, uf_error *err);
    /* Input or output i of the plan. */
    ufi_tensor *(*plan_tensor)(void *plan, bool output, uint32_t i);
    /* Step i, or false past the last. */
    bool (*plan_step)(const void *plan, uint32_t i, ufi_step_info *out);
    size_t (*plan_bytes)(const void *plan);
} ufi_device_ops;

extern const ufi_device_ops ufi_cpu_device;

#endif
