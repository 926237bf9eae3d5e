/* The rewriting of an FP32 graph into bytes or words, node by node in topological order. Where it
 * says bytes it may be words. */
#include "optimize/quantize.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "optimize/rounding.h"

/* A value of the source in the new graph: as FP32, as bytes, or both. */
typedef struct place {
    uint32_t as_float, as_bytes; /* value ids, UFI_NONE while not made */
    uint32_t scale, zero;        /* constants of the bytes */
    uint32_t readers;            /* nodes of the source that could read it as bytes */
} place;

typedef struct quantizer {
    const ufi_graph *g;
    ufi_graph *to;
    const ufi_observer *observer;
    const ufi_quantize_options *options;
    place *places;      /* per value of g */
    uint32_t *producer; /* per value of g: node, or UFI_NONE */
    uint32_t convolutions;
    uf_error *err;
} quantizer;

static uf_status no_memory(quantizer *q)
{
    return ufi_fail(q->err, UF_E_NOMEM, "no memory for quantising");
}

static bool is_constant(const quantizer *q, uint32_t v)
{
    return q->g->values[v].data != NULL;
}

/* ---- which nodes can work on bytes ---- */

static bool act_is_supported(const quantizer *q, const ufi_node *n)
{
    int64_t act = ufi_node_int(n, UFI_ATTR_ACT, UFI_ACT_NONE);
    return !(q->options->words && act == UFI_ACT_HARD_SWISH) && act != UFI_ACT_SILU &&
           act != UFI_ACT_SIGMOID;
}

/* Attribute `key`, of a convolution of images, asks for nothing. */
static bool are_ones(const ufi_node *n, ufi_attr_key key)
{
    const ufi_attr *a = ufi_node_attr(n, key);
    return !a || (a->u.ints[0] == 1 && a->u.ints[1] == 1);
}

/* Plain 3x3 kernels over many channels, for which FP32 by Winograd is faster than words. */
static bool has_fewer_products(const ufi_node *n, const ufi_shape *w)
{
    const int64_t *d = w->dims;
    return d[0] >= 32 && d[1] >= 32 && d[2] == 3 && d[3] == 3 && are_ones(n, UFI_ATTR_STRIDES);
}

/* Words need filters whose rounding is small beside what they may add up to, and a fast kernel:
 * there is none for dilated ones, nor for depthwise ones but 3x3 over 8 channels and more. */
static bool fits_words(const ufi_node *n, const ufi_shape *w)
{
    const int64_t *d = w->dims, group = ufi_node_int(n, UFI_ATTR_GROUP, 1);
    const bool depthwise = group == d[0] && d[0] >= 8 && d[1] == 1 && d[2] == 3 && d[3] == 3;
    return are_ones(n, UFI_ATTR_DILATIONS) &&
           (depthwise || (group == 1 && !has_fewer_products(n, w))) &&
           d[1] * d[2] * d[3] <= UFI_WORDS_MOST / 8;
}

static bool is_quantised_conv(const quantizer *q, uint32_t node)
{
    const ufi_node *n = &q->g->nodes[node];
    if (n->op != UFI_OP_CONV || (q->options->keep_float && q->options->keep_float[node]))
        return false;
    const ufi_value *x = &q->g->values[n->in[0]], *w = &q->g->values[n->in[1]];
    return w->data && w->dtype == UF_F32 && w->shape.rank == 4 && x->dtype == UF_F32 &&
           (!q->options->words || fits_words(n, &w->shape)) && act_is_supported(q, n) &&
           (!ufi_node_has(n, 2) || is_constant(q, n->in[2])) &&
           (!ufi_node_has(n, 3) || is_constant(q, n->in[3])) &&
           (!ufi_node_has(n, 4) || !is_constant(q, n->in[4]));
}

