/*
 * The generic half of every device: naming, plan cache, argument checks. What a device does itself
 * is in device.h.
 */
#include "backend/backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "base/mem.h"

#define PLAN_CACHE 8

static const ufi_device_ops *const device_kinds[] = {&ufi_cpu_device};
#define KIND_COUNT (sizeof device_kinds / sizeof device_kinds[0])

struct ufi_program {
    const ufi_device_ops *ops;
    void *impl;
    const ufi_graph *graph;
    char device[16];
};

typedef struct cached_plan {
    void *impl;
    ufi_shape *shapes;
    ufi_layout layout;
    uint64_t last_used;
} cached_plan;

struct ufi_context {
    ufi_program *program;
    void *queue;
    cached_plan plans[PLAN_CACHE];
    cached_plan *current;
    uint64_t tick;
    bool profiling;
};

/* ---- devices ---- */

static void device_name(const ufi_device_ops *ops, uint32_t index, char *out, size_t size)
{
    if (strcmp(ops->kind, "CPU") == 0)
        snprintf(out, size, "CPU");
    else
        snprintf(out, size, "%s:%u", ops->kind, index);
}

/* The kind and index of the i-th device overall. */
static const ufi_device_ops *nth_device(uint32_t i, uint32_t *index)
{
    for (size_t k = 0; k < KIND_COUNT; k++) {
        uint32_t count = device_kinds[k]->count();
        if (i < count) {
            *index = i;
            return device_kinds[k];
        }
        i -= count;
    }
    return NULL;
}

uint32_t ufi_device_count(void)
{
    uint32_t total = 0;
    for (size_t k = 0; k < KIND_COUNT; k++)
        total += device_kinds[k]->count();
    return total;
}

uf_status ufi_device_info_get(uint32_t i, ufi_device_info *out, uf_error *err)
{
    uint32_t index;
    const ufi_device_ops *ops = nth_device(i, &index);
    if (!ops)
        return ufi_fail(err, UF_E_ARG, "device index %u: there are %u devices", i,
                        ufi_device_count());
    *out = (ufi_device_info){0};
    device_name(ops, index, out->name, sizeof out->name);
    return ops->describe(index, out, err);
}

static uf_status find_device(const char *name, const ufi_device_ops **ops, uint32_t *index,
                             uf_error *err)
{
    char list[256] = "", candidate[16];
    size_t used = 0;
    bool automatic = !name || strcmp(name, "auto") == 0;
    for (uint32_t i = 0; (*ops = nth_device(i, index)); i++) {
        device_name(*ops, *index, candidate, sizeof candidate);
        if (automatic || strcmp(name, candidate) == 0)
            return UF_OK;
        int n = snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", candidate);
        used = n < 0 || used + (size_t)n >= sizeof list ? sizeof list - 1 : used + (size_t)n;
    }
    return ufi_fail(err, UF_E_DEVICE_NOT_FOUND, "device \"%s\" not found; this machine has: %s",
                    name ? name : "auto", list);
}

/* ---- programs ---- */

uf_status ufi_device_check(const char *name, uf_error *err)
{
    const ufi_device_ops *ops;
    uint32_t index;
    return find_device(name, &ops, &index, err);
}

uf_status ufi_program_create(ufi_program **out, const ufi_graph *graph, const char *device,
                             uf_error *err)
{
    const ufi_device_ops *ops;
    uint32_t index;
    uf_status st = find_device(device, &ops, &index, err);
    if (st)
        return st;
    ufi_program *p = ufi_calloc(1, sizeof *p);
    if (!p)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a program");
    p->ops = ops;
    p->graph = graph;
    device_name(ops, index, p->device, sizeof p->device);
    st = ops->program_create(&p->impl, graph, index, err);
    if (st) {
        ufi_free(p);
        return st;
    }
    *out = p;
    return UF_OK;
}

void ufi_program_set_exact(ufi_program *p)
{
    if (p->ops->program_set_exact)
        p->ops->program_set_exact(p->impl);
}

void ufi_program_destroy(ufi_program *p)
{
    if (!p)
        return;
    p->ops->program_destroy(p->impl);
    ufi_free(p);
}

const ufi_graph *ufi_program_graph(const ufi_program *p)
{
    return p->graph;
}

const char *ufi_program_device(const ufi_program *p)
{
    return p->device;
}

size_t ufi_program_packed_bytes(const ufi_program *p)
{
    return p->ops->program_packed_bytes(p->impl);
}

/* ---- contexts ---- */

uf_status ufi_context_create(ufi_context **out, ufi_program *p, unsigned threads, uf_error *err)
{
    ufi_context *c = ufi_calloc(1, sizeof *c);
    if (!c)
        return ufi_fail(err, UF_E_NOMEM, "no memory for a context");
    c->program = p;
    uf_status st = p->ops->queue_create(&c->queue, p->impl, threads, err);
    if (st) {
        ufi_free(c);
        return st;
    }
    *out = c;
    return UF_OK;
}

void ufi_context_set_steady(ufi_context *c)
{
    if (c->program->ops->queue_set_steady)
        c->program->ops->queue_set_steady(c->queue);
}

