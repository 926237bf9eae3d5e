/*
 * INT16: plans of QConv on words and of what lies between them against the C references, files that
 * must be refused, a small network all the way.
 */
#include "bad_model_run.h"
#include "network_maker.h"

/* ---- plans ---- */

static uint32_t add_constant(maker *m, uf_dtype dtype, ufi_shape s, const void *data)
{
    uint32_t id = 0;
    const ufi_tensor t = {dtype, UFI_PLAIN, s, (void *)(uintptr_t)data};
    if (!m->st)
        m->st = ufi_graph_add_constant(&m->g, "constant", &t, true, &id, &m->err);
    return id;
}

static uint32_t add_scale(maker *m, float scale)
{
    return add_constant(m, UF_F32, (ufi_shape){0, {0}}, &scale);
}

static uint32_t add_no_zero(maker *m)
{
    const int16_t zero = 0;
    return add_constant(m, UF_I16, (ufi_shape){0, {0}}, &zero);
}

/* Random words, of which each row uses most of what it may add up to. */
static uint32_t add_words(maker *m, ufi_shape s)
{
    const size_t count = (size_t)ufi_shape_count(&s), row = count / (size_t)s.dims[0];
    const float most = row > 2 ? (float)UFI_WORDS_MOST / (float)row : INT16_MAX;
    int16_t *words = malloc(count * sizeof *words);
    for (size_t i = 0; i < count; i++)
        words[i] = (int16_t)(most * test_random_float(&m->seed));
    const uint32_t id = add_constant(m, UF_I16, s, words);
    free(words);
    return id;
}

static uint32_t dequantized(maker *m, uint32_t x, uint32_t scale, uint32_t zero)
{
    const uint32_t in[3] = {x, scale, zero};
    return add_node(m, UFI_OP_DEQUANTIZE_LINEAR, in, 3, NULL);
}

/* The graph's only `op` must run by a kernel whose name begins so. */
static void check_kernel(maker *m, uint32_t y, const char *op, const char *kernel, const char *what)
{
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    ufi_shape shapes[2];
    uint32_t count = 0;
    for (uint32_t i = 0; i < m->input_count; i++)
        shapes[i] = m->g.values[m->inputs[i]].shape;
    REQUIRE_OK(m->st, m->err);
    REQUIRE_OK(ufi_graph_set_io(&m->g, m->inputs, m->input_count, &y, 1, &m->err), m->err);
    REQUIRE_OK(ufi_program_create(&p, &m->g, "CPU", &m->err), m->err);
    REQUIRE_OK(ufi_context_create(&c, p, 1, &m->err), m->err);
    REQUIRE_OK(ufi_context_prepare(c, shapes, m->input_count, UFI_PLAIN, &m->err), m->err);
    for (uint32_t i = 0; i < ufi_context_step_count(c); i++) {
        ufi_step_info step;
        ufi_context_step(c, i, &step);
        if (strcmp(step.op, op) != 0)
            continue;
        count++;
        CHECK_MSG(!strncmp(step.kernel, kernel, strlen(kernel)), "%s: %s", what, step.kernel);
    }
    CHECK(count == 1);
    ufi_context_destroy(c);
    ufi_program_destroy(p);
}

/* Dilated, grouped and some activated ones have no kernel; quantize leaves those in FP32. */
static const char *kernel_of(const conv_case *c)
{
    const bool depthwise = c->group == c->in_c && c->group > 1;
    const bool has_one =
        (depthwise || (c->group == 1 && c->dilation == 1)) && c->act != UFI_ACT_HARD_SWISH;
    return has_one ? "words_" : "reference";
}

