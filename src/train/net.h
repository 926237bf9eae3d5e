/*
 * A network under training: a graph whose constants have become variables, its forward pass, which
 * keeps what the way back needs, and its backward pass (reverse-mode automatic differentiation).
 * Convolutions and matrix products, forward and backward, are oneDNN's; everything else is written
 * here. Floor 5. Confined; works with its own `threads` inside.
 *
 * The graph is one before the passes, or an imported one: of CONV and GEMM the fused activation,
 * slope and residual are understood. An AFFINE that bears the attribute EPSILON is a batch
 * normalisation (Ioffe & Szegedy 2015): inputs scale and shift are its gamma and beta, the mean and
 * variance of the batch are used, and running ones are kept as two more variables.
 *
 * Numbers are FP32. With `bf16` activations and their gradients are kept in BF16, and so are the
 * copies of the weights that are multiplied; variables, their gradients, all sums and all
 * statistics stay FP32. The same inputs give the same gradients bit for bit, for one count of
 * threads.
 */
#ifndef UFI_TRAIN_NET_H
#define UFI_TRAIN_NET_H

#include "graph/graph.h"

typedef struct ufi_net ufi_net;

/* Whether networks with this operator can be trained. */
bool ufi_net_has_gradient(ufi_op op);

typedef struct ufi_net_options {
    int64_t batch;
    unsigned threads; /* >= 1 */
    bool bf16;
    /* Of running statistics: running += momentum * (batch - running), of variances the unbiased. */
    float momentum;
} ufi_net_options;
#define UFI_NET_OPTIONS_INIT \
    {                        \
        64, 1, false, 0.1f   \
    }

/* What is learned, or kept beside it. */
typedef struct ufi_variable {
    const char
        *name; /* of the constant; "<node>.mean" and "<node>.variance" for running statistics */
    uint32_t value; /* the constant in the graph given; UFI_NONE for running statistics */
    ufi_shape shape;
    size_t count;
    float *data; /* PLAIN order (OIHW for a convolution) */
    float *grad; /* the same order; NULL for running statistics */
    bool decay;  /* weights of convolutions and matrix products; not biases, scales, slopes */
} ufi_variable;

/* `g`, checked and in topological order, must outlive the net; its own data are not changed. The
 * first dimension of its inputs becomes `batch`. Every f32 constant that a trained input of an
 * operator reads is a variable, one for each constant however many nodes read it; shapes, axes,
 * scales of Resize and bounds of Clip are not, nor is a single number that Add, Sub, Mul or Div
 * reads (a formula's, like 127.5). Errors: UF_E_UNSUPPORTED names operator and node that have no
 * gradient, UF_E_NOMEM, UF_E_FORMAT. */
uf_status ufi_net_create(ufi_net **out, const ufi_graph *g, const ufi_net_options *options,
                         uf_error *err);
void ufi_net_destroy(ufi_net *net); /* NULL is accepted */

size_t ufi_net_variable_count(const ufi_net *net);
ufi_variable *ufi_net_variables(ufi_net *net);

/* Input 0 of the batch, [batch][height][width][channels], to be filled before a forward pass. */
float *ufi_net_input(ufi_net *net);
/* Output `i` after a forward pass, in PLAIN order, FP32; *shape (may be NULL) with the batch. */
const float *ufi_net_output(const ufi_net *net, uint32_t i, ufi_shape *shape);
/* Where d loss / d output `i` is put, in the same order, before a backward pass. */
float *ufi_net_output_grad(ufi_net *net, uint32_t i);

uf_status ufi_net_forward(ufi_net *net, uf_error *err);
/* Fills `grad` of every variable (overwrites, does not add). After a forward pass. */
uf_status ufi_net_backward(ufi_net *net, uf_error *err);

/* The graph with the variables' numbers (`data[i]` in place of variable i's own when `data` is not
 * NULL: averaged weights): batch normalisations become AFFINE without EPSILON, of their running
 * statistics. Ready for ufi_graph_optimize. */
uf_status ufi_net_store(const ufi_net *net, const float *const *data, ufi_graph *out,
                        uf_error *err);

/* Bytes held for activations, gradients, workspaces and variables. */
size_t ufi_net_bytes(const ufi_net *net);

/* Where the time goes: a network is a list of steps, each timed on both ways while that is on. */
typedef struct ufi_net_step_time {
    const char *kind, *node;
    const ufi_shape *shape; /* of its first output */
    double forward, backward;
} ufi_net_step_time;
void ufi_net_time_steps(ufi_net *net, bool on);
uint32_t ufi_net_step_count(const ufi_net *net);
ufi_net_step_time ufi_net_step_seconds(const ufi_net *net, uint32_t i);

#endif
