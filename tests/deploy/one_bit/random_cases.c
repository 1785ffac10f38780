/* The C core against loops over signs, on random shapes: random_cases SEED NUMBER.

   All memory has exactly the size that is asked for, so that a sanitizer sees each step beyond it.
   Ends with 1 and a line for the first case that differs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "one_bit.h"

static uint64_t state;

static int64_t random_below(int64_t end) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((state >> 33) % (uint64_t)end);
}

static float random_float(void) { return (float)(random_below(2001) - 1000) / 250; }

static float *floats(int64_t number, int wanted) {
    if (!wanted) return NULL;
    float *x = malloc((size_t)number * sizeof *x);
    for (int64_t k = 0; k < number; k++) x[k] = random_float();
    return x;
}


/* Of plain weights[output][channel][y][x], as Python packs them. */
static uint32_t *packed_weights(const Convolution *c, const float *weights, int64_t channels) {
    int64_t window = c->kernel_y * c->kernel_x * c->words, padded = in_groups(c->outputs);
    uint32_t *words = calloc((size_t)(padded * window), sizeof *words);
    for (int64_t o = 0; o < c->outputs; o++) {
        int64_t block = o / BLOCK, width = smaller(BLOCK, padded - block * BLOCK);
        for (int64_t i = 0; i < channels * c->kernel_y * c->kernel_x; i++) {
            int64_t channel = i / (c->kernel_y * c->kernel_x), at = i % (c->kernel_y * c->kernel_x);
            int64_t word = at * c->words + channel / 32;
            if (weights[o * channels * c->kernel_y * c->kernel_x + i] >= 0)
                words[block * BLOCK * window + word * width + o % BLOCK] |= 1u << (channel % 32);
        }
    }
    return words;
}

static int32_t *offsets_of(const Convolution *c, const float *weights, int64_t channels) {
    int64_t ways_y = c->padding_y + 1, ways_x = c->padding_x + 1, padded = in_groups(c->outputs);
    int64_t area = c->kernel_y * c->kernel_x;
    int32_t *offsets = calloc((size_t)(ways_y * ways_y * ways_x * ways_x * padded), sizeof *offsets);
    int32_t *at = offsets;
    for (int64_t top = 0; top < ways_y; top++)
        for (int64_t bottom = 0; bottom < ways_y; bottom++)
            for (int64_t left = 0; left < ways_x; left++)
                for (int64_t right = 0; right < ways_x; right++, at += padded)
                    for (int64_t o = 0; o < c->outputs; o++)
                        for (int64_t i = 0; i < channels * area; i++) {
                            int64_t y = i % area / c->kernel_x, x = i % c->kernel_x;
                            int inside = y >= top && y < c->kernel_y - bottom && x >= left &&
                                         x < c->kernel_x - right;
                            if (inside) at[o]++;
                            else if (weights[o * channels * area + i] >= 0) at[o] += 2;
                        }
    return offsets;
}

static int32_t product(const Convolution *c, const float *x, const float *thresholds,
                       const float *weights, int64_t channels, int64_t image, int64_t output,
                       int64_t row, int64_t column) {
    int32_t sum = 0;
    for (int64_t channel = 0; channel < channels; channel++)
        for (int64_t ky = 0; ky < c->kernel_y; ky++)
            for (int64_t kx = 0; kx < c->kernel_x; kx++) {
                int64_t y = row * c->stride_y + ky - c->padding_y;
                int64_t z = column * c->stride_x + kx - c->padding_x;
                if (y < 0 || y >= c->height || z < 0 || z >= c->width) continue;
                float value = x[((image * c->height + y) * c->width + z) * channels + channel];
                float weight =
                    weights[((output * channels + channel) * c->kernel_y + ky) * c->kernel_x + kx];
                int same = (value >= (thresholds ? thresholds[channel] : 0)) == (weight >= 0);
                sum += same ? 1 : -1;
            }
    return sum;
}

