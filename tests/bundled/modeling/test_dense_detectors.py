"""RetinaNet and FCOS: which cells are positive, the losses, and the output of exact predictions."""

from __future__ import annotations

import math

import lowres_d2

import pytest
import torch
import torchvision
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.backbone import Backbone
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.meta_arch.dense_detector import DenseDetector, permute_to_N_HWA_K
from detectron2.modeling.meta_arch.fcos import FCOS, FCOSHead
from detectron2.modeling.meta_arch.retinanet import RetinaNet, RetinaNetHead
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

BUNDLED = lowres_d2.detectron2_provider() == "bundled"
STRIDES, CHANNELS, K = (8, 16, 32), 8, 3
LEVELS = ["p3", "p4", "p5"]
SHAPES = [ShapeSpec(channels=CHANNELS, stride=s) for s in STRIDES]


class TinyBackbone(Backbone):
    """One convolution per level."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, CHANNELS, s, stride=s) for s in STRIDES)

    @property
    def size_divisibility(self):
        return STRIDES[-1]

    def forward(self, x):
        # Not in order, so that sorting by stride shows.
        levels = zip(reversed(LEVELS), reversed(self.convs), strict=True)
        return {name: conv(x) for name, conv in levels}

    def output_shape(self):
        return dict(zip(reversed(LEVELS), reversed(SHAPES), strict=True))


def make(kind: str, **kwargs) -> DenseDetector:
    torch.manual_seed(0)
    common = dict(
        backbone=TinyBackbone(), num_classes=K, pixel_mean=[100.0] * 3, pixel_std=[50.0] * 3
    )
    if kind == "fcos":
        head = FCOSHead(input_shape=SHAPES, num_classes=K, conv_dims=[CHANNELS])
        return FCOS(**(common | dict(head=head) | kwargs))
    anchors = DefaultAnchorGenerator(
        sizes=[[2 * s] for s in STRIDES], aspect_ratios=[0.5, 1.0, 2.0], strides=STRIDES
    )
    rest = dict(
        head=RetinaNetHead(input_shape=SHAPES, num_classes=K, num_anchors=3, conv_dims=[CHANNELS]),
        head_in_features=LEVELS,
        anchor_generator=anchors,
        box2box_transform=Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
        anchor_matcher=Matcher([0.4, 0.5], [0, -1, 1], allow_low_quality_matches=True),
    )
    return RetinaNet(**(common | rest | kwargs))


def truth(size: tuple[int, int], boxes: list[list[float]], classes: list[int]) -> Instances:
    target = Instances(size)
    target.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    target.gt_classes = torch.tensor(classes, dtype=torch.int64)
    return target


OBJECTS = ([[5.0, 6, 25, 30], [20, 10, 70, 60], [22, 30, 40, 44]], [0, 2, 1])


def batch(*targets: tuple[list, list]) -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    inputs = []
    for k, (boxes, classes) in enumerate(targets or (OBJECTS, ([[3.0, 3, 90, 61]], [1]))):
        size = (64, 96 - 10 * k)
        image = torch.rand(3, *size, generator=generator) * 255
        inputs.append({"image": image, "instances": truth(size, boxes, classes)})
    return inputs


def train(model: DenseDetector, inputs: list[dict]) -> tuple[dict[str, torch.Tensor], EventStorage]:
    model.train()
    with EventStorage(0) as storage:
        return model(inputs), storage


@pytest.fixture(params=["retinanet", "fcos"])
def kind(request) -> str:
    return request.param


def test_predictions_come_in_the_order_of_the_anchors():
    anchors, channels, height, width = 2, 3, 4, 5
    tensor = torch.arange(2 * 6 * 20).reshape(2, 6, height, width)
    got = permute_to_N_HWA_K(tensor, channels)
    for row, column, anchor in ((0, 0, 1), (2, 3, 0), (3, 4, 1)):
        index = (row * width + column) * anchors + anchor
        cell = tensor[1, anchor * channels : (anchor + 1) * channels, row, column]
        assert torch.equal(got[1, index], cell)


def test_levels_are_sorted_by_stride_and_buffers_are_not_saved():
    model = make("fcos")
    assert list(model.head_in_features) == LEVELS
    assert not [k for k in model.state_dict() if "pixel" in k or "anchor" in k]
    assert not [k for k in make("retinanet").state_dict() if "pixel" in k or "anchor" in k]


def test_retinanet_is_registered():
    assert META_ARCH_REGISTRY.get("RetinaNet") is RetinaNet


def cells(size: tuple[int, int] = (64, 96)) -> list[torch.Tensor]:
    return [torch.zeros(1, 1, size[0] // s, size[1] // s) for s in STRIDES]


def suits(box: list[float], x: float, y: float, level: int, radius: float) -> bool:
    """The rule of FCOS, for one cell, whose centre is (x, y)."""
    x1, y1, x2, y2 = box
    stride = STRIDES[level]
    sides = (x - x1, y - y1, x2 - x, y2 - y)
    low = 0 if level == 0 else 4 * stride
    high = math.inf if level == len(STRIDES) - 1 else 8 * stride
    reach = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2))
    return reach < radius * stride and min(sides) > 0 and low < max(sides) < high


@pytest.mark.parametrize("radius, at_least", [(1.5, 10), (0.75, 2)])
def test_fcos_positives_are_those_of_the_rule_and_the_smallest_object_wins(radius, at_least):
    model = make("fcos", center_sampling_radius=radius)
    boxes = [[0.0, 0, 64, 64], [8, 8, 40, 40], [4, 4, 12, 12], [16, 16, 48, 48], [1, 1, 95, 63]]
    boxes += [[0.0, 0, 600, 600], [30, 30, 30, 30]]
    target = truth((64, 96), boxes, [0, 1, 2, 0, 1, 2, 0])
    anchors = model.anchor_generator(cells())
    quality = model._match_anchors(target.gt_boxes, anchors)
    (labels,), (matched,) = model.label_anchors(anchors, [target])
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in boxes]
    index = positives = 0
    for level, map_ in enumerate(cells()):
        for row in range(map_.shape[2]):
            for column in range(map_.shape[3]):
                x, y = ((k + 0.5) * STRIDES[level] for k in (column, row))
                chosen = [m for m, box in enumerate(boxes) if suits(box, x, y, level, radius)]
                assert (quality[:, index] > 0).nonzero()[:, 0].tolist() == chosen
                if chosen:
                    best = min(chosen, key=lambda m: areas[m])
                    assert labels[index] == target.gt_classes[best]
                    assert matched[index].tolist() == boxes[best]
                    positives += 1
                else:
                    assert labels[index] == K
                index += 1
    assert index == len(labels) and positives >= at_least


def test_retinanet_labels_follow_the_overlap():
    model = make("retinanet")
    anchors = model.anchor_generator(cells())
    box = [10.0, 12, 40, 50]
    (labels, empty), (matched, _) = model.label_anchors(
        anchors, [truth((64, 96), [box], [1]), truth((64, 96), [], [])]
    )
    overlap = torchvision.ops.box_iou(Boxes.cat(anchors).tensor, torch.tensor([box]))[:, 0]
    positive = (overlap >= 0.5) | (overlap == overlap.max())
    ignored = (overlap >= 0.4) & ~positive
    assert torch.equal(labels == 1, positive) and positive.any()
    assert torch.equal(labels == -1, ignored)
    assert (labels[~positive & ~ignored] == K).all() and (empty == K).all()
    assert (matched[positive] == torch.tensor(box)).all()


def test_centerness_is_one_at_the_centre_and_follows_the_formula():
    model = make("fcos")
    anchors = [Boxes([[8.0, 8, 16, 16], [8, 8, 16, 16]])]  # centre (12, 12)
    boxes = torch.tensor([[2.0, 4, 22, 20], [10, 8, 20, 20]])
    expected = torch.tensor([[1.0, math.sqrt((2 / 8) * (4 / 8))]])
    torch.testing.assert_close(model.compute_ctrness_targets(anchors, [boxes]), expected)


def dense_predictions(model: DenseDetector, inputs: list[dict], dims: list[int]):
    """Anchors and (N, S, dim) predictions, independent of the detector's own code."""
    images = model.preprocess_image(inputs)
    features = [model.backbone(images.tensor)[name] for name in LEVELS]
    predictions = []
    for levels, dim in zip(model.head(features), dims, strict=True):
        flat = [p.permute(0, 2, 3, 1).reshape(len(p), -1, dim) for p in levels]
        predictions.append(torch.cat(flat, dim=1))
    return model.anchor_generator(features), predictions


