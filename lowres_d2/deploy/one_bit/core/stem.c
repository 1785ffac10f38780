/* The real-valued first layer: convolution, bias, PReLU and max pooling in one pass.

   Its output before the pooling is four times as large as after it, and would cost more to write and
   read than to compute: here three of its rows are kept at a time. */
#include <stdlib.h>
#include <string.h>

#include "one_bit.h"

enum { ROWS_OF_ITEM = 16 /* of the output: the first of them computes a row again */ };

#ifdef ONE_BIT_X86
#include <immintrin.h>

#define INLINE_512 __attribute__((target("avx512f"), always_inline)) static inline
#define INLINE_256 __attribute__((target("avx2,fma"), always_inline)) static inline

/* Some pixels of a row, 16 times `groups` outputs of each. */
INLINE_512 void tile_512(const Stem *s, const float *input, int64_t output, float *to,
                         const int pixels, const int groups) {
    const int64_t row = s->padded_width * s->channels, step = s->stride * s->channels;
    const int64_t window = s->kernel * s->channels;
    const float *weights = s->weights + output;
    __m512 sums[MOST_PIXELS][4];
#pragma GCC unroll 6
    for (int k = 0; k < pixels; k++)
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) sums[k][g] = _mm512_loadu_ps(s->bias + output + 16 * g);
    for (int64_t y = 0; y < s->kernel; y++, input += row)
        for (int64_t t = 0; t < window; t++, weights += s->outputs) {
            __m512 of_weights[4];
#pragma GCC unroll 4
            for (int g = 0; g < groups; g++) of_weights[g] = _mm512_loadu_ps(weights + 16 * g);
#pragma GCC unroll 6
            for (int k = 0; k < pixels; k++) {
                __m512 value = _mm512_set1_ps(input[k * step + t]);
#pragma GCC unroll 4
                for (int g = 0; g < groups; g++)
                    sums[k][g] = _mm512_fmadd_ps(value, of_weights[g], sums[k][g]);
            }
        }
#pragma GCC unroll 6
    for (int k = 0; k < pixels; k++)
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) {
            __mmask16 negative = _mm512_cmp_ps_mask(sums[k][g], _mm512_setzero_ps(), _CMP_LT_OQ);
            __m512 slope = _mm512_loadu_ps(s->slope + output + 16 * g);
            __m512 y = _mm512_mask_mul_ps(sums[k][g], negative, sums[k][g], slope);
            _mm512_storeu_ps(to + k * s->outputs + output + 16 * g, y);
        }
}

INLINE_512 void groups_512(const Stem *s, const float *input, float *to, const int pixels) {
    int64_t output = 0;
    for (; output + 64 <= s->outputs; output += 64) tile_512(s, input, output, to, pixels, 4);
    for (; output < s->outputs; output += 16) tile_512(s, input, output, to, pixels, 1);
}

__attribute__((target("avx512f"))) static void tile_of_512(const Stem *s, const float *input,
                                                           float *to, int64_t pixels) {
    switch (pixels) {
        case 6: groups_512(s, input, to, 6); break;
        case 5: groups_512(s, input, to, 5); break;
        case 4: groups_512(s, input, to, 4); break;
        case 3: groups_512(s, input, to, 3); break;
        case 2: groups_512(s, input, to, 2); break;
        default: groups_512(s, input, to, 1);
    }
}

INLINE_256 void tile_256(const Stem *s, const float *input, int64_t output, float *to,
                         const int pixels) {
    const int64_t row = s->padded_width * s->channels, step = s->stride * s->channels;
    const int64_t window = s->kernel * s->channels;
    const float *weights = s->weights + output;
    __m256 sums[MOST_PIXELS][2];
#pragma GCC unroll 6
    for (int k = 0; k < pixels; k++)
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++) sums[k][g] = _mm256_loadu_ps(s->bias + output + 8 * g);
    for (int64_t y = 0; y < s->kernel; y++, input += row)
        for (int64_t t = 0; t < window; t++, weights += s->outputs) {
            __m256 low = _mm256_loadu_ps(weights), high = _mm256_loadu_ps(weights + 8);
#pragma GCC unroll 6
            for (int k = 0; k < pixels; k++) {
                __m256 value = _mm256_set1_ps(input[k * step + t]);
                sums[k][0] = _mm256_fmadd_ps(value, low, sums[k][0]);
                sums[k][1] = _mm256_fmadd_ps(value, high, sums[k][1]);
            }
        }
#pragma GCC unroll 6
    for (int k = 0; k < pixels; k++)
#pragma GCC unroll 2
        for (int g = 0; g < 2; g++) {
            __m256 negative = _mm256_cmp_ps(sums[k][g], _mm256_setzero_ps(), _CMP_LT_OQ);
            __m256 slope = _mm256_loadu_ps(s->slope + output + 8 * g);
            __m256 y = _mm256_blendv_ps(sums[k][g], _mm256_mul_ps(sums[k][g], slope), negative);
            _mm256_storeu_ps(to + k * s->outputs + output + 8 * g, y);
        }
}

INLINE_256 void groups_256(const Stem *s, const float *input, float *to, const int pixels) {
    for (int64_t output = 0; output < s->outputs; output += 16)
        tile_256(s, input, output, to, pixels);
}

