/*
 * Kernels: pure functions on pointers. Floor 2: nothing but base and tensor below. Thread: any.
 *
 * Activations are FP32, channels last: an image is [height][width][channel], dense unless a stride
 * says otherwise. Every operation has one C reference (src/kernels/c) that is obviously right; the
 * variants in x86 and arm are compared with it by tests/checkasm. kernels.def lists them all.
 * The table is a pure function of the flags: C first, then better versions overwrite.
 */
#ifndef UFI_KERNELS_KERNELS_H
#define UFI_KERNELS_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- epilogue of a convolution: v = acc + bias[c]; v += residual; v = act(v) ---- */

typedef enum ufk_act {
    UFK_ACT_NONE = 0,
    UFK_ACT_CLAMP, /* min(max(v, lo), hi); ReLU is lo = 0, hi = +inf */
    UFK_ACT_PRELU, /* v >= 0 ? v : v * slope[c]; slope is never NULL (leaky: filled) */
    UFK_ACT_HARD_SWISH,
    UFK_ACT_SILU,
    UFK_ACT_SIGMOID
} ufk_act;

typedef struct ufk_epilogue {
    const float *bias;      /* [n], or NULL */
    const float *slope;     /* [n] for UFK_ACT_PRELU */
    const float *residual;  /* first output pixel's channel 0, or NULL */
    size_t residual_stride; /* floats between consecutive output pixels */
    ufk_act act;
    float lo, hi; /* UFK_ACT_CLAMP */
} ufk_epilogue;

/* ---- convolution as GEMM over runs: 1x1, k x k on padded input, fully connected ----
 *
 * C[i][j] = act(bias[j] + sum_{y < runs_y} sum_{x < runs_x} sum_{k < run_length}
 *               a[i * a_stride + y * run_stride_y + x * run_stride_x + k]
 *             * B[(y * runs_x + x) * run_length + k][j] + residual)
 * for i < m, j < n. B is packed by ufk_conv_pack: panels of conv_nr columns, [panel][K][column],
 * columns past n are zero; K = runs_y * runs_x * run_length. bias and slope have n entries (no
 * padding).
 * Nothing outside the named elements of `a` and `c` is read or written. c and a do not overlap;
 * residual may equal c. A 3x3 convolution without dilation over NHWC has runs_y = 3, runs_x = 1,
 * run_length = 3 * channels. */
typedef struct ufk_conv_args {
    const float *a;
    size_t a_stride;
    size_t runs_y, run_stride_y, runs_x, run_stride_x, run_length;
    const float *b;
    float *c;
    size_t c_stride;
    size_t m, n;
    ufk_epilogue epilogue;
} ufk_conv_args;

/* ---- 16-bit activations and weights (BF16 or FP16), FP32 sums and output ----
 *
 * As ufk_conv_args, with lines as in ufk_qconv_args; B is packed by ufk_hconv_pack. A variant may
 * take pairs of numbers whose sums are those of the format, or nearer to FP32: then the low parts
 * of all of A lie a_low behind the high ones, and those of B b_low. */
typedef struct ufk_hconv_args {
    const uint16_t *a;
    size_t a_low, b_low;
    size_t a_stride, a_line_stride, lines;
    size_t runs_y, run_stride_y, runs_x, run_stride_x, run_length;
    const uint16_t *b;
    float *c;
    size_t c_stride;
    size_t m, n;
    ufk_epilogue epilogue;
} ufk_hconv_args;

/* The kernels of one of the formats. bf16x3 is FP32: each number is a pair of BF16 (16 of its 24
 * bits), and of their four products the three larger ones are summed, so a product is off by at
 * most 3 * 2^-16 of itself. An infinite operand may make NaN. */
typedef struct ufk_hconv {
    size_t nr, nu, mr; /* as conv_nr (at most 64), conv_nu, conv_mr */
    size_t group;      /* 1 or 2: so many consecutive k of one column lie together */
    bool pairs;
    bool pays; /* faster than conv_f32 */
    void (*conv)(const ufk_hconv_args *args);
    /* To the nearest number, ties to even; subnormal ones may become zero. With pairs, `low` gets
     * what that leaves, otherwise it is not looked at. */
    void (*narrow)(uint16_t *out, uint16_t *low, const float *in, size_t count);
    const char *name;
} ufk_hconv;

