/* Importing ONNX: forms of older opsets, and files that are broken in every way we can think of. */
#include "backend/backend.h"
#include "base/mem.h"
#include "format/model_file.h"
#include "onnx_maker.h"
#include "test.h"

static pb model, graph, node;

/* Runs the model on x (its only input) and compares output 0. */
static void check_output(const int64_t *dims, uint32_t rank, const float *x, const float *want,
                         size_t count, bool optimize)
{
    uf_error err = {UF_OK, ""};
    ufi_model_file m;
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    ufi_shape s = ufi_shape_make(rank, dims);
    REQUIRE_OK(ufi_onnx_import_memory(&m, model.bytes, model.size, optimize, &err), err);
    uf_status st = ufi_program_create(&p, &m.graph, "CPU", &err);
    if (!st)
        st = ufi_context_create(&c, p, 1, &err);
    if (!st)
        st = ufi_context_prepare(c, &s, 1, UFI_PLAIN, &err);
    CHECK_OK(st, err);
    if (!st) {
        memcpy(ufi_context_input(c, 0)->data, x, (size_t)ufi_shape_count(&s) * sizeof *x);
        CHECK_OK(ufi_context_run(c, &err), err);
        const ufi_tensor *o = ufi_context_output(c, 0);
        CHECK((size_t)ufi_shape_count(&o->shape) == count);
        for (size_t i = 0; i < count && (size_t)ufi_shape_count(&o->shape) == count; i++)
            CHECK_MSG(fabsf(((float *)o->data)[i] - want[i]) < 1e-5f, "element %zu: %g, not %g", i,
                      (double)((float *)o->data)[i], (double)want[i]);
    }
    ufi_context_destroy(c);
    ufi_program_destroy(p);
    ufi_model_file_free(&m);
}

static void expect_error(uf_status want, const char *part)
{
    uf_error err = {UF_OK, ""};
    ufi_model_file m;
    uf_status st = ufi_onnx_import_memory(&m, model.bytes, model.size, true, &err);
    CHECK_MSG(st == want, "%s: %s", uf_status_name(st), err.message);
    CHECK_MSG(strstr(err.message, part) != NULL, "\"%s\" lacks \"%s\"", err.message, part);
    if (!st)
        ufi_model_file_free(&m);
}

/* One node between x [2,3] and y. */
static void single_node(int opset)
{
    const int64_t dims[2] = {2, 3};
    graph.size = 0;
    onnx_end_node(&graph, &node);
    onnx_io(&graph, 11, "x", dims, 2);
    onnx_io(&graph, 12, "y", dims, 2);
    onnx_model(&model, &graph, opset);
}

static const int64_t dims23[2] = {2, 3};
static const float x23[6] = {-2, 1, 5, 0.5f, 3, -1};

TEST(attributes_that_became_inputs)
{
    const float clipped[6] = {-1, 1, 2, 0.5f, 2, -1}, sliced[2] = {1, 3}, sums[2] = {4, 2.5f};
    const float padded[10] = {9, -2, 1, 5, 9, 9, 0.5f, 3, -1, 9};
    const int64_t one[1] = {1}, two[1] = {2}, pads[4] = {0, 1, 0, 1};
    onnx_begin_node(&node, "Clip", "x", "y");
    onnx_float(&node, "min", -1);
    onnx_float(&node, "max", 2);
    single_node(7);
    check_output(dims23, 2, x23, clipped, 6, true);
    onnx_begin_node(&node, "Slice", "x", "y");
    onnx_ints(&node, "axes", one, 1);
    onnx_ints(&node, "starts", one, 1);
    onnx_ints(&node, "ends", two, 1);
    single_node(9);
    check_output(dims23, 2, x23, sliced, 2, true);
    onnx_begin_node(&node, "ReduceSum", "x", "y");
    onnx_ints(&node, "axes", one, 1);
    onnx_int(&node, "keepdims", 0);
    single_node(11);
    check_output(dims23, 2, x23, sums, 2, true);
    onnx_begin_node(&node, "Pad", "x", "y");
    onnx_ints(&node, "pads", pads, 4);
    onnx_float(&node, "value", 9);
    single_node(10);
    check_output(dims23, 2, x23, padded, 10, true);
}

TEST(softmax_changed_its_meaning)
{
    /* Until opset 12 the axes from `axis` on are one: for [1,2,3] with axis 1, all six elements. */
    const int64_t dims[3] = {1, 2, 3};
    float all[6], rows[6], sum = 0;
    for (int i = 0; i < 6; i++)
        sum += expf(x23[i]);
    for (int i = 0; i < 6; i++) {
        all[i] = expf(x23[i]) / sum;
        rows[i] = expf(x23[i]) / (expf(x23[i]) + expf(x23[(i + 3) % 6]));
    }
    for (int opset = 12; opset <= 13; opset++) {
        onnx_begin_node(&node, "Softmax", "x", "y");
        onnx_int(&node, "axis", 1);
        graph.size = 0;
        onnx_end_node(&graph, &node);
        onnx_io(&graph, 11, "x", dims, 3);
        onnx_io(&graph, 12, "y", dims, 3);
        onnx_model(&model, &graph, opset);
        check_output(dims, 3, x23, opset == 12 ? all : rows, 6, true);
    }
}

