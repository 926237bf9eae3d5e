/* What all step builders share: places of values, conversions, operands, epilogues. */
#include "backend/cpu/build.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

bool cpu_is_constant(const cpu_builder *b, uint32_t value)
{
    return b->g->values[value].data != NULL;
}

bool cpu_is_f32(const cpu_builder *b, uint32_t value)
{
    return b->g->values[value].dtype == UF_F32;
}

ufi_tensor cpu_constant(const cpu_builder *b, uint32_t value)
{
    const ufi_value *v = &b->g->values[value];
    /* Readers only: the cast drops const because one tensor type serves both directions. */
    return (ufi_tensor){v->dtype, UFI_PLAIN, v->shape, (void *)(uintptr_t)v->data};
}

bool cpu_layouts_agree(const ufi_shape *s)
{
    return s->rank != 4 || s->dims[1] == 1 || (s->dims[2] == 1 && s->dims[3] == 1);
}

ufi_layout cpu_current_layout(const cpu_builder *b, uint32_t value)
{
    return b->places[value].buffer[UFI_NHWC] >= 0 ? UFI_NHWC : UFI_PLAIN;
}

void *cpu_params(cpu_builder *b, size_t size)
{
    void *p = ufi_arena_alloc(&b->plan->arena, 1, size);
    if (!p)
        ufi_fail(b->err, UF_E_NOMEM, "no memory for a plan");
    return p;
}

/* ---- buffers ---- */

static uf_status grow_buffers(cpu_builder *b)
{
    uint32_t cap = b->buffer_cap ? b->buffer_cap * 2 : 256;
    ufi_buffer *buffers = ufi_realloc(b->plan->buffers, cap, sizeof *buffers);
    if (buffers)
        b->plan->buffers = buffers;
    uint32_t *pending = ufi_realloc(b->pending, cap, sizeof *pending);
    if (pending)
        b->pending = pending;
    bool *pinned = ufi_realloc(b->pinned, cap, sizeof *pinned);
    if (pinned)
        b->pinned = pinned;
    if (!buffers || !pending || !pinned)
        return ufi_fail(b->err, UF_E_NOMEM, "no memory for a plan");
    b->buffer_cap = cap;
    return UF_OK;
}

static uf_status new_buffer(cpu_builder *b, size_t bytes, uint32_t uses, int32_t *index)
{
    cpu_plan *p = b->plan;
    if (p->buffer_count == b->buffer_cap) {
        uf_status st = grow_buffers(b);
        if (st)
            return st;
    }
    *index = (int32_t)p->buffer_count++;
    p->buffers[*index] = (ufi_buffer){.size_bytes = bytes, .same_as = -1};
    b->pending[*index] = uses;
    b->pinned[*index] = false;
    return UF_OK;
}

static void set_place(cpu_builder *b, uint32_t value, ufi_layout layout, int32_t buffer)
{
    b->places[value].buffer[layout] = buffer;
    if (cpu_layouts_agree(cpu_shape(b, value)))
        b->places[value].buffer[!layout] = buffer;
}

static ufi_tensor value_tensor(const cpu_builder *b, uint32_t value, ufi_layout layout)
{
    const ufi_value *v = &b->g->values[value];
    return (ufi_tensor){v->dtype, v->shape.rank == 4 ? layout : UFI_PLAIN, v->shape, NULL};
}

/* ---- operands ---- */

/* A constant in NHWC order, in the plan's arena. */
static uf_status constant_to_nhwc(cpu_builder *b, uint32_t value, const void **out)
{
    ufi_tensor t = cpu_constant(b, value);
    const int64_t *d = t.shape.dims;
    size_t c = (size_t)d[1], pixels = (size_t)(d[2] * d[3]);
    float *copy = cpu_params(b, ufi_tensor_bytes(&t));
    if (!copy)
        return UF_E_NOMEM;
    for (size_t n = 0; n < (size_t)d[0]; n++)
        b->k->transpose_f32(copy + n * c * pixels, c, (const float *)t.data + n * c * pixels,
                            pixels, c, pixels);
    *out = copy;
    return UF_OK;
}

