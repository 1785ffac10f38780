"""TinyPerson's metrics against the rules written out one detection at a time."""

import math

from lowres_d2.evaluation import SizedCOCOEvaluator, TinyPersonEvaluator

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances


class Persons:
    """Rows of (image id, x, y, width, height, ignored)."""

    classes = ["person"]
    category_ids = [1]

    def __init__(self, rows):
        self.rows = rows

    def coco_dict(self):
        annotations = [
            {"id": k, "image_id": i, "category_id": 1, "bbox": [x, y, w, h], "iscrowd": ignored}
            for k, (i, x, y, w, h, ignored) in enumerate(self.rows)
        ]
        images = [{"id": k, "height": 500, "width": 500} for k in sorted({r[0] for r in self.rows})]
        return {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 1, "name": "person"}],
        }


def evaluate(evaluator, detections):
    """Detections: image id -> rows of (x, y, width, height, score)."""
    for image_id, rows in detections.items():
        x, y, w, h, scores = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5).unbind(1)
        found = Instances((500, 500))
        found.pred_boxes = Boxes(torch.stack([x, y, x + w, y + h], 1).float())
        found.scores, found.pred_classes = scores, torch.zeros(len(rows), dtype=torch.long)
        evaluator.process([{"image_id": image_id}], [{"instances": found}])
    return evaluator.evaluate()["bbox"]


def overlap(a, b):
    """Intersection of two boxes XYWH, in square pixels."""
    sides = [min(a[k] + a[k + 2], b[k] + b[k + 2]) - max(a[k], b[k]) for k in (0, 1)]
    return max(sides[0], 0) * max(sides[1], 0)


def reference(rows, detections, low, high, iou):
    """AP in percent: the benchmark's rules, a detection at a time."""
    marks, objects = [], 0
    for image_id in sorted({row[0] for row in rows}):
        truth = [row[1:5] for row in rows if row[0] == image_id]
        given = [row[5] for row in rows if row[0] == image_id]
        ignored = [
            flag or not low <= math.sqrt(box[2] * box[3]) <= high
            for box, flag in zip(truth, given, strict=True)
        ]
        objects += ignored.count(False)
        taken = set()
        for *box, score in sorted(detections.get(image_id, []), key=lambda d: -d[4])[:200]:
            own = box[2] * box[3]
            best, found = iou, None
            for k, other in enumerate(truth):
                inside = overlap(box, other)
                share = inside / (own + other[2] * other[3] - inside)
                if not ignored[k] and k not in taken and share >= best:
                    best, found = share, k
            if found is not None:
                taken.add(found)
                marks.append((score, True))
            elif (
                not any(
                    overlap(box, other) / own >= iou for k, other in enumerate(truth) if ignored[k]
                )
                and low <= math.sqrt(own) <= high
            ):
                marks.append((score, False))
    if not objects:
        return None
    hits = np.cumsum([hit for _, hit in sorted(marks, key=lambda mark: -mark[0])])
    recall, precision = hits / objects, hits / np.arange(1, len(hits) + 1)
    levels = [precision[recall >= k / 100 - 1e-12].max(initial=0) for k in range(101)]
    return 100 * float(np.mean(levels))


RANGES = {
    "tiny": (1, 20),
    "tiny1": (1, 8),
    "tiny2": (8, 12),
    "tiny3": (12, 20),
    "small": (20, 32),
    "reasonable": (32, math.inf),
}


def random_scene(seed):
    draw = np.random.default_rng(seed)
    rows, detections = [], {}
    for image_id in (3, 7, 8):
        found = []
        for _ in range(25):
            w, h = draw.uniform(3, 45, 2).round(2).tolist()
            x, y = draw.uniform(0, 200, 2).round(2).tolist()
            rows.append((image_id, x, y, w, h, int(draw.random() < 0.3)))
            for _ in range(draw.integers(0, 4)):
                moved = draw.normal(0, 3, 4)
                box = [x + moved[0], y + moved[1], abs(w + moved[2]) + 1, abs(h + moved[3]) + 1]
                # The evaluator's boxes are float32.
                box = [float(v) for v in np.float32(box).round(1)]
                found.append((*box, round(float(draw.random()), 6)))
        detections[image_id] = found
    return rows, detections


@pytest.mark.parametrize("seed", [1, 2])
def test_metrics_are_those_of_the_rules_written_out(seed):
    rows, detections = random_scene(seed)
    metrics = evaluate(TinyPersonEvaluator(Persons(rows)), detections)
    for iou, name in ((0.25, "AP25"), (0.5, "AP50"), (0.75, "AP75")):
        expected = reference(rows, detections, 1, math.inf, iou)
        assert metrics[name] == pytest.approx(expected, abs=1e-4), name
        for size, (low, high) in RANGES.items():
            expected = reference(rows, detections, low, high, iou)
            assert metrics[f"{name}-{size}"] == pytest.approx(expected, abs=1e-4), (name, size)
    assert metrics["max-dets"] == 200 and metrics["GT-all"] == sum(not row[5] for row in rows)