TEST(optimised_and_plain_networks_agree)
{
    uf_error err;
    float x[128], outputs[2][2];
    uint64_t seed = 3;
    const int64_t dims[4] = {1, 2, 8, 8};
    for (int i = 0; i < 128; i++)
        x[i] = test_random_float(&seed);
    onnx_small_network(&model);
    for (int optimize = 0; optimize < 2; optimize++) {
        ufi_model_file m;
        ufi_program *p = NULL;
        ufi_context *c = NULL;
        ufi_shape s = ufi_shape_make(4, dims);
        REQUIRE_OK(ufi_onnx_import_memory(&m, model.bytes, model.size, optimize, &err), err);
        CHECK_MSG(optimize ? m.graph.node_count == 3 : m.graph.node_count == 5, "%u nodes",
                  m.graph.node_count);
        CHECK_OK(ufi_program_create(&p, &m.graph, "CPU", &err), err);
        CHECK_OK(ufi_context_create(&c, p, 1, &err), err);
        CHECK_OK(ufi_context_prepare(c, &s, 1, UFI_PLAIN, &err), err);
        memcpy(ufi_context_input(c, 0)->data, x, sizeof x);
        CHECK_OK(ufi_context_run(c, &err), err);
        memcpy(outputs[optimize], ufi_context_output(c, 0)->data, sizeof outputs[0]);
        ufi_context_destroy(c);
        ufi_program_destroy(p);
        ufi_model_file_free(&m);
    }
    for (int i = 0; i < 2; i++)
        CHECK(fabsf(outputs[0][i] - outputs[1][i]) < 1e-5f);
    CHECK(outputs[0][0] > 0);
}

TEST(unsupported_things_are_named)
{
    onnx_begin_node(&node, "Bernoulli", "x", "y");
    single_node(15);
    expect_error(UF_E_UNSUPPORTED, "operator Bernoulli (ai.onnx opset 15), node \"Bernoulli\"");
    onnx_begin_node(&node, "Relu", "x", "y");
    onnx_int(&node, "colour", 1);
    single_node(15);
    expect_error(UF_E_UNSUPPORTED, "attribute colour");
    onnx_begin_node(&node, "Relu", "x", "y");
    single_node(6);
    expect_error(UF_E_UNSUPPORTED, "opset 6");
    onnx_begin_node(&node, "Affine", "x x x", "y"); /* ours, not ONNX's */
    single_node(15);
    expect_error(UF_E_UNSUPPORTED, "operator Affine");
    onnx_begin_node(&node, "Relu", "x", "y");
    onnx_int(&node, "act", 2); /* a fused activation may not come from outside */
    single_node(15);
    expect_error(UF_E_UNSUPPORTED, "attribute act");
}

/* An initializer with the given fields, used by Add. */
static void with_initializer(void (*fill)(pb *tensor))
{
    static pb t;
    onnx_begin_node(&node, "Add", "x t", "y");
    single_node(13);
    t.size = 0;
    fill(&t);
    pb_text(&t, 8, "t");
    pb_message(&graph, 5, &t);
    onnx_model(&model, &graph, 13);
}

static void external(pb *t)
{
    static pb entry;
    entry.size = 0;
    pb_text(&entry, 1, "location");
    pb_text(&entry, 2, "../../etc/passwd");
    pb_int(t, 1, 3);
    pb_int(t, 2, 1);
    pb_message(t, 13, &entry);
    pb_int(t, 14, 1);
}

static void short_data(pb *t)
{
    pb_int(t, 1, 3);
    pb_int(t, 2, 1);
    pb_data(t, 9, "12345678", 8);
}

static void huge_dims(pb *t)
{
    for (int i = 0; i < 4; i++)
        pb_int(t, 1, 65536); /* the product wraps to 0 in 64 bits */
    pb_int(t, 2, 1);
    pb_data(t, 9, "", 0);
}

static void no_data(pb *t)
{
    pb_int(t, 1, 1 << 30);
    pb_int(t, 2, 1);
}

static void negative_dim(pb *t)
{
    pb_int(t, 1, (uint64_t)-3);
    pb_int(t, 2, 1);
    pb_data(t, 9, "", 0);
}

static void unknown_type(pb *t)
{
    pb_int(t, 1, 1);
    pb_int(t, 2, 8); /* strings */
    pb_data(t, 9, "1", 1);
}

TEST(broken_tensors_are_refused)
{
    with_initializer(external);
    expect_error(UF_E_UNSUPPORTED, "another file");
    with_initializer(short_data);
    expect_error(UF_E_FORMAT, "tensor \"t\" has 8 bytes");
    with_initializer(huge_dims);
    expect_error(UF_E_LIMIT, "too many elements");
    with_initializer(no_data);
    expect_error(UF_E_FORMAT, "fewer numbers");
    with_initializer(negative_dim);
    expect_error(UF_E_LIMIT, "dimension 0 of size");
    with_initializer(unknown_type);
    expect_error(UF_E_UNSUPPORTED, "type 8");
}

