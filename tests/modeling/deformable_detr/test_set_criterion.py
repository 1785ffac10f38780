"""Hungarian matching and the losses after it, against formulas in numpy and brute force."""

import itertools

import lowres_d2  # noqa: F401
from lowres_d2.modeling.deformable_detr.criterion import SetCriterion
from lowres_d2.modeling.deformable_detr.matcher import HungarianMatcher

import numpy as np
import pytest
import torch

CLASSES = 4


def predictions(queries=5, images=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, queries, CLASSES, generator=generator)
    boxes = torch.rand(images, queries, 4, generator=generator) * 0.4 + 0.2
    return {"pred_logits": logits, "pred_boxes": boxes}


def ground_truth(counts=(3, 1), seed=9):
    generator = torch.Generator().manual_seed(seed)
    return [
        {
            "labels": torch.randint(0, CLASSES, (count,), generator=generator),
            "boxes": torch.rand(count, 4, generator=generator) * 0.4 + 0.2,
        }
        for count in counts
    ]


def giou(a, b):
    ax0, ay0, ax1, ay1 = a[0] - a[2] / 2, a[1] - a[3] / 2, a[0] + a[2] / 2, a[1] + a[3] / 2
    bx0, by0, bx1, by1 = b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2
    width, height = min(ax1, bx1) - max(ax0, bx0), min(ay1, by1) - max(ay0, by0)
    common = max(width, 0) * max(height, 0)
    union = a[2] * a[3] + b[2] * b[3] - common
    hull = (max(ax1, bx1) - min(ax0, bx0)) * (max(ay1, by1) - min(ay0, by0))
    return common / union - (hull - union) / hull


def focal(logit, positive):
    p = 1 / (1 + np.exp(-logit))
    if positive:
        return -0.25 * (1 - p) ** 2 * np.log(p)
    return -0.75 * p**2 * np.log(1 - p)


def pair_cost(logits, box, label, gt_box):
    return (
        2 * (focal(logits[label], True) - focal(logits[label], False))
        + 5 * np.abs(box - gt_box).sum()
        - 2 * giou(box, gt_box)
    )


def expected_pairs(logits, boxes, target):
    """The cheapest of all injections of objects into queries."""
    labels, gt_boxes = target["labels"].numpy(), target["boxes"].double().numpy()
    ways = itertools.permutations(range(len(logits)), len(labels))
    costs = {
        way: sum(pair_cost(logits[q], boxes[q], labels[m], gt_boxes[m]) for m, q in enumerate(way))
        for way in ways
    }
    return list(enumerate(min(costs, key=costs.get)))


def expected_losses(layer, targets, class_agnostic=False):
    logits, boxes = (layer[k].double().numpy() for k in ("pred_logits", "pred_boxes"))
    if class_agnostic:
        targets = [{**t, "labels": torch.zeros_like(t["labels"])} for t in targets]
    found = dict.fromkeys(("class", "bbox", "giou"), 0.0)
    for i, target in enumerate(targets):
        positive = np.zeros(logits[i].shape, bool)
        for m, q in expected_pairs(logits[i], boxes[i], target):
            gt_box = target["boxes"][m].double().numpy()
            positive[q, target["labels"][m]] = True
            found["bbox"] += 5 * np.abs(boxes[i, q] - gt_box).sum()
            found["giou"] += 2 * (1 - giou(boxes[i, q], gt_box))
        found["class"] += (
            2 * np.where(positive, focal(logits[i], True), focal(logits[i], False)).sum()
        )
    count = max(sum(len(t["labels"]) for t in targets), 1)
    return {name: value / count for name, value in found.items()}


def criterion():
    return SetCriterion(CLASSES, HungarianMatcher())


@pytest.mark.parametrize("counts", [(3, 1), (0, 4), (5, 5)])
def test_matching_is_the_cheapest_of_all(counts):
    outputs, targets = predictions(), ground_truth(counts)
    pairs = HungarianMatcher()(outputs["pred_logits"], outputs["pred_boxes"], targets)
    for i, (queries, objects) in enumerate(pairs):
        logits, boxes = outputs["pred_logits"][i].numpy(), outputs["pred_boxes"][i].numpy()
        expected = expected_pairs(logits.astype(float), boxes.astype(float), targets[i])
        assert sorted(zip(objects.tolist(), queries.tolist(), strict=True)) == expected


