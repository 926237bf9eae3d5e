/* OpenVINO IR: a small network, and files that are wrong in every way. */
#include "backend/backend.h"
#include "format/model_file.h"
#include "openvino_maker.h"
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

/* The small network with the first `from` replaced by `to` is refused with `part` in the message.
 */
static void check_refused(const char *from, const char *to, const char *part)
{
    static char xml[8192];
    ufi_model_file m;
    uf_error err;
    const char *at = strstr(ov_xml, from);
    CHECK_MSG(at != NULL, "the network has no %s", from);
    if (!at)
        return;
    snprintf(xml, sizeof xml, "%.*s%s%s", (int)(at - ov_xml), ov_xml, to, at + strlen(from));
    uf_status st =
        ufi_openvino_import_memory(&m, xml, strlen(xml), ov_bin, sizeof ov_bin, true, &err);
    CHECK_MSG(st != UF_OK && strstr(err.message, part), "%s to %s: %s", from, to,
              st ? err.message : "accepted");
    if (!st)
        ufi_model_file_free(&m);
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
