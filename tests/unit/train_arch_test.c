/* Described networks: those that come with the library, what their words build, and errors. */
#include "bytes_maker.h"
#include "test.h"
#include "train/arch.h"

static double macs_of(const ufi_graph *g)
{
    ufi_graph copy = {0};
    uf_error err;
    double sum = 0;
    CHECK(!ufi_graph_clone(&copy, g, &err));
    copy.values[copy.inputs[0]].shape.dims[0] = 1;
    CHECK(!ufi_graph_infer(&copy, 0, &err));
    for (uint32_t i = 0; i < copy.node_count; i++)
        sum += (double)ufi_node_macs(&copy, &copy.nodes[i]);
    ufi_graph_free(&copy);
    return sum;
}

static ufi_shape output_shape(const ufi_graph *g, uint32_t i)
{
    return g->values[g->outputs[i]].shape;
}

TEST(every_description_builds)
{
    for (size_t i = 0; ufi_arch_name(i); i++) {
        ufi_model_file m;
        uf_error err;
        REQUIRE_OK(ufi_arch_build(&m, ufi_arch_name(i), 1, &err), err);
        CHECK_MSG(m.graph.node_count > 10, "%s", ufi_arch_name(i));
        CHECK(ufi_meta_get(&m.meta, "task") && ufi_meta_get(&m.meta, "input.mean"));
        CHECK_MSG(m.graph.values[m.graph.outputs[0]].has_shape, "%s", ufi_arch_name(i));
        ufi_model_file_free(&m);
    }
}

TEST(mobilefacenet_has_the_size_of_the_paper)
{
    ufi_model_file m, half;
    uf_error err;
    REQUIRE_OK(ufi_arch_build(&m, "mobilefacenet", 1, &err), err);
    REQUIRE_OK(ufi_arch_build(&half, "mobilefacenet-0.5x", 1, &err), err);
    const ufi_shape s = output_shape(&m.graph, 0);
    CHECK(s.rank == 2 && s.dims[1] == 512);
    CHECK(output_shape(&half.graph, 0).dims[1] == 512);
    /* 224 million with 128 dimensions; 512 add 0.2. */
    CHECK_MSG(fabs(macs_of(&m.graph) / 224e6 - 1) < 0.02, "%g", macs_of(&m.graph));
    CHECK_MSG(macs_of(&half.graph) < 0.32 * macs_of(&m.graph), "%g", macs_of(&half.graph));
    CHECK(!strcmp(ufi_meta_get(&m.meta, "task"), "embedder"));
    ufi_model_file_free(&m);
    ufi_model_file_free(&half);
}

TEST(detector_has_the_outputs_of_its_family)
{
    static const char *const names[12] = {"cls_8",   "cls_16", "cls_32", "obj_8",
                                          "obj_16",  "obj_32", "bbox_8", "bbox_16",
                                          "bbox_32", "kps_8",  "kps_16", "kps_32"};
    static const int64_t last[4] = {1, 1, 4, 10}, cells[3] = {1600, 400, 100};
    ufi_model_file m;
    uf_error err;
    REQUIRE_OK(ufi_arch_build(&m, "yunet", 1, &err), err);
    REQUIRE(m.graph.output_count == 12);
    m.graph.values[m.graph.inputs[0]].shape.dims[0] = 1;
    REQUIRE_OK(ufi_graph_infer(&m.graph, 0, &err), err);
    for (uint32_t i = 0; i < 12; i++) {
        const ufi_shape s = output_shape(&m.graph, i);
        CHECK(!strcmp(m.graph.values[m.graph.outputs[i]].name, names[i]));
        CHECK(s.rank == 3 && s.dims[1] == cells[i % 3] && s.dims[2] == last[i / 3]);
    }
    ufi_model_file_free(&m);
}

TEST(weights_depend_on_the_seed_alone)
{
    ufi_model_file a, b, c;
    uf_error err;
    REQUIRE_OK(ufi_arch_build(&a, "attribute", 5, &err), err);
    REQUIRE_OK(ufi_arch_build(&b, "attribute", 5, &err), err);
    REQUIRE_OK(ufi_arch_build(&c, "attribute", 6, &err), err);
    uint8_t digest[3][32];
    ufi_model_file *all[3] = {&a, &b, &c};
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(ufi_model_file_seal(all[i], &err), err);
        memcpy(digest[i], all[i]->digest, 32);
    }
    CHECK(!memcmp(digest[0], digest[1], 32));
    CHECK(memcmp(digest[0], digest[2], 32) != 0);
    for (int i = 0; i < 3; i++)
        ufi_model_file_free(all[i]);
}

