/* Cuts convolutions and packings into pieces, and gives each to the chosen instruction set. */
#include <string.h>

#include "one_bit.h"

enum {
    FIRST_CACHE = 40 * 1024, /* bytes of weights that stay in the first cache beside the rest */
    CHUNK = 256,             /* pixels that share a block of weights from the second cache */
};
#ifndef SMALL /* tests have all work divided */
#define SMALL (1 << 21) /* word operations that are not worth another thread */
#endif

typedef struct {
    TileFunction *tile;
    RowFunction *row;
    int64_t most_pixels;
} Path;

static Path path_of(int64_t number) {
    switch (number) {
#if defined(ONE_BIT_X86)
        case VPOPCNTDQ: return (Path){vpopcntdq_tile, avx512_row, 6};
        case AVX512BW: return (Path){avx512bw_tile, avx512_row, 4};
        case AVX2: return (Path){avx2_tile, avx2_row, 4};
#elif defined(ONE_BIT_ARM)
        case NEON: return (Path){neon_tile, neon_row, 4};
#endif
        default: return (Path){scalar_tile, scalar_row, 4};
    }
}

typedef struct {
    const Convolution *c;
    Path path;
    int64_t blocks, block_words, blocks_of_item, parts; /* an item is a part of a chunk's blocks */
    int64_t rows, rows_of_chunk;
} Work;

/* Rows or columns of a window that lie before and behind the image. */
static void outside(int64_t at, int64_t stride, int64_t padding, int64_t kernel, int64_t size,
                    int64_t *before, int64_t *behind) {
    int64_t first = at * stride - padding, end = first + kernel;
    *before = first < 0 ? -first : 0;
    *behind = end > size ? end - size : 0;
}

/* The tiles of one row; blocks innermost, which is right where all of them fit the first cache,
   and is only one of them where they do not. */
static void convolve_row(const Work *work, int64_t row, int64_t block_0, int64_t block_end) {
    const Convolution *c = work->c;
    int64_t image = row / c->out_height, y = row % c->out_height, top, bottom;
    int64_t columns = c->width + 2 * c->border_x, rows = c->height + 2 * c->border_y;
    int64_t padded = in_groups(c->outputs), ways = c->padding_x + 1;
    outside(y, c->stride_y, c->padding_y, c->kernel_y, c->height, &top, &bottom);
    const int32_t *offsets =
        c->offsets + (top * (c->padding_y + 1) + bottom) * ways * ways * padded;
    int64_t window_y = image * rows + y * c->stride_y + c->border_y - c->padding_y;
    const uint32_t *input =
        c->input + (window_y * columns + c->border_x - c->padding_x) * c->words;

    Tile tile = {.row_step = columns * c->words, .pixel_step = c->stride_x * c->words};
    int64_t bits_columns = c->out_width + 2 * c->bits_border_x;
    int64_t bits_rows = c->out_height + 2 * c->bits_border_y;
    int64_t bits_pixel =
        (image * bits_rows + y + c->bits_border_y) * bits_columns + c->bits_border_x;
    int64_t tiles = (c->out_width + work->path.most_pixels - 1) / work->path.most_pixels;
    for (int64_t k = 0, x = 0; k < tiles; k++, x += tile.pixels) {
        /* As equal as can be: 25 pixels are five times 5, not four times 6 and 1. */
        tile.pixels = (c->out_width - x + tiles - k - 1) / (tiles - k);
        for (int64_t j = 0; j < tile.pixels; j++) {
            int64_t left, right;
            outside(x + j, c->stride_x, c->padding_x, c->kernel_x, c->width, &left, &right);
            tile.offsets[j] = offsets + (left * ways + right) * padded;
        }
        tile.input = input + x * tile.pixel_step;
        tile.pixel = row * c->out_width + x;
        tile.bits_pixel = bits_pixel + x;
        for (int64_t block = block_0; block < block_end; block++) {
            tile.first_output = block * BLOCK;
            tile.groups = smaller(BLOCK, padded - tile.first_output) / GROUP;
            tile.weights = c->weights + block * work->block_words;
            work->path.tile(c, &tile);
        }
    }
}

