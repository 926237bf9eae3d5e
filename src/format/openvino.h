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

#endif