/* ---- depthwise convolution, image at a time ----
 *
 * Computes output rows y_begin <= y < y_end of one image, all columns and channels; reads outside
 * the image count as zero. weights are [kh * kw][channels]. Input and output do not overlap. */
typedef struct ufk_dwconv_args {
    const float *in; /* [in_h][in_w][channels] with row and pixel strides */
    size_t in_row_stride, in_pixel_stride;
    float *out; /* row y starts at out + y * out_row_stride */
    size_t out_row_stride, out_pixel_stride;
    size_t in_h, in_w, out_h, out_w, channels;
    size_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    size_t y_begin, y_end;
    const float *weights;
    ufk_epilogue
        epilogue; /* residual: image base; residual_stride: pixels, rows are out_w pixels */
} ufk_dwconv_args;

/* ---- pooling, same conventions ---- */
typedef struct ufk_pool_args {
    const float *in;
    float *out;
    size_t in_h, in_w, out_h, out_w, channels; /* both dense */
    size_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    size_t y_begin, y_end;
    bool count_include_pad; /* average only: divide by kernel_h * kernel_w */
} ufk_pool_args;

/* ---- INT8: unsigned 8-bit activations with a zero point, signed 8-bit weights ----
 *
 * An activation byte x stands for x_scale * (x - x_zero). What follows a sum of products is FP32,
 * in this order, each line one rounding (Jacob et al., CVPR 2018, with a floating-point multiplier
 * in place of the fixed-point one), so that all variants agree bit for bit:
 *
 *   v = fma(sum of x * w, scale[c], bias[c])      (bias takes in what x_zero adds)
 *   v = fma(residual byte, residual_scale, v)     (if there is one; its zero point is in bias)
 *   v = act(v)                                    NONE and CLAMP: nothing here
 *   v = fma(v, out_scale, zero)                   PRELU and HARD_SWISH only
 *   v = min(max(v, lo), hi)
 *   byte = v rounded to nearest, ties to even; an FP32 output takes v itself
 *
 * For NONE and CLAMP the caller puts the output's scale and zero point into scale, bias, lo and hi.
 * With bytes out, 0 <= lo <= hi <= 255. */
typedef struct ufk_qepilogue {
    const float *scale, *bias; /* [n] */
    const float *slope;        /* [n] for UFK_ACT_PRELU */
    const uint8_t *residual;   /* as in ufk_epilogue */
    size_t residual_stride;
    float residual_scale;
    ufk_act act; /* NONE, CLAMP, PRELU, HARD_SWISH */
    float out_scale, zero, lo, hi;
} ufk_qepilogue;

/* As ufk_conv_args; strides and lengths in bytes. Exactly one of c and c_f32 is given (c_stride in
 * elements of it). B is packed by ufk_qconv_pack. Sums stay below 2^31 (K <= 65536). What lies
 * between the first and the last element of a line may be read. With lines > 1
 * (kernels of qconv_lines only) there are as many times m pixels: those of line l begin at
 * a + l * a_line_stride, their outputs and residuals follow those of the line before. What lies
 * between two lines may be read. */
typedef struct ufk_qconv_args {
    const uint8_t *a;
    size_t a_stride, a_line_stride, lines;
    size_t runs_y, run_stride_y, runs_x, run_stride_x, run_length;
    const int8_t *b;
    uint8_t *c;
    float *c_f32;
    size_t c_stride;
    size_t m, n;
    ufk_qepilogue epilogue;
} ufk_qconv_args;

/* How weights are packed where conv_u8 has a form of its own: bytes of a column, and the packing of
 * one panel, whose first column is b[0] of b[runs * run_length][n]; `columns` are there. */
typedef struct ufk_qconv_form {
    size_t (*column_bytes)(size_t runs, size_t run_length);
    void (*pack_panel)(int8_t *out, const int8_t *b, size_t n, size_t runs, size_t run_length,
                       size_t columns);
} ufk_qconv_form;

