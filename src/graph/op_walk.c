/*
 * Shapes and strides: broadcasting, and walks over strided index spaces. Nearly every operator that
 * moves data is one strided copy with the right strides, so that is written once.
 */
#include "graph/op.h"

int64_t ufi_product(const int64_t *dims, uint32_t from, uint32_t to)
{
    int64_t n = 1;
    bool zero = false;
    for (uint32_t i = from; i < to; i++) {
        if (dims[i] < 0)
            return -1;
        zero |= dims[i] == 0;
        if (dims[i] > 0 && n > UFI_MAX_ELEMENTS / dims[i])
            n = UFI_MAX_ELEMENTS + 1; /* stays too large unless a later dimension is 0 */
        else if (dims[i] > 0)
            n *= dims[i];
    }
    return zero ? 0 : n > UFI_MAX_ELEMENTS ? -1 : n;
}

void ufi_strides(const ufi_shape *s, int64_t *strides)
{
    int64_t n = 1;
    for (uint32_t i = s->rank; i-- > 0;) {
        strides[i] = n;
        n *= s->dims[i] > 0 ? s->dims[i] : 1;
    }
}

void ufi_broadcast_strides(const ufi_shape *in, const ufi_shape *out, int64_t *strides)
{
    int64_t dense[UF_MAX_DIMS];
    ufi_strides(in, dense);
    uint32_t lead = out->rank - in->rank;
    for (uint32_t i = 0; i < out->rank; i++)
        strides[i] = i < lead || in->dims[i - lead] == 1 ? 0 : dense[i - lead];
}

bool ufi_broadcast(ufi_shape *acc, const ufi_shape *s)
{
    ufi_shape r = {.rank = acc->rank > s->rank ? acc->rank : s->rank};
    for (uint32_t i = 0; i < r.rank; i++) {
        uint32_t back = r.rank - i; /* distance from the end */
        int64_t a = back > acc->rank ? 1 : acc->dims[acc->rank - back];
        int64_t b = back > s->rank ? 1 : s->dims[s->rank - back];
        if (a == b || b == 1)
            r.dims[i] = a;
        else if (a == 1)
            r.dims[i] = b;
        else if (a < 0 || b < 0)
            r.dims[i] = a < 0 ? b : a; /* the unknown one must be 1 or equal */
        else
            return false;
    }
    *acc = r;
    return true;
}

/* Whether dimension d can be walked together with d + 1: for every operand one step of d is the
 * whole of d + 1. */
static bool mergeable(const ufi_walk *w, uint32_t d)
{
    for (uint32_t k = 0; k < w->operands; k++)
        if (w->strides[k][d] != w->strides[k][d + 1] * w->dims[d + 1])
            return false;
    return true;
}

static void drop_dim(ufi_walk *w, uint32_t d)
{
    for (uint32_t i = d; i + 1 < w->rank; i++) {
        w->dims[i] = w->dims[i + 1];
        for (uint32_t k = 0; k < w->operands; k++)
            w->strides[k][i] = w->strides[k][i + 1];
    }
    w->rank--;
}

bool ufi_walk_init(ufi_walk *w, uint32_t rank, const int64_t *dims, uint32_t operands,
                   const int64_t *const *strides)
{
    memset(w, 0, sizeof *w);
    w->rank = rank;
    w->operands = operands;
    for (uint32_t d = 0; d < rank; d++) {
        if (dims[d] <= 0)
            return false;
        w->dims[d] = dims[d];
        for (uint32_t k = 0; k < operands; k++)
            w->strides[k][d] = strides[k][d];
    }
    for (uint32_t d = w->rank; d-- > 0;)
        if (w->dims[d] == 1)
            drop_dim(w, d);
    for (uint32_t d = w->rank; d-- > 1;)
        if (mergeable(w, d - 1)) {
            w->dims[d] *= w->dims[d - 1];
            drop_dim(w, d - 1);
        }
    if (w->rank == 0) {
        w->length = 1;
        return true;
    }
    w->rank--;
    w->length = w->dims[w->rank];
    for (uint32_t k = 0; k < operands; k++)
        w->step[k] = w->strides[k][w->rank];
    return true;
}

bool ufi_walk_next(ufi_walk *w)
{
    for (uint32_t d = w->rank; d-- > 0;) {
        if (++w->index[d] < w->dims[d]) {
            for (uint32_t k = 0; k < w->operands; k++)
                w->at[k] += w->strides[k][d];
            return true;
        }
        w->index[d] = 0;
        for (uint32_t k = 0; k < w->operands; k++)
            w->at[k] -= w->strides[k][d] * (w->dims[d] - 1);
    }
    return false;
}

#define COPY_ROW(type)                                   \
    do {                                                 \
        type *d = dst;                                   \
        const type *s = src;                             \
        for (int64_t i = 0; i < n; i++)                  \
            d[d_at + i * d_step] = s[s_at + i * s_step]; \
    } while (0)

static void copy_row(size_t size, int64_t n, void *dst, int64_t d_at, int64_t d_step,
                     const void *src, int64_t s_at, int64_t s_step)
{
    if (d_step == 1 && s_step == 1)
        memcpy((char *)dst + d_at * (int64_t)size, (const char *)src + s_at * (int64_t)size,
               (size_t)n * size);
    else if (size == 1)
        COPY_ROW(uint8_t);
    else if (size == 2)
        COPY_ROW(uint16_t);
    else if (size == 4)
        COPY_ROW(uint32_t);
    else
        COPY_ROW(uint64_t);
}

void ufi_copy_strided(size_t size, uint32_t rank, const int64_t *dims, void *dst,
                      const int64_t *dst_strides, const void *src, const int64_t *src_strides)
{
    ufi_walk w;
    const int64_t *const strides[2] = {dst_strides, src_strides};
    for (bool more = ufi_walk_init(&w, rank, dims, 2, strides); more; more = ufi_walk_next(&w))
        copy_row(size, w.length, dst, w.at[0], w.step[0], src, w.at[1], w.step[1]);
}
