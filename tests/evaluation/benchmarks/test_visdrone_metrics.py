"""VisDrone's metrics against its toolkit's rules written out one box and pixel at a time."""

from lowres_d2.evaluation import VisDroneEvaluator
from lowres_d2.evaluation.benchmarks.all_points import all_points_ap

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances

HEIGHT, WIDTH = 60, 90


class Drones:
    """Records of a ``VisDroneDataset`` with two classes."""

    classes = ["car", "bus"]
    category_ids = [4, 9]

    def __init__(self, records):
        self.records = records

    def __iter__(self):
        return iter(self.records)

    def coco_dict(self):
        annotations = []
        for record in self.records:
            for a in record["annotations"]:
                ids = self.category_ids
                for k in ids if a.get("of_every_class") else [ids[a["category_id"]]]:
                    row = {"bbox": a["bbox"], "iscrowd": a["iscrowd"], "category_id": k}
                    annotations.append(row | {"image_id": record["image_id"]})
        images = [{"id": r["image_id"], "height": HEIGHT, "width": WIDTH} for r in self.records]
        return {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 4, "name": "car"}, {"id": 9, "name": "bus"}],
        }


def record(image_id, *annotations):
    return {
        "image_id": image_id,
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": list(annotations),
    }


def thing(label, *bbox, iscrowd=0):
    return {"category_id": label, "bbox": list(map(float, bbox)), "iscrowd": iscrowd}


def region(*bbox):
    return thing(0, *bbox, iscrowd=1) | {"of_every_class": True, "region": True}


def other(*bbox):
    return thing(0, *bbox, iscrowd=1) | {"of_every_class": True}


def evaluate(evaluator, detections):
    """Detections: image id -> rows of (label, x, y, width, height, score)."""
    for image_id, rows in detections.items():
        labels, x, y, w, h, scores = (
            torch.tensor(rows, dtype=torch.float64).reshape(-1, 6).unbind(1)
        )
        found = Instances((HEIGHT, WIDTH))
        found.pred_boxes = Boxes(torch.stack([x, y, x + w, y + h], 1).float())
        found.scores, found.pred_classes = scores, labels.long()
        evaluator.process([{"image_id": image_id}], [{"instances": found}])
    return evaluator.evaluate()["bbox"]


def lies_in_regions(box, regions):
    """Pixel by pixel, numbered from 1; a region reaches one pixel further than its size."""
    x, y, w, h = (max(1, int(v + 0.5)) for v in box)
    covered = 0
    for row in range(y + 1, min(y + h, HEIGHT) + 1):
        for column in range(x + 1, min(x + w, WIDTH) + 1):
            covered += any(
                max(left, 1) <= column <= max(left, 1) + max(width, 1)
                and max(top, 1) <= row <= max(top, 1) + max(height, 1)
                for left, top, width, height in regions
            )
    return covered / (w * h) >= 0.5


def share(box, truth, ignored):
    sides = [
        min(box[k] + box[k + 2], truth[k] + truth[k + 2]) - max(box[k], truth[k]) for k in (0, 1)
    ]
    inside = max(sides[0], 0) * max(sides[1], 0)
    own = box[2] * box[3]
    return inside / (own if ignored else own + truth[2] * truth[3] - inside)


