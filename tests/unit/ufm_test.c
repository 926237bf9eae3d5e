/* .ufm: what is written is read, what is damaged is refused. */
#include <unistd.h>

#include "base/mem.h"
#include "format/model_file.h"
#include "onnx_maker.h"
#include "test.h"

static pb source;

/* A model in memory as .ufm bytes of `version`; the caller frees. */
static uint8_t *make_version(uint16_t version, size_t *size)
{
    char path[] = "/tmp/uniface-ufm-test-XXXXXX";
    uf_error err;
    ufi_model_file m;
    uint8_t *bytes = NULL;
    onnx_small_network(&source);
    int fd = mkstemp(path);
    if (fd < 0 || ufi_onnx_import_memory(&m, source.bytes, source.size, true, &err))
        return NULL;
    close(fd);
    m.version = version;
    if (ufi_meta_set(&m.meta, "licence", "none", &err) || ufi_ufm_save(&m, path, &err) ||
        ufi_file_read(&bytes, size, path, 1 << 20, &err))
        printf("%s\n", err.message);
    ufi_model_file_free(&m);
    unlink(path);
    return bytes;
}

static uint8_t *make_bytes(size_t *size)
{
    return make_version(0, size);
}

static bool same_graph(const ufi_graph *a, const ufi_graph *b)
{
    if (a->value_count != b->value_count || a->node_count != b->node_count)
        return false;
    for (uint32_t i = 0; i < a->value_count; i++) {
        const ufi_value *x = &a->values[i], *y = &b->values[i];
        if (strcmp(x->name, y->name) != 0 || x->dtype != y->dtype || !x->data != !y->data ||
            (x->has_shape && !ufi_shape_equal(&x->shape, &y->shape)))
            return false;
        ufi_tensor t = {x->dtype, UFI_PLAIN, x->shape, NULL};
        if (x->data && memcmp(x->data, y->data, ufi_tensor_bytes(&t)) != 0)
            return false;
    }
    for (uint32_t i = 0; i < a->node_count; i++)
        if (a->nodes[i].op != b->nodes[i].op || a->nodes[i].attr_count != b->nodes[i].attr_count ||
            memcmp(a->nodes[i].in, b->nodes[i].in, a->nodes[i].in_count * sizeof(uint32_t)) != 0)
            return false;
    return true;
}

TEST(what_is_written_is_read)
{
    uf_error err;
    ufi_model_file imported, loaded;
    size_t size = 0;
    char id[2][65];
    uint8_t *bytes = make_bytes(&size);
    REQUIRE(bytes);
    REQUIRE_OK(ufi_onnx_import_memory(&imported, source.bytes, source.size, true, &err), err);
    REQUIRE_OK(ufi_ufm_load_memory(&loaded, bytes, size, true, &err), err);
    CHECK(same_graph(&imported.graph, &loaded.graph));
    CHECK(memcmp(imported.digest, loaded.digest, sizeof loaded.digest) == 0);
    CHECK(!strcmp(ufi_meta_get(&loaded.meta, "licence"), "none"));
    ufi_model_id(&imported, id[0]);
    ufi_model_id(&loaded, id[1]);
    CHECK(!strcmp(id[0], id[1])); /* the licence is no part of the id ... */
    CHECK_OK(ufi_meta_set(&loaded.meta, "input.order", "bgr", &err), err);
    ufi_model_id(&loaded, id[1]);
    CHECK(strcmp(id[0], id[1]) != 0); /* ... the preprocessing is */
    ufi_model_file_free(&imported);
    ufi_model_file_free(&loaded);
    ufi_free(bytes);
}

/* A model of the first version is the same model, keeps its id, and is saved as it was. */
TEST(version_1_stays_readable)
{
    char path[] = "/tmp/uniface-ufm-test-XXXXXX";
    uf_error err;
    ufi_model_file imported, loaded;
    size_t size = 0, again = 0;
    uint8_t *bytes = make_version(1, &size), *saved = NULL;
    int fd = mkstemp(path);
    REQUIRE(bytes && fd >= 0);
    close(fd);
    CHECK(bytes[8] == 1 && bytes[9] == 0);
    REQUIRE_OK(ufi_onnx_import_memory(&imported, source.bytes, source.size, true, &err), err);
    imported.version = 1;
    REQUIRE_OK(ufi_model_file_seal(&imported, &err), err);
    REQUIRE_OK(ufi_ufm_load_memory(&loaded, bytes, size, true, &err), err);
    CHECK(same_graph(&imported.graph, &loaded.graph));
    CHECK(memcmp(imported.digest, loaded.digest, sizeof loaded.digest) == 0);
    REQUIRE_OK(ufi_ufm_save(&loaded, path, &err), err);
    REQUIRE_OK(ufi_file_read(&saved, &again, path, 1 << 20, &err), err);
    CHECK(again == size && memcmp(saved, bytes, size) == 0);
    unlink(path);
    ufi_model_file_free(&imported);
    ufi_model_file_free(&loaded);
    ufi_free(saved);
    ufi_free(bytes);
}

