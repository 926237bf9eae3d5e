/*
 * OpenVINO IR (versions 10 and 11): an XML file that lists layers and edges, and beside it a .bin
 * with the constants. openvino.c reads the XML into these tables, openvino_node.c makes a graph of
 * them. Private to the format room.
 */
#ifndef UFI_FORMAT_OPENVINO_H
#define UFI_FORMAT_OPENVINO_H

#include "format/model_file.h"

enum { OV_MAX_PORTS = 64, OV_MAX_ATTRS = 24, OV_MAX_TEXT = 256 };

typedef struct ov_attr {
    const char *key, *value;
} ov_attr;

typedef struct ov_port {
    uint32_t id;
    bool is_output;
    ufi_shape shape;
    uint32_t value; /* of an output: in the graph */
} ov_port;

typedef struct ov_layer {
    uint32_t id;
    const char *type, *name;
    ov_attr attrs[OV_MAX_ATTRS]; /* of <data> */
    uint32_t attr_count, port_count;
    ov_port *ports; /* inputs first, in the file's order */
} ov_layer;

typedef struct ov_edge {
    uint32_t from_layer, from_port, to_layer, to_port;
} ov_edge;

typedef struct ov_model {
    ufi_arena arena;
    uint32_t version;
    ov_layer *layers;
    uint32_t layer_count, layer_cap;
    ov_layer **by_id; /* the layers by their ids, made by ov_make_graph */
    ov_edge *edges;   /* sorted by ov_make_graph by where they go */
    uint32_t edge_count, edge_cap;
    const uint8_t *bin; /* constants */
    size_t bin_size;
} ov_model;

const char *ov_attr_text(const ov_layer *l, const char *key, const char *fallback);
/* Whole numbers separated by commas into out[cap]; how many, or -1 when the text is malformed. */
int ov_attr_ints(const ov_layer *l, const char *key, int64_t *out, int cap);

/* Makes `g` of the layers. Errors name the layer. */
uf_status ov_make_graph(ufi_graph *g, ov_model *m, uf_error *err);

/* ---- one layer at a time ---- */

typedef struct ov_maker {
    const ov_model *m;
    ufi_graph *g;
    uint32_t inputs[UFI_MAX_NODE_IO], outputs[UFI_MAX_NODE_IO], input_count, output_count;
    uf_error *err;
} ov_maker;

/* One layer with its inputs found. */
typedef struct ov_job {
    ov_maker *k;
    const ov_layer *layer;
    uint32_t in[OV_MAX_PORTS], in_count;
    uint32_t out; /* value of the first output */
} ov_job;

uf_status ov_fail(const ov_job *j, uf_status st, const char *what);
/* `node` may be NULL. */
uf_status ov_new_node(ov_job *j, ufi_op op, const uint32_t *in, uint32_t count, uint32_t out,
                      ufi_node **node);
uf_status ov_new_value(ov_job *j, uint32_t *id);
uf_status ov_new_ints(ov_job *j, const int64_t *v, int64_t count, uint32_t *id);
uf_status ov_new_float(ov_job *j, float v, uint32_t *id);
const ufi_value *ov_constant(const ov_job *j, uint32_t i); /* input i, NULL unless constant */
bool ov_is_true(const ov_job *j, const char *key);
/* The layer that input port `input` (counting from 0) is connected to, or NULL. */
const ov_layer *ov_source(const ov_model *m, const ov_layer *l, uint32_t input);

/* FakeQuantize (openvino_quant.c). */
uf_status ov_make_fake_quantize(ov_job *j);

/* Layers of single-shot detectors (openvino_ssd.c). */
uf_status ov_make_strided_slice(ov_job *j);
uf_status ov_make_prior_box_clustered(ov_job *j);
uf_status ov_make_detection_output(ov_job *j);

#endif
