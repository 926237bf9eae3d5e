/*
 * A detector without training: SCRFD's outputs from one average of each cell of 32 x 32 pixels. A
 * bright cell is a face of 24 x 24 pixels in its middle, a dark one is none.
 */
#ifndef UF_TESTS_DETECTOR_MAKER_H
#define UF_TESTS_DETECTOR_MAKER_H

#include <unistd.h>

#include "onnx_maker.h"
#include "test.h"
#include "uniface/uniface.h"

enum { CELL = 32 };

/* How the outputs hang on the batch. */
typedef enum detector_form {
    BATCH_OPEN,   /* [N, cells, columns] */
    BATCH_FIXED,  /* input [1, ...], outputs [1, cells, columns] by a Reshape that says so */
    BATCH_WIDE,   /* open, with 48 channels in between, to need memory */
    BATCH_FLAT,   /* [N * cells, columns] */
    BATCH_MINGLED /* [cells * N, columns]: the batch turns last, as in InsightFace's exports */
} detector_form;

static inline void detector_head(pb *graph, pb *node, const char *head, int columns,
                                 detector_form form, const float *weights, const float *bias)
{
    char list[64], target[16];
    const int64_t shape[4] = {columns, 3, 1, 1}, count[1] = {columns}, three[1] = {3};
    const int64_t order[4] = {0, 2, 3, 1}, mingled[4] = {2, 3, 0, 1};
    const bool flat = form == BATCH_FLAT || form == BATCH_MINGLED;
    const int64_t cells[3] = {form == BATCH_FIXED ? 1 : 0, -1, columns};
    static pb t;
    snprintf(list, sizeof list, "p %s_w %s_b", head, head);
    snprintf(target, sizeof target, "%s_c", head);
    onnx_begin_node(node, "Conv", list, target);
    onnx_end_node(graph, node);
    snprintf(list, sizeof list, "%s_t", head);
    onnx_begin_node(node, "Transpose", target, list);
    onnx_ints(node, "perm", form == BATCH_MINGLED ? mingled : order, 4);
    onnx_end_node(graph, node);
    snprintf(list, sizeof list, "%s_t %s_s", head, head);
    onnx_begin_node(node, "Reshape", list, head);
    onnx_end_node(graph, node);
    snprintf(list, sizeof list, "%s_w", head);
    onnx_floats(graph, list, shape, 4, weights, (size_t)columns * 3);
    snprintf(list, sizeof list, "%s_b", head);
    onnx_floats(graph, list, count, 1, bias, (size_t)columns);
    snprintf(list, sizeof list, "%s_s", head);
    t.size = 0;
    pb_int(&t, 1, flat ? 2 : (uint64_t)three[0]);
    pb_int(&t, 2, 7);
    pb_text(&t, 8, list);
    pb_data(&t, 9, flat ? cells + 1 : cells, (flat ? 2 : 3) * sizeof *cells);
    pb_message(graph, 5, &t);
    onnx_io(graph, 12, head, cells, 3);
}

/* x sixteen times over, and, behind the average, its first three channels again. */
static inline void detector_widen(pb *graph, pb *node)
{
    const int64_t shape[4] = {3, 48, 1, 1};
    float first[3 * 48] = {0};
    for (int i = 0; i < 3; i++)
        first[i * 48 + i] = 1;
    onnx_begin_node(node, "Concat", "x x x x x x x x x x x x x x x x", "wide");
    onnx_int(node, "axis", 1);
    onnx_end_node(graph, node);
    onnx_begin_node(node, "Conv", "wide_p wide_w", "p");
    onnx_end_node(graph, node);
    onnx_floats(graph, "wide_w", shape, 4, first, 3 * 48);
}

/* Boxes and points move a little with the brightness, so that pictures differ in them as well. */
static inline void detector_network(pb *model, detector_form form)
{
    static pb graph, node;
    const int64_t kernel[2] = {CELL, CELL}, input[4] = {form == BATCH_FIXED ? 1 : 0, 3, 0, 0};
    const float score[3] = {1 / 3.0f, 1 / 3.0f, 1 / 3.0f}, none[1] = {0};
    const float box_bias[4] = {-0.125f, -0.125f, 0.875f, 0.875f};
    const float point_bias[10] = {0.3f, 0.35f, 0.7f, 0.35f, 0.5f, 0.5f, 0.35f, 0.7f, 0.65f, 0.7f};
    float box[12], points[30];
    for (int i = 0; i < 12; i++)
        box[i] = 0.001f * (float)(i % 5);
    for (int i = 0; i < 30; i++)
        points[i] = 0.001f * (float)(i % 7);
    graph.size = 0;
    if (form == BATCH_WIDE)
        detector_widen(&graph, &node);
    onnx_begin_node(&node, "AveragePool", form == BATCH_WIDE ? "wide" : "x",
                    form == BATCH_WIDE ? "wide_p" : "p");
    onnx_ints(&node, "kernel_shape", kernel, 2);
    onnx_ints(&node, "strides", kernel, 2);
    onnx_end_node(&graph, &node);
    detector_head(&graph, &node, "score", 1, form, score, none);
    detector_head(&graph, &node, "box", 4, form, box, box_bias);
    detector_head(&graph, &node, "points", 10, form, points, point_bias);
    onnx_io(&graph, 11, "x", input, 4);
    onnx_model(model, &graph, 13);
}

/* The longest side that pictures are scaled to is `size`. NULL, and a printed reason, on failure.
 */
static inline uf_model *make_detector_model(detector_form form, int size)
{
    static pb source;
    char path[] = "/tmp/uniface-detector-XXXXXX", number[16];
    uf_import_options o = UF_IMPORT_OPTIONS_INIT;
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    const char *const pairs[][2] = {
        {"detector.strides", "32"}, {"detector.anchors", "1"}, {"detector.size", number}};
    o.preset = "scrfd";
    snprintf(number, sizeof number, "%d", size);
    detector_network(&source, form);
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, source.bytes, source.size) != (ssize_t)source.size)
        return NULL;
    close(fd);
    uf_status st = uf_model_import(&m, path, &o, &err);
    for (size_t i = 0; !st && i < sizeof pairs / sizeof *pairs; i++)
        st = uf_model_set_meta(m, pairs[i][0], pairs[i][1], &err);
    unlink(path);
    if (st) {
        printf("no detector: %s\n", err.message);
        uf_model_close(m);
        return NULL;
    }
    return m;
}

#endif
