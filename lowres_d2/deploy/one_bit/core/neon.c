/* NEON: it counts the bits of bytes; 4 outputs in the lanes of a register.

   Counts are bytes, which are added up before any of them can be full. */
#include "one_bit.h"

#ifdef ONE_BIT_ARM
#include <arm_neon.h>

#define INLINE __attribute__((always_inline)) static inline

enum { PIXELS = 4, QUADS = 4, FLUSH = 31 /* times 8 bits, and a byte is full */ };

/* finish_output of 4 outputs at once; gives their bits. */
INLINE uint32_t finish_four(const Convolution *c, const Tile *tile, int64_t k, int64_t output,
                            uint32x4_t count) {
    if (output + 4 > c->outputs) {
        uint32_t counts[4], bits = 0;
        vst1q_u32(counts, count);
        for (int64_t o = 0; output + o < c->outputs; o++)
            bits |= finish_output(c, tile, k, output + o, (int32_t)counts[o]) << o;
        return bits;
    }
    int64_t at = (tile->pixel + k) * c->outputs + output;
    int32x4_t twice = vreinterpretq_s32_u32(vshlq_n_u32(count, 1));
    float32x4_t y = vcvtq_f32_s32(vsubq_s32(vld1q_s32(tile->offsets[k] + output), twice));
    if (c->scale) y = vmulq_f32(y, vld1q_f32(c->scale + output));
    if (c->shift) y = vaddq_f32(y, vld1q_f32(c->shift + output));
    if (c->residual) y = vaddq_f32(y, vld1q_f32(c->residual + at));
    if (c->slope)
        y = vbslq_f32(vcltzq_f32(y), vmulq_f32(y, vld1q_f32(c->slope + output)), y);
    if (c->offset) y = vaddq_f32(y, vld1q_f32(c->offset + output));
    if (c->out) vst1q_f32(c->out + at, y);
    float32x4_t threshold = vdupq_n_f32(0);
    if (c->thresholds) threshold = vld1q_f32(c->thresholds + output);
    const uint32x4_t worth = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vcgeq_f32(y, threshold), worth));
}

/* A group of 16 outputs: four registers of each pixel. */
INLINE void count_group(const Convolution *c, const Tile *tile, const int pixels, int64_t group,
                        uint64_t *bits) {
    const int64_t row_words = c->kernel_x * c->words, pixel_step = tile->pixel_step;
    const int64_t weight_step = tile->groups * GROUP;
    const uint32_t *weights = tile->weights + group * GROUP, *row = tile->input;
    uint32x4_t sums[PIXELS][QUADS];
    for (int k = 0; k < pixels; k++)
        for (int q = 0; q < QUADS; q++) sums[k][q] = vdupq_n_u32(0);
    for (int64_t y = 0; y < c->kernel_y; y++, row += tile->row_step)
        for (int64_t begin = 0; begin < row_words; begin += FLUSH) {
            int64_t end = smaller(row_words, begin + FLUSH);
            uint8x16_t bytes[PIXELS][QUADS];
#pragma GCC unroll 4
            for (int k = 0; k < pixels; k++)
#pragma GCC unroll 4
                for (int q = 0; q < QUADS; q++) bytes[k][q] = vdupq_n_u8(0);
            for (int64_t t = begin; t < end; t++, weights += weight_step) {
#pragma GCC unroll 4
                for (int k = 0; k < pixels; k++) {
                    uint32x4_t word = vdupq_n_u32(row[k * pixel_step + t]);
#pragma GCC unroll 4
                    for (int q = 0; q < QUADS; q++) {
                        uint32x4_t unequal = veorq_u32(word, vld1q_u32(weights + 4 * q));
                        uint8x16_t ones = vcntq_u8(vreinterpretq_u8_u32(unequal));
                        bytes[k][q] = vaddq_u8(bytes[k][q], ones);
                    }
                }
            }
#pragma GCC unroll 4
            for (int k = 0; k < pixels; k++)
#pragma GCC unroll 4
                for (int q = 0; q < QUADS; q++)
                    sums[k][q] = vpadalq_u16(sums[k][q], vpaddlq_u8(bytes[k][q]));
        }
    int64_t output = tile->first_output + group * GROUP;
    for (int k = 0; k < pixels; k++)
        for (int q = 0; q < QUADS; q++)
            if (output + 4 * q < c->outputs)
                bits[k] |= (uint64_t)finish_four(c, tile, k, output + 4 * q, sums[k][q])
                           << (group * GROUP + 4 * q);
}

INLINE void count_tile(const Convolution *c, const Tile *tile, const int pixels) {
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

void neon_tile(const Convolution *c, const Tile *tile) {
    switch (tile->pixels) {
        case 4: count_tile(c, tile, 4); break;
        case 3: count_tile(c, tile, 3); break;
        case 2: count_tile(c, tile, 2); break;
        default: count_tile(c, tile, 1);
    }
}

void neon_row(const Packing *p, int64_t row) {
    if (!p->channels_last || p->channels % 32) {
        scalar_row(p, row);
        return;
    }
    const uint32x4_t worth = {1, 2, 4, 8};
    uint32_t *bits = packed_row(p, row);
    const float *x = p->x + row * p->width * p->channels;
    for (int64_t column = 0; column < p->width; column++)
        for (int64_t channel = 0; channel < p->channels; channel += 32) {
            uint32_t word = 0;
            for (int k = 0; k < 32; k += 4, x += 4) {
                float32x4_t threshold = vdupq_n_f32(0);
                if (p->thresholds) threshold = vld1q_f32(p->thresholds + channel + k);
                uint32x4_t ones = vcgeq_f32(vld1q_f32(x), threshold);
                word |= vaddvq_u32(vandq_u32(ones, worth)) << k;
            }
            *bits++ = word;
        }
}

#endif
