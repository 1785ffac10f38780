/* AVX-512 with a popcount instruction: 16 outputs in the lanes of a register.

   A tile of 6 pixels and 64 outputs keeps its 24 counts in registers; each weight is loaded
   once for 6 pixels, each word of the input once for 64 outputs. */
#include "one_bit.h"

#ifdef ONE_BIT_X86
#include "avx512.h"

#define TARGET target(AVX512_TARGET ",avx512vpopcntdq")

__attribute__((TARGET, always_inline)) static inline void count_tile(const Convolution *c,
                                                                     const Tile *tile,
                                                                     const int pixels,
                                                                     const int groups) {
    prefetch_results(c, tile, pixels, groups);
    __m512i counts[MOST_PIXELS][BLOCK / GROUP];
#pragma GCC unroll 6
    for (int k = 0; k < pixels; k++)
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) counts[k][g] = _mm512_setzero_si512();
    const int64_t row_words = c->kernel_x * c->words, pixel_step = tile->pixel_step;
    const uint32_t *weights = tile->weights, *row = tile->input;
    for (int64_t y = 0; y < c->kernel_y; y++, row += tile->row_step)
        for (int64_t t = 0; t < row_words; t++, weights += groups * GROUP) {
            __m512i of_weights[BLOCK / GROUP];
#pragma GCC unroll 4
            for (int g = 0; g < groups; g++)
                of_weights[g] = _mm512_loadu_si512(weights + g * GROUP);
#pragma GCC unroll 6
            for (int k = 0; k < pixels; k++) {
                __m512i word = _mm512_set1_epi32((int)row[k * pixel_step + t]);
#pragma GCC unroll 4
                for (int g = 0; g < groups; g++) {
                    __m512i unequal = _mm512_xor_si512(word, of_weights[g]);
                    counts[k][g] =
                        _mm512_add_epi32(counts[k][g], _mm512_popcnt_epi32(unequal));
                }
            }
        }
#pragma GCC unroll 6
    for (int k = 0; k < pixels; k++) finish_pixel(c, tile, k, groups, counts[k]);
}

#define OF_PIXELS(N)                                                                       \
    __attribute__((TARGET)) static void tile_of_##N(const Convolution *c, const Tile *tile) { \
        switch (tile->groups) {                                                            \
            case 4: count_tile(c, tile, N, 4); break;                                      \
            case 3: count_tile(c, tile, N, 3); break;                                      \
            case 2: count_tile(c, tile, N, 2); break;                                      \
            default: count_tile(c, tile, N, 1);                                            \
        }                                                                                  \
    }

OF_PIXELS(1)
OF_PIXELS(2)
OF_PIXELS(3)
OF_PIXELS(4)
OF_PIXELS(5)
OF_PIXELS(6)

void vpopcntdq_tile(const Convolution *c, const Tile *tile) {
    static TileFunction *const of_pixels[] = {tile_of_1, tile_of_2, tile_of_3,
                                              tile_of_4, tile_of_5, tile_of_6};
    of_pixels[tile->pixels - 1](c, tile);
}

#endif
