/* The init function of each topic (src/kernels/c/<topic>.c) and the selection by instruction set
 * that it calls (src/kernels/{x86,arm}/<topic>_<isa>.c, absent on other machines). */
#ifndef UFI_KERNELS_TOPICS_H
#define UFI_KERNELS_TOPICS_H

#include "kernels/kernels.h"

void ufk_conv_init(ufk_table *t, uint32_t flags);
void ufk_dwconv_init(ufk_table *t, uint32_t flags);
void ufk_pool_init(ufk_table *t, uint32_t flags);
void ufk_elementwise_init(ufk_table *t, uint32_t flags);
void ufk_transpose_init(ufk_table *t, uint32_t flags);
void ufk_dot_init(ufk_table *t, uint32_t flags);
void ufk_image_init(ufk_table *t, uint32_t flags);
void ufk_winograd_init(ufk_table *t, uint32_t flags);
void ufk_qconv_init(ufk_table *t, uint32_t flags);
void ufk_hconv_init(ufk_table *t, uint32_t flags);
void ufk_qdwconv_init(ufk_table *t, uint32_t flags);
void ufk_quant_init(ufk_table *t, uint32_t flags);
void ufk_sketch_init(ufk_table *t, uint32_t flags);
void ufk_rows_init(ufk_table *t, uint32_t flags);
void ufk_words_init(ufk_table *t, uint32_t flags);

#define UFK_BF16_MOST 0x1.FEp127f /* the largest finite number of BF16 */

/* Overwrite the topic's fields with the variants of one instruction set; each is defined where
 * kernels.def has a row for it, in src/kernels/{x86,arm}/<topic>_<isa>.c. */
#define UFK_SELECT(topic)                               \
    void ufk_##topic##_select_avx2(ufk_table *t);       \
    void ufk_##topic##_select_avx512(ufk_table *t);     \
    void ufk_##topic##_select_avxvnni(ufk_table *t);    \
    void ufk_##topic##_select_avx512vnni(ufk_table *t); \
    void ufk_##topic##_select_amx(ufk_table *t);        \
    void ufk_##topic##_select_dotprod(ufk_table *t);    \
    void ufk_##topic##_select_i8mm(ufk_table *t);       \
    void ufk_##topic##_select_neon(ufk_table *t)

UFK_SELECT(conv);
UFK_SELECT(dwconv);
UFK_SELECT(elementwise);
UFK_SELECT(image);
UFK_SELECT(pool);
UFK_SELECT(winograd);
UFK_SELECT(transpose);
UFK_SELECT(dot);
UFK_SELECT(qconv);
UFK_SELECT(hconv);
UFK_SELECT(qdwconv);
UFK_SELECT(quant);
UFK_SELECT(sketch);
UFK_SELECT(rows);
UFK_SELECT(words);

/* The reference of a topic, for cases that a variant leaves to it. */
void ufk_conv_u8_c(const ufk_qconv_args *args);
void ufk_dwconv_u8_c(const ufk_qdwconv_args *a);
void ufk_transpose_f32_c(float *out, size_t out_row_stride, const float *in, size_t in_row_stride,
                         size_t rows, size_t cols);
void ufk_conv_i16_c(const ufk_word_conv_args *args);
void ufk_dwconv_i16_c(const ufk_word_dwconv_args *args);
/* The variant that AMX leaves small cases to; its panels are the same. */
void ufk_conv_u8_avx512vnni(const ufk_qconv_args *args);

#endif
