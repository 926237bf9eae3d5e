/*
 * What the processor can do, and how much of it this process may use.
 *
 * A CPUID bit says that the processor knows an instruction, not that the operating system saves its
 * registers: XCR0 is asked too, and for AMX, whose state Linux gives only to processes that ask,
 * the permission is requested (when UNIFACE_CPU does not rule AMX out). All is found out once, at
 * first use.
 */
#include "base/cpu.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

/* X(flag, name, what UNIFACE_CPU=name allows, or 0 when it is no such name), low to high. */
#define GENERATION_LIST(X)                                                                        \
    X(UFI_CPU_AVX2, "avx2", UFI_CPU_AVX2)                                                         \
    X(UFI_CPU_AVX512, "avx512", UFI_CPU_AVX2 | UFI_CPU_AVX512)                                    \
    X(UFI_CPU_AVX512VNNI, "avx512vnni",                                                           \
      UFI_CPU_AVX2 | UFI_CPU_AVX512 | UFI_CPU_AVX512VNNI | UFI_CPU_AVXVNNI)                       \
    X(UFI_CPU_AVXVNNI, "avxvnni", UFI_CPU_AVX2 | UFI_CPU_AVXVNNI)                                 \
    X(UFI_CPU_AVX512BF16, "avx512bf16", 0)                                                        \
    X(UFI_CPU_AVX512FP16, "avx512fp16", 0)                                                        \
    X(UFI_CPU_AMX, "amx",                                                                         \
      UFI_CPU_AVX2 | UFI_CPU_AVX512 | UFI_CPU_AVX512VNNI | UFI_CPU_AVXVNNI | UFI_CPU_AVX512BF16 | \
          UFI_CPU_AVX512FP16 | UFI_CPU_AMX)                                                       \
    X(UFI_CPU_BF16X3, "bf16x3", UINT32_MAX)                                                       \
    X(UFI_CPU_NEON, "neon", UFI_CPU_NEON)                                                         \
    X(UFI_CPU_FP16, "fp16", 0)                                                                    \
    X(UFI_CPU_DOTPROD, "dotprod", UFI_CPU_NEON | UFI_CPU_FP16 | UFI_CPU_DOTPROD)                  \
    X(UFI_CPU_I8MM, "i8mm", UFI_CPU_NEON | UFI_CPU_FP16 | UFI_CPU_DOTPROD | UFI_CPU_I8MM)

static const struct generation {
    uint32_t flag;
    const char *name;
    uint32_t allows;
} generations[] = {
#define GENERATION_ROW(flag, name, allows) {flag, name, allows},
    GENERATION_LIST(GENERATION_ROW)
#undef GENERATION_ROW
};
#define GENERATION_COUNT (sizeof generations / sizeof generations[0])

static pthread_once_t once = PTHREAD_ONCE_INIT; /* guards all below; constant afterwards */
static uint32_t flags_found;
static char mask_error[256];
static char name_found[64];

#if defined(__x86_64__)

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Asks Linux for the AMX tile state; the process's other threads get it too. */
static bool ask_for_amx(void)
{
#if defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM_ = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM_, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

static bool all_set(uint64_t word, uint64_t bits)
{
    return (word & bits) == bits;
}

#define BIT(n) ((uint64_t)1 << (n))

static uint32_t detect_flags(uint32_t allowed)
{
    unsigned a, b, c, d, b7, c7, d7, a71 = 0, max7 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !all_set(c, BIT(27) | BIT(28))) /* OSXSAVE, AVX */
        return 0;
    uint64_t xcr0 = read_xcr0();
    unsigned c1 = c;
    if (!__get_cpuid_count(7, 0, &max7, &b7, &c7, &d7) || !all_set(xcr0, 0x6))
        return 0;
    if (max7 >= 1)
        __get_cpuid_count(7, 1, &a71, &b, &c, &d);

    uint32_t flags = 0;
    if (all_set(b7, BIT(5) | BIT(3) | BIT(8)) && all_set(c1, BIT(12) | BIT(29)))
        flags |= UFI_CPU_AVX2; /* AVX2 BMI1 BMI2, FMA F16C */
    if (!flags)
        return 0;
    if (all_set(a71, BIT(4)))
        flags |= UFI_CPU_AVXVNNI;
    /* F DQ CD BW VL */
    if (!all_set(xcr0, 0xE6) || !all_set(b7, BIT(16) | BIT(17) | BIT(28) | BIT(30) | BIT(31)))
        return flags;
    flags |= UFI_CPU_AVX512;
    /* IFMA; VBMI VBMI2 VNNI BITALG VPOPCNTDQ */
    if (!all_set(b7, BIT(21)) || !all_set(c7, BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14)))
        return flags;
    flags |= UFI_CPU_AVX512VNNI;
    if (all_set(a71, BIT(5)))
        flags |= UFI_CPU_AVX512BF16;
    if (all_set(d7, BIT(23)))
        flags |= UFI_CPU_AVX512FP16;
    /* AMX-BF16 AMX-TILE AMX-INT8, and both tile states in XCR0 */
    if ((allowed & UFI_CPU_AMX) && all_set(xcr0, BIT(17) | BIT(18)) &&
        all_set(d7, BIT(22) | BIT(24) | BIT(25)) && ask_for_amx())
        flags |= UFI_CPU_AMX;
    if (all_set(flags, UFI_CPU_AMX | UFI_CPU_AVX512BF16))
        flags |= UFI_CPU_BF16X3;
    return flags;
}