def test_fcos_losses_are_the_papers():
    model, inputs = make("fcos"), batch()
    losses, storage = train(model, inputs)
    anchors, (logits, deltas, center) = dense_predictions(model, inputs, [K, 4, 1])
    labels, boxes = (
        torch.stack(t) for t in model.label_anchors(anchors, [x["instances"] for x in inputs])
    )
    positive = labels < K
    normalizer = 0.9 * 300 + 0.1 * positive.sum()
    target = nn.functional.one_hot(labels, K + 1)[..., :K].float()
    focal = torchvision.ops.sigmoid_focal_loss(logits, target, 0.25, 2.0, reduction="sum")
    cells_ = Boxes.cat(anchors).tensor.expand(2, -1, 4)[positive]
    middle, stride = (cells_[:, :2] + cells_[:, 2:]) / 2, cells_[:, 2:] - cells_[:, :2]
    reach = deltas[positive].relu()
    decoded = torch.cat([middle - reach[:, :2] * stride, middle + reach[:, 2:] * stride], dim=1)
    giou = torchvision.ops.generalized_box_iou_loss(decoded, boxes[positive], reduction="sum")
    low, high = middle - boxes[positive][:, :2], boxes[positive][:, 2:] - middle
    wanted = (torch.minimum(low, high) / torch.maximum(low, high)).prod(dim=1).sqrt()
    bce = nn.functional.binary_cross_entropy_with_logits(
        center[positive][:, 0], wanted, reduction="sum"
    )
    expected = {"loss_fcos_cls": focal, "loss_fcos_loc": giou, "loss_fcos_ctr": bce}
    assert set(losses) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value / normalizer, rtol=1e-4, atol=1e-6)
    assert storage.latest()["num_pos_anchors"][0] == positive.sum() / 2