static void drop_plan(ufi_context *c, cached_plan *plan)
{
    if (plan->impl)
        c->program->ops->plan_destroy(plan->impl);
    ufi_free(plan->shapes);
    *plan = (cached_plan){0};
}

void ufi_context_destroy(ufi_context *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < PLAN_CACHE; i++)
        drop_plan(c, &c->plans[i]);
    c->program->ops->queue_destroy(c->queue);
    ufi_free(c);
}

/* Whether the shapes a caller asks for fit what the model declares. A fixed batch (dimension 0) may
 * be overridden: many networks were exported with batch 1 and work with any. */
static uf_status check_input(const ufi_graph *g, uint32_t i, const ufi_shape *asked, uf_error *err)
{
    const ufi_value *v = &g->values[g->inputs[i]];
    char want[96], got[96];
    ufi_shape_text(asked, got, sizeof got);
    if (ufi_shape_count(asked) <= 0)
        return ufi_fail(err, UF_E_ARG, "input \"%s\": shape %s must have only positive dimensions",
                        v->name, got);
    if (!v->has_shape)
        return UF_OK;
    bool fits = asked->rank == v->shape.rank;
    for (uint32_t d = 1; fits && d < asked->rank; d++)
        fits = v->shape.dims[d] < 0 || v->shape.dims[d] == asked->dims[d];
    ufi_shape_text(&v->shape, want, sizeof want);
    if (!fits)
        return ufi_fail(err, UF_E_MISMATCH, "input \"%s\": shape %s does not fit the model's %s",
                        v->name, got, want);
    return UF_OK;
}

static bool same_shapes(const cached_plan *p, const ufi_shape *shapes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!ufi_shape_equal(&p->shapes[i], &shapes[i]))
            return false;
    return true;
}

static cached_plan *find_plan(ufi_context *c, const ufi_shape *shapes, uint32_t count,
                              ufi_layout layout)
{
    for (size_t i = 0; i < PLAN_CACHE; i++) {
        cached_plan *p = &c->plans[i];
        if (p->impl && p->layout == layout && same_shapes(p, shapes, count))
            return p;
    }
    return NULL;
}

uf_status ufi_context_prepare(ufi_context *c, const ufi_shape *inputs, uint32_t count,
                              ufi_layout input_layout, uf_error *err)
{
    const ufi_graph *g = c->program->graph;
    if (count != g->input_count)
        return ufi_fail(err, UF_E_ARG, "%u input shapes given, the model has %u inputs", count,
                        g->input_count);
    cached_plan *p = find_plan(c, inputs, count, input_layout);
    if (!p) {
        for (uint32_t i = 0; i < count; i++) {
            uf_status st = check_input(g, i, &inputs[i], err);
            if (st)
                return st;
        }
        p = &c->plans[0];
        for (size_t i = 1; i < PLAN_CACHE; i++)
            if (c->plans[i].last_used < p->last_used)
                p = &c->plans[i];
        if (c->current == p)
            c->current = NULL;
        drop_plan(c, p);
        p->shapes = ufi_calloc(count ? count : 1, sizeof *p->shapes);
        if (!p->shapes)
            return ufi_fail(err, UF_E_NOMEM, "no memory for a plan");
        memcpy(p->shapes, inputs, count * sizeof *inputs);
        p->layout = input_layout;
        uf_status st = c->program->ops->plan_create(&p->impl, c->queue, inputs, input_layout, err);
        if (st) {
            p->impl = NULL;
            drop_plan(c, p);
            return st;
        }
    }
    p->last_used = ++c->tick;
    c->current = p;
    return UF_OK;
}

ufi_tensor *ufi_context_input(ufi_context *c, uint32_t i)
{
    return c->program->ops->plan_tensor(c->current->impl, false, i);
}

const ufi_tensor *ufi_context_output(const ufi_context *c, uint32_t i)
{
    return c->program->ops->plan_tensor(c->current->impl, true, i);
}

uf_status ufi_context_run(ufi_context *c, uf_error *err)
{
    if (!c->current)
        return ufi_fail(err, UF_E_STATE, "choose input shapes (prepare) before running");
    return c->program->ops->plan_run(c->current->impl, c->profiling, err);
}

void ufi_context_set_profiling(ufi_context *c, bool on)
{
    c->profiling = on;
}

uint32_t ufi_context_step_count(const ufi_context *c)
{
    ufi_step_info info;
    uint32_t n = 0;
    while (c->current && c->program->ops->plan_step(c->current->impl, n, &info))
        n++;
    return n;
}

void ufi_context_step(const ufi_context *c, uint32_t i, ufi_step_info *out)
{
    *out = (ufi_step_info){0};
    if (c->current)
        c->program->ops->plan_step(c->current->impl, i, out);
}

size_t ufi_context_packed_bytes(const ufi_context *c)
{
    return ufi_program_packed_bytes(c->program);
}

unsigned ufi_context_threads(const ufi_context *c)
{
    return c->program->ops->queue_threads(c->queue);
}

size_t ufi_context_arena_bytes(const ufi_context *c)
{
    return c->current ? c->program->ops->plan_bytes(c->current->impl) : 0;
}
