/*
 * Layers that end single-shot detectors in OpenVINO IR. Priors are computed at import.
 * DetectionOutput, which decodes boxes and drops overlapping ones, becomes its decoding alone, in
 * our operators: scores [N,P,classes] and corners [N,P,4] as fractions of the input are the
 * outputs, and what follows is the detector's (src/model/detector.c), as for every other network.
 */
#include <string.h>

#include "format/openvino.h"

enum { MAX_PRIORS = 64 };

/* ---- StridedSlice ---- */

/* Bit i of mask `key` ("1,0", empty: all 0) says that entry i does not count; -1: malformed. */
static int read_mask(const ov_job *j, const char *key, int64_t mask[UF_MAX_DIMS])
{
    memset(mask, 0, UF_MAX_DIMS * sizeof *mask);
    return ov_attr_ints(j->layer, key, mask, UF_MAX_DIMS);
}

static bool is_unmasked(const ov_job *j, const char *key)
{
    int64_t mask[UF_MAX_DIMS];
    if (read_mask(j, key, mask) < 0)
        return false;
    for (int i = 0; i < UF_MAX_DIMS; i++)
        if (mask[i])
            return false;
    return true;
}

/* Constant list `input` of i64 into out; how many, or -1. */
static int64_t read_list(const ov_job *j, uint32_t input, int64_t out[UF_MAX_DIMS])
{
    const ufi_value *v = ov_constant(j, input);
    const int64_t count = v && v->dtype == UF_I64 ? ufi_shape_count(&v->shape) : -1;
    if (count < 0 || count > UF_MAX_DIMS)
        return -1;
    memcpy(out, v->data, (size_t)count * sizeof *out);
    return count;
}

uf_status ov_make_strided_slice(ov_job *j)
{
    int64_t begin[UF_MAX_DIMS], end[UF_MAX_DIMS], stride[UF_MAX_DIMS], axes[UF_MAX_DIMS];
    int64_t from_start[UF_MAX_DIMS], to_end[UF_MAX_DIMS];
    uint32_t in[5] = {j->in[0]};
    const int64_t count = read_list(j, 1, begin);
    if (count < 1 || read_list(j, 2, end) != count)
        return ov_fail(j, UF_E_UNSUPPORTED, "where it begins or ends is not constant");
    for (int64_t i = 0; i < count; i++) {
        axes[i] = i;
        stride[i] = 1;
    }
    if (j->in_count > 3 && read_list(j, 3, stride) != count)
        return ov_fail(j, UF_E_UNSUPPORTED, "strides that are not constant");
    if (read_mask(j, "begin_mask", from_start) < 0 || read_mask(j, "end_mask", to_end) < 0 ||
        !is_unmasked(j, "new_axis_mask") || !is_unmasked(j, "shrink_axis_mask") ||
        !is_unmasked(j, "ellipsis_mask"))
        return ov_fail(j, UF_E_UNSUPPORTED, "one of its masks is not supported");
    for (int64_t i = 0; i < count; i++) {
        if (from_start[i])
            begin[i] = stride[i] < 0 ? INT64_MAX : 0;
        if (to_end[i])
            end[i] = stride[i] < 0 ? INT64_MIN : INT64_MAX;
    }
    uf_status st = ov_new_ints(j, begin, count, &in[1]);
    if (!st)
        st = ov_new_ints(j, end, count, &in[2]);
    if (!st)
        st = ov_new_ints(j, axes, count, &in[3]);
    if (!st)
        st = ov_new_ints(j, stride, count, &in[4]);
    return st ? st : ov_new_node(j, UFI_OP_SLICE, in, 5, j->out, NULL);
}

/* ---- PriorBoxClustered ---- */

typedef struct priors {
    int64_t rows, columns;           /* of the feature map */
    float image_height, image_width; /* of the network's input */
    float step_y, step_x, offset;    /* centres: (index + offset) * step */
    float width[MAX_PRIORS], height[MAX_PRIORS], variance[4];
    int count; /* at each cell */
    bool clip;
} priors;

