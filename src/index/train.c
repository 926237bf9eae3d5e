/* The lists of an inverted file. */
#include "index/index.h"

uint32_t ufi_index_nearest_list(const uf_index *x, const float *rotated)
{
    uint32_t best = 0;
    float largest = -2;
    for (uint32_t i = 0; i < x->lists; i++) {
        const float dot = x->kernels->dot_f32(x->centre + (size_t)i * x->width, rotated, x->width);
        if (dot > largest) {
            largest = dot;
            best = i;
        }
    }
    return best;
}
