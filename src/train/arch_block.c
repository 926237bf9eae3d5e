/* Words that add blocks of layers to a described network. */
#include <string.h>

#include "train/arch_impl.h"

/* What most words take. */
typedef struct block {
    int64_t out, k, stride, expand, se, repeat;
    const char *act;
} block;

static uf_status read_block(ufi_arch *a, ufi_arch_line *l, block *b)
{
    b->out = 0;
    uf_status st = ufi_arch_operand(a, l, 0, UFI_ARCH_MAX_CHANNELS, &b->out);
    b->out = ufi_arch_channels(a, b->out);
    b->act = ufi_arch_text_of(l, "act", "none");
    if (!st)
        st = ufi_arch_number_of(a, l, "s", 1, 8, &b->stride);
    b->repeat = 1;
    b->k = 3;
    return st;
}

static uf_status conv_norm_act(ufi_arch *a, int64_t out, int64_t k, int64_t stride, int64_t group,
                               const char *act)
{
    uf_status st = ufi_arch_conv(a, out, k, stride, group, false);
    if (!st)
        st = ufi_arch_norm(a);
    return st ? st : ufi_arch_act(a, act);
}

/* conv CHANNELS [k=1] [s=1] [act=none] */
uf_status ufi_arch_do_conv(ufi_arch *a, ufi_arch_line *l)
{
    block b;
    uf_status st = read_block(a, l, &b);
    if (!st)
        st = ufi_arch_number_of(a, l, "k", 1, 15, &b.k);
    return st ? st : conv_norm_act(a, b.out, b.k, b.stride, 1, b.act);
}

/* depthwise [k=3|map] [s=1] [act=none] */
uf_status ufi_arch_do_depthwise(ufi_arch *a, ufi_arch_line *l)
{
    int64_t k = 3, stride = 1;
    const char *kernel = ufi_arch_text_of(l, "k", "3"), *act = ufi_arch_text_of(l, "act", "none");
    uf_status st = ufi_arch_number_of(a, l, "s", 1, 8, &stride);
    if (!st && !strcmp(kernel, "map"))
        k = 0;
    else if (!st)
        st = ufi_arch_number_of(a, l, "k", 3, 15, &k);
    return st ? st : conv_norm_act(a, a->at.c, k, stride, a->at.c, act);
}

/* separable CHANNELS [s=1] [act=none]: 1x1, then depthwise 3x3. */
uf_status ufi_arch_do_separable(ufi_arch *a, ufi_arch_line *l)
{
    block b;
    uf_status st = read_block(a, l, &b);
    if (!st)
        st = ufi_arch_conv(a, b.out, 1, 1, 1, true);
    return st ? st : conv_norm_act(a, b.out, 3, b.stride, b.out, b.act);
}

/* Squeeze and excitation (Hu et al. 2018): channels times a gate made of their means. */
static uf_status excite(ufi_arch *a, int64_t ratio)
{
    const ufi_arch_place x = a->at;
    const int64_t inner = x.c / ratio > 8 ? x.c / ratio / 8 * 8 : 8;
    uf_status st = ufi_arch_mean(a);
    if (!st)
        st = ufi_arch_conv(a, inner, 1, 1, 1, true);
    if (!st)
        st = ufi_arch_act(a, "relu");
    if (!st)
        st = ufi_arch_conv(a, x.c, 1, 1, 1, true);
    if (!st)
        st = ufi_arch_act(a, "hsigmoid");
    return st ? st : ufi_arch_gate_place(a, &x);
}

static uf_status bottleneck(ufi_arch *a, const block *b, int64_t stride)
{
    const ufi_arch_place x = a->at;
    const int64_t wide = x.c * b->expand;
    uf_status st = conv_norm_act(a, wide, 1, 1, 1, b->act);
    if (!st)
        st = conv_norm_act(a, wide, b->k, stride, wide, b->act);
    if (!st && b->se)
        st = excite(a, b->se);
    if (!st)
        st = conv_norm_act(a, b->out, 1, 1, 1, "none");
    return st || stride != 1 || x.c != b->out ? st : ufi_arch_add_place(a, &x);
}

