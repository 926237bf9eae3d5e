/*
 * Operators that ask for what cannot be, a test each: attributes, indices, scales, dimensions of
 * embedders, memory. The files are good `.ufm` otherwise. (The same from ONNX: onnx_test.c.)
 */
#include "bad_model_run.h"

/* ---- attributes ---- */

/* A convolution of x [1,2,5,5] with w [2,1 or 2,3,3] and one attribute. */
static void check_conv(ufi_attr_key key, const int64_t *v, uint32_t count, int64_t group_inputs,
                       const char *part)
{
    static const float w[36];
    ufm_file f = {0};
    bytes attrs = {0};
    ufm_attr_ints(&attrs, key, v, count);
    make_operator(&f,
                  &(ufm_operator){.op = UFI_OP_CONV,
                                  .x = {UF_F32, 4, {1, 2, 5, 5}, NULL, 0},
                                  .constants = {{UF_F32, 4, {2, group_inputs, 3, 3}, w, sizeof w}},
                                  .attrs = &attrs,
                                  .attr_count = 1});
    if (part)
        refuse(&f.whole, strstr(part, "too large") ? UF_E_LIMIT : UF_E_FORMAT, part);
    else
        accept(&f.whole, 0, 0);
    ufm_free(&f);
    bytes_free(&attrs);
}

