from __future__ import annotations

import itertools
import math

from lowres_d2.evaluation.size_ranges import PRESETS, SizeRanges

import pytest
from omegaconf import OmegaConf


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_size_ranges_have_positive_width_and_reach_infinity(preset):
    size_ranges = SizeRanges.from_config(preset)
    assert all(0 <= low < high for low, high in size_ranges.limits)
    assert size_ranges.limits[-1][1] == math.inf


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
    assert labels == ["small (<12 px)", "<12 px", ">=48 px"]


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
