"""Matching of many objects a few at a time gives what matching all at once gives."""

from __future__ import annotations

import multiprocessing
import resource
import sys

import lowres_d2
from lowres_d2 import row_chunks

import pytest
import torch
from detectron2.modeling.matcher import Matcher
from detectron2.structures import Boxes, pairwise_iou
from hypothesis import given, settings
from hypothesis import strategies as st

BUNDLED = lowres_d2.detectron2_provider() == "bundled"
bundled_only = pytest.mark.skipif(not BUNDLED, reason="upstream Detectron2 matches all at once")
if BUNDLED:
    from detectron2.modeling import matcher as matcher_module


@pytest.fixture
def tiny_chunks(monkeypatch):
    """Three rows of 50 columns are too many already."""
    monkeypatch.setattr(row_chunks, "CHUNK_ENTRIES", 120)
    if BUNDLED:
        monkeypatch.setattr(matcher_module, "CHUNK_ENTRIES", 120)


def boxes(number, seed, side=12):
    # Whole pixels, so that equal overlaps are common.
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 20, (number, 2), generator=generator).float()
    extent = torch.randint(1, side, (number, 2), generator=generator).float()
    return Boxes(torch.cat([corner, corner + extent], dim=1))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 9), st.integers(1, 9), st.integers(1, 30))
def test_best_rows_are_those_of_the_whole_matrix(seed, rows, columns, entries):
    generator = torch.Generator().manual_seed(seed)
    matrix = torch.randint(0, 4, (rows, columns), generator=generator).float()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_chunks, "CHUNK_ENTRIES", entries)
        best, index = row_chunks.best_rows(lambda chosen: matrix[chosen], rows, columns)
    expected = matrix.max(dim=0)
    assert torch.equal(best, expected.values)
    assert index.tolist() == [column.tolist().index(column.max()) for column in matrix.T]


@bundled_only
@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("number", [0, 1, 3, 40])
def test_matches_and_labels_are_bit_equal(tiny_chunks, low_quality, number):
    matcher = Matcher([0.3, 0.6], [0, -1, 1], allow_low_quality_matches=low_quality)
    for seed in range(20):
        objects, anchors = boxes(number, seed), boxes(50, 100 + seed)
        expected = matcher(pairwise_iou(objects, anchors))
        found = matcher_module.match_boxes(matcher, objects, anchors)
        for got, wanted in zip(found, expected, strict=True):
            assert torch.equal(got, wanted) and got.dtype == wanted.dtype


@bundled_only
def test_an_object_that_meets_no_anchor_makes_all_of_them_positive_as_ever(tiny_chunks):
    far = Boxes(torch.tensor([[900.0, 900.0, 910.0, 910.0]]))
    objects = Boxes.cat([boxes(5, 0), far])
    matcher = Matcher([0.5], [0, 1], allow_low_quality_matches=True)
    _, labels = matcher_module.match_boxes(matcher, objects, boxes(50, 1))
    assert labels.unique().tolist() == [1]


@bundled_only
def test_a_matcher_with_a_way_of_its_own_sees_the_whole_matrix(tiny_chunks):
    class Whole(Matcher):
        def __call__(self, quality):
            return quality.shape

    assert matcher_module.match_boxes(Whole([0.5], [0, 1]), boxes(9, 0), boxes(50, 1)) == (9, 50)


@bundled_only
def test_broken_boxes_are_refused_in_chunks_too(tiny_chunks):
    objects = boxes(9, 0)
    objects.tensor[7] = torch.tensor([0.0, 0.0, float("inf"), float("inf")])
    anchors = Boxes(objects.tensor[7:8].expand(50, 4))
    with pytest.raises(AssertionError, match="NaN"):
        matcher_module.match_boxes(Matcher([0.5], [0, 1]), objects, anchors)


def extra_megabytes() -> float:
    objects, anchors = boxes(300, 0), Boxes(boxes(100, 1).tensor.repeat(1000, 1))
    matcher = Matcher([0.3, 0.6], [0, -1, 1], allow_low_quality_matches=True)
    matcher_module.match_boxes(matcher, boxes(3, 0), anchors)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matcher_module.match_boxes(matcher, objects, anchors)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) / (1e6 if sys.platform == "darwin" else 1e3)


@bundled_only
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is asked for in Unix's way")
def test_memory_stays_under_the_claim():
    # A matrix of 300 x 100,000 is 120 MB, of which six or seven would live at once.
    # Spawned: threads of matrix products do not survive a fork.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(extra_megabytes) < 350