/* As ufk_dwconv_args; what lies outside the image is in_zero, dense tensors. */
typedef struct ufk_qdwconv_args {
    const uint8_t *in; /* [in_h][in_w][channels] */
    uint8_t *out;      /* [out_h][out_w][channels], or NULL and out_f32 */
    float *out_f32;
    size_t in_h, in_w, out_h, out_w, channels;
    size_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    size_t y_begin, y_end;
    const int8_t *weights; /* [kh * kw][channels] */
    uint8_t in_zero;
    ufk_qepilogue epilogue;
} ufk_qdwconv_args;

/* ---- INT16: signed 16-bit activations and weights, no zero points ----
 *
 * A word x stands for x_scale * x. The absolute weights of one output add up to 65535 at most
 * (UFI_WORDS_MOST), so sums of products with words stay within 32 bits in any order. What follows
 * is FP32, each line one rounding, so that all variants agree bit for bit:
 *
 *   v = fma(sum of x * w, scale[c], bias[c])
 *   v = fma(residual, residual_scale, v)          (if there is one)
 *   v = v < 0 ? v * slope[c] : v                  (if there are slopes)
 *   v = min(max(v, lo), hi)
 *   word = v rounded to nearest, ties to even; an FP32 output takes v itself
 *
 * The caller puts the output's scale into scale, bias, residual_scale, lo and hi. With words out,
 * -32768 <= lo <= hi <= 32767, both whole numbers, and no v that sums can give passes 2^31. */
typedef struct ufk_word_epilogue {
    const float *scale, *bias; /* [n], and readable up to the next multiple of words_nr */
    const float *slope;        /* the same, or NULL */
    const int16_t *residual;   /* as in ufk_epilogue */
    size_t residual_stride;
    float residual_scale, lo, hi;
} ufk_word_epilogue;

/* As ufk_conv_args with runs_x = 1; strides and lengths in words. Exactly one of c and c_f32 is
 * given. B is packed by ufk_words_pack. Nothing overlaps. */
typedef struct ufk_word_conv_args {
    const int16_t *a;
    size_t a_stride, runs, run_stride, run_length;
    const int16_t *b;
    int16_t *c;
    float *c_f32;
    size_t c_stride;
    size_t m, n;
    ufk_word_epilogue epilogue;
} ufk_word_conv_args;

/* As ufk_qdwconv_args; what lies outside the image is 0. Nothing overlaps. */
typedef struct ufk_word_dwconv_args {
    const int16_t *in; /* [in_h][in_w][channels] */
    int16_t *out;      /* [out_h][out_w][channels], or NULL and out_f32 */
    float *out_f32;
    size_t in_h, in_w, out_h, out_w, channels;
    size_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
    size_t y_begin, y_end;
    const int16_t *weights; /* [kh * kw][channels] */
    ufk_word_epilogue epilogue;
} ufk_word_dwconv_args;

/* ---- vector search: sums over sketches ----
 *
 * A sketch is one bit per dimension. Sketches lie in blocks of 32 vectors; a row of a block holds 8
 * dimensions of all 32: byte j of row r has the bits of dimensions 8r..8r+3 of vector j in its low
 * four bits and those of 8r+4..8r+7 in its high four. A table of a probe says what each four bits
 * add: the sum of a vector is that over all its rows (Andre, Kermarrec, Le Scouarnec, VLDB 2015).
 * Sums stay below 2^16 (rows <= 1056). */
enum {
    UFK_SKETCH_BLOCK = 32,
    UFK_SKETCH_ROWS = 4,
    UFK_SKETCH_LEVEL = 31,
    UFK_SKETCH_PROBES = 4,
    UFK_SKETCH_PROBE_BITS = 4,
    UFK_SKETCH_AHEAD = 64 /* so many vectors ahead bits are fetched that may lie anywhere */
};
typedef struct ufk_sketch_args {
    const uint8_t *codes; /* [blocks][rows][32] */
    size_t blocks, rows;  /* rows: a multiple of UFK_SKETCH_ROWS */
    size_t probes;        /* 1..UFK_SKETCH_PROBES */
    /* Each [rows / 2][2][2][2][16], values 0..UFK_SKETCH_LEVEL: of the low bits and of the high
     * bits, of two rows each, every table twice, as registers of 64 bytes want them. */
    const uint8_t *tables[UFK_SKETCH_PROBES];
    uint16_t *sums[UFK_SKETCH_PROBES];   /* each [blocks][32] */
    bool accumulate;                     /* sums are added to what is there */
    uint16_t *maxima[UFK_SKETCH_PROBES]; /* each [blocks]: the largest sum of a block */
} ufk_sketch_args;

