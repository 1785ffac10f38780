/* Packing by AVX-512: a comparison of 16 numbers gives 16 bits. */
#include "one_bit.h"

#ifdef ONE_BIT_X86
#include "avx512.h"

#define TARGET __attribute__((target(AVX512_TARGET)))

TARGET static inline uint32_t bits_of_16(const float *x, const float *thresholds, int64_t number) {
    __mmask16 used = number >= 16 ? 0xffff : (__mmask16)((1u << number) - 1);
    __m512 threshold = _mm512_setzero_ps();
    if (thresholds) threshold = _mm512_maskz_loadu_ps(used, thresholds);
    return _mm512_mask_cmp_ps_mask(used, _mm512_maskz_loadu_ps(used, x), threshold, _CMP_GE_OQ);
}

/* Channels side by side: two comparisons are a word. */
TARGET static void pack_pixels(const Packing *p, const float *x, uint32_t *bits) {
    int64_t whole = p->channels / 32, rest = p->channels % 32;
    const float *thresholds = p->thresholds;
    const __m512 zero = _mm512_setzero_ps();
    for (int64_t column = 0; column < p->width; column++, x += p->channels) {
        for (int64_t word = 0; word < whole; word++) {
            const float *from = x + 32 * word, *at = thresholds + 32 * word;
            __m512 low = thresholds ? _mm512_loadu_ps(at) : zero;
            __m512 high = thresholds ? _mm512_loadu_ps(at + 16) : zero;
            uint32_t first = _mm512_cmp_ps_mask(_mm512_loadu_ps(from), low, _CMP_GE_OQ);
            uint32_t second = _mm512_cmp_ps_mask(_mm512_loadu_ps(from + 16), high, _CMP_GE_OQ);
            *bits++ = first | second << 16;
        }
        if (rest) {
            const float *from = x + 32 * whole, *at = thresholds ? thresholds + 32 * whole : NULL;
            uint32_t word = bits_of_16(from, at, rest);
            if (rest > 16)
                word |= bits_of_16(from + 16, at ? at + 16 : NULL, rest - 16) << 16;
            *bits++ = word;
        }
    }
}

/* Pixels side by side: 16 of them gain a bit with each channel. */
TARGET static void pack_planes(const Packing *p, const float *x, uint32_t *bits) {
    int64_t words = words_of(p->channels), plane = p->height * p->width;
    for (int64_t first = 0; first < p->channels; first += 32)
        for (int64_t column = 0; column < p->width; column += 16) {
            int64_t pixels = smaller(16, p->width - column);
            __mmask16 used = (__mmask16)((1u << pixels) - 1);
            __m512i gained = _mm512_setzero_si512(), bit = _mm512_set1_epi32(1);
            int64_t end = smaller(p->channels, first + 32);
            for (int64_t channel = first; channel < end; channel++) {
                float threshold = p->thresholds ? p->thresholds[channel] : 0.0f;
                __m512 of_pixels = _mm512_maskz_loadu_ps(used, x + channel * plane + column);
                __mmask16 ones =
                    _mm512_cmp_ps_mask(of_pixels, _mm512_set1_ps(threshold), _CMP_GE_OQ);
                gained = _mm512_mask_or_epi32(gained, ones, gained, bit);
                bit = _mm512_slli_epi32(bit, 1);
            }
            uint32_t of_pixels[16];
            _mm512_storeu_si512(of_pixels, gained);
            for (int64_t k = 0; k < pixels; k++)
                bits[(column + k) * words + first / 32] = of_pixels[k];
        }
}

TARGET void avx512_row(const Packing *p, int64_t row) {
    int64_t image = row / p->height, y = row % p->height, plane = p->height * p->width;
    const float *x = p->x + image * p->channels * plane;
    if (p->channels_last)
        pack_pixels(p, x + y * p->width * p->channels, packed_row(p, row));
    else
        pack_planes(p, x + y * p->width, packed_row(p, row));
}

#endif
