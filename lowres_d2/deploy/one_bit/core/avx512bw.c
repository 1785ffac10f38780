/* AVX-512 without a popcount instruction: bits of a nibble from a table of 16 bytes.

   A count by tables takes eight instructions, so most words go through full adders of three
   bits, which are two ternary-logic instructions each: of four words and what is left of
   earlier ones, only the fours are counted, and at the end the ones and twos that are left. */
#include "one_bit.h"

#ifdef ONE_BIT_X86
#include "avx512.h"

#define INLINE __attribute__((target(AVX512_TARGET), always_inline)) static inline

enum { FLUSH = 31, /* times 8 bits, and a byte is full */ SUM = 0x96, CARRY = 0xe8 };

INLINE __m512i ones_of_bytes(__m512i x) {
    const __m512i of_nibble = _mm512_broadcast_i32x4(
        _mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i low = _mm512_and_si512(x, nibble);
    __m512i high = _mm512_and_si512(_mm512_srli_epi32(x, 4), nibble);
    return _mm512_add_epi8(_mm512_shuffle_epi8(of_nibble, low),
                           _mm512_shuffle_epi8(of_nibble, high));
}

INLINE __m512i sum_of_bytes(__m512i bytes) {
    __m512i pairs = _mm512_maddubs_epi16(bytes, _mm512_set1_epi8(1));
    return _mm512_madd_epi16(pairs, _mm512_set1_epi16(1));
}

/* Adds the bits of x to those of sum; gives the carry. */
INLINE __m512i add_bits(__m512i *sum, __m512i x, __m512i y) {
    __m512i carry = _mm512_ternarylogic_epi32(*sum, x, y, CARRY);
    *sum = _mm512_ternarylogic_epi32(*sum, x, y, SUM);
    return carry;
}

enum { PIXELS = 4, PAIR = 2 /* groups at a time: eight counts of three registers each */ };

/* What is counted of an output of a pixel: bits worth 1, bits worth 2, bytes worth 4. */
typedef struct {
    __m512i ones, twos, fours;
} Count;

/* Up to four words of all pixels and groups; `number` is a constant where this is inlined. */
INLINE void add_words(Count (*counts)[PAIR], const uint32_t *words, int64_t pixel_step,
                      const uint32_t *weights, int64_t weight_step, const int pixels,
                      const int groups, const int number) {
    const __m512i zero = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (int g = 0; g < groups; g++) {
        __m512i of_weights[4];
#pragma GCC unroll 4
        for (int n = 0; n < number; n++)
            of_weights[n] = _mm512_loadu_si512(weights + n * weight_step + g * GROUP);
#pragma GCC unroll 4
        for (int k = 0; k < pixels; k++) {
            __m512i unequal[4] = {zero, zero, zero, zero};
#pragma GCC unroll 4
            for (int n = 0; n < number; n++) {
                __m512i word = _mm512_set1_epi32((int)words[k * pixel_step + n]);
                unequal[n] = _mm512_xor_si512(word, of_weights[n]);
            }
            Count *count = &counts[k][g];
            __m512i first = add_bits(&count->ones, unequal[0], unequal[1]);
            __m512i second = zero;
            if (number > 2) second = add_bits(&count->ones, unequal[2], unequal[3]);
            __m512i four = add_bits(&count->twos, first, second);
            count->fours = _mm512_add_epi8(count->fours, ones_of_bytes(four));
        }
    }
}

INLINE void count_pair(const Convolution *c, const Tile *tile, const int pixels, const int groups,
                       const int first, __m512i (*sums)[BLOCK / GROUP]) {
    const __m512i zero = _mm512_setzero_si512();
    const int64_t row_words = c->kernel_x * c->words, pixel_step = tile->pixel_step;
    const int64_t step = tile->groups * GROUP;
    const uint32_t *weights = tile->weights + first * GROUP, *row = tile->input;
    Count counts[PIXELS][PAIR];
#pragma GCC unroll 4
    for (int k = 0; k < pixels; k++)
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++) {
            counts[k][g] = (Count){zero, zero, zero};
            sums[k][first + g] = zero;
        }
    int room = FLUSH;
    for (int64_t y = 0; y < c->kernel_y; y++, row += tile->row_step)
        for (int64_t t = 0; t < row_words; t += 4, weights += 4 * step) {
            int64_t left = row_words - t;
            if (left >= 4) {
                add_words(counts, row + t, pixel_step, weights, step, pixels, groups, 4);
            } else {
                if (left == 3)
                    add_words(counts, row + t, pixel_step, weights, step, pixels, groups, 3);
                else if (left == 2)
                    add_words(counts, row + t, pixel_step, weights, step, pixels, groups, 2);
                else
                    add_words(counts, row + t, pixel_step, weights, step, pixels, groups, 1);
                weights -= (4 - left) * step;
            }
            if (--room) continue;
            room = FLUSH;
#pragma GCC unroll 4
            for (int k = 0; k < pixels; k++)
#pragma GCC unroll 2
                for (int g = 0; g < groups; g++) {
                    sums[k][first + g] =
                        _mm512_add_epi32(sums[k][first + g], sum_of_bytes(counts[k][g].fours));
                    counts[k][g].fours = zero;
                }
        }
#pragma GCC unroll 4
    for (int k = 0; k < pixels; k++)
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++) {
            __m512i fours = sum_of_bytes(counts[k][g].fours);
            __m512i twos = ones_of_bytes(counts[k][g].twos);
            __m512i small = _mm512_add_epi8(ones_of_bytes(counts[k][g].ones),
                                            _mm512_add_epi8(twos, twos));
            fours = _mm512_add_epi32(fours, sums[k][first + g]);
            sums[k][first + g] =
                _mm512_add_epi32(_mm512_slli_epi32(fours, 2), sum_of_bytes(small));
        }
}

INLINE void count_tile(const Convolution *c, const Tile *tile, const int pixels) {
    const int groups = (int)tile->groups;
    prefetch_results(c, tile, pixels, groups);
    __m512i sums[PIXELS][BLOCK / GROUP];
    int first = 0;
    for (; first + PAIR <= groups; first += PAIR) count_pair(c, tile, pixels, PAIR, first, sums);
    if (first < groups) count_pair(c, tile, pixels, 1, first, sums);
    for (int k = 0; k < pixels; k++) finish_pixel(c, tile, k, groups, sums[k]);
}

__attribute__((target(AVX512_TARGET))) void avx512bw_tile(const Convolution *c, const Tile *tile) {
    switch (tile->pixels) {
        case 4: count_tile(c, tile, 4); break;
        case 3: count_tile(c, tile, 3); break;
        case 2: count_tile(c, tile, 2); break;
        default: count_tile(c, tile, 1);
    }
}

#endif
