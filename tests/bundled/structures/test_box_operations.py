import lowres_d2  # noqa: F401

import numpy as np
import pytest
import torch
import torchvision
from detectron2.structures import Boxes, BoxMode, pairwise_ioa, pairwise_iou
from detectron2.structures.boxes import (
    matched_pairwise_iou,
    pairwise_intersection,
    pairwise_point_box_distance,
)
from hypothesis import given, settings
from hypothesis import strategies as st


def random_boxes(count: int, seed: int) -> torch.Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(seed)) * 100
    return torch.cat([corners.amin(1), corners.amax(1)], dim=1)


@pytest.mark.parametrize("kind", [list, tuple])
def test_convert_keeps_the_type_and_the_input(kind):
    box = kind([3, 4, 10, 20])
    converted = BoxMode.convert(box, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    assert converted == kind([3, 4, 7, 16]) and box == kind([3, 4, 10, 20])
    assert BoxMode.convert(converted, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS) == box


def test_convert_leaves_arrays_alone():
    boxes = np.array([[3.0, 4, 10, 20]], dtype=np.float32)
    converted = BoxMode.convert(boxes, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    assert converted.tolist() == [[3, 4, 7, 16]] and converted.dtype == np.float32
    assert boxes.tolist() == [[3, 4, 10, 20]]


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float64])
def test_convert_keeps_dtype_and_shape_of_tensors(dtype):
    boxes = (random_boxes(5, 0)).to(dtype)
    converted = BoxMode.convert(boxes, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    assert converted.dtype == dtype and converted.shape == boxes.shape
    assert torch.equal(converted[:, 2:], boxes[:, 2:] - boxes[:, :2])


@pytest.mark.parametrize("mode", [BoxMode.XYXY_REL, BoxMode.XYWH_REL])
def test_relative_modes_cannot_be_converted(mode):
    with pytest.raises((AssertionError, NotImplementedError)):
        BoxMode.convert([0.1, 0.2, 0.3, 0.4], mode, BoxMode.XYXY_ABS)


@pytest.mark.parametrize("angle", [0, 30, 90, -45, 200])
@pytest.mark.parametrize("as_kind", [list, np.array, torch.tensor])
def test_upright_box_around_a_rotated_one_holds_its_corners(angle, as_kind):
    x, y, w, h, a = 50.0, 40.0, 30.0, 20.0, np.deg2rad(angle)
    across, down = (
        np.array([np.cos(a), -np.sin(a)]) * w / 2,
        np.array([np.sin(a), np.cos(a)]) * h / 2,
    )
    corners = np.array([x, y]) + [i * across + j * down for i in (-1, 1) for j in (-1, 1)]
    row = [x, y, w, h, float(angle)]
    boxes = row if as_kind is list else as_kind([row])
    upright = BoxMode.convert(boxes, BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS)
    assert type(upright) is type(boxes)
    expected = [*corners.min(0), *corners.max(0)]
    assert np.ravel(upright) == pytest.approx(expected, rel=1e-5)


def test_an_upright_box_is_rotated_by_zero():
    box = BoxMode.convert([50.0, 50, 30, 21], BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS)
    assert box == [65, 60.5, 30, 21, 0]
    boxes = BoxMode.convert(torch.ones(2, 4), BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS)
    assert boxes.tolist() == [[1.5, 1.5, 1, 1, 0]] * 2 and boxes.dtype == torch.float32


@pytest.mark.parametrize(
    ("box", "mode", "wanted"),
    [
        ([1, 2, 3, 4], BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS),
        ([[1, 2, 3, 4, 5]], BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS),
        ([[1, 2, 3, 4]], BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS),
        ([1, 2, 3, 4, 5], BoxMode.XYWHA_ABS, BoxMode.XYWH_ABS),
    ],
)
def test_rotated_boxes_have_five_numbers_and_two_conversions(box, mode, wanted):
    with pytest.raises((AssertionError, ValueError, NotImplementedError)):
        BoxMode.convert(box, mode, wanted)


@pytest.mark.parametrize("bad", [[[1, 2, 3, 4]], [1, 2, 3]])
def test_convert_refuses_lists_that_are_no_box(bad):
    with pytest.raises((AssertionError, ValueError)):
        BoxMode.convert(bad, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 1000))