/* Height and width that arrive at input `input`: the end of a known shape. */
static bool read_size(const ov_job *j, uint32_t input, int64_t *height, int64_t *width)
{
    const ov_model *m = j->k->m;
    const ov_layer *slice = ov_source(m, j->layer, input);
    const ov_layer *shape_of =
        slice && !strcmp(slice->type, "StridedSlice") ? ov_source(m, slice, 0) : NULL;
    const ufi_value *known = ov_constant(j, input);
    if (known && known->dtype == UF_I64 && ufi_shape_count(&known->shape) == 2) {
        *height = ((const int64_t *)known->data)[0];
        *width = ((const int64_t *)known->data)[1];
    } else if (shape_of && !strcmp(shape_of->type, "ShapeOf") && shape_of->port_count &&
               shape_of->ports[0].shape.rank == 4) {
        *height = shape_of->ports[0].shape.dims[2];
        *width = shape_of->ports[0].shape.dims[3];
    } else {
        return false;
    }
    return *height > 0 && *height <= 65536 && *width > 0 && *width <= 65536;
}

static uf_status read_priors(const ov_job *j, priors *p)
{
    const ov_layer *l = j->layer;
    int64_t image_height, image_width;
    float step = 0;
    if (j->in_count != 2 || !read_size(j, 0, &p->rows, &p->columns) ||
        !read_size(j, 1, &image_height, &image_width))
        return ov_fail(j, UF_E_UNSUPPORTED, "sizes that are not known at import");
    p->image_height = (float)image_height;
    p->image_width = (float)image_width;
    p->count = ufi_parse_floats(ov_attr_text(l, "width", ""), ',', p->width, MAX_PRIORS);
    p->clip = ov_is_true(j, "clip");
    const int variances = ufi_parse_floats(ov_attr_text(l, "variance", "0.1"), ',', p->variance, 4);
    if (variances == 1)
        p->variance[1] = p->variance[2] = p->variance[3] = p->variance[0];
    if (p->count < 1 || (variances != 1 && variances != 4) ||
        ufi_parse_floats(ov_attr_text(l, "height", ""), ',', p->height, MAX_PRIORS) != p->count ||
        ufi_parse_floats(ov_attr_text(l, "step", "0"), ',', &step, 1) != 1 ||
        ufi_parse_floats(ov_attr_text(l, "step_w", "0"), ',', &p->step_x, 1) != 1 ||
        ufi_parse_floats(ov_attr_text(l, "step_h", "0"), ',', &p->step_y, 1) != 1 ||
        ufi_parse_floats(ov_attr_text(l, "offset", "0"), ',', &p->offset, 1) != 1)
        return ov_fail(j, UF_E_FORMAT, "its lists of numbers are malformed or do not agree");
    if (!(p->step_x > 0))
        p->step_x = step > 0 ? step : p->image_width / (float)p->columns;
    if (!(p->step_y > 0))
        p->step_y = step > 0 ? step : p->image_height / (float)p->rows;
    return UF_OK;
}

static float clip(const priors *p, float v)
{
    if (!p->clip)
        return v;
    return v < 0 ? 0 : v > 1 ? 1 : v;
}

/* Corners of all priors as fractions of the input, then their variances. */
static void fill_priors(float *corners, float *variances, const priors *p)
{
    for (int64_t y = 0; y < p->rows; y++)
        for (int64_t x = 0; x < p->columns; x++)
            for (int i = 0; i < p->count; i++, corners += 4, variances += 4) {
                const float cx = ((float)x + p->offset) * p->step_x;
                const float cy = ((float)y + p->offset) * p->step_y;
                corners[0] = clip(p, (cx - p->width[i] / 2) / p->image_width);
                corners[1] = clip(p, (cy - p->height[i] / 2) / p->image_height);
                corners[2] = clip(p, (cx + p->width[i] / 2) / p->image_width);
                corners[3] = clip(p, (cy + p->height[i] / 2) / p->image_height);
                memcpy(variances, p->variance, sizeof p->variance);
            }
}