/* A large constant that a step would read in the model's file, in the plan's arena: a file that is
 * cut short during a run kills the process. */
static uf_status constant_from_map(cpu_builder *b, uint32_t value, const void **data)
{
    cpu_place *place = &b->places[value];
    const ufi_file_map *map = &cpu_program_graph(b->program)->map;
    const uintptr_t at = (uintptr_t)*data, from = (uintptr_t)map->data;
    if (at < from || at - from >= map->size)
        return UF_OK;
    if (!place->data[UFI_PLAIN]) {
        const ufi_tensor t = cpu_constant(b, value);
        void *copy = cpu_params(b, ufi_tensor_bytes(&t));
        if (!copy)
            return UF_E_NOMEM;
        place->data[UFI_PLAIN] = memcpy(copy, *data, ufi_tensor_bytes(&t));
    }
    *data = place->data[UFI_PLAIN];
    return UF_OK;
}

static uf_status constant_in(cpu_builder *b, uint32_t value, ufi_layout layout, cpu_operand *out)
{
    cpu_place *place = &b->places[value];
    *out = (cpu_operand){value_tensor(b, value, layout), -1};
    const void *data = b->g->values[value].data;
    if (layout == UFI_NHWC && !cpu_layouts_agree(cpu_shape(b, value))) {
        if (!cpu_is_f32(b, value))
            return UF_E_UNSUPPORTED;
        if (!place->data[UFI_NHWC]) {
            uf_status st = constant_to_nhwc(b, value, &place->data[UFI_NHWC]);
            if (st)
                return st;
        }
        data = place->data[UFI_NHWC];
    }
    uf_status st = constant_from_map(b, value, &data);
    if (st)
        return st;
    out->t.data = (void *)(uintptr_t)data;
    return UF_OK;
}

uf_status cpu_in(cpu_builder *b, uint32_t value, ufi_layout layout, cpu_operand *out)
{
    if (cpu_is_constant(b, value))
        return constant_in(b, value, layout, out);
    cpu_place *place = &b->places[value];
    *out = (cpu_operand){value_tensor(b, value, layout), place->buffer[layout]};
    if (out->buffer >= 0)
        return UF_OK;
    cpu_operand from = {value_tensor(b, value, !layout), place->buffer[!layout]};
    uf_status st = new_buffer(b, ufi_tensor_bytes(&out->t), b->uses[value], &out->buffer);
    if (st)
        return st;
    place->buffer[layout] = out->buffer;
    return cpu_add_conversion(b, &from, out);
}

uf_status cpu_out(cpu_builder *b, uint32_t value, ufi_layout layout, const cpu_operand *reuse,
                  cpu_operand *out)
{
    *out = (cpu_operand){value_tensor(b, value, layout), -1};
    size_t bytes = ufi_tensor_bytes(&out->t);
    if (reuse && reuse->buffer >= 0 && b->pending[reuse->buffer] == 0 &&
        !b->pinned[reuse->buffer] && b->plan->buffers[reuse->buffer].size_bytes == bytes) {
        out->buffer = reuse->buffer;
        b->pending[out->buffer] = b->uses[value];
    } else {
        uf_status st = new_buffer(b, bytes, b->uses[value], &out->buffer);
        if (st)
            return st;
    }
    set_place(b, value, layout, out->buffer);
    return UF_OK;
}

void cpu_alias(cpu_builder *b, uint32_t value, ufi_layout layout, const cpu_operand *operand)
{
    b->pending[operand->buffer] += b->uses[value];
    set_place(b, value, layout, operand->buffer);
}

/* ---- steps ---- */

static cpu_operand *copy_operands(cpu_builder *b, const cpu_operand *from, uint32_t count)
{
    cpu_operand *copy = cpu_params(b, (count ? count : 1) * sizeof *copy);
    if (copy && count)
        memcpy(copy, from, count * sizeof *copy);
    return copy;
}

