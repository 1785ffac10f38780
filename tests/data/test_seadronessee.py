"""SeaDronesSee in COCO's form, with its class 0 for ignore regions."""

import contextlib
import io
import json
from pathlib import Path

from lowres_d2.data.datasets import SEADRONESSEE_CLASSES, CocoDataset, SeaDronesSeeDataset
from lowres_d2.data.validation import Findings
from lowres_d2.evaluation import SizedCOCOEvaluator
from lowres_d2.programs.prepare_seadronessee import main
from lowres_d2.programs.validate_recipe import recipe_splits

import numpy as np
import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

REPOSITORY = Path(__file__).parents[2]
NAMES = ["ignored", *SEADRONESSEE_CLASSES]


def box(number, image_id, category, *bbox):
    area = bbox[2] * bbox[3]
    return {
        "id": number,
        "image_id": image_id,
        "bbox": list(bbox),
        "area": area,
        "category_id": category,
        "iscrowd": 0,
    }


@pytest.fixture
def content():
    """Ids and keys as in the real file."""
    images = [
        {
            "id": k,
            "file_name": f"{k}.jpg",
            "height": 2160,
            "width": 3840,
            "source": {"drone": "mavic", "frame_no": 5415},
            "date_time": "2020-08-25T14:19:21.647133",
            "meta": {"latitude": 47.67209, "speed(m/s)": 2.8},
        }
        for k in (3464, 3465)
    ]
    return {
        "info": {},
        "licenses": [],
        "categories": [
            {"supercategory": name, "id": k, "name": name} for k, name in enumerate(NAMES)
        ],
        "images": images,
        "annotations": [
            box(14808, 3464, 1, 1698, 1619, 23, 16),
            box(14809, 3464, 0, 100, 100, 400, 300),
            box(14810, 3465, 5, 1692, 1553, 29, 19),
            box(14811, 3465, 2, 500, 400, 120, 90),
        ],
    }


@pytest.fixture
def write(tmp_path, content):
    def files():
        (tmp_path / "annotations").mkdir(exist_ok=True)
        for split in ("train", "val"):
            path = tmp_path / f"annotations/instances_{split}.json"
            path.write_text(json.dumps(content))
        return path

    return files


def test_the_ignored_class_makes_ignore_regions_of_every_class(write):
    dataset = SeaDronesSeeDataset(write(), check_images=False)
    assert dataset.classes == SEADRONESSEE_CLASSES and dataset.category_ids == [1, 2, 3, 4, 5]
    swimmer, ignored = dataset[0]["annotations"]
    assert (swimmer["category_id"], swimmer["iscrowd"]) == (0, 0)
    assert ignored["iscrowd"] and ignored["of_every_class"]
    truth = dataset.coco_dict()["annotations"]
    crowds = [(a["category_id"], a["bbox"]) for a in truth if a["iscrowd"]]
    assert crowds == [(k, [100, 100, 400, 300]) for k in range(1, 6)]
    assert len({a["id"] for a in truth}) == len(truth) == 8
    assert (dataset.num_objects, dataset.num_crowds) == (3, 1)


def test_classes_can_be_chosen_but_not_twice(write, content):
    dataset = SeaDronesSeeDataset(write(), classes=["buoy", "swimmer"], check_images=False)
    assert dataset.category_ids == [5, 1] and dataset.num_objects == 2
    with pytest.raises(ValueError, match="class 'ignored' is in classes and in ignored_classes"):
        SeaDronesSeeDataset(write(), classes=["ignored", "buoy"], check_images=False)
    with pytest.raises(ValueError, match="has no class 'ignore'; did you mean 'ignored'"):
        CocoDataset(write(), check_images=False, ignored_classes=["ignore"])
    plain = CocoDataset(write(), check_images=False)
    assert plain.classes == NAMES and plain.num_crowds == 0
    others = CocoDataset(write(), check_images=False, ignored_classes=["ignored", "boat"])
    assert others.classes == ["swimmer", "jetski", "life_saving_appliances", "buoy"]
    assert (others.num_objects, others.num_crowds) == (2, 2)


def detections_of(content, seed):
    draw = np.random.default_rng(seed)
    rows = []
    for a in content["annotations"]:
        for _ in range(3):
            moved = np.array(a["bbox"]) + draw.normal(0, 0.05 * a["bbox"][2], 4)
            # Exact in float32.
            bbox = (moved * 4).round() / 4
            score = int(draw.integers(1, 255)) / 256
            rows.append({key: a[key] for key in ("image_id", "category_id")} | {"score": score})
            rows[-1]["bbox"] = bbox.tolist()
    return rows


def test_metrics_with_class_0_as_a_class_are_pycocotools(write, content):
    """As the published answer for the real files was computed: all six, class 0 included."""
    draw = np.random.default_rng(5)
    for number in range(40):
        bbox = [*draw.integers(0, 2000, 2).tolist(), *draw.integers(6, 150, 2).tolist()]
        image_id, category = (3464, 3465)[number % 2], int(draw.integers(0, 6))
        content["annotations"].append(box(number + 1, image_id, category, *bbox))
    found = detections_of(content, 6)
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(content))
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(json.loads(json.dumps(found))), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    evaluator = SizedCOCOEvaluator(CocoDataset(write(), check_images=False), "coco", 100)
    for image_id in (3464, 3465):
        rows = [row for row in found if row["image_id"] == image_id]
        boxes = torch.tensor([row["bbox"] for row in rows])
        instances = Instances((2160, 3840))
        instances.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
        instances.scores = torch.tensor([row["score"] for row in rows])
        instances.pred_classes = torch.tensor([row["category_id"] for row in rows])
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    metrics = evaluator.evaluate()["bbox"]
    names = ["AP", "AP50", "AP75", "AP-small", "AP-medium", "AP-large"]
    assert [metrics[name] / 100 for name in names] == pytest.approx(run.stats[:6], abs=1e-9)
    assert 0.2 < run.stats[0] < 0.9


def test_program_counts_objects(write, tmp_path, capsys):
    write()
    main(["--root", str(tmp_path), "--no-images"])
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in x.split("|")[1:-1]] for x in text.splitlines() if "|" in x]
    assert rows[2][:4] == ["train", "2", "3", "1"]
    assert rows[-1] == ["buoy", "1", "1"]


def test_data_piece_builds(write, tmp_path, monkeypatch):
    write()
    (tmp_path / "seadronessee").symlink_to(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = LazyConfig.load(str(REPOSITORY / "configs/common/data/seadronessee.py"))
    cfg.train = {"seed": 0, "output_dir": str(tmp_path / "out")}
    cfg.dataloader.test.dataset.check_images = False
    cfg.dataloader.train.dataset.check_images = False
    findings = Findings()
    train, _ = recipe_splits(cfg, findings)
    # The crowd is one of each class there.
    assert (len(train.objects), len(train.boxed)) == (3, 8) and not findings.count("error")
    evaluator = instantiate(cfg.dataloader.evaluator)
    assert evaluator.metric_objects()["bbox/AP-swimmer"] == 1
