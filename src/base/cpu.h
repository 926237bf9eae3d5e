/*
 * CPU features as one word of flags, one flag per generation of CPUs rather than per CPUID bit:
 * kernels are written for a generation. A flag is set only when the operating system saves the
 * registers too (XCR0). Floor 1. Thread: any.
 */
#ifndef UFI_BASE_CPU_H
#define UFI_BASE_CPU_H

#include <stddef.h>
#include <stdint.h>

typedef enum ufi_cpu_flag {
    UFI_CPU_AVX2 = 1u << 0,       /* AVX2, FMA, F16C, BMI2 */
    UFI_CPU_AVX512 = 1u << 1,     /* F, BW, DQ, VL, CD (Skylake-X) */
    UFI_CPU_AVX512VNNI = 1u << 2, /* VNNI, VBMI, VBMI2, BITALG, VPOPCNTDQ, IFMA (Ice Lake) */
    UFI_CPU_AVXVNNI = 1u << 3,    /* VEX-coded VNNI (Alder Lake) */
    UFI_CPU_AVX512BF16 = 1u << 4,
    UFI_CPU_AVX512FP16 = 1u << 5,
    UFI_CPU_AMX = 1u << 6,    /* AMX-TILE, AMX-INT8, AMX-BF16 and the kernel's permission */
    UFI_CPU_BF16X3 = 1u << 7, /* no instructions: FP32 may be computed as sums of BF16 on AMX */
    UFI_CPU_NEON = 1u << 8,
    UFI_CPU_DOTPROD = 1u << 9,
    UFI_CPU_I8MM = 1u << 10,
    UFI_CPU_FP16 = 1u << 11
} ufi_cpu_flag;

/* What this machine has, cut down by the environment variable UNIFACE_CPU, which names the
 * highest generation allowed: c, avx2, avxvnni, avx512, avx512vnni, amx (and FP32 by FP32
 * instructions), bf16x3 (all that x86 has), neon, dotprod, i8mm. An
 * unknown name is reported by ufi_cpu_mask_error. Read once, at first use. */
uint32_t ufi_cpu_flags(void);
/* NULL, or a sentence that says that UNIFACE_CPU names nothing known and lists what is. */
const char *ufi_cpu_mask_error(void);
/* "x86-64", "aarch64", ... */
const char *ufi_cpu_arch(void);
/* The processor's name as the system gives it; never NULL. */
const char *ufi_cpu_name(void);
/* "avx2 avx512 avx512vnni": the names of `flags`, separated by spaces, into `out`. */
void ufi_cpu_flags_text(uint32_t flags, char *out, size_t size);
/* Cores this process may run on (affinity and cgroup quota counted), at least 1. */
unsigned ufi_cpu_count(void);
/* Cache sizes in bytes for one core (L1 data, L2) and the L3 it sees; guesses where the system
 * does not tell: 32 KiB, 512 KiB, 8 MiB. */
size_t ufi_cpu_cache_bytes(unsigned level);

#endif
