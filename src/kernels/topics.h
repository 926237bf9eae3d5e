/* The init function of each topic (src/kernels/c/<topic>.c) and the selection by instruction set
 * that it calls (src/kernels/{x86,arm}/<topic>_<isa>.c, absent on other machines). */
#ifndef UFI_KERNELS_TOPICS_H
#define UFI_KERNELS_TOPICS_H

#include "kernels/kernels.h"

void ufk_conv_init(ufk_table *t, uint32_t flags);
void ufk_dwconv_init(ufk_table *t, uint32_t flags);
void ufk_winograd_init(ufk_table *t, uint32_t flags);
void ufk_pool_init(ufk_table *t, uint32_t flags);
void ufk_elementwise_init(ufk_table *t, uint32_t flags);
void ufk_transpose_init(ufk_table *t, uint32_t flags);
void ufk_dot_init(ufk_table *t, uint32_t flags);
void ufk_image_init(ufk_table *t, uint32_t flags);

#endif
