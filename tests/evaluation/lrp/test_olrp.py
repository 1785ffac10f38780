"""oLRP against the formula of its paper, tried at every threshold in plain Python."""

from __future__ import annotations

import json

from lowres_d2.evaluation import SizedCOCOEvaluator
from lowres_d2.evaluation.lrp import (
    ClassMatches,
    OptimalLRP,
    match_classes,
    mean_of_classes,
    optimal_lrp,
)

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances


def matches(overlap, objects, scores=None):
    scores = np.linspace(0.9, 0.1, len(overlap)) if scores is None else np.array(scores)
    return ClassMatches(scores, np.array(overlap, dtype=float), objects)


@pytest.mark.parametrize(
    ("overlap", "objects", "expected"),
    [
        # Eq. 1 by hand at tau 0.5: (sum of 2 (1 - IoU) + FP + FN) / (TP + FP + FN).
        ([1.0, 1.0], 2, (0, 0, 0, 0)),
        ([0.75], 1, (0.5, 0.25, 0, 0)),
        ([1.0], 4, (3 / 4, 0, 0, 3 / 4)),
        ([0, 0.75], 1, ((0.5 + 1) / 2, 0.25, 0.5, 0)),
        # A perfect detection first: those after it are not worth having.
        ([1.0, 0, 0, 0.5], 2, (1 / 2, 0, 0, 1 / 2)),
        # Nothing correct: nothing is kept.
        ([0, 0], 3, (1, None, None, 1)),
        ([], 3, (1, None, None, 1)),
        ([0, 0], 0, (None, None, None, None)),
    ],
)
def test_by_hand(overlap, objects, expected):
    found = optimal_lrp(matches(overlap, objects), 0.5)
    values = (found.error, found.localisation, found.false_positives, found.misses)
    assert values == pytest.approx(expected)


def test_detections_of_one_score_are_kept_together():
    apart = optimal_lrp(matches([1.0, 0, 0], 1, [0.9, 0.8, 0.7]), 0.5)
    together = optimal_lrp(matches([1.0, 0, 0], 1, [0.9, 0.9, 0.7]), 0.5)
    assert (apart.error, together.error) == (0, 0.5)


def test_only_the_order_of_scores_matters():
    overlap = [0.9, 0, 0.8, 0.6, 0, 0.7]
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.2, 0.1])
    a, b = (optimal_lrp(matches(overlap, 6, s), 0.5) for s in (scores, scores**4 / 50))
    assert a == b


def test_a_class_without_a_number_leaves_the_mean_of_the_others():
    classes = [OptimalLRP(None), OptimalLRP(1, None, None, 1), OptimalLRP(0.5, 0.2, 0.3, 0.4)]
    assert mean_of_classes(classes) == OptimalLRP(0.75, 0.2, 0.3, 0.7)
    assert mean_of_classes([OptimalLRP(None)]) == OptimalLRP(None)


def iou(a, b):
    x = max(0, min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0]))
    y = max(0, min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1]))
    return x * y / (a[2] * a[3] + b[2] * b[3] - x * y)


def in_crowd(box, crowd):
    """COCO's overlap with a crowd: the share of the detection."""
    x = max(0, min(box[0] + box[2], crowd[0] + crowd[2]) - max(box[0], crowd[0]))
    y = max(0, min(box[1] + box[3], crowd[1] + crowd[3]) - max(box[1], crowd[1]))
    return x * y / (box[2] * box[3])


def reference(truth, detections, category, cap, tau):
    """Eq. 8 of the paper: the smallest LRP error, one matching for each threshold."""
    objects = [a for a in truth["annotations"] if a["category_id"] == category]
    number = sum(not a["iscrowd"] for a in objects)
    own = [d for d in detections if d["category_id"] == category]
    errors = [1.0]
    for threshold in {d["score"] for d in own}:
        correct, away, false = 0, 0.0, 0
        for image in truth["images"]:
            here = [a for a in objects if a["image_id"] == image["id"]]
            crowds = [a["bbox"] for a in here if a["iscrowd"]]
            free = [a["bbox"] for a in here if not a["iscrowd"]]
            found = [d for d in own if d["image_id"] == image["id"]]
            found = sorted(found, key=lambda d: -d["score"])[:cap]
            for d in (d for d in found if d["score"] >= threshold):
                best = max(free, key=lambda box: iou(d["bbox"], box), default=None)
                if best is not None and iou(d["bbox"], best) >= tau:
                    free.remove(best)
                    correct, away = correct + 1, away + 1 - iou(d["bbox"], best)
                elif not any(in_crowd(d["bbox"], crowd) >= tau for crowd in crowds):
                    false += 1
        missed = number - correct
        errors.append((away / (1 - tau) + false + missed) / (correct + false + missed))
    return min(errors) if number else None


