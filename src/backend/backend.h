/*
 * Devices behind one small interface. A *program* is a graph made ready for a device (weights
 * packed once): shareable. A *context* runs it: confined, owns threads, plans and activations.
 * Plans are made per input shape and cached. Running a plan allocates nothing. Floor 4.
 */
#ifndef UFI_BACKEND_BACKEND_H
#define UFI_BACKEND_BACKEND_H

#include "graph/graph.h"

typedef struct ufi_program ufi_program;
typedef struct ufi_context ufi_context;

/* UF_E_DEVICE_NOT_FOUND, with the devices that exist, unless `name` is one of them (or "auto"). */
uf_status ufi_device_check(const char *name, uf_error *err);

/* "CPU", "GPU:0", or "auto". `graph` (and the file its constants are mapped from) must outlive the
 * program. Errors: UF_E_DEVICE_NOT_FOUND lists the devices that exist. */
uf_status ufi_program_create(ufi_program **out, const ufi_graph *graph, const char *device,
                             uf_error *err);
/* Contexts made from now on compute FP32 by FP32 instructions: whoever measures what a change of
 * the network costs, and decides by it, must not decide by how the machine shortens products. */
void ufi_program_set_exact(ufi_program *p);
void ufi_program_destroy(ufi_program *p);
const ufi_graph *ufi_program_graph(const ufi_program *p);
const char *ufi_program_device(const ufi_program *p); /* what `auto` chose */

/* `threads` 0: as many as there are cores. */
uf_status ufi_context_create(ufi_context **out, ufi_program *p, unsigned threads, uf_error *err);
void ufi_context_destroy(ufi_context *c);
/* Plans made from now on give each element of a batch, to the bit, what it gives alone. Otherwise
 * the way of computing (and its rounding) may be chosen for the batch as a whole, which is faster
 * on small maps. The CPU keeps to it. */
void ufi_context_set_steady(ufi_context *c);

/* Chooses the shapes of all graph inputs (logical NCHW) and the physical layout in which rank-4
 * inputs will be written; makes or finds the plan. Plans share the memory of their activations:
 * pointers of an earlier shape and what is there are no longer valid. */
uf_status ufi_context_prepare(ufi_context *c, const ufi_shape *inputs, uint32_t count,
                              ufi_layout input_layout, uf_error *err);
/* Where to write input i, and what output i is after a run (PLAIN, owned by the context, valid
 * until the next prepare or run). */
ufi_tensor *ufi_context_input(ufi_context *c, uint32_t i);
const ufi_tensor *ufi_context_output(const ufi_context *c, uint32_t i);
uf_status ufi_context_run(ufi_context *c, uf_error *err);

/* One step of the current plan, for `bench` and `inspect`. */
typedef struct ufi_step_info {
    const char *op;   /* "Conv" */
    const char *name; /* the node's */
    const char
        *kernel; /* what really ran: "conv_f32_avx512", "winograd4_f32_avx512", "reference" */
    int64_t macs;
    uint64_t time_ns; /* of the last profiled run */
    /* What the machine could do with such products on all threads at once; 0: not measured (only
     * profiled runs do) or no products. */
    double peak_macs_per_ns;
    size_t output_bytes;
    ufi_shape output_shape;
} ufi_step_info;

uint32_t ufi_context_step_count(const ufi_context *c);
void ufi_context_step(const ufi_context *c, uint32_t i, ufi_step_info *out);
/* Time each step from now on, and measure peaks in the first run (off by default: it costs a clock
 * read a step). */
void ufi_context_set_profiling(ufi_context *c, bool on);
size_t ufi_context_packed_bytes(const ufi_context *c); /* see ufi_program_packed_bytes */
unsigned ufi_context_threads(const ufi_context *c);    /* at work, the caller's included */
size_t ufi_context_arena_bytes(const ufi_context *c);  /* activations of the current plan */
size_t ufi_program_packed_bytes(const ufi_program *p); /* packed weights so far */

typedef struct ufi_device_info {
    char name[16];         /* "CPU" */
    char description[128]; /* processor and generations */
    unsigned cores;
} ufi_device_info;
uint32_t ufi_device_count(void);
uf_status ufi_device_info_get(uint32_t i, ufi_device_info *out, uf_error *err);

#endif
