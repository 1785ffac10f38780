import itertools
from functools import partial

from lowres_d2.analysis.matching.match_report import GroundTruth, match_shares
from lowres_d2.modeling import LowResDetector
from lowres_d2.modeling.meta_arch import NearestPointFCOS, RangedFCOS
from lowres_d2.modeling.resample import Bicubic, Identity

import numpy as np
import pytest
import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from torch import nn

from toys.deformable_detr import SMALL, deformable_detr
from toys.detectors import STRIDES, faster_rcnn_fpn, fcos, retinanet

ALL = [0, None]


def objects(number, size, least, most, seed=0):
    generator = np.random.default_rng(seed)
    sides = generator.uniform(least, most, (number, 2))
    corner = generator.uniform(0, 1, (number, 2)) * (np.array(size[::-1]) - sides)
    return np.concatenate([corner, corner + sides], axis=1)


def truth(boxes, size):
    return GroundTruth(size, torch.as_tensor(boxes, dtype=torch.float32))


def iou(a, b):
    low, high = (
        np.maximum(a[:, None, :2], b[None, :, :2]),
        np.minimum(a[:, None, 2:], b[None, :, 2:]),
    )
    shared = (high - low).clip(0).prod(axis=2)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).prod(axis=1) for x in (a, b))
    return shared / (area_a[:, None] + area_b[None] - shared)


