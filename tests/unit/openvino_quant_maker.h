/* A quantised network in OpenVINO IR: weights as levels of a FakeQuantize, then a depthwise
 * convolution whose input has a range for each channel. */
#ifndef UF_TESTS_OPENVINO_QUANT_MAKER_H
#define UF_TESTS_OPENVINO_QUANT_MAKER_H

#include <stdint.h>
#include <string.h>

#define OV_DIMS4(a, b, c, d) "<dim>" #a "</dim><dim>" #b "</dim><dim>" #c "</dim><dim>" #d "</dim>"
#define OV_DIMS5 OV_DIMS4(2, 1, 1, 1) "<dim>1</dim>"
#define OV_CONST(id, type, shape, offset, size)                                         \
    "<layer id=\"" #id "\" name=\"c" #id "\" type=\"Const\"><data element_type=\"" type \
    "\" shape=\"" shape "\" offset=\"" #offset "\" size=\"" #size                       \
    "\"/><output><port id=\"0\"/></output></layer>"
#define OV_LAYER(id, type, data, inputs, out)                                          \
    "<layer id=\"" #id "\" name=\"l" #id "\" type=\"" type "\">" data "<input>" inputs \
    "</input><output><port id=\"9\">" out "</port></output></layer>"
#define OV_IN1 "<port id=\"0\"/>"
#define OV_IN5 OV_IN1 "<port id=\"1\"/><port id=\"2\"/><port id=\"3\"/><port id=\"4\"/>"
#define OV_EDGE(from, port, to, at)                                                              \
    "<edge from-layer=\"" #from "\" from-port=\"" #port "\" to-layer=\"" #to "\" to-port=\"" #at \
    "\"/>"
#define OV_FQ_EDGES(to, lo, hi, out_lo, out_hi) \
    OV_EDGE(lo, 0, to, 1) OV_EDGE(hi, 0, to, 2) OV_EDGE(out_lo, 0, to, 3) OV_EDGE(out_hi, 0, to, 4)
#define OV_WINDOW "<data strides=\"1,1\" dilations=\"1,1\" pads_begin=\"0,0\" pads_end=\"0,0\"/>"

/* Numbers of the .bin, in this order. */
typedef struct ov_quant_bin {
    float lo, hi;               /* of the input: -1.28, 1.27 */
    float levels_lo, levels_hi; /* 0, 254 */
    float w_lo[2], w_hi[2];     /* a range for each filter */
    float y_lo[2], y_hi[2];     /* a range for each channel */
    float depth_scale[2];
    uint8_t w[4];
    int8_t depth[2], unused[2];
} ov_quant_bin;

static const ov_quant_bin ov_quant_numbers = {.lo = -1.28f,
                                              .hi = 1.27f,
                                              .levels_hi = 254,
                                              .w_lo = {-1.27f, -2.54f},
                                              .w_hi = {1.27f, 2.54f},
                                              .y_lo = {-1.28f, -2.56f},
                                              .y_hi = {1.27f, 2.54f},
                                              .depth_scale = {0.01f, 0.5f},
                                              .w = {227, 27, 127, 177},
                                              .depth = {50, -3}};

/* Layers, then edges, one a line. */
/* clang-format off */
static const char ov_quant_xml[] =
    "<?xml version=\"1.0\"?>\n<net name=\"q\" version=\"11\"><layers>"
    "<layer id=\"0\" name=\"x\" type=\"Parameter\"><data shape=\"1,2,1,1\" element_type=\"f32\"/>"
    "<output><port id=\"0\">" OV_DIMS4(1, 2, 1, 1) "</port></output></layer>"
    OV_CONST(1, "f32", "", 0, 4)
    OV_CONST(2, "f32", "", 4, 4)
    OV_CONST(3, "f32", "", 8, 4)
    OV_CONST(4, "f32", "", 12, 4)
    OV_CONST(5, "f32", "2,1,1,1", 16, 8)
    OV_CONST(6, "f32", "2,1,1,1", 24, 8)
    OV_CONST(7, "f32", "1,2,1,1", 32, 8)
    OV_CONST(8, "f32", "1,2,1,1", 40, 8)
    OV_CONST(9, "f32", "2,1,1,1,1", 48, 8)
    OV_CONST(10, "u8", "2,2,1,1", 56, 4)
    OV_CONST(11, "i8", "2,1,1,1,1", 60, 2)
    OV_LAYER(12, "FakeQuantize", "<data levels=\"256\"/>", OV_IN5, OV_DIMS4(1, 2, 1, 1))
    OV_LAYER(13, "Convert", "<data destination_type=\"f32\"/>", OV_IN1, OV_DIMS4(2, 2, 1, 1))
    OV_LAYER(14, "FakeQuantize", "<data levels=\"255\"/>", OV_IN5, OV_DIMS4(2, 2, 1, 1))
    OV_LAYER(15, "Convolution", OV_WINDOW,
             "<port id=\"0\">" OV_DIMS4(1, 2, 1, 1) "</port>"
             "<port id=\"1\">" OV_DIMS4(2, 2, 1, 1) "</port>", OV_DIMS4(1, 2, 1, 1))
    OV_LAYER(16, "FakeQuantize", "<data levels=\"256\"/>", OV_IN5, OV_DIMS4(1, 2, 1, 1))
    OV_LAYER(17, "Convert", "<data destination_type=\"f32\"/>", OV_IN1, OV_DIMS5)
    OV_LAYER(18, "Multiply", "", OV_IN1 "<port id=\"1\"/>", OV_DIMS5)
    OV_LAYER(19, "GroupConvolution", OV_WINDOW,
             "<port id=\"0\">" OV_DIMS4(1, 2, 1, 1) "</port><port id=\"1\">" OV_DIMS5 "</port>",
             OV_DIMS4(1, 2, 1, 1))
    "<layer id=\"20\" name=\"y\" type=\"Result\"><input><port id=\"0\"/></input></layer>"
    "</layers><edges>"
    OV_EDGE(0, 0, 12, 0) OV_FQ_EDGES(12, 1, 2, 1, 2)
    OV_EDGE(10, 0, 13, 0)
    OV_EDGE(13, 9, 14, 0) OV_FQ_EDGES(14, 3, 4, 5, 6)
    OV_EDGE(12, 9, 15, 0) OV_EDGE(14, 9, 15, 1)
    OV_EDGE(15, 9, 16, 0) OV_FQ_EDGES(16, 7, 8, 7, 8)
    OV_EDGE(11, 0, 17, 0)
    OV_EDGE(17, 9, 18, 0) OV_EDGE(9, 0, 18, 1)
    OV_EDGE(16, 9, 19, 0) OV_EDGE(18, 9, 19, 1)
    OV_EDGE(19, 9, 20, 0)
    "</edges></net>\n";
/* clang-format on */

#endif