/* The table of a row of sketches for its low (side 0) or high (side 1) bits. */
static inline size_t ufk_sketch_table(size_t row, size_t side)
{
    return row / 2 * 128 + side * 64 + row % 2 * 32;
}

typedef enum ufk_binop {
    UFK_ADD,
    UFK_SUB,
    UFK_MUL,
    UFK_DIV,
    UFK_MIN,
    UFK_MAX,
    UFK_PRELU
} ufk_binop;

/* out[r][c] = a[r * a_row_stride + c] op b[r * b_row_stride + c * b_col_stride]; b_col_stride is 0
 * or 1, b_row_stride may be 0 (one vector for all rows). out may equal a or b. */
typedef struct ufk_binary_args {
    ufk_binop op;
    float *out;
    const float *a, *b;
    size_t rows, cols, out_row_stride, a_row_stride, b_row_stride, b_col_stride;
    bool swap; /* b op a */
} ufk_binary_args;

typedef enum ufk_unop {
    UFK_RELU,
    UFK_CLAMP, /* p0, p1 */
    UFK_LEAKY, /* p0 */
    UFK_ELU,   /* p0 */
    UFK_SIGMOID,
    UFK_HARD_SIGMOID, /* p0 * x + p1 clamped to 0..1 */
    UFK_HARD_SWISH,
    UFK_SILU,
    UFK_GELU_ERF,
    UFK_TANH,
    UFK_EXP,
    UFK_SQRT,
    UFK_NEG,
    UFK_ABS,
    UFK_SCALE_SHIFT, /* x * p0 + p1 */
    UFK_ERF,
    UFK_SQUARE
} ufk_unop;

/* ---- many probes and many 8-bit codes: which pairs are near ---- */

enum { UFK_DOT_PROBES = 64, UFK_DOT_CODES = 256 };

typedef struct ufk_near {
    uint32_t code, probe;
    int32_t sum; /* their inner product */
} ufk_near;

/* Codes and probes have values of -127..127; sums stay below 2^31. */
typedef struct ufk_dot_many_args {
    const int8_t *probes; /* packed by ufk_dot_many_pack */
    const int8_t *codes;  /* [count][n]; count a multiple of 32, at most UFK_DOT_CODES */
    size_t count, n;      /* n a multiple of 64 */
    const float *steps;   /* [count] */
    const float *bounds;  /* [UFK_DOT_PROBES] */
    ufk_near *out;        /* room for count * UFK_DOT_PROBES */
} ufk_dot_many_args;

