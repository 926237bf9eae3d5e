/* The importer, shape rules, constant folding and passes; and a run, when the network is small. */
#include "fuzz.h"

#include "../unit/onnx_maker.h"
#include "format/model_file.h"
#include "fuzz_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ufi_model_file m;
    if (ufi_onnx_import_memory(&m, data, size, true, NULL) == UF_OK) {
        fuzz_run(&m.graph);
        ufi_model_file_free(&m);
    }
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    static pb model;
    if (i > 0)
        return 0;
    onnx_small_network(&model);
    memcpy(out, model.bytes, model.size < cap ? model.size : cap);
    return model.size;
}