def random_case(seed):
    rng = np.random.default_rng(seed)

    def box():
        return [*rng.integers(0, 40, 2).tolist(), *rng.integers(4, 20, 2).tolist()]

    objects, detections = [], []
    for image in (3, 7, 20):
        for _ in range(rng.integers(0, 7)):
            target = box()
            category, crowd = int(rng.choice([5, 2])), int(rng.random() < 0.15)
            row = {"image_id": image, "category_id": category, "bbox": target, "iscrowd": crowd}
            objects.append(row | {"area": target[2] * target[3]})
            for _ in range(rng.integers(0, 3)):
                moved = (np.array(target) + rng.integers(-2, 3, 4)).clip(1).tolist()
                detections.append({"image_id": image, "category_id": category, "bbox": moved})
        for _ in range(rng.integers(0, 4)):
            row = {"image_id": image, "category_id": int(rng.choice([5, 2])), "bbox": box()}
            detections.append(row)
    for row, score in zip(detections, rng.permutation(len(detections)), strict=True):
        row["score"] = float(score + 1) / 100
    truth = {
        "images": [{"id": k} for k in (3, 7, 20)],
        "categories": [{"id": 5}, {"id": 2}],
        "annotations": objects,
    }
    return truth, detections


@pytest.mark.parametrize("tau", [0.5, 0.75])
@pytest.mark.parametrize("cap", [2, 100])
@pytest.mark.parametrize("seed", range(12))
def test_matched_by_the_engine_it_is_the_smallest_error_of_all_thresholds(seed, cap, tau):
    truth, detections = random_case(seed)
    found = match_classes(truth, detections, cap, tau)
    for category in (5, 2):
        expected = reference(truth, detections, category, cap, tau)
        assert optimal_lrp(found[category], tau).error == pytest.approx(expected)


class Truth:
    classes = ["cat", "dog", "bird"]
    category_ids = [7, 3, 4]

    def coco_dict(self):
        objects = [(1, 7, [0, 0, 10, 10]), (2, 7, [0, 0, 10, 10]), (2, 3, [20, 20, 40, 40])]
        return {
            "images": [{"id": 1, "height": 99, "width": 99}, {"id": 2, "height": 99, "width": 99}],
            "categories": [
                {"id": k, "name": name}
                for k, name in zip(self.category_ids, self.classes, strict=True)
            ],
            "annotations": [
                {"id": k, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
                for k, (image, category, box) in enumerate(objects, start=1)
            ],
        }


def shown(evaluator):
    found = Instances((99, 99))
    found.pred_boxes = Boxes(torch.tensor([[0.0, 0, 10, 8], [20, 20, 60, 60]]))
    found.scores = torch.tensor([0.9, 0.8])
    found.pred_classes = torch.tensor([0, 1])
    evaluator.process([{"image_id": 2}, {"image_id": 1}], [{"instances": found}] * 2)
    return evaluator.evaluate()["bbox"]


def test_an_evaluator_reports_it_where_it_is_asked_to(tmp_path):
    evaluator = SizedCOCOEvaluator(Truth(), olrp=True, output_dir=tmp_path)
    known = evaluator.metric_objects()
    result = shown(evaluator)
    # Cats: both found at IoU 0.8. Dogs: one at 1.0 and one where none is; it scores as high.
    assert result["oLRP-cat"] == pytest.approx(40) and result["oLRP-dog"] == pytest.approx(50)
    assert result["oLRP-bird"] is None
    assert result["oLRP"] == pytest.approx(45)
    parts = [result[f"oLRP_{part}"] for part in ("loc", "FP", "FN")]
    assert parts == pytest.approx([10, 25, 0])
    assert {name.removeprefix("bbox/") for name in known} == result.keys()
    assert known["bbox/oLRP-bird"] == 0 and known["bbox/oLRP_FN"] == 3
    text = evaluator.tables()
    assert "oLRP 45.0 (0 is best): localisation 10.0, false positives 25.0, misses 0.0" in text
    assert json.loads((tmp_path / "sized_coco.json").read_text())["olrp"]["oLRP"] == result["oLRP"]
    evaluator.reset()
    assert evaluator.evaluate()["bbox"]["oLRP"] == pytest.approx(100)
    assert "oLRP 100.0 (0 is best): no detection is correct" in evaluator.tables()
    plain = SizedCOCOEvaluator(Truth())
    assert not any("oLRP" in name for name in shown(plain)) and "oLRP" not in plain.tables()