/* The [N,C,H,W] before a flattening and a fully connected layer (a convolution), or UFI_NONE. */
static uint32_t gemm_source(const quantizer *q, uint32_t node)
{
    const ufi_node *n = &q->g->nodes[node];
    if (n->op != UFI_OP_GEMM || q->options->words ||
        (q->options->keep_float && q->options->keep_float[node]) ||
        q->producer[n->in[0]] == UFI_NONE || !is_constant(q, n->in[1]) || !act_is_supported(q, n) ||
        ufi_node_int(n, UFI_ATTR_TRANS_A, 0) || !ufi_node_int(n, UFI_ATTR_TRANS_B, 0) ||
        ufi_node_float(n, UFI_ATTR_ALPHA, 1) != 1.0f || ufi_node_float(n, UFI_ATTR_BETA, 1) != 1.0f)
        return UFI_NONE;
    const ufi_node *flat = &q->g->nodes[q->producer[n->in[0]]];
    if (flat->op != UFI_OP_FLATTEN && flat->op != UFI_OP_RESHAPE)
        return UFI_NONE;
    const ufi_value *x = &q->g->values[flat->in[0]], *w = &q->g->values[n->in[1]];
    if (x->data || x->dtype != UF_F32 || !x->has_shape || x->shape.rank != 4 ||
        w->dtype != UF_F32 || w->shape.rank != 2)
        return UFI_NONE;
    const int64_t *d = x->shape.dims;
    if (d[1] < 1 || d[2] < 1 || d[3] < 1 || d[1] * d[2] * d[3] != w->shape.dims[1])
        return UFI_NONE;
    if (ufi_node_has(n, 2) && (!is_constant(q, n->in[2]) ||
                               ufi_shape_count(&q->g->values[n->in[2]].shape) != w->shape.dims[0]))
        return UFI_NONE;
    return ufi_observer_histogram(q->observer, flat->in[0]) ? flat->in[0] : UFI_NONE;
}

static bool is_nearest(const ufi_node *n)
{
    return strcmp(ufi_node_string(n, UFI_ATTR_MODE, "nearest"), "nearest") == 0;
}

/* Operators that only move or compare bytes, and keep the scale. */
static bool keeps_scale(const ufi_node *n)
{
    return (n->op == UFI_OP_MAX_POOL && n->out_count == 1) ||
           (n->op == UFI_OP_RESIZE && is_nearest(n));
}

static bool is_addition(const quantizer *q, const ufi_node *n)
{
    if (n->op != UFI_OP_ADD || is_constant(q, n->in[0]) || is_constant(q, n->in[1]))
        return false;
    const ufi_value *a = &q->g->values[n->in[0]], *b = &q->g->values[n->in[1]];
    return a->dtype == UF_F32 && a->has_shape && b->has_shape && a->shape.rank == 4 &&
           ufi_shape_equal(&a->shape, &b->shape);
}

/* A scale and an offset for each channel of an image: a depthwise convolution of one tap, in which
 * the weight is the sign and its scale the size. */
static bool is_scaling(const quantizer *q, const ufi_node *n)
{
    if (n->op != UFI_OP_AFFINE || q->options->words || !is_constant(q, n->in[1]) ||
        !is_constant(q, n->in[2]))
        return false;
    const ufi_value *x = &q->g->values[n->in[0]];
    return !x->data && x->dtype == UF_F32 && x->has_shape && x->shape.rank == 4 &&
           x->shape.dims[1] > 1 &&
           ufi_shape_count(&q->g->values[n->in[1]].shape) == x->shape.dims[1] &&
           ufi_shape_count(&q->g->values[n->in[2]].shape) == x->shape.dims[1];
}

static void count_readers(quantizer *q)
{
    for (uint32_t i = 0; i < q->g->node_count; i++) {
        const ufi_node *n = &q->g->nodes[i];
        uint32_t source = gemm_source(q, i);
        if (is_quantised_conv(q, i)) {
            q->places[n->in[0]].readers++;
            if (ufi_node_has(n, 4))
                q->places[n->in[4]].readers++;
        } else if (source != UFI_NONE) {
            q->places[source].readers++;
        }
    }
    /* Backwards: what works on bytes and whose result is wanted so wants its inputs so. */
    for (uint32_t i = q->g->node_count; i-- > 0;) {
        const ufi_node *n = &q->g->nodes[i];
        if (!n->out_count || n->out[0] == UFI_NONE || !q->places[n->out[0]].readers)
            continue;
        if (keeps_scale(n) || is_addition(q, n) || is_scaling(q, n))
            q->places[n->in[0]].readers++;
        if (is_addition(q, n))
            q->places[n->in[1]].readers++;
    }
}

/* ---- pieces of the new graph ---- */

static uf_status new_value(quantizer *q, uint32_t v, uf_dtype dtype, uint32_t *id)
{
    const ufi_value *from = &q->g->values[v];
    return ufi_graph_add_value(q->to, from->name, dtype, from->has_shape ? &from->shape : NULL, id,
                               q->err);
}

static uf_status add_floats(quantizer *q, const char *name, const float *data, int64_t count,
                            uint32_t *id)
{
    const ufi_tensor t = {UF_F32, UFI_PLAIN, {1, {count}}, (void *)(uintptr_t)data};
    return ufi_graph_add_constant(q->to, name, &t, true, id, q->err);
}

static uf_dtype byte_type(const quantizer *q)
{
    return q->options->words ? UF_I16 : UF_U8;
}

