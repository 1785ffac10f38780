/* Convolutions of signs by XNOR and popcount: what Python calls, and what the files here share.

   A sign is one bit: 1 is +1, 0 is -1. Bits of 32 channels are a word, channel c is bit c % 32 of
   word c / 32. A pixel is `words` words, images lie as (image, row, column, word) with a border of
   zero words around each, wide enough for the convolution's padding; unused bits are 0.

   The product of n signs with n others is n - 2 popcount(a xor w). Over the border, where
   `a` is 0 though it stands for no sign at all, the xor counts the ones of the weights: `offsets`
   has n + 2 (ones of the weights over the border) for each way in which a window can leave the
   image, so that the inner loop knows no border.

   Weights are in blocks of 64 outputs (the last one is of 16, 32, 48 or 64): for each word
   of the window (kernel row, kernel column, word) the words of the block's outputs side by side. */
#ifndef ONE_BIT_H
#define ONE_BIT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__) && (defined(__clang__) || __GNUC__ >= 8)
#define ONE_BIT_X86 1
#elif defined(__aarch64__)
#define ONE_BIT_ARM 1
#endif

enum { GROUP = 16, BLOCK = 64, MOST_PIXELS = 6 };

/* Instruction sets, better ones later. Python has the same list. */
enum { SCALAR, NEON, AVX2, AVX512BW, VPOPCNTDQ, PATHS };

/* Any pointer but input, weights and offsets may be NULL: without scale it is 1. With s = scale,
   y = prelu(s * product + shift + residual) + offset; out gets y, bits get y >= thresholds. */
typedef struct {
    int64_t images, height, width, border_y, border_x, words;
    int64_t kernel_y, kernel_x, stride_y, stride_x, padding_y, padding_x;
    int64_t out_height, out_width, outputs;
    int64_t bits_border_y, bits_border_x;
    const uint32_t *input, *weights;
    const int32_t *offsets; /* [top][bottom][left][right][outputs, a multiple of 16] */
    const float *scale, *shift, *residual, *slope, *offset, *thresholds;
    float *out;     /* (image, row, column, output) */
    uint32_t *bits; /* as input: what the next convolution reads */
} Convolution;

typedef struct {
    int64_t images, channels, height, width, border_y, border_x;
    int64_t channels_last; /* whether x is (image, row, column, channel); else channels first */
    const float *x, *thresholds;
    uint32_t *bits;
} Packing;

/* A real-valued convolution of an input that is padded already, with bias, PReLU and 3x3 max pooling
   of stride 2. Outputs are a multiple of 16. All images lie as (image, row, column, channel), the
   weights as (row, column, channel, output). */
typedef struct {
    int64_t images, padded_height, padded_width, channels, kernel, stride, outputs;
    int64_t conv_height, conv_width, pooled, out_height, out_width;
    const float *input, *weights, *bias, *slope;
    float *out;
} Stem;

/* Some neighbouring pixels of a row, and up to 64 outputs of each. */
typedef struct {
    int64_t pixels, groups; /* groups of 16 outputs */
    const uint32_t *input;  /* of the first pixel's window */
    int64_t row_step, pixel_step;
    const uint32_t *weights;
    const int32_t *offsets[MOST_PIXELS]; /* of each pixel's way to leave the image */
    int64_t first_output;
    int64_t pixel, bits_pixel; /* numbers of the first pixel in out and residual, and in bits */
} Tile;

typedef void TileFunction(const Convolution *, const Tile *);
typedef void RowFunction(const Packing *, int64_t row);

/* What Python calls. */
int64_t one_bit_supported(void);
int64_t one_bit_supported_by(uint32_t leaf1_ecx, uint32_t leaf7_ebx, uint32_t leaf7_ecx,
                             uint64_t xcr0);
void one_bit_convolve(const Convolution *, int64_t path, int64_t threads);
void one_bit_pack(const Packing *, int64_t path, int64_t threads);
void one_bit_stem(const Stem *, int64_t path, int64_t threads);

/* One file each. */
TileFunction scalar_tile, neon_tile, avx2_tile, avx512bw_tile, vpopcntdq_tile;
RowFunction scalar_row, neon_row, avx2_row, avx512_row;

void run_parallel(void (*job)(void *context, int64_t item), void *context, int64_t items,
                  int64_t threads);

static inline int64_t words_of(int64_t channels) { return (channels + 31) / 32; }

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

static inline int64_t in_groups(int64_t outputs) { return (outputs + GROUP - 1) / GROUP * GROUP; }

/* Where the words of a row of an image begin, behind its border. */
static inline uint32_t *packed_row(const Packing *p, int64_t row) {
    int64_t image = row / p->height, y = row % p->height;
    int64_t rows = p->height + 2 * p->border_y, columns = p->width + 2 * p->border_x;
    int64_t pixel = (image * rows + y + p->border_y) * columns + p->border_x;
    return p->bits + pixel * words_of(p->channels);
}

/* One output of one pixel, of its popcount; gives its bit. The vector versions do the same
   operations in the same order, so that all paths agree to the last bit. */
static inline uint32_t finish_output(const Convolution *c, const Tile *tile, int64_t k,
                                     int64_t output, int32_t count) {
    int64_t at = (tile->pixel + k) * c->outputs + output;
    float y = (float)(tile->offsets[k][output] - 2 * count);
    if (c->scale) y *= c->scale[output];
    if (c->shift) y += c->shift[output];
    if (c->residual) y += c->residual[at];
    if (c->slope && y < 0) y *= c->slope[output];
    if (c->offset) y += c->offset[output];
    if (c->out) c->out[at] = y;
    return y >= (c->thresholds ? c->thresholds[output] : 0.0f);
}

#endif