typedef struct ufk_table {
    uint32_t flags; /* the word it was made from */

    /* Convolution. `conv_nr` is the panel width of packed B, `conv_mr` the natural step of m. The
     * last panel is only n % conv_nr rounded up to conv_nu columns wide, so columns from
     * j (a multiple of conv_nr) on start at b + j * K: a caller may split n there. */
    size_t conv_nr, conv_nu, conv_mr;
    void (*conv_f32)(const ufk_conv_args *args);
    const char *conv_f32_name; /* "conv_f32_avx512": every *_name says which variant is in place */

    void (*dwconv_f32)(const ufk_dwconv_args *args);
    const char *dwconv_f32_name;

    void (*max_pool_f32)(const ufk_pool_args *args);
    void (*average_pool_f32)(const ufk_pool_args *args);
    /* out[c] = mean over `pixels` rows of [pixels][channels] */
    void (*global_average_f32)(float *out, const float *in, size_t pixels, size_t channels);
    const char *pool_f32_name;

    void (*binary_f32)(const ufk_binary_args *args);
    void (*unary_f32)(ufk_unop op, float *out, const float *in, size_t count, float p0, float p1);
    /* out[r][c] = in[r][c] * scale[c] + shift[c]; out may equal in */
    void (*affine_f32)(float *out, const float *in, size_t rows, size_t cols, const float *scale,
                       const float *shift);
    /* softmax over each row of [rows][cols], stable; out may equal in */
    void (*softmax_f32)(float *out, const float *in, size_t rows, size_t cols);
    const char *elementwise_f32_name;

    /* out[r] = sum of row r of [rows][cols], or of its squares */
    void (*row_sum_f32)(float *out, const float *in, size_t rows, size_t cols, bool squares);
    /* Each row less its mean, by its deviation: (x - mean) / sqrt(variance + epsilon) * scale[c] +
     * shift[c]; shift may be NULL, out may equal in */
    void (*layer_norm_f32)(float *out, const float *in, size_t rows, size_t cols,
                           const float *scale, const float *shift, float epsilon);
    const char *rows_f32_name;

    /* out[c][r] = in[r][c]: NHWC <-> NCHW of one image is a transpose of [pixels][channels].
     * Row strides in floats. */
    void (*transpose_f32)(float *out, size_t out_row_stride, const float *in, size_t in_row_stride,
                          size_t rows, size_t cols);
    const char *transpose_f32_name;

    /* Winograd F(4x4, 3x3) (Lavin & Gray 2015): tiles of 6x6 input, 4x4 output, NHWC.
     * Input: transforms `tiles` consecutive tiles (row-major over tiles_x columns, starting at
     * `first`) of the image in [in_h][in_w][channels], zero outside, padded by pad_top/pad_left,
     * into out[36][out_tile_stride apart per position][tile][channels]. */
    void (*wino4_input_f32)(float *out, size_t position_stride, const float *in, size_t in_h,
                            size_t in_w, size_t channels, size_t pad_top, size_t pad_left,
                            size_t tiles_x, size_t first, size_t tiles);
    /* Inverse: in[36][position_stride][tile][channels] -> 4x4 pixels per tile of
     * out[out_h][out_w][channels] with epilogue (residual laid out as out). */
    void (*wino4_output_f32)(float *out, size_t out_h, size_t out_w, size_t channels,
                             const float *in, size_t position_stride, size_t tiles_x, size_t first,
                             size_t tiles, const ufk_epilogue *epilogue);
    /* Same for F(2x2, 3x3): 16 positions, 4x4 input, 2x2 output. */
    void (*wino2_input_f32)(float *out, size_t position_stride, const float *in, size_t in_h,
                            size_t in_w, size_t channels, size_t pad_top, size_t pad_left,
                            size_t tiles_x, size_t first, size_t tiles);
    void (*wino2_output_f32)(float *out, size_t out_h, size_t out_w, size_t channels,
                             const float *in, size_t position_stride, size_t tiles_x, size_t first,
                             size_t tiles, const ufk_epilogue *epilogue);
    const char *winograd_f32_name;

    /* INT8 convolution; qconv_nr, qconv_nu and qconv_mr as for conv_f32: columns from j (a multiple
     * of qconv_nr) on start at b + j * ufk_qconv_column_bytes(). qconv_lines: takes several lines,
     * which is faster than one call each. */
    size_t qconv_nr, qconv_nu, qconv_mr;
    const ufk_qconv_form *qconv_form; /* NULL: groups of 4, see ufk_qconv_pack */
    bool qconv_lines;
    void (*conv_u8)(const ufk_qconv_args *args);
    const char *conv_u8_name;
    void (*dwconv_u8)(const ufk_qdwconv_args *args);
    const char *dwconv_u8_name;

    /* INT16; panels of words_nr columns, in which words_group (1 or 2) consecutive k of one column
     * lie together. */
    size_t words_nr, words_group;
    void (*conv_i16)(const ufk_word_conv_args *args);
    void (*dwconv_i16)(const ufk_word_dwconv_args *args);
    /* out = clamp(round(in / scale), -32768, 32767), ties to even; NaN becomes 0 */
    void (*quantize_i16)(int16_t *out, const float *in, size_t count, float scale);
    /* The same of three planes: out[pixel][c] = in[c][pixel] */
    void (*quantize_planes3_i16)(int16_t *out, const float *in, size_t pixels, float scale);
    /* out = in * scale */
    void (*dequantize_i16)(float *out, const int16_t *in, size_t count, float scale);
    /* out = clamp(round(fma(a, a_scale, b * b_scale)), -32768, 32767), ties to even */
    void (*add_i16)(int16_t *out, const int16_t *a, const int16_t *b, size_t count, float a_scale,
                    float b_scale);
    void (*max_pool_i16)(int16_t *out, const int16_t *in, const ufk_pool_args *shape);
    const char *words_name;

    ufk_hconv bf16, f16, bf16x3;

    /* out = clamp(round(in / scale) + zero, 0, 255), ties to even, as ONNX's QuantizeLinear; NaN
     * becomes 0 */
    void (*quantize_u8)(uint8_t *out, const float *in, size_t count, float scale, uint8_t zero);
    /* out = (in - zero) * scale */
    void (*dequantize_u8)(float *out, const uint8_t *in, size_t count, float scale, float zero);
    /* out = clamp(round(fma(a, a_scale, fma(b, b_scale, shift))), 0, 255), ties to even */
    void (*add_u8)(uint8_t *out, const uint8_t *a, const uint8_t *b, size_t count, float a_scale,
                   float b_scale, float shift);
    /* args->in and out are bytes here */
    void (*max_pool_u8)(uint8_t *out, const uint8_t *in, const ufk_pool_args *shape);
    /* out[pixel][3] = planes[3][pixel] */
    void (*interleave3_u8)(uint8_t *out, const uint8_t *planes, size_t pixels);
    const char *quant_u8_name;

    /* Inner product of two vectors (template comparison). */
    float (*dot_f32)(const float *a, const float *b, size_t count);
    const char *dot_f32_name;

    /* out[i] = sum over k < n of probe[k] * codes[i][k], n a multiple of 32, values -127..127, sums
     * below 2^31. `codes` need not be near each other: the next are fetched ahead. */
    void (*dot_i8)(int32_t *out, const int8_t *probe, const int8_t *const *codes, size_t count,
                   size_t n);
    const char *dot_i8_name;
    /* The pairs for which sum * steps[code] >= bounds[probe], in any order; their number is
     * returned. What lies behind the codes may be fetched. dot_many_pays: faster than looking at
     * sketches first. */
    size_t (*dot_many_i8)(const ufk_dot_many_args *args);
    bool dot_many_pays;
    const char *dot_many_name;

    void (*sketch_scan)(const ufk_sketch_args *args);
    /* Bit i: sums[i] >= least. */
    uint32_t (*sketch_mask)(const uint16_t sums[UFK_SKETCH_BLOCK], uint16_t least);
    /* Of the vectors that bit i of held[i / 32] names, in their order, those whose sum is at least
     * `least`: out[] = sum << 16 | first + i, their number is returned. `out` has room for all
     * of the blocks and 16 more, which may be written to; first + all <= 2^16. */
    size_t (*sketch_pick)(uint32_t *out, const uint16_t *sums, const uint32_t *held, size_t blocks,
                          uint32_t first, uint16_t least);
    /* out[i] = sum over b < 4 of 2^b * (bits in which vector places[i] % 2^16 and plane b differ);
     * planes [4][words], vector v at bits + 8 * words * v. The first UFK_SKETCH_AHEAD should be on
     * their way to the cache; the others are fetched ahead. */
    void (*sketch_count)(uint32_t *out, const uint64_t *planes, const uint8_t *bits,
                         const uint32_t *places, size_t count, size_t words);
    const char *sketch_name;

    /* ---- pictures: 8-bit, interleaved ---- */

    /* Bilinear resize of RGB8 (or any `channels` 1..4), half-pixel centres, as OpenCV's
     * INTER_LINEAR and 11-bit fixed-point weights: EXACT across variants. Computes output rows
     * y_begin..y_end. */
    void (*resize_bilinear_u8)(uint8_t *out, size_t out_stride, size_t out_w, size_t out_h,
                               const uint8_t *in, size_t in_stride, size_t in_w, size_t in_h,
                               size_t channels, size_t y_begin, size_t y_end);
    /* Affine warp, bilinear, RGB8: out(x, y) = in(m0 x + m1 y + m2, m3 x + m4 y + m5), pixel
     * centres at integers, `border` outside. 5 fractional bits, as OpenCV's warpAffine: EXACT. */
    void (*warp_affine_u8)(uint8_t *out, size_t out_stride, size_t out_w, size_t out_h,
                           const uint8_t *in, size_t in_stride, size_t in_w, size_t in_h,
                           const float m[6], uint8_t border);
    /* out[pixel][c] = in[pixel][swap ? 2 - c : c] * scale[c] + shift[c], RGB8 to FP32 NHWC. */
    void (*normalize_u8_f32)(float *out, const uint8_t *in, size_t pixels, const float scale[3],
                             const float shift[3], bool swap);
    const char *image_u8_name;
} ufk_table;