static void convolve_item(void *context, int64_t item) {
    const Work *work = context;
    int64_t first = item / work->parts * work->rows_of_chunk;
    int64_t end = smaller(first + work->rows_of_chunk, work->rows);
    int64_t block = item % work->parts * work->blocks_of_item;
    int64_t block_end = smaller(block + work->blocks_of_item, work->blocks);
    int64_t bytes = (block_end - block) * work->block_words * (int64_t)sizeof(uint32_t);
    int64_t at_once = bytes <= FIRST_CACHE ? block_end - block : 1;
    for (; block < block_end; block += at_once)
        for (int64_t row = first; row < end; row++)
            convolve_row(work, row, block, block + at_once);
}

/* The border of all images is 0; everything between is written by the rows. */
static void clear_border(uint32_t *bits, int64_t images, int64_t height, int64_t width,
                         int64_t border_y, int64_t border_x, int64_t words) {
    int64_t row_words = (width + 2 * border_x) * words;
    size_t outer = (size_t)(border_y * row_words) * sizeof *bits;
    size_t side = (size_t)(border_x * words) * sizeof *bits;
    for (int64_t image = 0; image < images; image++) {
        memset(bits, 0, outer);
        bits += border_y * row_words;
        for (int64_t y = 0; y < height; y++, bits += row_words) {
            memset(bits, 0, side);
            memset(bits + (border_x + width) * words, 0, side);
        }
        memset(bits, 0, outer);
        bits += border_y * row_words;
    }
}

void one_bit_convolve(const Convolution *c, int64_t path, int64_t threads) {
    int64_t window = c->kernel_y * c->kernel_x * c->words;
    Work work = {.c = c, .path = path_of(path), .rows = c->images * c->out_height};
    if (c->bits)
        clear_border(c->bits, c->images, c->out_height, c->out_width, c->bits_border_y,
                     c->bits_border_x, words_of(c->outputs));
    if (work.rows * c->out_width == 0) return;
    work.block_words = BLOCK * window;
    work.blocks = (c->outputs + BLOCK - 1) / BLOCK;
    work.rows_of_chunk = c->out_width < CHUNK ? CHUNK / c->out_width : 1;
    int64_t cost = work.rows * c->out_width * in_groups(c->outputs) * window;
    threads = smaller(threads, cost / SMALL + 1);
    /* A few pieces for each thread, since the others on the machine are not equally fast. */
    if (threads > 1)
        work.rows_of_chunk =
            smaller(work.rows_of_chunk, (work.rows + 4 * threads - 1) / (4 * threads));
    int64_t chunks = (work.rows + work.rows_of_chunk - 1) / work.rows_of_chunk;
    /* Too few rows (a fully connected layer has one): the outputs are divided as well. */
    work.parts = chunks < 2 * threads && threads > 1 ? smaller(work.blocks, 2 * threads) : 1;
    work.blocks_of_item = (work.blocks + work.parts - 1) / work.parts;
    work.parts = (work.blocks + work.blocks_of_item - 1) / work.blocks_of_item;
    run_parallel(convolve_item, &work, chunks * work.parts, threads);
}

typedef struct {
    const Packing *p;
    RowFunction *row;
} Rows;

static void pack_item(void *context, int64_t item) {
    const Rows *rows = context;
    rows->row(rows->p, item);
}

void one_bit_pack(const Packing *p, int64_t path, int64_t threads) {
    Rows rows = {p, path_of(path).row};
    clear_border(p->bits, p->images, p->height, p->width, p->border_y, p->border_x,
                 words_of(p->channels));
    if (p->width == 0) return;
    int64_t cost = p->images * p->height * p->width * p->channels;
    run_parallel(pack_item, &rows, p->images * p->height, smaller(threads, cost / SMALL + 1));
}
