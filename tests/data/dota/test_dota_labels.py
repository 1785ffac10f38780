"""DOTA's label files, from lines of the documented format."""

import logging

from lowres_d2.data.datasets import DOTA_CLASSES, DotaDataset
from lowres_d2.data.datasets.dota import is_dota_folder, read_dota_labels
from lowres_d2.data.validation import Findings, read_split, validate

import pytest
from PIL import Image

HEADER = "imagesource:GoogleEarth\ngsd:0.2556\n"
SQUARE = "10 20 30 20 30 40 10 40 plane 0\n"
DIAMOND = "50.5 20 60 30.25 50.5 40 41 30.25 small-vehicle 1\n"


def write_split(folder, **texts):
    """Images of 100x80 pixels with these label files."""
    for name in ("images", "labelTxt"):
        (folder / name).mkdir(parents=True)
    for k, (name, text) in enumerate(texts.items()):
        Image.new("RGB", (100, 80), (60 * k, 9, 9)).save(folder / f"images/{name}.png")
        (folder / f"labelTxt/{name}.txt").write_text(text)
    return folder


@pytest.mark.parametrize("header", ["", HEADER, "imagesource:GF\ngsd:null\n\n", "\ufeff" + HEADER])
def test_lines_are_corners_class_and_difficulty(tmp_path, header):
    path = tmp_path / "P0001.txt"
    path.write_text(header + SQUARE + "\n" + DIAMOND.replace(" 1\n", "\r\n"), encoding="utf-8")
    square, diamond = read_dota_labels(path)
    assert (square.name, square.bbox, square.difficult) == ("plane", [10, 20, 20, 20], 0)
    assert (diamond.name, diamond.bbox) == ("small-vehicle", [41, 20, 19, 20])
    assert diamond.difficult == 0  # where it is not said
    path.write_text(header)
    assert read_dota_labels(path) == []


@pytest.mark.parametrize(
    "line", ["1 2 3 4 5 6 7 plane 0", "1 2 3 4 5 6 7 x plane 0", "1 2 3 4 5 6 7 8 plane easy", "a",
             "1 2 3 4 5 6 7 nan plane 0", "1 2 3 4 5 6 7 8 plane 0 0", "1 2 3 4 5 6 7 8 plane -1"]
)  # fmt: skip
def test_another_line_is_named(tmp_path, line):
    path = tmp_path / "P0001.txt"
    path.write_text(HEADER + SQUARE + line)
    with pytest.raises(ValueError, match=r"P0001.txt: line 4 is '.*'; expected eight coordinates"):
        read_dota_labels(path)


def test_files_that_are_no_text_or_missing_are_named(tmp_path):
    (tmp_path / "P1.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"P1.txt: is not text"):
        read_dota_labels(tmp_path / "P1.txt")
    with pytest.raises(FileNotFoundError, match=r"P2.txt: no such label file"):
        read_dota_labels(tmp_path / "P2.txt")


def test_a_split_is_a_data_set_of_horizontal_boxes(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    over = "90 70 120 70 120 90 90 90 ship 0\n"
    folder = write_split(tmp_path / "train", P2=HEADER, P1=HEADER + SQUARE + DIAMOND + over)
    dataset = DotaDataset(folder)
    assert dataset.classes == DOTA_CLASSES and len(DOTA_CLASSES) == 18
    first, second = dataset
    assert [r["file_name"].rsplit("/", 1)[1] for r in dataset] == ["P1.png", "P2.png"]
    assert (first["width"], first["height"], second["annotations"]) == (100, 80, [])
    boxes = [[10, 20, 20, 20], [41, 20, 19, 20], [90, 70, 10, 10]]
    assert [a["bbox"] for a in first["annotations"]] == boxes
    labels = [dataset.classes[a["category_id"]] for a in first["annotations"]]
    assert labels == ["plane", "small-vehicle", "ship"]
    assert [a["iscrowd"] for a in first["annotations"]] == [0, 1, 0]
    assert dataset.coco_dict()["annotations"][2]["bbox"] == [90, 70, 30, 20]
    assert DotaDataset(folder, difficult="object").num_crowds == 0
    chosen = DotaDataset(folder, classes=["ship", "plane"])
    assert [a["category_id"] for a in chosen[0]["annotations"]] == [1, 0]
    assert "1 objects of 1 unused classes left out (small-vehicle)" in caplog.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"difficult": "skip"}, "difficult='skip': expected 'ignore' or 'object'"),
        ({"classes": ["plan"]}, "has no class 'plan'; did you mean 'plane'"),
        ({"labels": "labelTxt-v2.0"}, "labelTxt-v2.0: no such folder; expected DOTA's train/im"),
    ],
)
def test_mistakes_are_named(tmp_path, settings, message):
    folder = write_split(tmp_path / "train", P1=SQUARE)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        DotaDataset(folder, **settings)


def test_faulty_files_are_named(tmp_path):
    folder = write_split(tmp_path / "a", P1=SQUARE.replace("plane", "plain"))
    with pytest.raises(ValueError, match=r"class 'plain', .* DOTA's 18, nearest is 'plane'"):
        DotaDataset(folder)
    flat = write_split(tmp_path / "b", P1="5 5 9 5 9 5 5 5 ship 0\n")
    with pytest.raises(ValueError, match=r"object 1 \(ship\) .* has no area"):
        DotaDataset(flat)
    assert DotaDataset(flat, invalid_boxes="skip").num_objects == 0
    lacking = write_split(tmp_path / "c", P1=SQUARE, P2=SQUARE)
    (lacking / "labelTxt/P1.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"labelTxt: lacks 1 of 2 files \(P1\)"):
        DotaDataset(lacking)
    (lacking / "labelTxt/P1.txt").write_text(SQUARE)
    (lacking / "images/P2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"images: lacks 1 of 2 files \(P2\)"):
        DotaDataset(lacking)
    (lacking / "images/P2.png").write_text("no image")
    with pytest.raises(ValueError, match=r"P2.png: is not an image that can be read"):
        DotaDataset(lacking)


def test_label_folders_are_recognized_and_validated(tmp_path):
    folder = write_split(tmp_path / "val", P1=HEADER, P2=HEADER + SQUARE + DIAMOND)
    (tmp_path / "yolo").mkdir()
    (tmp_path / "yolo/1.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert is_dota_folder(folder / "labelTxt") and not is_dota_folder(tmp_path / "yolo")
    findings = Findings()
    split = read_split(folder / "labelTxt", findings)
    assert validate([split], findings, {"all": (0, 1e9)}).ok
    assert [i["file_name"] for i in split.images] == ["P1.png", "P2.png"]
    assert [(e["bbox"], e["iscrowd"]) for e in split.annotations] == [
        ([10, 20, 20, 20], 0),
        ([41, 20, 19, 20], 1),
    ]
    named = {entry["id"]: entry["name"] for entry in split.categories}
    assert [named[e["category_id"]] for e in split.annotations] == ["plane", "small-vehicle"]
    (folder / "labelTxt/P1.txt").write_text("nothing\n")
    assert [i["file_name"] for i in read_split(folder / "labelTxt", findings).images] == ["P2.png"]
    (unreadable,) = (f for f in findings if f.check.name == "file-unreadable")
    assert "P1.txt: line 1 is 'nothing'" in str(unreadable.suspects[0])
