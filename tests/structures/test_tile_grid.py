"""Where tiles lie: exact places, and what holds for any image, tile and overlap."""

from itertools import pairwise

from lowres_d2.structures import TileGrid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("size", "overlap", "image", "windows"),
    [
        (100, 20, (60, 90), [(0, 0, 90, 60)]),
        (100, 20, (100, 100), [(0, 0, 100, 100)]),
        (100, 20, (100, 101), [(0, 0, 100, 100), (1, 0, 101, 100)]),
        (100, 20, (60, 181), [(0, 0, 100, 60), (80, 0, 180, 60), (81, 0, 181, 60)]),
        # [height, width], as TinyPerson's crops: 640 wide, 512 high.
        (
            [512, 640],
            30,
            (994, 1250),
            [
                (0, 0, 640, 512),
                (610, 0, 1250, 512),
                (0, 482, 640, 994),
                (610, 482, 1250, 994),
            ],
        ),
        (
            [50, 100],
            [0, 50],
            (100, 150),
            [(0, 0, 100, 50), (50, 0, 150, 50), (0, 50, 100, 100), (50, 50, 150, 100)],
        ),
    ],
)
def test_tiles_lie_row_by_row(size, overlap, image, windows):
    assert [tuple(window) for window in TileGrid(size, overlap).windows(image)] == windows


@settings(max_examples=150, deadline=None)
@given(
    st.tuples(st.integers(1, 200), st.integers(1, 200)),
    st.tuples(st.integers(2, 60), st.integers(2, 60)),
    st.tuples(st.integers(0, 59), st.integers(0, 59)),
)
def test_each_pixel_is_covered_and_neighbours_overlap_as_asked(image, size, overlap):
    overlap = [min(a, b - 1) for a, b in zip(overlap, size, strict=True)]
    grid = TileGrid(size, overlap)
    windows = grid.windows(image)
    covered = np.zeros(image, bool)
    for x0, y0, x1, y1 in windows:
        assert (y1 - y0, x1 - x0) == (min(size[0], image[0]), min(size[1], image[1]))
        assert x0 >= 0 and y0 >= 0 and x1 <= image[1] and y1 <= image[0]
        covered[y0:y1, x0:x1] = True
    assert covered.all() and len({*windows}) == len(windows)
    assert windows[-1][2:] == (image[1], image[0])  # the last one ends with the image
    assert (len(windows) == 1) == grid.has_one_tile(image)
    for axis in (0, 1):
        starts = grid.starts(image[axis], axis)
        assert all(a + size[axis] - b >= overlap[axis] for a, b in pairwise(starts))


@settings(max_examples=100, deadline=None)
@given(st.integers(30, 300), st.integers(10, 29), st.integers(1, 9), st.data())
def test_what_is_no_longer_than_the_overlap_is_whole_on_a_tile(length, size, overlap, data):
    start = data.draw(st.integers(0, length - overlap))
    starts = TileGrid(size, overlap).starts(length)
    assert any(a <= start and start + overlap <= a + size for a in starts)


def test_without_an_overlap_it_is_a_fifth():
    assert TileGrid([512, 640]).overlap == (102, 128) and TileGrid().overlap == (128, 128)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((100, 100), "size 100, overlap 100: expected an overlap of 0 or more"),
        ((100, -1), "size 100, overlap -1"),
        (([50, 100], 60), r"size \[50, 100\], overlap 60"),
        ((0, 0), "size 0"),
        (([1, 2, 3], 0), r"size \[1, 2, 3\]: expected whole pixels, or \[height, width\]"),
        ((10.5, 0), "size 10.5"),
    ],
)
def test_what_makes_no_grid_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        TileGrid(*arguments)
