"""Heads on regions against formulas and a plain reference."""

from __future__ import annotations

import math

import lowres_d2

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import (
    CascadeROIHeads,
    FastRCNNConvFCHead,
    FastRCNNOutputLayers,
    Res5ROIHeads,
    StandardROIHeads,
    select_foreground_proposals,
)
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import EventStorage
from torch import nn
from torchvision.ops import box_iou, clip_boxes_to_image, nms

SIZE = (64, 96)
CLASSES = 3
CHANNELS = 4
TRANSFORM = Box2BoxTransform(weights=(10.0, 10.0, 5.0, 5.0))
only_bundled = pytest.mark.skipif(
    lowres_d2.detectron2_provider() == "upstream", reason="upstream Detectron2 covers it"
)


def random_boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60 - 5
    return torch.cat([corner, corner + 4 + torch.rand(count, 2, generator=generator) * 40], dim=1)


def predictor(features: int = 16, **changes) -> FastRCNNOutputLayers:
    arguments = dict(box2box_transform=TRANSFORM, num_classes=CLASSES)
    return FastRCNNOutputLayers(ShapeSpec(channels=features), **(arguments | changes))


def labelled(count: int = 6) -> Instances:
    """Proposals near their objects, of all classes, half of them background."""
    gt = random_boxes(count)
    classes = torch.tensor([k % CLASSES if k % 2 == 0 else CLASSES for k in range(count)])
    return Instances(SIZE, proposal_boxes=Boxes(gt + 1.5), gt_boxes=Boxes(gt), gt_classes=classes)


def test_box_head_has_upstreams_parameter_names_and_sizes():
    head = FastRCNNConvFCHead(
        ShapeSpec(channels=4, height=7, width=7), conv_dims=[6, 5], fc_dims=[8, 9], conv_norm="BN"
    )
    shapes = {key: tuple(value.shape) for key, value in head.state_dict().items()}
    assert shapes["conv1.weight"] == (6, 4, 3, 3) and "conv1.bias" not in shapes
    assert shapes["conv2.norm.weight"] == (5,)
    assert shapes["fc1.weight"] == (8, 5 * 49) and shapes["fc2.weight"] == (9, 8)
    assert head.output_shape.channels == 9
    out = head(torch.randn(3, 4, 7, 7))
    assert out.shape == (3, 9) and (out >= 0).all()
    only_convolutions = FastRCNNConvFCHead(
        ShapeSpec(channels=4, height=7, width=5), conv_dims=[6], fc_dims=[]
    )
    assert only_convolutions.output_shape == ShapeSpec(channels=6, height=7, width=5)


def reference_detections(boxes, scores, threshold, overlap, most):
    """Of one image, by plain loops over classes."""
    found = []
    for label in range(scores.shape[1] - 1):
        columns = slice(0, 4) if boxes.shape[1] == 4 else slice(4 * label, 4 * label + 4)
        rows = (scores[:, label] > threshold).nonzero()[:, 0]
        clipped = clip_boxes_to_image(boxes[rows, columns], SIZE)
        for k in nms(clipped, scores[rows, label], overlap).tolist():
            found.append((scores[rows[k], label].item(), label, rows[k].item(), clipped[k]))
    found.sort(key=lambda entry: -entry[0])
    return found[:most]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("most", [5, 1000])
def test_inference_equals_a_plain_reference(shared, most):
    boxes = [random_boxes(30 if shared else 30 * CLASSES, s).reshape(30, -1) for s in (1, 2)]
    generator = torch.Generator().manual_seed(3)
    scores = [torch.randn(30, CLASSES + 1, generator=generator).softmax(dim=1) for _ in boxes]
    found, regions = fast_rcnn_inference(boxes, scores, [SIZE] * 2, 0.2, 0.4, most)
    for index in range(2):
        expected = reference_detections(boxes[index], scores[index], 0.2, 0.4, most)
        assert found[index].scores.tolist() == [entry[0] for entry in expected]
        assert found[index].pred_classes.tolist() == [entry[1] for entry in expected]
        assert regions[index].tolist() == [entry[2] for entry in expected]
        stacked = torch.stack([entry[3] for entry in expected])
        torch.testing.assert_close(found[index].pred_boxes.tensor, stacked)


