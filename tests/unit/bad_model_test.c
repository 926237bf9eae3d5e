/*
 * Model files that are wrong, odd or hostile, a test each. `.ufm` files are written by
 * bad_model_maker.h with digests that fit. (Flips, truncations and mutations: ufm_test.c,
 * onnx_test.c and the fuzzers; attributes and graphs of ONNX: onnx_test.c.)
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bad_model_maker.h"
#include "onnx_maker.h"
#include "test.h"
#include "uniface/uniface.h"

/* Opens, plans for x of one dimension open as 1, runs on 10 20 30 40...; the first number that
 * comes out is in *first, the last in *last. */
static uf_status open_and_run(const bytes *file, float *first, float *last, uf_error *err)
{
    uf_model *m = NULL;
    uf_engine *e = NULL;
    uf_tensor_info shape, out;
    uf_engine_options o = UF_ENGINE_OPTIONS_INIT;
    size_t size = 0;
    *err = (uf_error){UF_OK, ""};
    o.threads = 1;
    uf_status st = uf_model_open_memory(&m, file->data, file->size, err);
    if (st)
        return st;
    st = uf_engine_create(&e, m, &o, err);
    if (!st)
        st = uf_model_input(m, 0, &shape, err);
    for (uint32_t d = 0; !st && d < shape.rank; d++)
        shape.dims[d] = shape.dims[d] < 0 ? 1 : shape.dims[d];
    if (!st)
        st = uf_engine_prepare(e, &shape, 1, err);
    if (!st) {
        void *x = uf_engine_input(e, 0, &size);
        for (size_t i = 0; shape.dtype == UF_F32 && i < size / 4; i++)
            ((float *)x)[i] = 10 * (float)(i + 1);
        for (size_t i = 0; shape.dtype == UF_I64 && i < size / 8; i++)
            ((int64_t *)x)[i] = 9; /* an index that is too large */
        st = uf_engine_run(e, err);
    }
    if (!st) {
        const float *y = uf_engine_output(e, 0, &out);
        size_t n = out.dtype == UF_F32;
        for (uint32_t d = 0; d < out.rank; d++)
            n *= (size_t)out.dims[d];
        *first = n ? y[0] : 0;
        *last = n ? y[n - 1] : 0;
    }
    uf_engine_destroy(e);
    uf_model_close(m);
    return st;
}

static void refuse(const bytes *file, uf_status want, const char *part)
{
    uf_error err;
    float first, last;
    uf_status st = open_and_run(file, &first, &last, &err);
    CHECK_MSG(st == want, "%s: %s", uf_status_name(st), err.message);
    CHECK_MSG(strstr(err.message, part) != NULL, "\"%s\" lacks \"%s\"", err.message, part);
}

static void accept(const bytes *file, float first, float last)
{
    uf_error err;
    float f = 0, l = 0;
    REQUIRE_OK(open_and_run(file, &f, &l, &err), err);
    CHECK_MSG(fabsf(f - first) < 1e-3f && fabsf(l - last) < 1e-3f, "%g ... %g", (double)f,
              (double)l);
}

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
CHANGED(version_2, 8, "\2\0", UF_E_UNSUPPORTED, "version 2")
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

static void check_arity(ufi_op op, uint16_t inputs, uint16_t outputs, const char *part)
{
    const int64_t four[1] = {4};
    uint32_t in[300] = {0}, out[300];
    ufm_file f = {0};
    ufm_value(&f, "x", 1, UF_F32, 1, four, -1);
    for (uint32_t i = 0; i < 300; i++)
        out[i] = i < outputs ? ufm_value(&f, "y", 1, UF_F32, 1, four, -1) : 0;
    ufm_node(&f, op, "the node", in, inputs, out, outputs, NULL, 0);
    ufm_io(&f, 0, outputs ? out[0] : 0);
    ufm_write_counts(&f);
    ufm_seal(&f);
    refuse(&f.whole, UF_E_FORMAT, part);
    ufm_free(&f);
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
        refuse(&f.whole, UF_E_FORMAT, part);
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

/* ---- files ---- */

static char folder[64];

static const char *path_of(const char *name)
{
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    if (!folder[0]) {
        strcpy(folder, "/tmp/uniface-bad-model-XXXXXX");
        if (!mkdtemp(folder))
            abort();
    }
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, const bytes *b)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(b->data, 1, b->size, file) != b->size || fclose(file))
        abort();
}

