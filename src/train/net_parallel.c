/* The threads of a network under training are OpenMP's, because oneDNN's are: one set of threads
 * cannot be in its own way. */
#include <omp.h>

#include "train/net_impl.h"

unsigned ufi_net_set_threads(unsigned threads)
{
    int before = omp_get_max_threads();
    omp_set_num_threads((int)threads);
    return (unsigned)before;
}

void ufi_net_parallel(const ufi_net *net, ufi_part_fn *fn, void *arg, size_t count)
{
    const unsigned parts = net->options.threads;
    if (parts == 1 || count < 2) {
        fn(arg, 0, count, 0);
        return;
    }
#pragma omp parallel for schedule(static, 1) num_threads(parts)
    for (unsigned p = 0; p < parts; p++) {
        size_t from = count * p / parts, to = count * (p + 1) / parts;
        if (from < to)
            fn(arg, from, to, p);
    }
}

typedef struct add_job {
    const ufi_net *net;
    bool bf16;
    uint8_t *dst;
    const uint8_t *a, *b;
} add_job;

static void add_part(void *arg, size_t from, size_t to, unsigned part)
{
    const add_job *j = arg;
    const size_t size = j->bf16 ? 2 : 4;
    (void)part;
    if (j->b)
        j->net->rows->add(j->bf16, j->dst + from * size, j->a + from * size, j->b + from * size,
                          to - from);
    else
        memcpy(j->dst + from * size, j->a + from * size, (to - from) * size);
}

void ufi_net_add(const ufi_net *net, const ufi_blob *b, void *dst, const void *src,
                 const void *other)
{
    add_job j = {net, ufi_blob_bf16(net, b), dst, src, other};
    ufi_net_parallel(net, add_part, &j, b->count);
}
