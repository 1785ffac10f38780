"""Regions pooled from a pyramid, against torchvision and by hand."""

from __future__ import annotations

import lowres_d2

import pytest
import torch
import torchvision
from detectron2.modeling.poolers import (
    ROIPooler,
    assign_boxes_to_levels,
    convert_boxes_to_pooler_format,
)
from detectron2.structures import Boxes

BUNDLED = lowres_d2.detectron2_provider() == "bundled"
SCALES = (1 / 4, 1 / 8, 1 / 16, 1 / 32)


def square(side: float) -> list[float]:
    return [3.0, 5.0, 3.0 + side, 5.0 + side]


def test_a_box_is_pooled_from_the_level_of_its_size():
    sides = [1, 28, 111, 112, 223, 224, 447, 448, 2000, 0]
    levels = assign_boxes_to_levels([Boxes([square(s) for s in sides])], 2, 5, 224, 4)
    assert levels.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 0]


def test_boxes_of_a_batch_carry_the_index_of_their_image():
    lists = [Boxes([square(1)]), Boxes(torch.zeros(0, 4)), Boxes([square(2), square(3)])]
    rois = convert_boxes_to_pooler_format(lists)
    assert rois[:, 0].tolist() == [0, 2, 2]
    assert torch.equal(rois[:, 1:], torch.tensor([square(1), square(2), square(3)]))


def pyramid() -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, int(256 * s), int(320 * s)) for s in SCALES]


def random_lists() -> list[Boxes]:
    torch.manual_seed(1)
    corner = torch.rand(2, 12, 2) * 100
    boxes = torch.cat([corner, corner + 4 + torch.rand(2, 12, 2) * 150], dim=2)
    return [Boxes(b) for b in boxes]


def test_pooling_is_that_of_torchvision():
    features, lists = pyramid(), random_lists()
    pooler = ROIPooler(5, SCALES, 2, "ROIAlign", canonical_box_size=64)
    reference = torchvision.ops.MultiScaleRoIAlign(
        list("abcd"), 5, 2, canonical_scale=64, canonical_level=4
    )
    expected = reference(
        dict(zip("abcd", features, strict=True)), [b.tensor for b in lists], [(256, 320)] * 2
    )
    torch.testing.assert_close(pooler(features, lists), expected)


def test_the_aligned_pooler_reads_a_ramp_at_the_bin_centres():
    # Cell j is at 8 (j + 0.5) in pixels: the feature map holds its own x coordinate.
    ramp = ((torch.arange(40) + 0.5) * 8).expand(1, 1, 30, 40).contiguous()
    (pooled,) = ROIPooler(2, (1 / 8,), 0, "ROIAlignV2")([ramp], [Boxes([[40.0, 40.0, 80.0, 60.0]])])
    torch.testing.assert_close(pooled[0], torch.tensor([[50.0, 70.0], [50.0, 70.0]]))


def test_one_level_pools_maxima_too():
    feature = torch.zeros(1, 1, 8, 8)
    feature[0, 0, 3, 5] = 7
    pooled = ROIPooler(1, (1.0,), 0, "ROIPool")([feature], [Boxes([[4.0, 2.0, 6.0, 4.0]])])
    assert pooled.tolist() == [[[[7.0]]]]


@pytest.mark.parametrize("scales", [SCALES, SCALES[:1]])
def test_no_boxes_give_an_empty_result(scales):
    pooler = ROIPooler(3, scales, 0, "ROIAlignV2")
    features = pyramid()[: len(scales)]
    assert pooler(features, [Boxes(torch.zeros(0, 4))] * 2).shape == (0, 3, 3, 3)
    assert pooler([f[:0] for f in features], []).shape == (0, 3, 3, 3)


def test_gradients_reach_only_the_level_of_the_box():
    features = [f.requires_grad_() for f in pyramid()]
    pooler = ROIPooler(3, SCALES, 0, "ROIAlignV2")
    pooler(features, [Boxes([square(112)]), Boxes(torch.zeros(0, 4))]).sum().backward()
    assert [bool((f.grad != 0).any()) for f in features] == [False, True, False, False]


@pytest.mark.skipif(not BUNDLED, reason="upstream refuses with an assertion")
@pytest.mark.parametrize(
    "arguments, names",
    [
        ((3, (0.3,), 0, "ROIAlign"), "0.3"),
        ((3, (1 / 4, 1 / 16), 0, "ROIAlign"), "half the one before"),
        ((3, (1 / 4,), 0, "Mean"), "Mean"),
        (((1, 2, 3), (1 / 4,), 0, "ROIAlign"), "output_size"),
    ],
)
def test_a_wrong_argument_is_named(arguments, names):
    with pytest.raises(ValueError, match=names):
        ROIPooler(*arguments)