def test_what_lies_in_an_ignored_box_is_neither_hit_nor_miss():
    rows = [(1, 10, 10, 10, 10, 0), (1, 100, 100, 100, 50, 1)]
    detections = {1: [(110, 110, 10, 10, 0.9), (150, 130, 10, 10, 0.8), (10, 10, 10, 10, 0.7)]}
    metrics = evaluate(TinyPersonEvaluator(Persons(rows)), detections)
    assert metrics["AP50"] == metrics["AP50-tiny2"] == pytest.approx(100)
    # Three quarters of it are in the region: ignored at 0.75, and at 0.5.
    detections[1][0] = (97.5, 110, 10, 10, 0.9)
    metrics = evaluate(TinyPersonEvaluator(Persons(rows)), detections)
    assert (metrics["AP50"], metrics["AP75"]) == pytest.approx((100, 100))
    detections[1][0] = (97, 110, 10, 10, 0.9)
    metrics = evaluate(TinyPersonEvaluator(Persons(rows)), detections)
    assert (metrics["AP50"], metrics["AP75"]) == pytest.approx((100, 50))


def test_a_part_of_a_larger_person_does_not_count_against_smaller_ones():
    rows = [(1, 10, 10, 10, 10, 0), (1, 100, 100, 60, 60, 0)]
    detections = {1: [(110, 110, 10, 10, 0.9), (10, 10, 10, 10, 0.7)]}
    metrics = evaluate(TinyPersonEvaluator(Persons(rows)), detections)
    assert metrics["AP50-tiny"] == pytest.approx(100)
    coco = evaluate(SizedCOCOEvaluator(Persons(rows), "tinyperson"), detections)
    assert coco["AP50-tiny"] == pytest.approx(50)


def test_two_hundred_detections_count():
    rows = [(1, 10, 10, 10, 10, 0)]
    noise = [(100 + k, 100, 10, 10, 0.9) for k in range(200)]
    metrics = evaluate(TinyPersonEvaluator(Persons(rows)), {1: [*noise, (10, 10, 10, 10, 0.5)]})
    assert metrics["AP50"] == 0
    metrics = evaluate(TinyPersonEvaluator(Persons(rows)), {1: [*noise[1:], (10, 10, 10, 10, 0.5)]})
    assert metrics["AP50"] == pytest.approx(0.5)


def test_the_lowest_size_is_a_setting():
    rows = [(1, 10, 10, 1.5, 1.5, 0), (1, 50, 50, 10, 10, 0)]
    detections = {1: [(50, 50, 10, 10, 0.9)]}
    official = TinyPersonEvaluator(Persons(rows))
    papers = TinyPersonEvaluator(Persons(rows), "tinyperson-2")
    counted = evaluate(official, detections), evaluate(papers, detections)
    assert [m["GT-all"] for m in counted] == [m["GT-tiny"] for m in counted] == [2, 1]
    assert [m["AP50"] for m in counted] == pytest.approx([100 * 51 / 101, 100])
    with pytest.raises(ValueError, match="no object of the test set has 2 px or more"):
        TinyPersonEvaluator(Persons(rows[:1]), "tinyperson-2")


def test_metrics_of_redraws_are_those_of_the_rules_written_out(tmp_path):
    rows, detections = random_scene(4)
    evaluator = TinyPersonEvaluator(Persons(rows), output_dir=tmp_path)
    metrics = evaluate(evaluator, detections)
    read = evaluator.read(tmp_path / "coco_instances_results.json")
    redrawn = read.redrawn(np.array([[2, 0, 2]]))
    taken = {1: 8, 2: 3, 3: 8}  # the drawn images as images of their own
    drawn = [(new, *row[1:]) for new, old in taken.items() for row in rows if row[0] == old]
    found = {new: detections[old] for new, old in taken.items()}
    for name, low, high in (("AP50", 1, math.inf), ("AP50-tiny", 1, 20)):
        whole, again = redrawn[name]
        assert whole == pytest.approx(metrics[name]), name
        assert again == pytest.approx(reference(drawn, found, low, high, 0.5), abs=1e-4), name
    assert list(redrawn) == ["AP50", "AP50-tiny"]


def test_all_metrics_are_known_before():
    rows, detections = random_scene(3)
    evaluator = TinyPersonEvaluator(Persons(rows))
    known = evaluator.metric_objects()
    assert {f"bbox/{name}" for name in evaluate(evaluator, detections)} == set(known)
    assert known["bbox/AP25-small"] == known["bbox/AP50-small"] > 0
    assert "AP25" in evaluator.tables()
