/* Plain C: for processors without the instruction sets of the other files. */
#include "one_bit.h"

void scalar_tile(const Convolution *c, const Tile *tile) {
    int64_t outputs = tile->groups * GROUP, row_words = c->kernel_x * c->words;
    for (int64_t k = 0; k < tile->pixels; k++) {
        int32_t counts[BLOCK] = {0};
        const uint32_t *weights = tile->weights;
        for (int64_t y = 0; y < c->kernel_y; y++) {
            const uint32_t *row = tile->input + y * tile->row_step + k * tile->pixel_step;
            for (int64_t t = 0; t < row_words; t++, weights += outputs)
                for (int64_t o = 0; o < outputs; o++)
                    counts[o] += __builtin_popcount(row[t] ^ weights[o]);
        }
        uint32_t bits[BLOCK / 32] = {0};
        int64_t used = smaller(outputs, c->outputs - tile->first_output);
        for (int64_t o = 0; o < used; o++)
            bits[o / 32] |= finish_output(c, tile, k, tile->first_output + o, counts[o])
                            << (o % 32);
        if (c->bits) {
            uint32_t *to = c->bits + (tile->bits_pixel + k) * words_of(c->outputs);
            for (int64_t word = 0; word < words_of(used); word++)
                to[tile->first_output / 32 + word] = bits[word];
        }
    }
}

void scalar_row(const Packing *p, int64_t row) {
    uint32_t *bits = packed_row(p, row);
    int64_t image = row / p->height, y = row % p->height;
    int64_t plane = p->height * p->width;
    int64_t of_channel = p->channels_last ? 1 : plane;
    int64_t of_column = p->channels_last ? p->channels : 1;
    const float *x = p->x + image * p->channels * plane + y * p->width * of_column;
    for (int64_t column = 0; column < p->width; column++)
        for (int64_t first = 0; first < p->channels; first += 32) {
            uint32_t word = 0;
            int64_t end = smaller(32, p->channels - first);
            for (int64_t k = 0; k < end; k++) {
                float value = x[column * of_column + (first + k) * of_channel];
                float threshold = p->thresholds ? p->thresholds[first + k] : 0.0f;
                word |= (uint32_t)(value >= threshold) << k;
            }
            *bits++ = word;
        }
}