/* Vectors that FP16 or BF16 can hold take half the space and lose nothing. */
TEST(vectors_are_stored_as_small_as_they_can_be)
{
    static const float kinds[3][4] = {
        {0.5f, -2, 1.0f / 1024, 65504}, {1e-20f, -3e30f, 0, -0.0f}, {0.1f, 1e9f, 3, 4}};
    static float numbers[3][64];
    char path[] = "/tmp/uniface-ufm-test-XXXXXX";
    uf_error err;
    size_t sizes[3];
    int fd = mkstemp(path);
    REQUIRE(fd >= 0);
    close(fd);
    for (int kind = 0; kind < 3; kind++) {
        ufi_model_file m = {0}, loaded;
        uint8_t *bytes = NULL;
        uint32_t in, out, c;
        const ufi_shape shape = {1, {64}};
        for (int i = 0; i < 64; i++) {
            uint32_t bits;
            memcpy(&bits, &kinds[kind][i % 4], sizeof bits);
            bits &= kind == 1 ? 0xFFFF0000u : 0xFFFFFFFFu; /* BF16 */
            memcpy(&numbers[kind][i], &bits, sizeof bits);
        }
        const ufi_tensor t = {UF_F32, UFI_PLAIN, shape, numbers[kind]};
        ufi_graph_init(&m.graph);
        REQUIRE_OK(ufi_graph_add_value(&m.graph, "x", UF_F32, &shape, &in, &err), err);
        REQUIRE_OK(ufi_graph_add_value(&m.graph, "y", UF_F32, &shape, &out, &err), err);
        REQUIRE_OK(ufi_graph_add_constant(&m.graph, "c", &t, true, &c, &err), err);
        const uint32_t ins[2] = {in, c};
        REQUIRE_OK(ufi_graph_add_node(&m.graph, UFI_OP_ADD, "n", ins, 2, &out, 1, NULL, &err), err);
        REQUIRE_OK(ufi_graph_set_io(&m.graph, &in, 1, &out, 1, &err), err);
        REQUIRE_OK(ufi_model_file_seal(&m, &err), err);
        REQUIRE_OK(ufi_ufm_save(&m, path, &err), err);
        REQUIRE_OK(ufi_file_read(&bytes, &sizes[kind], path, 1 << 20, &err), err);
        REQUIRE_OK(ufi_ufm_load_memory(&loaded, bytes, sizes[kind], true, &err), err);
        CHECK(same_graph(&m.graph, &loaded.graph));
        CHECK(memcmp(m.digest, loaded.digest, sizeof m.digest) == 0);
        ufi_model_file_free(&m);
        ufi_model_file_free(&loaded);
        ufi_free(bytes);
    }
    CHECK(sizes[0] + 128 == sizes[2] && sizes[1] + 128 == sizes[2]);
    unlink(path);
}

TEST(every_truncation_is_refused)
{
    ufi_model_file m;
    uf_error err;
    size_t size = 0;
    uint8_t *bytes = make_bytes(&size);
    REQUIRE(bytes);
    for (size_t n = 0; n < size; n++)
        CHECK(ufi_ufm_load_memory(&m, bytes, n, true, &err) != UF_OK);
    ufi_free(bytes);
}

/* Everything but the padding is under a digest. */
TEST(every_flipped_byte_is_found)
{
    ufi_model_file clean, m;
    uf_error err;
    size_t size = 0, accepted = 0;
    uint8_t *bytes = make_bytes(&size);
    REQUIRE(bytes);
    REQUIRE_OK(ufi_ufm_load_memory(&clean, bytes, size, true, &err), err);
    for (size_t i = 0; i < size; i++) {
        bytes[i] ^= 0x40;
        if (ufi_ufm_load_memory(&m, bytes, size, true, &err) == UF_OK) {
            CHECK_MSG(same_graph(&clean.graph, &m.graph), "byte %zu changed the model", i);
            ufi_model_file_free(&m);
            accepted++;
        }
        bytes[i] ^= 0x40;
    }
    CHECK_MSG(accepted < 300, "%zu bytes are not covered", accepted);
    ufi_model_file_free(&clean);
    ufi_free(bytes);
}