def test_each_weight_of_the_cost_decides_alone():
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.1, 0.1, 0.2, 0.2]]])
    logits = torch.tensor([[[-3.0], [3.0]]])  # the query with the class has the wrong box
    target = [{"labels": torch.tensor([0]), "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.2]])}]
    by_box = HungarianMatcher(class_cost=0)(logits, boxes, target)
    by_class = HungarianMatcher(bbox_cost=0, giou_cost=0)(logits, boxes, target)
    assert (by_box[0][0].tolist(), by_class[0][0].tolist()) == ([0], [1])


def test_with_more_objects_than_queries_some_objects_stay_unmatched():
    outputs, targets = predictions(queries=2), ground_truth((5, 0))
    pairs = HungarianMatcher()(outputs["pred_logits"], outputs["pred_boxes"], targets)
    assert pairs[0][0].tolist() == [0, 1] and len(set(pairs[0][1].tolist())) == 2
    assert [len(x) for x in pairs[1]] == [0, 0]
    losses = criterion()(outputs, targets)
    assert all(loss.isfinite() for loss in losses.values())


@pytest.mark.parametrize("counts", [(3, 1), (0, 2), (0, 0)])
def test_losses_of_every_layer_follow_the_formula(counts):
    layers, targets = [predictions(seed=s) for s in range(3)], ground_truth(counts)
    encoder = predictions(queries=7, seed=5)
    outputs = {**layers[-1], "aux_outputs": layers[:-1], "enc_outputs": encoder}
    expected = {
        f"loss_{name}{suffix}": value
        for layer, suffix in zip([*layers, encoder], ["_0", "_1", "", "_enc"], strict=True)
        for name, value in expected_losses(layer, targets, suffix == "_enc").items()
    }
    losses = criterion()(outputs, targets)
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_gradients_reach_matched_boxes_and_all_logits():
    outputs, targets = predictions(), ground_truth((2, 0))
    for value in outputs.values():
        value.requires_grad_()
    sum(criterion()(outputs, targets).values()).backward()
    assert (outputs["pred_boxes"].grad != 0).any(-1).sum(1).tolist() == [2, 0]
    assert (outputs["pred_logits"].grad != 0).all()


def test_without_objects_boxes_still_get_a_gradient_of_zero():
    outputs = predictions()
    outputs["pred_boxes"].requires_grad_()
    sum(criterion()(outputs, ground_truth((0, 0))).values()).backward()
    assert (outputs["pred_boxes"].grad == 0).all()


def test_losses_do_not_depend_on_the_order_of_objects_or_queries():
    outputs, targets = predictions(), ground_truth()
    shuffled = [{k: v.flip(0) for k, v in t.items()} for t in targets]
    before = criterion()(outputs, targets)
    after = criterion()({k: v.flip(1) for k, v in outputs.items()}, shuffled)
    for name, loss in before.items():
        torch.testing.assert_close(after[name], loss)


def test_overlap_of_tiny_objects_is_exact():
    box = torch.tensor([[[0.5, 0.5, 2e-3, 2e-3]]])  # 2 px in 1000
    target = [{"labels": torch.tensor([0]), "boxes": torch.tensor([[0.501, 0.5, 2e-3, 2e-3]])}]
    outputs = {"pred_logits": torch.zeros(1, 1, CLASSES), "pred_boxes": box}
    loss = criterion()(outputs, target)["loss_giou"]
    assert loss.item() == pytest.approx(2 * (1 - 1 / 3), rel=1e-3)


def test_half_precision_predictions_are_scored_in_float32():
    outputs, targets = predictions(), ground_truth()
    halves = {k: v.bfloat16() for k, v in outputs.items()}
    losses = criterion()(halves, targets)
    expected = criterion()({k: v.float() for k, v in halves.items()}, targets)
    assert all(torch.equal(losses[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("pred_logits", float("nan"), "predicted logits of image 1"),
        ("pred_boxes", float("inf"), "predicted boxes of image 1"),
        ("ground truth", float("nan"), "ground-truth boxes of image 1"),
    ],
)
def test_non_finite_values_are_named(key, value, words):
    outputs, targets = predictions(), ground_truth()
    broken = targets[1]["boxes"] if key == "ground truth" else outputs[key][1]
    broken[0] = value
    with pytest.raises(FloatingPointError, match=words):
        criterion()(outputs, targets)


def test_a_label_that_is_no_class_is_an_error():
    targets = ground_truth()
    targets[0]["labels"][0] = CLASSES
    with pytest.raises(ValueError, match="class 4, the detector has num_classes=4"):
        criterion()(predictions(), targets)


def test_normalizer_is_the_mean_number_of_objects_of_all_processes(monkeypatch):
    outputs, targets = predictions(), ground_truth((3, 1))
    alone = criterion()(outputs, targets)
    module = "lowres_d2.modeling.deformable_detr.criterion"
    monkeypatch.setattr(f"{module}.comm.get_world_size", lambda: 2)
    monkeypatch.setattr(f"{module}.dist.all_reduce", lambda count: count.add_(12))
    together = criterion()(outputs, targets)  # 4 objects here, 12 there: 8 on average
    for name, loss in alone.items():
        torch.testing.assert_close(together[name], loss / 2)


@pytest.mark.parametrize("counts", [(3,), (3, 1, 2)])
def test_targets_that_are_not_one_for_each_image_are_an_error(counts):
    criterion, outputs = SetCriterion(CLASSES, HungarianMatcher()), predictions()
    message = f"{len(counts)} targets for predictions of 2 images"
    with pytest.raises(ValueError, match=message):
        criterion(outputs, ground_truth(counts))
    with pytest.raises(ValueError, match=message):
        criterion.matcher(outputs["pred_logits"], outputs["pred_boxes"], ground_truth(counts))


@pytest.mark.parametrize("key", ["class_weight", "bbox_weight", "giou_weight"])
def test_a_negative_weight_is_refused(key):
    with pytest.raises(ValueError, match=f"{key}=-1: expected a number, 0 or more"):
        SetCriterion(CLASSES, HungarianMatcher(), **{key: -1})
