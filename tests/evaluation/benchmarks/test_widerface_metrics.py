"""WiderFace's metrics against the benchmark's rules written out one score at a time."""

from lowres_d2.data.datasets.widerface import FaceSubset
from lowres_d2.evaluation import WiderFaceEvaluator
from lowres_d2.evaluation.benchmarks.widerface import subset_ap

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

from toys.wider_files import write_mat


class Faces:
    """Records of a ``WiderFaceDataset``; events as :func:`write_mat` takes them."""

    classes = ["face"]
    category_ids = [1]

    def __init__(self, events):
        self.records = [
            {"image_id": k, "file_name": f"images/{event}/{name}.jpg", "boxes": boxes}
            for k, (event, name, boxes) in enumerate(
                (event, name, own[0])
                for event, images in events.items()
                for name, own in images.items()
            )
        ]

    def __iter__(self):
        return iter(self.records)

    def coco_dict(self):
        annotations = [
            {"image_id": r["image_id"], "category_id": 1, "bbox": box, "iscrowd": 0}
            for r in self.records
            for box in r["boxes"]
            if box[2] > 0
        ]
        return {
            "images": [{"id": r["image_id"]} for r in self.records],
            "annotations": annotations,
            "categories": [{"id": 1, "name": "face"}],
        }


def iou(box, face):
    """Pixels are counted with both ends."""
    a = (*box[:2], box[0] + box[2], box[1] + box[3])
    b = (*face[:2], face[0] + face[2], face[1] + face[3])
    sides = [max(0, min(a[k + 2], b[k + 2]) - max(a[k], b[k]) + 1) for k in (0, 1)]
    areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return sides[0] * sides[1] / (sum(areas) - sides[0] * sides[1])


def reference(images, thresholds=1000):
    """AP in percent. Images: (faces, numbers of the subset from 1, detections (x, y, w, h, score)).

    Scores are scaled already.
    """
    total = sum(len(numbers) for _, numbers, _ in images)
    curve = [[0, 0] for _ in range(thresholds)]
    for faces, numbers, detections in images:
        if not faces:
            continue
        state, counts, hits = [0] * len(faces), [], []
        rows = sorted(detections, key=lambda d: -d[4])
        for *box, _ in rows:
            values = [iou(box, face) for face in faces]
            k = int(np.argmax(values))
            counted = 1
            if values[k] >= 0.5:
                if k + 1 not in numbers:
                    counted = 0
                elif not state[k]:
                    state[k] = 1
            counts.append(counted)
            hits.append(sum(state))
        for t in range(thresholds):
            reached = [k for k, row in enumerate(rows) if row[4] >= 1 - (t + 1) / thresholds]
            if reached:
                curve[t][0] += sum(counts[: reached[-1] + 1])
                curve[t][1] += hits[reached[-1]]
    points = [(h / total, h / c if c else 0.0) for c, h in curve]
    area, before = 0.0, 0.0
    for t, (recall, _) in enumerate(points):
        area += (recall - before) * max(p for _, p in points[t:])
        before = recall
    return 100 * area


def evaluate(evaluator, detections):
    for image_id, rows in enumerate(detections):
        x, y, w, h, scores = torch.tensor(rows, dtype=torch.float64).reshape(-1, 5).unbind(1)
        found = Instances((500, 500))
        found.pred_boxes = Boxes(torch.stack([x, y, x + w, y + h], 1).float())
        found.scores, found.pred_classes = scores, torch.zeros(len(rows), dtype=torch.long)
        evaluator.process([{"image_id": image_id}], [{"instances": found}])
    return evaluator.evaluate()["bbox"]


@pytest.fixture
def write(tmp_path):
    def files(easy, medium, hard):
        for name, events in (("easy", easy), ("medium", medium), ("hard", hard)):
            write_mat(tmp_path / f"wider_{name}_val.mat", events)
        return tmp_path

    return files


def random_scene(seed):
    draw = np.random.default_rng(seed)
    subsets, detections = [{}, {}, {}], []
    for event in ("0--Parade", "1--Handshaking"):
        for parts in subsets:
            parts[event] = {}
        for k in range(2):
            boxes = [[*draw.integers(0, 300, 2), *draw.integers(4, 60, 2)] for _ in range(9)]
            boxes = [[int(v) for v in box] for box in boxes]
            hard = [n for n in range(1, 10) if draw.random() < 0.8]
            easy = [n for n in hard if draw.random() < 0.5]
            for parts, numbers in zip(subsets, (easy, easy, hard), strict=True):
                parts[event][f"image_{k}"] = (boxes, [0] * 9, numbers)
            found = []
            for box in boxes:
                for _ in range(draw.integers(0, 4)):
                    moved = (np.array(box) + draw.normal(0, 4, 4)).round(1)
                    moved[2:] = moved[2:].clip(1)
                    found.append((*moved.tolist(), float(draw.random())))
            detections.append(found)
    return subsets, detections