static uf_status add_scale(quantizer *q, place *p, float scale, uint8_t zero)
{
    int16_t none = 0;
    const ufi_tensor s = {UF_F32, UFI_PLAIN, {0, {0}}, &scale};
    const ufi_tensor z = {
        byte_type(q), UFI_PLAIN, {0, {0}}, q->options->words ? (void *)&none : (void *)&zero};
    uf_status st = ufi_graph_add_constant(q->to, "scale", &s, true, &p->scale, q->err);
    return st ? st : ufi_graph_add_constant(q->to, "zero", &z, true, &p->zero, q->err);
}

/* With a quarter to spare for what was not seen: words have more steps than detectors need. */
static float word_scale(float lo, float hi)
{
    const float scale = 1.25f * fmaxf(-lo, hi) / INT16_MAX;
    return scale > 0 && !isinf(scale) ? scale : 1;
}

/* Scale and zero point of value `v` by what was observed. */
static uf_status need_scale(quantizer *q, uint32_t v)
{
    place *p = &q->places[v];
    float lo, hi, scale;
    uint8_t zero;
    if (p->scale != UFI_NONE)
        return UF_OK;
    if (!ufi_observer_range(q->observer, v,
                            q->options->words ? UFI_RANGE_MINMAX : q->options->method, &lo, &hi))
        return ufi_fail(q->err, UF_E_STATE, "value \"%s\" was not observed", q->g->values[v].name);
    if (q->options->words)
        return add_scale(q, p, word_scale(lo, hi), 0);
    ufi_range_to_u8(lo, hi, &scale, &zero);
    return add_scale(q, p, scale, zero);
}

/* The value (no constant) as bytes. */
static uf_status need_bytes(quantizer *q, uint32_t v)
{
    place *p = &q->places[v];
    if (p->as_bytes != UFI_NONE)
        return UF_OK;
    uf_status st = need_scale(q, v);
    if (!st)
        st = new_value(q, v, byte_type(q), &p->as_bytes);
    const uint32_t in[3] = {p->as_float, p->scale, p->zero};
    return st ? st
              : ufi_graph_add_node(q->to, UFI_OP_QUANTIZE_LINEAR, q->g->values[v].name, in, 3,
                                   &p->as_bytes, 1, NULL, q->err);
}

/* The value as FP32; constants are copied over. */
static uf_status need_float(quantizer *q, uint32_t v)
{
    place *p = &q->places[v];
    const ufi_value *value = &q->g->values[v];
    if (p->as_float != UFI_NONE)
        return UF_OK;
    if (value->data) {
        const ufi_tensor t = {value->dtype, UFI_PLAIN, value->shape,
                              (void *)(uintptr_t)value->data};
        return ufi_graph_add_constant(q->to, value->name, &t, true, &p->as_float, q->err);
    }
    uf_status st = new_value(q, v, value->dtype, &p->as_float);
    const uint32_t in[3] = {p->as_bytes, p->scale, p->zero};
    return st ? st
              : ufi_graph_add_node(q->to, UFI_OP_DEQUANTIZE_LINEAR, value->name, in, 3,
                                   &p->as_float, 1, NULL, q->err);
}

static uf_status copy_attributes(quantizer *q, const ufi_node *from, uint32_t index)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < from->attr_count; i++) {
        const ufi_attr *a = &from->attrs[i];
        ufi_node *n = &q->to->nodes[index];
        ufi_attr_key key = (ufi_attr_key)a->key;
        if (a->type == UFI_ATTR_INTS)
            st = ufi_node_set_ints(q->to, n, key, a->u.ints, a->count, q->err);
        else if (a->type == UFI_ATTR_FLOATS)
            st = ufi_node_set_floats(q->to, n, key, a->u.floats, a->count, q->err);
        else
            st = ufi_node_set_string(q->to, n, key, a->u.string, a->count, q->err);
    }
    return st;
}

/* ---- weights ---- */

/* The least BF16 number that is not below x > 0: a scale may be larger than needed, and is stored
 * in half the space. */
static float round_up_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0xFFFF) & 0xFFFF0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Biases and slopes become FP16 numbers, which are stored in half the space: 11 bits are more than
 * the eight that follow. Those that leave its range stay as they are. */
static void round_to_f16(float *x, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmaxf(most, fabsf(x[i]));
    if (most < 6.2e-5f || most > 65000.0f)
        return;
    for (size_t i = 0; i < count; i++)
        x[i] = ufi_f16_to_f32(ufi_f32_to_f16(x[i]));
}

