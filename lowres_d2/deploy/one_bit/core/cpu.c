/* Which of the instruction sets this processor has and this operating system keeps. */
#include "one_bit.h"

#ifdef ONE_BIT_X86
#include <cpuid.h>

enum {
    FMA = 1 << 12, POPCNT = 1 << 23, OSXSAVE = 1 << 27, AVX = 1 << 28, /* leaf 1, ecx */
    HAS_AVX2 = 1 << 5, AVX512F = 1 << 16, AVX512DQ = 1 << 17, /* leaf 7, ebx */
    HAS_AVX512BW = 1 << 30,
    HAS_VPOPCNTDQ = 1 << 14, /* leaf 7, ecx */
    YMM_STATE = 0x6, ZMM_STATE = 0xe6 /* of XCR0: registers that are saved when threads change */
};
#define AVX512VL (1u << 31)
#endif

/* A bit for each path. A processor's flag alone is not enough: a kernel that does not
   save the wide registers would let threads overwrite each other's. */
int64_t one_bit_supported_by(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_ecx,
                             uint64_t xcr0) {
    int64_t found = 1 << SCALAR;
#ifdef ONE_BIT_X86
    uint32_t avx512 = AVX512F | AVX512DQ | HAS_AVX512BW | AVX512VL;
    uint32_t avx = FMA | POPCNT | AVX;
    if ((leaf1_ecx & avx) == avx && (leaf7_ebx & HAS_AVX2) && (xcr0 & YMM_STATE) == YMM_STATE) {
        found |= 1 << AVX2;
        if ((leaf7_ebx & avx512) == avx512 && (xcr0 & ZMM_STATE) == ZMM_STATE) {
            found |= 1 << AVX512BW;
            if (leaf7_ecx & HAS_VPOPCNTDQ) found |= 1 << VPOPCNTDQ;
        }
    }
#else
    (void)leaf1_ecx, (void)leaf7_ebx, (void)leaf7_ecx, (void)xcr0;
#endif
    return found;
}

int64_t one_bit_supported(void) {
#if defined(ONE_BIT_X86)
    uint32_t a, b, c, d, leaf1_ecx = 0, leaf7_ebx = 0, leaf7_ecx = 0;
    uint64_t xcr0 = 0;
    if (__get_cpuid(1, &a, &b, &c, &d)) leaf1_ecx = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) leaf7_ebx = b, leaf7_ecx = c;
    if (leaf1_ecx & OSXSAVE) {
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        xcr0 = (uint64_t)high << 32 | low;
    }
    return one_bit_supported_by(leaf1_ecx, leaf7_ebx, leaf7_ecx, xcr0);
#elif defined(ONE_BIT_ARM)
    return 1 << SCALAR | 1 << NEON; /* every 64-bit ARM has it */
#else
    return 1 << SCALAR;
#endif
}
