"""TT100K from files in the data set's own form, and from its VOC xml files if they exist."""

import json
import logging
import re
from pathlib import Path
from xml.etree import ElementTree

from lowres_d2.data import DetectionMapper
from lowres_d2.data.datasets import TT100K_CLASSES, Tt100kDataset, VocDataset
from lowres_d2.data.datasets.tt100k import is_tt100k_json, read_tt100k
from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.evaluation import SizedF1Evaluator
from lowres_d2.programs.prepare_tt100k import main

import numpy as np
import pytest
import torch
from detectron2.config import LazyConfig, instantiate
from detectron2.structures import Boxes, Instances
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
REAL = REPOSITORY.parent / "shared/data/annotations/tt100k"
real_files = pytest.mark.skipif(not REAL.is_dir(), reason=f"{REAL} is not there")


def sign(category, xmin, ymin, xmax, ymax, **more):
    corners = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
    return {"category": category, "bbox": corners, **more}


def entry(path, *objects):
    return {"id": int(Path(path).stem), "path": path, "objects": list(objects)}


@pytest.fixture
def content():
    """As the data set's page documents it, outlines and all."""
    outline = {"ellipse_org": [[3, 4], [5, 6]], "polygon": [[1, 2], [3, 4]]}
    entries = [
        entry(
            "train/5.jpg", sign("pl40", 10.5, 20.25, 30.5, 44, **outline), sign("w9", 1, 1, 9, 9)
        ),
        entry("train/7.jpg"),
        entry("test/6.jpg", sign("pn", 2000, -3, 2060, 50), sign("pl40", 0, 0, 400, 300)),
        entry("other/8.jpg", sign("pn", 1, 1, 20, 20)),
    ]
    return {"imgs": {str(e["id"]): e for e in entries}, "types": ["pl40", "pn", "w9", "w10"]}


@pytest.fixture
def write(tmp_path, content):
    """Writes the content as it is by then."""

    def annotations():
        path = tmp_path / "annotations.json"
        path.write_text(json.dumps(content))
        return path

    return annotations


def load(path, **settings):
    return Tt100kDataset(path, check_images=False, **{"classes": ["pn", "pl40"]} | settings)


def test_corners_are_continuous_and_splits_come_from_paths(write, caplog):
    caplog.set_level(logging.INFO)
    train = load(write())
    assert [record["image_id"] for record in train] == [5, 7]
    assert train[0]["file_name"].endswith("train/5.jpg")
    assert (train[0]["height"], train[0]["width"]) == (2048, 2048)
    (found,) = train[0]["annotations"]
    assert found["bbox"] == [10.5, 20.25, 20, 23.75] and found["category_id"] == 1
    assert "1 objects of 1 unused classes left out" in caplog.text
    assert [len(load(write(), split=split)) for split in ("train", "test", "other")] == [2, 1, 1]


def test_boxes_over_the_border_are_clipped_and_evaluated_as_given(write):
    test = load(write(), split="test")
    assert test[0]["annotations"][0]["bbox"] == [2000, 0, 48, 50]
    truth = test.coco_dict()["annotations"]
    assert [a["bbox"] for a in truth] == [[2000, -3, 60, 53], [0, 0, 400, 300]]


def test_classes_are_those_with_more_signs_than_asked_for_in_train_and_test(write):
    path = write()
    assert load(path, classes=None, min_instances=1).classes == ["pl40"]
    assert load(path, classes=None, min_instances=0).classes == ["pl40", "pn", "w9"]
    with pytest.raises(ValueError, match="no class has more than min_instances=100 signs"):
        load(path, classes=None)
    assert len(TT100K_CLASSES) == 45 and sorted(set(TT100K_CLASSES)) == TT100K_CLASSES


