/* The loader of .ufm. Digests are made to fit first, or nothing would get past them. */
#include "fuzz.h"

#include <unistd.h>

#include "../unit/onnx_maker.h"
#include "base/mem.h"
#include "format/model_file.h"

static void sign(uint8_t *bytes, size_t size)
{
    if (size < 64 + 3 * 64)
        return;
    for (int s = 0; s < 3; s++) {
        uint8_t *row = bytes + 64 + s * 64;
        uint64_t offset, length;
        memcpy(&offset, row + 8, 8);
        memcpy(&length, row + 16, 8);
        if (offset <= size && length <= size - offset)
            ufi_sha256_of(bytes + offset, length, row + 24);
    }
    memcpy(bytes + 16, &size, 8);
    ufi_sha256_of(bytes + 64, 3 * 64, bytes + 32);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ufi_model_file m;
    uint8_t *copy = malloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    sign(copy, size);
    if (ufi_ufm_load_memory(&m, copy, size, true, NULL) == UF_OK) {
        (void)ufi_graph_infer(&m.graph, 1 << 20, NULL);
        ufi_model_file_free(&m);
    }
    free(copy);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static pb source;
    static uint8_t *bytes;
    static size_t size;
    char path[] = "/tmp/uniface-fuzz-XXXXXX";
    ufi_model_file m;
    if (i > 0)
        return 0;
    if (!bytes) {
        int fd = mkstemp(path);
        onnx_small_network(&source);
        if (fd < 0 || ufi_onnx_import_memory(&m, source.bytes, source.size, true, NULL))
            return 0;
        close(fd);
        if (ufi_ufm_save(&m, path, NULL) || ufi_file_read(&bytes, &size, path, cap, NULL))
            size = 0;
        ufi_model_file_free(&m);
        unlink(path);
    }
    memcpy(out, bytes, size);
    return size;
}