def test_inference_drops_non_finite_regions():
    boxes, scores = random_boxes(4), torch.full((4, CLASSES + 1), 0.25)
    boxes[1, 2], scores[2, 0] = float("nan"), float("inf")
    (found,), _ = fast_rcnn_inference([boxes], [scores], [SIZE], 0.0, 1.0, -1)
    expected = clip_boxes_to_image(boxes[[0, 3]], SIZE)
    assert len(found) == 2 * CLASSES
    assert (torch.cdist(found.pred_boxes.tensor, expected).min(dim=1).values == 0).all()


@pytest.mark.parametrize("agnostic", [True, False])
def test_losses_follow_the_formula(agnostic):
    torch.manual_seed(0)
    layers = predictor(cls_agnostic_bbox_reg=agnostic, loss_weight={"loss_box_reg": 3.0})
    proposals = [labelled(6), labelled(4)]
    scores, deltas = layers(torch.randn(10, 16, 1, 1))
    with EventStorage() as storage:
        losses = layers.losses((scores, deltas), proposals)
    classes = torch.cat([p.gt_classes for p in proposals])
    total = 0.0
    row = 0
    for p in proposals:
        goal = TRANSFORM.get_deltas(p.proposal_boxes.tensor, p.gt_boxes.tensor)
        for k, label in enumerate(p.gt_classes.tolist()):
            if label < CLASSES:
                first = 0 if agnostic else 4 * label
                total += (deltas[row, first : first + 4] - goal[k]).abs().sum()
            row += 1
    torch.testing.assert_close(losses["loss_cls"], F.cross_entropy(scores, classes))
    torch.testing.assert_close(losses["loss_box_reg"], 3.0 * total / 10)
    correct = (scores.argmax(dim=1) == classes).float().mean().item()
    assert storage.latest()["fast_rcnn/cls_accuracy"][0] == pytest.approx(correct)


def test_sigmoid_losses_and_probabilities_leave_the_background_out():
    layers = predictor(use_sigmoid_ce=True)
    proposal = labelled(6)
    scores = torch.zeros(6, CLASSES + 1)
    with EventStorage():
        losses = layers.losses((scores, torch.zeros(6, 4 * CLASSES)), [proposal])
    # Each region has CLASSES binary decisions at a probability of one half.
    assert losses["loss_cls"].item() == pytest.approx(CLASSES * math.log(2), rel=1e-6)
    (probs,) = layers.predict_probs((scores + 1.0, None), [proposal])
    torch.testing.assert_close(probs, torch.full_like(probs, 1 / (1 + math.exp(-1))))


@pytest.mark.parametrize("kind", ["giou", "diou", "ciou"])
def test_overlap_losses_vanish_for_perfect_boxes(kind):
    layers = predictor(box_reg_loss_type=kind)
    proposal = labelled(6)
    goal = TRANSFORM.get_deltas(proposal.proposal_boxes.tensor, proposal.gt_boxes.tensor)
    with EventStorage():
        perfect = layers.losses((torch.zeros(6, 4), goal.repeat(1, CLASSES)), [proposal])
        wrong = layers.losses((torch.zeros(6, 4), goal.repeat(1, CLASSES) + 1), [proposal])
    assert abs(perfect["loss_box_reg"].item()) < 1e-4 < wrong["loss_box_reg"].item()


def test_boxes_of_the_true_class():
    layers = predictor()
    proposal = labelled(4)
    deltas = torch.randn(4, 4 * CLASSES)
    (every,) = layers.predict_boxes((None, deltas), [proposal])
    (chosen,) = layers.predict_boxes_for_gt_classes((None, deltas), [proposal])
    for k, label in enumerate(proposal.gt_classes.clamp(max=CLASSES - 1).tolist()):
        assert torch.equal(chosen[k], every[k, 4 * label : 4 * label + 4])
    assert layers.predict_boxes((None, deltas), []) == []


def test_foreground_is_what_is_neither_background_nor_ignored():
    proposal = Instances(SIZE, gt_classes=torch.tensor([0, CLASSES, -1, 2]))
    (kept,), (mask,) = select_foreground_proposals([proposal], CLASSES)
    assert kept.gt_classes.tolist() == [0, 2]
    assert mask.tolist() == [True, False, False, True]