def toolkit(records, detections):
    """The toolkit's rules, a class, a threshold and a cap at a time."""
    thresholds = [0.5 + 0.05 * k for k in range(10)]
    ap, ar, weights = {}, {}, [0, 0]
    for label in (0, 1):
        for t, threshold in enumerate(thresholds):
            for cap in (1, 10, 100, 500):
                marks, objects, images = [], 0, 0
                for r in records:
                    regions = [a["bbox"] for a in r["annotations"] if a.get("region")]
                    truth = [
                        a
                        for a in r["annotations"]
                        if not a.get("of_every_class")
                        and a["category_id"] == label
                        and not lies_in_regions(a["bbox"], regions)
                    ]
                    images += bool(truth)
                    objects += len(truth)
                    rows = [
                        d
                        for d in sorted(detections[r["image_id"]], key=lambda d: -d[5])
                        if not lies_in_regions(d[1:5], regions)
                    ][:cap]
                    taken = set()
                    for _, *box, score in (d for d in rows if d[0] == label):
                        best, chosen = threshold - 1e-9, None
                        for k, a in enumerate(truth):
                            value = share(box, a["bbox"], False)
                            if not a["iscrowd"] and k not in taken and value >= best:
                                best, chosen = value, k
                        if chosen is not None:
                            taken.add(chosen)
                            marks.append((score, 1))
                        elif not any(
                            a["iscrowd"] and share(box, a["bbox"], True) >= threshold - 1e-9
                            for a in truth
                        ):
                            marks.append((score, 0))
                weights[label] = images
                marks = [hit for _, hit in sorted(marks, key=lambda m: -m[0])]
                ar[label, t, cap] = sum(marks) / max(1, objects)
            curve, hits = [(0.0, 1.0)], 0
            for n, hit in enumerate(marks, start=1):
                hits += hit
                curve.append((hits / max(1, objects), hits / n))
            ap[label, t] = sum(
                (curve[k][0] - curve[k - 1][0]) * max(p for _, p in curve[k:])
                for k in range(1, len(curve))
            )

    def mean(values):
        return 100 * sum(w * values(k) for k, w in enumerate(weights)) / sum(weights)

    metrics = {"AP": mean(lambda k: np.mean([ap[k, t] for t in range(10)]))}
    metrics |= {"AP50": mean(lambda k: ap[k, 0]), "AP75": mean(lambda k: ap[k, 5])}
    for cap in (1, 10, 100, 500):
        metrics[f"AR{cap}"] = mean(lambda k, c=cap: np.mean([ar[k, t, c] for t in range(10)]))
    return metrics


def random_scene(seed):
    draw = np.random.default_rng(seed)
    records, detections = [], {}
    for image_id in (1, 2, 3):
        annotations, found = [region(*draw.integers(0, 50, 2), *draw.integers(1, 30, 2))], []
        for _ in range(14):
            box = np.array([*draw.integers(0, 50, 2), *draw.integers(3, 25, 2)], dtype=float)
            label = int(image_id == 3 and draw.random() < 0.5)
            annotations.append(thing(label, *box, iscrowd=int(draw.random() < 0.2)))
            for _ in range(draw.integers(0, 3)):
                moved = (box + draw.normal(0, 1.5, 4)).clip(1).round(2)
                found.append((label, *moved.tolist(), round(float(draw.random()), 6)))
        records.append(record(image_id, *annotations, other(5, 5, 9, 9)))
        detections[image_id] = found
    return records, detections


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_toolkit_metrics_are_those_of_its_rules_written_out(seed):
    records, detections = random_scene(seed)
    metrics = evaluate(VisDroneEvaluator(Drones(records)), detections)
    expected = toolkit(records, detections)
    assert {name: metrics[f"toolkit-{name}"] for name in expected} == pytest.approx(
        expected, abs=1e-4
    )


def test_detections_in_regions_and_of_other_vehicles_are_not_considered():
    records = [record(1, thing(0, 5, 5, 10, 10), region(30, 0, 30, 40), other(65, 5, 20, 20))]
    good = (0, 5, 5, 10, 10, 0.5)
    clean = evaluate(VisDroneEvaluator(Drones(records)), {1: [good]})
    found = [good, (1, 35, 5, 9, 9, 0.9), (0, 67, 7, 10, 10, 0.9)]
    metrics = evaluate(VisDroneEvaluator(Drones(records)), {1: found})
    assert clean["AP"] == metrics["AP"] == pytest.approx(100)
    # The toolkit knows no other vehicles.
    assert clean["toolkit-AP"] == pytest.approx(100)
    assert metrics["toolkit-AP"] == pytest.approx(50)
    # Under half of it lies in the region: a false positive for both.
    metrics = evaluate(VisDroneEvaluator(Drones(records)), {1: [good, (0, 20, 5, 16, 9, 0.9)]})
    assert metrics["AP"] == pytest.approx(50) and metrics["toolkit-AP"] == pytest.approx(50)


