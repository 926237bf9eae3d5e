/*
 * Forms that changed between opsets, brought to the newest: attributes that became inputs,
 * operators that were replaced, defaults that moved.
 */
#include <math.h>
#include <string.h>

#include "format/onnx.h"

uf_status onnx_add_ints(onnx_import *m, const int64_t *v, uint32_t count, uint32_t *id)
{
    ufi_tensor t = {UF_I64, UFI_PLAIN, {1, {count}}, (void *)(uintptr_t)v};
    return ufi_graph_add_constant(m->g, "", &t, true, id, m->err);
}

uf_status onnx_add_floats(onnx_import *m, const float *v, uint32_t count, bool scalar, uint32_t *id)
{
    ufi_tensor t = {UF_F32, UFI_PLAIN, {scalar ? 0 : 1, {count}}, (void *)(uintptr_t)v};
    return ufi_graph_add_constant(m->g, "", &t, true, id, m->err);
}

/* Makes room for inputs up to `count`, absent ones between. */
static void need_inputs(onnx_node *n, uint32_t count)
{
    while (n->in_count < count)
        n->in[n->in_count++] = UFI_NONE;
}

static uf_status need_list(const onnx_import *m, const onnx_node *n, const onnx_attr *a, int type)
{
    if (a->type == type)
        return UF_OK;
    return onnx_node_fail(m, n, UF_E_FORMAT, "attribute %s is of the wrong type", a->name);
}

/* Input `i` from the list attribute `name`, if that is there. */
static uf_status ints_to_input(onnx_import *m, onnx_node *n, const char *name, uint32_t i)
{
    const onnx_attr *a = onnx_find(n, name);
    if (!a)
        return UF_OK;
    uf_status st = need_list(m, n, a, ONNX_INTS);
    if (st)
        return st;
    need_inputs(n, i + 1);
    return onnx_add_ints(m, a->ints, a->int_count, &n->in[i]);
}

/* Input `i`, a scalar like the first input's type f32, from the float attribute `name`. */
static uf_status float_to_input(onnx_import *m, onnx_node *n, const char *name, uint32_t i)
{
    const onnx_attr *a = onnx_find(n, name);
    if (!a)
        return UF_OK;
    uf_status st = need_list(m, n, a, ONNX_FLOAT);
    if (st)
        return st;
    need_inputs(n, i + 1);
    return onnx_add_floats(m, &a->f, 1, true, &n->in[i]);
}

uf_status onnx_plain(onnx_import *m, onnx_node *n, ufi_op op)
{
    return onnx_emit(m, n, op, NULL);
}

/* Further outputs exist for training only. */
uf_status onnx_first_output(onnx_import *m, onnx_node *n, ufi_op op)
{
    if (op == UFI_OP_IDENTITY && n->in_count > 1)
        n->in_count = 1;
    if (n->out_count > 1)
        n->out_count = 1;
    return onnx_emit(m, n, op, NULL);
}

uf_status onnx_max_pool(onnx_import *m, onnx_node *n, ufi_op op)
{
    if (n->out_count > 1 && n->out[1] != UFI_NONE)
        return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "the indices output is not supported");
    n->out_count = 1;
    return onnx_emit(m, n, op, NULL);
}

uf_status onnx_constant(onnx_import *m, onnx_node *n, ufi_op op)
{
    (void)op;
    ufi_tensor t = {0};
    if (n->out_count != 1 || n->out[0] == UFI_NONE)
        return onnx_node_fail(m, n, UF_E_FORMAT, "a constant without output");
    for (uint32_t i = 0; i < n->attr_count && !t.data; i++) {
        const onnx_attr *a = &n->attrs[i];
        uf_status st = UF_OK;
        uint32_t id = UFI_NONE;
        if (!strcmp(a->name, "value") && a->type == ONNX_TENSOR) {
            st = onnx_tensor(m, a->t, &t, NULL);
        } else if (!strcmp(a->name, "value_float")) {
            st = onnx_add_floats(m, &a->f, 1, true, &id);
        } else if (!strcmp(a->name, "value_floats") && a->floats) {
            st = onnx_add_floats(m, a->floats, a->float_count, false, &id);
        } else if (!strcmp(a->name, "value_ints") && a->ints) {
            st = onnx_add_ints(m, a->ints, a->int_count, &id);
        } else if (!strcmp(a->name, "value_int")) {
            st = onnx_add_ints(m, &a->i, 1, &id);
            if (!st)
                m->g->values[id].shape.rank = 0;
        }
        if (st)
            return st;
        if (id != UFI_NONE) {
            const ufi_value *v = &m->g->values[id];
            t = (ufi_tensor){v->dtype, UFI_PLAIN, v->shape, (void *)(uintptr_t)v->data};
        }
    }
    if (!t.data)
        return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "a constant of this kind is not supported");
    return onnx_set_constant(m, n->out[0], &t);
}

