from __future__ import annotations

from functools import partial

from lowres_d2.modeling.meta_arch import RangedFCOS

import pytest
import torch
from detectron2.structures import Boxes, Instances

from toys.detectors import STRIDES, fcos

SIDE = 96


def anchors():
    levels = []
    for stride in STRIDES:
        corner = torch.arange(0, SIDE, stride, dtype=torch.float32)
        y, x = (axis.flatten() for axis in torch.meshgrid(corner, corner, indexing="ij"))
        levels.append(Boxes(torch.stack([x, y, x + stride, y + stride], dim=1)))
    return levels


def ranged(limits):
    return fcos(partial(RangedFCOS, farthest_sides=limits))


def test_with_8_strides_it_assigns_as_fcos():
    generator = torch.Generator().manual_seed(0)
    corner, side = 70 * torch.rand(2, 60, 2, generator=generator)
    truth = Instances((SIDE, SIDE))
    truth.gt_boxes = Boxes(torch.cat([corner, corner + side], dim=1))
    truth.gt_classes = torch.arange(60) % 3
    ours = ranged([8 * stride for stride in STRIDES[:-1]]).label_anchors(anchors(), [truth])
    (labels,), (boxes,) = ours
    (expected,), (their_boxes,) = fcos().label_anchors(anchors(), [truth])
    positive = expected < 3
    assert torch.equal(labels, expected) and positive.any()
    assert torch.equal(boxes[positive], their_boxes[positive])


@pytest.mark.parametrize(
    ("side", "expected"),
    # The nearest cell is 2, 4, 8 and 0 px beside the centre along both axes; half of the side and
    # that far is the farthest side.
    [(8, [0]), (28, [0, 1]), (29, [1]), (40, [1]), (100, [2]), (130, [3])],
)
def test_an_object_is_learned_at_the_level_of_its_farthest_side(side, expected):
    model, levels = ranged([16, 32, 64]), anchors()
    box = Boxes(torch.tensor([[48 - side / 2, 48 - side / 2, 48 + side / 2, 48 + side / 2]]))
    found = model._match_anchors(box, levels)[0].split([len(a) for a in levels])
    nearest = [part[_nearest(cells)] > 0 for part, cells in zip(found, levels, strict=True)]
    assert [k for k, suits in enumerate(nearest) if suits] == expected


def _nearest(cells):
    return (cells.get_centers() - 48).square().sum(dim=1).argmin()


@pytest.mark.parametrize("limits", [[16], [32, 16, 64], [0, 16, 32]])
def test_limits_that_do_not_fit_the_levels_are_named(limits):
    with pytest.raises(ValueError, match=r"RangedFCOS: farthest_sides=.*: expected \d rising"):
        ranged(limits)
