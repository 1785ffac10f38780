"""The region proposal network against formulas and a plain reference."""

from __future__ import annotations

import math

import pytest
import torch
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator import RPN, StandardRPNHead
from detectron2.modeling.proposal_generator.proposal_utils import (
    add_ground_truth_to_proposals,
    find_top_rpn_proposals,
)
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import nn
from torchvision.ops import clip_boxes_to_image, nms

SIZE = (64, 96)


class FixedHead(nn.Module):
    """Predicts zeros (trainable), and a high objectness where the test says."""

    def __init__(self, num_anchors: int, best: tuple[int, int, int] | None = None) -> None:
        super().__init__()
        self.num_anchors, self.best = num_anchors, best
        self.zero = nn.Parameter(torch.zeros(()))

    def forward(self, features):
        logits, deltas = [], []
        for x in features:
            n, _, h, w = x.shape
            logit = torch.zeros(n, self.num_anchors, h, w)
            if self.best is not None:
                logit[(slice(None), *self.best)] = 5.0
            logits.append(logit + self.zero)
            deltas.append(torch.zeros(n, self.num_anchors * 4, h, w) + self.zero)
        return logits, deltas


def make_rpn(head: nn.Module, **changes) -> RPN:
    arguments = dict(
        in_features=["p4"],
        head=head,
        anchor_generator=DefaultAnchorGenerator(
            sizes=[[16, 32]], aspect_ratios=[0.5, 1.0], strides=[16]
        ),
        anchor_matcher=Matcher([0.3, 0.7], [0, -1, 1], allow_low_quality_matches=True),
        box2box_transform=Box2BoxTransform(weights=(1.0, 1.0, 1.0, 1.0)),
        batch_size_per_image=8,
        positive_fraction=0.5,
        pre_nms_topk=(40, 20),
        post_nms_topk=(10, 5),
    )
    return RPN(**(arguments | changes))


def target(*boxes: tuple[float, ...]) -> Instances:
    return Instances(SIZE, gt_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)))


