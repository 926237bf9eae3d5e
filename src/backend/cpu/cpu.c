/* The CPU as a device: its description and its row of functions. */
#include "backend/cpu/cpu.h"

#include <stdio.h>

#include "backend/device.h"
#include "base/cpu.h"
#include "base/mem.h"

static uint32_t count(void)
{
    return 1;
}

static uf_status describe(uint32_t index, ufi_device_info *out, uf_error *err)
{
    char flags[73];
    ufi_cpu_flags_text(ufi_cpu_flags(), flags, sizeof flags);
    snprintf(out->description, sizeof out->description, "%.40s, %s%s%s", ufi_cpu_name(),
             ufi_cpu_arch(), flags[0] ? " " : "", flags);
    out->cores = ufi_cpu_count();
    return UF_OK;
}

static uf_status queue_create(void **out, void *program, unsigned threads, uf_error *err)
{
    cpu_queue *q = ufi_calloc(1, sizeof *q);
    if (!q)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a context");
    q->program = program;
    uf_status st = ufi_pool_create(&q->pool, threads ? threads : ufi_cpu_count(), err);
    if (st) {
        ufi_free(q);
        return st;
    }
    *out = q;
    return UF_OK;
}

static void queue_destroy(void *queue)
{
    cpu_queue *q = queue;
    if (!q)
        return;
    ufi_pool_destroy(q->pool);
    ufi_free(q->memory);
    ufi_free(q);
}

static void queue_set_steady(void *queue)
{
    ((cpu_queue *)queue)->steady = true;
}

static unsigned queue_threads(const void *queue)
{
    return ufi_pool_size(((const cpu_queue *)queue)->pool);
}

const ufi_device_ops ufi_cpu_device = {
    .kind = "CPU",
    .count = count,
    .describe = describe,
    .program_create = cpu_program_create,
    .program_set_exact = cpu_program_set_exact,
    .program_destroy = cpu_program_destroy,
    .program_packed_bytes = cpu_program_packed_bytes,
    .queue_create = queue_create,
    .queue_destroy = queue_destroy,
    .queue_threads = queue_threads,
    .queue_set_steady = queue_set_steady,
    .plan_create = cpu_plan_create,
    .plan_destroy = cpu_plan_destroy,
    .plan_run = cpu_plan_run,
    .plan_tensor = cpu_plan_tensor,
    .plan_step = cpu_plan_step,
    .plan_bytes = cpu_plan_bytes,
};
