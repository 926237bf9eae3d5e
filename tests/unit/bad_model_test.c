/*
 * Model files that are wrong, odd or hostile, a test each: headers, numbers at their extremes,
 * sections, names, graphs. `.ufm` files are written by bad_model_maker.h with digests that fit.
 * (Flips, truncations and mutations: ufm_test.c, onnx_test.c and the fuzzers; operators and memory:
 * bad_operator_test.c; paths and files that change: bad_path_test.c.)
 */
#include <unistd.h>

#include "bad_model_run.h"

TEST(file_of_the_maker_is_good)
{
    ufm_file f = {0};
    make_good(&f);
    accept(&f.whole, 11, 44);
    ufm_free(&f);
}

/* ---- the header ---- */

TEST(every_size_up_to_the_header)
{
    ufm_file f = {0};
    make_good(&f);
    const size_t whole = f.whole.size;
    for (f.whole.size = 0; f.whole.size < 64; f.whole.size++)
        refuse(&f.whole, UF_E_FORMAT, f.whole.size < 8 ? "no .ufm" : "truncated");
    for (; f.whole.size < whole; f.whole.size++)
        refuse(&f.whole, UF_E_FORMAT, "its header says");
    ufm_free(&f);
}

static void check_changed_bytes(size_t at, const char *to, size_t n, uf_status st, const char *part)
{
    ufm_file f = {0};
    make_good(&f);
    memcpy(f.whole.data + at, to, n);
    refuse(&f.whole, st, part);
    ufm_free(&f);
}

#define CHANGED(id, at, to, st, part)                         \
    TEST(id)                                                  \
    {                                                         \
        check_changed_bytes(at, to, sizeof to - 1, st, part); \
    }

CHANGED(magic_of_png, 0, "\x89PNG\r\n\x1a\n", UF_E_FORMAT, "no .ufm")
CHANGED(magic_after_text_transfer, 4, "\n\x1a\n\n", UF_E_FORMAT, "no .ufm")
CHANGED(version_0, 8, "\0\0", UF_E_UNSUPPORTED, "version 0")
CHANGED(version_2_of_records_of_version_1, 8, "\2\0", UF_E_FORMAT, "value 0")
CHANGED(version_3, 8, "\3\0", UF_E_UNSUPPORTED, "version 3")
CHANGED(version_65535, 8, "\xff\xff", UF_E_UNSUPPORTED, "version 65535")
CHANGED(version_in_the_other_byte_order, 8, "\0\1", UF_E_UNSUPPORTED, "version 256")
CHANGED(table_digest_wrong, 32, "no digest", UF_E_FORMAT, "damaged")

/* Every number in the other byte order. */
TEST(header_in_the_other_byte_order)
{
    ufm_file f = {0};
    make_good(&f);
    uint8_t *h = f.whole.data;
    const uint64_t size = f.whole.size;
    for (int i = 0; i < 8; i++)
        h[16 + i] = (uint8_t)(size >> (56 - 8 * i));
    refuse(&f.whole, UF_E_FORMAT, "its header says");
    ufm_free(&f);
}

/* ---- every number of the file, at its extremes ---- */

enum { EXTREMES = 7 };
static const uint64_t extremes[EXTREMES] = {
    0, 1, INT32_MAX, (uint64_t)INT32_MAX + 1, UINT32_MAX, (uint64_t)1 << 63, UINT64_MAX};

/* Which of the extremes may pass, as bits from the first on. */
enum { NONE = 0, ZERO = 1, ONE = 2 };

static bytes *section_of(ufm_file *f, ufm_mark mark)
{
    return mark >= AT_VALUES ? &f->graph : mark >= AT_META_COUNT ? &f->meta : &f->whole;
}

