"""Anchors, box transforms, the dense box loss and post-processing, against formulas."""

from __future__ import annotations

import lowres_d2

import numpy as np
import pytest
import torch
import torchvision
from detectron2.modeling import detector_postprocess
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import (
    Box2BoxTransform,
    Box2BoxTransformLinear,
    _dense_box_regression_loss,
)
from detectron2.modeling.postprocessing import sem_seg_postprocess
from detectron2.structures import Boxes, Instances
from torchvision.models.detection._utils import BoxCoder

BUNDLED = lowres_d2.detectron2_provider() == "bundled"
only_bundled = pytest.mark.skipif(not BUNDLED, reason="upstream refuses otherwise, or not at all")


def random_boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 100
    return torch.cat([corner, corner + 2 + torch.rand(count, 2, generator=generator) * 60], dim=1)


@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_anchors_are_at_cells_with_their_area_and_ratio(offset):
    sizes, ratios, strides = [[16, 20], [32, 40]], [0.5, 1.0, 2.0], [4, 8]
    generator = DefaultAnchorGenerator(
        sizes=sizes, aspect_ratios=ratios, strides=strides, offset=offset
    )
    features = [torch.zeros(2, 3, 5, 7), torch.zeros(2, 3, 3, 4)]
    assert generator.num_anchors == generator.num_cell_anchors == [6, 6]
    for level, feature in enumerate(features):
        found = iter(generator(features)[level].tensor.numpy())
        for row in range(feature.shape[2]):
            for column in range(feature.shape[3]):
                for size in sizes[level]:
                    for ratio in ratios:
                        x1, y1, x2, y2 = next(found)
                        center = (np.array([column, row]) + offset) * strides[level]
                        np.testing.assert_allclose(
                            [(x1 + x2) / 2, (y1 + y2) / 2], center, atol=1e-4
                        )
                        np.testing.assert_allclose((x2 - x1) * (y2 - y1), size**2, rtol=1e-5)
                        np.testing.assert_allclose((y2 - y1) / (x2 - x1), ratio, rtol=1e-5)
        assert next(found, None) is None


def test_anchors_stay_out_of_the_state_dict_and_move_with_the_module():
    generator = DefaultAnchorGenerator(sizes=[[8]], aspect_ratios=[1.0], strides=[8])
    assert not generator.state_dict()
    (anchors,) = generator.to("meta")([torch.zeros(1, 1, 2, 2)])
    assert anchors.device.type == "meta"


def test_one_list_of_sizes_serves_every_level():
    generator = DefaultAnchorGenerator(sizes=[8, 16], aspect_ratios=[[1.0]], strides=[4, 8, 16])
    assert generator.num_anchors == [2, 2, 2]


@only_bundled
@pytest.mark.parametrize(
    "change, names",
    [
        (dict(sizes=[[8], [16]]), "2 lists for 3 levels"),
        (dict(aspect_ratios=[]), "aspect_ratios"),
        (dict(offset=1.0), "offset 1.0"),
    ],
)
def test_a_wrong_anchor_argument_is_named(change, names):
    arguments = dict(sizes=[8], aspect_ratios=[1.0], strides=[4, 8, 16]) | change
    with pytest.raises(ValueError, match=names):
        DefaultAnchorGenerator(**arguments)


def test_box_deltas_are_those_of_torchvision_and_come_back():
    weights = (10.0, 10.0, 5.0, 5.0)
    ours, reference = Box2BoxTransform(weights), BoxCoder(weights)
    source, target = random_boxes(40, 0), random_boxes(40, 1)
    deltas = ours.get_deltas(source, target)
    torch.testing.assert_close(deltas, reference.encode_single(target, source))
    torch.testing.assert_close(ours.apply_deltas(deltas, source), target, rtol=1e-5, atol=1e-4)
    several = torch.randn(40, 12) * 2
    torch.testing.assert_close(
        ours.apply_deltas(several, source), reference.decode_single(several, source)
    )


@only_bundled
@pytest.mark.parametrize(
    "empty", [[3.0, 5.0, 9.0, 5.0], [3.0, 5.0, 3.0, 8.0], [4.0, 4.0, 2.0, 9.0]]
)
def test_a_box_without_area_is_named(empty):
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], empty])
    with pytest.raises(ValueError, match=rf"1 of 2 proposals .* no width or height.*{empty[3]}\]"):
        Box2BoxTransform((1.0, 1.0, 1.0, 1.0)).get_deltas(boxes, boxes)


def test_growth_is_clamped_and_coordinates_are_float32():
    box, deltas = torch.tensor([[0.0, 0.0, 16.0, 16.0]]), torch.tensor([[0.0, 0.0, 99.0, 99.0]])
    grown = Box2BoxTransform((1.0, 1.0, 1.0, 1.0)).apply_deltas(deltas.half(), box)
    torch.testing.assert_close(grown, torch.tensor([[-492.0, -492.0, 508.0, 508.0]]))