FAULTS = {
    "imgs": (lambda c: c.update(imgs=[]), "no object 'imgs'"),
    "types": (lambda c: c.update(types={"a": 1}), "'types' is not a list of class names"),
    "entry": (lambda c: c["imgs"].update({"5": None}), r"imgs\['5'\] is not an object"),
    "id": (lambda c: c["imgs"]["5"].update(id="5"), r"imgs\['5'\] has id '5'; expected a whole"),
    "twice": (lambda c: c["imgs"]["5"].update(id=7), "id 7 occurs 2 times in 'imgs'"),
    "path": (lambda c: c["imgs"]["5"].update(path="5.jpg"), r"has path '5.jpg'; expected one like"),
    "split": (lambda c: c["imgs"]["5"].update(path="val/5.jpg"), "has path 'val/5.jpg'"),
    "objects": (lambda c: c["imgs"]["7"].pop("objects"), r"imgs\['7'\] has no list 'objects'"),
    "category": (
        lambda c: c["imgs"]["5"]["objects"][1].pop("category"),
        r"imgs\['5'\].objects\[1\] has category None; expected a class name",
    ),
    "blank": (
        lambda c: c["imgs"]["5"]["objects"][1].update(category=" "),
        "has category ' '; expected a class name",
    ),
    "corner": (
        lambda c: c["imgs"]["5"]["objects"][0]["bbox"].pop("xmax"),
        r"objects\[0\] \(pl40\) \(image .*train/5.jpg\).* is not four finite numbers",
    ),
    "no box": (lambda c: c["imgs"]["5"]["objects"][0].pop("bbox"), "None is not four finite"),
    "turned": (lambda c: c["imgs"]["5"]["objects"][0]["bbox"].update(xmax=1), "negative side"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named(write, content, fault):
    damage, message = FAULTS[fault]
    damage(content)
    with pytest.raises(ValueError, match=message) as caught:
        load(write())
    assert "annotations.json" in str(caught.value) and "\n" not in str(caught.value)


def test_mistakes_are_named(write, content, tmp_path):
    with pytest.raises(ValueError, match="split='val': expected one of train, test, other"):
        load(write(), split="val")
    with pytest.raises(ValueError, match="has no class 'pl4'; did you mean 'pl40'"):
        load(write(), classes=["pl4"])
    with pytest.raises(FileNotFoundError, match=r"give TT100K's annotations.json, or a folder"):
        load(tmp_path / "none.json")
    with pytest.raises(FileNotFoundError, match="has no xml files"):
        load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"2 images \(train/5.jpg, train/7.jpg\)"):
        Tt100kDataset(write(), classes=["pn"])
    content["imgs"]["5"]["objects"][0]["bbox"]["xmax"] = 10.5
    assert len(load(write(), invalid_boxes="skip")[0]["annotations"]) == 0


def test_images_are_found_beside_the_file_and_mapped(write, tmp_path):
    (tmp_path / "train").mkdir()
    for name in ("5", "7"):
        Image.new("RGB", (2048, 2048)).save(tmp_path / f"train/{name}.jpg", quality=10)
    dataset = Tt100kDataset(write(), classes=["pl40"])
    cfg = LazyConfig.load(str(REPOSITORY / "configs/common/data/tt100k.py"))
    half = DetectionMapper(True, instantiate(cfg.dataloader.train.mapper.augmentations))
    sample = half(dataset[0])
    assert sample["image"].shape == (3, 1600, 1600)
    corners = np.array([10.5, 20.25, 30.5, 44]) * 1600 / 2048
    assert sample["instances"].gt_boxes.tensor.numpy() == pytest.approx(corners[None])


def test_recipe_builds_with_the_benchmarks_classes(write, content, tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    (tmp_path / "tt100k").mkdir()
    content["types"] = [*TT100K_CLASSES, "w9"]
    write().rename(tmp_path / "tt100k/annotations.json")
    for name in ("tt100k", "tt100k_2048"):
        cfg = LazyConfig.load(str(REPOSITORY / f"configs/common/data/{name}.py"))
        cfg.train = {"seed": 0, "output_dir": ""}
        for part in ("train", "test"):
            cfg.dataloader[part].dataset.check_images = False
        train = instantiate(cfg.dataloader.train.dataset)
        evaluator = instantiate(cfg.dataloader.evaluator)
        assert train.classes == TT100K_CLASSES
        assert evaluator.size_ranges.limits == ((0, 32), (32, 96), (96, 400))
    resized = [len(cfg.dataloader[part].mapper.augmentations) for part in ("train", "test")]
    assert resized == [0, 0]


def test_validation_reads_the_file(write, content):
    content["imgs"]["6"]["objects"][1]["bbox"]["xmin"] = 400  # no width
    path = write()
    assert is_tt100k_json(path)
    findings = Findings()
    split = read_split(path, findings, classes=["pl40", "pn"])
    report = validate([split], findings, {"all": (0, 4096)}, level="none")
    assert {finding.check.name for finding in report.findings} >= {"box-invalid"}
    assert report.summaries[0].images == 4 and report.summaries[0].objects == 3


def test_program_counts_and_converts(write, content, tmp_path, capsys):
    content["types"] = TT100K_CLASSES
    write()
    arguments = ["--root", str(tmp_path), "--no-images", "--coco"]
    main(arguments)
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in x.split("|")[1:-1]] for x in text.splitlines() if "|" in x]
    assert rows[2] == ["train", "2", "1", "1", "0", "0", "0"]
    assert rows[3] == ["test", "1", "2", "0", "1", "0", "1"]
    assert "3 classes, 0 with more than 100 signs" in text
    converted = json.loads((tmp_path / "tt100k_test.json").read_text())
    assert converted["images"][0]["file_name"] == "test/6.jpg"
    assert [a["bbox"] for a in converted["annotations"]] == [[2000, -3, 60, 53], [0, 0, 400, 300]]
    assert [c["name"] for c in converted["categories"]] == TT100K_CLASSES
    (tmp_path / "annotations.json").unlink()
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    assert re.search(r"error: .*annotations.json: no such annotation file", error)


