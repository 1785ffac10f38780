from __future__ import annotations

from fractions import Fraction

import lowres_d2  # noqa: F401
from lowres_d2.structures import drop_small, fit_instances, scale_instances

import pytest
import torch
from detectron2.structures import Boxes, Instances


def _instances(size=(30, 50), **fields):
    instances = Instances(size)
    for name, value in fields.items():
        instances.set(name, value)
    return instances


@pytest.mark.parametrize("factor", [Fraction(2), Fraction(3), Fraction(3, 2), Fraction(1, 2)])
def test_boxes_scale_by_exactly_the_factor(factor):
    boxes = torch.tensor([[1.0, 2.0, 33.3, 28.7], [0.1, 0.2, 0.3, 0.4]])
    original = _instances(gt_boxes=Boxes(boxes), gt_classes=torch.tensor([1, 2]))
    scaled = scale_instances(original, factor, (15, 25))
    expected = (boxes.double() / float(factor)).float()
    torch.testing.assert_close(scaled.gt_boxes.tensor, expected, rtol=1.2e-7, atol=0)
    assert scaled.image_size == (15, 25)
    assert torch.equal(scaled.gt_classes, original.gt_classes)
    assert torch.equal(original.gt_boxes.tensor, boxes)


@pytest.mark.parametrize(
    "field", [torch.zeros(1, 17, 3), torch.zeros(1, 4), [torch.zeros(4)], object()]
)
def test_other_fields_that_may_hold_coordinates_are_refused_by_name(field):
    instances = Instances((30, 50))
    instances._fields["gt_strange"] = field  # `set` would ask for a length
    with pytest.raises(ValueError, match="gt_strange"):
        scale_instances(instances, Fraction(2), (15, 25))


def test_fields_with_one_number_or_string_per_instance_are_kept():
    instances = _instances(track=torch.tensor([7]), source=["left"])
    scaled = scale_instances(instances, Fraction(2), (15, 25))
    assert scaled.source == ["left"] and scaled.track.item() == 7


def test_detections_are_clipped_to_the_image_then_scaled_to_the_wanted_size():
    boxes = torch.tensor(
        [[-2.0, 4.0, 20.0, 31.0], [50.5, 3.0, 51.0, 8.0], [10.0, 10.0, 52.0, 20.0]]
    )
    detections = _instances((32, 52), pred_boxes=Boxes(boxes), scores=torch.tensor([0.9, 0.8, 0.7]))
    fitted = fit_instances(detections, (30, 50), (60, 25))
    assert fitted.image_size == (60, 25)
    expected = torch.tensor([[0.0, 8.0, 10.0, 60.0], [5.0, 20.0, 25.0, 40.0]])
    assert torch.equal(fitted.pred_boxes.tensor, expected)
    assert torch.equal(fitted.scores, torch.tensor([0.9, 0.7]))


def test_the_shorter_side_decides_what_is_dropped():
    boxes = torch.tensor([[0.0, 0.0, 9.0, 1.9], [0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 1.5, 9.0]])
    remaining, kept = drop_small(_instances(gt_boxes=Boxes(boxes)), 2.0)
    assert kept.tolist() == [False, True, False]
    assert torch.equal(remaining.gt_boxes.tensor, boxes[1:2])
