from __future__ import annotations

import itertools
import math
import re

from lowres_d2.evaluation.size_ranges import PRESETS, SizeRanges

import pytest
from omegaconf import OmegaConf


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_size_ranges_have_positive_width_and_reach_their_end(preset):
    size_ranges = SizeRanges.from_config(preset)
    assert all(0 <= low < high for low, high in size_ranges.limits)
    assert size_ranges.limits[-1][1] == (64 if preset == "aitod-64" else math.inf)


def test_those_of_papers_on_ai_tod_end_at_2_and_64_pixels():
    papers, evaluators = map(SizeRanges.from_config, ("aitod-64", "aitod"))
    sizes = [1.5**2, 3**2, 9**2, 20**2, 40**2, 100**2]
    assert papers.names == evaluators.names
    assert papers.counts(sizes) == [1, 1, 1, 1]
    assert evaluators.counts(sizes) == [2, 1, 1, 2]


@pytest.mark.parametrize("preset", ["coco", "aitod", "plates"])
def test_preset_size_ranges_leave_no_gap(preset):
    ranges = SizeRanges.from_config(preset).limits
    assert ranges[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))


def test_coco_areas_are_those_of_pycocotools():
    assert SizeRanges.from_config("coco").areas() == [(0, 1024), (1024, 9216), (9216, math.inf)]


def test_mapping_and_edges_from_a_recipe_are_understood():
    recipe = OmegaConf.create(
        {"named": {"vt": [0, 8], "rest": [8, None]}, "edges": [0, 8, 16, None]}
    )
    assert SizeRanges.from_config(recipe.named).limits == ((0, 8), (8, math.inf))
    assert SizeRanges.from_config(recipe.edges).names == ("0-8", "8-16", "16-inf")


def test_an_object_on_a_border_counts_in_both_size_ranges_as_in_coco():
    assert SizeRanges.from_config("coco").counts([31.9**2, 32**2, 33**2, 96**2]) == [2, 3, 1]


def test_labels_give_the_range_once():
    size_ranges = SizeRanges.from_config({"small": [0, 12], "0-12": [0, 12], "48-inf": [48, None]})
    labels = [size_ranges.label(name) for name in size_ranges.names]
    assert labels == ["small (<=12 px)", "<=12 px", ">=48 px"]
    # Benchmarks that include one end.
    assert [size_ranges.label(name, "lower") for name in size_ranges.names] == [
        "small (<12 px)", "<12 px", ">=48 px"
    ]  # fmt: skip
    assert [size_ranges.label(name, "upper") for name in size_ranges.names] == [
        "small (<=12 px)", "<=12 px", ">48 px"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "sizes", "why"),
    [
        ("coco", [10, 40, 31.9, 100], ""),
        ("coco", [10, 32, 96], "exactly as large as an edge count in both .*up to 5 of 3 objects"),
        ({"low": [0, 8], "high": [16, None]}, [4, 20], ""),
        ({"low": [0, 8], "high": [16, None]}, [4, 10, 12, 20], "leave sizes out: .* 2 of 4"),
        ("tinyperson", [5, 40], "overlap: they add up to 3 of 2"),
    ],
)
def test_numbers_that_do_not_add_up_say_why(spec, sizes, why):
    size_ranges = SizeRanges.from_config(spec)
    counts = size_ranges.counts([size**2 for size in sizes])
    found = size_ranges.why_not_all(counts, len(sizes))
    assert re.search(why, found) if why else not found


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("aitd", "nearest is 'aitod'"),
        ({"a": [8, 8]}, "'a': expected 0 <= low < high"),
        ({"a": [8]}, r"'a': expected \[low, high\]"),
        ({"a": ["x", 8]}, "'x': expected a number"),
        ({}, "expected a preset"),
        ([8], "expected a preset"),
        (7, "expected a preset"),
    ],
)
def test_wrong_size_ranges_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        SizeRanges.from_config(spec)