/* The least scale of a filter, [channel][tap], at which processors that add the products of bytes
 * in 16 bits (AVX2) can take two steps of four at once: of 8 consecutive weights, channels
 * innermost, 0, 1, 4 and 5 meet in a sum, and 2, 3, 6 and 7. 255 * 128 fits, whatever the inputs;
 * rounding, to either side (rounding.c), adds at most 1 to each of the four. On average it takes
 * 0.75 bits of the weights, which costs a cosine of 0.0003 at most, and saves a quarter of the time
 * there. */
static float least_scale(const float *w, size_t channels, size_t taps)
{
    float most = 0;
    for (size_t first = 0; first < channels * taps; first += 8) {
        float plus[2] = {0}, minus[2] = {0};
        for (size_t k = first; k < first + 8 && k < channels * taps; k++) {
            const float x = w[k % channels * taps + k / channels];
            plus[k / 2 % 2] += fmaxf(x, 0);
            minus[k / 2 % 2] += fmaxf(-x, 0);
        }
        most = fmaxf(most, fmaxf(fmaxf(plus[0], plus[1]), fmaxf(minus[0], minus[1])));
    }
    return most / (128 - 4);
}

/* Filters of `channels` times `taps` weights to signed bytes, a scale each: the greatest becomes
 * 127, or less. */
static void quantise_filters(int8_t *out, float *scales, const float *w, size_t filters,
                             size_t channels, size_t taps, bool narrow)
{
    const size_t count = channels * taps;
    for (size_t f = 0; f < filters; f++, w += count, out += count) {
        float most = 0;
        for (size_t i = 0; i < count; i++)
            most = fmaxf(most, fabsf(w[i]));
        float scale = most / 127;
        if (narrow && channels > 1)
            scale = fmaxf(scale, least_scale(w, channels, taps));
        scales[f] = most > 1e-30f ? round_up_to_bf16(scale) : 1;
        for (size_t i = 0; i < count; i++)
            out[i] = (int8_t)rintf(fmaxf(fminf(w[i] / scales[f], 127), -127));
    }
}

/* The same weights rounded by what they meet, where that is known. */
static uf_status round_by_patches(const quantizer *q, const ufi_node *n, const ufi_shape *shape,
                                  int8_t *bytes, const float *w, const float *scales)
{
    const ufi_patches *p = q->options->patches ? &q->options->patches[n - q->g->nodes] : NULL;
    if (!p || !p->length)
        return UF_OK;
    double *room = ufi_malloc(2 * p->length, sizeof *room);
    if (!room)
        return ufi_fail(q->err, UF_E_NOMEM, "no memory for quantising");
    for (size_t f = 0; f < (size_t)shape->dims[0]; f++) {
        const size_t at = f * p->length, which = p->count > 1 ? f : 0;
        ufi_round_channel(bytes + at, w + at, scales[f], p->length,
                          p->covariance + which * p->length * p->length, room);
    }
    ufi_free(room);
    return UF_OK;
}

/* What rounding the weights takes from the mean of each output, added to `bias`: for inputs of mean
 * m the loss is (w - scale * bytes) * m (Nagel et al. 2019, 4.2; borders are neglected). */
static void correct_bias(float *bias, const float *w, const int8_t *bytes, const float *scales,
                         const ufi_shape *shape, const ufi_channel_stats *input, bool depthwise)
{
    const size_t taps = (size_t)(shape->dims[2] * shape->dims[3]);
    const size_t per_filter = (size_t)shape->dims[1], filters = (size_t)shape->dims[0];
    for (size_t f = 0; f < filters; f++)
        for (size_t i = 0; i < per_filter; i++) {
            const double mean =
                input->sum[depthwise ? f : i] / (double)(input->count ? input->count : 1);
            double lost = 0;
            for (size_t t = 0; t < taps; t++) {
                const size_t at = (f * per_filter + i) * taps + t;
                lost += (double)w[at] - (double)scales[f] * bytes[at];
            }
            bias[f] += (float)(lost * mean);
        }
}

/* Whether the means of the input's channels are known and meet the weights one by one. */
static bool can_correct(const quantizer *q, const ufi_node *n, uint32_t x, const ufi_shape *shape,
                        bool *depthwise)
{
    const ufi_channel_stats *s = ufi_observer_channels(q->observer, x);
    const int64_t group = n->op == UFI_OP_CONV ? ufi_node_int(n, UFI_ATTR_GROUP, 1) : 1;
    *depthwise = group > 1;
    if (!q->options->correct_bias || !s || !s->channels)
        return false;
    if (group > 1)
        return group == shape->dims[0] && shape->dims[1] == 1 &&
               s->channels == (size_t)shape->dims[0];
    return s->channels == (size_t)shape->dims[1];
}

