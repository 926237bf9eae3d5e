/*
 * The dispatch table: a pure function of the CPU flags. Each topic has one init function, next to
 * its C reference, that fills in the C version and overwrites it with better ones.
 */
#include "kernels/kernels.h"

#include <pthread.h>

#include "base/cpu.h"
#include "kernels/topics.h"

void ufk_table_init(ufk_table *t, uint32_t flags)
{
    *t = (ufk_table){.flags = flags};
    ufk_conv_init(t, flags);
    ufk_dwconv_init(t, flags);
    ufk_pool_init(t, flags);
    ufk_elementwise_init(t, flags);
    ufk_transpose_init(t, flags);
    ufk_dot_init(t, flags);
    ufk_winograd_init(t, flags);
    ufk_image_init(t, flags);
    ufk_qconv_init(t, flags);
    ufk_hconv_init(t, flags);
    ufk_qdwconv_init(t, flags);
    ufk_quant_init(t, flags);
    ufk_sketch_init(t, flags);
    ufk_rows_init(t, flags);
    ufk_words_init(t, flags);
}

static ufk_table default_table;
static pthread_once_t default_once = PTHREAD_ONCE_INIT;

static void make_default(void)
{
    ufk_table_init(&default_table, ufi_cpu_flags());
}

const ufk_table *ufk_default_table(void)
{
    pthread_once(&default_once, make_default);
    return &default_table;
}