@pytest.mark.parametrize("box_loss", ["smooth_l1", "giou"])
def test_retinanet_losses_are_the_papers(box_loss):
    model, inputs = make("retinanet", box_reg_loss_type=box_loss, smooth_l1_beta=0.1), batch()
    losses, _ = train(model, inputs)
    anchors, (logits, deltas) = dense_predictions(model, inputs, [K, 4])
    labels, boxes = (
        torch.stack(t) for t in model.label_anchors(anchors, [x["instances"] for x in inputs])
    )
    valid, positive = labels >= 0, (labels >= 0) & (labels < K)
    normalizer = 0.9 * 100 + 0.1 * positive.sum()
    target = nn.functional.one_hot(labels[valid], K + 1)[:, :K].float()
    focal = torchvision.ops.sigmoid_focal_loss(logits[valid], target, 0.25, 2.0, reduction="sum")
    sources = Boxes.cat(anchors).tensor.expand(2, -1, 4)[positive]
    coder = torchvision.models.detection._utils.BoxCoder((1.0, 1.0, 1.0, 1.0))
    if box_loss == "giou":
        decoded = coder.decode_single(deltas[positive], sources)
        box = torchvision.ops.generalized_box_iou_loss(decoded, boxes[positive], reduction="sum")
    else:
        wanted = coder.encode_single(boxes[positive], sources)
        box = nn.functional.smooth_l1_loss(deltas[positive], wanted, beta=0.1, reduction="sum")
    torch.testing.assert_close(losses["loss_cls"], focal / normalizer, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(losses["loss_box_reg"], box / normalizer, rtol=1e-4, atol=1e-6)


def test_the_normalizer_is_a_running_average_and_not_saved(kind):
    model = make(kind)
    empty = batch(([], []), ([], []))
    start = 300 if kind == "fcos" else 100
    for step in (1, 2):
        train(model, empty)
        # No positives count as one.
        assert model.loss_normalizer == pytest.approx(start * 0.9**step + 1 - 0.9**step)
    assert "loss_normalizer" not in model.state_dict()


def test_images_without_objects_train_the_classes_alone(kind):
    model = make(kind)
    losses, _ = train(model, batch(([], []), ([], [])))
    sum(losses.values()).backward()
    for name, loss in losses.items():
        assert loss > 0 if "cls" in name else loss == 0
    assert model.head.cls_score.weight.grad.abs().sum() > 0
    assert not model.head.bbox_pred.weight.grad.any()


def test_every_parameter_gets_a_gradient(kind):
    model = make(kind)
    losses, _ = train(model, batch())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in model.parameters())
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.skipif(not BUNDLED, reason="upstream needs an event storage")
def test_training_runs_without_an_event_storage(kind):
    alone, logged = make(kind).train()(batch()), train(make(kind), batch())[0]
    assert alone == logged


