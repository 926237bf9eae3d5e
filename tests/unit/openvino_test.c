/* OpenVINO IR: a small network, and files that are wrong in every way. */
#include "backend/backend.h"
#include "format/model_file.h"
#include "openvino_maker.h"
#include "openvino_quant_maker.h"
#include "openvino_ssd_maker.h"
#include "test.h"

#ifdef UFI_WITH_OPENVINO

TEST(a_small_network)
{
    ufi_model_file m;
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    uf_error err;
    const ufi_shape s = {4, {1, 1, 2, 2}};
    REQUIRE_OK(ufi_openvino_import_memory(&m, ov_xml, sizeof ov_xml - 1, ov_bin, sizeof ov_bin,
                                          true, &err),
               err);
    REQUIRE_OK(ufi_program_create(&p, &m.graph, "CPU", &err), err);
    REQUIRE_OK(ufi_context_create(&c, p, 1, &err), err);
    REQUIRE_OK(ufi_context_prepare(c, &s, 1, UFI_PLAIN, &err), err);
    const float x[4] = {1, -1, 0.004f, 9}, want[8] = {1, -1, 0.004f, 9, -2, 2, -0.008f, -18};
    memcpy(ufi_context_input(c, 0)->data, x, sizeof x);
    REQUIRE_OK(ufi_context_run(c, &err), err);
    const float *quantised = ufi_context_output(c, 0)->data, *y = ufi_context_output(c, 1)->data;
    for (int i = 0; i < 8; i++) {
        CHECK_MSG(fabsf(y[i] - want[i]) < 1e-6f, "conv %d is %g", i, (double)y[i]);
        /* ReLU, then steps of 0.01 up to 2.55 */
        const float q = fminf(rintf(fmaxf(want[i], 0) * 100) / 100, 2.55f);
        CHECK_MSG(fabsf(quantised[i] - q) < 1e-5f, "fq %d is %g, not %g", i, (double)quantised[i],
                  (double)q);
    }
    CHECK(strcmp(ufi_meta_get(&m.meta, "source.format"), "openvino") == 0);
    ufi_context_destroy(c);
    ufi_program_destroy(p);
    ufi_model_file_free(&m);
}

/* x rounded to steps of `step`, -128 to 127 of them. */
static float in_steps(float x, float step)
{
    return fminf(fmaxf(rintf(x / step), -128), 127) * step;
}

/* Both convolutions run on bytes, and give what the file says. */
TEST(a_quantised_network)
{
    ufi_model_file m;
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    uf_error err;
    const ufi_shape s = {4, {1, 2, 1, 1}};
    REQUIRE_OK(ufi_openvino_import_memory(&m, ov_quant_xml, sizeof ov_quant_xml - 1,
                                          (const uint8_t *)&ov_quant_numbers,
                                          sizeof ov_quant_numbers, true, &err),
               err);
    uint32_t on_bytes = 0;
    for (uint32_t i = 0; i < m.graph.node_count; i++) {
        const ufi_op op = m.graph.nodes[i].op;
        on_bytes += op == UFI_OP_QCONV;
        CHECK_MSG(op == UFI_OP_QCONV || op == UFI_OP_QUANTIZE_LINEAR, "%s", ufi_op_name(op));
    }
    CHECK(on_bytes == 2);
    REQUIRE_OK(ufi_program_create(&p, &m.graph, "CPU", &err), err);
    REQUIRE_OK(ufi_context_create(&c, p, 1, &err), err);
    REQUIRE_OK(ufi_context_prepare(c, &s, 1, UFI_PLAIN, &err), err);
    const float x[2] = {0.333f, -0.512f};
    memcpy(ufi_context_input(c, 0)->data, x, sizeof x);
    REQUIRE_OK(ufi_context_run(c, &err), err);
    const float *y = ufi_context_output(c, 0)->data, a = in_steps(x[0], 0.01f),
                b = in_steps(x[1], 0.01f);
    const float want[2] = {in_steps(a - b, 0.01f) * 50 * 0.01f,
                           in_steps(0 * a + 1 * b, 0.02f) * -3 * 0.5f};
    for (int i = 0; i < 2; i++)
        CHECK_MSG(fabsf(y[i] - want[i]) < 1e-5f, "%d is %g, not %g", i, (double)y[i],
                  (double)want[i]);
    ufi_context_destroy(c);
    ufi_program_destroy(p);
    ufi_model_file_free(&m);
}

