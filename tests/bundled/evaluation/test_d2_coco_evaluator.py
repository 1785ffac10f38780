import contextlib
import io
import json
from pathlib import Path

import lowres_d2

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator
from detectron2.evaluation.coco_evaluation import (
    _evaluate_predictions_on_coco,
    instances_to_coco_json,
)
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SHARED = Path(__file__).parents[4] / "shared" / "data" / "annotations"
CATEGORY_IDS = [3, 7, 8]
NAMES = ["AP", "AP50", "AP75", "APs", "APm", "APl"]


@pytest.fixture
def register():
    made = []

    def add(json_file, contiguous=None, classes=None):
        name = f"test_coco_{json_file}"
        made.append(name)
        metadata = MetadataCatalog.get(name).set(json_file=str(json_file), evaluator_type="coco")
        if contiguous:
            metadata.set(thing_dataset_id_to_contiguous_id=contiguous, thing_classes=classes)
        return name

    yield add
    for name in made:
        MetadataCatalog.remove(name)


def random_ground_truth(rng, images=6):
    annotations = []
    for image_id in range(1, images + 1):
        for _ in range(rng.integers(0, 8)):
            x, y = rng.uniform(0, 200, 2)
            w, h = np.exp(rng.uniform(np.log(6), np.log(150), 2))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(rng.choice(CATEGORY_IDS)),
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": int(rng.random() < 0.1),
                }
            )
    return {
        "images": [{"id": i, "height": 400, "width": 400} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": f"c{i}"} for i in CATEGORY_IDS],
        "annotations": annotations,
    }


def test_one_evaluation_by_itself_has_its_summary():
    truth = random_ground_truth(np.random.default_rng(3))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        found = [
            {k: a[k] for k in ("image_id", "category_id", "bbox")} | {"score": 0.5}
            for a in truth["annotations"]
            if not a["iscrowd"]
        ]
        whole = _evaluate_predictions_on_coco(coco, found, "bbox")
        first = _evaluate_predictions_on_coco(
            coco, found[:1], "bbox", img_ids=[found[0]["image_id"]]
        )
    assert whole.stats[0] == pytest.approx(1.0) and whole.params.maxDets == [1, 10, 100]
    assert first.params.imgIds == [found[0]["image_id"]]


def test_tasks_come_from_the_predictions(register, tmp_path):
    (tmp_path / "gt.json").write_text(json.dumps(random_ground_truth(np.random.default_rng(0))))
    evaluator = COCOEvaluator(register(tmp_path / "gt.json"), distributed=False)
    assert list(evaluator._tasks_from_predictions([{"image_id": 1, "bbox": [0, 0, 1, 1]}])) == [
        "bbox"
    ]


def random_outputs(rng, truth):
    """One batch per image: jittered ground truth with the wrong class now and then, and noise."""
    for image in truth["images"]:
        boxes, classes = [], []
        for annotation in truth["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, w, h = annotation["bbox"]
                jitter = rng.normal(0, 0.07, 4) * [w, h, w, h]
                boxes.append(np.array([x, y, x + w, y + h]) + jitter)
                right = CATEGORY_IDS.index(annotation["category_id"])
                classes.append(right if rng.random() < 0.8 else int(rng.integers(0, 3)))
        for _ in range(40):
            x, y = rng.uniform(0, 300, 2)
            boxes.append(np.array([x, y, x + rng.uniform(5, 90), y + rng.uniform(5, 90)]))
            classes.append(int(rng.integers(0, 3)))
        instances = Instances((400, 400))
        instances.pred_boxes = Boxes(torch.as_tensor(np.array(boxes), dtype=torch.float32))
        instances.scores = torch.as_tensor(rng.random(len(boxes)), dtype=torch.float32)
        instances.pred_classes = torch.as_tensor(classes)
        yield [{"image_id": image["id"]}], [{"instances": instances}]


def pycocotools_precision(truth, detections, max_dets=100):
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = truth
        ground_truth.createIndex()
        engine = COCOeval(ground_truth, ground_truth.loadRes(detections), "bbox")
        engine.params.maxDets = [1, 10, max_dets]
        engine.evaluate()
        engine.accumulate()
    return engine.eval["precision"]


def mean(precision):
    return 100 * precision[precision > -1].mean() if (precision > -1).any() else float("nan")


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(("seed", "max_dets"), [(0, None), (1, None), (2, 12)])
def test_metrics_equal_pycocotools(tmp_path, register, seed, max_dets, fast):
    rng = np.random.default_rng(seed)
    truth = random_ground_truth(rng)
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(truth))
    name = register(path, {c: i for i, c in enumerate(CATEGORY_IDS)}, ["a", "b", "c"])
    evaluator = COCOEvaluator(
        name, output_dir=str(tmp_path / "out"), max_dets_per_image=max_dets, use_fast_impl=fast
    )
    evaluator.reset()
    for inputs, outputs in random_outputs(rng, truth):
        evaluator.process(inputs, outputs)
    got = evaluator.evaluate()["bbox"]

    detections = json.loads((tmp_path / "out" / "coco_instances_results.json").read_text())
    assert {d["category_id"] for d in detections} == set(CATEGORY_IDS)
    precision = pycocotools_precision(truth, detections, max_dets or 100)
    expected = [
        mean(precision[..., 0, -1]),
        mean(precision[0, ..., 0, -1]),
        mean(precision[5, ..., 0, -1]),
        *(mean(precision[..., area, -1]) for area in (1, 2, 3)),
    ]
    assert [got[metric] for metric in NAMES] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    per_class = [got[f"AP-{c}"] for c in "abc"]
    assert per_class == pytest.approx([mean(precision[:, :, k, 0, -1]) for k in range(3)], abs=1e-9)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no {SHARED}: known answers are not tested")
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("truth", "results", "expected"),
    [
        pytest.param(
            "seadronessee/instances_val_iscrowd.json",
            "seadronessee/result_all_classes.json",
            [0.391613, 0.708880, 0.377303, 0.297364, 0.427356, 0.607728],
            marks=pytest.mark.slow,
        ),
        (
            "visdrone/coco_evaluate_dataset.json",
            "visdrone/coco_evaluate_result.json",
            [0.071954, 0.184978, 0.069383, float("nan"), float("nan"), 0.077099],
        ),
    ],
)
def test_known_answers(register, truth, results, expected, fast):
    name = register(SHARED / truth)
    evaluator = COCOEvaluator(name, use_fast_impl=fast)
    evaluator.reset()
    # Past `process`: it would round to float32, and these boxes lie a rounding beside whole pixels,
    # where many IoUs are exactly at a threshold.
    for detection in json.loads((SHARED / results).read_text()):
        detection.pop("segmentation", None)
        evaluator._predictions.append({"image_id": detection["image_id"], "instances": [detection]})
    got = evaluator.evaluate()["bbox"]
    expected = [100 * value for value in expected]
    assert [got[metric] for metric in NAMES] == pytest.approx(expected, abs=6e-5, nan_ok=True)