uf_status onnx_constant_of_shape(onnx_import *m, onnx_node *n, ufi_op op)
{
    const onnx_attr *a = onnx_find(n, "value");
    ufi_tensor t = {.dtype = UF_F32};
    ufi_node *added;
    uf_status st = UF_OK;
    if (a) {
        if (a->type != ONNX_TENSOR)
            return onnx_node_fail(m, n, UF_E_FORMAT, "attribute value is no tensor");
        st = onnx_tensor(m, a->t, &t, NULL);
        if (!st && ufi_shape_count(&t.shape) != 1)
            return onnx_node_fail(m, n, UF_E_FORMAT, "attribute value is not one number");
        if (!st && t.dtype != UF_F32 && t.dtype != UF_I64 && t.dtype != UF_I32 &&
            t.dtype != UF_BOOL)
            return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "a value of type %s",
                                  ufi_dtype_name(t.dtype));
    }
    if (!st)
        st = onnx_emit(m, n, op, &added);
    if (st)
        return st;
    int64_t to = t.dtype, i = 0;
    float f = 0;
    if (t.data && t.dtype == UF_F32)
        f = *(const float *)t.data;
    else if (t.data)
        i = t.dtype == UF_I64   ? *(const int64_t *)t.data
            : t.dtype == UF_I32 ? *(const int32_t *)t.data
                                : *(const uint8_t *)t.data;
    st = ufi_node_set_ints(m->g, added, UFI_ATTR_TO, &to, 1, m->err);
    if (st)
        return st;
    return t.dtype == UF_F32 ? ufi_node_set_floats(m->g, added, UFI_ATTR_VALUE, &f, 1, m->err)
                             : ufi_node_set_ints(m->g, added, UFI_ATTR_VALUE, &i, 1, m->err);
}

/* ---- BatchNormalization: scale / sqrt(var + epsilon), and what is left of mean and bias ---- */

static const float *bn_input(const onnx_import *m, const onnx_node *n, uint32_t i, int64_t count)
{
    const ufi_value *v = n->in[i] == UFI_NONE ? NULL : &m->g->values[n->in[i]];
    if (!v || !v->data || v->dtype != UF_F32 || v->shape.rank != 1 ||
        (count >= 0 && v->shape.dims[0] != count))
        return NULL;
    return v->data;
}

uf_status onnx_batch_norm(onnx_import *m, onnx_node *n, ufi_op op)
{
    double epsilon = (double)onnx_float(n, "epsilon", 1e-5f);
    if (n->in_count != 5)
        return onnx_node_fail(m, n, UF_E_FORMAT, "%u inputs, 5 expected", n->in_count);
    const float *scale = bn_input(m, n, 1, -1);
    int64_t c = scale ? m->g->values[n->in[1]].shape.dims[0] : 0;
    const float *bias = bn_input(m, n, 2, c), *mean = bn_input(m, n, 3, c),
                *var = bn_input(m, n, 4, c);
    if (!scale || !bias || !mean || !var || c == 0)
        return onnx_node_fail(m, n, UF_E_UNSUPPORTED,
                              "scale, bias, mean and variance must be f32 constants of one length");
    float *out = ufi_arena_alloc(&m->g->arena, (size_t)c * 2, sizeof *out);
    if (!out)
        return ufi_fail(m->err, UF_E_NOMEM, "no memory for a node");
    for (int64_t i = 0; i < c; i++) {
        double s = (double)scale[i] / sqrt((double)var[i] + epsilon);
        out[i] = (float)s;
        out[c + i] = (float)((double)bias[i] - (double)mean[i] * s);
    }
    ufi_tensor t[2] = {{UF_F32, UFI_PLAIN, {1, {c}}, out}, {UF_F32, UFI_PLAIN, {1, {c}}, out + c}};
    uf_status st = ufi_graph_add_constant(m->g, "", &t[0], false, &n->in[1], m->err);
    if (!st)
        st = ufi_graph_add_constant(m->g, "", &t[1], false, &n->in[2], m->err);
    n->in_count = 3;
    n->out_count = n->out_count ? 1 : 0;
    return st ? st : onnx_emit(m, n, op, NULL);
}

/* ---- attributes that became inputs ---- */

uf_status onnx_clip(onnx_import *m, onnx_node *n, ufi_op op)
{
    uf_status st = float_to_input(m, n, "min", 1);
    if (!st)
        st = float_to_input(m, n, "max", 2);
    return st ? st : onnx_emit(m, n, op, NULL);
}

uf_status onnx_slice(onnx_import *m, onnx_node *n, ufi_op op)
{
    uf_status st = ints_to_input(m, n, "starts", 1);
    if (!st)
        st = ints_to_input(m, n, "ends", 2);
    if (!st)
        st = ints_to_input(m, n, "axes", 3);
    return st ? st : onnx_emit(m, n, op, NULL);
}

uf_status onnx_pad(onnx_import *m, onnx_node *n, ufi_op op)
{
    uf_status st = ints_to_input(m, n, "pads", 1);
    if (!st)
        st = float_to_input(m, n, "value", 2);
    return st ? st : onnx_emit(m, n, op, NULL);
}