/* Weights, their scales and the bias of source node `n` that reads `x`, as inputs 1, 4 and 5 of a
 * QConv; `shape` is that of the weights, [M][..], four dims. */
static uf_status add_weights(quantizer *q, const ufi_node *n, uint32_t x, const ufi_shape *shape,
                             uint32_t in[12])
{
    const ufi_value *w = &q->g->values[n->in[1]];
    const size_t count = (size_t)ufi_shape_count(shape), rows = (size_t)shape->dims[0];
    int8_t *bytes = ufi_malloc(count, 1);
    float *scales = ufi_malloc(rows, sizeof *scales), *bias = ufi_calloc(rows, sizeof *bias);
    bool depthwise;
    uf_status st = bytes && scales && bias ? UF_OK : no_memory(q);
    if (!st) {
        quantise_filters(bytes, scales, w->data, rows, (size_t)shape->dims[1],
                         (size_t)(shape->dims[2] * shape->dims[3]), q->options->narrow);
        st = round_by_patches(q, n, shape, bytes, w->data, scales);
    }
    if (!st) {
        const ufi_tensor t = {UF_I8, UFI_PLAIN, *shape, bytes};
        st = ufi_graph_add_constant(q->to, w->name, &t, true, &in[1], q->err);
    }
    if (!st)
        st = add_floats(q, w->name, scales, (int64_t)rows, &in[4]);
    bool corrected = !st && can_correct(q, n, x, shape, &depthwise);
    if (!st && ufi_node_has(n, 2))
        memcpy(bias, q->g->values[n->in[2]].data, rows * sizeof *bias);
    if (corrected)
        correct_bias(bias, w->data, bytes, scales, shape, ufi_observer_channels(q->observer, x),
                     depthwise);
    if (!st && (ufi_node_has(n, 2) || corrected)) {
        round_to_f16(bias, rows);
        st = add_floats(q, n->name, bias, (int64_t)rows, &in[5]);
    }
    ufi_free(bytes);
    ufi_free(scales);
    ufi_free(bias);
    return st;
}

/* Rows of `per_row` weights to words, a scale each: as large as the row's sum allows. */
static void rows_to_words(int16_t *out, float *scales, const float *w, size_t rows, size_t per_row)
{
    for (size_t r = 0; r < rows; r++, w += per_row, out += per_row) {
        double most = 0, sum = 0;
        for (size_t i = 0; i < per_row; i++) {
            most = fmax(most, fabs((double)w[i]));
            sum += fabs((double)w[i]);
        }
        /* Rounding adds half a step to each; one is for the rounding of the scale. */
        const double room = UFI_WORDS_MOST - 1 - 0.5 * (double)per_row;
        scales[r] = (float)fmax(sum / room, most / (INT16_MAX - 1));
        if (!(scales[r] > 1e-30f))
            scales[r] = 1;
        for (size_t i = 0; i < per_row; i++)
            out[i] = (int16_t)rintf(fmaxf(fminf(w[i] / scales[r], INT16_MAX), -INT16_MAX));
    }
}

/* As add_weights, with nothing else rounded. */
static uf_status add_word_weights(quantizer *q, const ufi_node *n, uint32_t in[12])
{
    const ufi_value *w = &q->g->values[n->in[1]];
    const size_t rows = (size_t)w->shape.dims[0], count = (size_t)ufi_shape_count(&w->shape);
    int16_t *words = ufi_malloc(count, sizeof *words);
    float *scales = ufi_malloc(rows, sizeof *scales);
    uf_status st = words && scales ? UF_OK : no_memory(q);
    if (!st) {
        const ufi_tensor t = {UF_I16, UFI_PLAIN, w->shape, words};
        rows_to_words(words, scales, w->data, rows, count / rows);
        st = ufi_graph_add_constant(q->to, w->name, &t, true, &in[1], q->err);
    }
    if (!st)
        st = add_floats(q, w->name, scales, (int64_t)rows, &in[4]);
    if (!st && ufi_node_has(n, 2))
        st = add_floats(q, n->name, q->g->values[n->in[2]].data, (int64_t)rows, &in[5]);
    ufi_free(words);
    ufi_free(scales);
    return st;
}

/* The slopes of a PReLU, constant `v`. */
static uf_status add_slopes(quantizer *q, uint32_t v, uint32_t *id)
{
    const ufi_value *from = &q->g->values[v];
    float *slopes;
    uf_status st = ufi_graph_add_floats(q->to, from->name, &from->shape, &slopes, id, q->err);
    if (st)
        return st;
    const size_t count = (size_t)ufi_shape_count(&from->shape);
    memcpy(slopes, from->data, count * sizeof *slopes);
    if (!q->options->words)
        round_to_f16(slopes, count);
    return UF_OK;
}