def test_objects_in_regions_are_no_objects():
    records = [record(1, thing(0, 5, 5, 10, 10), thing(0, 35, 5, 10, 10), region(30, 0, 30, 40))]
    metrics = evaluate(VisDroneEvaluator(Drones(records)), {1: [(0, 5, 5, 10, 10, 0.5)]})
    assert (metrics["AP"], metrics["GT-all"]) == (pytest.approx(100), 1)
    assert metrics["toolkit-AR500"] == pytest.approx(100)
    with pytest.raises(ValueError, match="all objects of the test set lie in ignored regions"):
        VisDroneEvaluator(Drones([record(1, thing(0, 35, 5, 10, 10), region(30, 0, 30, 40))]))


def test_five_hundred_detections_of_all_classes_together_count():
    records = [record(1, thing(0, 5, 5, 10, 10))]
    good, noise = (0, 5, 5, 10, 10, 0.5), [(1, 40, 40, 9, 9, 0.9)] * 500
    metrics = evaluate(VisDroneEvaluator(Drones(records)), {1: [good, *noise]})
    assert (metrics["AP"], metrics["toolkit-AP"]) == (0, 0)
    metrics = evaluate(VisDroneEvaluator(Drones(records)), {1: [good, *noise[1:]]})
    assert (metrics["AP"], metrics["toolkit-AP"]) == pytest.approx((100, 100))
    assert "toolkit-AP" not in evaluate(VisDroneEvaluator(Drones(records), toolkit=False), {1: []})


def test_metrics_of_redraws_are_those_of_their_images(tmp_path):
    records, detections = random_scene(5)
    evaluator = VisDroneEvaluator(Drones(records), max_dets=8, toolkit=False, output_dir=tmp_path)
    metrics = evaluate(evaluator, detections)
    read = evaluator.read(tmp_path / "coco_instances_results.json")
    whole, drawn = read.redrawn(np.array([[2, 1, 2]]))["AP"]
    again = [records[k] | {"image_id": n} for n, k in enumerate((2, 1, 2), start=1)]
    other = VisDroneEvaluator(Drones(again), max_dets=8, toolkit=False)
    found = {1: detections[3], 2: detections[2], 3: detections[3]}
    assert whole == pytest.approx(metrics["AP"])
    assert drawn == pytest.approx(evaluate(other, found)["AP"])
    assert len(read.detections) < sum(map(len, detections.values()))  # those that count


def test_all_metrics_are_known_before():
    records, detections = random_scene(4)
    evaluator = VisDroneEvaluator(Drones(records))
    known = evaluator.metric_objects()
    assert {f"bbox/{name}" for name in evaluate(evaluator, detections)} == set(known)


def test_area_under_all_points():
    # Hit, miss, hit, of three objects: precision 1, 1/2, 2/3.
    recall, precision = np.array([1, 1, 2]) / 3, np.array([1, 1 / 2, 2 / 3])
    assert all_points_ap(recall, precision) == pytest.approx(1 / 3 + 2 / 9)
    assert all_points_ap(np.zeros(0), np.zeros(0)) == 0


def test_area_of_a_published_curve():
    """Of the example of github.com/rafaelpadilla/Object-Detection-Metrics: 24 detections of 15."""
    hits = np.isin(np.arange(1, 25), [1, 3, 10, 12, 13, 14, 23]).cumsum()
    assert all_points_ap(hits / 15, hits / np.arange(1, 25)) == pytest.approx(0.2457, abs=5e-5)