static int64_t one_of(int64_t a, int64_t b, int64_t c, int64_t d) {
    int64_t choices[] = {a, b, c, d};
    return choices[random_below(4)];
}

static int case_fails(int64_t path, int64_t threads) {
    Convolution c = {.images = 1 + random_below(2), .height = 1 + random_below(9)};
    c.width = 1 + random_below(20);
    int64_t channels = one_of(1 + random_below(40), 32, 64, 1 + random_below(200));
    c.outputs = one_of(1 + random_below(40), 64, 1 + random_below(150), 16);
    c.kernel_y = 1 + random_below(5), c.kernel_x = 1 + random_below(7);
    c.padding_y = random_below(smaller(c.kernel_y, 3)), c.padding_x = random_below(smaller(c.kernel_x, 3));
    c.stride_y = 1 + random_below(3), c.stride_x = 1 + random_below(3);
    c.border_y = c.padding_y + random_below(2), c.border_x = c.padding_x + random_below(2);
    c.bits_border_y = random_below(3), c.bits_border_x = random_below(3);
    c.words = words_of(channels);
    if (c.height + 2 * c.padding_y < c.kernel_y || c.width + 2 * c.padding_x < c.kernel_x) return 0;
    c.out_height = (c.height + 2 * c.padding_y - c.kernel_y) / c.stride_y + 1;
    c.out_width = (c.width + 2 * c.padding_x - c.kernel_x) / c.stride_x + 1;

    int64_t cells = c.images * c.height * c.width, out_cells = c.images * c.out_height * c.out_width;
    float *x = floats(cells * channels, 1), *planes = malloc((size_t)(cells * channels) * sizeof *x);
    int64_t area = c.height * c.width;
    for (int64_t i = 0; i < cells * channels; i++) {
        int64_t channel = i % channels, cell = i / channels;
        planes[(cell / area * channels + channel) * area + cell % area] = x[i];
    }
    float *weights = floats(c.outputs * channels * c.kernel_y * c.kernel_x, 1);
    float *in_thresholds = floats(channels, (int)random_below(2));
    int64_t padded_cells = c.images * (c.height + 2 * c.border_y) * (c.width + 2 * c.border_x);
    uint32_t *bits = malloc((size_t)(padded_cells * c.words) * sizeof *bits);
    memset(bits, 0xa5, (size_t)(padded_cells * c.words) * sizeof *bits);
    int64_t last = random_below(2);
    Packing p = {c.images, channels, c.height, c.width, c.border_y, c.border_x,
                 last, last ? x : planes, in_thresholds, bits};
    one_bit_pack(&p, path, threads);

    c.input = bits, c.weights = packed_weights(&c, weights, channels);
    c.offsets = offsets_of(&c, weights, channels);
    float *scale = floats(c.outputs, random_below(4) > 0), *shift = floats(c.outputs, random_below(2));
    float *residual = floats(out_cells * c.outputs, random_below(2));
    float *slope = floats(c.outputs, random_below(2)), *offset = floats(c.outputs, random_below(2));
    float *thresholds = floats(c.outputs, random_below(2));
    c.scale = scale, c.shift = shift, c.residual = residual, c.slope = slope, c.offset = offset;
    c.thresholds = thresholds;
    int wanted = 1 + (int)random_below(3);
    c.out = floats(out_cells * c.outputs, wanted & 1);
    int64_t bits_rows = c.out_height + 2 * c.bits_border_y;
    int64_t bits_columns = c.out_width + 2 * c.bits_border_x;
    size_t bits_size = (size_t)(c.images * bits_rows * bits_columns * words_of(c.outputs)) * 4;
    c.bits = wanted & 2 ? malloc(bits_size) : NULL;
    if (c.bits) memset(c.bits, 0xa5, bits_size);
    one_bit_convolve(&c, path, threads);

    uint32_t *expected_bits = calloc(bits_size, 1);
    int wrong = 0;
    for (int64_t cell = 0; cell < out_cells; cell++) {
        int64_t column = cell % c.out_width, row = cell / c.out_width % c.out_height;
        int64_t image = cell / c.out_width / c.out_height;
        int64_t pixel = (image * bits_rows + row + c.bits_border_y) * bits_columns + column + c.bits_border_x;
        for (int64_t o = 0; o < c.outputs; o++) {
            float y = (float)product(&c, x, in_thresholds, weights, channels, image, o, row, column);
            if (scale) y *= scale[o];
            if (shift) y += shift[o];
            if (residual) y += residual[cell * c.outputs + o];
            if (slope && y < 0) y *= slope[o];
            if (offset) y += offset[o];
            if (c.out && c.out[cell * c.outputs + o] != y) wrong = 1;
            if (y >= (thresholds ? thresholds[o] : 0))
                expected_bits[pixel * words_of(c.outputs) + o / 32] |= 1u << (o % 32);
        }
    }
    if (c.bits && memcmp(c.bits, expected_bits, bits_size)) wrong |= 2;
    if (wrong)
        printf("wrong %s, path %d: %dx%d, %d to %d channels, kernel %dx%d\n",
               wrong & 1 ? "numbers" : "bits", (int)path, (int)c.height, (int)c.width, (int)channels,
               (int)c.outputs, (int)c.kernel_y, (int)c.kernel_x);
    void *used[] = {x, planes, weights, in_thresholds, bits, scale, shift, residual, slope, offset,
                    thresholds, c.out, c.bits, expected_bits, (void *)c.weights, (void *)c.offsets};
    for (size_t k = 0; k < sizeof used / sizeof *used; k++) free(used[k]);
    return wrong;
}