uf_status ov_make_prior_box_clustered(ov_job *j)
{
    priors p;
    uf_status st = read_priors(j, &p);
    if (st)
        return st;
    const int64_t numbers = p.rows * p.columns * p.count * 4;
    if (numbers > 1 << 24)
        return ov_fail(j, UF_E_LIMIT, "more than four million priors");
    float *data = ufi_arena_alloc(&j->k->g->arena, (size_t)numbers * 2, sizeof *data);
    if (!data)
        return ov_fail(j, UF_E_NOMEM, "no memory for the priors");
    fill_priors(data, data + numbers, &p);
    ufi_value *v = &j->k->g->values[j->out];
    v->dtype = UF_F32;
    v->shape = (ufi_shape){2, {2, numbers}};
    v->has_shape = true;
    v->data = data;
    return UF_OK;
}

/* ---- DetectionOutput ---- */

static uf_status reshape(ov_job *j, uint32_t in, const int64_t *dims, int64_t rank, uint32_t *out)
{
    uint32_t both[2] = {in, UFI_NONE};
    uf_status st = ov_new_ints(j, dims, rank, &both[1]);
    if (!st)
        st = ov_new_value(j, out);
    return st ? st : ov_new_node(j, UFI_OP_RESHAPE, both, 2, *out, NULL);
}

/* Entries first .. last - 1 of axis `axis`. */
static uf_status part(ov_job *j, uint32_t in, int64_t axis, int64_t first, int64_t last,
                      uint32_t *out)
{
    uint32_t all[4] = {in};
    uf_status st = ov_new_ints(j, &first, 1, &all[1]);
    if (!st)
        st = ov_new_ints(j, &last, 1, &all[2]);
    if (!st)
        st = ov_new_ints(j, &axis, 1, &all[3]);
    if (!st)
        st = ov_new_value(j, out);
    return st ? st : ov_new_node(j, UFI_OP_SLICE, all, 4, *out, NULL);
}

static uf_status apply(ov_job *j, ufi_op op, uint32_t a, uint32_t b, uint32_t *out)
{
    const uint32_t in[2] = {a, b};
    uf_status st = ov_new_value(j, out);
    return st ? st : ov_new_node(j, op, in, b == UFI_NONE ? 1 : 2, *out, NULL);
}

/* Centres and half the sides of the priors [2,P,4]: each [1,P,2]. */
static uf_status split_priors(ov_job *j, uint32_t all, uint32_t *centre, uint32_t *half)
{
    const float one_half = 0.5f;
    const ufi_tensor t = {UF_F32, UFI_PLAIN, {0, {0}}, (void *)(uintptr_t)&one_half};
    uint32_t corners, least, most, sum, size, factor;
    uf_status st = part(j, all, 0, 0, 1, &corners);
    if (!st)
        st = part(j, corners, 2, 0, 2, &least);
    if (!st)
        st = part(j, corners, 2, 2, 4, &most);
    if (!st)
        st = ufi_graph_add_constant(j->k->g, j->layer->name, &t, true, &factor, j->k->err);
    if (!st)
        st = apply(j, UFI_OP_ADD, least, most, &sum);
    if (!st)
        st = apply(j, UFI_OP_MUL, sum, factor, centre);
    if (!st)
        st = apply(j, UFI_OP_SUB, most, least, &size);
    return st ? st : apply(j, UFI_OP_MUL, size, factor, half);
}

/* Corners [N,P,4] into the layer's output of offsets [N,P,4]: the centre is moved by offsets in
 * sides of the prior, the sides are multiplied by exponentials (Liu et al. 2016, SSD). */
