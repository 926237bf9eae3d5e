/*
 * FakeQuantize of OpenVINO: a tensor that says which whole numbers it would be rounded to. Where
 * bytes can do that, it becomes QuantizeLinear and DequantizeLinear, and the convolutions between
 * run on bytes. There are three such forms:
 *
 *   - one range for all;
 *   - a range for each channel, all with the same zero point: the channels are scaled, then it is
 *     one range. Depthwise convolutions are quantised so; pass `quant` gives them the scales back;
 *   - whole numbers of a constant, spread over a range for each filter: weights.
 *
 * All else is computed in FP32 as the specification has it.
 */
#include <math.h>
#include <string.h>

#include "format/openvino.h"

/* The constant ends: of what comes in (0 and 1) and what goes out (2 and 3). */
typedef struct ranges {
    const float *end[4];
    int64_t in_count, count; /* numbers for what comes in and goes out */
    ufi_shape in_shape, shape;
} ranges;

static bool read_ranges(const ov_job *j, ranges *r)
{
    for (uint32_t i = 0; i < 4; i++) {
        const ufi_value *v = ov_constant(j, i + 1);
        int64_t *count = i < 2 ? &r->in_count : &r->count;
        ufi_shape *shape = i < 2 ? &r->in_shape : &r->shape;
        if (!v || v->dtype != UF_F32 || ufi_shape_count(&v->shape) < 1)
            return false;
        r->end[i] = v->data;
        if (i % 2 == 0) {
            *count = ufi_shape_count(&v->shape);
            *shape = v->shape;
        } else if (*count != ufi_shape_count(&v->shape) ||
                   (*count > 1 && !ufi_shape_equal(shape, &v->shape))) {
            return false;
        }
    }
    return true;
}

/* ---- activations ---- */

/* In and out are the same, all ranges hold 0 and share a zero point. */
static bool bytes_can(const ov_job *j, const ranges *r)
{
    uint8_t zero = 0, first = 0;
    float scale;
    const size_t bytes = (size_t)r->count * sizeof(float);
    if (ov_constant(j, 0) || r->in_count != r->count || memcmp(r->end[0], r->end[2], bytes) != 0 ||
        memcmp(r->end[1], r->end[3], bytes) != 0)
        return false;
    for (int64_t i = 0; i < r->count; i++) {
        const float lo = r->end[0][i], hi = r->end[1][i];
        if (!(lo <= 0 && hi > 0 && hi - lo > 1e-20f && isfinite(hi - lo)))
            return false;
        ufi_range_to_u8(lo, hi, &scale, &zero);
        first = i ? first : zero;
        if (zero != first)
            return false;
    }
    return r->count == 1 || (r->shape.rank == 4 && r->shape.dims[1] == r->count &&
                             ufi_shape_equal(&r->in_shape, &r->shape));
}

/* to = from, rounded to bytes of this scale and zero point. */
static uf_status round_to_bytes(ov_job *j, uint32_t from, uint32_t to, float scale, uint8_t zero)
{
    const ufi_tensor z = {UF_U8, UFI_PLAIN, {0, {0}}, &zero};
    uint32_t in[3] = {from, 0, 0}, bytes = UFI_NONE;
    uf_status st = ov_new_float(j, scale, &in[1]);
    if (!st)
        st = ufi_graph_add_constant(j->k->g, j->layer->name, &z, true, &in[2], j->k->err);
    if (!st)
        st = ov_new_value(j, &bytes);
    if (!st)
        st = ov_new_node(j, UFI_OP_QUANTIZE_LINEAR, in, 3, bytes, NULL);
    in[0] = bytes;
    return st ? st : ov_new_node(j, UFI_OP_DEQUANTIZE_LINEAR, in, 3, to, NULL);
}

static uf_status with_one_range(ov_job *j, const ranges *r)
{
    float scale;
    uint8_t zero;
    ufi_range_to_u8(r->end[0][0], r->end[1][0], &scale, &zero);
    return round_to_bytes(j, j->in[0], j->out, scale, zero);
}