/* A stem against the same in plain C, which Python's tests hold against torch. */
static int stem_fails(int64_t path, int64_t threads) {
    Stem s = {.images = 1 + random_below(2), .channels = 1 + random_below(4), .stride = 2};
    s.kernel = 1 + random_below(7), s.outputs = 16 * (1 + random_below(6)), s.pooled = random_below(2);
    s.padded_height = s.kernel + random_below(70), s.padded_width = s.kernel + random_below(30);
    s.conv_height = (s.padded_height - s.kernel) / 2 + 1;
    s.conv_width = (s.padded_width - s.kernel) / 2 + 1;
    s.out_height = s.pooled ? (s.conv_height - 1) / 2 + 1 : s.conv_height;
    s.out_width = s.pooled ? (s.conv_width - 1) / 2 + 1 : s.conv_width;
    float *input = floats(s.images * s.padded_height * s.padded_width * s.channels, 1);
    float *weights = floats(s.kernel * s.kernel * s.channels * s.outputs, 1);
    float *bias = floats(s.outputs, 1), *slope = floats(s.outputs, 1);
    s.input = input, s.weights = weights, s.bias = bias, s.slope = slope;
    int64_t number = s.images * s.out_height * s.out_width * s.outputs;
    float *expected = floats(number, 1), *found = floats(number, 1);
    s.out = expected, one_bit_stem(&s, SCALAR, 1);
    s.out = found, one_bit_stem(&s, path, threads);
    int wrong = 0;
    for (int64_t k = 0; k < number; k++) wrong |= !(fabsf(found[k] - expected[k]) < 0.01f);
    if (wrong) printf("wrong stem, path %d\n", (int)path);
    float *used[] = {input, weights, bias, slope, expected, found};
    for (size_t k = 0; k < sizeof used / sizeof *used; k++) free(used[k]);
    return wrong;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    state = strtoull(arguments[1], NULL, 10);
    for (int64_t k = 0; k < atoll(arguments[2]); k++)
        for (int64_t path = 0; path < PATHS; path++)
            if (one_bit_supported() >> path & 1)
                if (case_fails(path, 1 + k % 2) || stem_fails(path, 1 + k % 2)) return 1;
    puts("all equal");
    return 0;
}
