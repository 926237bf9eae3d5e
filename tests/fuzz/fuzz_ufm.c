/* The loader of .ufm. Digests are made to fit first, or nothing would get past them. */
#include "fuzz.h"

#include <unistd.h>

#include "../unit/onnx_maker.h"
#include "base/mem.h"
#include "format/model_file.h"

/* Rows as many as the header says, three or four. */
static void fit_digests(uint8_t *bytes, size_t size)
{
    const size_t rows = size > 12 && bytes[12] == 4 ? 4 : 3;
    if (size < 64 + rows * 64)
        return;
    for (size_t s = 0; s < rows; s++) {
        uint8_t *row = bytes + 64 + s * 64;
        uint64_t offset, length;
        memcpy(&offset, row + 8, 8);
        memcpy(&length, row + 16, 8);
        if (offset <= size && length <= size - offset)
            ufi_sha256_of(bytes + offset, length, row + 24);
    }
    memcpy(bytes + 16, &size, 8);
    ufi_sha256_of(bytes + 64, rows * 64, bytes + 32);
}

/* The small network, unsigned and signed; 0 when this build cannot sign. */
static size_t make_seed(bool is_signed, uint8_t **bytes, size_t cap)
{
    static const uint8_t secret[UFI_SIGN_SEED_BYTES] = {1, 2, 3};
    static pb source;
    const ufi_signature what = {.release = 3, .time = 1700000000, .signer = "Example Ltd"};
    char path[] = "/tmp/uniface-fuzz-XXXXXX";
    ufi_model_file m;
    size_t size = 0;
    int fd = mkstemp(path);
    onnx_small_network(&source);
    if (fd < 0 || ufi_onnx_import_memory(&m, source.bytes, source.size, true, NULL))
        return 0;
    close(fd);
    if ((is_signed && ufi_ufm_sign(&m, &what, secret, NULL)) || ufi_ufm_save(&m, path, NULL) ||
        ufi_file_read(bytes, &size, path, cap, NULL))
        size = 0;
    ufi_model_file_free(&m);
    unlink(path);
    return size;
}

static uint8_t *seed_bytes[2];
static size_t seed_sizes[2];

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    if (i > 1)
        return 0;
    if (!seed_bytes[i])
        seed_sizes[i] = make_seed(i == 1, &seed_bytes[i], cap);
    if (seed_sizes[i])
        memcpy(out, seed_bytes[i], seed_sizes[i]);
    return seed_sizes[i];
}

/* Nothing but the signed seed itself may pass for signed. */
static void check_signature(const ufi_model_file *m, const uint8_t *bytes, size_t size)
{
    static uint8_t seed[1 << 16];
    if (m->signature.state != UFI_SIGNED)
        return;
    if (seeds(1, seed, sizeof seed) != size || memcmp(seed, bytes, size) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ufi_model_file m;
    uint8_t *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    fit_digests(copy, size);
    if (ufi_ufm_load_memory(&m, copy, size, true, NULL) == UF_OK) {
        check_signature(&m, copy, size);
        (void)ufi_graph_infer(&m.graph, 1 << 20, NULL);
        ufi_model_file_free(&m);
    }
    free(copy);
    return 0;
}