@pytest.mark.skipif(not BUNDLED, reason="upstream's FCOS cannot train in mixed precision")
def test_mixed_precision_trains_and_detects_nearly_the_same(kind):
    exact, _ = train(make(kind), batch())
    model = make(kind, test_score_thresh=0.0)
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = train(model, batch())
        found = model.eval()(batch())[0]["instances"]
    sum(losses.values()).backward()
    for name, loss in losses.items():
        torch.testing.assert_close(loss.float(), exact[name], rtol=0.02, atol=1e-3)
    assert found.pred_boxes.tensor.dtype == torch.float32 and len(found) > 0


def test_detections_do_not_depend_on_the_size_of_the_image_before(kind):
    images = [{"image": 255 * torch.rand(3, *size)} for size in ((64, 96), (96, 64), (64, 96))]
    model = make(kind, test_score_thresh=0.0).eval()
    with torch.inference_mode():
        together = [model([image])[0]["instances"] for image in images]
        alone = [make(kind, test_score_thresh=0.0).eval()([x])[0]["instances"] for x in images]
    for one, other in zip(together, alone, strict=True):
        assert len(one) > 0
        assert torch.equal(one.pred_boxes.tensor, other.pred_boxes.tensor)


def test_trains_on_the_size_that_was_seen_in_inference_mode(kind):
    model = make(kind)
    with torch.inference_mode():
        model.eval()([{"image": torch.rand(3, 64, 96)}])
    losses, _ = train(model, batch(OBJECTS))
    expected, _ = train(make(kind), batch(OBJECTS))
    sum(losses.values()).backward()
    assert {k: v.item() for k, v in losses.items()} == {k: v.item() for k, v in expected.items()}


@pytest.mark.skipif(not BUNDLED, reason="upstream refuses with an assertion")
def test_missing_ground_truth_is_named(kind):
    with pytest.raises(KeyError, match="instances"):
        make(kind).train()([{"image": torch.zeros(3, 32, 32)}])


class Oracle(nn.Module):
    """A head that predicts given objects exactly, at their best cell, whatever it sees."""

    def __init__(self, kind: str, objects: list[tuple[list[float], int, float]]):
        super().__init__()
        self.kind, self.objects = kind, objects
        self.transform, self.anchors = None, None

    def forward(self, features):
        model = make(self.kind)
        per_cell = 1 if self.kind == "fcos" else 3
        predictions = []
        for feature, anchors in zip(features, model.anchor_generator(features), strict=True):
            logits = torch.full((len(anchors), K), -20.0)
            deltas = torch.zeros(len(anchors), 4)
            for box, label, logit in self.objects:
                goal = torch.tensor([box])
                best = torchvision.ops.box_iou(anchors.tensor, goal).argmax()
                logits[best, label] = logit
                source = anchors.tensor[best : best + 1]
                deltas[best] = model.box2box_transform.get_deltas(source, goal)[0]
            predictions.append(
                [
                    p.reshape(*feature.shape[-2:], per_cell * p.shape[1]).permute(2, 0, 1)[None]
                    for p in (logits, deltas, torch.full((len(anchors), 1), 20.0))
                ]
            )
        kinds = 3 if self.kind == "fcos" else 2
        return tuple([level[i] for level in predictions] for i in range(kinds))


@torch.no_grad()
def detect(kind: str, objects: list, **kwargs) -> Instances:
    model = make(kind, head=Oracle(kind, objects), **kwargs).eval()
    (result,) = model([{"image": torch.zeros(3, 64, 90), "height": 128, "width": 270}])
    return result["instances"]


def score(kind: str, logit: float) -> float:
    probability = 1 / (1 + math.exp(-logit))
    return math.sqrt(probability) if kind == "fcos" else probability