def small_truth(tmp_path, **changes):
    truth = {
        "images": [{"id": 1, "height": 99, "width": 99}],
        "categories": [{"id": 5, "name": "x"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "bbox": [10, 10, 20, 20], "area": 400}
            | {"iscrowd": 0}
        ],
    }
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({k: v for k, v in (truth | changes).items() if v is not None}))
    return path


def detections(*boxes, category=0):
    instances = Instances((99, 99))
    instances.pred_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.scores = torch.linspace(0.9, 0.1, len(boxes))
    instances.pred_classes = torch.full((len(boxes),), category)
    return instances


def evaluate(evaluator, instances, **kwargs):
    evaluator.reset()
    evaluator.process([{"image_id": 1}], [{"instances": instances}])
    return evaluator.evaluate(**kwargs)


def test_boxes_go_out_as_xywh_with_the_jsons_categories(tmp_path, register):
    name = register(small_truth(tmp_path), {5: 0}, ["x"])
    evaluator = COCOEvaluator(name, output_dir=str(tmp_path))
    result = evaluate(evaluator, detections([10, 10, 30, 30]))
    assert result["bbox"]["AP"] == pytest.approx(100)
    assert np.isnan(result["bbox"]["APl"])
    (written,) = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert written["bbox"] == [10, 10, 20, 20]
    assert (written["image_id"], written["category_id"]) == (1, 5)


def test_no_detections_and_no_predictions(tmp_path, register):
    evaluator = COCOEvaluator(register(small_truth(tmp_path), {5: 0}, ["x"]))
    assert all(np.isnan(v) for v in evaluate(evaluator, detections())["bbox"].values())
    evaluator.reset()
    assert evaluator.evaluate() == {}