COMMON = dict(num_classes=CLASSES, batch_size_per_image=12, positive_fraction=0.25)


def matcher(threshold: float = 0.5) -> Matcher:
    return Matcher([threshold], [0, 1], allow_low_quality_matches=False)


def pooler() -> ROIPooler:
    return ROIPooler(4, (1 / 8,), 0, "ROIAlignV2")


def box_head() -> FastRCNNConvFCHead:
    shape = ShapeSpec(channels=CHANNELS, height=4, width=4)
    return FastRCNNConvFCHead(shape, conv_dims=[], fc_dims=[16])


def standard(**changes) -> StandardROIHeads:
    arguments = dict(
        box_in_features=["p3"],
        box_pooler=pooler(),
        box_head=box_head(),
        box_predictor=predictor(),
        proposal_matcher=matcher(),
    )
    return StandardROIHeads(**COMMON, **(arguments | changes))


def c4() -> Res5ROIHeads:
    return Res5ROIHeads(
        in_features=["p3"],
        pooler=pooler(),
        res5=[nn.Conv2d(CHANNELS, 16, 3, stride=2), nn.ReLU()],
        box_predictor=predictor(),
        proposal_matcher=matcher(),
        **COMMON,
    )


def cascade(stages: int = 3) -> CascadeROIHeads:
    return CascadeROIHeads(
        box_in_features=["p3"],
        box_pooler=pooler(),
        box_heads=[box_head() for _ in range(stages)],
        box_predictors=[predictor(cls_agnostic_bbox_reg=True) for _ in range(stages)],
        proposal_matchers=[matcher(0.5 + 0.1 * stage) for stage in range(stages)],
        **COMMON,
    )