/* Scores and decoded boxes of the end of a detector. */
TEST(the_end_of_a_detector)
{
    ufi_model_file m;
    ufi_program *p = NULL;
    ufi_context *c = NULL;
    uf_error err;
    const ufi_shape shapes[3] = {{4, {1, 3, 10, 20}}, {2, {1, 8}}, {2, {1, 5}}};
    REQUIRE_OK(ufi_openvino_import_memory(&m, ov_ssd_xml, sizeof ov_ssd_xml - 1, ov_ssd_bin,
                                          sizeof ov_ssd_bin, true, &err),
               err);
    REQUIRE_OK(ufi_program_create(&p, &m.graph, "CPU", &err), err);
    REQUIRE_OK(ufi_context_create(&c, p, 1, &err), err);
    REQUIRE_OK(ufi_context_prepare(c, shapes, 3, UFI_PLAIN, &err), err);
    const float loc[8] = {0, 0, 0, 0, 1, -1, logf(2) / 0.2f, 0}, conf[5] = {9, 0.1f, 0.9f, 1, 0};
    const float boxes[8] = {0.4f, 0.4f, 0.6f, 0.6f, 0.14f, 0.26f, 0.94f, 0.66f};
    memcpy(ufi_context_input(c, 1)->data, loc, sizeof loc);
    memcpy(ufi_context_input(c, 2)->data, conf, sizeof conf);
    REQUIRE_OK(ufi_context_run(c, &err), err);
    const ufi_tensor *s = ufi_context_output(c, 0), *b = ufi_context_output(c, 1);
    CHECK(ufi_shape_equal(&s->shape, &(ufi_shape){3, {1, 2, 2}}));
    CHECK(ufi_shape_equal(&b->shape, &(ufi_shape){3, {1, 2, 4}}));
    CHECK(memcmp(s->data, conf + 1, 4 * sizeof *conf) == 0);
    for (int i = 0; i < 8; i++)
        CHECK_MSG(fabsf(((const float *)b->data)[i] - boxes[i]) < 1e-6f, "corner %d is %g", i,
                  (double)((const float *)b->data)[i]);
    ufi_context_destroy(c);
    ufi_program_destroy(p);
    ufi_model_file_free(&m);
}

/* Network `net` with the first `from` replaced by `to` is refused with `part` in the message. */
static void check_refused_of(const char *net, const void *bin, size_t bin_size, const char *from,
                             const char *to, const char *part)
{
    static char xml[16384];
    ufi_model_file m;
    uf_error err;
    const char *at = strstr(net, from);
    CHECK_MSG(at != NULL, "the network has no %s", from);
    if (!at)
        return;
    snprintf(xml, sizeof xml, "%.*s%s%s", (int)(at - net), net, to, at + strlen(from));
    uf_status st = ufi_openvino_import_memory(&m, xml, strlen(xml), bin, bin_size, true, &err);
    CHECK_MSG(st != UF_OK && strstr(err.message, part), "%s to %s: %s", from, to,
              st ? err.message : "accepted");
    if (!st)
        ufi_model_file_free(&m);
}

static void check_refused(const char *from, const char *to, const char *part)
{
    check_refused_of(ov_xml, ov_bin, sizeof ov_bin, from, to, part);
}

TEST(wrong_ends_of_detectors)
{
    static const char *const changes[][3] = {
        {"CENTER_SIZE", "CORNER", "centre and size"},
        {"share_location=\"true\"", "share_location=\"false\"", "shared by all classes"},
        {"background_label_id=\"0\"", "background_label_id=\"1\"", "class 0"},
        {"width=\"4, 8\"", "width=\"4\"", "do not agree"},
        {"width=\"4, 8\"", "width=\"4; 8\"", "malformed"},
        {"shrink_axis_mask=\"0\"", "shrink_axis_mask=\"1\"", "masks"},
        {"type=\"ShapeOf\"", "type=\"Sigmoid\"", "not known at import"},
        {"type=\"Result\"", "type=\"ReLU\"", "not the network's"},
        {"<dim>1</dim><dim>8</dim></port><port id=\"1\"><dim>1</dim><dim>4</dim>",
         "<dim>1</dim><dim>8</dim></port><port id=\"1\"><dim>1</dim><dim>3</dim>", "shapes"}};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        check_refused_of(ov_ssd_xml, ov_ssd_bin, sizeof ov_ssd_bin, changes[i][0], changes[i][1],
                         changes[i][2]);
}

TEST(wrong_files)
{
    check_refused("version=\"11\"", "version=\"9\"", "version 9");
    check_refused("<net ", "<!DOCTYPE x [<!ENTITY e \"e\">]><net ", "document types");
    check_refused("</net>", "", "no element found");
    check_refused("type=\"ReLU\"", "type=\"Magic\"", "layer \"relu\" (Magic)");
    check_refused("offset=\"8\"", "offset=\"9\"", "within the .bin");
    check_refused("offset=\"8\"", "offset=\"-1\"", "within the .bin");
    check_refused("size=\"4\"", "size=\"400\"", "within the .bin");
    check_refused("shape=\"2, 1, 1, 1\"", "shape=\"2147483647,2147483647,4,4\"", "layer \"w\"");
    check_refused("element_type=\"f16\"", "element_type=\"q4\"", "element type");
    check_refused("to-layer=\"3\"", "to-layer=\"33\"", "nothing is connected");
    check_refused("strides=\"1,1\"", "strides=\"1,x\"", "malformed");
    check_refused("pads_end=\"0,0\"", "pads_end=\"0\"", "do not agree");
    check_refused("levels=\"256\"", "levels=\"1\"", "levels");
    check_refused("<dim>1</dim>", "<dim>many</dim>", "dimension");
}

TEST(truncation_at_every_byte)
{
    for (size_t n = 0; n < sizeof ov_xml - 8; n++) {
        ufi_model_file m;
        uf_error err;
        char *xml = malloc(n + 1);
        memcpy(xml, ov_xml, n);
        CHECK(ufi_openvino_import_memory(&m, xml, n, ov_bin, sizeof ov_bin, true, &err) != UF_OK);
        free(xml);
    }
}

#else

TEST(without_libexpat_it_is_said)
{
    ufi_model_file m;
    uf_error err;
    CHECK(ufi_openvino_import_memory(&m, ov_xml, sizeof ov_xml - 1, ov_bin, sizeof ov_bin, true,
                                     &err) == UF_E_UNSUPPORTED);
    CHECK(strstr(err.message, "libexpat") != NULL);
}

#endif

TEST_MAIN