/* The good model as a file. */
static const char *good_path(const char *name)
{
    ufm_file f = {0};
    const char *path = path_of(name);
    make_good(&f);
    write_file(path, &f.whole);
    ufm_free(&f);
    return path;
}

static void refuse_path(const char *path, uf_status want, const char *part)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_status st = uf_model_open(&m, path, &err);
    CHECK_MSG(st == want, "%s: %s", uf_status_name(st), err.message);
    CHECK_MSG(!strncmp(err.message, path, strlen(path)) && strstr(err.message, part), "%s",
              err.message);
    CHECK(m == NULL);
    uf_model_close(m);
}

TEST(path_of_nothing)
{
    refuse_path(path_of("absent.ufm"), UF_E_IO, "No such file");
}

TEST(path_of_a_directory)
{
    refuse_path("/tmp", UF_E_IO, "not a regular file");
}

TEST(path_of_dev_zero)
{
    refuse_path("/dev/zero", UF_E_IO, "not a regular file");
}

TEST(path_of_dev_null)
{
    refuse_path("/dev/null", UF_E_IO, "not a regular file");
}

TEST(path_of_a_fifo)
{
    const char *path = path_of("fifo");
    REQUIRE(mkfifo(path, 0600) == 0);
    refuse_path(path, UF_E_IO, "not a regular file");
    unlink(path);
}

TEST(path_of_a_symlink)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    const char *path = good_path("target.ufm"), *link = path_of("link.ufm");
    REQUIRE(symlink(path, link) == 0);
    CHECK_OK(uf_model_open(&m, link, &err), err);
    uf_model_close(m);
    unlink(path);
    refuse_path(link, UF_E_IO, "No such file"); /* it dangles now */
    unlink(link);
}

TEST(path_of_a_symlink_to_itself)
{
    const char *link = path_of("loop.ufm");
    REQUIRE(symlink(link, link) == 0);
    refuse_path(link, UF_E_IO, "cannot open");
    unlink(link);
}

TEST(path_of_a_symlink_to_a_directory)
{
    const char *link = path_of("folder.ufm");
    REQUIRE(symlink("/tmp", link) == 0);
    refuse_path(link, UF_E_IO, "not a regular file");
    unlink(link);
}

TEST(path_of_a_file_nobody_may_read)
{
    const char *path = good_path("secret.ufm");
    const bool root = geteuid() == 0;
    chmod(path, 0);
    if (root && seteuid(65534)) { /* root may read everything */
        unlink(path);
        SKIP("this process cannot become somebody else");
    }
    refuse_path(path, UF_E_IO, "Permission denied");
    CHECK(!root || seteuid(0) == 0);
    unlink(path);
}

TEST(path_of_0_bytes)
{
    bytes none = {0};
    const char *path = path_of("empty.ufm");
    put_fill(&none, 0, 0);
    write_file(path, &none);
    refuse_path(path, UF_E_FORMAT, "empty");
    unlink(path);
}

TEST(path_of_a_picture)
{
    bytes b = {0};
    const char *path = path_of("photo.ufm");
    put_data(&b, "\xff\xd8\xff\xe0\0\x10JFIF", 10);
    put_fill(&b, 0x11, 1000);
    write_file(path, &b);
    refuse_path(path, UF_E_FORMAT, "byte");
    unlink(path);
    bytes_free(&b);
}

/* A hole of 5 GiB behind a good header costs nothing to make, and nothing to refuse. */
TEST(path_of_5_gib)
{
    const char *path = good_path("large.ufm");
    if (truncate(path, (off_t)5 << 30)) {
        unlink(path);
        SKIP("no file of 5 GiB can be made here");
    }
    refuse_path(path, UF_E_LIMIT, "limit");
    unlink(path);
}

/* The file grows by zeros and shrinks again while it is opened, over and over. */
typedef struct changer {
    const char *path;
    off_t least, most;
    volatile bool stop;
} changer;

static void *change_size(void *arg)
{
    changer *c = arg;
    int fd = open(c->path, O_RDWR);
    while (!c->stop) {
        if (ftruncate(fd, c->least) || ftruncate(fd, c->most))
            break;
    }
    close(fd);
    return NULL;
}