/* ---- nodes ---- */

/* A QConv for source node `n`: reads x, writes `out` as bytes if any reader wants them. */
static uf_status add_qconv(quantizer *q, const ufi_node *n, uint32_t x, const ufi_shape *w_shape,
                           uint32_t out_value, bool floats, uint32_t *out)
{
    uint32_t in[12];
    for (int i = 0; i < 12; i++)
        in[i] = UFI_NONE;
    uint32_t residual = n->op == UFI_OP_CONV && ufi_node_has(n, 4) ? n->in[4] : UFI_NONE;
    uf_status st = need_bytes(q, x);
    if (!st)
        st = q->options->words ? add_word_weights(q, n, in) : add_weights(q, n, x, w_shape, in);
    if (!st && n->op == UFI_OP_CONV && ufi_node_has(n, 3))
        st = add_slopes(q, n->in[3], &in[6]);
    if (!st && residual != UFI_NONE)
        st = need_bytes(q, residual);
    if (!st && !floats)
        st = need_scale(q, out_value);
    if (st)
        return st;
    in[0] = q->places[x].as_bytes;
    in[2] = q->places[x].scale;
    in[3] = q->places[x].zero;
    if (residual != UFI_NONE) {
        in[7] = q->places[residual].as_bytes;
        in[8] = q->places[residual].scale;
        in[9] = q->places[residual].zero;
    }
    if (!floats) {
        in[10] = q->places[out_value].scale;
        in[11] = q->places[out_value].zero;
    }
    uint32_t index;
    q->convolutions++;
    st = ufi_graph_add_node(q->to, UFI_OP_QCONV, n->name, in, 12, out, 1, &index, q->err);
    return st ? st : copy_attributes(q, n, index);
}

static uf_status quantise_conv(quantizer *q, const ufi_node *n)
{
    place *p = &q->places[n->out[0]];
    bool floats = p->readers == 0;
    uint32_t *out = floats ? &p->as_float : &p->as_bytes;
    uf_status st = new_value(q, n->out[0], floats ? UF_F32 : byte_type(q), out);
    return st ? st
              : add_qconv(q, n, n->in[0], &q->g->values[n->in[1]].shape, n->out[0], floats, out);
}

static uf_status add_signs(quantizer *q, const float *factors, uint32_t channels, uint32_t in[12])
{
    int8_t *signs = ufi_malloc(channels, 1);
    float *sizes = ufi_malloc(channels, sizeof *sizes);
    uf_status st = signs && sizes ? UF_OK : no_memory(q);
    for (uint32_t i = 0; !st && i < channels; i++) {
        signs[i] = (int8_t)((factors[i] > 0) - (factors[i] < 0));
        sizes[i] = signs[i] ? fabsf(factors[i]) : 1;
    }
    const ufi_tensor t = {UF_I8, UFI_PLAIN, {4, {channels, 1, 1, 1}}, signs};
    if (!st)
        st = ufi_graph_add_constant(q->to, "signs", &t, true, &in[1], q->err);
    if (!st)
        st = add_floats(q, "sizes", sizes, channels, &in[4]);
    ufi_free(signs);
    ufi_free(sizes);
    return st;
}

static uf_status quantise_scaling(quantizer *q, const ufi_node *n)
{
    place *from = &q->places[n->in[0]], *to = &q->places[n->out[0]];
    const int64_t channels = q->g->values[n->in[0]].shape.dims[1];
    uint32_t in[12], index;
    for (int i = 0; i < 12; i++)
        in[i] = UFI_NONE;
    uf_status st = need_bytes(q, n->in[0]);
    if (!st)
        st = need_scale(q, n->out[0]);
    if (!st)
        st = add_signs(q, q->g->values[n->in[1]].data, (uint32_t)channels, in);
    if (!st)
        st = add_floats(q, n->name, q->g->values[n->in[2]].data, channels, &in[5]);
    if (!st)
        st = new_value(q, n->out[0], UF_U8, &to->as_bytes);
    if (st)
        return st;
    in[0] = from->as_bytes;
    in[2] = from->scale;
    in[3] = from->zero;
    in[10] = to->scale;
    in[11] = to->zero;
    st = ufi_graph_add_node(q->to, UFI_OP_QCONV, n->name, in, 12, &to->as_bytes, 1, &index, q->err);
    return st ? st
              : ufi_node_set_ints(q->to, &q->to->nodes[index], UFI_ATTR_GROUP, &channels, 1,
                                  q->err);
}