/* Reads what blocks that repeat take beside the rest. */
static uf_status read_repeated(ufi_arch *a, ufi_arch_line *l, block *b)
{
    uf_status st = read_block(a, l, b);
    if (!st)
        st = ufi_arch_number_of(a, l, "repeat", 1, 64, &b->repeat);
    if (!st)
        st = ufi_arch_number_of(a, l, "expand", 1, 16, &b->expand);
    if (!st)
        st = ufi_arch_number_of(a, l, "se", 0, 64, &b->se);
    return st ? st : ufi_arch_number_of(a, l, "k", 3, 15, &b->k);
}

/* bottleneck CHANNELS [expand=1] [s=1] [k=3] [se=RATIO] [repeat=1] [act=none]: an inverted residual
 * (Sandler et al. 2018); the first of several has the stride. */
uf_status ufi_arch_do_bottleneck(ufi_arch *a, ufi_arch_line *l)
{
    block b;
    uf_status st = read_repeated(a, l, &b);
    for (int64_t i = 0; !st && i < b.repeat; i++)
        st = bottleneck(a, &b, i ? 1 : b.stride);
    return st;
}

/* Half of the channels by 1x1, the other half from them by depthwise 3x3. */
static uf_status ghost_half(ufi_arch *a, int64_t out, const char *act)
{
    const int64_t primary = (out + 1) / 2;
    uf_status st = conv_norm_act(a, primary, 1, 1, 1, act);
    const ufi_arch_place first = a->at;
    if (!st)
        st = conv_norm_act(a, primary, 3, 1, primary, act);
    return st ? st : ufi_arch_concat_place(a, &first);
}

static uf_status ghost(ufi_arch *a, const block *b, int64_t stride)
{
    const ufi_arch_place x = a->at;
    uf_status st = ghost_half(a, x.c * b->expand, b->act);
    if (!st && stride > 1)
        st = conv_norm_act(a, a->at.c, b->k, stride, a->at.c, "none");
    if (!st && b->se)
        st = excite(a, b->se);
    if (!st)
        st = ghost_half(a, b->out, "none");
    if (st || (stride == 1 && x.c == b->out))
        return st ? st : ufi_arch_add_place(a, &x);
    const ufi_arch_place main_way = a->at;
    a->at = x;
    st = conv_norm_act(a, x.c, b->k, stride, x.c, "none");
    if (!st)
        st = conv_norm_act(a, b->out, 1, 1, 1, "none");
    return st ? st : ufi_arch_add_place(a, &main_way);
}

/* ghost CHANNELS [expand=1] [s=1] [k=3] [se=RATIO] [repeat=1] [act=none]: a ghost bottleneck (Han
 * et al. 2020). */
uf_status ufi_arch_do_ghost(ufi_arch *a, ufi_arch_line *l)
{
    block b;
    uf_status st = read_repeated(a, l, &b);
    if (!st && b.out % 2)
        st = ufi_arch_fail(a, "ghost: %lld channels are no two halves", (long long)b.out);
    for (int64_t i = 0; !st && i < b.repeat; i++)
        st = ghost(a, &b, i ? 1 : b.stride);
    return st;
}

static uf_status residual(ufi_arch *a, const block *b, int64_t stride)
{
    const ufi_arch_place x = a->at;
    uf_status st = ufi_arch_norm(a);
    if (!st)
        st = conv_norm_act(a, b->out, 3, 1, 1, b->act);
    if (!st)
        st = conv_norm_act(a, b->out, 3, stride, 1, "none");
    if (st || (stride == 1 && x.c == b->out))
        return st ? st : ufi_arch_add_place(a, &x);
    const ufi_arch_place main_way = a->at;
    a->at = x;
    st = conv_norm_act(a, b->out, 1, stride, 1, "none");
    return st ? st : ufi_arch_add_place(a, &main_way);
}

/* residual CHANNELS [s=1] [repeat=1] [act=none]: the block of IResNet (Duta et al. 2021). */
uf_status ufi_arch_do_residual(ufi_arch *a, ufi_arch_line *l)
{
    block b;
    uf_status st = read_block(a, l, &b);
    if (!st)
        st = ufi_arch_number_of(a, l, "repeat", 1, 64, &b.repeat);
    for (int64_t i = 0; !st && i < b.repeat; i++)
        st = residual(a, &b, i ? 1 : b.stride);
    return st;
}