static void refuse(const char *text, const char *says)
{
    ufi_model_file m;
    uf_error err = {0};
    const uf_status st = ufi_arch_build_text(&m, "net.txt", text, 1, 1, &err);
    CHECK_MSG(st == UF_E_FORMAT && strstr(err.message, says), "%s: %d, %s", text, st, err.message);
    if (!st)
        ufi_model_file_free(&m);
}

TEST(errors_name_the_line)
{
    refuse("conv 8\n", "net.txt:1: the first line says input");
    refuse("input 8 8\nfoo 3\noutput y", "net.txt:2: \"foo\" is no layer");
    refuse("input 8 8\n\n# note\nconv 8 kk=3\noutput y", "net.txt:4: conv takes no kk=");
    refuse("input 8 8\nconv x\noutput y", "net.txt:2: conv: \"x\" is no whole number");
    refuse("input 8 8\nconv 8 act=swash\noutput y", "act=swash");
    refuse("input 8 8\nconv 8\n", "no line says output");
    refuse("input 8 8\nconv 8\nadd left\noutput y", "nothing before is tagged \"left\"");
    refuse("input 8 8\ntag a\nconv 8\nadd a\noutput y", "net.txt:4: add: 8x8x8 and 3x8x8");
    refuse("input 2 2\nconv 8 k=9\npool max k=4\noutput y", "a map of 2x2 is too small");
    refuse("input 4096 4096\nconv 8192\nlinear 8192\noutput y", "a matrix of");
    refuse("input 8 8 order=rbg\noutput y", "net.txt:1: order: rgb or bgr, not \"rbg\"");
    refuse("input 8 8\nconv 64 3\noutput y", "net.txt:2: conv: \"3\" is one word too many");
    refuse("input 8 8\nghost 9\noutput y", "net.txt:2: ghost: 9 channels");
    refuse("input 8 8\nlinear 9 bn=maybe\noutput y", "net.txt:2: bn=maybe: yes or no");
    refuse("input 99999 8\n", "1..4096");
    refuse("", "no line says output");
}

static void put_line(bytes *b, const char *text)
{
    put_data(b, text, strlen(text));
}

/* What a few words of a description that somebody else wrote may ask for. */
TEST(huge_networks_are_refused)
{
    refuse("input 8 8\nconv 8192\nconv 8192 k=15\noutput y",
           "net.txt:3: conv: a network has at most");
    refuse("input 4096 4096\nconv 8192\ndepthwise k=map\noutput y",
           "net.txt:3: depthwise: a network");
    refuse("input 8 8\nconv 8192 k=5\nbottleneck 8000 repeat=64\noutput y",
           "a network has at most");
    refuse("input 4096 4096\nupsample 2\noutput y", "net.txt:2: upsample: a map of 8192x8192");
    bytes lines = {0};
    put_line(&lines, "input 8 8\nconv 4096\n");
    for (int i = 0; i < 60; i++) {
        char pair[64];
        snprintf(pair, sizeof pair, "tag t%d\nconcat t%d\n", i, i);
        put_line(&lines, pair);
    }
    put_fill(&lines, 0, 1);
    refuse((const char *)lines.data, "net.txt:6: concat: 16384 channels");
    bytes_free(&lines);
    put_line(&lines, "input 8 8\n");
    for (int i = 0; i < 100; i++)
        put_line(&lines, "residual 3 repeat=64\n");
    put_fill(&lines, 0, 1);
    refuse((const char *)lines.data, "more than 4096 layers");
    bytes_free(&lines);
}

TEST(unknown_names_are_listed)
{
    ufi_model_file m;
    uf_error err;
    CHECK(ufi_arch_build(&m, "mobilenet", 1, &err) == UF_E_NOT_FOUND);
    CHECK(strstr(err.message, "mobilefacenet") != NULL);
    CHECK(ufi_arch_build(&m, "mobilefacenet-99x", 1, &err) == UF_E_ARG);
    CHECK(ufi_arch_build(&m, "/nowhere/net.txt", 1, &err) == UF_E_IO);
}

TEST_MAIN