/* Gemm of a flattened image: a convolution with a kernel of its size, then the flattening. */
static uf_status quantise_gemm(quantizer *q, const ufi_node *n, uint32_t source)
{
    const int64_t *d = q->g->values[source].shape.dims;
    const int64_t filters = q->g->values[n->in[1]].shape.dims[0];
    const ufi_shape w = {4, {filters, d[1], d[2], d[3]}};
    const ufi_shape y = {4, {d[0], filters, 1, 1}};
    uint32_t image, index;
    place *p = &q->places[n->out[0]];
    uf_status st = ufi_graph_add_value(q->to, n->name, UF_F32, &y, &image, q->err);
    if (!st)
        st = add_qconv(q, n, source, &w, n->out[0], true, &image);
    if (!st)
        st = new_value(q, n->out[0], UF_F32, &p->as_float);
    if (!st)
        st = ufi_graph_add_node(q->to, UFI_OP_FLATTEN, n->name, &image, 1, &p->as_float, 1, &index,
                                q->err);
    return st;
}

/* The output has the input's scale. */
static uf_status pass_bytes(quantizer *q, const ufi_node *n)
{
    place *from = &q->places[n->in[0]], *to = &q->places[n->out[0]];
    uint32_t in[4] = {UFI_NONE, UFI_NONE, UFI_NONE, UFI_NONE}, index;
    uf_status st = need_bytes(q, n->in[0]);
    for (uint32_t i = 1; !st && i < n->in_count && i < 4; i++)
        if (ufi_node_has(n, i) && !(st = need_float(q, n->in[i])))
            in[i] = q->places[n->in[i]].as_float;
    if (!st)
        st = new_value(q, n->out[0], byte_type(q), &to->as_bytes);
    if (st)
        return st;
    in[0] = from->as_bytes;
    to->scale = from->scale;
    to->zero = from->zero;
    st = ufi_graph_add_node(q->to, (ufi_op)n->op, n->name, in, n->in_count, &to->as_bytes, 1,
                            &index, q->err);
    return st ? st : copy_attributes(q, n, index);
}

static uf_status quantise_addition(quantizer *q, const ufi_node *n)
{
    place *a = &q->places[n->in[0]], *b = &q->places[n->in[1]], *to = &q->places[n->out[0]];
    uf_status st = need_bytes(q, n->in[0]);
    if (!st)
        st = need_bytes(q, n->in[1]);
    if (!st)
        st = need_scale(q, n->out[0]);
    if (!st)
        st = new_value(q, n->out[0], byte_type(q), &to->as_bytes);
    const uint32_t in[8] = {a->as_bytes, a->scale, a->zero,   b->as_bytes,
                            b->scale,    b->zero,  to->scale, to->zero};
    return st ? st
              : ufi_graph_add_node(q->to, UFI_OP_QLINEAR_ADD, n->name, in, 8, &to->as_bytes, 1,
                                   NULL, q->err);
}

static uf_status copy_node(quantizer *q, const ufi_node *n)
{
    uint32_t in[UFI_MAX_NODE_IO], out[UFI_MAX_NODE_IO], index;
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < n->in_count; i++) {
        in[i] = UFI_NONE;
        if (n->in[i] != UFI_NONE && !(st = need_float(q, n->in[i])))
            in[i] = q->places[n->in[i]].as_float;
    }
    for (uint32_t i = 0; !st && i < n->out_count; i++) {
        out[i] = UFI_NONE;
        if (n->out[i] == UFI_NONE)
            continue;
        st = new_value(q, n->out[i], q->g->values[n->out[i]].dtype, &out[i]);
        q->places[n->out[i]].as_float = out[i];
    }
    if (!st)
        st = ufi_graph_add_node(q->to, (ufi_op)n->op, n->name, in, n->in_count, out, n->out_count,
                                &index, q->err);
    return st ? st : copy_attributes(q, n, index);
}

static bool is_wanted_in_bytes(const quantizer *q, const ufi_node *n)
{
    return n->out[0] != UFI_NONE && q->places[n->out[0]].readers > 0;
}

static uf_status rewrite_node(quantizer *q, uint32_t i)
{
    const ufi_node *n = &q->g->nodes[i];
    uint32_t source = gemm_source(q, i);
    if (n->out_count && n->out[0] != UFI_NONE && is_constant(q, n->out[0]))
        return UF_OK;
    if (is_quantised_conv(q, i))
        return quantise_conv(q, n);
    if (source != UFI_NONE)
        return quantise_gemm(q, n, source);
    if (keeps_scale(n) && is_wanted_in_bytes(q, n) &&
        (q->places[n->in[0]].as_bytes != UFI_NONE || ufi_observer_histogram(q->observer, n->in[0])))
        return pass_bytes(q, n);
    if (is_addition(q, n) && is_wanted_in_bytes(q, n))
        return quantise_addition(q, n);
    if (is_scaling(q, n) && is_wanted_in_bytes(q, n))
        return quantise_scaling(q, n);
    return copy_node(q, n);
}

