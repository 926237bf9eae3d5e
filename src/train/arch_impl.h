/* What arch.c (words) and arch_block.c (layers) share. Private to the room. */
#ifndef UFI_TRAIN_ARCH_IMPL_H
#define UFI_TRAIN_ARCH_IMPL_H

#include <stdarg.h>

#include "model/align.h"
#include "train/arch.h"
#include "train/random.h"

enum {
    UFI_ARCH_MAX_WORDS = 8,
    UFI_ARCH_MAX_TAGS = 64,
    UFI_ARCH_MAX_OUTPUTS = 64,
    UFI_ARCH_MAX_CHANNELS = 8192,
    UFI_ARCH_MAX_SIDE = 4096,      /* of a map */
    UFI_ARCH_MAX_LAYERS = 4096,    /* nodes */
    UFI_ARCH_MAX_WEIGHTS = 1 << 27 /* numbers that are learned, all together: 512 MiB */
};

/* A value of the graph and its size. */
typedef struct ufi_arch_place {
    uint32_t value;
    int64_t c, h, w;
} ufi_arch_place;

typedef struct ufi_arch {
    ufi_model_file *out;
    const char *title; /* for messages */
    int line;
    double width;
    ufi_random random;
    uf_error *err;
    uint32_t input;
    ufi_arch_place at; /* the end of the chain */
    struct {
        char name[32];
        ufi_arch_place place;
    } tags[UFI_ARCH_MAX_TAGS];
    int tag_count;
    uint32_t outputs[UFI_ARCH_MAX_OUTPUTS];
    int output_count;
    unsigned layers; /* so far, for names */
    int64_t weights; /* numbers so far */
} ufi_arch;

/* word operand... key=value... */
typedef struct ufi_arch_line {
    char *word, *operands[UFI_ARCH_MAX_WORDS], *keys[UFI_ARCH_MAX_WORDS],
        *values[UFI_ARCH_MAX_WORDS];
    int operand_count, key_count;
    unsigned used; /* a bit per key that was asked for */
} ufi_arch_line;

/* UF_E_FORMAT with file and line. */
uf_status ufi_arch_fail(const ufi_arch *a, const char *fmt, ...) UFI_PRINTF(2, 3);
const char *ufi_arch_text_of(ufi_arch_line *l, const char *key, const char *fallback);
uf_status ufi_arch_number_of(const ufi_arch *a, ufi_arch_line *l, const char *key, int64_t fallback,
                             int64_t max, int64_t *out);
uf_status ufi_arch_operand(const ufi_arch *a, const ufi_arch_line *l, int i, int64_t max,
                           int64_t *out);
/* `channels` times the width, a multiple of 8. */
int64_t ufi_arch_channels(const ufi_arch *a, int64_t channels);

/* ---- layers, each at the end of the chain ---- */

/* Padded so that stride 1 keeps the size; k = 0 covers the whole map without padding. */
uf_status ufi_arch_conv(ufi_arch *a, int64_t out_c, int64_t k, int64_t stride, int64_t group,
                        bool bias);
uf_status ufi_arch_norm(ufi_arch *a);
uf_status ufi_arch_act(ufi_arch *a, const char *act);
uf_status ufi_arch_add_place(ufi_arch *a, const ufi_arch_place *p);
/* The chain ends in a gate per channel [c][1][1]; place `p` times it goes on. */
uf_status ufi_arch_gate_place(ufi_arch *a, const ufi_arch_place *p);
uf_status ufi_arch_concat_place(ufi_arch *a, const ufi_arch_place *p);
uf_status ufi_arch_mean(ufi_arch *a); /* of each channel's map */
uf_status ufi_arch_rows(ufi_arch *a); /* [n][c][h][w] to [n][h w][c] */

/* ---- words that add layers ---- */

uf_status ufi_arch_do_conv(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_depthwise(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_separable(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_bottleneck(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_ghost(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_residual(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_norm(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_pool(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_upsample(ufi_arch *a, ufi_arch_line *l);
uf_status ufi_arch_do_linear(ufi_arch *a, ufi_arch_line *l);

#endif
