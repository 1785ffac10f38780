from __future__ import annotations

import json

from lowres_d2.analysis.figures.detections import (
    Objects,
    best_threshold,
    match,
    read_detections,
    true_objects,
)

import numpy as np
import pytest
from detectron2.structures import BoxMode


def objects(*rows):
    return Objects.from_rows([(box, label, score) for box, label, score in rows])


A, B = (0, 0, 10, 10), (20, 20, 40, 40)


def test_each_object_is_found_at_most_once_and_by_its_own_class():
    truth = objects((A, 0, 1), (B, 1, 1))
    found = objects((A, 0, 0.5), (A, 0, 0.9), (B, 0, 0.8), ((20, 20, 40, 31), 1, 0.4))
    hit, right = match(truth, found)
    assert hit.tolist() == [True, True]
    assert right.tolist() == [False, True, False, True]
    assert match(truth, found, iou=0.6)[0].tolist() == [True, False]


def test_nothing_matches_nothing():
    nothing, some = objects(), objects((A, 0, 1))
    assert [len(part) for part in match(nothing, some)] == [0, 1]
    assert not match(some, nothing)[0].any()
    assert best_threshold([(some, nothing)]) == 0.5


def test_best_threshold_has_the_highest_f1_of_all_scores():
    rng = np.random.default_rng(3)
    pairs = []
    for _ in range(5):
        corners = rng.uniform(0, 90, (6, 2))
        truth = objects(*(((x, y, x + 8, y + 8), 0, 1) for x, y in corners))
        tried = corners + rng.choice([0, 1, 50], (6, 1))
        found = objects(*(((x, y, x + 8, y + 8), 0, rng.random()) for x, y in tried))
        pairs.append((truth, found))

    def f1(limit):
        kept = [(truth, found[found.scores >= limit]) for truth, found in pairs]
        hits = sum(match(truth, found)[1].sum() for truth, found in kept)
        return 2 * hits / sum(len(truth) + len(found) for truth, found in kept)

    scores = np.concatenate([found.scores for _, found in pairs])
    assert f1(best_threshold(pairs)) == pytest.approx(max(map(f1, scores)))


def test_detections_come_back_from_coco_results(tmp_path):
    file = tmp_path / "r.json"
    rows = [{"image_id": 4, "category_id": 9, "bbox": [1, 2, 3, 4], "score": 0.5}]
    file.write_text(json.dumps(rows))
    found = read_detections(file, category_ids=[2, 9])
    assert found[4].boxes.tolist() == [[1, 2, 4, 6]]
    assert found[4].labels.tolist() == [1]


def test_ground_truth_leaves_out_crowds_and_understands_box_modes():
    entry = {
        "annotations": [
            {"bbox": [1, 2, 3, 4], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0},
            {"bbox": [1, 2, 5, 6], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 1, "iscrowd": 1},
        ]
    }
    assert true_objects(entry).boxes.tolist() == [[1, 2, 4, 6]]
    assert true_objects(entry).sizes() == pytest.approx([12**0.5])