static void detect_name(void)
{
    unsigned words[12];
    for (unsigned i = 0; i < 3; i++)
        if (!__get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                         &words[4 * i + 3]))
            return;
    char text[sizeof words + 1];
    memcpy(text, words, sizeof words);
    text[sizeof words] = '\0';
    const char *start = text + strspn(text, " ");
    size_t length = strlen(start);
    while (length > 0 && start[length - 1] == ' ')
        length--;
    snprintf(name_found, sizeof name_found, "%.*s", (int)length, start);
}

#elif defined(__aarch64__)

static uint32_t detect_flags(uint32_t allowed)
{
    enum { CAP_ASIMD = 1 << 1, CAP_FPHP = 1 << 9, CAP_ASIMDHP = 1 << 10, CAP_ASIMDDP = 1 << 20 };
    enum { CAP2_I8MM = 1 << 13 };
    unsigned long caps = getauxval(AT_HWCAP), caps2 = getauxval(AT_HWCAP2);
    uint32_t flags = 0;
    if (!(caps & CAP_ASIMD))
        return 0;
    flags |= UFI_CPU_NEON;
    if ((caps & CAP_FPHP) && (caps & CAP_ASIMDHP))
        flags |= UFI_CPU_FP16;
    if (caps & CAP_ASIMDDP)
        flags |= UFI_CPU_DOTPROD;
    if ((caps & CAP_ASIMDDP) && (caps2 & CAP2_I8MM))
        flags |= UFI_CPU_I8MM;
    return flags;
}

static void detect_name(void)
{
}

#else

static uint32_t detect_flags(uint32_t allowed)
{
    return 0;
}

static void detect_name(void)
{
}

#endif

/* The first "model name" of /proc/cpuinfo, or on Arm the numbers of maker and part. */
static void read_cpuinfo_name(void)
{
    FILE *f = fopen("/proc/cpuinfo", "re");
    char line[256], value[64], maker[64] = "";
    while (f && !name_found[0] && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (!colon || sscanf(colon + 1, " %63[^\n]", value) != 1)
            continue;
        if (!strncmp(line, "model name", 10))
            snprintf(name_found, sizeof name_found, "%s", value);
        else if (!strncmp(line, "CPU implementer", 15))
            snprintf(maker, sizeof maker, "%.16s", value);
        else if (!strncmp(line, "CPU part", 8))
            snprintf(name_found, sizeof name_found, "implementer %.16s part %.16s", maker, value);
    }
    if (f)
        fclose(f);
}

/* What UNIFACE_CPU allows; fills mask_error when it names nothing. */
static uint32_t allowed_flags(void)
{
    const char *wanted = getenv("UNIFACE_CPU");
    if (!wanted || !wanted[0])
        return UINT32_MAX;
    if (!strcmp(wanted, "c"))
        return 0;
    for (size_t i = 0; i < GENERATION_COUNT; i++)
        if (generations[i].allows && !strcmp(wanted, generations[i].name))
            return generations[i].allows;
    int n = snprintf(mask_error, sizeof mask_error,
                     "UNIFACE_CPU=%.40s is no instruction set; known are: c", wanted);
    for (size_t i = 0; i < GENERATION_COUNT; i++)
        if (generations[i].allows && n > 0 && (size_t)n < sizeof mask_error)
            n += snprintf(mask_error + n, sizeof mask_error - (size_t)n, ", %s",
                          generations[i].name);
    return UINT32_MAX;
}

static void detect(void)
{
    uint32_t allowed = allowed_flags();
    flags_found = detect_flags(allowed) & allowed;
    detect_name();
    if (!name_found[0])
        read_cpuinfo_name();
    if (!name_found[0])
        snprintf(name_found, sizeof name_found, "unknown %s processor", ufi_cpu_arch());
}

uint32_t ufi_cpu_flags(void)
{
    pthread_once(&once, detect);
    return flags_found;
}

const char *ufi_cpu_mask_error(void)
{
    pthread_once(&once, detect);
    return mask_error[0] ? mask_error : NULL;
}

const char *ufi_cpu_arch(void)
{
#if defined(__x86_64__)
    return "x86-64";
#elif defined(__aarch64__)
    return "aarch64";
#elif defined(__riscv)
    return "riscv";
#else
    return "generic";
#endif
}

const char *ufi_cpu_name(void)
{
    pthread_once(&once, detect);
    return name_found;
}

void ufi_cpu_flags_text(uint32_t flags, char *out, size_t size)
{
    size_t used = 0;
    if (size == 0)
        return;
    out[0] = '\0';
    for (size_t i = 0; i < GENERATION_COUNT; i++) {
        if (!(flags & generations[i].flag))
            continue;
        int n = snprintf(out + used, size - used, "%s%s", used ? " " : "", generations[i].name);
        if (n < 0 || (size_t)n >= size - used) {
            out[used] = '\0'; /* whole names only */
            return;
        }
        used += (size_t)n;
    }
}