/* Fills `t` for a machine with `flags` (ufi_cpu_flag). */
void ufk_table_init(ufk_table *t, uint32_t flags);
/* The table of this machine (ufi_cpu_flags), made once. */
const ufk_table *ufk_default_table(void);

/* Packs B[k][n] (row-major, `b_stride` floats between rows) for `conv_f32` of table `t`. */
size_t ufk_conv_packed_floats(const ufk_table *t, size_t k, size_t n);
void ufk_conv_pack(const ufk_table *t, float *packed, const float *b, size_t b_stride, size_t k,
                   size_t n);
/* The same from the transpose of B, [n][k], without gaps. */
void ufk_conv_pack_transposed(const ufk_table *t, float *packed, const float *b, size_t k,
                              size_t n);
/* Packs B[runs * run_length][n] for `conv_u8` of table `t`: panels as for conv_f32, each preceded
 * by the int32 sums of its columns, then as its qconv_form wants it, or in groups: [k / 4][column]
 * [4 consecutive k], where every run starts a new group and is filled up with zeros. */
size_t ufk_qconv_column_bytes(const ufk_table *t, size_t runs, size_t run_length);
size_t ufk_qconv_group_bytes(size_t runs, size_t run_length); /* of a column, in groups */
size_t ufk_qconv_packed_bytes(const ufk_table *t, size_t runs, size_t run_length, size_t n);
void ufk_qconv_pack(const ufk_table *t, int8_t *packed, const int8_t *b, size_t runs,
                    size_t run_length, size_t n);
