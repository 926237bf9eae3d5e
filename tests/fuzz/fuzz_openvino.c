/* OpenVINO IR: the XML is fuzzed, the constants stay. */
#include "fuzz.h"

#include "../unit/openvino_maker.h"
#include "format/model_file.h"
#include "fuzz_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ufi_model_file m;
    if (ufi_openvino_import_memory(&m, data, size, ov_bin, sizeof ov_bin, true, NULL) == UF_OK) {
        fuzz_run(&m.graph);
        ufi_model_file_free(&m);
    }
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    const size_t size = sizeof ov_xml - 1;
    if (i > 0)
        return 0;
    memcpy(out, ov_xml, size < cap ? size : cap);
    return size;
}