uf_status cpu_add_step(cpu_builder *b, const ufi_node *n, cpu_run_fn *run, const char *kernel,
                       const cpu_operand *in, uint32_t in_count, const cpu_operand *out,
                       uint32_t out_count, const void *params, cpu_step **step)
{
    cpu_plan *p = b->plan;
    if (p->step_count == b->step_cap) {
        uint32_t cap = b->step_cap ? b->step_cap * 2 : 256;
        cpu_step *steps = ufi_realloc(p->steps, cap, sizeof *steps);
        if (!steps)
            return ufi_fail(b->err, UF_E_NOMEM, "no memory for a plan");
        p->steps = steps;
        b->step_cap = cap;
    }
    cpu_step *s = &p->steps[p->step_count];
    *s = (cpu_step){.run = run,
                    .node = n,
                    .kernel = kernel,
                    .in_count = in_count,
                    .out_count = out_count,
                    .params = params};
    s->in = copy_operands(b, in, in_count);
    s->out = copy_operands(b, out, out_count);
    if (!s->in || !s->out)
        return UF_E_NOMEM;
    s->macs = n ? ufi_node_macs(b->g, n) : 0;
    p->step_count++;
    if (step)
        *step = s;
    return UF_OK;
}

/* ---- epilogues ---- */

static uf_status slope_vector(cpu_builder *b, const ufi_node *n, uint32_t slope, size_t channels,
                              ufk_epilogue *out)
{
    if (ufi_node_int(n, UFI_ATTR_ACT, 0) == UFI_ACT_LEAKY) {
        float *filled = cpu_params(b, channels * sizeof *filled);
        if (!filled)
            return UF_E_NOMEM;
        for (size_t i = 0; i < channels; i++)
            filled[i] = ufi_node_float(n, UFI_ATTR_ACT_ALPHA, 0.01f);
        out->slope = filled;
        return UF_OK;
    }
    if (slope == UFI_NONE || !cpu_is_constant(b, slope))
        return UF_E_UNSUPPORTED;
    ufi_tensor t = cpu_constant(b, slope);
    int64_t count = ufi_shape_count(&t.shape);
    if (count != 1 && count != (int64_t)channels)
        return UF_E_UNSUPPORTED;
    return cpu_pack(b->program, &b->plan->arena, CPU_PACK_VECTOR, &t, (uint32_t)channels,
                    &out->slope, b->err);
}

uf_status cpu_epilogue(cpu_builder *b, const ufi_node *n, uint32_t bias, uint32_t slope,
                       size_t channels, ufk_epilogue *out)
{
    *out = (ufk_epilogue){.act = UFK_ACT_NONE};
    if (bias != UFI_NONE) {
        if (!cpu_is_constant(b, bias) || ufi_shape_count(cpu_shape(b, bias)) != (int64_t)channels)
            return UF_E_UNSUPPORTED;
        out->bias = cpu_constant(b, bias).data;
    }
    switch ((ufi_act)ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE)) {
    case UFI_ACT_NONE:
        return UF_OK;
    case UFI_ACT_RELU:
        out->act = UFK_ACT_CLAMP;
        out->hi = INFINITY;
        return UF_OK;
    case UFI_ACT_CLAMP:
        out->act = UFK_ACT_CLAMP;
        out->lo = ufi_node_float(n, UFI_ATTR_ACT_LO, -INFINITY);
        out->hi = ufi_node_float(n, UFI_ATTR_ACT_HI, INFINITY);
        return UF_OK;
    case UFI_ACT_PRELU:
    case UFI_ACT_LEAKY:
        out->act = UFK_ACT_PRELU;
        return slope_vector(b, n, slope, channels, out);
    case UFI_ACT_HARD_SWISH:
        out->act = UFK_ACT_HARD_SWISH;
        return UF_OK;
    case UFI_ACT_SILU:
        out->act = UFK_ACT_SILU;
        return UF_OK;
    case UFI_ACT_SIGMOID:
        out->act = UFK_ACT_SIGMOID;
        return UF_OK;
    }
    return UF_E_UNSUPPORTED;
}