/* The number of `width` bytes at `mark` takes on all extremes that it can hold. */
static void check_extremes(ufm_mark mark, size_t width, unsigned may_pass, const char *part)
{
    for (int i = 0; i < EXTREMES; i++) {
        const uint64_t v = extremes[i];
        uf_error err;
        float first, last;
        ufm_file f = {0};
        if (width < 8 && v >> 8 * width && v != UINT64_MAX && v != UINT32_MAX)
            continue;
        make_good(&f);
        bytes *s = section_of(&f, mark);
        write_le(s->data + f.at[mark], v, width);
        if (s == &f.whole)
            ufm_sign_table(s);
        else
            ufm_seal(&f);
        uf_status st = open_and_run(&f.whole, &first, &last, &err);
        if (may_pass >> i & 1) {
            CHECK_MSG(st == UF_OK, "%llu: %s", (unsigned long long)v, err.message);
        } else {
            CHECK_MSG(st == UF_E_FORMAT || st == UF_E_LIMIT || st == UF_E_UNSUPPORTED,
                      "%llu: %s %s", (unsigned long long)v, uf_status_name(st), err.message);
            CHECK_MSG(strstr(err.message, part) != NULL, "%llu: \"%s\" lacks \"%s\"",
                      (unsigned long long)v, err.message, part);
        }
        ufm_free(&f);
    }
}

#define EXTREME(id, mark, width, may_pass, part)     \
    TEST(extremes_of_##id)                           \
    {                                                \
        check_extremes(mark, width, may_pass, part); \
    }

EXTREME(section_count, AT_SECTIONS, 4, NONE, "section")
EXTREME(file_size, AT_FILE_SIZE, 8, NONE, "its header says")
EXTREME(section_kind, AT_KIND, 4, NONE, "kind")
EXTREME(section_offset, AT_OFFSET, 8, NONE, "")
EXTREME(section_size, AT_SIZE, 8, NONE, "")
EXTREME(metadata_count, AT_META_COUNT, 4, ONE, "metadata")
EXTREME(metadata_key_size, AT_KEY_SIZE, 2, NONE, "metadata")
EXTREME(metadata_text_size, AT_TEXT_SIZE, 4, NONE, "metadata")
EXTREME(value_count, AT_VALUES, 4, NONE, "")
EXTREME(node_count, AT_NODES, 4, ONE, "")
EXTREME(input_count, AT_INPUTS, 4, ONE, "")
EXTREME(output_count, AT_OUTPUTS, 4, ONE, "")
EXTREME(value_type, AT_DTYPE, 1, ONE, "1")
EXTREME(value_flags, AT_FLAGS, 1, NONE, "")
EXTREME(value_rank, AT_RANK, 1, ONE, "")
EXTREME(value_name_size, AT_NAME_SIZE, 2, ONE, "")
EXTREME(constant_offset, AT_DATA, 8, ZERO, "constant 1")
EXTREME(operator_number, AT_OP, 2, NONE, "")
EXTREME(node_input_count, AT_NODE_INPUTS, 2, NONE, "")
EXTREME(node_output_count, AT_NODE_OUTPUTS, 2, ONE, "")
EXTREME(node_attribute_count, AT_NODE_ATTRS, 2, ONE, "")
EXTREME(node_name_size, AT_NODE_NAME_SIZE, 2, NONE, "")
EXTREME(node_input_id, AT_INPUT_ID, 4, ZERO | ONE, "the node")
EXTREME(node_output_id, AT_OUTPUT_ID, 4, NONE, "")
EXTREME(attribute_key, AT_ATTR_KEY, 2, ZERO | ONE, "node 0")
EXTREME(attribute_type, AT_ATTR_TYPE, 2, ONE, "node 0")
EXTREME(attribute_count, AT_ATTR_COUNT, 4, ONE, "")
EXTREME(graph_input_id, AT_GRAPH_INPUT, 4, ZERO, "input")
EXTREME(graph_output_id, AT_GRAPH_OUTPUT, 4, ZERO | ONE, "output")

/* A constant of one element more or less is broadcast or refused; 0 elements give 0. */
EXTREME(dimension, AT_DIM, 8, ONE, "")

/* ---- sizes whose product wraps ---- */

static void check_shape(uint8_t rank, const int64_t *dims, uf_status st, const char *part)
{
    static const float w[4] = {1, 2, 3, 4};
    ufm_file f = {0};
    ufm_operator o = {.op = UFI_OP_ADD,
                      .x = {UF_F32, 1, {4}, NULL, 0},
                      .constants = {{UF_F32, rank, {0}, w, sizeof w}}};
    memcpy(o.constants[0].dims, dims, rank * sizeof *dims);
    make_operator(&f, &o);
    refuse(&f.whole, st, part);
    ufm_free(&f);
}

#define WRAPS(id, ...)                                                                        \
    TEST(id)                                                                                  \
    {                                                                                         \
        const int64_t dims[] = {__VA_ARGS__};                                                 \
        check_shape(sizeof dims / sizeof *dims, dims, UF_E_FORMAT, "constant 1 has no size"); \
    }

WRAPS(product_wraps_to_0, 65536, 65536, 65536, 65536)
WRAPS(product_wraps_to_4, 2147483647, 2147483647, 2147483647, 4)
WRAPS(product_of_bytes_wraps, 1 << 30, 1 << 30, 16)
WRAPS(product_wraps_in_32_bits, 65536, 65537)
WRAPS(dimension_unknown, 4, -1)

TEST(constant_larger_than_the_file)
{
    const int64_t dims[2] = {1 << 15, 1 << 15};
    check_shape(2, dims, UF_E_FORMAT, "does not lie in the tensors");
}

/* ---- where tensors lie ---- */

/* y = (x + a) * b with the two constants at the given offsets of 192 bytes of tensors: 1 2 3 4 at
 * 0, 5 6 7 8 at 128. */
static void make_two_constants(ufm_file *f, int64_t a_at, int64_t b_at)
{
    static const float numbers[2][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}};
    const int64_t four[1] = {4};
    uint32_t in[2], out[1], last[1];
    put_data(&f->tensors, numbers[0], 16);
    put_fill(&f->tensors, 0, 112);
    put_data(&f->tensors, numbers[1], 16);
    const uint32_t x = ufm_value(f, "x", 1, UF_F32, 1, four, -1);
    const uint32_t a = ufm_value(f, "a", 1, UF_F32, 1, four, a_at);
    const uint32_t b = ufm_value(f, "b", 1, UF_F32, 1, four, b_at);
    out[0] = ufm_value(f, "s", 1, UF_F32, 1, four, -1);
    last[0] = ufm_value(f, "y", 1, UF_F32, 1, four, -1);
    in[0] = x, in[1] = a;
    ufm_node(f, UFI_OP_ADD, "sum", in, 2, out, 1, NULL, 0);
    in[0] = out[0], in[1] = b;
    ufm_node(f, UFI_OP_MUL, "product", in, 2, last, 1, NULL, 0);
    ufm_io(f, x, last[0]);
    ufm_write_counts(f);
    ufm_seal(f);
}

