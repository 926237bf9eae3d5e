/* How the 512-bit kernels are made of pieces: inlined always, unrolled fully. Floor 2. */
#ifndef UFK_X86_INLINE_H
#define UFK_X86_INLINE_H

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

#endif