@pytest.mark.parametrize("seed", [1, 2])
def test_metrics_are_those_of_the_rules_written_out(write, seed):
    subsets, detections = random_scene(seed)
    dataset = Faces(subsets[0])
    metrics = evaluate(WiderFaceEvaluator(dataset, write(*subsets)), detections)
    scores = [row[4] for rows in detections for row in rows]
    low, high = min(scores), max(scores)
    scaled = [[(*r[:4], (r[4] - low) / (high - low)) for r in rows] for rows in detections]
    for subset, name in zip(subsets, ("easy", "medium", "hard"), strict=True):
        own = [image for images in subset.values() for image in images.values()]
        images = [
            (boxes, numbers, rows) for (boxes, _, numbers), rows in zip(own, scaled, strict=True)
        ]
        assert metrics[name] == pytest.approx(reference(images), abs=1e-4), name
    assert 0 < metrics["easy"] == metrics["medium"]
    assert metrics["AP50"] > 0


def one_face(boxes, numbers):
    chosen = np.isin(np.arange(1, len(boxes) + 1), numbers)
    return {1: FaceSubset(np.array(boxes, dtype=float).reshape(-1, 4), chosen)}


def found_boxes(*rows):
    rows = np.array(rows, dtype=float).reshape(-1, 5)
    return {1: (np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], 1), rows[:, 4])}


def test_faces_of_other_subsets_are_neither_hit_nor_miss():
    faces = one_face([[10, 10, 20, 20], [100, 10, 20, 20]], [1])
    other = (100, 10, 20, 20, 1.0)
    assert subset_ap(faces, found_boxes(other, (10, 10, 20, 20, 0.5))) == pytest.approx(100)
    # A second one on the same face is a miss; nothing is found before it.
    found = found_boxes((10, 10, 20, 20, 0.5), (10, 10, 20, 21, 0.9), (200, 10, 20, 20, 1.0))
    assert subset_ap(faces, found) == pytest.approx(50)
    assert subset_ap(faces, found_boxes(other)) == 0
    assert subset_ap(one_face([[1, 2, 3, 4]], []), {}) is None


def test_equal_scores_after_scaling_share_a_point_of_the_curve():
    faces = one_face([[10, 10, 20, 20]], [1])
    found = found_boxes((200, 10, 20, 20, 0.5), (10, 10, 20, 20, 0.5001))
    assert subset_ap(faces, found) == pytest.approx(50)
    assert subset_ap(faces, found, thresholds=None) == pytest.approx(100)


def test_images_without_a_box_do_not_count():
    faces = one_face([[10, 10, 20, 20]], [1]) | {2: FaceSubset(np.zeros((0, 4)), np.zeros(0, bool))}
    found = found_boxes((10, 10, 20, 20, 0.5)) | {2: (np.array([[0, 0, 9, 9.0]]), np.ones(1))}
    assert subset_ap(faces, found) == pytest.approx(100)


def test_images_of_another_set_and_other_mistakes_are_named(write):
    events = {"0--Parade": {"a": ([[10, 10, 20, 20]], [0], [1])}}
    folder = write(events, events, events)
    with pytest.raises(ValueError, match="has no image 0--Parade/b; the benchmark is about"):
        WiderFaceEvaluator(Faces({"0--Parade": {"b": events["0--Parade"]["a"]}}), folder)
    with pytest.raises(ValueError, match="thresholds=0: expected 1 or more"):
        WiderFaceEvaluator(Faces(events), folder, thresholds=0)


@pytest.mark.parametrize("thresholds", [1000, None])
def test_metrics_of_redraws_are_those_of_their_images(write, tmp_path, thresholds):
    subsets, detections = random_scene(4)
    detections[3] = []
    evaluator = WiderFaceEvaluator(
        Faces(subsets[0]), write(*subsets), thresholds=thresholds, output_dir=tmp_path / "run"
    )
    metrics = evaluate(evaluator, detections)
    read = evaluator.read(tmp_path / "run" / "coco_instances_results.json")
    draw = [1, 3, 1, 0]
    redrawn = read.redrawn(np.array([draw]))
    again = []
    for parts in subsets:  # the drawn images as images of their own
        images = [own for event in parts.values() for own in event.values()]
        again.append({"0--Parade": {f"image_{n}": images[k] for n, k in enumerate(draw)}})
    drawn = WiderFaceEvaluator(Faces(again[0]), write(*again), thresholds=thresholds)
    expected = evaluate(drawn, [detections[k] for k in draw])
    assert list(redrawn) == ["AP50", "easy", "medium", "hard"]
    chosen = [
        [len(own[2]) > 0 for images in parts.values() for own in images.values()]
        for parts in subsets
    ]
    assert [read.informative_images(name) for name in ("easy", "medium", "hard")] == [
        sum(own) for own in chosen
    ]
    for name, values in redrawn.items():
        assert values == pytest.approx([metrics[name], expected[name]]), name


def test_all_metrics_are_known_before(write):
    subsets, detections = random_scene(3)
    evaluator = WiderFaceEvaluator(Faces(subsets[0]), write(*subsets))
    known = evaluator.metric_objects()
    assert {f"bbox/{name}" for name in evaluate(evaluator, detections)} == set(known)
    assert known["bbox/hard"] == sum(
        len(own[2]) for images in subsets[2].values() for own in images.values()
    )
    assert (
        evaluate(WiderFaceEvaluator(Faces(subsets[0]), write(*subsets)), [[], [], [], []])["easy"]
        == 0
    )