static uf_status decode(ov_job *j, uint32_t offsets, uint32_t centre, uint32_t half)
{
    uint32_t move, grow, both[2];
    ufi_node *n;
    const int64_t axis = 2;
    uf_status st = part(j, offsets, 2, 0, 2, &move);
    if (!st)
        st = part(j, offsets, 2, 2, 4, &grow);
    if (!st) /* the side is two halves */
        st = apply(j, UFI_OP_ADD, move, move, &move);
    if (!st)
        st = apply(j, UFI_OP_MUL, move, half, &move);
    if (!st)
        st = apply(j, UFI_OP_ADD, move, centre, &move);
    if (!st)
        st = apply(j, UFI_OP_EXP, grow, UFI_NONE, &grow);
    if (!st)
        st = apply(j, UFI_OP_MUL, grow, half, &grow);
    if (!st)
        st = apply(j, UFI_OP_SUB, move, grow, &both[0]);
    if (!st)
        st = apply(j, UFI_OP_ADD, move, grow, &both[1]);
    if (!st)
        st = ov_new_node(j, UFI_OP_CONCAT, both, 2, j->out, &n);
    return st ? st : ufi_node_set_ints(j->k->g, n, UFI_ATTR_AXIS, &axis, 1, j->k->err);
}

/* What we do instead gives the same faces only for these settings, and at the network's end. */
static uf_status check_settings(const ov_job *j)
{
    const ov_model *m = j->k->m;
    const char *code = ov_attr_text(j->layer, "code_type", "");
    const size_t length = strlen(code);
    int64_t background = 0;
    if (j->in_count != 3 || length < 11 || strcmp(code + length - 11, "CENTER_SIZE") != 0 ||
        !ov_is_true(j, "share_location") || !ov_is_true(j, "normalized") ||
        ov_attr_ints(j->layer, "background_label_id", &background, 1) < 0 || background != 0)
        return ov_fail(j, UF_E_UNSUPPORTED,
                       "only boxes by centre and size, shared by all classes, normalized, with the "
                       "background as class 0 are supported");
    for (uint32_t i = 0; i < m->edge_count; i++)
        for (uint32_t k = 0; m->edges[i].from_layer == j->layer->id && k < m->layer_count; k++)
            if (m->layers[k].id == m->edges[i].to_layer && strcmp(m->layers[k].type, "Result") != 0)
                return ov_fail(j, UF_E_UNSUPPORTED, "its output is not the network's");
    return UF_OK;
}

uf_status ov_make_detection_output(ov_job *j)
{
    const int64_t four[3] = {0, -1, 4}, two_rows[3] = {2, -1, 4};
    uint32_t offsets, all, variances, centre, half, scores;
    uf_status st = check_settings(j);
    if (st)
        return st;
    const ufi_shape *boxes = &j->layer->ports[0].shape, *classes = &j->layer->ports[1].shape;
    const int64_t count = boxes->rank == 2 ? boxes->dims[1] / 4 : 0;
    if (count < 1 || classes->rank != 2 || classes->dims[1] < 2 * count ||
        classes->dims[1] % count || boxes->dims[1] % 4)
        return ov_fail(j, UF_E_FORMAT, "its boxes and scores have not the shapes they must have");
    const int64_t by_class[3] = {0, -1, classes->dims[1] / count};
    st = reshape(j, j->in[0], four, 3, &offsets);
    if (!st)
        st = reshape(j, j->in[2], two_rows, 3, &all);
    if (!st)
        st = split_priors(j, all, &centre, &half);
    if (!st && !ov_is_true(j, "variance_encoded_in_target")) {
        st = part(j, all, 0, 1, 2, &variances);
        if (!st)
            st = apply(j, UFI_OP_MUL, offsets, variances, &offsets);
    }
    if (!st)
        st = decode(j, offsets, centre, half);
    if (!st)
        st = reshape(j, j->in[1], by_class, 3, &scores);
    if (!st && j->k->output_count == UFI_MAX_NODE_IO)
        st = ov_fail(j, UF_E_LIMIT, "too many outputs");
    if (!st)
        j->k->outputs[j->k->output_count++] = scores;
    return st;
}
