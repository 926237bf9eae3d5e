/*
 * A tensor: type, shape and a pointer to data owned by someone else. Dense and in C order of its
 * *physical* layout; `shape` is always in logical (ONNX, NCHW) order. Floor 2.
 */
#ifndef UFI_TENSOR_TENSOR_H
#define UFI_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "uniface/base.h"

/* Where rank-4 data keeps its channels. PLAIN is NCHW order; tensors of another rank are PLAIN. */
typedef enum ufi_layout { UFI_PLAIN = 0, UFI_NHWC = 1 } ufi_layout;

/* At most UF_MAX_DIMS dimensions, each 0..2^31-1; -1 stands for "not known yet". */
typedef struct ufi_shape {
    uint32_t rank;
    int64_t dims[UF_MAX_DIMS];
} ufi_shape;

typedef struct ufi_tensor {
    uf_dtype dtype;
    ufi_layout layout;
    ufi_shape shape;
    void *data;
} ufi_tensor;

#define UFI_MAX_ELEMENTS ((int64_t)1 << 31)

size_t ufi_dtype_bytes(uf_dtype t);       /* 0 for an unknown type */
const char *ufi_dtype_name(uf_dtype t);   /* "f32"; "?" for an unknown type */
bool ufi_shape_known(const ufi_shape *s); /* no dimension is -1 */
/* Number of elements; -1 when a dimension is unknown or the product passes UFI_MAX_ELEMENTS. */
int64_t ufi_shape_count(const ufi_shape *s);
bool ufi_shape_equal(const ufi_shape *a, const ufi_shape *b);
ufi_shape ufi_shape_make(uint32_t rank, const int64_t *dims);
/* "[1,3,112,112]", with "?" for unknown. */
void ufi_shape_text(const ufi_shape *s, char *out, size_t size);
/* Bytes of the data; 0 for an unknown or oversized shape. */
size_t ufi_tensor_bytes(const ufi_tensor *t);

/* Scale and zero point of unsigned bytes for values in lo..hi, lo <= 0 <= hi; an empty or infinite
 * range has scale 1 (ONNX's DynamicQuantizeLinear). */
void ufi_range_to_u8(float lo, float hi, float *scale, uint8_t *zero);

/* The absolute INT16 weights of one output add up to so much at most: times 32768, the largest
 * word, that is below 2^31. */
enum { UFI_WORDS_MOST = 65535 };
int64_t ufi_words_sum(const int16_t *w, size_t count); /* of absolute values */

/* FP16 / BF16 to FP32 and back, round to nearest even. */
float ufi_f16_to_f32(uint16_t h);
uint16_t ufi_f32_to_f16(float f);
float ufi_bf16_to_f32(uint16_t h);
uint16_t ufi_f32_to_bf16(float f);

#endif