uf_status onnx_axes(onnx_import *m, onnx_node *n, ufi_op op)
{
    uf_status st = ints_to_input(m, n, "axes", 1);
    return st ? st : onnx_emit(m, n, op, NULL);
}

uf_status onnx_split(onnx_import *m, onnx_node *n, ufi_op op)
{
    uf_status st = ints_to_input(m, n, "split", 1);
    return st ? st : onnx_emit(m, n, op, NULL);
}

uf_status onnx_top_k(onnx_import *m, onnx_node *n, ufi_op op)
{
    const onnx_attr *k = onnx_find(n, "k");
    uf_status st = UF_OK;
    if (k) {
        need_inputs(n, 2);
        st = onnx_add_ints(m, &k->i, 1, &n->in[1]);
    }
    return st ? st : onnx_emit(m, n, op, NULL);
}

/* ---- meanings and defaults that changed ---- */

uf_status onnx_softmax(onnx_import *m, onnx_node *n, ufi_op op)
{
    ufi_node *added;
    const int64_t coerce = m->opset < 13, axis = onnx_int(n, "axis", coerce ? 1 : -1);
    uf_status st = onnx_emit(m, n, op, &added);
    if (!st)
        st = ufi_node_set_ints(m->g, added, UFI_ATTR_AXIS, &axis, 1, m->err);
    if (!st && coerce)
        st = ufi_node_set_ints(m->g, added, UFI_ATTR_COERCE_2D, &coerce, 1, m->err);
    return st;
}

uf_status onnx_cast(onnx_import *m, onnx_node *n, ufi_op op)
{
    ufi_node *added;
    int64_t to = ufi_onnx_dtype((uint64_t)onnx_int(n, "to", 0));
    if (to == UF_DTYPE_NONE)
        return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "conversion to this type is not supported");
    uf_status st = onnx_emit(m, n, op, &added);
    return st ? st : ufi_node_set_ints(m->g, added, UFI_ATTR_TO, &to, 1, m->err);
}

/* The resizing of Upsample and of Resize before opset 11: corners at zero, nearest rounds down. */
static uf_status old_resize(onnx_import *m, onnx_node *n, ufi_op op)
{
    const onnx_attr *mode = onnx_find(n, "mode");
    bool linear = mode && (ufi_proto_is(&mode->s, "linear") || ufi_proto_is(&mode->s, "bilinear"));
    ufi_node *added;
    if (mode && !linear && !ufi_proto_is(&mode->s, "nearest"))
        return onnx_node_fail(m, n, UF_E_UNSUPPORTED, "this mode is not supported");
    if (n->in_count != 2)
        return onnx_node_fail(m, n, UF_E_FORMAT, "%u inputs, 2 expected", n->in_count);
    n->in[2] = n->in[1];
    n->in[1] = UFI_NONE;
    n->in_count = 3;
    uf_status st = onnx_emit(m, n, op, &added);
    if (!st)
        st = ufi_node_set_string(m->g, added, UFI_ATTR_MODE, linear ? "linear" : "nearest",
                                 linear ? 6 : 7, m->err);
    if (!st)
        st = ufi_node_set_string(m->g, added, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "asymmetric",
                                 10, m->err);
    return st ? st : ufi_node_set_string(m->g, added, UFI_ATTR_NEAREST_MODE, "floor", 5, m->err);
}

uf_status onnx_upsample(onnx_import *m, onnx_node *n, ufi_op op)
{
    const onnx_attr *scales = onnx_find(n, "scales");
    uf_status st = UF_OK;
    if (scales) {
        st = need_list(m, n, scales, ONNX_FLOATS);
        need_inputs(n, 2);
        if (!st)
            st = onnx_add_floats(m, scales->floats, scales->float_count, false, &n->in[1]);
    }
    return st ? st : old_resize(m, n, op);
}

uf_status onnx_resize(onnx_import *m, onnx_node *n, ufi_op op)
{
    if (m->opset < 11)
        return old_resize(m, n, op);
    const onnx_attr *policy = onnx_find(n, "keep_aspect_ratio_policy");
    if (onnx_int(n, "antialias", 0) || onnx_find(n, "axes") ||
        (policy && !ufi_proto_is(&policy->s, "stretch")))
        return onnx_node_fail(m, n, UF_E_UNSUPPORTED,
                              "antialias, axes and keep_aspect_ratio_policy are not supported");
    /* Exporters write empty tensors for inputs they leave out. */
    for (uint32_t i = 1; i < n->in_count; i++)
        if (n->in[i] != UFI_NONE && m->g->values[n->in[i]].data &&
            ufi_shape_count(&m->g->values[n->in[i]].shape) == 0)
            n->in[i] = UFI_NONE;
    if (n->in_count > 3 && n->in[3] != UFI_NONE)
        n->in[2] = UFI_NONE;
    return onnx_emit(m, n, op, NULL);
}
