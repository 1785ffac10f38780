"""VisDrone from label files as its toolkit documents them."""

from pathlib import Path

from lowres_d2.data.datasets import VISDRONE_CLASSES, CocoDataset, VisDroneDataset
from lowres_d2.data.datasets.visdrone import read_visdrone_labels
from lowres_d2.data.folders.coco_folder import find_coco
from lowres_d2.data.validation import Findings, read_split, validate
from lowres_d2.evaluation import SizedCOCOEvaluator, VisDroneEvaluator
from lowres_d2.programs.prepare_visdrone import main

import pytest
from detectron2.config import LazyConfig, instantiate
from PIL import Image

REPOSITORY = Path(__file__).parents[3]
FIRST = """\
684,8,73,116,0,0,0,0
406,119,26,38,1,4,0,0
255,22,16,20,1,1,0,2,
1,3,18,25,0,9,1,0
600,300,50,40,1,11,0,0
"""


def write_split(folder, **labels):
    for name in ("images", "annotations"):
        (folder / name).mkdir(parents=True)
    for stem, text in labels.items():
        (folder / "annotations" / f"{stem}.txt").write_text(text)
        Image.new("RGB", (800, 400)).save(folder / "images" / f"{stem}.jpg")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_split(tmp_path / "VisDrone2019-DET-val", a_d_01=FIRST, b_d_02="")


def test_lines_become_objects_and_ignore_regions(folder):
    dataset = VisDroneDataset(folder)
    assert dataset.classes == VISDRONE_CLASSES and dataset.category_ids == [*range(1, 11)]
    assert [(r["image_id"], r["width"], r["height"]) for r in dataset] == [
        (1, 800, 400),
        (2, 800, 400),
    ]
    region, car, person, bus, other = dataset[0]["annotations"]
    assert region["iscrowd"] and region["of_every_class"] and region["region"]
    assert (car["bbox"], car["category_id"], car["iscrowd"]) == ([406, 119, 26, 38], 3, 0)
    assert (person["category_id"], person["iscrowd"]) == (0, 0)
    assert (bus["category_id"], bus["iscrowd"]) == (8, 1) and "of_every_class" not in bus
    assert other["iscrowd"] and other["of_every_class"] and "region" not in other
    assert (dataset.num_objects, dataset.num_crowds) == (2, 3)


def test_ignore_regions_of_every_class_are_crowds_of_each_in_coco_form(folder):
    content = VisDroneDataset(folder, classes=["car", "bus"]).coco_dict()
    crowds = [(a["category_id"], a["bbox"][0]) for a in content["annotations"] if a["iscrowd"]]
    assert sorted(crowds) == [(4, 600), (4, 684), (9, 1), (9, 600), (9, 684)]
    ids = [a["id"] for a in content["annotations"]]
    assert len(set(ids)) == len(ids)
    assert SizedCOCOEvaluator(VisDroneDataset(folder)).metric_objects()["bbox/AP"] == 2


def test_other_vehicles_can_be_left_out(folder):
    dataset = VisDroneDataset(folder, others="leave_out")
    assert [a["bbox"][0] for a in dataset[0]["annotations"]] == [684, 406, 255, 1]


BAD_LINES = [
    "1,2,3,4,1,4,0",
    "1,2,3,4,1,4,0,0,0",
    "1 2 3 4 1 4 0 0",
    "1,2,3,4,0.9,4,-1,-1",
    "1,2,3,4,1,12,0,0",
]


@pytest.mark.parametrize("line", BAD_LINES)
def test_other_lines_are_named(tmp_path, line):
    path = tmp_path / "a.txt"
    path.write_text(f"406,119,26,38,1,4,0,0\n{line}\n")
    with pytest.raises(ValueError, match=r"a\.txt: line 2 is .*; expected eight whole numbers"):
        read_visdrone_labels(path)


def test_mistakes_are_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no label files; expected VisDrone's none/"):
        VisDroneDataset(tmp_path / "none")
    with pytest.raises(ValueError, match="others='object': expected 'ignore' or 'leave_out'"):
        VisDroneDataset(folder, others="object")
    with pytest.raises(ValueError, match="has no class 'cars'; did you mean 'car'"):
        VisDroneDataset(folder, classes=["cars"])
    (folder / "annotations/b_d_02.txt").write_text("1,1,0,5,1,4,0,0")
    with pytest.raises(ValueError, match=r"object 1 \(car\) .*b_d_02.jpg.* has no area"):
        VisDroneDataset(folder)
    assert VisDroneDataset(folder, invalid_boxes="skip").num_objects == 2
    (folder / "images/b_d_02.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 2 images are not in .*: b_d_02.jpg"):
        VisDroneDataset(folder)


def test_validation_reads_the_label_files(folder):
    findings = Findings()
    report = validate([read_split(folder / "annotations", findings)], findings, {"all": (0, 1e6)})
    summary = report.summaries[0]
    assert (summary.images, summary.objects, summary.crowds) == (2, 2, 1)
    assert not findings.count("error")
    (folder / "annotations/a_d_01.txt").write_text("1,2,3,4,1,4,0,0\n1,2,3\n")
    read_split(folder / "annotations", findings)
    assert findings.count("error") == 1


def test_program_counts_and_converts(folder, tmp_path, capsys):
    write_split(tmp_path / "VisDrone2019-DET-train", c=FIRST)
    main(["--root", str(tmp_path), "--coco"])
    text = capsys.readouterr().out
    rows = [[cell.strip() for cell in x.split("|")[1:-1]] for x in text.splitlines() if "|" in x]
    assert rows[2][:5] == ["train", "1", "2", "3", "24.7 ± 6.8"]
    assert rows[3][:4] == ["val", "2", "2", "3"]
    assert ["car", "1", "1"] in rows and ["bus", "0", "0"] in rows
    converted = CocoDataset(tmp_path / "visdrone_val.json")
    assert [Path(r["file_name"]) for r in converted] == [*sorted((folder / "images").iterdir())]
    assert find_coco(tmp_path).splits.keys() == {"train", "val"}
    with pytest.raises(SystemExit):
        main(["--root", str(tmp_path / "none")])
    assert "error: " in capsys.readouterr().err


def test_data_piece_builds(folder, tmp_path, monkeypatch):
    write_split(tmp_path / "VisDrone2019-DET-train", c=FIRST)
    (tmp_path / "visdrone").symlink_to(tmp_path)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    cfg = LazyConfig.load(str(REPOSITORY / "configs/common/data/visdrone.py"))
    cfg.train = {"seed": 0, "output_dir": str(tmp_path / "out")}
    cfg.dataloader.train.num_workers = 0
    assert len(next(iter(instantiate(cfg.dataloader.train)))[0]["instances"]) == 2
    evaluator = instantiate(cfg.dataloader.evaluator)
    assert isinstance(evaluator, VisDroneEvaluator) and evaluator.max_dets == 500