def anchors_of(size, strides):
    """The toy detectors' anchors: twice the stride, three shapes, half a stride off."""
    found = []
    for stride in strides:
        for k, j in itertools.product(range(-(-size[0] // stride)), range(-(-size[1] // stride))):
            for ratio in (0.5, 1.0, 2.0):
                half = np.array([2 * stride / ratio**0.5, 2 * stride * ratio**0.5]) / 2
                centre = (np.array([j, k]) + 0.5) * stride
                found.append(np.concatenate([centre - half, centre + half]))
    return np.array(found)


def matched_by_hand(boxes, anchors, threshold, low_quality):
    """Which objects own a positive anchor, and the IoU of each object's best anchor."""
    overlap = iou(boxes, anchors)
    owner, best = overlap.argmax(axis=0), overlap.max(axis=0)
    positive = best >= threshold
    if low_quality:
        positive |= (overlap == overlap.max(axis=1, keepdims=True)).any(axis=0)
    return np.isin(np.arange(len(boxes)), owner[positive]), overlap.max(axis=1)


@pytest.mark.parametrize("low_quality", [True, False])
@pytest.mark.parametrize(
    ("make", "strides", "low", "high"),
    [(retinanet, STRIDES, 0.4, 0.5), (faster_rcnn_fpn, [*STRIDES, 64], 0.3, 0.7)],
)
def test_anchor_matches_agree_with_an_independent_computation(
    make, strides, low, high, low_quality
):
    detector, size = make(), (96, 128)  # a multiple of the backbone's 32
    part = getattr(detector, "proposal_generator", detector)
    part.anchor_matcher.allow_low_quality_matches = low_quality
    boxes = objects(40, size, 2, 40)
    matched, best = matched_by_hand(boxes, anchors_of(size, strides), high, low_quality)
    rescued = matched & (best < low) if low_quality else np.zeros(40, bool)
    report = match_shares(detector, [truth(boxes, size)], ALL)
    size_range = report.size_ranges[0]
    assert 0 < matched.sum() < 40
    assert (size_range.objects, size_range.matched, size_range.rescued) == (
        40,
        matched.sum(),
        rescued.sum(),
    )
    assert size_range.share == (matched.sum() - rescued.sum()) / 40
    assert size_range.seen_size == pytest.approx(
        np.median(np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))), rel=1e-5
    )


def test_eight_pixel_objects_at_a_quarter_of_the_resolution():
    # Two pixels there, and the centres of FCOS's finest cells are at 2, 6, 10, ...: of the boxes
    # that start at 8 + k / 4, those with k = 1 to 7 contain one, at 10.
    images = [truth([[32.0 + k, 32.0 + k, 40.0 + k, 40.0 + k]], (128, 128)) for k in range(16)]
    plain = match_shares(LowResDetector(fcos(), Bicubic(factor=4)), images, [0, 8, 16])
    assert [(b.objects, b.matched) for b in plain.size_ranges] == [
        (16, 7),
        (16, 7),
    ]  # 8 px is in both
    assert plain.size_ranges[0].seen_size == 2
    assert plain.poor() == plain.size_ranges
    assert "NearestPointFCOS" in plain.remedy and "factor (4 now)" in plain.remedy
    nearest = match_shares(
        LowResDetector(fcos(NearestPointFCOS), Bicubic(factor=4)), images, [0, 8]
    )
    assert nearest.size_ranges[0].share == 1
    assert nearest.poor() == [] and "NearestPointFCOS" not in nearest.remedy
    full = match_shares(fcos(), images, [0, 8])
    assert full.size_ranges[0].share == 1


def test_a_long_object_between_the_cells_of_its_level_wants_farther_sides():
    # P2 has the rows 34 and 38, P3 36. On P2 the farthest side is over 16 px away.
    images = [truth([[20.0, 37.0, 60.0, 39.0]], (96, 96))]
    shares = {}
    for sides in ([16, 32, 64], [32, 64, 128]):
        model = LowResDetector(fcos(partial(RangedFCOS, farthest_sides=sides)), Identity())
        report = match_shares(model, images, ALL)
        shares[sides[0]] = report.size_ranges[0].share
        assert f"larger model.detector.farthest_sides (from {sides[0]} px now), or" in report.remedy
        assert "NearestPointFCOS" not in report.remedy
    assert shares == {16: 0, 32: 1}


def test_objects_with_only_low_quality_matches_are_counted_as_rescued():
    detector = retinanet()
    detector.anchor_generator = DefaultAnchorGenerator(
        sizes=[[32], [64], [128], [256]], aspect_ratios=[1.0], strides=STRIDES
    )
    # IoU with an anchor around them 64 / 1024.
    boxes = [[4.0 + 32 * k, 4.0, 12.0 + 32 * k, 12.0] for k in range(3)]
    report = match_shares(detector, [truth(boxes, (128, 128))], ALL)
    size_range = report.size_ranges[0]
    assert size_range.matched == size_range.rescued == 3 and size_range.share == 0
    assert report.poor() == [size_range]
    assert "model.anchor_generator.sizes (from 32 px now)" in report.remedy


def test_deformable_detr_matches_as_many_objects_as_it_has_queries():
    detector = deformable_detr(SMALL)
    report = match_shares(detector, [truth(objects(30, (64, 64), 4, 20), (64, 64))], ALL)
    assert (report.size_ranges[0].objects, report.size_ranges[0].matched) == (30, SMALL["queries"])
    assert f"num_queries ({SMALL['queries']} now)" in report.remedy


def test_an_unknown_matching_rule_is_not_guessed():
    report = match_shares(nn.Linear(1, 1), [truth([[0, 0, 9, 9]], (32, 32))], ALL)
    assert not report.known and report.poor() == [] and report.size_ranges[0].objects == 1


def test_objects_that_the_composition_drops_are_not_matched():
    images = [truth([[8, 8, 24, 24], [32, 32, 64, 64]], (64, 64))]
    model = LowResDetector(fcos(NearestPointFCOS), Bicubic(factor=2), min_box_size=10)
    assert match_shares(model, images, ALL).size_ranges[0].matched == 1


def test_image_without_objects_and_size_range_without_objects():
    report = match_shares(
        retinanet(),
        [truth(np.zeros((0, 4)), (64, 64)), truth([[0, 0, 8, 8]], (64, 64))],
        [0, 9, 20],
    )
    assert report.images == 2
    assert [size_range.objects for size_range in report.size_ranges] == [1, 0]
    assert np.isnan(report.size_ranges[1].share) and np.isnan(report.size_ranges[1].seen_size)
