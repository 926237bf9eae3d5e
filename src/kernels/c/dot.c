/* Inner product: the reference. Four sums, so that the error bound grows with count / 4. */
#include "base/cpu.h"
#include "kernels/topics.h"

static float ufk_dot_f32_c(const float *a, const float *b, size_t count)
{
    float s[4] = {0};
    for (size_t i = 0; i < count; i++)
        s[i % 4] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

void ufk_dot_init(ufk_table *t, uint32_t flags)
{
    t->dot_f32 = ufk_dot_f32_c;
    t->dot_f32_name = "dot_f32_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX512)
        ufk_dot_select_avx512(t);
#endif
}