/* Packs B[runs * run_length][n] for `conv` of `h`: panels as for conv_f32, in each [k / group]
 * [column][group consecutive k], where every run starts a new group and is filled up with zeros:
 * columns from j (a multiple of nr) on start at b + j * ufk_hconv_column_halves(). With pairs, the
 * low parts follow in the same order, ufk_hconv_plane_halves() behind the high ones. */
size_t ufk_hconv_column_halves(const ufk_hconv *h, size_t runs, size_t run_length);
size_t ufk_hconv_plane_halves(const ufk_hconv *h, size_t runs, size_t run_length, size_t n);
size_t ufk_hconv_packed_halves(const ufk_hconv *h, size_t runs, size_t run_length, size_t n);
void ufk_hconv_pack(const ufk_hconv *h, uint16_t *packed, const float *b, size_t runs,
                    size_t run_length, size_t n);
/* Packs B[runs * run_length][n] for `conv_i16` of table `t`: panels of words_nr columns, columns
 * past n are zero; every run starts a new group and is filled up with zeros. */
size_t ufk_words_packed(const ufk_table *t, size_t runs, size_t run_length, size_t n);
void ufk_words_pack(const ufk_table *t, int16_t *packed, const int16_t *b, size_t runs,
                    size_t run_length, size_t n);
/* Packs probe number `i` of n values: [n / 4][UFK_DOT_PROBES][4]. */
void ufk_dot_many_pack(int8_t *packed, size_t i, const int8_t *probe, size_t n);
/* Line `l` of `args` alone. */
ufk_qconv_args ufk_qconv_line(const ufk_qconv_args *args, size_t l);
/* Winograd weight transform of one 3x3 filter: w[9] -> u[36] / u[16] (double inside). */
void ufk_wino4_weight(float u[36], const float w[9]);
void ufk_wino2_weight(float u[16], const float w[9]);

#endif
