from pathlib import Path

import lowres_d2

import numpy as np
import pytest
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import PascalVOCDetectionEvaluator
from detectron2.evaluation.pascal_voc_evaluation import voc_ap
from detectron2.structures import Boxes, Instances

EXAMPLE = Path(__file__).parents[4] / "shared" / "data" / "annotations" / "pascal_metric_example"
CLASSES = ["cat", "dog"]


def write_voc(root, truth):
    """truth: {image: [(class, difficult, box)]}."""
    (root / "Annotations").mkdir(parents=True)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "test.txt").write_text("\n".join(truth) + "\n")
    for image, objects in truth.items():
        items = []
        for name, difficult, box in objects:
            sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
            corners = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
            items.append(
                f"<object><name>{name}</name><pose>x</pose><truncated>0</truncated>"
                f"<difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"
            )
        size = "<size><width>99</width><height>99</height></size>"
        (root / "Annotations" / f"{image}.xml").write_text(
            f"<annotation>{size}{''.join(items)}</annotation>"
        )


@pytest.fixture
def make_evaluator(tmp_path):
    name = f"test_voc_{tmp_path}"

    def make(truth, year):
        write_voc(tmp_path, truth)
        MetadataCatalog.get(name).set(
            dirname=str(tmp_path), split="test", year=year, thing_classes=CLASSES
        )
        evaluator = PascalVOCDetectionEvaluator(name)
        evaluator.reset()
        return evaluator

    yield make
    MetadataCatalog.remove(name)


def feed(evaluator, image, rows):
    """rows: (class index, score, box in VOC's pixels)."""
    instances = Instances((99, 99))
    boxes = torch.tensor([box for _, _, box in rows], dtype=torch.float32).reshape(-1, 4)
    instances.pred_boxes = Boxes(boxes - torch.tensor([1.0, 1.0, 0.0, 0.0]))
    instances.scores = torch.tensor([score for _, score, _ in rows], dtype=torch.float32)
    instances.pred_classes = torch.tensor([c for c, _, _ in rows], dtype=torch.int64)
    evaluator.process([{"image_id": image}], [{"instances": instances}])


def reference_curve(truth, detections, name, threshold):
    """The development kit's rule, object by object."""
    boxes = {p: [(b, d) for n, d, b in objects if n == name] for p, objects in truth.items()}
    used, hits, misses = set(), [], []
    for image, _, box in sorted(detections, key=lambda d: -d[1]):
        best, at = -1.0, None
        for k, (other, _) in enumerate(boxes[image]):
            w = min(box[2], other[2]) - max(box[0], other[0]) + 1
            h = min(box[3], other[3]) - max(box[1], other[1]) + 1
            inter = max(w, 0) * max(h, 0)
            area = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other)]
            iou = inter / (sum(area) - inter)
            if iou > best:
                best, at = iou, k
        hit = best > threshold
        if hit and boxes[image][at][1]:
            hits.append(0), misses.append(0)
            continue
        right = hit and (image, at) not in used
        if hit:
            used.add((image, at))
        hits.append(int(right)), misses.append(int(not right))
    total = sum(not d for objects in boxes.values() for _, d in objects)
    tp, fp = np.cumsum(hits), np.cumsum(misses)
    return tp / total, tp / np.maximum(tp + fp, 1e-12)


def eleven_points(recall, precision):
    best = [max(precision[recall >= t], default=0.0) for t in np.arange(0, 1.1, 0.1)]
    return np.mean(best)


def area_under(recall, precision):
    """Sum over distinct recalls of the increase times the best precision from there on."""
    total, last = 0.0, 0.0
    for level in np.unique(recall):
        total += (level - last) * precision[recall >= level].max()
        last = level
    return total


@pytest.mark.parametrize("year", [2007, 2012])
@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_the_development_kits_rule(make_evaluator, year, seed):
    rng = np.random.default_rng(seed)
    truth, rows = {}, {}
    scores = iter(rng.permutation(900) / 1000)  # distinct in three digits
    for image in ("000001", "000002", "000003"):
        truth[image], rows[image] = [], []
        for _ in range(6):
            x, y = rng.integers(1, 60, 2)
            box = (x, y, x + rng.integers(5, 30), y + rng.integers(5, 30))
            truth[image].append((str(rng.choice(CLASSES)), int(rng.random() < 0.2), box))
            for _ in range(2):
                moved = tuple(np.round(np.array(box) + rng.normal(0, 1.2, 4), 1))
                rows[image].append((int(rng.integers(0, 2)), next(scores), moved))
    evaluator = make_evaluator(truth, year)
    for image in truth:
        feed(evaluator, image, rows[image])
    got = evaluator.evaluate()["bbox"]

    measure = eleven_points if year == 2007 else area_under
    table = np.zeros((10, 2))
    for i, threshold in enumerate(np.arange(50, 100, 5) / 100):
        for c, name in enumerate(CLASSES):
            found = [(p, s, box) for p in rows for k, s, box in rows[p] if k == c]
            table[i, c] = 100 * measure(*reference_curve(truth, found, name, threshold))
    expected = [table.mean(), table[0].mean(), table[5].mean()]
    assert [got["AP"], got["AP50"], got["AP75"]] == pytest.approx(expected, abs=1e-9)
    assert 5 < got["AP50"] < 95