@real_files
def test_xml_files_hold_the_corners_of_the_other_form():
    """The YOLO files beside them, whose numbers are shares of 2048, say the same boxes."""
    images = read_tt100k(REAL / "voc_xml", "test").images
    assert (len(images), sum(len(p.signs) for p in images)) == (200, 549)
    for image in images:
        lines = (REAL / f"yolo_txt_3class/{image.image_id}.txt").read_text().splitlines()
        yolo = np.array([line.split()[1:] for line in lines if line], dtype=float) * 2048
        x, y, width, height = np.array([s.bbox for s in image.signs]).T
        ours = np.stack([x + width / 2, y + height / 2, width, height], axis=1)
        assert np.abs(ours - yolo).max() < 0.01  # they have six decimals


@real_files
def test_xml_and_json_give_the_same_data_set(tmp_path):
    """The 200 real files, and ``annotations.json`` written from them."""
    entries = []
    for image in read_tt100k(REAL / "voc_xml", "test").images:
        signs = []
        for name, (x, y, width, height), _ in image.signs:
            signs.append(sign(name, x, y, x + width, y + height))
        entries.append(entry(image.file_name, *signs))
    content = {"types": TT100K_CLASSES, "imgs": {str(e["id"]): e for e in entries}}
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content))
    settings = {"split": "test", "classes": TT100K_CLASSES, "check_images": False}
    of_json, of_xml = (Tt100kDataset(p, **settings) for p in (path, REAL / "voc_xml"))
    assert len(of_xml) == 200
    truth = sorted(a["bbox"] for a in of_xml.coco_dict()["annotations"])
    assert truth == sorted(a["bbox"] for a in of_json.coco_dict()["annotations"])
    assert len(truth) == 519  # 549 but for 30 signs of rarer classes

    evaluator = SizedF1Evaluator(of_xml)
    for record in of_xml:
        found = Instances((2048, 2048))
        boxes = torch.tensor([a["bbox"] for a in record["annotations"]]).reshape(-1, 4).float()
        found.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
        found.pred_classes = torch.tensor([a["category_id"] for a in record["annotations"]]).long()
        found.scores = torch.ones(len(boxes))
        evaluator.process([record], [{"instances": found}])
    result = evaluator.evaluate()["bbox"]
    assert (result["F1"], result["recall"], result["accuracy"]) == (100, 100, 100)
    by_size_range = [result[f"objects-{size_range}"] for size_range in ("small", "medium", "large")]
    assert sum(by_size_range) == result["objects"] == 519 and by_size_range == longer_sides(
        REAL / "voc_xml"
    )


def longer_sides(folder):
    """Number of signs that the benchmark scores with a longer side under 32, 96 and 400 px."""
    sides = []
    for path in folder.glob("*.xml"):
        for node in ElementTree.parse(path).iterfind("object"):
            x0, y0, x1, y1 = (int(corner.text) for corner in node.find("bndbox"))
            if node.findtext("name") in TT100K_CLASSES:
                sides.append(max(x1 - x0, y1 - y0))
    return np.histogram(sides, [0, 32, 96, 400])[0].tolist()


@real_files
def test_voc_data_set_reads_the_xml_files(tmp_path):
    """As VOC, with its count of pixels from 1, and all 68 classes named."""
    folder = tmp_path / "VOC2016"
    (folder / "ImageSets/Main").mkdir(parents=True)
    (folder / "Annotations").symlink_to(REAL / "voc_xml")
    stems = sorted(path.stem for path in (REAL / "voc_xml").glob("*.xml"))
    (folder / "ImageSets/Main/test.txt").write_text("\n".join(stems))
    classes = sorted({s.name for p in read_tt100k(REAL / "voc_xml").images for s in p.signs})
    dataset = VocDataset(tmp_path, "test", 2016, classes=classes, check_images=False)
    assert len(classes) == 68 and len(dataset) == 200
    assert sum(len(record["annotations"]) for record in dataset) == 549
