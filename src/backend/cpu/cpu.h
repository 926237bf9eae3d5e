/*
 * The CPU device. A plan is a list of steps over one block of memory; each step runs one kernel (or
 * the operator's C reference) on tensors whose places were fixed when the plan was made, so a run
 * only walks the list. Rank-4 FP32 tensors are kept channels last (NHWC) wherever an operator has a
 * fast form; steps that convert are put in only where two neighbours disagree. Floor 4.
 */
#ifndef UFI_BACKEND_CPU_CPU_H
#define UFI_BACKEND_CPU_CPU_H

#include "backend/backend.h"
#include "base/threads.h"
#include "kernels/kernels.h"

/* ---- the program: weights in the form the kernels want, shared by all contexts ---- */

typedef enum cpu_pack_kind {
    CPU_PACK_CONV, /* [O][I/g][kh][kw] -> panels of (kh, kw, I) x O, groups one after the other */
    CPU_PACK_DEPTHWISE,  /* [C][1][kh][kw] -> [kh * kw][C] */
    CPU_PACK_WINO4,      /* 36 packed matrices I x O */
    CPU_PACK_WINO2,      /* 16 */
    CPU_PACK_GEMM,       /* [K][N] -> panels */
    CPU_PACK_GEMM_T,     /* [N][K] -> panels */
    CPU_PACK_VECTOR,     /* one or n floats -> n floats */
    CPU_PACK_QCONV_ROWS, /* INT8, as CPU_PACK_CONV, a run for each row of the kernel */
    CPU_PACK_QCONV_FLAT, /* INT8, one run of all */
    CPU_PACK_QDEPTHWISE, /* INT8, as CPU_PACK_DEPTHWISE */
    CPU_PACK_BF16_ROWS,  /* as CPU_PACK_QCONV_ROWS, one group */
    CPU_PACK_BF16_FLAT,
    CPU_PACK_F16_ROWS,
    CPU_PACK_F16_FLAT,
    CPU_PACK_BF16X3_ROWS,
    CPU_PACK_BF16X3_FLAT,
    CPU_PACK_WORDS,          /* INT16, as CPU_PACK_QCONV_ROWS, one group */
    CPU_PACK_WORDS_DEPTHWISE /* INT16, as CPU_PACK_DEPTHWISE */
} cpu_pack_kind;

typedef struct cpu_program cpu_program;

/* The packed form of constant `w`; made once if the data belongs to the program's graph, otherwise
 * kept in `arena`. `n` is the length for CPU_PACK_VECTOR and the number of groups for
 * CPU_PACK_CONV and CPU_PACK_QCONV. */
uf_status cpu_pack(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                   uint32_t n, const float **out, uf_error *err);
/* The same for the INT8 forms. */
uf_status cpu_pack_bytes(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                         uint32_t n, const int8_t **out, uf_error *err);
/* The same for the 16-bit forms. */
uf_status cpu_pack_halves(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                          const uint16_t **out, uf_error *err);
/* The same for the INT16 forms. */
uf_status cpu_pack_words(cpu_program *p, ufi_arena *arena, cpu_pack_kind kind, const ufi_tensor *w,
                         const int16_t **out, uf_error *err);
/* UF_BF16 or UF_F16 for FP32 constants that the model stores so, otherwise UF_F32. */
uf_dtype cpu_program_stored_as(const cpu_program *p, const void *data);
/* Whether FP32 layers must be computed by FP32 instructions. */
bool cpu_program_is_exact(const cpu_program *p);
void cpu_program_set_exact(void *program);
const ufi_graph *cpu_program_graph(const cpu_program *p);
uf_status cpu_program_create(void **out, const ufi_graph *graph, uint32_t index, uf_error *err);
void cpu_program_destroy(void *program);
size_t cpu_program_packed_bytes(const void *program);

/* ---- plans ---- */

typedef struct cpu_queue {
    cpu_program *program;
    ufi_pool *pool;
    bool steady; /* no way of computing depends on the batch */
    /* Activations and scratch of the plan at work: one runs at a time, so all of a queue's plans
     * share what the largest needs. */
    uint8_t *memory;
    size_t memory_bytes;
} cpu_queue;

/* A tensor of a step. `buffer` is an index into the plan's buffers, or -1 for a constant. */
typedef struct cpu_operand {
    ufi_tensor t;
    int32_t buffer;
} cpu_operand;

typedef struct cpu_plan cpu_plan;
typedef struct cpu_step cpu_step;
typedef uf_status cpu_run_fn(const cpu_step *step, cpu_plan *plan, uf_error *err);

/* What a step multiplies, as far as peaks differ. */
typedef enum cpu_arithmetic {
    CPU_ARITHMETIC_F32,
    CPU_ARITHMETIC_BF16,
    CPU_ARITHMETIC_F16,
    CPU_ARITHMETIC_BF16X3,
    CPU_ARITHMETIC_U8,
    CPU_ARITHMETIC_I16
} cpu_arithmetic;
enum { CPU_ARITHMETICS = CPU_ARITHMETIC_I16 + 1 };

/* The most that the table's kernels reach on one thread, measured (3 ms and more); 0 when there is
 * no memory for that. */
double cpu_peak_macs_per_ns(const ufk_table *k, cpu_arithmetic kind);

struct cpu_step {
    cpu_run_fn *run;
    const ufi_node *node; /* NULL for a conversion */
    const char *kernel;   /* what runs, for the profile */
    cpu_operand *in, *out;
    uint32_t in_count, out_count;
    const void *params;  /* what the run function needs, in the plan's arena */
    size_t worker_bytes; /* scratch for each worker */
    size_t shared_bytes; /* scratch for all together */
    int64_t macs;
    cpu_arithmetic arithmetic; /* of the products, if there are any */
    uint64_t time_ns;
};

struct cpu_plan {
    ufi_arena arena;
    ufi_graph graph; /* the program's graph with all shapes known */
    const ufk_table *k;
    ufi_pool *pool;
    cpu_queue *queue;
    cpu_step *steps;
    uint32_t step_count;
    double peaks[CPU_ARITHMETICS]; /* 0: not measured yet */
    ufi_buffer *buffers;
    uint32_t buffer_count;
    cpu_operand *inputs, *outputs;
    /* The queue's memory that pointers are bound to: buffers, then scratch that workers share, then
     * each worker's. */
    uint8_t *memory;
    size_t memory_bytes, shared_offset, worker_offset, worker_stride;
    uint8_t *shared_scratch, *worker_scratch;
};

/* Scratch of one worker of the step that is running. */
static inline void *cpu_worker_scratch(const cpu_plan *plan, size_t worker)
{
    return plan->worker_scratch + worker * plan->worker_stride;
}

uf_status cpu_plan_create(void **out, void *queue, const ufi_shape *inputs, ufi_layout layout,
                          uf_error *err);
void cpu_plan_destroy(void *plan);
uf_status cpu_plan_run(void *plan, bool profile, uf_error *err);
ufi_tensor *cpu_plan_tensor(void *plan, bool output, uint32_t i);
bool cpu_plan_step(const void *plan, uint32_t i, ufi_step_info *out);
size_t cpu_plan_bytes(const void *plan);

#endif
