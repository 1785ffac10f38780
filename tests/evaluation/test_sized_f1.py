"""TT100K's benchmark: a case computed by hand, a sequential reference, invariances."""

from __future__ import annotations

import json
from fractions import Fraction

from lowres_d2.evaluation import SizedF1Evaluator
from lowres_d2.evaluation.f1_engine import Pairs, match
from lowres_d2.evaluation.f1_summary import best_f1

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

SIZE_RANGES = {"": (0, 400), "-small": (0, 32), "-medium": (32, 96), "-large": (96, 400)}


class Truth:
    """Ground truth from rows of (image, class, x0, y0, x1, y1)."""

    classes = ["p11", "pl40"]
    category_ids = [4, 2]

    def __init__(self, rows, images=(1, 2)):
        self.rows = rows
        self.coco = {
            "images": [{"id": k} for k in images],
            "categories": [],
            "annotations": [
                {
                    "image_id": image,
                    "category_id": self.category_ids[label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "iscrowd": 0,
                }
                for image, label, x0, y0, x1, y1 in rows
            ],
        }

    def coco_dict(self):
        return self.coco


def show(evaluator, found, images=(1, 2)):
    """Give the evaluator rows of (image, class, x0, y0, x1, y1, score)."""
    for image in images:
        rows = [row for row in found if row[0] == image]
        output = Instances((2048, 2048))
        output.pred_boxes = Boxes(torch.tensor([row[2:6] for row in rows]).reshape(-1, 4))
        output.scores = torch.tensor([row[6] for row in rows], dtype=torch.float32)
        output.pred_classes = torch.tensor([row[1] for row in rows], dtype=torch.long)
        evaluator.process([{"image_id": image}], [{"instances": output}])


def score(truth, found, images=(1, 2), **settings):
    evaluator = SizedF1Evaluator(truth, **settings)
    show(evaluator, found, images)
    return evaluator.evaluate()["bbox"]


# Sizes by the longer side: 20 small, 32 medium (a size range has its lower end), 40 medium, 120
# large, 400 none (the upper end is out).
OBJECTS = [
    (1, 0, 0, 0, 20, 20),
    (1, 1, 100, 0, 132, 20),
    (1, 0, 200, 0, 240, 40),
    (2, 1, 0, 0, 120, 100),
    (2, 0, 500, 500, 900, 700),
]
FOUND = [
    (1, 0, 0, 0, 20, 16, 0.6),  # IoU 0.8 with the first
    (1, 0, 0, 0, 20, 18, 0.5),  # IoU 0.9: this one is matched, though its score is the lower one
    (1, 0, 100, 0, 132, 20, 0.9),  # on the second, of the wrong class: a false positive of 32 px
    (1, 0, 202, 0, 233, 31, 0.8),  # 31 px, IoU 961 / 1600 with the third: counts as medium
    (1, 0, 0, 300, 10, 310, 0.49),  # under the threshold
    (2, 1, 0, 0, 120, 50, 0.99),  # IoU 0.5 with the fourth, which is not over 0.5
    (2, 0, 500, 500, 900, 700, 0.7),  # on the fifth, and ignored with it
    (2, 0, 1000, 0, 1401, 10, 0.7),  # nothing there, but over 400 px
]


def test_case_computed_by_hand():
    evaluator = SizedF1Evaluator(Truth(OBJECTS))
    show(evaluator, FOUND)
    result = evaluator.evaluate()["bbox"]
    numbers = {
        suffix: tuple(result[f"{name}{suffix}"] for name in ("objects", "detections"))
        for suffix in SIZE_RANGES
    }
    # Small: the first with its match; its duplicate (0.6) is a false positive of 20 px. Medium: the
    # second is missed, the third is found, the wrong class is a false positive. Large: missed, and
    # the false positive of 120 px.
    assert numbers == {"": (4, 5), "-small": (1, 2), "-medium": (2, 2), "-large": (1, 1)}
    expected = {  # recall, accuracy, F1
        "": (2 / 4, 2 / 5, 4 / 9),
        "-small": (1, 1 / 2, 2 / 3),
        "-medium": (1 / 2, 1 / 2, 1 / 2),
        "-large": (0, 0, 0),
    }
    for suffix, values in expected.items():
        found = [result[f"{name}{suffix}"] for name in ("recall", "accuracy", "F1")]
        assert found == pytest.approx([100 * value for value in values]), suffix
    # Of p11 two of two are found, with two false positives; of pl40 none of two, with one.
    assert result["F1-p11"] == pytest.approx(100 * 4 / 6) and result["F1-pl40"] == 0
    assert "AP-small" in result and result["GT-all"] == 5
    text = evaluator.tables()
    assert "score from 0.5, size by longer side" in text
    row = next(line for line in text.splitlines() if line.startswith("| medium (32-96 px) | 2 "))
    assert [cell.strip() for cell in row.split("|")][2:8] == ["2", "2", "1", "50.0", "50.0", "50.0"]


def test_best_f1_is_looked_for_over_thresholds():
    result = score(Truth(OBJECTS), FOUND)
    # Small: from 0.51 to 0.60 only the detection with IoU 0.8 is left, and it is right.
    assert (result["best-F1-small"], result["best-F1-score-small"]) == (100, 0.6)
    assert result["best-F1-large"] == 0
    assert best_f1([10, 40, 40, 0], np.array([0.0, 0.1, 0.2, 0.3])) == (40, 0.2)


def test_scores_at_the_threshold_count_in_the_detectors_precision():
    found = [(1, 0, 0, 0, 20, 20, 0.9)]  # 0.9 in float32 is less than 0.9
    for threshold, recall in ((0.9, 25), (0.91, 0)):
        assert score(Truth(OBJECTS), found, score_threshold=threshold)["recall"] == recall


def test_sizes_by_area_when_asked_for():
    result = score(Truth(OBJECTS), FOUND, size_by="sqrt_area")
    # 32 x 20 and the false positive on it are small then; 400 x 200 is 283 px, and is found; the
    # false positives of 401 x 10 and 120 x 50 are 63 and 77 px.
    counts = [(result[f"objects{s}"], result[f"detections{s}"]) for s in SIZE_RANGES]
    assert counts == [(5, 7), (2, 3), (1, 3), (2, 1)]


@pytest.mark.parametrize(
    ("size_by", "size_range", "label"),
    [
        ("longer_side", "medium", "small (<32 px)"),
        # Better to Follow, Sec. 4: small is an area of 32 x 32 or less.
        ("sqrt_area", "small", "small (<=32 px)"),
    ],
)
def test_an_object_on_an_edge_is_in_one_size_range_and_labels_say_which(size_by, size_range, label):
    evaluator = SizedF1Evaluator(Truth([(1, 0, 10, 10, 42, 42)]), size_by=size_by)
    show(evaluator, [(1, 0, 10, 10, 42, 42, 0.9)])
    result = evaluator.evaluate()["bbox"]
    for name in ("small", "medium", "large"):
        assert result[f"objects-{name}"] == int(name == size_range)
        assert result[f"detections-{name}"] == int(name == size_range)
    assert label in evaluator.tables().split("TT100K's benchmark")[1]


def test_size_range_without_objects_has_no_value_and_no_detections_no_accuracy():
    few = Truth(OBJECTS[:1])
    evaluator = SizedF1Evaluator(few)
    show(evaluator, [])
    result = evaluator.evaluate()["bbox"]
    assert "| n/a (0 found)" in evaluator.tables()
    assert (result["F1"], result["recall"], result["accuracy"]) == (0, 0, None)
    assert result["F1-large"] is None and result["best-F1-score-large"] is None
    assert result["F1-pl40"] is None
    evaluator = SizedF1Evaluator(few)
    show(evaluator, FOUND)
    evaluator.evaluate()
    line = next(x for x in evaluator.tables().splitlines() if x.startswith("| large (96-400"))
    assert line.count("n/a (0 GT)") == 5 and "| 0 " in line


def test_crowds_are_ignored_with_what_is_matched_to_them():
    truth = Truth(OBJECTS)
    truth.coco["annotations"][2]["iscrowd"] = 1  # the third, which FOUND finds
    result = score(truth, FOUND)
    assert (result["objects-medium"], result["detections-medium"]) == (1, 1)


def overlap(a, b):
    width, height = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
    both = Fraction(max(width, 0)) * Fraction(max(height, 0))
    area = [Fraction(c[2] - c[0]) * Fraction(c[3] - c[1]) for c in (a, b)]
    return both / (sum(area) - both)


def reference(objects, found, threshold, low, high, by_area=False):
    """Objects, detections and matches in a size range, one pair after another, in exact numbers."""

    def inside(box):
        sides = box[2] - box[0], box[3] - box[1]
        if by_area:
            return low**2 < Fraction(sides[0]) * Fraction(sides[1]) <= high**2
        return low <= max(sides) < high

    alive = [row for row in found if row[6] >= threshold]
    pairs = sorted(
        (
            (-overlap(thing[2:], seen[2:6]), g, d)
            for g, thing in enumerate(objects)
            for d, seen in enumerate(alive)
            if thing[:2] == seen[:2] and overlap(thing[2:], seen[2:6]) > Fraction(1, 2)
        ),
    )
    partner, taken = {}, set()
    for _, g, d in pairs:
        if g not in partner and d not in taken:
            partner[g] = d
            taken.add(d)
    wanted = {g for g, thing in enumerate(objects) if inside(thing[2:])}
    correct = sum(g in wanted for g in partner)
    false = sum(inside(seen[2:6]) for d, seen in enumerate(alive) if d not in taken)
    return len(wanted), correct + false, correct


def random_rows(seed):
    """Objects of all sizes, also at ends of size ranges, and one to three detections of each."""
    random = np.random.default_rng(seed)
    objects, found = [], []
    for image in (1, 2, 3):
        for _ in range(25):
            sides = 2 ** random.uniform(2, 9, 1) * random.uniform(0.7, 1.4, 2)
            if random.random() < 0.3:
                sides[0] = random.choice([32, 96, 400])
            corner = random.integers(0, 400, 2)
            box = np.concatenate([corner, corner + np.maximum(sides.round(), 2)])
            label = int(random.integers(0, 2))
            objects.append((image, label, *box.tolist()))
            for _ in range(random.integers(0, 4)):
                shaken = (box + random.normal(0, 0.12, 4) * np.tile(sides, 2)).round()
                shaken[2:] = np.maximum(shaken[2:], shaken[:2] + 1)
                seen = label if random.random() < 0.8 else 1 - label
                quarter = int(random.integers(0, 100)) / 4 / 25  # many equal scores
                found.append((image, seen, *shaken.tolist(), float(np.float32(quarter))))
    return objects, found


@pytest.mark.parametrize("size_by", ["longer_side", "sqrt_area"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_reference(seed, size_by):
    objects, found = random_rows(seed)
    images, by_area = (1, 2, 3), size_by == "sqrt_area"
    truth = Truth(objects, images)
    result = score(truth, found, images, score_threshold=0.4, size_by=size_by)
    matches = 0
    for suffix, (low, high) in SIZE_RANGES.items():
        wanted, seen, correct = reference(objects, found, np.float32(0.4), low, high, by_area)
        assert (result[f"objects{suffix}"], result[f"detections{suffix}"]) == (wanted, seen)
        assert result[f"recall{suffix}"] == pytest.approx(100 * correct / wanted)
        assert result[f"accuracy{suffix}"] == pytest.approx(100 * correct / seen)
        assert result[f"F1{suffix}"] == pytest.approx(200 * correct / (wanted + seen))
        matches += correct
        best = float(result[f"best-F1-score{suffix}"])
        wanted, seen, correct = reference(objects, found, np.float32(best), low, high, by_area)
        assert result[f"best-F1{suffix}"] == pytest.approx(200 * correct / (wanted + seen))
        assert result[f"best-F1{suffix}"] >= result[f"F1{suffix}"]
    assert matches > 40


def test_chains_of_pairs_are_matched_in_order():
    # 0-0, 1-0, 1-1, 2-1, 2-2: the first takes its ends, so 1 has 1, and 2 has 2.
    pairs = Pairs(np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2]))
    assert match(pairs, np.ones(4, dtype=bool)).tolist() == [0, 1, 2, -1]
    assert match(pairs, np.array([False, True, True, True])).tolist() == [-1, 1, 2, -1]


def test_order_of_images_and_number_of_ranks_change_nothing(monkeypatch):
    objects, found = random_rows(9)
    images = (1, 2, 3)
    alone = score(Truth(objects, images), found, images)
    assert score(Truth(objects, images), found, (3, 1, 2)) == alone
    other = SizedF1Evaluator(Truth(objects, images))
    show(other, found, (3, 1))
    monkeypatch.setattr(comm, "gather", lambda part, dst: [other._found, part])
    assert score(Truth(objects, images), found, (2, 1)) == alone  # 1 was seen twice
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert SizedF1Evaluator(Truth(objects, images)).evaluate() == {}


def test_metrics_are_written(tmp_path):
    result = score(Truth(OBJECTS), FOUND, output_dir=tmp_path)
    written = json.loads((tmp_path / "sized_f1.json").read_text())
    assert [row["name"] for row in written["size_ranges"]] == ["all", "small", "medium", "large"]
    assert written["size_ranges"][1]["F1"] == result["F1-small"]
    assert (written["iou"], written["score_threshold"]) == (0.5, 0.5)
    assert (tmp_path / "sized_coco.json").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size_by": "area"}, "size_by='area': expected one of longer_side, sqrt_area"),
        ({"score_threshold": 40}, "score_threshold=40: expected a score, 0 to 1"),
    ],
)
def test_mistakes_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        SizedF1Evaluator(Truth(OBJECTS), **settings)