/* The same without digests: the reader itself must bear anything. */
static void sign_again(uint8_t *bytes, size_t size)
{
    for (int s = 0; s < 3; s++) {
        uint8_t *row = bytes + 64 + s * 64;
        uint64_t offset, length;
        memcpy(&offset, row + 8, 8);
        memcpy(&length, row + 16, 8);
        if (offset <= size && length <= size - offset)
            ufi_sha256_of(bytes + offset, length, row + 24);
    }
    ufi_sha256_of(bytes + 64, 3 * 64, bytes + 32);
}

static void try_hostile_records(uint16_t version)
{
    static const uint8_t values[] = {0, 1, 0x7F, 0x80, 0xFF};
    ufi_model_file m;
    uf_error err;
    size_t size = 0;
    uint8_t *bytes = make_version(version, &size);
    REQUIRE(bytes);
    uint8_t *copy = malloc(size);
    for (size_t i = 64; i < size; i++)
        for (size_t k = 0; k < sizeof values; k++) {
            memcpy(copy, bytes, size);
            copy[i] = values[k];
            sign_again(copy, size);
            if (ufi_ufm_load_memory(&m, copy, size, true, &err) == UF_OK) {
                /* Whatever passes must be safe to look at further. */
                (void)ufi_graph_infer(&m.graph, 1 << 20, &err);
                ufi_model_file_free(&m);
            }
        }
    free(copy);
    ufi_free(bytes);
}

TEST(hostile_records_do_no_harm)
{
    try_hostile_records(1);
    try_hostile_records(2);
}

TEST(other_versions_and_files_are_told_apart)
{
    ufi_model_file m;
    uf_error err;
    size_t size = 0;
    uint8_t *bytes = make_bytes(&size);
    REQUIRE(bytes);
    bytes[8] = 9;
    CHECK(ufi_ufm_load_memory(&m, bytes, size, true, &err) == UF_E_UNSUPPORTED);
    CHECK(strstr(err.message, "version 9") != NULL);
    CHECK(ufi_model_file_open(&m, "/", &err) == UF_E_IO);
    CHECK(ufi_model_file_open(&m, "/dev/zero", &err) == UF_E_IO);
    CHECK(ufi_model_file_open(&m, "/no/such/file", &err) == UF_E_IO);
    CHECK(strstr(err.message, "/no/such/file") != NULL);
    CHECK(ufi_model_file_open(&m, "/etc/passwd", &err) == UF_E_FORMAT);
    CHECK_MSG(strstr(err.message, "no model that is known") != NULL, "%s", err.message);
    ufi_free(bytes);
}

TEST(metadata)
{
    ufi_meta m = {0};
    uf_error err;
    float v[3];
    const float out[3] = {0.1f, -2.5e-7f, 3};
    CHECK_OK(ufi_meta_set_floats(&m, "a.b", out, 3, &err), err);
    CHECK(ufi_meta_floats(&m, "a.b", v, 3) == 3 && memcmp(v, out, sizeof v) == 0);
    CHECK(ufi_meta_floats(&m, "a.b", v, 2) == -1);
    CHECK(ufi_meta_floats(&m, "none", v, 3) == 0);
    CHECK_OK(ufi_meta_set(&m, "a.b", "1 2 x", &err), err);
    CHECK(ufi_meta_floats(&m, "a.b", v, 3) == -1);
    CHECK_OK(ufi_meta_set(&m, "a.b", "1e999", &err), err);
    CHECK(ufi_meta_floats(&m, "a.b", v, 3) == -1);
    CHECK(ufi_meta_set(&m, "Bad Key", "x", &err) == UF_E_ARG);
    CHECK(ufi_meta_set(&m, "", "x", &err) == UF_E_ARG);
    CHECK_OK(ufi_meta_set(&m, "a.b", NULL, &err), err);
    CHECK(m.count == 0);
    ufi_meta_free(&m);
}

TEST_MAIN