#define OFFSETS_GOOD(id, a_at, b_at, first, last) \
    TEST(id)                                      \
    {                                             \
        ufm_file f = {0};                         \
        make_two_constants(&f, a_at, b_at);       \
        accept(&f.whole, first, last);            \
        ufm_free(&f);                             \
    }
#define OFFSETS_BAD(id, a_at, b_at, part)    \
    TEST(id)                                 \
    {                                        \
        ufm_file f = {0};                    \
        make_two_constants(&f, a_at, b_at);  \
        refuse(&f.whole, UF_E_FORMAT, part); \
        ufm_free(&f);                        \
    }

/* Constants are only read, so that sharing or order do no harm. */
OFFSETS_GOOD(tensors_with_a_gap, 0, 128, 55, 352)
OFFSETS_GOOD(tensors_reversed, 128, 0, 15, 192)
OFFSETS_GOOD(tensors_overlapping, 0, 0, 11, 176)
OFFSETS_BAD(tensor_unaligned, 4, 128, "constant 1 (offset 4")
OFFSETS_BAD(tensor_past_the_end, 0, 192, "constant 2 (offset 192")
OFFSETS_BAD(tensor_far_past_the_end, 0, INT64_MAX - 63, "constant 2 (offset 92233720")

TEST(tensor_over_the_end)
{
    ufm_file f = {0};
    make_two_constants(&f, 0, 128);
    f.tensors.size -= 1;
    ufm_seal(&f);
    refuse(&f.whole, UF_E_FORMAT, "constant 2 (offset 128, 16 bytes)");
    ufm_free(&f);
}

