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

void ufk_dot_many_pack(int8_t *packed, size_t i, const int8_t *probe, size_t n)
{
    for (size_t k = 0; k < n; k++)
        packed[(k / 4 * UFK_DOT_PROBES + i) * 4 + k % 4] = probe[k];
}

static size_t ufk_dot_many_i8_c(const ufk_dot_many_args *a)
{
    size_t count = 0;
    for (uint32_t c = 0; c < a->count; c++)
        for (uint32_t p = 0; p < UFK_DOT_PROBES; p++) {
            int32_t sum = 0;
            for (size_t k = 0; k < a->n; k++)
                sum += a->codes[c * a->n + k] * a->probes[(k / 4 * UFK_DOT_PROBES + p) * 4 + k % 4];
            if ((float)sum * a->steps[c] >= a->bounds[p])
                a->out[count++] = (ufk_near){c, p, sum};
        }
    return count;
}

void ufk_dot_init(ufk_table *t, uint32_t flags)
{
    t->dot_f32 = ufk_dot_f32_c;
    t->dot_f32_name = "dot_f32_c";
    t->dot_i8 = ufk_dot_i8_c;
    t->dot_i8_name = "dot_i8_c";
    t->dot_many_i8 = ufk_dot_many_i8_c;
    t->dot_many_pays = false;
    t->dot_many_name = "dot_many_i8_c";
#if defined(__x86_64__)
    if (flags & UFI_CPU_AVX2)
        ufk_dot_select_avx2(t);
    if (flags & UFI_CPU_AVX512)
        ufk_dot_select_avx512(t);
    if (flags & UFI_CPU_AVX512VNNI)
        ufk_dot_select_avx512vnni(t);
    if (flags & UFI_CPU_AMX)
        ufk_dot_select_amx(t);
#elif defined(__aarch64__)
    if (flags & UFI_CPU_NEON)
        ufk_dot_select_neon(t);
    if (flags & UFI_CPU_DOTPROD)
        ufk_dot_select_dotprod(t);
#endif
}
