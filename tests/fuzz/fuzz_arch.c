/* Descriptions of networks: what is built has known outputs and no more weights than the limit. */
#define FUZZ_RUNS 4000
#include "fuzz.h"

#include "train/arch_impl.h"

static const char *const texts[] = {
    "input 32 32 mean=127.5 scale=0.0078125 align=arcface\n"
    "conv 16 k=3 s=2 act=prelu # first\n"
    "bottleneck 24 expand=2 s=2 se=4 act=relu6 repeat=2\n"
    "ghost 24 act=hswish\ntag a\nresidual 24 act=silu\nadd a\n"
    "separable 16\ndepthwise k=map\nlinear 32 bn=no\noutput embedding\n",
    "input 64 64 order=bgr detector=yunet\nconv 8 k=3 s=2 act=relu\npool max\ntag p8\n"
    "pool max k=3 s=2\nupsample 2\nconcat p8\nnorm\nhead 4 box\nfrom p8\n"
    "head 1 cls act=sigmoid\nfrom p8\npool mean\noutput mean\n",
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ufi_model_file m;
    char *text = malloc(size + 1);
    if (!text)
        abort();
    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    if (!ufi_arch_build_text(&m, "fuzz.txt", text, size % 3 ? 1 : 0.5, 1, NULL)) {
        int64_t weights = 0;
        for (uint32_t i = 0; i < m.graph.value_count; i++)
            if (m.graph.values[i].data && m.graph.values[i].dtype == UF_F32)
                weights += ufi_shape_count(&m.graph.values[i].shape);
        if (weights > UFI_ARCH_MAX_WEIGHTS || !m.graph.output_count)
            abort();
        for (uint32_t i = 0; i < m.graph.output_count; i++)
            if (!m.graph.values[m.graph.outputs[i]].has_shape)
                abort();
        ufi_model_file_free(&m);
    }
    free(text);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    if (i >= sizeof texts / sizeof *texts || cap < strlen(texts[i]))
        return 0;
    memcpy(out, texts[i], strlen(texts[i]));
    return strlen(texts[i]);
}