def batch(empty: bool = False):
    """Two images: features, 20 proposals each, and targets (the second may have none)."""
    torch.manual_seed(0)
    features = {"p3": torch.randn(2, CHANNELS, SIZE[0] // 8, SIZE[1] // 8, requires_grad=True)}
    proposals, targets = [], []
    for index in range(2):
        count = 0 if empty and index == 1 else 3
        gt = random_boxes(3, seed=10 + index)[:count]
        boxes = torch.cat([gt + 1, random_boxes(20 - count, seed=20 + index)])
        boxes = clip_boxes_to_image(boxes, SIZE)
        proposals.append(Instances(SIZE, proposal_boxes=Boxes(boxes)))
        proposals[-1].objectness_logits = torch.zeros(20)
        targets.append(Instances(SIZE, gt_boxes=Boxes(gt), gt_classes=torch.arange(count)))
    return ImageList(torch.zeros(2, 3, *SIZE), [SIZE] * 2), features, proposals, targets


def test_sampling_labels_by_overlap_and_adds_the_ground_truth():
    _, _, proposals, targets = batch(empty=True)
    targets[0].gt_names = torch.tensor([7, 8, 9])
    heads = standard()
    with EventStorage() as storage:
        first, second = heads.label_and_sample_proposals(proposals, targets)
    assert len(first) == len(second) == 12
    overlap = box_iou(first.proposal_boxes.tensor, targets[0].gt_boxes.tensor)
    best, index = overlap.max(dim=1)
    objects = first.gt_classes < CLASSES
    assert 0 < objects.sum() <= 3
    assert torch.equal(objects, best >= 0.5)
    assert torch.equal(first.gt_classes[objects], targets[0].gt_classes[index[objects]])
    assert torch.equal(first.gt_names[objects], targets[0].gt_names[index[objects]])
    assert (second.gt_classes == CLASSES).all() and not second.has("gt_boxes")
    assert storage.latest()["roi_head/num_fg_samples"][0] == objects.sum().item() / 2

    without = standard(proposal_append_gt=False)
    with EventStorage():
        first, _ = without.label_and_sample_proposals(proposals, targets)
    given = {tuple(box) for box in proposals[0].proposal_boxes.tensor.tolist()}
    assert all(tuple(box) in given for box in first.proposal_boxes.tensor.tolist())


@pytest.mark.parametrize("make", [standard, c4, cascade])
@pytest.mark.parametrize("empty", [False, True])
def test_heads_train_and_detect(make, empty):
    images, features, proposals, targets = batch(empty)
    heads = make()
    with EventStorage():
        _, losses = heads(images, features, proposals, targets)
    stages = [f"_stage{k}" for k in range(3)] if make is cascade else [""]
    assert set(losses) == {f"{name}{s}" for name in ("loss_cls", "loss_box_reg") for s in stages}
    sum(losses.values()).backward()
    assert features["p3"].grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in heads.parameters())

    heads.eval()
    with torch.no_grad():
        found, losses = heads(images, features, proposals)
    assert losses == {} and len(found) == 2
    for detections in found:
        boxes = detections.pred_boxes.tensor
        assert len(detections) > 0
        assert torch.equal(boxes, clip_boxes_to_image(boxes, SIZE))
        assert (detections.scores.diff() <= 0).all()
    assert heads.forward_with_given_boxes(features, found) == found


def test_predicted_boxes_can_replace_the_proposals():
    images, features, proposals, targets = batch()
    heads = standard(train_on_pred_boxes=True)
    with torch.no_grad():
        heads.box_predictor.bbox_pred.weight.zero_()
        heads.box_predictor.bbox_pred.bias.copy_(torch.tensor([10.0, 0, 0, 0]).repeat(CLASSES))
    torch.manual_seed(1)
    with EventStorage():
        sampled = heads.label_and_sample_proposals(proposals, targets)
    torch.manual_seed(1)
    with EventStorage():
        after, _ = heads(images, features, proposals, targets)
    # A delta of 10 / weight 10 moves each box by its own width.
    before = sampled[0].proposal_boxes.tensor
    width = before[:, 2] - before[:, 0]
    torch.testing.assert_close(after[0].proposal_boxes.tensor[:, 0], before[:, 0] + width)


def test_cascade_averages_scores_over_stages_on_refined_boxes():
    images, features, proposals, _ = batch()
    heads = cascade(2).eval()
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    with torch.no_grad():
        for layers, bias in zip(heads.box_predictor, logits, strict=True):
            layers.cls_score.weight.zero_()
            layers.cls_score.bias.copy_(bias)
            layers.bbox_pred.weight.zero_()
            layers.bbox_pred.bias.copy_(torch.tensor([2.0, 0, 0, 0]))  # a fifth of the width
            layers.test_nms_thresh = 1.0
        found, _ = heads(images, features, proposals)
    expected = logits.softmax(dim=1).mean(dim=0)[0].item()
    assert found[0].scores[0].item() == pytest.approx(expected, rel=1e-6)
    start = proposals[0].proposal_boxes.tensor[3:4]
    width = start[:, 2] - start[:, 0]
    once = clip_boxes_to_image(start + width[:, None] * torch.tensor([0.2, 0, 0.2, 0]), SIZE)
    width = once[:, 2] - once[:, 0]
    twice = clip_boxes_to_image(once + width[:, None] * torch.tensor([0.2, 0, 0.2, 0]), SIZE)
    assert (found[0].pred_boxes.tensor - twice).abs().amax(dim=1).min() < 1e-4


def test_cascade_of_one_stage_trains_like_the_standard_heads():
    """With T = 1 the gradient is scaled by one: same losses and same gradient on the features."""
    heads, single = standard(box_predictor=predictor(cls_agnostic_bbox_reg=True)), cascade(1)
    state = {
        key.replace("box_head.", "box_head.0.").replace("box_predictor.", "box_predictor.0."): value
        for key, value in heads.state_dict().items()
    }
    single.load_state_dict(state)
    results = []
    for model in (heads, single):
        images, features, proposals, targets = batch()
        torch.manual_seed(4)
        with EventStorage():
            _, losses = model(images, features, proposals, targets)
        sum(losses.values()).backward()
        results.append((list(losses.values()), features["p3"].grad))
    torch.testing.assert_close(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1])


@only_bundled
def test_what_is_not_covered_says_so():
    for make in (
        lambda: standard(mask_in_features=["p3"]),
        lambda: standard(keypoint_head=nn.Identity()),
        lambda: predictor(use_fed_loss=True),
    ):
        with pytest.raises(NotImplementedError, match="needs upstream Detectron2"):
            make()


@only_bundled
def test_heads_train_outside_an_event_storage():
    _, losses = standard()(*batch())
    assert sum(losses.values()).isfinite()
