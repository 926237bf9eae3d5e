/* Inner products: the references. FP32 has four sums, so that the error bound grows with count / 4.
 */
#include "base/cpu.h"
#include "kernels/topics.h"

static float ufk_dot_f32_c(const float *a, const float *b, size_t count)
{
    float s[4] = {0};
    for (size_t i = 0; i < count; i++)
        s[i % 4] += a[i] * b[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static void ufk_dot_i8_c(int32_t *out, const int8_t *probe, const int8_t *const *codes,
                         size_t count, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        int32_t sum = 0;
        for (size_t k = 0; k < n; k++)
            sum += probe[k] * codes[i][k];
        out[i] = sum;
    }
}

void ufk_dot_init(ufk_table *t, uint32_t flags)
{
    t->dot_f32 = ufk_dot_f32_c;
    t->dot_f32_name = "dot_f32_c";
    t->dot_i8 = ufk_dot_i8_c;
    t->dot_i8_name = "dot_i8_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_dot_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_dot_select_avx512(t);
    if (flags & UFI_CPU_AVX512VNNI)
        ufk_dot_select_avx512vnni(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_dot_select_neon(t);
    if (flags & UFI_CPU_DOTPROD)
        ufk_dot_select_dotprod(t);
#endif
}
