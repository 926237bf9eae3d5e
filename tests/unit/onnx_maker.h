/* Builds ONNX files for tests: protocol buffers, written by hand. */
#ifndef UF_TESTS_ONNX_MAKER_H
#define UF_TESTS_ONNX_MAKER_H

#include <stdint.h>
#include <string.h>

typedef struct pb {
    uint8_t bytes[1 << 16];
    size_t size;
} pb;

static inline void pb_byte(pb *p, uint8_t b)
{
    if (p->size < sizeof p->bytes)
        p->bytes[p->size++] = b;
}

static inline void pb_varint(pb *p, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        pb_byte(p, (uint8_t)(v | 0x80));
    pb_byte(p, (uint8_t)v);
}

static inline void pb_int(pb *p, uint32_t field, uint64_t v)
{
    pb_varint(p, field << 3);
    pb_varint(p, v);
}

static inline void pb_data(pb *p, uint32_t field, const void *data, size_t size)
{
    pb_varint(p, field << 3 | 2);
    pb_varint(p, size);
    for (size_t i = 0; i < size; i++)
        pb_byte(p, ((const uint8_t *)data)[i]);
}

static inline void pb_text(pb *p, uint32_t field, const char *text)
{
    pb_data(p, field, text, strlen(text));
}

static inline void pb_message(pb *p, uint32_t field, const pb *m)
{
    pb_data(p, field, m->bytes, m->size);
}

/* ---- ONNX ---- */

/* TensorProto of floats in raw_data. */
static inline void onnx_floats(pb *graph, const char *name, const int64_t *dims, int rank,
                               const float *v, size_t count)
{
    static pb t;
    t.size = 0;
    for (int i = 0; i < rank; i++)
        pb_int(&t, 1, (uint64_t)dims[i]);
    pb_int(&t, 2, 1);
    pb_text(&t, 8, name);
    pb_data(&t, 9, v, count * sizeof *v);
    pb_message(graph, 5, &t);
}

/* ValueInfoProto with f32 elements; a dim of 0 gets a symbolic name. `field`: 11 input, 12 output.
 */
static inline void onnx_io(pb *graph, uint32_t field, const char *name, const int64_t *dims,
                           int rank)
{
    static pb shape, dim, tensor, type, info;
    shape.size = tensor.size = type.size = info.size = 0;
    for (int i = 0; i < rank; i++) {
        dim.size = 0;
        if (dims[i])
            pb_int(&dim, 1, (uint64_t)dims[i]);
        else
            pb_text(&dim, 2, "N");
        pb_message(&shape, 1, &dim);
    }
    pb_int(&tensor, 1, 1);
    pb_message(&tensor, 2, &shape);
    pb_message(&type, 1, &tensor);
    pb_text(&info, 1, name);
    pb_message(&info, 2, &type);
    pb_message(graph, field, &info);
}

/* NodeProto without attributes; names separated by spaces. */
static inline void onnx_begin_node(pb *node, const char *op, const char *inputs,
                                   const char *outputs)
{
    const char *lists[2] = {inputs, outputs};
    node->size = 0;
    for (uint32_t k = 0; k < 2; k++)
        for (const char *p = lists[k]; *p;) {
            size_t n = strcspn(p, " ");
            pb_data(node, k + 1, p, p[0] == '-' ? 0 : n); /* "-" is an absent input */
            p += n + (p[n] == ' ');
        }
    pb_text(node, 3, op);
    pb_text(node, 4, op);
}

static inline void onnx_ints(pb *node, const char *name, const int64_t *v, int count)
{
    static pb a;
    a.size = 0;
    pb_text(&a, 1, name);
    for (int i = 0; i < count; i++)
        pb_int(&a, 8, (uint64_t)v[i]);
    pb_int(&a, 20, 7);
    pb_message(node, 5, &a);
}

static inline void onnx_int(pb *node, const char *name, int64_t v)
{
    static pb a;
    a.size = 0;
    pb_text(&a, 1, name);
    pb_int(&a, 3, (uint64_t)v);
    pb_int(&a, 20, 2);
    pb_message(node, 5, &a);
}

static inline void onnx_float(pb *node, const char *name, float v)
{
    static pb a;
    a.size = 0;
    pb_text(&a, 1, name);
    pb_varint(&a, 2 << 3 | 5);
    for (int i = 0; i < 4; i++)
        pb_byte(&a, ((const uint8_t *)&v)[i]);
    pb_int(&a, 20, 1);
    pb_message(node, 5, &a);
}

static inline void onnx_string(pb *node, const char *name, const char *v)
{
    static pb a;
    a.size = 0;
    pb_text(&a, 1, name);
    pb_text(&a, 4, v);
    pb_int(&a, 20, 3);
    pb_message(node, 5, &a);
}

static inline void onnx_end_node(pb *graph, const pb *node)
{
    pb_message(graph, 1, node);
}

static inline void onnx_model(pb *model, const pb *graph, int opset)
{
    static pb set;
    model->size = set.size = 0;
    pb_int(model, 1, 8);
    pb_text(model, 2, "test");
    pb_message(model, 7, graph);
    pb_text(&set, 1, "");
    pb_int(&set, 2, (uint64_t)opset);
    pb_message(model, 8, &set);
}

/* A small network: Conv 3x3 (2 -> 2, padded), BatchNormalization, Relu, GlobalAveragePool, Flatten.
 */
static inline void onnx_small_network(pb *model)
{
    static pb graph, node;
    static const float w[36] = {0.5f, -0.25f, 1, 0.125f, 2, -1, 0.75f, 0.5f, -0.5f, 1},
                       four[8] = {1, 0.5f, 0.25f, -0.5f, 0.1f, 0.2f, 1, 2};
    const int64_t input[4] = {0, 2, 8, 8}, weights[4] = {2, 2, 3, 3}, two[1] = {2};
    const int64_t pads[4] = {1, 1, 1, 1}, output[2] = {0, 2};
    graph.size = 0;
    onnx_begin_node(&node, "Conv", "x w", "a");
    onnx_ints(&node, "pads", pads, 4);
    onnx_end_node(&graph, &node);
    onnx_begin_node(&node, "BatchNormalization", "a s b m v", "c");
    onnx_end_node(&graph, &node);
    onnx_begin_node(&node, "Relu", "c", "d");
    onnx_end_node(&graph, &node);
    onnx_begin_node(&node, "GlobalAveragePool", "d", "e");
    onnx_end_node(&graph, &node);
    onnx_begin_node(&node, "Flatten", "e", "y");
    onnx_end_node(&graph, &node);
    onnx_floats(&graph, "w", weights, 4, w, 36);
    onnx_floats(&graph, "s", two, 1, four, 2);
    onnx_floats(&graph, "b", two, 1, four + 2, 2);
    onnx_floats(&graph, "m", two, 1, four + 4, 2);
    onnx_floats(&graph, "v", two, 1, four + 6, 2);
    onnx_io(&graph, 11, "x", input, 4);
    onnx_io(&graph, 12, "y", output, 2);
    onnx_model(model, &graph, 11);
}

#endif