def test_pairwise_iou_is_torchvisions(count1, count2, seed):
    first, second = random_boxes(count1, seed), random_boxes(count2, seed + 1)
    expected = torchvision.ops.box_iou(first, second)
    torch.testing.assert_close(pairwise_iou(Boxes(first), Boxes(second)), expected)


def test_intersection_and_ioa_of_known_boxes():
    first, second = Boxes(torch.tensor([[0.0, 0, 4, 4]])), Boxes([[2.0, 2, 6, 4], [5, 5, 9, 9]])
    assert pairwise_intersection(first, second).tolist() == [[4.0, 0.0]]
    assert pairwise_ioa(first, second).tolist() == [[0.5, 0.0]]
    assert pairwise_ioa(second, first).tolist() == [[0.25], [0.0]]


def test_boxes_without_area_overlap_nothing():
    point = Boxes(torch.tensor([[1.0, 1, 1, 1]]))
    assert pairwise_iou(point, point).item() == 0
    assert pairwise_ioa(point, point).item() == 0


def test_matched_iou_is_the_diagonal_of_the_pairwise_one():
    first, second = Boxes(random_boxes(20, 1)), Boxes(random_boxes(20, 2))
    expected = pairwise_iou(first, second).diagonal()
    torch.testing.assert_close(matched_pairwise_iou(first, second), expected)


def test_point_box_distance_is_positive_inside_only():
    distances = pairwise_point_box_distance(
        torch.tensor([[3.0, 4], [11, 4]]), Boxes([[0.0, 0, 10, 20]])
    )
    assert distances.tolist() == [[[3, 4, 7, 16]], [[11, 4, -1, 16]]]


def test_clip_is_torchvisions_and_keeps_the_gradient():
    tensor = (random_boxes(10, 3) - 30).requires_grad_()
    boxes = Boxes(tensor)
    boxes.clip((40, 25))
    expected = torchvision.ops.clip_boxes_to_image(tensor.detach(), (40, 25))
    assert torch.equal(boxes.tensor.detach(), expected)
    boxes.tensor.sum().backward()
    assert torch.equal(tensor.grad, (tensor == boxes.tensor).float())


def test_clip_refuses_nan():
    with pytest.raises(AssertionError):
        Boxes([[0, 0, float("nan"), 1]]).clip((5, 5))


def test_area_centers_nonempty_and_inside():
    boxes = Boxes([[0, 0, 2, 3], [1, 1, 1, 5], [-1, 0, 4, 4]])
    assert boxes.area().tolist() == [6, 0, 20]
    assert boxes.get_centers().tolist() == [[1, 1.5], [1, 3], [1.5, 2]]
    assert boxes.nonempty().tolist() == [True, False, True]
    assert boxes.nonempty(threshold=2).tolist() == [False, False, True]
    assert boxes.inside_box((6, 4)).tolist() == [True, True, False]
    assert boxes.inside_box((6, 4), boundary_threshold=2).tolist() == [True, True, True]


def test_scale_is_in_place_and_by_axis():
    boxes = Boxes([[1, 2, 3, 4]])
    boxes.scale(2, 0.5)
    assert boxes.tensor.tolist() == [[2, 1, 6, 2]]


def test_indexing_gives_boxes():
    boxes = Boxes(random_boxes(4, 0))
    assert len(boxes[1]) == 1 and torch.equal(boxes[1].tensor[0], boxes.tensor[1])
    assert len(boxes[1:3]) == 2
    assert len(boxes[torch.tensor([True, False, True, True])]) == 3
    assert [tuple(row.shape) for row in boxes] == [(4,)] * 4


@pytest.mark.parametrize("empty", [[], torch.zeros(0), torch.zeros(0, 4)])
def test_no_boxes_have_shape_0_4(empty):
    boxes = Boxes(empty)
    assert boxes.tensor.shape == (0, 4) and boxes.tensor.dtype == torch.float32
    assert Boxes.cat([boxes, Boxes(random_boxes(2, 0))]).tensor.shape == (2, 4)


@pytest.mark.parametrize("shape", [(3,), (2, 5), (1, 2, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(AssertionError):
        Boxes(torch.zeros(shape))
