/* AVX2: bits of a nibble from a table of 16 bytes, 8 outputs in the lanes of a register.

   Counts are bytes, which are added up before any of them can be full. */
#include "one_bit.h"

#ifdef ONE_BIT_X86
#include <immintrin.h>

#define TARGET "avx2,popcnt"
#define INLINE __attribute__((target(TARGET), always_inline)) static inline

enum { PIXELS = 4, FLUSH = 31 /* times 8 bits, and a byte is full */ };

INLINE __m256i ones_of_bytes(__m256i x) {
    const __m256i of_nibble =
        _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_and_si256(x, nibble);
    __m256i high = _mm256_and_si256(_mm256_srli_epi32(x, 4), nibble);
    return _mm256_add_epi8(_mm256_shuffle_epi8(of_nibble, low),
                           _mm256_shuffle_epi8(of_nibble, high));
}

INLINE __m256i sum_of_bytes(__m256i bytes) {
    __m256i pairs = _mm256_maddubs_epi16(bytes, _mm256_set1_epi8(1));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

/* finish_output of 8 outputs at once; gives their bits. */
INLINE uint32_t finish_eight(const Convolution *c, const Tile *tile, int64_t k, int64_t output,
                             __m256i count) {
    if (output + 8 > c->outputs) {
        int32_t counts[8];
        uint32_t bits = 0;
        _mm256_storeu_si256((__m256i *)counts, count);
        for (int64_t o = 0; output + o < c->outputs; o++)
            bits |= finish_output(c, tile, k, output + o, counts[o]) << o;
        return bits;
    }
    int64_t at = (tile->pixel + k) * c->outputs + output;
    __m256i offsets = _mm256_loadu_si256((const __m256i *)(tile->offsets[k] + output));
    __m256 y = _mm256_cvtepi32_ps(_mm256_sub_epi32(offsets, _mm256_slli_epi32(count, 1)));
    if (c->scale) y = _mm256_mul_ps(y, _mm256_loadu_ps(c->scale + output));
    if (c->shift) y = _mm256_add_ps(y, _mm256_loadu_ps(c->shift + output));
    if (c->residual) y = _mm256_add_ps(y, _mm256_loadu_ps(c->residual + at));
    if (c->slope) {
        __m256 negative = _mm256_cmp_ps(y, _mm256_setzero_ps(), _CMP_LT_OQ);
        __m256 sloped = _mm256_mul_ps(y, _mm256_loadu_ps(c->slope + output));
        y = _mm256_blendv_ps(y, sloped, negative);
    }
    if (c->offset) y = _mm256_add_ps(y, _mm256_loadu_ps(c->offset + output));
    if (c->out) _mm256_storeu_ps(c->out + at, y);
    __m256 threshold = _mm256_setzero_ps();
    if (c->thresholds) threshold = _mm256_loadu_ps(c->thresholds + output);
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(y, threshold, _CMP_GE_OQ));
}

/* A group of 16 outputs: two registers of each pixel. */
INLINE void count_group(const Convolution *c, const Tile *tile, const int pixels, int64_t group,
                        uint64_t *bits) {
    const __m256i zero = _mm256_setzero_si256();
    const int64_t row_words = c->kernel_x * c->words, pixel_step = tile->pixel_step;
    const int64_t weight_step = tile->groups * GROUP;
    const uint32_t *weights = tile->weights + group * GROUP, *row = tile->input;
    __m256i sums[PIXELS][2];
    for (int k = 0; k < pixels; k++) sums[k][0] = sums[k][1] = zero;
    for (int64_t y = 0; y < c->kernel_y; y++, row += tile->row_step)
        for (int64_t begin = 0; begin < row_words; begin += FLUSH) {
            int64_t end = smaller(row_words, begin + FLUSH);
            __m256i bytes[PIXELS][2];
#pragma GCC unroll 4
            for (int k = 0; k < pixels; k++) bytes[k][0] = bytes[k][1] = zero;
            for (int64_t t = begin; t < end; t++, weights += weight_step) {
                __m256i low = _mm256_loadu_si256((const __m256i *)weights);
                __m256i high = _mm256_loadu_si256((const __m256i *)(weights + 8));
#pragma GCC unroll 4
                for (int k = 0; k < pixels; k++) {
                    __m256i word = _mm256_set1_epi32((int)row[k * pixel_step + t]);
                    bytes[k][0] = _mm256_add_epi8(
                        bytes[k][0], ones_of_bytes(_mm256_xor_si256(word, low)));
                    bytes[k][1] = _mm256_add_epi8(
                        bytes[k][1], ones_of_bytes(_mm256_xor_si256(word, high)));
                }
            }
#pragma GCC unroll 4
            for (int k = 0; k < pixels; k++)
                for (int half = 0; half < 2; half++)
                    sums[k][half] =
                        _mm256_add_epi32(sums[k][half], sum_of_bytes(bytes[k][half]));
        }
    int64_t output = tile->first_output + group * GROUP;
    for (int k = 0; k < pixels; k++)
        for (int half = 0; half < 2; half++)
            if (output + 8 * half < c->outputs)
                bits[k] |= (uint64_t)finish_eight(c, tile, k, output + 8 * half, sums[k][half])
                           << (group * GROUP + 8 * half);
}

INLINE void count_tile(const Convolution *c, const Tile *tile, const int pixels) {
    int64_t at = tile->pixel * c->outputs + tile->first_output;
    for (int k = 0; k < pixels; k++, at += c->outputs)
        for (int64_t group = 0; group < tile->groups; group++) {
            if (c->residual) __builtin_prefetch(c->residual + at + group * GROUP, 0, 3);
            if (c->out) __builtin_prefetch(c->out + at + group * GROUP, 1, 3);
        }
    uint64_t bits[PIXELS] = {0};
    for (int64_t group = 0; group < tile->groups; group++)
        count_group(c, tile, pixels, group, bits);
    if (!c->bits) return;
    for (int k = 0; k < pixels; k++) {
        uint32_t *to = c->bits + (tile->bits_pixel + k) * words_of(c->outputs);
        to += tile->first_output / 32;
        to[0] = (uint32_t)bits[k];
        if (tile->groups > 2) to[1] = (uint32_t)(bits[k] >> 32);
    }
}

__attribute__((target(TARGET))) void avx2_tile(const Convolution *c, const Tile *tile) {
    switch (tile->pixels) {
        case 4: count_tile(c, tile, 4); break;
        case 3: count_tile(c, tile, 3); break;
        case 2: count_tile(c, tile, 2); break;
        default: count_tile(c, tile, 1);
    }
}

INLINE uint32_t bits_of_eight(const float *x, const float *thresholds) {
    __m256 threshold = thresholds ? _mm256_loadu_ps(thresholds) : _mm256_setzero_ps();
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x), threshold, _CMP_GE_OQ));
}

__attribute__((target(TARGET))) void avx2_row(const Packing *p, int64_t row) {
    if (!p->channels_last || p->channels % 32) {
        scalar_row(p, row);
        return;
    }
    uint32_t *bits = packed_row(p, row);
    const float *x = p->x + row * p->width * p->channels;
    for (int64_t column = 0; column < p->width; column++)
        for (int64_t channel = 0; channel < p->channels; channel += 32, x += 32) {
            uint32_t word = 0;
            for (int k = 0; k < 32; k += 8)
                word |= bits_of_eight(x + k, p->thresholds ? p->thresholds + channel + k : NULL)
                        << k;
            *bits++ = word;
        }
}

#endif