static uf_status with_a_range_each(ov_job *j, const ranges *r)
{
    float *down, *up;
    uint8_t zero = 0;
    uint32_t in[2] = {j->in[0], 0}, scales = 0, scaled = UFI_NONE, rounded = UFI_NONE;
    uf_status st =
        ufi_graph_add_floats(j->k->g, j->layer->name, &r->shape, &down, &in[1], j->k->err);
    if (!st)
        st = ufi_graph_add_floats(j->k->g, j->layer->name, &r->shape, &up, &scales, j->k->err);
    for (int64_t i = 0; !st && i < r->count; i++) {
        ufi_range_to_u8(r->end[0][i], r->end[1][i], &up[i], &zero);
        down[i] = 1 / up[i];
    }
    if (!st)
        st = ov_new_value(j, &scaled);
    if (!st)
        st = ov_new_node(j, UFI_OP_MUL, in, 2, scaled, NULL);
    if (!st)
        st = ov_new_value(j, &rounded);
    if (!st)
        st = round_to_bytes(j, scaled, rounded, 1, zero);
    in[0] = rounded, in[1] = scales;
    return st ? st : ov_new_node(j, UFI_OP_MUL, in, 2, j->out, NULL);
}

/* ---- weights ---- */

/* The whole numbers that the layer reads, as floats, or NULL. */
static const ufi_value *whole_numbers(const ov_job *j, uint32_t *id)
{
    const ov_layer *convert = ov_source(j->k->m, j->layer, 0);
    const ov_layer *bytes =
        convert && !strcmp(convert->type, "Convert") ? ov_source(j->k->m, convert, 0) : NULL;
    if (!bytes || strcmp(bytes->type, "Const") != 0 || bytes->port_count != 1)
        return NULL;
    *id = bytes->ports[0].value;
    const ufi_value *v = &j->k->g->values[*id];
    return v->data && (v->dtype == UF_I8 || v->dtype == UF_U8) ? v : NULL;
}

/* Of filter f: what one whole number is worth, and which of them is 0. */
static bool weight_scale(const ranges *r, int64_t f, int64_t levels, float *scale, float *zero)
{
    *scale = (r->end[3][f] - r->end[2][f]) / (float)(levels - 1);
    if (!(*scale > 0) || !isfinite(*scale))
        return false;
    const float exact = r->end[0][0] - r->end[2][f] / *scale;
    *zero = rintf(exact);
    return fabsf(exact - *zero) < 1e-3f;
}

/* The numbers are the levels themselves, spread over a range for each filter, with a whole zero. */
static bool is_dequantization(const ov_job *j, const ranges *r, int64_t levels)
{
    uint32_t id;
    float scale, zero;
    const ufi_value *w = whole_numbers(j, &id);
    if (!w || r->in_count != 1 || r->end[0][0] != rintf(r->end[0][0]) ||
        r->end[1][0] - r->end[0][0] != (float)(levels - 1) || w->shape.rank != 4 ||
        r->shape.rank != 4 || r->shape.dims[0] != r->count || r->count != w->shape.dims[0])
        return false;
    for (int64_t f = 0; f < r->count; f++)
        if (!weight_scale(r, f, levels, &scale, &zero) || zero < (w->dtype == UF_I8 ? -128 : 0) ||
            zero > (w->dtype == UF_I8 ? 127 : 255))
            return false;
    const int64_t count = ufi_shape_count(&w->shape);
    for (int64_t i = 0; i < count; i++) {
        const float v = w->dtype == UF_I8 ? (float)((const int8_t *)w->data)[i]
                                          : (float)((const uint8_t *)w->data)[i];
        if (v < r->end[0][0] || v > r->end[1][0]) /* it would be clamped */
            return false;
    }
    return true;
}

