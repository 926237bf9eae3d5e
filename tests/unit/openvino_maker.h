/* A small network in OpenVINO IR: convolution, ReLU, FakeQuantize, a second output. */
#ifndef UF_TESTS_OPENVINO_MAKER_H
#define UF_TESTS_OPENVINO_MAKER_H

/* The .bin: 2 x 1 x 1 x 1 weights as FP16 (1 and -2), then the range 0..2.55 as FP32. */
static const unsigned char ov_bin[12] = {0x00, 0x3C, 0x00, 0xC0, 0,    0,
                                         0,    0,    0x33, 0x33, 0x23, 0x40};

static const char ov_xml[] =
    "<?xml version=\"1.0\"?>\n<net name=\"small\" version=\"11\"><layers>"
    "<layer id=\"0\" name=\"x\" type=\"Parameter\">"
    "<data shape=\"1,1,2,2\" element_type=\"f32\"/>"
    "<output><port id=\"0\"><dim>1</dim><dim>1</dim><dim>2</dim><dim>2</dim></port></output>"
    "</layer>"
    "<layer id=\"1\" name=\"w\" type=\"Const\">"
    "<data element_type=\"f16\" shape=\"2, 1, 1, 1\" offset=\"0\" size=\"4\"/>"
    "<output><port id=\"0\"><dim>2</dim><dim>1</dim><dim>1</dim><dim>1</dim></port></output>"
    "</layer>"
    "<layer id=\"2\" name=\"conv\" type=\"Convolution\">"
    "<data strides=\"1,1\" dilations=\"1,1\" pads_begin=\"0,0\" pads_end=\"0,0\"/>"
    "<input><port id=\"0\"><dim>1</dim><dim>1</dim><dim>2</dim><dim>2</dim></port>"
    "<port id=\"1\"><dim>2</dim><dim>1</dim><dim>1</dim><dim>1</dim></port></input>"
    "<output><port id=\"2\"><dim>1</dim><dim>2</dim><dim>2</dim><dim>2</dim></port></output>"
    "</layer>"
    "<layer id=\"3\" name=\"relu\" type=\"ReLU\">"
    "<input><port id=\"0\"><dim>1</dim><dim>2</dim><dim>2</dim><dim>2</dim></port></input>"
    "<output><port id=\"1\"><dim>1</dim><dim>2</dim><dim>2</dim><dim>2</dim></port></output>"
    "</layer>"
    "<layer id=\"4\" name=\"lo\" type=\"Const\">"
    "<data element_type=\"f32\" shape=\"\" offset=\"4\" size=\"4\"/>"
    "<output><port id=\"0\"></port></output>"
    "</layer>"
    "<layer id=\"5\" name=\"hi\" type=\"Const\">"
    "<data element_type=\"f32\" shape=\"\" offset=\"8\" size=\"4\"/>"
    "<output><port id=\"0\"></port></output>"
    "</layer>"
    "<layer id=\"6\" name=\"fq\" type=\"FakeQuantize\">"
    "<data levels=\"256\"/>"
    "<input><port id=\"0\"></port><port id=\"1\"></port><port id=\"2\"></port>"
    "<port id=\"3\"></port><port id=\"4\"></port></input>"
    "<output><port id=\"5\"><dim>1</dim><dim>2</dim><dim>2</dim><dim>2</dim></port></output>"
    "</layer>"
    "<layer id=\"7\" name=\"a\" type=\"Result\">"
    "<input><port id=\"0\"></port></input>"
    "</layer>"
    "<layer id=\"8\" name=\"b\" type=\"Result\">"
    "<input><port id=\"0\"></port></input>"
    "</layer>"
    "</layers><edges>"
    "<edge from-layer=\"0\" from-port=\"0\" to-layer=\"2\" to-port=\"0\"/>"
    "<edge from-layer=\"1\" from-port=\"0\" to-layer=\"2\" to-port=\"1\"/>"
    "<edge from-layer=\"2\" from-port=\"2\" to-layer=\"3\" to-port=\"0\"/>"
    "<edge from-layer=\"3\" from-port=\"1\" to-layer=\"6\" to-port=\"0\"/>"
    "<edge from-layer=\"4\" from-port=\"0\" to-layer=\"6\" to-port=\"1\"/>"
    "<edge from-layer=\"5\" from-port=\"0\" to-layer=\"6\" to-port=\"2\"/>"
    "<edge from-layer=\"4\" from-port=\"0\" to-layer=\"6\" to-port=\"3\"/>"
    "<edge from-layer=\"5\" from-port=\"0\" to-layer=\"6\" to-port=\"4\"/>"
    "<edge from-layer=\"6\" from-port=\"5\" to-layer=\"7\" to-port=\"0\"/>"
    "<edge from-layer=\"2\" from-port=\"2\" to-layer=\"8\" to-port=\"0\"/>"
    "</edges></net>\n";

#endif
