import lowres_d2  # noqa: F401

import pytest
import torch
from detectron2.layers import ROIAlign, batched_nms, ciou_loss, diou_loss, nms
from hypothesis import given, settings
from hypothesis import strategies as st


def greedy(boxes, scores, groups, threshold):
    """NMS as in a textbook, one pair at a time."""
    kept = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        for j in kept:
            low = torch.maximum(boxes[i, :2], boxes[j, :2])
            sides = (torch.minimum(boxes[i, 2:], boxes[j, 2:]) - low).clamp(min=0)
            areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (boxes[i], boxes[j])]
            shared = sides.prod()
            if groups[i] == groups[j] and shared / (sum(areas) - shared) > threshold:
                break
        else:
            kept.append(i)
    return kept


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 25), st.sampled_from([0.2, 0.5, 0.8]), st.integers(0, 10**6))
def test_batched_nms_is_the_textbooks_within_groups(count, threshold, seed):
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.rand(count, 4, generator=generator) * 20
    boxes[:, 2:] += boxes[:, :2] + 1
    scores = torch.rand(count, generator=generator)
    groups = torch.randint(0, 3, (count,), generator=generator)
    expected = greedy(boxes, scores, groups, threshold)
    assert batched_nms(boxes, scores, groups, threshold).tolist() == expected
    everything = greedy(boxes, scores, torch.zeros_like(groups), threshold)
    assert nms(boxes, scores, threshold).tolist() == everything


def test_batched_nms_takes_half_precision():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], dtype=torch.float16)
    kept = batched_nms(boxes, torch.tensor([0.5, 0.9, 0.1]), torch.zeros(3), 0.5)
    assert kept.tolist() == [1, 2]


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_roi_align_of_a_ramp_is_exact_at_the_bin_centres(scale):
    # With aligned=True cell k of the feature map is at (k + 0.5) / scale of the image.
    ramp = (torch.arange(20.0) + 0.5) / scale
    features = torch.stack(torch.meshgrid(ramp, ramp, indexing="ij"))[None]
    box = torch.tensor([[0.0, 4, 6, 16, 14]]) / scale
    box[:, 0] = 0
    pooled = ROIAlign((2, 4), scale, 2, aligned=True)(features, box)[0]
    torch.testing.assert_close(pooled[0, :, 0], torch.tensor([8.0, 12]) / scale)
    torch.testing.assert_close(pooled[1, 0], torch.tensor([5.5, 8.5, 11.5, 14.5]) / scale)


def test_roi_align_of_no_regions():
    assert ROIAlign(7, 1.0, 0)(torch.zeros(1, 3, 8, 8), torch.zeros(0, 5)).shape == (0, 3, 7, 7)


def test_roi_align_refuses_boxes_without_batch_index():
    with pytest.raises(AssertionError):
        ROIAlign(7, 1.0, 0)(torch.zeros(1, 3, 8, 8), torch.zeros(2, 4))


@pytest.mark.parametrize("loss", [diou_loss, ciou_loss])
def test_iou_losses_of_equal_and_of_no_boxes(loss):
    boxes = torch.tensor([[0.0, 0, 4, 2], [1, 1, 3, 9]])
    assert loss(boxes, boxes).tolist() == pytest.approx([0, 0], abs=1e-6)
    nothing = torch.zeros(0, 4, requires_grad=True)
    assert loss(nothing, nothing, reduction="mean").item() == 0


def test_diou_of_separate_boxes_is_one_plus_the_distance_term():
    first, second = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[4.0, 0, 6, 2]])
    # centres 4 apart, enclosing box 6 x 2
    assert diou_loss(first, second).item() == pytest.approx(1 + 16 / 40, rel=1e-5)
    # equal aspect ratios: nothing more in CIoU
    assert ciou_loss(first, second).item() == pytest.approx(1 + 16 / 40, rel=1e-5)