def test_an_unknown_class_is_named(tmp_path, register):
    evaluator = COCOEvaluator(register(small_truth(tmp_path), {5: 0}, ["x"]))
    with pytest.raises(AssertionError, match=r"class.4"):
        evaluate(evaluator, detections([1, 1, 2, 2], category=4))


def test_a_json_without_annotations_gives_files_only(tmp_path, register):
    name = register(small_truth(tmp_path, annotations=None), {5: 0}, ["x"])
    evaluator = COCOEvaluator(name, output_dir=str(tmp_path))
    assert not evaluate(evaluator, detections([1, 1, 5, 5]))
    assert len(json.loads((tmp_path / "coco_instances_results.json").read_text())) == 1


def test_a_data_set_without_json_is_converted(tmp_path):
    box = {"bbox": [10.0, 10.0, 30.0, 30.0], "bbox_mode": 0, "category_id": 0}
    record = {"file_name": "a.png", "height": 99, "width": 99, "image_id": 1, "annotations": [box]}
    name = f"test_no_json_{tmp_path}"
    DatasetCatalog.register(name, lambda: [record])
    MetadataCatalog.get(name).set(thing_classes=["x"])
    with pytest.raises(ValueError, match="output_dir"):
        COCOEvaluator(name)
    evaluator = COCOEvaluator(name, output_dir=str(tmp_path))
    assert evaluate(evaluator, detections([10, 10, 30, 30]))["bbox"]["AP"] == pytest.approx(100)
    DatasetCatalog.remove(name)
    MetadataCatalog.remove(name)


def test_img_ids_choose_images(tmp_path, register):
    truth = json.loads(small_truth(tmp_path).read_text())
    truth["images"].append({"id": 2, "height": 99, "width": 99})
    truth["annotations"].append({**truth["annotations"][0], "id": 2, "image_id": 2})
    path = small_truth(tmp_path, **truth)
    evaluator = COCOEvaluator(register(path, {5: 0}, ["x"]))
    assert evaluate(evaluator, detections([10, 10, 30, 30]))["bbox"]["AP"] < 60
    assert evaluate(evaluator, detections([10, 10, 30, 30]), img_ids=[1])["bbox"]["AP"] > 99.9


def test_proposals_average_recall(tmp_path, register):
    truth = json.loads(small_truth(tmp_path).read_text())
    second = {**truth["annotations"][0], "id": 2, "bbox": [50, 50, 40, 40], "area": 1600}
    crowd = {**truth["annotations"][0], "id": 3, "iscrowd": 1}
    path = small_truth(tmp_path, annotations=[truth["annotations"][0], second, crowd])
    evaluator = COCOEvaluator(register(path))
    evaluator.reset()
    proposals = Instances((99, 99))
    # IoU 1 and 0.62 with the two objects; the perfect one is 150th of 200.
    boxes = torch.zeros(200, 4)
    boxes[3] = torch.tensor([50.0, 50.0, 90.0, 50 + 40 * 0.62])
    boxes[7] = torch.tensor([10.0, 10.0, 30.0, 30.0])
    logits = torch.linspace(5, 1, 200)
    logits[7] = logits[150]
    proposals.proposal_boxes, proposals.objectness_logits = Boxes(boxes), logits
    evaluator.process([{"image_id": 1}], [{"proposals": proposals}])
    got = evaluator.evaluate()["box_proposals"]
    # Thresholds 0.50, 0.55, 0.60 of ten are reached by 0.62.
    assert got["AR@100"] == pytest.approx(100 * (0.3 + 0) / 2)
    assert got["AR@1000"] == pytest.approx(100 * (0.3 + 1) / 2)
    assert (got["ARs@100"], got["ARs@1000"]) == (0, pytest.approx(100))
    assert got["ARm@100"] == pytest.approx(30)
    assert np.isnan(got["ARl@100"])


def test_masks_need_upstream():
    instances = detections([1, 1, 5, 5])
    assert instances_to_coco_json(instances, 3)[0]["bbox"] == [1, 1, 4, 4]
    if lowres_d2.detectron2_provider() == "bundled":
        instances.pred_masks = torch.zeros(1, 99, 99)
        with pytest.raises(NotImplementedError, match="needs upstream Detectron2"):
            instances_to_coco_json(instances, 3)