__attribute__((target("avx2,fma"))) static void tile_of_256(const Stem *s, const float *input,
                                                            float *to, int64_t pixels) {
    switch (pixels) {
        case 6: groups_256(s, input, to, 6); break;
        case 5: groups_256(s, input, to, 5); break;
        case 4: groups_256(s, input, to, 4); break;
        case 3: groups_256(s, input, to, 3); break;
        case 2: groups_256(s, input, to, 2); break;
        default: groups_256(s, input, to, 1);
    }
}
#endif

static void plain_tile(const Stem *s, const float *input, float *to, int64_t pixels) {
    int64_t window = s->kernel * s->channels;
    for (int64_t k = 0; k < pixels; k++, to += s->outputs) {
        memcpy(to, s->bias, (size_t)s->outputs * sizeof *to);
        const float *weights = s->weights;
        for (int64_t y = 0; y < s->kernel; y++) {
            const float *row = input + y * s->padded_width * s->channels +
                               k * s->stride * s->channels;
            for (int64_t t = 0; t < window; t++, weights += s->outputs)
                for (int64_t o = 0; o < s->outputs; o++) to[o] += row[t] * weights[o];
        }
        for (int64_t o = 0; o < s->outputs; o++)
            if (to[o] < 0) to[o] *= s->slope[o];
    }
}

typedef void StemTile(const Stem *, const float *input, float *to, int64_t pixels);

typedef struct {
    const Stem *s;
    StemTile *tile;
    void (*pool)(const Stem *, float *const *rows, int64_t number, float *to);
    int64_t items_of_image;
} StemWork;

static void stem_row(const StemWork *work, int64_t image, int64_t y, float *to) {
    const Stem *s = work->s;
    int64_t tiles = (s->conv_width + MOST_PIXELS - 1) / MOST_PIXELS;
    const float *input = s->input + ((image * s->padded_height + y * s->stride) * s->padded_width) *
                                        s->channels;
    for (int64_t k = 0, x = 0, pixels; k < tiles; k++, x += pixels) {
        pixels = (s->conv_width - x + tiles - k - 1) / (tiles - k);
        work->tile(s, input + x * s->stride * s->channels, to + x * s->outputs, pixels);
    }
}

#define INLINE __attribute__((always_inline)) static inline

/* NaN is larger than all, as in torch. */
INLINE void larger_of(float *restrict to, const float *restrict from, int64_t number) {
    for (int64_t k = 0; k < number; k++)
        to[k] = from[k] > to[k] || from[k] != from[k] ? from[k] : to[k];
}

/* A 3x3 max pooling of stride 2. The first of the rows is used for what they have in common. */
INLINE void pool(const Stem *s, float *const *rows, int64_t number, float *to) {
    for (int64_t k = 1; k < number; k++) larger_of(rows[0], rows[k], s->conv_width * s->outputs);
    for (int64_t x = 0; x < s->out_width; x++, to += s->outputs) {
        int64_t first = x ? 2 * x - 1 : 0, end = smaller(2 * x + 2, s->conv_width);
        memcpy(to, rows[0] + first * s->outputs, (size_t)s->outputs * sizeof *to);
        for (int64_t column = first + 1; column < end; column++)
            larger_of(to, rows[0] + column * s->outputs, s->outputs);
    }
}

static void plain_pool(const Stem *s, float *const *rows, int64_t number, float *to) {
    pool(s, rows, number, to);
}
#ifdef ONE_BIT_X86
__attribute__((target("avx2"))) static void pool_256(const Stem *s, float *const *rows,
                                                     int64_t number, float *to) {
    pool(s, rows, number, to);
}
#endif

static void stem_item(void *context, int64_t item) {
    const StemWork *work = context;
    const Stem *s = work->s;
    int64_t image = item / work->items_of_image;
    int64_t first = item % work->items_of_image * ROWS_OF_ITEM;
    int64_t end = smaller(first + ROWS_OF_ITEM, s->out_height), length = s->conv_width * s->outputs;
    float *out = s->out + (image * s->out_height + first) * s->out_width * s->outputs;
    if (!s->pooled) {
        for (int64_t y = first; y < end; y++, out += length) stem_row(work, image, y, out);
        return;
    }
    float *memory = malloc((size_t)(3 * length) * sizeof *memory);
    if (!memory) abort();
    int64_t computed = first ? 2 * first - 1 : 0; /* row y of the convolution is in place y % 3 */
    for (int64_t y = first; y < end; y++, out += s->out_width * s->outputs) {
        int64_t top = y ? 2 * y - 1 : 0, bottom = smaller(2 * y + 2, s->conv_height);
        for (; computed < bottom; computed++)
            stem_row(work, image, computed, memory + computed % 3 * length);
        float *rows[3];
        for (int64_t row = top; row < bottom; row++) rows[row - top] = memory + row % 3 * length;
        work->pool(s, rows, bottom - top, out);
    }
    free(memory);
}

void one_bit_stem(const Stem *s, int64_t path, int64_t threads) {
    StemWork work = {s, plain_tile, plain_pool, (s->out_height + ROWS_OF_ITEM - 1) / ROWS_OF_ITEM};
#ifdef ONE_BIT_X86
    if (path >= AVX2) work.tile = tile_of_256, work.pool = pool_256;
    if (path >= AVX512BW) work.tile = tile_of_512;
#else
    (void)path;
#endif
    run_parallel(stem_item, &work, s->images * work.items_of_image, threads);
}