static void conv_with(const char *name, const int64_t *v, int count, int64_t group)
{
    static const float w[18];
    const int64_t in[4] = {1, 2, 5, 5}, weights[4] = {1, 2, 3, 3};
    onnx_begin_node(&node, "Conv", "x w", "y");
    if (name)
        onnx_ints(&node, name, v, count);
    onnx_int(&node, "group", group);
    graph.size = 0;
    onnx_end_node(&graph, &node);
    onnx_floats(&graph, "w", weights, 4, w, 18);
    onnx_io(&graph, 11, "x", in, 4);
    onnx_io(&graph, 12, "y", in, 4);
    onnx_model(&model, &graph, 13);
}

TEST(broken_attributes_are_refused)
{
    const int64_t zeros[2] = {0, 0}, three[3] = {1, 1, 1}, huge[2] = {INT64_MAX, 1};
    const int64_t negative[4] = {-1, 0, 0, 0}, wide[2] = {7, 7};
    conv_with("strides", zeros, 2, 1);
    expect_error(UF_E_FORMAT, "strides");
    conv_with("dilations", three, 3, 1);
    expect_error(UF_E_FORMAT, "dilations");
    conv_with("dilations", huge, 2, 1);
    expect_error(UF_E_FORMAT, "dilations");
    conv_with("dilations", wide, 2, 1);
    expect_error(UF_E_FORMAT, "does not fit");
    conv_with("pads", negative, 4, 1);
    expect_error(UF_E_FORMAT, "pads");
    conv_with("kernel_shape", wide, 2, 1);
    expect_error(UF_E_FORMAT, "kernel_shape");
    conv_with(NULL, NULL, 0, 0);
    expect_error(UF_E_FORMAT, "group");
    conv_with(NULL, NULL, 0, 3);
    expect_error(UF_E_FORMAT, "group");
}

TEST(broken_graphs_are_refused)
{
    const int64_t dims[2] = {2, 3};
    onnx_begin_node(&node, "Add", "x nowhere", "y");
    single_node(13);
    expect_error(UF_E_FORMAT, "made by no node");
    onnx_begin_node(&node, "Add", "x", "y");
    single_node(13);
    expect_error(UF_E_FORMAT, "1 inputs");
    graph.size = 0; /* a cycle */
    onnx_begin_node(&node, "Add", "x b", "a");
    onnx_end_node(&graph, &node);
    onnx_begin_node(&node, "Relu", "a", "b");
    onnx_end_node(&graph, &node);
    onnx_io(&graph, 11, "x", dims, 2);
    onnx_io(&graph, 12, "b", dims, 2);
    onnx_model(&model, &graph, 13);
    expect_error(UF_E_FORMAT, "depends on its own output");
    graph.size = 0; /* a value made twice */
    onnx_begin_node(&node, "Relu", "x", "y");
    onnx_end_node(&graph, &node);
    onnx_end_node(&graph, &node);
    onnx_io(&graph, 11, "x", dims, 2);
    onnx_io(&graph, 12, "y", dims, 2);
    onnx_model(&model, &graph, 13);
    expect_error(UF_E_FORMAT, "twice");
    model.size = 0;
    expect_error(UF_E_FORMAT, "no ONNX model");
    memset(model.bytes, 'z', 1000);
    model.size = 1000;
    expect_error(UF_E_FORMAT, "at byte");
}

/* Every truncation and every byte changed: an error or a model, never a crash or a leak. */
TEST(damaged_files_do_no_harm)
{
    static pb whole;
    ufi_model_file m;
    uf_error err;
    size_t accepted = 0;
    onnx_small_network(&whole);
    for (size_t n = 0; n < whole.size; n++) {
        if (ufi_onnx_import_memory(&m, whole.bytes, n, true, &err) == UF_OK) {
            accepted++;
            ufi_model_file_free(&m);
        }
    }
    CHECK(accepted <= 4); /* the end of a file holds what can be done without */
    for (size_t i = 0; i < whole.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(model.bytes, whole.bytes, whole.size);
            model.bytes[i] ^= (uint8_t)(1 << bit);
            if (ufi_onnx_import_memory(&m, model.bytes, whole.size, true, &err) == UF_OK)
                ufi_model_file_free(&m);
        }
}

TEST(failing_memory_is_an_error)
{
    ufi_model_file m;
    uf_error err;
    onnx_small_network(&model);
    for (uint64_t k = 1; k < 2000; k++) {
        ufi_mem_fail_after(k, true);
        uf_status st = ufi_onnx_import_memory(&m, model.bytes, model.size, true, &err);
        ufi_mem_fail_after(0, false);
        if (st == UF_OK) {
            ufi_model_file_free(&m);
            CHECK(k > 10);
            return;
        }
        CHECK_MSG(st == UF_E_NOMEM || st == UF_E_LIMIT, "allocation %llu: %s",
                  (unsigned long long)k, err.message);
    }
    CHECK(false);
}

TEST_MAIN
