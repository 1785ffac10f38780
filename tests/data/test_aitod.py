"""AI-TOD from small files in the layout that its toolkit makes."""

import json
from pathlib import Path

from lowres_d2.data.datasets import check_same_classes
from lowres_d2.programs.validate import main as validate

import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.structures import Boxes, Instances
from PIL import Image

DATA = Path(__file__).parents[2] / "configs/common/data"
CLASSES = ["airplane", "bridge", "storage-tank", "ship", "swimming-pool", "vehicle", "person"]
CLASSES += ["wind-mill"]
FILES = {"aitod": "aitod_{}_v1.json", "aitod_v2": "aitodv2_{}.json"}
SIDES = (3, 7, 12, 20, 40)  # very tiny, very tiny, tiny, small, medium


def write_split(root, name, split, boxes):
    folder = root / "aitod/images" / split
    folder.mkdir(parents=True, exist_ok=True)
    (root / "aitod/annotations").mkdir(exist_ok=True)
    images = [
        {"id": k, "file_name": f"P{k:04}__1__0_{600 * k}.png", "width": 800, "height": 800}
        for k in (1, 2)
    ]
    for image in images:
        # Every image is another one: the validation compares the splits.
        color = (90 + 9 * image["id"], 100, 40 * len(split))
        Image.new("RGB", (800, 800), color).save(folder / image["file_name"])
    annotations = [
        {
            "id": k,
            "image_id": 1,
            "category_id": 1 + k % len(CLASSES),
            "bbox": box,
            "segmentation": [],
            "area": box[2] * box[3],
            "iscrowd": 0,
        }
        for k, box in enumerate(boxes, start=1)
    ]
    categories = [
        {"id": k, "name": cls, "supercategory": cls} for k, cls in enumerate(CLASSES, start=1)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "aitod/annotations" / FILES[name].format(split)
    path.write_text(json.dumps(content))


@pytest.fixture(params=FILES)
def cfg(request, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    squares = [[50.0 * k, 30.0, side, side] for k, side in enumerate(SIDES)]
    for split in ("trainval", "test"):
        write_split(tmp_path, request.param, split, squares)
    cfg = LazyConfig.load(str(DATA / f"{request.param}.py"))
    cfg.train = {"seed": 0, "output_dir": str(tmp_path / "out")}
    cfg.dataloader.train.num_workers = 0
    return cfg


def test_trainval_and_test_are_read(cfg):
    train, test = instantiate(cfg.dataloader.train), instantiate(cfg.dataloader.test)
    batch = next(iter(train))
    assert [sample["image"].shape for sample in batch] == [(3, 800, 800)] * 2
    assert all(len(sample["instances"]) == 5 for sample in batch)  # the empty one is left out
    assert [sample["image_id"] for batch in test for sample in batch] == [1, 2]
    train, test = (instantiate(cfg.dataloader[part].dataset) for part in ("train", "test"))
    check_same_classes(train, test)
    assert test.classes == CLASSES
    assert (test.num_objects, len(test)) == (5, 2)


def test_metrics_are_those_of_its_tables(cfg):
    evaluator = instantiate(cfg.dataloader.evaluator)
    assert evaluator.max_dets == 1500
    found = Instances((800, 800))
    record = instantiate(cfg.dataloader.test.dataset)[0]
    x, y, w, h = torch.tensor([a["bbox"] for a in record["annotations"]]).unbind(1)
    found.pred_boxes = Boxes(torch.stack([x, y, x + w, y + h], dim=1))
    found.scores = torch.full((5,), 0.9)
    found.pred_classes = torch.tensor([a["category_id"] for a in record["annotations"]])
    evaluator.process([{"image_id": 1}], [{"instances": found[1:]}])  # all but one of the smallest
    result = evaluator.evaluate()["bbox"]
    names = ["very-tiny", "tiny", "small", "medium"]
    assert [result[f"GT-{name}"] for name in names] == [2, 1, 1, 1]
    assert [result[f"AP-{name}"] for name in names] == pytest.approx([50, 100, 100, 100])
    assert result["oLRP"] == pytest.approx(20)  # 1 for the class that was missed, of five


RECIPE = """
from lowres_d2.recipes.load import load_recipe
from detectron2.config import LazyConfig
cfg = load_recipe("configs/quick/full_fcos_small_256_plates.py")
model, optimizer, lr_multiplier, train = cfg.model, cfg.optimizer, cfg.lr_multiplier, cfg.train
dataloader = LazyConfig.load({data!r}).dataloader
"""


def test_it_validates(cfg, tmp_path, capsys):
    name = next(n for n, file in FILES.items() if file.format("test") in str(cfg.dataloader.test))
    (tmp_path / "recipe.py").write_text(RECIPE.format(data=str(DATA / f"{name}.py")))
    validate(["--config-file", str(tmp_path / "recipe.py")])
    text = capsys.readouterr().out
    assert "very-tiny" in text and "error" not in text.strip().splitlines()[-1]