/* ---- sections ---- */

static void check_sections(int row, size_t at, uint64_t v, size_t width, const char *part)
{
    ufm_file f = {0};
    make_good(&f);
    write_le(f.whole.data + 64 + row * 64 + at, v, width);
    ufm_sign_table(&f.whole);
    refuse(&f.whole, UF_E_FORMAT, part);
    ufm_free(&f);
}

TEST(section_twice)
{
    check_sections(1, 0, 1, 4, "section 1 is of kind 1, which was there already");
}

TEST(section_missing)
{
    check_sections(2, 0, 99, 4, "no section of kind 3");
}

TEST(section_unaligned)
{
    check_sections(1, 8, 65, 8, "section 1 (offset 65");
}

TEST(section_in_the_header)
{
    check_sections(0, 8, 0, 8, "digest");
}

TEST(section_past_the_end)
{
    check_sections(2, 8, 1 << 20, 8, "section 2 (offset 1048576");
}

TEST(section_whose_end_wraps)
{
    check_sections(2, 16, UINT64_MAX - 64, 8, "does not lie in the file");
}

/* ---- names and metadata ---- */

static void check_name(const void *name, size_t size, bool good)
{
    const int64_t four[1] = {4};
    ufm_file f = {0};
    uint32_t in[1], out[1];
    in[0] = ufm_value(&f, name, size, UF_F32, 1, four, -1);
    out[0] = ufm_value(&f, "y", 1, UF_F32, 1, four, -1);
    ufm_node(&f, UFI_OP_NEG, "", in, 1, out, 1, NULL, 0);
    ufm_io(&f, in[0], out[0]);
    ufm_write_counts(&f);
    ufm_seal(&f);
    if (good)
        accept(&f.whole, -10, -40);
    else
        refuse(&f.whole, UF_E_FORMAT, "value 0 is malformed");
    ufm_free(&f);
}

TEST(name_of_0_bytes)
{
    check_name("", 0, true);
}

TEST(name_of_1024_bytes)
{
    bytes name = {0};
    put_fill(&name, 'n', 1024);
    check_name(name.data, name.size, true);
    bytes_free(&name);
}

TEST(name_of_1025_bytes)
{
    bytes name = {0};
    put_fill(&name, 'n', 1025);
    check_name(name.data, name.size, false);
    bytes_free(&name);
}

TEST(name_of_65535_bytes)
{
    bytes name = {0};
    put_fill(&name, 'n', 65535);
    check_name(name.data, name.size, false);
    bytes_free(&name);
}

TEST(name_that_is_a_path)
{
    check_name("../../etc/passwd", 16, true); /* a name, no path: nothing is opened by it */
}

TEST(name_with_nul)
{
    check_name("a\0b", 3, false);
}

TEST(name_twice)
{
    check_name("y", 1, true); /* values are told apart by their numbers */
}

/* A name that is no UTF-8 and has line ends is taken, and told in one line of UTF-8. */
TEST(name_of_broken_utf8)
{
    check_name("\xff\xfe\xc0\x80", 4, true);
    const int64_t four[1] = {4}, five[1] = {5};
    ufm_file f = {0};
    uf_error err;
    float first, last;
    uint32_t in[2], out[1];
    in[0] = ufm_value(&f, "x", 1, UF_F32, 1, four, -1);
    in[1] = ufm_value(&f, "w", 1, UF_F32, 1, five, ufm_numbers(&f, "12345678901234567890", 20));
    out[0] = ufm_value(&f, "y", 1, UF_F32, 1, four, -1);
    ufm_node(&f, UFI_OP_ADD, "\xff\n\x1b[2J", in, 2, out, 1, NULL, 0);
    ufm_io(&f, in[0], out[0]);
    ufm_write_counts(&f);
    ufm_seal(&f);
    CHECK(open_and_run(&f.whole, &first, &last, &err) == UF_E_FORMAT);
    CHECK_MSG(strstr(err.message, "???[2J") != NULL, "%s", err.message);
    ufm_free(&f);
}

