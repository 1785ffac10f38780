"""VOC's recipe evaluates by COCO's sizes: compared with pycocotools, on files in VOC's form."""

import contextlib
import io
from pathlib import Path

import lowres_d2  # noqa: F401

import numpy as np
import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.structures import Boxes, Instances
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

RECIPE = Path(__file__).parents[2] / "configs/common/data/voc.py"
OBJECT = (
    "<object><name>{}</name><difficult>{}</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def write_voc(folder, random, images=12):
    """VOC 2007 test with cats and dogs from 8 to 238 px, a tenth of them difficult."""
    for name in ("Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for number in range(images):
        nodes = []
        for _ in range(8):
            x, y = random.integers(1, 300, 2)
            width, height = (2 ** random.uniform(3, 7.9, 2)).astype(int)
            name, difficult = random.choice(["cat", "dog"]), int(random.random() < 0.1)
            nodes.append(OBJECT.format(name, difficult, x, y, x + width, y + height))
        size = "<size><width>500</width><height>500</height></size>"
        text = f"<annotation>{size}{''.join(nodes)}</annotation>"
        (folder / f"Annotations/{number:06}.xml").write_text(text)
    stems = "\n".join(f"{number:06}" for number in range(images))
    (folder / "ImageSets/Main/test.txt").write_text(stems)


def test_ap_by_size_equals_pycocotools(tmp_path, monkeypatch):
    random = np.random.default_rng(3)
    write_voc(tmp_path / "VOC2007", random)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = LazyConfig.load(str(RECIPE))
    cfg.train = {"seed": 0, "output_dir": ""}
    cfg.dataloader.test.dataset.check_images = False
    dataset = instantiate(cfg.dataloader.test.dataset)
    evaluator = instantiate(cfg.dataloader.evaluator)

    rows = []
    for record in dataset:
        boxes = np.array([a["bbox"] for a in record["annotations"]], dtype=np.float32)
        boxes += random.normal(0, 0.1, boxes.shape).astype(np.float32) * np.tile(boxes[:, 2:], 2)
        scores = random.random(len(boxes)).astype(np.float32)
        labels = [a["category_id"] for a in record["annotations"]]
        found = Instances((500, 500))
        found.pred_boxes = Boxes(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
        found.scores, found.pred_classes = torch.from_numpy(scores), torch.tensor(labels)
        evaluator.process([record], [{"instances": found}])
        image = np.full(len(boxes), record["image_id"])
        rows.append(np.column_stack([image, boxes, scores, np.array(labels) + 1]))
    result = evaluator.evaluate()["bbox"]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = dataset.coco_dict()
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(np.concatenate(rows)), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    names = ["AP", "AP50", "AP75", "AP-small", "AP-medium", "AP-large"]
    ours = [result[name] for name in names]
    assert ours == pytest.approx(list(100 * run.stats[:6]), abs=1e-3)
    assert min(ours) > 5 and result["GT-small"] > 10 and result["GT-large"] > 5