static void check_qconv(const conv_case *c, bool floats)
{
    maker m;
    char what[160];
    uint32_t in[12];
    ufi_node *n;
    float scales[256];
    maker_init(&m, (uint64_t)(c->in_c * 31 + c->h));
    m.bound = floats ? 2e-5 : 3e-4; /* words may differ by one, of about 9000 that occur */
    for (int i = 0; i < 12; i++)
        in[i] = UFI_NONE;
    const int oh = (c->h + 2 * c->pad - (c->kh - 1) * c->dilation - 1) / c->stride + 1;
    const int ow = (c->w + 2 * c->pad - (c->kw - 1) * c->dilation - 1) / c->stride + 1;
    const float depth = (float)(c->in_c / c->group * c->kh * c->kw);
    for (int i = 0; i < c->out_c; i++)
        scales[i] = (1.2f + 0.5f * test_random_float(&m.seed)) * sqrtf(depth) / 65535;
    in[2] = add_scale(&m, 1.0f / 32000);
    in[3] = add_no_zero(&m);
    in[0] = quantized(&m, add_input(&m, shape_of(4, c->batch, c->in_c, c->h, c->w)), in[2], in[3]);
    in[1] = add_words(&m, shape_of(4, c->out_c, c->in_c / c->group, c->kh, c->kw));
    in[4] = add_constant(&m, UF_F32, shape_of(1, c->out_c, 0, 0, 0), scales);
    if (c->bias)
        in[5] = add_weights(&m, shape_of(1, c->out_c, 0, 0, 0), 0.3f);
    if (c->act == UFI_ACT_PRELU)
        in[6] = add_weights(&m, shape_of(1, c->out_c, 0, 0, 0), 0.5f);
    if (c->residual) {
        in[8] = add_scale(&m, 1.0f / 30000);
        in[7] = quantized(&m, add_input(&m, shape_of(4, c->batch, c->out_c, oh, ow)), in[8], in[3]);
    }
    if (!floats)
        in[10] = add_scale(&m, 1.0f / 9000);
    uint32_t y = add_node(&m, UFI_OP_QCONV, in, 12, &n);
    set_conv_attributes(&m, n, c);
    if (!floats)
        y = dequantized(&m, y, in[10], in[3]);
    snprintf(what, sizeof what, "words %dx%d s%d d%d p%d g%d, [%d,%d,%d,%d] to %d, act %d, res %d",
             c->kh, c->kw, c->stride, c->dilation, c->pad, c->group, c->batch, c->in_c, c->h, c->w,
             c->out_c, c->act, c->residual);
    check_kernel(&m, y, "QConv", kernel_of(c), what);
    compare(&m, &y, 1, false, what);
}