def test_right_predictions_come_out_in_the_size_asked_for(kind):
    objects = [([5.0, 6, 25, 30], 0, 3.0), ([40, 10, 85, 60], 2, 1.0)]
    found = detect(kind, objects)
    assert found.image_size == (128, 270)
    scale = torch.tensor([3.0, 2, 3, 2])
    expected = torch.tensor([box for box, _, _ in objects]) * scale
    torch.testing.assert_close(found.pred_boxes.tensor, expected, rtol=1e-4, atol=1e-3)
    assert found.pred_classes.tolist() == [0, 2]
    torch.testing.assert_close(
        found.scores, torch.tensor([score(kind, logit) for _, _, logit in objects])
    )


@pytest.mark.parametrize(
    "kwargs, classes",
    [
        ({}, [0, 1, 1]),
        (dict(test_score_thresh=0.9), [0, 1]),
        (dict(max_detections_per_image=1), [0]),
        # One candidate per level, and each level has the same best.
        (dict(test_topk_candidates=1), [0]),
    ],
)
def test_thresholds_and_limits_hold(kind, kwargs, classes):
    objects = [([5.0, 6, 25, 30], 0, 6.0), ([40, 10, 85, 60], 1, 5.0), ([20, 40, 38, 62], 1, 1.0)]
    assert detect(kind, objects, **kwargs).pred_classes.tolist() == classes


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@torch.no_grad()
def test_non_finite_predictions_give_no_finite_box(kind, value):
    model = make(kind).eval()
    images = model.preprocess_image(batch())
    features = cells()
    dims = (K, 4, 1) if kind == "fcos" else (3 * K, 12)
    predictions = [[torch.full((2, dim, *f.shape[-2:]), value) for f in features] for dim in dims]
    for result in model.forward_inference(images, features, predictions):
        assert not torch.isfinite(result.pred_boxes.tensor).all(dim=1).any()


@pytest.mark.skipif(not BUNDLED, reason="upstream's FCOS applies the sigmoid in place")
@torch.no_grad()
def test_inference_leaves_the_heads_output_alone(kind):
    model, seen = make(kind).eval(), []
    for layer in model.head.children():
        layer.register_forward_hook(lambda m, i, output: seen.append((output, output.clone())))
    model([{"image": torch.rand(3, 32, 32)}])
    assert len(seen) >= 4 * len(LEVELS) and all(torch.equal(a, b) for a, b in seen)


@pytest.mark.parametrize("head_class", [RetinaNetHead, FCOSHead])
@pytest.mark.parametrize("norm", ["", "GN", "BN"])
def test_heads_start_at_the_prior_and_share_their_weights(head_class, norm):
    extra = dict(num_anchors=2) if head_class is RetinaNetHead else {}
    head = head_class(
        input_shape=[ShapeSpec(channels=16)] * 2,
        num_classes=K,
        conv_dims=[32, 32],
        norm=norm,
        prior_prob=0.02,
        **extra,
    ).eval()
    x = torch.randn(1, 16, 6, 5)
    outputs = head([x, x])
    assert [o[0].shape[1] for o in outputs] == ([6, 8] if extra else [K, 4, 1])
    for first, second in outputs:
        torch.testing.assert_close(first, second)
    assert outputs[0][0].sigmoid().mean().item() == pytest.approx(0.02, rel=0.3)


def test_batch_norm_keeps_statistics_for_each_level():
    head = RetinaNetHead(
        input_shape=[ShapeSpec(channels=16)] * 2,
        num_classes=K,
        num_anchors=1,
        conv_dims=[16],
        norm="BN",
    )
    head([torch.zeros(2, 16, 4, 4), torch.randn(2, 16, 4, 4)])
    quiet, loud = (head.state_dict()[f"cls_subnet.1.{level}.running_var"] for level in (0, 1))
    assert (quiet < loud).all()


def test_training_can_be_visualized():
    model, inputs = make("retinanet"), batch()
    inputs[0]["image"] = inputs[0]["image"].to(torch.uint8)
    result = Instances((64, 96), pred_boxes=Boxes([[1.0, 2, 30, 40]]), scores=torch.ones(1))
    with EventStorage(0) as storage:
        model.visualize_training(inputs, [result, result])
    ((_, image, _),) = storage._vis_data
    assert image.shape == (3, 128, 96)
