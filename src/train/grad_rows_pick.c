/* Which of the builds of grad_rows.c this machine runs. */
#include "base/cpu.h"
#include "train/grad_rows.h"

extern const ufi_rows ufi_rows_base;
#ifdef UFI_ROWS_X86
extern const ufi_rows ufi_rows_avx2, ufi_rows_avx512;
#endif

const ufi_rows *ufi_rows_pick(void)
{
#ifdef UFI_ROWS_X86
    if (ufi_cpu_flags() & UFI_CPU_AVX512)
        return &ufi_rows_avx512;
    if (ufi_cpu_flags() & UFI_CPU_AVX2)
        return &ufi_rows_avx2;
#endif
    return &ufi_rows_base;
}