TEST(word_conv_plans)
{
    static const conv_case cases[] = {
        {1, 3, 65, 61, 16, 3, 3, 2, 1, 1, 1, UFI_ACT_RELU, true, false},
        {2, 16, 20, 20, 24, 1, 1, 1, 1, 0, 1, UFI_ACT_CLAMP, true, true},
        {1, 16, 9, 7, 10, 1, 1, 2, 1, 0, 1, UFI_ACT_NONE, false, false},
        {1, 16, 40, 40, 32, 3, 3, 1, 1, 1, 1, UFI_ACT_PRELU, true, true},
        {2, 20, 14, 14, 36, 3, 3, 1, 1, 1, 1, UFI_ACT_LEAKY, true, false},
        {1, 8, 17, 17, 12, 5, 5, 2, 1, 2, 1, UFI_ACT_HARD_SWISH, true, false},
        {1, 8, 17, 17, 12, 3, 3, 1, 2, 2, 1, UFI_ACT_NONE, true, false},
        {2, 12, 15, 15, 18, 3, 3, 1, 1, 1, 3, UFI_ACT_PRELU, true, true},
        {2, 40, 14, 15, 40, 3, 3, 1, 1, 1, 40, UFI_ACT_PRELU, true, true},
        {1, 40, 14, 15, 40, 3, 3, 2, 1, 1, 40, UFI_ACT_CLAMP, true, false},
        {1, 24, 7, 7, 24, 5, 5, 1, 1, 2, 24, UFI_ACT_NONE, true, false},
        {1, 5, 9, 9, 5, 3, 3, 1, 1, 1, 5, UFI_ACT_RELU, true, false},
        {1, 1, 12, 12, 8, 1, 1, 1, 1, 0, 1, UFI_ACT_RELU, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int floats = 0; floats < 2; floats++)
            check_qconv(&cases[i], floats == 1);
}

/* Maxima, enlargement and addition of words; three channels come as planes or interleaved. */
static void check_between(int channels)
{
    maker m;
    ufi_node *n;
    maker_init(&m, 23);
    m.bound = 1e-4;
    const int64_t two[2] = {2, 2};
    const float factors[4] = {1, 1, 2, 2};
    const uint32_t scale = add_scale(&m, 1.0f / 20000), other = add_scale(&m, 1.0f / 15000);
    const uint32_t zero = add_no_zero(&m);
    const uint32_t x = quantized(&m, add_input(&m, shape_of(4, 2, channels, 10, 14)), scale, zero);
    const uint32_t pooled = add_node(&m, UFI_OP_MAX_POOL, &x, 1, &n);
    set_ints(&m, n, UFI_ATTR_KERNEL_SHAPE, two, 2);
    set_ints(&m, n, UFI_ATTR_STRIDES, two, 2);
    const uint32_t sizes[3] = {pooled, UFI_NONE,
                               add_constant(&m, UF_F32, shape_of(1, 4, 0, 0, 0), factors)};
    const uint32_t large = add_node(&m, UFI_OP_RESIZE, sizes, 3, &n);
    if (!m.st)
        m.st = ufi_node_set_string(&m.g, n, UFI_ATTR_COORDINATE_TRANSFORMATION_MODE, "asymmetric",
                                   10, &m.err);
    if (!m.st)
        m.st = ufi_node_set_string(&m.g, n, UFI_ATTR_NEAREST_MODE, "floor", 5, &m.err);
    const uint32_t sum[8] = {x, scale, zero, large, scale, zero, other, zero};
    const uint32_t y = dequantized(&m, add_node(&m, UFI_OP_QLINEAR_ADD, sum, 8, NULL), other, zero);
    compare(&m, &y, 1, false, "words between convolutions");
}

TEST(words_between_convolutions)
{
    check_between(3);
    check_between(24);
}

/* The sum of two pictures of zeros, of scale `from`. */
static void check_addition(float from, float to, const char *kernel)
{
    maker m;
    maker_init(&m, 29);
    const uint32_t a = add_scale(&m, from), y_scale = add_scale(&m, to), zero = add_no_zero(&m);
    const uint32_t x = quantized(&m, add_input(&m, shape_of(4, 1, 8, 5, 5)), a, zero);
    const uint32_t in[8] = {x, a, zero, x, a, zero, y_scale, zero};
    const uint32_t sum = add_node(&m, UFI_OP_QLINEAR_ADD, in, 8, NULL);
    const uint32_t y = dequantized(&m, sum, y_scale, zero);
    check_kernel(&m, y, "QLinearAdd", kernel, "an addition");
    compare(&m, &y, 1, false, "an addition");
}

TEST(scales_whose_ratio_is_no_number_are_added_by_reference)
{
    check_addition(0x1p4f, 0x1p-4f, "words_");
    check_addition(0x1p100f, 0x1p-100f, "reference"); /* infinity times a word of 0 */
}

/* ---- files ---- */

/* A convolution of x [1,1,4,4], words that are all -32768, with w [1,1,1,3]. */
static void check_file(uf_dtype type, const void *w, float scale, int16_t zero, uf_status st,
                       const char *part, float want)
{
    ufm_file f = {0};
    const size_t size = 3 * ufi_dtype_bytes(type);
    make_operator(&f, &(ufm_operator){.op = UFI_OP_QCONV,
                                      .x = {UF_I16, 4, {1, 1, 4, 4}, NULL, 0},
                                      .constants = {{type, 4, {1, 1, 1, 3}, w, size},
                                                    {UF_F32, 0, {0}, &scale, 4},
                                                    {UF_I16, 0, {0}, &zero, 2},
                                                    {UF_F32, 0, {0}, &scale, 4}}});
    if (st)
        refuse(&f.whole, st, part);
    else
        accept(&f.whole, want, want);
    ufm_free(&f);
}

TEST(words_whose_sums_stay_within_32_bits_are_good)
{
    const int16_t most[3] = {-32767, 0, -32768}, spread[3] = {-21845, 21845, -21845};
    check_file(UF_I16, most, 0.5f, 0, UF_OK, NULL, 65535 * 8192.0f);
    check_file(UF_I16, spread, 0.5f, 0, UF_OK, NULL, 21845 * 8192.0f);
}

TEST(words_whose_sums_could_pass_32_bits_are_refused)
{
    const int16_t more[3] = {32767, -1, -32768}, most[3] = {INT16_MIN, INT16_MIN, INT16_MIN};
    check_file(UF_I16, more, 0.5f, 0, UF_E_FORMAT, "add up to 65536, more than 65535", 0);
    check_file(UF_I16, most, 0.5f, 0, UF_E_FORMAT, "add up to 98304", 0);
}

TEST(words_with_a_zero_point_or_a_bad_scale_are_refused)
{
    const int16_t w[3] = {1, 2, 3};
    check_file(UF_I16, w, 0.5f, 1, UF_E_UNSUPPORTED, "a zero point of INT16", 0);
    check_file(UF_I16, w, 0, 0, UF_E_FORMAT, "scale", 0);
    check_file(UF_I16, w, -1, 0, UF_E_FORMAT, "scale", 0);
    check_file(UF_I16, w, NAN, 0, UF_E_FORMAT, "scale", 0);
}

TEST(words_with_weights_of_bytes_are_refused)
{
    const int8_t w[3] = {1, 2, 3};
    check_file(UF_I8, w, 0.5f, 0, UF_E_FORMAT, "input 1 is i8, not i16", 0);
}

/* ---- a network ---- */

static void check_sums(const ufi_graph *g)
{
    for (uint32_t i = 0; i < g->node_count; i++) {
        const ufi_node *n = &g->nodes[i];
        if (n->op != UFI_OP_QCONV)
            continue;
        const ufi_value *w = &g->values[n->in[1]];
        const size_t row = (size_t)(ufi_shape_count(&w->shape) / w->shape.dims[0]);
        CHECK(w->dtype == UF_I16);
        for (int64_t f = 0; f < w->shape.dims[0]; f++) {
            const int64_t sum = ufi_words_sum((const int16_t *)w->data + (size_t)f * row, row);
            CHECK(sum <= UFI_WORDS_MOST && (row < 3 || sum > UFI_WORDS_MOST * 3 / 10));
        }
    }
}

/* Whether words take a network's only convolution. */
static void check_taken(const conv_case *c, bool want)
{
    maker m;
    ufi_observer *o = NULL;
    bool yes[4] = {false};
    maker_init(&m, 3);
    const uint32_t x = add_input(&m, shape_of(4, 1, c->in_c, c->h, c->w));
    const uint32_t y = add_conv(&m, x, c, UFI_NONE);
    REQUIRE_OK(m.st, m.err);
    REQUIRE_OK(ufi_graph_set_io(&m.g, m.inputs, 1, &y, 1, &m.err), m.err);
    REQUIRE_OK(ufi_graph_infer(&m.g, 0, &m.err), m.err);
    REQUIRE_OK(ufi_observer_create(&o, &m.g, &m.err), m.err);
    REQUIRE_OK(ufi_quantizable_nodes(&m.g, o, true, yes, &m.err), m.err);
    ufi_observer_destroy(o);
    ufi_graph_free(&m.g);
    CHECK_MSG(yes[0] == want, "%dx%d s%d d%d g%d, %d to %d", c->kh, c->kw, c->stride, c->dilation,
              c->group, c->in_c, c->out_c);
}

TEST(what_has_no_fast_kernel_stays_in_floats)
{
    static const conv_case taken[] = {
        {1, 16, 9, 9, 24, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false},
        {1, 64, 9, 9, 64, 1, 1, 1, 1, 0, 1, UFI_ACT_RELU, true, false},
        {1, 64, 9, 9, 64, 3, 3, 2, 1, 1, 1, UFI_ACT_RELU, true, false},
        {1, 24, 9, 9, 24, 3, 3, 2, 1, 1, 24, UFI_ACT_RELU, true, false},
    };
    static const conv_case left[] = {
        {1, 16, 9, 9, 24, 3, 3, 1, 2, 2, 1, UFI_ACT_RELU, true, false},
        {1, 24, 9, 9, 24, 3, 3, 1, 2, 2, 24, UFI_ACT_RELU, true, false},
        {1, 24, 9, 9, 24, 5, 5, 1, 1, 2, 24, UFI_ACT_RELU, true, false},
        {1, 6, 9, 9, 6, 3, 3, 1, 1, 1, 6, UFI_ACT_RELU, true, false},
        {1, 24, 9, 9, 24, 3, 3, 1, 1, 1, 3, UFI_ACT_RELU, true, false},
        {1, 64, 9, 9, 64, 3, 3, 1, 1, 1, 1, UFI_ACT_RELU, true, false}, /* Winograd */
        {1, 16, 9, 9, 24, 3, 3, 1, 1, 1, 1, UFI_ACT_HARD_SWISH, true, false},
    };
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        check_taken(&taken[i], true);
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        check_taken(&left[i], false);
}

/* Asked for more than bytes can give, a search that may takes words. */
static void search_words(bool words, ufi_trial *best, double *cosine)
{
    maker m;
    ufi_graph q;
    ufi_observer *o = NULL;
    ufi_samples s = {0};
    float want[32], got[32];
    make_network(&m, true);
    observe(&o, &s, &m.g, 12);
    const ufi_search_options options = {
        .method = UFI_RANGE_MSE, .min_agreement = 0.99999, .words = words, .threads = 1};
    REQUIRE_OK(ufi_quantize_search(&q, &m.g, o, &s, &options, best, &m.err), m.err);
    run_graph(&m.g, 99, want);
    run_graph(&q, 99, got);
    *cosine = cosine_of(want, got);
    if (best->words) {
        CHECK(count_op(&q, UFI_OP_QCONV) == 4 && count_op(&q, UFI_OP_CONV) == 0);
        CHECK(count_op(&q, UFI_OP_GEMM) == 1 && count_op(&q, UFI_OP_AFFINE) == 1);
        check_sums(&q);
    }
    ufi_graph_free(&q);
    ufi_observer_destroy(o);
    ufi_samples_free(&s);
    ufi_graph_free(&m.g);
}

TEST(a_network_in_words)
{
    ufi_trial best;
    double in_bytes, in_words;
    search_words(false, &best, &in_bytes);
    CHECK(!best.words);
    search_words(true, &best, &in_words);
    CHECK(best.words);
    CHECK_MSG(best.agreement > 0.99999, "%g", best.agreement);
    CHECK_MSG(in_words > 0.99999, "%g, in bytes %g", in_words, in_bytes);
}

TEST_MAIN