def batch(count: int = 1):
    images = ImageList(torch.zeros(count, 3, *SIZE), [SIZE] * count)
    return images, {"p4": torch.zeros(count, 2, SIZE[0] // 16, SIZE[1] // 16)}


@pytest.mark.parametrize(
    ("conv_dims", "names", "channels"),
    [
        ([-1], ["conv.weight", "conv.bias"], 12),
        ([6], ["conv.weight", "conv.bias"], 6),
        ([6, -1], [f"conv.conv{i}.{name}" for i in (0, 1) for name in ("weight", "bias")], 6),
    ],
)
def test_head_has_upstreams_parameter_names_and_shapes(conv_dims, names, channels):
    head = StandardRPNHead(in_channels=12, num_anchors=3, box_dim=4, conv_dims=conv_dims)
    state = head.state_dict()
    assert [key for key in state if key.startswith("conv.")] == names
    assert state["objectness_logits.weight"].shape == (3, channels, 1, 1)
    assert state["anchor_deltas.weight"].shape == (12, channels, 1, 1)
    assert all((state[key] == 0).all() for key in state if key.endswith("bias"))
    logits, deltas = head([torch.zeros(2, 12, 5, 7), torch.zeros(2, 12, 3, 4)])
    assert [x.shape[1:] for x in logits] == [(3, 5, 7), (3, 3, 4)]
    assert [x.shape[1:] for x in deltas] == [(12, 5, 7), (12, 3, 4)]


def test_head_refuses_an_impossible_width():
    with pytest.raises(ValueError):
        StandardRPNHead(in_channels=4, num_anchors=3, conv_dims=[4, 0])


@pytest.mark.parametrize("best", [(0, 0, 0), (1, 2, 3), (3, 1, 5)])
def test_the_best_logit_proposes_the_anchor_of_its_cell(best):
    rpn = make_rpn(FixedHead(4, best)).eval()
    images, features = batch()
    proposals, losses = rpn(images, features)
    anchor_index, row, column = best
    anchors = rpn.anchor_generator.generate_cell_anchors((16, 32), (0.5, 1.0))
    shift = (torch.tensor([column, row, column, row]) + 0.5) * 16.0
    expected = clip_boxes_to_image(anchors[anchor_index] + shift, SIZE)
    torch.testing.assert_close(proposals[0].proposal_boxes.tensor[0], expected)
    assert proposals[0].objectness_logits[0] == 5.0
    assert losses == {}
    assert len(proposals[0]) <= 5


def reference_proposals(boxes, logits, size, threshold, before, after, shortest):
    """Of one image, by plain loops."""
    kept = []
    for level_boxes, level_logits in zip(boxes, logits, strict=True):
        order = level_logits.argsort(descending=True)[:before]
        clipped, scores = clip_boxes_to_image(level_boxes[order], size), level_logits[order]
        sides = clipped[:, 2:] - clipped[:, :2]
        large = (sides[:, 0] > shortest) & (sides[:, 1] > shortest)
        clipped, scores = clipped[large], scores[large]
        keep = nms(clipped, scores, threshold)
        kept += [(score.item(), box) for score, box in zip(scores[keep], clipped[keep])]  # noqa: B905
    kept.sort(key=lambda pair: -pair[0])
    return torch.stack([box for _, box in kept[:after]]), [score for score, _ in kept[:after]]


@pytest.mark.parametrize("training", [True, False])
def test_top_proposals_equal_a_plain_reference(training):
    generator = torch.Generator().manual_seed(1)
    boxes, logits = [], []
    for count in (50, 20, 3):
        corner = torch.rand(2, count, 2, generator=generator) * 90 - 10
        extent = torch.rand(2, count, 2, generator=generator) * 40
        boxes.append(torch.cat([corner, corner + extent], dim=2))
        logits.append(torch.randn(2, count, generator=generator))
    sizes, settings = [(64, 96), (50, 70)], (0.5, 30, 25)
    found = find_top_rpn_proposals(boxes, logits, sizes, *settings, 4.0, training)
    for index, size in enumerate(sizes):
        expected, scores = reference_proposals(
            [b[index] for b in boxes], [x[index] for x in logits], size, *settings, 4.0
        )
        assert found[index].image_size == size
        torch.testing.assert_close(found[index].proposal_boxes.tensor, expected)
        assert found[index].objectness_logits.tolist() == scores


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("where", ["boxes", "logits"])
def test_non_finite_proposals_are_dropped_and_stop_training(value, where):
    boxes = torch.tensor([[[0.0, 0, 9, 9], [20, 20, 30, 30], [40, 40, 60, 60]]])
    logits = torch.tensor([[3.0, 2.0, 1.0]])
    (boxes[0, 1] if where == "boxes" else logits[0, 1:2])[0] = value
    arguments = ([boxes], [logits], [SIZE], 0.5, 10, 10, 0.0)
    kept = find_top_rpn_proposals(*arguments, False)[0]
    torch.testing.assert_close(kept.proposal_boxes.tensor, boxes[0, [0, 2]])
    with pytest.raises(FloatingPointError):
        find_top_rpn_proposals(*arguments, True)


def test_sampling_keeps_a_balanced_part_and_ignores_the_rest():
    rpn = make_rpn(FixedHead(4))
    anchors = rpn.anchor_generator([batch()[1]["p4"]])
    exact = anchors[0].tensor[37]
    targets = [target(exact.tolist()), target()]
    labels, boxes = rpn.label_and_sample_anchors(anchors, targets)
    assert labels[0][37] == 1
    assert torch.equal(boxes[0][37], exact)
    for label in labels:
        assert (label >= 0).sum() == 8
        assert (label == 1).sum() <= 4
    assert (labels[1] == 1).sum() == 0
    assert boxes[1].shape == anchors[0].tensor.shape


def test_anchors_outside_the_image_can_be_ignored():
    rpn = make_rpn(FixedHead(4), anchor_boundary_thresh=0, batch_size_per_image=1000)
    anchors = rpn.anchor_generator([batch()[1]["p4"]])
    (label,), _ = rpn.label_and_sample_anchors(anchors, [target((20.0, 20.0, 52.0, 52.0))])
    inside = anchors[0].inside_box(SIZE)
    assert inside.any() and not inside.all()
    assert (label[~inside] == -1).all()
    assert (label[inside] == 0).any()


@pytest.mark.parametrize("weight", [1.0, {"loss_rpn_cls": 2.0, "loss_rpn_loc": 0.5}])
def test_losses_of_a_head_that_predicts_zeros(weight):
    rpn = make_rpn(FixedHead(4), loss_weight=weight)
    images, features = batch(2)
    gt = (18.0, 20.0, 50.0, 47.0)
    anchors = rpn.anchor_generator([features["p4"]])
    torch.manual_seed(0)
    labels, _ = rpn.label_and_sample_anchors(anchors, [target(gt), target()])
    torch.manual_seed(0)
    with EventStorage() as storage:
        _, losses = rpn(images, features, [target(gt), target()])
    positive = anchors[0].tensor[labels[0] == 1]
    deltas = rpn.box2box_transform.get_deltas(positive, torch.tensor(gt).expand_as(positive))
    factors = weight if isinstance(weight, dict) else {}
    # All 16 sampled anchors have a probability of one half; the paper's normalizer is 8 x 2.
    expected = math.log(2) * factors.get("loss_rpn_cls", 1.0)
    assert losses["loss_rpn_cls"].item() == pytest.approx(expected, rel=1e-6)
    expected = deltas.abs().sum().item() / 16 * factors.get("loss_rpn_loc", 1.0)
    assert losses["loss_rpn_loc"].item() == pytest.approx(expected, rel=1e-6)
    assert storage.latest()["rpn/num_pos_anchors"][0] == len(positive) / 2
    assert storage.latest()["rpn/num_neg_anchors"][0] == (16 - len(positive)) / 2


def test_training_reaches_the_head_but_proposals_carry_no_gradient():
    head = StandardRPNHead(in_channels=2, num_anchors=4)
    rpn = make_rpn(head)
    images, features = batch()
    with EventStorage():
        proposals, losses = rpn(images, features, [target((18.0, 20.0, 50.0, 47.0))])
    assert not proposals[0].proposal_boxes.tensor.requires_grad
    assert not proposals[0].objectness_logits.requires_grad
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in head.parameters())
    assert head.objectness_logits.bias.grad.abs().sum() > 0


def test_ground_truth_joins_the_proposals_as_sure():
    proposals = Instances(SIZE)
    proposals.proposal_boxes = Boxes([[0.0, 0.0, 5.0, 5.0]])
    proposals.objectness_logits = torch.tensor([0.25])
    targets = target((1.0, 2.0, 3.0, 4.0))
    targets.gt_classes = torch.tensor([1])
    (longer,) = add_ground_truth_to_proposals([targets], [proposals])
    assert longer.proposal_boxes.tensor.tolist() == [[0, 0, 5, 5], [1, 2, 3, 4]]
    assert longer.objectness_logits[0] == 0.25
    assert longer.objectness_logits[1].sigmoid() > 1 - 1e-6
    assert set(longer.get_fields()) == {"proposal_boxes", "objectness_logits"}
    assert add_ground_truth_to_proposals([], []) == []
    (same,) = add_ground_truth_to_proposals([targets.gt_boxes], [proposals])
    assert torch.equal(same.proposal_boxes.tensor, longer.proposal_boxes.tensor)
    with pytest.raises(ValueError):
        add_ground_truth_to_proposals([targets], [])
