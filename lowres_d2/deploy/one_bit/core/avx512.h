/* What both AVX-512 paths do with the counts of 16 outputs. */
#ifndef AVX512_H
#define AVX512_H

#include <immintrin.h>

#include "one_bit.h"

#define AVX512_TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx2,popcnt"

/* Memory of the results is asked for before the counting starts, so that it is there after. */
__attribute__((target(AVX512_TARGET), always_inline)) static inline void prefetch_results(
    const Convolution *c, const Tile *tile, int pixels, int groups) {
    int64_t at = tile->pixel * c->outputs + tile->first_output;
    for (int k = 0; k < pixels; k++, at += c->outputs)
        for (int g = 0; g < groups; g++) {
            if (c->residual) __builtin_prefetch(c->residual + at + g * GROUP, 0, 3);
            if (c->out) __builtin_prefetch(c->out + at + g * GROUP, 1, 3);
        }
}

/* finish_output of 16 outputs at once. */
__attribute__((target(AVX512_TARGET), always_inline)) static inline uint32_t finish_group(
    const Convolution *c, const Tile *tile, int64_t k, int64_t output, __m512i count) {
    int64_t left = c->outputs - output, at = (tile->pixel + k) * c->outputs + output;
    __mmask16 used = left >= GROUP ? 0xffff : (__mmask16)((1u << left) - 1);
    __m512i product = _mm512_sub_epi32(_mm512_loadu_si512(tile->offsets[k] + output),
                                       _mm512_slli_epi32(count, 1));
    __m512 y = _mm512_cvtepi32_ps(product);
    if (c->scale) y = _mm512_mul_ps(y, _mm512_maskz_loadu_ps(used, c->scale + output));
    if (c->shift) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(used, c->shift + output));
    if (c->residual) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(used, c->residual + at));
    if (c->slope) {
        __mmask16 negative = _mm512_cmp_ps_mask(y, _mm512_setzero_ps(), _CMP_LT_OQ);
        y = _mm512_mask_mul_ps(y, negative, y, _mm512_maskz_loadu_ps(used, c->slope + output));
    }
    if (c->offset) y = _mm512_add_ps(y, _mm512_maskz_loadu_ps(used, c->offset + output));
    if (c->out) _mm512_mask_storeu_ps(c->out + at, used, y);
    __m512 threshold = _mm512_setzero_ps();
    if (c->thresholds) threshold = _mm512_maskz_loadu_ps(used, c->thresholds + output);
    return _mm512_mask_cmp_ps_mask(used, y, threshold, _CMP_GE_OQ);
}

/* All groups of a pixel, and their bits. */
__attribute__((target(AVX512_TARGET), always_inline)) static inline void finish_pixel(
    const Convolution *c, const Tile *tile, int k, int groups, const __m512i *counts) {
    uint64_t bits = 0;
#pragma GCC unroll 4
    for (int g = 0; g < groups; g++)
        bits |= (uint64_t)finish_group(c, tile, k, tile->first_output + g * GROUP, counts[g])
                << (g * GROUP);
    if (c->bits) {
        uint32_t *to = c->bits + (tile->bits_pixel + k) * words_of(c->outputs);
        to += tile->first_output / 32;
        to[0] = (uint32_t)bits;
        if (groups > 2) to[1] = (uint32_t)(bits >> 32);
    }
}

#endif