static void check_entries(const char *key, const void *text, size_t size, const char *second,
                          uf_status st, const char *part)
{
    ufm_file f = {0};
    ufm_entry(&f, key, text, size);
    if (second)
        ufm_entry(&f, second, "b", 1);
    make_good(&f);
    refuse(&f.whole, st, part);
    ufm_free(&f);
}

TEST(metadata_key_with_capitals)
{
    check_entries("Licence", "x", 1, NULL, UF_E_FORMAT, "Licence");
}

TEST(metadata_key_of_65_bytes)
{
    check_entries("a2345678901234567890123456789012345678901234567890123456789012345", "x", 1, NULL,
                  UF_E_FORMAT, "metadata entry 0");
}

TEST(metadata_key_twice)
{
    check_entries("licence", "a", 1, "licence", UF_E_FORMAT, "licence");
}

TEST(metadata_text_with_nul)
{
    check_entries("licence", "free\0not", 8, NULL, UF_E_FORMAT, "metadata entry 0");
}

TEST(metadata_text_longer_than_64_kb)
{
    bytes text = {0};
    put_fill(&text, 't', 65537);
    check_entries("licence", text.data, text.size, NULL, UF_E_FORMAT, "metadata entry 0");
    bytes_free(&text);
}

TEST(metadata_of_1025_entries)
{
    ufm_file f = {0};
    char key[16];
    for (int i = 0; i < 1024; i++) {
        snprintf(key, sizeof key, "k%d", i);
        ufm_entry(&f, key, "", 0);
    }
    make_good(&f); /* adds one */
    refuse(&f.whole, UF_E_LIMIT, "1025 metadata entries");
    ufm_free(&f);
}

/* ---- graphs ---- */

/* A sum and a negation, of the given inputs and outputs; values 0 to 3 are x, w, a, b. */
static void check_graph(const uint32_t sum_in[2], uint32_t sum_out, uint32_t neg_in,
                        uint32_t neg_out, uint32_t output, const char *part)
{
    const int64_t four[1] = {4};
    static const float w[4];
    ufm_file f = {0};
    uint32_t x = ufm_value(&f, "x", 1, UF_F32, 1, four, -1);
    ufm_value(&f, "w", 1, UF_F32, 1, four, ufm_numbers(&f, w, sizeof w));
    ufm_value(&f, "a", 1, UF_F32, 1, four, -1);
    ufm_value(&f, "b", 1, UF_F32, 1, four, -1);
    ufm_node(&f, UFI_OP_ADD, "sum", sum_in, 2, &sum_out, 1, NULL, 0);
    ufm_node(&f, UFI_OP_NEG, "negation", &neg_in, 1, &neg_out, 1, NULL, 0);
    ufm_io(&f, x, output);
    ufm_write_counts(&f);
    ufm_seal(&f);
    if (part)
        refuse(&f.whole, UF_E_FORMAT, part);
    else
        accept(&f.whole, -10, -40);
    ufm_free(&f);
}

#define GRAPH(id, in0, in1, sum_out, neg_in, neg_out, output, part) \
    TEST(id)                                                        \
    {                                                               \
        const uint32_t in[2] = {in0, in1};                          \
        check_graph(in, sum_out, neg_in, neg_out, output, part);    \
    }