static uf_status dequantize(ov_job *j, const ranges *r, int64_t levels)
{
    uint32_t in[3];
    const ufi_value *w = whole_numbers(j, &in[0]);
    const ufi_shape vector = {.rank = 1, .dims = {r->count}};
    uint8_t *zeros = ufi_arena_alloc(&j->k->g->arena, (size_t)r->count, 1);
    const ufi_tensor z = {w->dtype, UFI_PLAIN, vector, zeros};
    const int64_t axis = 0;
    float *scales, zero = 0;
    ufi_node *n;
    if (!zeros)
        return ov_fail(j, UF_E_NOMEM, "no memory for its zero points");
    uf_status st =
        ufi_graph_add_floats(j->k->g, j->layer->name, &vector, &scales, &in[1], j->k->err);
    for (int64_t f = 0; !st && f < r->count; f++) {
        weight_scale(r, f, levels, &scales[f], &zero);
        zeros[f] = (uint8_t)(int)zero; /* of signed bytes their bits */
    }
    if (!st)
        st = ufi_graph_add_constant(j->k->g, j->layer->name, &z, false, &in[2], j->k->err);
    if (!st)
        st = ov_new_node(j, UFI_OP_DEQUANTIZE_LINEAR, in, 3, j->out, &n);
    return st ? st : ufi_node_set_ints(j->k->g, n, UFI_ATTR_AXIS, &axis, 1, j->k->err);
}

/* ---- in FP32 ---- */

/* out = op(a, b), a new value, or the layer's output. */
static uf_status binary(ov_job *j, ufi_op op, uint32_t a, uint32_t b, uint32_t *out, bool last)
{
    const uint32_t in[2] = {a, b};
    uf_status st = UF_OK;
    if (last)
        *out = j->out;
    else
        st = ov_new_value(j, out);
    return st ? st : ov_new_node(j, op, in, b == UFI_NONE ? 1 : 2, *out, NULL);
}

/* round((clamp(x, il, ih) - il) / (ih - il) * (levels - 1)) / (levels - 1) * (oh - ol) + ol, in
 * FP32; of a constant it is computed at import. */
uf_status ov_make_fake_quantize(ov_job *j)
{
    int64_t levels;
    ranges r;
    uint32_t steps = UFI_NONE, v = UFI_NONE, span = UFI_NONE, range = UFI_NONE;
    if (j->in_count != 5 || ov_attr_ints(j->layer, "levels", &levels, 1) != 1 || levels < 2 ||
        levels > 65536)
        return ov_fail(j, UF_E_FORMAT, "its inputs or levels are wrong");
    if (read_ranges(j, &r)) {
        if (is_dequantization(j, &r, levels))
            return dequantize(j, &r, levels);
        if (levels == 256 && bytes_can(j, &r))
            return r.count == 1 ? with_one_range(j, &r) : with_a_range_each(j, &r);
    }
    const uint32_t *in = j->in;
    uf_status st = ov_new_float(j, (float)(levels - 1), &steps);
    if (!st)
        st = binary(j, UFI_OP_SUB, in[2], in[1], &span, false);
    if (!st)
        st = binary(j, UFI_OP_SUB, in[4], in[3], &range, false);
    if (!st)
        st = binary(j, UFI_OP_MAX, in[0], in[1], &v, false);
    if (!st)
        st = binary(j, UFI_OP_MIN, v, in[2], &v, false);
    if (!st)
        st = binary(j, UFI_OP_SUB, v, in[1], &v, false);
    if (!st)
        st = binary(j, UFI_OP_DIV, v, span, &v, false);
    if (!st)
        st = binary(j, UFI_OP_MUL, v, steps, &v, false);
    if (!st)
        st = binary(j, UFI_OP_ROUND, v, UFI_NONE, &v, false);
    if (!st)
        st = binary(j, UFI_OP_DIV, v, steps, &v, false);
    if (!st)
        st = binary(j, UFI_OP_MUL, v, range, &v, false);
    return st ? st : binary(j, UFI_OP_ADD, v, in[3], &v, true);
}