#define CONV(id, key, group_inputs, part, ...)                                   \
    TEST(id)                                                                     \
    {                                                                            \
        const int64_t v[] = {__VA_ARGS__};                                       \
        check_conv(UFI_ATTR_##key, v, sizeof v / sizeof *v, group_inputs, part); \
    }

CONV(conv_is_good, STRIDES, 2, NULL, 1, 1)
CONV(conv_in_groups_is_good, GROUP, 1, NULL, 2)
CONV(stride_0, STRIDES, 2, "strides", 0, 1)
CONV(stride_negative, STRIDES, 2, "strides", -1, -1)
CONV(stride_huge, STRIDES, 2, "strides", INT64_MAX, 1)
CONV(strides_of_rank_1, STRIDES, 2, "strides", 1)
CONV(strides_of_rank_3, STRIDES, 2, "strides", 1, 1, 1)
CONV(dilations_of_rank_3, DILATIONS, 2, "dilations", 1, 1, 1)
CONV(dilations_of_rank_1, DILATIONS, 2, "dilations", 1)
CONV(dilation_0, DILATIONS, 2, "dilations", 0, 0)
CONV(dilation_beyond_the_input, DILATIONS, 2, "does not fit", 7, 7)
CONV(kernel_other_than_the_weights, KERNEL_SHAPE, 2, "kernel_shape", 5, 5)
CONV(groups_0, GROUP, 2, "group", 0)
CONV(groups_negative, GROUP, 2, "group", -2)
CONV(groups_that_do_not_divide, GROUP, 2, "group", 3)
CONV(groups_that_do_not_match_the_weights, GROUP, 2, "group", 2)
CONV(pads_negative, PADS, 2, "pads", -1, 0, 0, 0)
CONV(pads_of_three, PADS, 2, "pads", 1, 1, 1)
CONV(pads_that_make_rows_of_which_few_are_2_64, PADS, 2, "too large", INT32_MAX, INT32_MAX, 0,
     INT32_MAX)
CONV(stride_that_is_never_taken, STRIDES, 2, NULL, INT32_MAX, INT32_MAX)

TEST(convolution_without_filters)
{
    static const float w[8];
    ufm_file f = {0};
    make_operator(&f, &(ufm_operator){.op = UFI_OP_CONV,
                                      .x = {UF_F32, 4, {1, 2, 5, 5}, NULL, 0},
                                      .constants = {{UF_F32, 4, {0, 2, 1, 1}, w, 0}}});
    refuse(&f.whole, UF_E_FORMAT, "0 filters");
    ufm_free(&f);
}

TEST(kernel_larger_than_the_input)
{
    static const float w[2 * 49];
    ufm_file f = {0};
    make_operator(&f, &(ufm_operator){.op = UFI_OP_CONV,
                                      .x = {UF_F32, 4, {1, 2, 5, 5}, NULL, 0},
                                      .constants = {{UF_F32, 4, {1, 2, 7, 7}, w, sizeof w}}});
    refuse(&f.whole, UF_E_FORMAT, "\"the node\"");
    ufm_free(&f);
}

static void check_pool(ufi_attr_key key, const int64_t *v, uint32_t count, const char *part)
{
    ufm_file f = {0};
    bytes attrs = {0};
    const int64_t kernel[2] = {2, 2};
    ufm_attr_ints(&attrs, UFI_ATTR_KERNEL_SHAPE, kernel, 2);
    ufm_attr_ints(&attrs, key, v, count);
    make_operator(&f, &(ufm_operator){.op = UFI_OP_MAX_POOL,
                                      .x = {UF_F32, 4, {1, 2, 5, 5}, NULL, 0},
                                      .attrs = &attrs,
                                      .attr_count = 2});
    refuse(&f.whole, UF_E_FORMAT, part);
    ufm_free(&f);
    bytes_free(&attrs);
}

TEST(pool_larger_than_the_input)
{
    const int64_t v[2] = {9, 9};
    check_pool(UFI_ATTR_KERNEL_SHAPE, v, 2, "\"the node\"");
}

TEST(pool_stride_0)
{
    const int64_t v[2] = {0, 0};
    check_pool(UFI_ATTR_STRIDES, v, 2, "strides");
}

TEST(pool_of_0_pixels)
{
    const int64_t v[2] = {0, 0};
    check_pool(UFI_ATTR_KERNEL_SHAPE, v, 2, "kernel size 0");
}

/* A text with a NUL is shorter than it says: a writer must not write what lies behind it. */
TEST(attribute_text_with_nul)
{
    ufm_file f = {0};
    bytes attrs = {0}, text = {0};
    put_fill(&text, 0, 4096);
    ufm_attr_text(&attrs, UFI_ATTR_MODE, text.data, 4096);
    make_operator(&f, &(ufm_operator){.op = UFI_OP_NEG,
                                      .x = {UF_F32, 1, {4}, NULL, 0},
                                      .attrs = &attrs,
                                      .attr_count = 1});
    refuse(&f.whole, UF_E_FORMAT, "attribute of node 0");
    ufm_free(&f);
    bytes_free(&attrs);
    bytes_free(&text);
}

/* ---- indices ---- */

/* Gather along axis 0 of [3,2] by one constant index, or by x. */
static void check_gather(const int64_t *index, uf_status st, float first)
{
    static const float data[6] = {1, 2, 3, 4, 5, 6};
    ufm_file f = {0};
    ufm_operator o = {.op = UFI_OP_GATHER};
    if (index) { /* out of x, which the test fills with 10 20 ... 60 */
        o.x = (ufm_operand){UF_F32, 2, {3, 2}, NULL, 0};
        o.constants[0] = (ufm_operand){UF_I64, 1, {1}, index, 8};
    } else { /* x is the index */
        o.x = (ufm_operand){UF_I64, 1, {1}, NULL, 0};
        o.constants[0] = (ufm_operand){UF_F32, 2, {3, 2}, data, sizeof data};
        o.x_place = 1;
    }
    make_operator(&f, &o);
    if (st)
        refuse(&f.whole, st, "outside of 3 elements");
    else
        accept(&f.whole, first, first + 10);
    ufm_free(&f);
}

#define GATHER(id, value, st, first)     \
    TEST(id)                             \
    {                                    \
        const int64_t index = value;     \
        check_gather(&index, st, first); \
    }

GATHER(gather_index_negative_counts_from_the_end, -1, UF_OK, 50)
GATHER(gather_index_before_the_first, -4, UF_E_FORMAT, 0)
GATHER(gather_index_past_the_last, 3, UF_E_FORMAT, 0)
GATHER(gather_index_huge, INT64_MAX, UF_E_FORMAT, 0)
GATHER(gather_index_least, INT64_MIN, UF_E_FORMAT, 0)

TEST(gather_index_of_the_run_out_of_range)
{
    check_gather(NULL, UF_E_FORMAT, 0); /* the test gives 9 */
}

/* ---- quantisation ---- */

/* QuantizeLinear and back would hide the type; DequantizeLinear of x - w is not needed: the scale
 * is looked at when the graph is planned. */
static void check_scale(float scale, uf_dtype zero_type, uf_status st, const char *part)
{
    static const uint8_t zero[8] = {3};
    ufm_file f = {0};
    ufm_operator o = {.op = UFI_OP_QUANTIZE_LINEAR,
                      .x = {UF_F32, 1, {4}, NULL, 0},
                      .constants = {{UF_F32, 0, {0}, &scale, 4}, {zero_type, 0, {0}, zero, 0}}};
    o.constants[1].bytes = ufi_dtype_bytes(zero_type);
    make_operator(&f, &o);
    if (st)
        refuse(&f.whole, st, part);
    else
        accept(&f.whole, 0, 0); /* bytes come out: that it ran is what counts */
    ufm_free(&f);
}

#define SCALE(id, scale, zero_type, st, part)    \
    TEST(id)                                     \
    {                                            \
        check_scale(scale, zero_type, st, part); \
    }

SCALE(scale_good, 0.5f, UF_U8, UF_OK, "")
SCALE(scale_0, 0, UF_U8, UF_E_FORMAT, "the scale, input 1")
SCALE(scale_minus_0, -0.0f, UF_U8, UF_E_FORMAT, "the scale, input 1")
SCALE(scale_negative, -1, UF_U8, UF_E_FORMAT, "the scale, input 1")
SCALE(scale_nan, NAN, UF_U8, UF_E_FORMAT, "the scale, input 1")
SCALE(scale_infinite, INFINITY, UF_U8, UF_E_FORMAT, "the scale, input 1")
SCALE(scale_denormal, 1e-40f, UF_U8, UF_OK, "")
SCALE(zero_point_of_32_bits, 1, UF_I32, UF_E_UNSUPPORTED, "i32")
SCALE(zero_point_that_is_a_float, 1, UF_F32, UF_E_UNSUPPORTED, "f32")

TEST(scales_of_the_wrong_number)
{
    static const float scales[3] = {1, 1, 1};
    ufm_file f = {0};
    make_operator(&f, &(ufm_operator){.op = UFI_OP_QUANTIZE_LINEAR,
                                      .x = {UF_F32, 2, {1, 4}, NULL, 0},
                                      .constants = {{UF_F32, 1, {3}, scales, sizeof scales}}});
    refuse(&f.whole, UF_E_FORMAT, "\"the node\"");
    ufm_free(&f);
}

TEST(int8_without_scales)
{
    check_arity(UFI_OP_QUANTIZE_LINEAR, 1, 1, "QuantizeLinear with 1 inputs");
    check_arity(UFI_OP_DEQUANTIZE_LINEAR, 1, 1, "DequantizeLinear with 1 inputs");
    check_arity(UFI_OP_QCONV, 4, 1, "QConv with 4 inputs");
}

TEST(int8_weights_where_floats_belong)
{
    static const int8_t w[18];
    ufm_file f = {0};
    make_operator(&f, &(ufm_operator){.op = UFI_OP_CONV,
                                      .x = {UF_F32, 4, {1, 2, 5, 5}, NULL, 0},
                                      .constants = {{UF_I8, 4, {1, 2, 3, 3}, w, sizeof w}}});
    refuse(&f.whole, UF_E_UNSUPPORTED, "input 1 is i8");
    ufm_free(&f);
}

/* ---- embedders and memory ---- */

/* An embedder of x [1,3,32,32] that gives its mean, repeated so often. */
static uf_status make_embedder(int64_t dimension, size_t *found, uf_error *err)
{
    static const float zeros[1 << 20];
    ufm_file f = {0};
    uf_model *m = NULL;
    uf_embedder *e = NULL;
    uint32_t in[2], out[1];
    const int64_t x[4] = {1, 3, 32, 32}, pooled[4] = {1, 3, 1, 1}, flat[2] = {1, 3};
    const int64_t w[2] = {3, dimension}, y[2] = {1, dimension};
    ufm_entry(&f, "task", "embedder", 8);
    ufm_entry(&f, "input.order", "rgb", 3);
    ufm_entry(&f, "input.mean", "0 0 0", 5);
    ufm_entry(&f, "input.scale", "1 1 1", 5);
    ufm_entry(&f, "align.template", "0.3 0.4 0.6 0.4 0.5 0.6 0.4 0.8 0.6 0.8", 39);
    ufm_value(&f, "x", 1, UF_F32, 4, x, -1);
    ufm_value(&f, "p", 1, UF_F32, 4, pooled, -1);
    ufm_value(&f, "f", 1, UF_F32, 2, flat, -1);
    ufm_value(&f, "w", 1, UF_F32, 2, w, ufm_numbers(&f, zeros, (size_t)dimension * 12));
    ufm_value(&f, "y", 1, UF_F32, 2, y, -1);
    in[0] = 0, out[0] = 1;
    ufm_node(&f, UFI_OP_GLOBAL_AVERAGE_POOL, "", in, 1, out, 1, NULL, 0);
    in[0] = 1, out[0] = 2;
    ufm_node(&f, UFI_OP_FLATTEN, "", in, 1, out, 1, NULL, 0);
    in[0] = 2, in[1] = 3, out[0] = 4;
    ufm_node(&f, UFI_OP_MATMUL, "", in, 2, out, 1, NULL, 0);
    ufm_io(&f, 0, 4);
    ufm_write_counts(&f);
    ufm_seal(&f);
    uf_status st = uf_model_open_memory(&m, f.whole.data, f.whole.size, err);
    if (!st)
        st = uf_embedder_create(&e, m, NULL, err);
    *found = st ? 0 : uf_embedder_dimension(e);
    uf_embedder_destroy(e);
    uf_model_close(m);
    ufm_free(&f);
    return st;
}

TEST(embedder_of_dimension_0)
{
    uf_error err = {UF_OK, ""};
    size_t found;
    CHECK(make_embedder(0, &found, &err) == UF_E_MISMATCH);
    CHECK_MSG(strstr(err.message, "no vector of 1 to 65536") != NULL, "%s", err.message);
}

TEST(embedder_of_dimension_1)
{
    uf_error err = {UF_OK, ""};
    size_t found = 0;
    CHECK_OK(make_embedder(1, &found, &err), err);
    CHECK(found == 1);
}

TEST(embedder_of_dimension_65537)
{
    uf_error err = {UF_OK, ""};
    size_t found;
    CHECK(make_embedder(65537, &found, &err) == UF_E_MISMATCH);
    CHECK_MSG(strstr(err.message, "no vector of 1 to 65536") != NULL, "%s", err.message);
}

TEST(embedder_of_dimension_1000000)
{
    ufm_file f = {0};
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_embedder *e = NULL;
    uint32_t in[2] = {0, 1}, out[1] = {2};
    const int64_t x[4] = {1, 3, 32, 32}, y[5] = {-1, -1, -1, -1, -1};
    const int64_t repeats[5] = {326, 1, 3, 32, 32}, five[1] = {5};
    ufm_entry(&f, "task", "embedder", 8);
    ufm_entry(&f, "input.order", "rgb", 3);
    ufm_entry(&f, "input.mean", "0 0 0", 5);
    ufm_entry(&f, "input.scale", "1 1 1", 5);
    ufm_entry(&f, "align.template", "0.3 0.4 0.6 0.4 0.5 0.6 0.4 0.8 0.6 0.8", 39);
    ufm_value(&f, "x", 1, UF_F32, 4, x, -1);
    ufm_value(&f, "r", 1, UF_I64, 1, five, ufm_numbers(&f, repeats, sizeof repeats));
    ufm_value(&f, "y", 1, UF_F32, 5, y, -1);
    ufm_node(&f, UFI_OP_EXPAND, "", in, 2, out, 1, NULL, 0);
    ufm_io(&f, 0, 2);
    ufm_write_counts(&f);
    ufm_seal(&f);
    REQUIRE_OK(uf_model_open_memory(&m, f.whole.data, f.whole.size, &err), err);
    CHECK(uf_embedder_create(&e, m, NULL, &err) == UF_E_MISMATCH); /* 326 * 3072 numbers */
    CHECK_MSG(strstr(err.message, "no vector of 1 to 65536") != NULL, "%s", err.message);
    uf_model_close(m);
    ufm_free(&f);
}

/* An enlargement of x [1,1,64,64] by `factor` in both directions. */
static void check_arena(int64_t factor, uf_status st)
{
    ufm_file f = {0};
    uint32_t in[2] = {0, 1}, out[1] = {2};
    const int64_t x[4] = {1, 64, 64, 1}, four[1] = {4}, y[4] = {-1, -1, -1, -1};
    const int64_t to[4] = {factor, 64, 64, factor};
    ufm_value(&f, "x", 1, UF_F32, 4, x, -1);
    ufm_value(&f, "r", 1, UF_I64, 1, four, ufm_numbers(&f, to, sizeof to));
    ufm_value(&f, "y", 1, UF_F32, 4, y, -1);
    ufm_node(&f, UFI_OP_EXPAND, "enlargement", in, 2, out, 1, NULL, 0);
    ufm_io(&f, 0, 2);
    ufm_write_counts(&f);
    ufm_seal(&f);
    if (st)
        refuse(&f.whole, st, "");
    else
        accept(&f.whole, 10, 40960);
    ufm_free(&f);
}

TEST(arena_of_1_mib)
{
    check_arena(8, UF_OK);
}

TEST(arena_of_1_gib)
{
    check_arena(256, UF_E_LIMIT); /* an output of 2^30 bytes, and the input beside it */
}

TEST(arena_of_1_tib)
{
    check_arena(8192, UF_E_LIMIT);
}

TEST(arena_whose_size_wraps)
{
    check_arena((int64_t)1 << 31, UF_E_FORMAT); /* no dimension is so large */
}

TEST_MAIN