def test_the_threshold_must_be_exceeded_and_ends_are_inside(make_evaluator):
    # 10x10 pixels against its 5x10 half: IoU exactly 0.5.
    evaluator = make_evaluator(
        {"a": [("cat", 0, (1, 1, 10, 10)), ("dog", 0, (1, 1, 10, 10))]}, 2012
    )
    feed(evaluator, "a", [(0, 0.9, (1, 1, 5, 10)), (1, 0.9, (1, 1, 6, 10))])
    assert evaluator.evaluate()["bbox"]["AP50"] == pytest.approx(50.0)


def test_difficult_objects_count_neither_way(make_evaluator):
    truth = {
        "a": [("cat", 1, (1, 1, 10, 10)), ("cat", 0, (41, 1, 50, 10)), ("dog", 0, (1, 1, 5, 5))]
    }
    evaluator = make_evaluator(truth, 2012)
    cats = [(0, 0.9, (1, 1, 10, 10)), (0, 0.8, (1, 1, 10, 10)), (0, 0.7, (41, 1, 50, 10))]
    feed(evaluator, "a", [*cats, (1, 0.5, (1, 1, 5, 5))])
    assert evaluator.evaluate()["bbox"]["AP50"] == pytest.approx(100.0)


def test_a_second_detection_of_an_object_is_wrong_and_no_detection_gives_zero(make_evaluator):
    truth = {
        "a": [("cat", 0, (1, 1, 10, 10)), ("cat", 0, (41, 1, 50, 10)), ("dog", 0, (1, 1, 5, 5))]
    }
    evaluator = make_evaluator(truth, 2012)
    box = (1, 1, 10, 10)
    feed(evaluator, "a", [(0, 0.9, box), (0, 0.8, box), (0, 0.7, (41, 1, 50, 10))])
    # Cats: recall 1/2 at precision 1, then 1 at 2/3; dogs: 0.
    assert evaluator.evaluate()["bbox"]["AP50"] == pytest.approx(100 * (0.5 + 0.5 * 2 / 3) / 2)


@pytest.mark.parametrize(
    ("eleven", "expected"), [(True, (6 * 1.0 + 5 * 2 / 3) / 11), (False, 0.5 + 0.5 * 2 / 3)]
)
def test_average_precision_of_a_known_curve(eleven, expected):
    recall, precision = np.array([0.5, 0.5, 1.0]), np.array([1.0, 0.5, 2 / 3])
    assert voc_ap(recall, precision, eleven) == pytest.approx(expected)


@pytest.mark.skipif(not EXAMPLE.is_dir(), reason=f"no {EXAMPLE}: its answer is not tested")
@pytest.mark.skipif(
    lowres_d2.detectron2_provider() != "bundled", reason="upstream takes files only"
)
@pytest.mark.parametrize(("threshold", "percent"), [(0.3, 24.57), (0.5, 2.22)])
def test_published_example(threshold, percent):
    from detectron2.evaluation.pascal_voc_evaluation import match_detections

    def rows(file):
        for line in file.read_text().splitlines():
            _, *numbers = line.split()
            *score, x, y, w, h = map(float, numbers)
            yield score, (x, y, x + w, y + h)

    truth, found = {}, []
    for file in sorted((EXAMPLE / "groundtruths").glob("*.txt")):
        boxes = np.array([box for _, box in rows(file)])
        truth[file.stem] = (boxes, np.zeros(len(boxes), dtype=bool))
    for file in sorted((EXAMPLE / "detections").glob("*.txt")):
        found += [(file.stem, score[0], box) for score, box in rows(file)]
    curve = match_detections(found, truth).curve(threshold)
    assert 100 * voc_ap(*curve) == pytest.approx(percent, abs=0.005)
