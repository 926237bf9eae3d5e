/*
 * What the passes share: who makes and who reads each value, and rewriting in place.
 *
 * A rewrite merges a producer into its consumer: the *consumer's* node takes over, so that nodes
 * stay in topological order whatever is merged, and each pass is one walk in that order.
 * Private to the graph room.
 */
#ifndef UFI_GRAPH_PASS_H
#define UFI_GRAPH_PASS_H

#include "graph/op.h"

typedef struct ufi_pass {
    ufi_graph *g;
    uint32_t *uses;     /* per value: how often nodes and graph outputs read it */
    uint32_t *producer; /* per value: node, or UFI_NONE */
    bool *is_output;    /* per value */
    uint32_t table_cap;
    bool changed;
    uf_error *err;
} ufi_pass;

uf_status ufi_pass_init(ufi_pass *p, ufi_graph *g, uf_error *err);
void ufi_pass_free(ufi_pass *p);

/* Nodes are deleted by losing their outputs; ufi_pass_sweep drops them and what only they read. */
uf_status ufi_pass_sweep(ufi_graph *g, uf_error *err);

static inline const ufi_value *ufi_pass_value(const ufi_pass *p, uint32_t v)
{
    return &p->g->values[v];
}
/* The node that makes `v`, if it has operator `op` (UFI_OP_COUNT: any), else NULL. */
ufi_node *ufi_pass_producer(const ufi_pass *p, uint32_t v, ufi_op op);
/* The same, if nothing else reads `v`. */
ufi_node *ufi_pass_sole_producer(const ufi_pass *p, uint32_t v, ufi_op op);

/* `v` is an f32 constant with known data; *count its elements. */
const float *ufi_pass_floats(const ufi_pass *p, uint32_t v, int64_t *count);
/* `v` is an f32 constant all of whose elements are equal. */
bool ufi_pass_scalar(const ufi_pass *p, uint32_t v, float *out);

/* A new f32 constant; data is copied when `data` is not NULL, else zeroed. *floats may be written
 * until the graph is used. */
uf_status ufi_pass_constant(ufi_pass *p, const char *name, const ufi_shape *shape,
                            const float *data, uint32_t *id, float **floats);

/* The tables cover all values again after constants were added to the graph directly. */
uf_status ufi_pass_grow(ufi_pass *p);

/* Gives the node new inputs (copied), keeping the tables true. */
uf_status ufi_pass_set_inputs(ufi_pass *p, ufi_node *n, const uint32_t *in, uint32_t count);
/* `into`, the only reader of what `from` makes, becomes `from` (operator, name, attributes, inputs)
 * but keeps its own output; `from` loses its output. */
uf_status ufi_pass_merge(ufi_pass *p, ufi_node *into, ufi_node *from);

/* An activation that a convolution or product can take over. */
typedef struct ufi_pass_act {
    ufi_act act;
    float lo, hi, alpha;
    uint32_t slope; /* value, or UFI_NONE */
} ufi_pass_act;

/* Whether `n`, which reads what `from` (Conv, QConv, Gemm) makes, is one. */
bool ufi_pass_read_act(const ufi_pass *p, const ufi_node *n, const ufi_node *from,
                       ufi_pass_act *out);
/* Gives it to `n`, whose input number `slope_input` takes slopes. */
uf_status ufi_pass_set_act(ufi_pass *p, ufi_node *n, const ufi_pass_act *a, uint32_t slope_input);

/* The passes, in files pass_<name>.c. Each sets p->changed when it changed something. */
uf_status ufi_pass_identity(ufi_pass *p);
uf_status ufi_pass_pattern(ufi_pass *p);
uf_status ufi_pass_affine(ufi_pass *p);
uf_status ufi_pass_fuse(ufi_pass *p);
uf_status ufi_pass_siblings(ufi_pass *p);
uf_status ufi_pass_batch(ufi_pass *p);
/* Runs once, before all others and before anything is swept. */
uf_status ufi_pass_quant(ufi_pass *p);

#endif