/* ---- the graph ---- */

static uf_status add_inputs(quantizer *q, uint32_t *ids)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < q->g->input_count; i++) {
        uint32_t v = q->g->inputs[i];
        st = new_value(q, v, q->g->values[v].dtype, &ids[i]);
        q->places[v].as_float = ids[i];
    }
    return st;
}

static uf_status finish_graph(quantizer *q, const uint32_t *inputs, uint32_t *outputs)
{
    uf_status st = UF_OK;
    for (uint32_t i = 0; !st && i < q->g->output_count; i++) {
        st = need_float(q, q->g->outputs[i]);
        outputs[i] = q->places[q->g->outputs[i]].as_float;
    }
    if (!st)
        st =
            ufi_graph_set_io(q->to, inputs, q->g->input_count, outputs, q->g->output_count, q->err);
    if (!st)
        st = ufi_graph_check(q->to, q->err);
    if (!st)
        st = ufi_graph_infer(q->to, 0, q->err);
    return st ? st : ufi_graph_optimize(q->to, q->err); /* sweeps what nobody reads any more */
}

static uf_status rewrite(quantizer *q)
{
    const ufi_graph *g = q->g;
    uint32_t *ids = ufi_malloc(g->input_count + g->output_count + 1, sizeof *ids);
    uf_status st = ids ? UF_OK : no_memory(q);
    if (!st) {
        count_readers(q);
        st = add_inputs(q, ids);
    }
    for (uint32_t i = 0; !st && i < g->node_count; i++) {
        st = rewrite_node(q, i);
        if (st)
            ufi_wrap(q->err, st, "quantising node \"%s\"", g->nodes[i].name);
    }
    if (!st && !q->convolutions)
        st = ufi_fail(q->err, UF_E_UNSUPPORTED,
                      "the network has no convolution or fully connected layer that can be "
                      "quantised");
    if (!st)
        st = finish_graph(q, ids, ids + g->input_count);
    ufi_free(ids);
    return st;
}

/* Tables of what makes each value and where it is in the new graph. */
static uf_status open_tables(quantizer *q)
{
    const ufi_graph *g = q->g;
    q->places = ufi_malloc(g->value_count + 1, sizeof *q->places);
    q->producer = ufi_malloc(g->value_count + 1, sizeof *q->producer);
    if (!q->places || !q->producer)
        return no_memory(q);
    for (uint32_t i = 0; i < g->value_count; i++) {
        q->places[i] = (place){UFI_NONE, UFI_NONE, UFI_NONE, UFI_NONE, 0};
        q->producer[i] = UFI_NONE;
    }
    for (uint32_t i = 0; i < g->node_count; i++)
        for (uint32_t k = 0; k < g->nodes[i].out_count; k++)
            if (g->nodes[i].out[k] != UFI_NONE)
                q->producer[g->nodes[i].out[k]] = i;
    return UF_OK;
}

static void close_tables(quantizer *q)
{
    ufi_free(q->places);
    ufi_free(q->producer);
}

uf_status ufi_quantizable_nodes(const ufi_graph *g, const ufi_observer *o, bool words, bool *yes,
                                uf_error *err)
{
    const ufi_quantize_options none = {.method = UFI_RANGE_MINMAX, .words = words};
    quantizer q = {.g = g, .observer = o, .options = &none, .err = err};
    uf_status st = open_tables(&q);
    for (uint32_t i = 0; !st && i < g->node_count; i++)
        yes[i] = is_quantised_conv(&q, i) || gemm_source(&q, i) != UFI_NONE;
    close_tables(&q);
    return st;
}

uf_status ufi_quantize_graph(ufi_graph *out, const ufi_graph *g, const ufi_observer *o,
                             const ufi_quantize_options *options, uf_error *err)
{
    quantizer q = {.g = g, .to = out, .observer = o, .options = options, .err = err};
    ufi_graph_init(out);
    if (!ufi_observer_runs(o))
        return ufi_fail(err, UF_E_STATE, "no input was observed: INT8 needs calibration pictures");
    uf_status st = open_tables(&q);
    if (!st)
        st = rewrite(&q);
    close_tables(&q);
    if (st)
        ufi_graph_free(out);
    return st;
}