GRAPH(graph_of_two_nodes_is_good, 0, 1, 2, 2, 3, 3, NULL)
GRAPH(cycle_of_two_nodes, 0, 3, 2, 2, 3, 3, "\"sum\" (Add): input 1")
GRAPH(cycle_of_one_node, 0, 2, 2, 2, 3, 3, "\"sum\" (Add): input 1")
GRAPH(nodes_out_of_order, 0, 3, 2, 1, 3, 2, "\"sum\" (Add): input 1")
GRAPH(edge_to_an_absent_value, 0, 4, 2, 2, 3, 3, "\"sum\" (Add): input 1")
GRAPH(edge_that_must_be_there, 0, UINT32_MAX, 2, 2, 3, 3, "\"sum\" (Add): input 1")
GRAPH(value_made_twice, 0, 1, 2, 2, 2, 2, "\"negation\" (Neg): output 0 is made twice")
GRAPH(input_overwritten, 0, 1, 0, 2, 3, 3, "\"sum\" (Add): output 0")
GRAPH(output_made_by_nobody, 0, 1, 2, 2, UINT32_MAX, 3, "graph output 0")
GRAPH(constant_for_an_input_is_good, 0, 1, 2, 2, 3, 3, NULL)

/* A constant that a node makes as well: what counts is the constant, or it is refused. */
TEST(constant_overwritten)
{
    const uint32_t in[2] = {0, 1};
    check_graph(in, 1, 2, 3, 3, "\"negation\" (Neg): input 0");
}

TEST(operator_with_too_few_inputs)
{
    check_arity(UFI_OP_ADD, 1, 1, "Add with 1 inputs and 1 outputs");
}

TEST(operator_with_no_input)
{
    check_arity(UFI_OP_CONV, 0, 1, "Conv with 0 inputs");
}

TEST(operator_with_too_many_inputs)
{
    check_arity(UFI_OP_NEG, 2, 1, "Neg with 2 inputs");
}

TEST(operator_with_no_output)
{
    check_arity(UFI_OP_NEG, 1, 0, "Neg with 1 inputs and 0 outputs");
}

TEST(operator_with_two_outputs)
{
    check_arity(UFI_OP_ADD, 2, 2, "Add with 2 inputs and 2 outputs");
}

TEST(operator_with_257_inputs)
{
    check_arity(UFI_OP_CONCAT, 257, 1, "node 0 is malformed");
}

TEST(nodes_1000000)
{
    const int64_t four[1] = {4};
    ufm_file f = {0};
    uint32_t last = ufm_value(&f, "x", 1, UF_F32, 1, four, -1);
    uint32_t next = ufm_value(&f, "y", 1, UF_F32, 1, four, -1);
    for (int i = 0; i < 1000000; i++)
        ufm_node(&f, UFI_OP_NEG, "", &last, 1, &next, 1, NULL, 0);
    ufm_io(&f, last, next);
    ufm_write_counts(&f);
    ufm_seal(&f);
    refuse(&f.whole, UF_E_LIMIT, "1000000 nodes");
    ufm_free(&f);
}

TEST(onnx_nodes_1000000)
{
    bytes graph = {0}, all = {0};
    char path[] = "/tmp/uniface-bad-model-XXXXXX";
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    /* NodeProto of Relu: input "x", output "" - what is made is wanted by nobody. */
    for (int i = 0; i < 1000000; i++)
        put_data(&graph, "\x0a\x0b\x0a\1x\x12\0\"\4Relu", 13);
    put_data(&graph, "\x5a\x0f\x0a\1x\x12\x0a\x0a\x08\x08\1\x12\4\x0a\2\x08\4", 17); /* x */
    put_data(&graph, "\x62\3\x0a\1x", 5);                                            /* output x */
    put_data(&all, "\x08\x08\x42\2\x10\x0d\x3a", 7); /* IR 8, opset 13, the graph */
    for (size_t n = graph.size; n; n >>= 7)
        put_uint(&all, n >> 7 ? (n & 127) | 128 : n, 1);
    put_data(&all, graph.data, graph.size);
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    CHECK(write(fd, all.data, all.size) == (ssize_t)all.size);
    close(fd);
    CHECK(uf_model_open(&m, path, &err) == UF_E_LIMIT);
    CHECK_MSG(!strncmp(err.message, path, strlen(path)) && strstr(err.message, "65536"), "%s",
              err.message);
    unlink(path);
    bytes_free(&graph);
    bytes_free(&all);
}

TEST_MAIN
