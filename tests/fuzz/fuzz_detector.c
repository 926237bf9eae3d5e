/* Decoding of detectors' outputs: the input is taken as numbers a network might answer. */
#include "fuzz.h"

#include "model/detector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ufi_detector_config config = {.stride_count = 1,
                                               .strides = {32},
                                               .anchors = 1,
                                               .prior_count = 1,
                                               .prior_counts = {1},
                                               .priors = {40},
                                               .variances = {0.1f, 0.2f},
                                               .score = 0.5f,
                                               .nms = 0.3f,
                                               .top = 100};
    ufi_decode_faces *const decoders[] = {ufi_decode_yunet, ufi_decode_scrfd, ufi_decode_ultraface,
                                          ufi_decode_retinaface};
    static float values[16 * 18];
    ufi_candidates c = {0};
    memset(values, 0, sizeof values);
    if (size)
        memcpy(values, data, size < sizeof values ? size : sizeof values);
    const float *p = values;
    ufi_detector_outputs o = {.data = {p, p + 16, p + 32, p + 96, p + 256},
                              .rows = {16, 16, 16, 16, 16},
                              .columns = {1, 1, 4, 10, 2},
                              .count = 5,
                              .width = 128,
                              .height = 128};
    for (size_t d = 0; d < 4; d++) {
        c.count = 0;
        (void)decoders[d](&config, &o, &c, NULL);
        ufi_candidates_suppress(&c, 0.3f, 100);
    }
    ufi_candidates_free(&c);
    return 0;
}

size_t seeds(size_t i, uint8_t *out, size_t cap)
{
    float values[16 * 18];
    if (i > 1)
        return 0;
    for (size_t k = 0; k < 16 * 18; k++)
        values[k] = i ? (float)(k % 7) * 0.3f : 0.9f;
    memcpy(out, values, sizeof values < cap ? sizeof values : cap);
    return sizeof values;
}