static void open_while_it_changes(const char *path, off_t least, off_t most)
{
    changer c = {.path = path, .least = least, .most = most};
    pthread_t thread;
    int opened = 0, refused = 0;
    REQUIRE(pthread_create(&thread, NULL, change_size, &c) == 0);
    for (int i = 0; i < 400; i++) {
        uf_error err = {UF_OK, ""};
        uf_model *m = NULL;
        uf_status st = uf_model_open(&m, path, &err);
        CHECK_MSG(st == UF_OK || (st == UF_E_FORMAT && !strncmp(err.message, path, strlen(path))) ||
                      (st == UF_E_IO && !strncmp(err.message, path, strlen(path))),
                  "%s: %s", uf_status_name(st), err.message);
        opened += st == UF_OK;
        refused += st != UF_OK;
        uf_model_close(m);
    }
    c.stop = true;
    pthread_join(thread, NULL);
    CHECK(opened + refused == 400);
    unlink(path);
}

TEST(file_grows_while_it_is_opened)
{
    const char *path = good_path("grows.ufm");
    struct stat s;
    REQUIRE(stat(path, &s) == 0);
    open_while_it_changes(path, s.st_size, s.st_size + 100000);
}

TEST(file_shrinks_while_it_is_opened)
{
    const char *path = good_path("shrinks.ufm");
    struct stat s;
    REQUIRE(stat(path, &s) == 0);
    open_while_it_changes(path, 0, s.st_size);
}

TEST(onnx_file_shrinks_while_it_is_opened)
{
    static pb source;
    bytes b = {0};
    const char *path = path_of("shrinks.onnx");
    onnx_small_network(&source);
    put_data(&b, source.bytes, source.size);
    write_file(path, &b);
    open_while_it_changes(path, 0, (off_t)b.size);
    bytes_free(&b);
}

/* A file that is replaced, as installers do it, leaves an open model as it was. */
TEST(file_is_replaced_while_it_is_used)
{
    uf_error err = {UF_OK, ""};
    uf_model *m = NULL;
    uf_engine *e = NULL;
    const uf_tensor_info shape = {.dtype = UF_F32, .rank = 1, .dims = {4}};
    const char *path = good_path("used.ufm"), *other = path_of("other.ufm");
    bytes text = {0};
    put_data(&text, "something else", 14);
    write_file(other, &text);
    REQUIRE_OK(uf_model_open(&m, path, &err), err);
    CHECK(rename(other, path) == 0);
    CHECK_OK(uf_engine_create(&e, m, NULL, &err), err);
    CHECK_OK(uf_engine_prepare(e, &shape, 1, &err), err);
    memset(uf_engine_input(e, 0, NULL), 0, 16);
    CHECK_OK(uf_engine_run(e, &err), err);
    CHECK(((const float *)uf_engine_output(e, 0, NULL))[3] == 4);
    refuse_path(path, UF_E_FORMAT, "");
    uf_engine_destroy(e);
    uf_model_close(m);
    unlink(path);
    bytes_free(&text);
}

static void *load_and_unload(void *path)
{
    for (int i = 0; i < 50; i++) {
        uf_model *m = NULL;
        uf_engine *e = NULL;
        uf_tensor_info shape;
        uf_status st = uf_model_open(&m, path, NULL);
        if (!st)
            st = uf_engine_create(&e, m, NULL, NULL);
        if (!st)
            st = uf_model_input(m, 0, &shape, NULL);
        for (uint32_t d = 0; !st && d < shape.rank; d++)
            shape.dims[d] = shape.dims[d] < 0 ? 1 : shape.dims[d];
        if (!st)
            st = uf_engine_prepare(e, &shape, 1, NULL);
        if (!st)
            st = uf_engine_run(e, NULL);
        uf_engine_destroy(e);
        uf_model_close(m);
        if (st)
            return path;
    }
    return NULL;
}

TEST(two_models_loaded_and_unloaded_in_threads)
{
    static pb source;
    char paths[2][128];
    pthread_t threads[2];
    bytes b = {0};
    snprintf(paths[0], sizeof paths[0], "%s", good_path("first.ufm"));
    snprintf(paths[1], sizeof paths[1], "%s", path_of("second.onnx"));
    onnx_small_network(&source);
    put_data(&b, source.bytes, source.size);
    write_file(paths[1], &b);
    for (int i = 0; i < 2; i++)
        REQUIRE(pthread_create(&threads[i], NULL, load_and_unload, paths[i]) == 0);
    for (int i = 0; i < 2; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        CHECK(!failed);
        unlink(paths[i]);
    }
    bytes_free(&b);
    rmdir(folder);
}

TEST_MAIN