@pytest.mark.parametrize("normalize, unit", [(True, 8.0), (False, 1.0)])
def test_linear_deltas_are_distances_to_the_sides(normalize, unit):
    transform = Box2BoxTransformLinear(normalize_by_size=normalize)
    source = torch.tensor([[8.0, 16.0, 16.0, 24.0]])  # centre (12, 20), 8 wide
    target = torch.tensor([[4.0, 10.0, 30.0, 21.0]])
    deltas = transform.get_deltas(source, target)
    torch.testing.assert_close(deltas, torch.tensor([[8.0, 10.0, 18.0, 1.0]]) / unit)
    torch.testing.assert_close(transform.apply_deltas(deltas, source), target)
    nothing = transform.apply_deltas(-torch.ones(1, 4), source)
    torch.testing.assert_close(nothing, torch.tensor([[12.0, 20.0, 12.0, 20.0]]))


@pytest.mark.parametrize("kind", ["smooth_l1", "giou", "diou", "ciou"])
def test_the_dense_loss_sums_over_foreground_alone(kind):
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    anchors, truth = random_boxes(30), [random_boxes(30, 1), random_boxes(30, 2)]
    mask = torch.rand(2, 30, generator=torch.Generator().manual_seed(0)) > 0.6
    deltas = (torch.randn(2, 30, 4, generator=torch.Generator().manual_seed(1)) * 0.3).double()
    deltas = deltas.float().requires_grad_()
    levels = [Boxes(anchors[:20]), Boxes(anchors[20:])]
    loss = _dense_box_regression_loss(
        levels, transform, [deltas[:, :20], deltas[:, 20:]], truth, mask, kind, smooth_l1_beta=0.1
    )
    expected = 0.0
    for image in range(2):
        keep = mask[image]
        source, goal, delta = anchors[keep], truth[image][keep], deltas[image][keep]
        if kind == "smooth_l1":
            wanted = transform.get_deltas(source, goal)
            expected += torch.nn.functional.smooth_l1_loss(delta, wanted, beta=0.1, reduction="sum")
        else:
            function = {
                "giou": torchvision.ops.generalized_box_iou_loss,
                "diou": torchvision.ops.distance_box_iou_loss,
                "ciou": torchvision.ops.complete_box_iou_loss,
            }[kind]
            expected += function(transform.apply_deltas(delta, source), goal, reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    loss.backward()
    assert (deltas.grad[~mask] == 0).all() and (deltas.grad[mask] != 0).any()


@pytest.mark.parametrize("kind", ["smooth_l1", "giou"])
def test_the_dense_loss_without_foreground_is_zero_with_a_gradient(kind):
    deltas = torch.randn(1, 6, 4, requires_grad=True)
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    boxes = random_boxes(6)
    loss = _dense_box_regression_loss(
        [boxes], transform, [deltas], [boxes], torch.zeros(1, 6, dtype=torch.bool), kind
    )
    loss.backward()
    assert loss.item() == 0 and (deltas.grad == 0).all()


def test_an_unknown_box_loss_is_refused():
    with pytest.raises(ValueError, match="l2"):
        _dense_box_regression_loss(
            [random_boxes(2)],
            Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
            [torch.zeros(1, 2, 4)],
            [random_boxes(2)],
            torch.ones(1, 2, dtype=torch.bool),
            "l2",
        )


@pytest.mark.parametrize("field", ["pred_boxes", "proposal_boxes"])
def test_detections_are_scaled_clipped_and_kept_where_not_empty(field):
    found = Instances((50, 100))
    found.set(
        field,
        Boxes(
            torch.tensor([[10.0, 5, 20, 10], [90, 40, 120, 60], [101, 10, 110, 20], [5, 5, 5, 9]])
        ),
    )
    found.scores = torch.tensor([0.4, 0.3, 0.2, 0.1])
    result = detector_postprocess(found, 100, 300)
    assert result.image_size == (100, 300)
    torch.testing.assert_close(
        result.get(field).tensor, torch.tensor([[30.0, 10, 60, 20], [270, 80, 300, 100]])
    )
    torch.testing.assert_close(result.scores, torch.tensor([0.4, 0.3]))
    if BUNDLED:
        assert found.image_size == (50, 100) and found.get(field).tensor[0, 0] == 10


def test_a_score_map_loses_its_padding_before_it_is_scaled():
    scores = torch.full((2, 4, 6), 9.0)
    scores[:, :3, :5] = 1.0
    assert torch.equal(sem_seg_postprocess(scores, (3, 5), 6, 10), torch.ones(2, 6, 10))
